"""The sweep: whatever became of events, messages and workers, each file comes to its outcome, and is paid once."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import cycle
from typing import Any

import pytest

from shared.message import FileMessage, decode_message
from shared.names import result_name, utf16_length
from shared.outcome import OutcomeStatus
from shared.packing import REQUEST_LIMITS
from shared.pipeline.sweeping import MAX_TIMES_BEHIND, VOID_TIMEOUTS
from shared.source import Source
from shared.state.batch import BATCHES, BatchKind, BatchRecord, Member
from shared.state.claim import CLAIMS, Claim, new_batch_id
from shared.state.sweeping import Swept, decode_sweep
from tests.calls import after_storage_call, before_blob_call, lists
from tests.emulator import submissions
from tests.integration.conftest import TEXT, Way
from tests.integration.test_many_jobs import lines

MakeWay = Callable[..., Way]
Die = Callable[[str], Awaitable[None]]
"""Submits a file by a worker that dies once it has claimed it."""

ENDINGS = [
    "",
    "!",
    "-b",
    ".json",
    ".txt",
    ".txt.json",
    "/a",
    "~",
    "é",
    "🍷",
    " !",
    "#&<",
    "\ufb01",
    "\uffee",
    "0",
    "}",
]


@pytest.fixture
async def swept_way(way: Way) -> Way:
    """A way of an app that has swept before, so that no file is older than it."""
    way.switch(jobSeconds=0)
    await way.pipeline.sweep()
    return way


@pytest.fixture
def die(swept_way: Way) -> Die:
    """Return what submits a file by a worker that dies once it has claimed it."""

    async def cancelled() -> None:
        raise asyncio.CancelledError

    async def submit(name: str) -> None:
        results = f"{swept_way.settings.results_container}/{name}"
        with (
            before_blob_call("get_blob_properties", results, cancelled),
            pytest.raises(asyncio.CancelledError),
        ):
            await swept_way.pipeline.submit(name)

    return submit


@pytest.fixture
def sends_nothing(swept_way: Way) -> Callable[[], Awaitable[Swept]]:
    """Return what sweeps, and makes sure that nothing was sent."""

    async def sweep() -> Swept:
        before = swept_way.queue.get_queue_properties().approximate_message_count
        swept = await swept_way.pipeline.sweep()
        assert swept.sent == 0
        assert swept_way.queue.get_queue_properties().approximate_message_count == before
        return swept

    return sweep


def upload(way: Way, name: str, data: bytes = TEXT, **metadata: str) -> Source:
    """Upload a file of which nobody tells the app; return its version."""
    blob = way.blobs.get_blob_client(way.settings.input_container, name)
    answer: Any = blob.upload_blob(data, overwrite=True, metadata=metadata)
    etag = str(answer["etag"]).strip('"')
    return Source(way.settings.input_container, name, etag, answer["last_modified"], len(data))


def state_blobs(way: Way, beginning: str) -> list[str]:
    """Return the names of blobs about files in flight."""
    state = way.blobs.get_container_client(way.settings.state_container)
    return [blob.name for blob in state.list_blobs(name_starts_with=beginning)]


def take_names(way: Way) -> list[str]:
    """Take all messages from the queue; return the files that they name."""
    names = []
    while received := list(way.queue.receive_messages(max_messages=32, visibility_timeout=600)):
        for message in received:
            decoded = decode_message(message.content)
            assert isinstance(decoded, FileMessage)
            names.append(decoded.file)
            way.queue.delete_message(message)
    return names


async def outcomes_of(way: Way, versions: Iterable[Source]) -> None:
    """Let the app work until nothing is in flight; each of these versions then has a success."""
    await way.poll_until_empty()
    for version in versions:
        way.name, way.etag = version.name, version.etag
        outcome = way.outcome()
        assert outcome is not None, version.name
        assert outcome.status is OutcomeStatus.SUCCEEDED
    # What kept slow workers from recording a job stands for some time.
    way.pass_time(2 * VOID_TIMEOUTS * way.settings.submit_timeout_seconds)
    await way.pipeline.sweep()
    assert way.in_flight() == 0


async def test_a_file_of_which_no_event_came_is_found_after_the_grace(
    swept_way: Way, sends_nothing: Callable[[], Awaitable[Swept]], caplog: pytest.LogCaptureFixture
) -> None:
    """Not before, since its event may be on its way; and once it has its outcome, it needs nothing."""
    caplog.set_level(logging.INFO, "ner")
    version = upload(swept_way, "unheard.txt")
    swept = await sends_nothing()
    assert (swept.files, swept.missing, swept.is_complete) == (1, 0, True)
    swept = await swept_way.sweep()
    assert (swept.files, swept.missing, swept.sent) == (1, 1, 1)
    assert "'unheard.txt': has no outcome and no worker" in caplog.text
    assert "sweep: 1 files, 1 of them need a message" in caplog.text
    await outcomes_of(swept_way, [version])
    assert (await sends_nothing()).missing == 0
    assert swept_way.submissions() == 1


async def test_each_sweep_leaves_word_of_itself(swept_way: Way) -> None:
    """For the next one, and for whoever wants to know how the last one went."""
    upload(swept_way, "a.txt")
    swept = await swept_way.sweep()
    blob = swept_way.blobs.get_blob_client(swept_way.settings.state_container, "app/sweep.json")
    left = decode_sweep(blob.download_blob().readall())
    assert left.swept == swept
    assert left.last == swept_way.now()
    assert left.since < swept_way.begun


@pytest.mark.parametrize("existing", ["false", "true"])
async def test_files_from_before_the_app_are_submitted_if_that_is_wanted(
    existing: str, make_way: MakeWay, caplog: pytest.LogCaptureFixture
) -> None:
    """An app that is deployed beside a million files must not be billed for them unasked; they are counted."""
    caplog.set_level(logging.INFO, "ner")
    way = make_way(NER_SWEEP_EXISTING=existing)
    way.switch(jobSeconds=0)
    upload(way, "old.txt")
    for _ in range(2):
        swept = await way.sweep()
        assert (swept.existing, swept.missing) == ((0, 1) if existing == "true" else (1, 0))
        assert take_names(way) == (["old.txt"] if existing == "true" else [])
    assert f"{swept.existing} from before" in caplog.text
    # Whoever saves such a file again wants it to be processed.
    await way.pipeline.submit("old.txt")
    await way.poll_until_empty()
    assert (await way.sweep()).existing == 0
    await way.pipeline.aclose()


async def test_a_sweep_of_an_account_without_containers_finds_nothing(way: Way) -> None:
    """Nobody has uploaded anything yet."""
    for name in (way.settings.input_container, way.settings.results_container):
        way.blobs.delete_container(name)
    swept = await way.pipeline.sweep()
    assert (swept.files, swept.is_complete) == (0, True)


async def test_what_is_in_work_is_left_alone(
    swept_way: Way, sends_nothing: Callable[[], Awaitable[Swept]], die: Die
) -> None:
    """A young claim, a running job, a text that waits for the service, a large file half-way: none needs a message."""
    way = swept_way
    upload(way, "claimed.txt")
    await die("claimed.txt")
    way.switch(jobSeconds=1000, faults=[{"status": 503, "method": "POST", "times": 1}])
    for name, data in (("waiting.txt", TEXT), ("running.txt", TEXT), ("many.jsonl", lines(60))):
        upload(way, name, data)
        await way.pipeline.submit(name)
    assert (await sends_nothing()).files == 4


async def test_a_claim_whose_worker_died_is_taken_over(swept_way: Way, die: Die) -> None:
    """Once it is old: another worker submits the file, once."""
    version = upload(swept_way, "orphan.txt")
    await die("orphan.txt")
    assert (await swept_way.sweep()).missing == 1
    await outcomes_of(swept_way, [version])
    assert swept_way.submissions() == 1


async def test_a_claim_of_a_deleted_file_is_released(
    swept_way: Way, die: Die, caplog: pytest.LogCaptureFixture
) -> None:
    """Its worker died, and no message would ever end it; one that is young may have a worker."""
    caplog.set_level(logging.INFO, "ner")
    for name in ("b/deleted.txt", "z.txt"):
        upload(swept_way, name)
        await die(name)
    swept_way.blobs.get_blob_client(swept_way.settings.input_container, "b/deleted.txt").delete_blob()
    await swept_way.pipeline.sweep()
    assert len(state_blobs(swept_way, CLAIMS)) == 2
    assert (await swept_way.sweep()).missing == 1
    assert state_blobs(swept_way, CLAIMS) == [f"{CLAIMS}z.txt.json"]
    assert "released the claim 'b/deleted.txt.json'" in caplog.text


async def test_a_claim_of_a_deleted_file_whose_job_runs_stays(swept_way: Way) -> None:
    """It has been paid for, so it gets its outcome."""
    way = swept_way
    way.switch(jobSeconds=10**6)
    version = upload(way, "deleted-running.txt")
    await way.pipeline.submit("deleted-running.txt")
    way.blobs.get_blob_client(way.settings.input_container, "deleted-running.txt").delete_blob()
    await way.sweep()
    assert len(state_blobs(way, CLAIMS)) == 1
    way.end_jobs()
    await outcomes_of(way, [version])
    assert way.submissions() == 1


async def test_leftovers_are_deleted_once_no_worker_can_need_them(swept_way: Way, die: Die) -> None:
    """Blobs of batches whose record is gone, and what stood in the way of a slow worker."""
    way = swept_way
    state = way.blobs.get_container_client(way.settings.state_container)
    for ending in ("ledger.jsonl", "results"):
        state.upload_blob(f"{BATCHES}{new_batch_id()}.{ending}", b"x", blob_type="AppendBlob")
    await way.pipeline.sweep()
    assert len(state_blobs(way, BATCHES)) == 2
    upload(way, "taken-over.txt")
    await die("taken-over.txt")
    await way.sweep()
    await way.poll_until_empty()
    await way.pipeline.sweep()
    assert len(state_blobs(way, BATCHES)) == 1
    way.pass_time(2 * VOID_TIMEOUTS * way.settings.submit_timeout_seconds)
    await way.pipeline.sweep()
    assert way.in_flight() == 0


async def test_everything_comes_back_after_the_queue_was_cleared(swept_way: Way) -> None:
    """Files of all kinds in flight, and messages of the sweep itself: each is paid once."""
    way = swept_way
    way.switch(jobSeconds=10**6, faults=[{"status": 503, "method": "POST", "times": 1}])
    versions = [
        upload(way, name, data)
        for name, data in (
            ("cleared/waiting.txt", TEXT),
            ("cleared/running.txt", TEXT),
            ("cleared/many.jsonl", lines(60)),
            ("cleared/unheard.txt", TEXT),
        )
    ]
    for version in versions[:3]:
        await way.pipeline.submit(version.name)
    for _ in range(2):
        way.queue.clear_messages()
        swept = await way.sweep()
        assert (swept.revived, swept.missing, swept.sent) == (3, 1, 4)
    await asyncio.gather(*(way.pipeline.poll(way.message().content.encode()) for _ in range(4)))
    way.end_jobs()
    await outcomes_of(way, versions)
    assert [submissions(way.ner_emulator, version.name) for version in versions] == [1, 1, 3, 1]


@pytest.mark.parametrize(
    ("method", "beginning"),
    [("delete_blob", BATCHES), ("delete_blob", CLAIMS), ("upload_blob", BATCHES), ("upload_blob", "app/")],
)
async def test_two_sweeps_at_once_do_no_harm(method: str, beginning: str, swept_way: Way, die: Die) -> None:
    """One comes in between before the other repairs or cleans up: neither fails, and each file is paid once."""
    way = swept_way
    way.switch(jobSeconds=0, faults=[{"status": 503, "method": "POST", "times": 2}])
    names = (
        "twice/waiting-1.txt",
        "twice/waiting-2.txt",
        "twice/unheard-1.txt",
        "twice/unheard-2.txt",
        "twice/orphan.txt",
    )
    versions = [upload(way, name) for name in names]
    for name in names[:2]:
        await way.pipeline.submit(name)
    way.queue.clear_messages()
    for name in ("twice/deleted-1.txt", "twice/deleted-2.txt"):
        upload(way, name)
        await die(name)
        way.blobs.get_blob_client(way.settings.input_container, name).delete_blob()
    await die("twice/orphan.txt")
    state = way.blobs.get_container_client(way.settings.state_container)
    for ending in ("ledger.jsonl", "results", "ledger.jsonl", "results"):
        state.upload_blob(f"{BATCHES}{new_batch_id()}.{ending}", b"x", blob_type="AppendBlob")
    way.pass_time(12 * 3600)
    other = way.another_pipeline(later=timedelta(seconds=1))
    with before_blob_call(method, f"{way.settings.state_container}/{beginning}", other.sweep) as seen:
        await way.pipeline.sweep()
    assert len(seen) > 1
    assert len(state_blobs(way, CLAIMS)) == 3
    before = [submissions(way.ner_emulator, name) for name in names]
    await outcomes_of(way, versions)
    assert [submissions(way.ner_emulator, name) for name in names] == [number + 1 for number in before]
    await other.aclose()


@pytest.mark.parametrize("listed", ["inputs", "results", "claims"])
async def test_a_file_that_is_replaced_during_a_sweep_is_paid_once(listed: str, swept_way: Way) -> None:
    """What a sweep has listed is old by the time that it is compared: then a message too many does no harm."""
    way = swept_way
    settings = way.settings
    container = {"inputs": settings.input_container, "results": settings.results_container}
    way.name = f"replaced-{listed}.txt"
    way.upload()
    other = way.another_pipeline(later=timedelta(hours=2))

    async def replace_and_end() -> None:
        await way.submit(b"The newer text asks for a table at Blue Heron.")
        await way.pipeline.poll(way.message().content.encode())

    with after_storage_call(lists(container.get(listed, settings.state_container)), replace_and_end):
        await other.sweep()
    outcome = way.outcome()
    assert outcome is not None
    await way.poll_until_empty()
    assert way.outcome() == outcome
    assert way.submissions() == 1
    assert way.in_flight() == 0
    await other.aclose()


async def prepare(way: Way, names: list[str]) -> list[str]:
    """Upload files; give one third of them outcomes, and one third claims with a live batch; return the others."""
    results = way.blobs.get_container_client(way.settings.results_container)
    state = way.pipeline.services.state
    kinds = dict(zip(names, cycle(("missing", "ended", "claimed")), strict=False))
    with ThreadPoolExecutor(8) as pool:
        versions = list(pool.map(lambda name: upload(way, name, b"-"), names))
        ended = [version for version in versions if kinds[version.name] == "ended"]
        for _ in pool.map(
            lambda version: results.upload_blob(
                result_name(version.name), b"-", metadata={"source_etag": version.etag}
            ),
            ended,
        ):
            pass
    later = way.now() + timedelta(days=1)
    claimed = [version for version in versions if kinds[version.name] == "claimed"]
    for first in range(0, len(claimed), REQUEST_LIMITS.documents):
        batch, members = new_batch_id(), []
        for version in claimed[first : first + REQUEST_LIMITS.documents]:
            claim = Claim(source=version, batch=batch, claimed_date_time=way.now(), received_date_time=way.now())
            members.append(Member(version, str(await state.write_claim(claim, None))))
        record = BatchRecord(kind=BatchKind.WAITING, members=members, received_date_time=later, due=later)
        await state.write_batch(batch, record, None)
    return [name for name, kind in kinds.items() if kind == "missing"]


async def test_names_of_all_kinds_are_compared_as_they_are(swept_way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over many pages, whose ends cut through what belongs together; folders of hierarchical accounts are no files."""
    monkeypatch.setattr("shared.storage.listings.PAGE_SIZE", 7)
    way = swept_way
    beginnings = ("a", "b/a", "b-", "a" * 990, "é" * 1000, "🍷" * 500, "z" * 1020)
    names = [f"{begin}{ending}" for begin in beginnings for ending in ENDINGS]
    names += [f"{number:03}.txt" for number in range(100)]
    names = [name for name in dict.fromkeys(names) if utf16_length(name) <= 1024]
    assert len(names) > 190
    missing = await prepare(way, names)
    upload(way, "b", b"", hdi_isfolder="true")
    upload(way, "a-folder", b"", hdi_isfolder="True")
    upload(way, "c/", b"")
    swept = await way.sweep()
    assert (swept.files, swept.missing, swept.sent) == (len(names), len(missing), len(missing))
    assert swept.calls > len(names) / 7
    assert sorted(take_names(way)) == sorted(missing)
    # All claims are still there.
    assert len(state_blobs(way, CLAIMS)) == len(names) // 3


async def test_a_sweep_whose_time_is_up_goes_on_at_the_next_one(
    swept_way: Way, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each file is looked at once in a round, also those whose place in the order is not that of their name."""
    caplog.set_level(logging.INFO, "ner")
    monkeypatch.setattr("shared.storage.listings.PAGE_SIZE", 3)
    monkeypatch.setattr("shared.pipeline.sweeping.WORKING_SHARE", 0.0)
    way = swept_way
    names = ["a", "a!", *(f"a-{number}" for number in range(10)), "a.txt", "a0", "b", "b-b", "b.b"]
    missing = await prepare(way, names)
    way.pass_time(3600)
    for _ in range(2):
        found: list[str] = []
        sweeps: list[Swept] = []
        while not sweeps or not sweeps[-1].is_complete:
            sweeps.append(await way.pipeline.sweep())
            found += take_names(way)
        assert sorted(found) == sorted(missing)
        assert sum(swept.files for swept in sweeps) == len(names)
        assert len(sweeps) >= len(names)
    assert "the next sweep continues from here" in caplog.text


async def test_files_that_come_and_go_do_not_stop_a_sweep_that_goes_on(
    swept_way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file at which it stopped may be gone, with all others of its page."""
    monkeypatch.setattr("shared.storage.listings.PAGE_SIZE", 2)
    monkeypatch.setattr("shared.pipeline.sweeping.WORKING_SHARE", 0.0)
    way = swept_way
    inputs = way.blobs.get_container_client(way.settings.input_container)
    for number in range(8):
        upload(way, f"{number}.txt")
    way.pass_time(3600)
    found: list[str] = []
    for deleted in ([], ["0.txt", "1.txt"], ["4.txt"]):
        for name in deleted:
            inputs.delete_blob(name)
        await way.pipeline.sweep()
        found += take_names(way)
    upload(way, "9.txt")
    while not (await way.pipeline.sweep()).is_complete:
        pass
    assert sorted({*found, *take_names(way)} - {"0.txt", "1.txt", "4.txt"}) == [
        f"{number}.txt" for number in (2, 3, 5, 6, 7, 9)
    ]


async def test_a_sweep_sends_nothing_while_poll_is_behind(
    swept_way: Way, sends_nothing: Callable[[], Awaitable[Swept]], caplog: pytest.LogCaptureFixture
) -> None:
    """More messages would only make it worse; but in case that it only looks so, it gives way after a few sweeps."""
    caplog.set_level(logging.INFO, "ner")
    way = swept_way
    versions = [upload(way, f"behind-{number}.txt") for number in range(3)]
    await way.pipeline.submit(versions[0].name)
    # Its message is due, and nobody receives it.
    way.pass_time(7200)
    for _ in range(2):
        for _ in range(MAX_TIMES_BEHIND):
            swept = await sends_nothing()
            assert swept.is_behind
            assert not swept.is_complete
        assert "poll is behind" in caplog.text
        swept = await way.pipeline.sweep()
        assert not swept.is_behind
        assert swept.missing == 2
    # Now it is received, and all others, too.
    await outcomes_of(way, versions)
    assert not (await way.pipeline.sweep()).is_behind
    assert [submissions(way.ner_emulator, version.name) for version in versions] == [1, 1, 1]


@pytest.mark.parametrize("foreign", ["not ours", '{"kind": "file", "version": 2, "file": "a.txt"}'])
async def test_a_message_of_others_at_the_front_does_not_stop_the_sweep(foreign: str, swept_way: Way) -> None:
    """It says nothing about when it was due."""
    way = swept_way
    way.queue.send_message(foreign)
    upload(way, "a.txt")
    swept = await way.sweep()
    assert (swept.is_behind, swept.missing) == (False, 1)


async def test_with_very_many_batches_only_these_are_seen_to(
    swept_way: Way, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Their names would not fit into memory; files are found once there are fewer."""
    caplog.set_level(logging.INFO, "ner")
    way = swept_way
    way.switch(jobSeconds=10**6)
    version = upload(way, "running.txt")
    await way.pipeline.submit(version.name)
    unheard = upload(way, "unheard.txt")
    way.queue.clear_messages()
    with monkeypatch.context() as patch:
        patch.setattr("shared.pipeline.sweeping.MAX_LIVE_CLAIMS", 0)
        swept = await way.sweep()
        assert (swept.files, swept.revived) == (0, 1)
        assert (swept.is_complete, swept.is_crowded) == (False, True)
        assert "files are in flight, so files were not checked" in caplog.text
    way.queue.clear_messages()
    assert (await way.sweep()).sent == 2
    way.end_jobs()
    way.switch(jobSeconds=0)
    await outcomes_of(way, [version, unheard])
