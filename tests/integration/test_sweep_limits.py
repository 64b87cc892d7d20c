"""What a sweep makes of blobs that storage refuses, of more work than it has time for, and of files it cannot read."""

import asyncio
import base64
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from types import SimpleNamespace
from typing import Final

import pytest
from azure.core.exceptions import ServiceRequestError
from azure.storage.blob import BlobLeaseClient
from azure.storage.queue import QueueServiceClient

from shared.pipeline.running import Pipeline
from shared.pipeline.sweep_run import MAX_AT_ONCE, MAX_REFUSALS
from shared.pipeline.sweeping import VOID_TIMEOUTS
from shared.source import Source
from shared.state.batch import BATCHES, BatchKind, BatchRecord, Member, SubmittedJob
from shared.state.claim import CLAIMS, Claim, new_batch_id
from shared.storage.queue import BLOB_POISON_QUEUE
from shared.telemetry import Telemetry
from tests.calls import before_blob_call, refuse
from tests.emulator import submissions
from tests.integration.conftest import TEXT, Way
from tests.integration.test_sweep import outcomes_of, state_blobs, take_names, upload

MakeWay = Callable[..., Way]

LEFT: Final = {"record": BATCHES, "void": BATCHES, "leftover": BATCHES, "claim": CLAIMS}
"""What workers can leave, and where."""


@pytest.fixture
async def swept_way(way: Way) -> Way:
    """A way of an app that has swept before, so that no file is older than it."""
    way.switch(jobSeconds=0)
    await way.pipeline.sweep()
    return way


def source(way: Way, name: str) -> Source:
    """Return a version of a file that is gone."""
    return Source(way.settings.input_container, name, "0x1", way.now(), 1)


async def leave(way: Way, kind: str) -> None:
    """Leave what the sweep is to repair once it is old."""
    state, batch, gone = way.pipeline.services.state, new_batch_id(), source(way, "gone.txt")
    if kind == "claim":
        claim = Claim(source=gone, batch=batch, claimed_date_time=way.now(), received_date_time=way.now())
        await state.write_claim(claim, None)
    elif kind == "leftover":
        way.blobs.get_blob_client(way.settings.state_container, f"{BATCHES}{batch}.results").upload_blob(b"x")
    else:
        record = BatchRecord(
            kind=BatchKind.VOID if kind == "void" else BatchKind.JOB,
            members=[Member(gone, "0x1")],
            job=SubmittedJob("job-1", 1, 1),
            received_date_time=way.now(),
            submitted_date_time=way.now(),
            due=way.now(),
        )
        await state.write_batch(batch, record, None)


def pass_enough_time(way: Way) -> None:
    """Let everything become old enough to be repaired."""
    way.pass_time(2 * VOID_TIMEOUTS * way.settings.submit_timeout_seconds)


@pytest.mark.parametrize("kind", LEFT)
async def test_a_blob_that_storage_refuses_is_left_alone(
    kind: str, swept_way: Way, caplog: pytest.LogCaptureFixture
) -> None:
    """A lease, a legal hold or another tier of one blob of the state keeps no other file from being found."""
    way = swept_way
    await leave(way, kind)
    (blob,) = state_blobs(way, LEFT[kind])
    lease = BlobLeaseClient(way.blobs.get_blob_client(way.settings.state_container, blob))
    lease.acquire(lease_duration=-1)
    upload(way, "healthy.txt")
    for _ in range(2):
        pass_enough_time(way)
        caplog.clear()
        swept = await way.pipeline.sweep()
        assert (swept.missing, swept.refused, swept.revived, swept.is_complete) == (1, 1, 0, True)
        assert take_names(way) == ["healthy.txt"]
        (line,) = [line for line in caplog.messages if "LeaseIdMissing" in line]
        assert blob in line
        assert "another program holds a lease" in line
    lease.break_lease(0)
    swept = await way.pipeline.sweep()
    assert (swept.refused, swept.revived) == (0, kind == "record")
    assert (blob in state_blobs(way, LEFT[kind])) is (kind == "record")


@pytest.mark.parametrize(("kind", "method"), [("record", "upload_blob"), ("void", "delete_blob")])
async def test_storage_that_refuses_everything_ends_the_sweep_soon(
    kind: str, method: str, swept_way: Way, caplog: pytest.LogCaptureFixture
) -> None:
    """Else a sweep over very many batches would only make calls in vain; the next one tries again."""
    way = swept_way
    for _ in range(3 * MAX_REFUSALS):
        await leave(way, kind)
    upload(way, "healthy.txt")
    pass_enough_time(way)
    with before_blob_call(method, f"{way.settings.state_container}/{BATCHES}", refuse, times=None) as seen:
        swept = await way.pipeline.sweep()
    assert MAX_REFUSALS <= len(seen) < MAX_REFUSALS + MAX_AT_ONCE
    assert (swept.files, swept.is_complete) == (0, False)
    assert "the sweep stopped, because the storage account could not be reached" in caplog.text
    assert (await way.pipeline.sweep()).missing == 1


async def test_refusals_between_successes_do_not_end_the_sweep(swept_way: Way) -> None:
    """However many there are: storage lets the others through."""
    way = swept_way
    for _ in range(3 * MAX_REFUSALS):
        await leave(way, "record")
    pass_enough_time(way)
    count = 0

    async def refuse_every_second() -> None:
        nonlocal count
        count += 1
        if count % 2:
            await refuse()

    with before_blob_call("upload_blob", f"{way.settings.state_container}/{BATCHES}", refuse_every_second, times=None):
        swept = await way.pipeline.sweep()
    assert (swept.refused, swept.revived, swept.is_complete) == (1.5 * MAX_REFUSALS, 1.5 * MAX_REFUSALS, True)


@asynccontextmanager
async def many_overdue(way: Way, number: int) -> AsyncIterator[None]:
    """Leave that many batches without a message, and some files of which nobody tells the app."""
    for _ in range(number):
        await leave(way, "record")
    for name in ("healthy-1.txt", "healthy-2.txt"):
        upload(way, name)
    pass_enough_time(way)
    yield
    way.queue.clear_messages()


async def test_batches_are_seen_to_several_at_a_time(swept_way: Way) -> None:
    """Each takes some calls, and tens of thousands can be overdue at once."""
    way, now, most = swept_way, 0, 0
    async with many_overdue(way, 4 * MAX_AT_ONCE):
        with pytest.MonkeyPatch.context() as patch:
            read_batch = way.pipeline.services.state.read_batch

            async def read(batch: str) -> object:
                nonlocal now, most
                now += 1
                most = max(most, now)
                try:
                    return await read_batch(batch)
                finally:
                    now -= 1

            patch.setattr(type(way.pipeline.services.state), "read_batch", lambda _, batch: read(batch))
            swept = await way.pipeline.sweep()
        assert (swept.revived, swept.left, swept.missing) == (4 * MAX_AT_ONCE, 0, 2)
    assert most == MAX_AT_ONCE


async def test_what_there_is_no_time_for_is_left_to_the_next_sweep(
    swept_way: Way, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Files are found, those of live batches are left alone, and the sweep leaves word of itself."""
    caplog.set_level(logging.INFO, "ner")
    way, number = swept_way, 8 * MAX_AT_ONCE
    elapsed = 0.0

    async def take_long() -> None:
        nonlocal elapsed
        elapsed += 1000.0

    batches = f"{way.settings.state_container}/{BATCHES}"
    async with many_overdue(way, number):
        with monkeypatch.context() as patch, before_blob_call("upload_blob", batches, take_long) as seen:
            patch.setattr("shared.pipeline.sweep_run.time", SimpleNamespace(monotonic=lambda: elapsed))
            patch.setattr("shared.pipeline.sweeping.time", SimpleNamespace(monotonic=lambda: 0.0))
            patch.setattr("shared.pipeline.walking.time", SimpleNamespace(monotonic=lambda: 0.0))
            swept = await way.pipeline.sweep()
        assert len(seen) == MAX_AT_ONCE
        assert (swept.revived, swept.left) == (MAX_AT_ONCE, number - MAX_AT_ONCE)
        assert (swept.missing, swept.sent, swept.is_complete) == (2, 2 + MAX_AT_ONCE, True)
        assert f"{MAX_AT_ONCE} batches were overdue, {swept.left} left to the next sweep" in caplog.text
        state = await way.pipeline.services.state.read_sweep()
        assert state is not None
        assert state.swept == swept
        # Those that have got a message are not overdue, so it is the turn of the others.
        swept = await way.pipeline.sweep()
        assert (swept.revived, swept.left) == (number - MAX_AT_ONCE, 0)


@pytest.mark.parametrize("is_claimed", [False, True])
async def test_a_file_in_the_archive_tier_is_left_alone_until_it_is_rehydrated(
    is_claimed: bool, swept_way: Way
) -> None:
    """It cannot be read before; nor does it say anything about lost events."""
    way = swept_way
    version = upload(way, f"archived-{is_claimed}.txt")
    if is_claimed:
        claim = Claim(source=version, batch=new_batch_id(), claimed_date_time=way.now(), received_date_time=way.now())
        await way.pipeline.services.state.write_claim(claim, None)
    blob = way.blobs.get_blob_client(way.settings.input_container, version.name)
    blob.set_standard_blob_tier("Archive")
    for _ in range(2):
        swept = await way.sweep()
        assert (swept.missing, swept.existing, swept.sent) == (0, 0, 0)
    assert len(state_blobs(way, CLAIMS)) == is_claimed
    blob.set_standard_blob_tier("Hot")
    assert (await way.sweep()).missing == 1
    await outcomes_of(way, [version])


async def test_the_first_sweep_finds_files_of_this_deployment(make_way: MakeWay) -> None:
    """What the host calls the next run is the one that has just begun, not the one after it."""
    way = make_way(NER_SWEEP_EXISTING="false")
    upload(way, "new.txt")
    way.pass_time(300)
    swept = await way.pipeline.sweep(next_run=way.now())
    assert (swept.missing, swept.existing) == (1, 0)
    await way.pipeline.aclose()


class Recorder(Telemetry):
    """Remembers what is told about sweeps."""

    def __init__(self) -> None:
        self.told: list[tuple[int, int]] = []

    def swept(self, missing: int, revived: int) -> None:
        """Be told what a sweep had to send."""
        self.told.append((missing, revived))


async def test_telemetry_is_told_what_a_sweep_had_to_send(swept_way: Way) -> None:
    """An alert reads it: triggers or messages get lost."""
    way, recorder = swept_way, Recorder()
    pipeline = Pipeline(way.app_settings, telemetry=recorder, now=way.now)
    for _ in range(3):
        await leave(way, "record")
    upload(way, "unheard.txt")
    pass_enough_time(way)
    await pipeline.sweep()
    await pipeline.sweep()
    assert recorder.told == [(1, 3), (1, 0)]
    await pipeline.aclose()


async def test_telemetry_is_told_of_each_file_of_a_lost_message(swept_way: Way) -> None:
    """Files share a message, and the alert compares with submitted files."""
    way, recorder = swept_way, Recorder()
    pipeline = Pipeline(way.app_settings, telemetry=recorder, now=way.now)
    way.switch(jobSeconds=1000)
    names = [f"together/{number}.txt" for number in range(4)]
    for name in names:
        upload(way, name)
    await asyncio.gather(*(pipeline.submit(name) for name in names))
    way.queue.clear_messages()
    pass_enough_time(way)
    swept = await pipeline.sweep()
    assert recorder.told == [(0, len(names))]
    assert swept.revived == 1
    await pipeline.aclose()


def notice(container: str) -> str:
    """Return what the host writes of an upload on which a function failed."""
    text = json.dumps(
        {"FunctionId": "Host.Functions.submit", "ContainerName": container, "BlobName": "a.txt"}, indent=2
    )
    return base64.b64encode(text.encode()).decode()


async def test_messages_in_poison_queues_are_a_warning(
    swept_way: Way, values: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """An alert reads it. All apps of the account share the queue of uploads, so only this app's count there."""
    way = swept_way
    with QueueServiceClient.from_connection_string(values["NER_STORAGE"]) as queues:
        uploads = queues.get_queue_client(BLOB_POISON_QUEUE)
        existing = [queue.name for queue in queues.list_queues()]
        for name in {BLOB_POISON_QUEUE, way.settings.poison_queue} - set(existing):
            queues.create_queue(name)
        uploads.clear_messages()
        for content in (notice("elsewhere"), "no base64", base64.b64encode(b"[]").decode()):
            uploads.send_message(content)
        await way.pipeline.sweep()
        assert "poison" not in caplog.text
        uploads.send_message(notice(way.settings.input_container))
        for _ in range(2):
            queues.get_queue_client(way.settings.poison_queue).send_message("x")
        await way.pipeline.sweep()
        uploads.clear_messages()
    assert "2 messages are in the poison queue: the log has the exceptions" in caplog.text
    assert "1 messages are in the poison queue of uploads: the log has the exceptions" in caplog.text


async def test_poison_events_are_a_warning(make_way: Callable[..., Way], caplog: pytest.LogCaptureFixture) -> None:
    """They are this app's alone, whatever they say."""
    way = make_way(NER_BLOB_TRIGGER_SOURCE="EventGridQueue")
    await way.pipeline.sweep()
    assert "poison" not in caplog.text
    with QueueServiceClient.from_connection_string(str(way.settings.storage.connection_string)) as queues:
        queues.create_queue(f"{way.settings.event_queue}-poison").send_message("x")
    await way.pipeline.sweep()
    assert "1 messages are in the poison queue of uploads: the log has the exceptions" in caplog.text
    await way.pipeline.aclose()


async def test_poison_queues_that_cannot_be_read_stop_no_sweep(
    swept_way: Way, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """They are evidence only."""

    async def poisoned(_queue: object) -> int:
        raise ServiceRequestError("refused by the test")

    monkeypatch.setattr("shared.storage.queue.Queue.poisoned", poisoned)
    assert (await swept_way.pipeline.sweep()).is_complete
    assert "the poison queues cannot be read now" in caplog.text


FILES: Final = 50


async def assert_each_is_paid_once(way: Way, versions: list[Source]) -> None:
    """Let the app work; each file then has one outcome and was submitted once."""
    await outcomes_of(way, versions)
    results = way.blobs.get_container_client(way.settings.results_container)
    assert len(list(results.list_blobs())) == len(versions)
    for version in versions:
        assert submissions(way.ner_emulator, version.name) == 1, version.name


async def test_fifty_files_in_flight_survive_the_loss_of_the_queue(swept_way: Way) -> None:
    """Running, and waiting for the service; each comes to its outcome, and is paid once."""
    way = swept_way
    way.switch(jobSeconds=10**6, faults=[{"status": 503, "method": "POST", "times": 10}])
    versions = [upload(way, f"fifty/{number:02}.txt") for number in range(FILES)]
    for version in versions:
        await way.pipeline.submit(version.name)
    way.queue.clear_messages()
    swept = await way.sweep()
    assert (swept.revived, swept.missing, swept.sent) == (FILES, 0, FILES)
    for _ in range(FILES):
        await way.pipeline.poll(way.message().content.encode())
    way.end_jobs()
    way.switch(jobSeconds=0)
    await assert_each_is_paid_once(way, versions)


async def test_fifty_files_that_no_trigger_brings_are_found(swept_way: Way) -> None:
    """The sweep is all that an app with a broken trigger has; a second one comes while the first one's half is done."""
    way = swept_way
    versions = [upload(way, f"untold/{number:02}.txt", TEXT) for number in range(FILES)]
    swept = await way.sweep()
    assert (swept.missing, swept.sent) == (FILES, FILES)
    for _ in range(FILES // 2):
        await way.pipeline.poll(way.message().content.encode())
    other = way.another_pipeline(later=timedelta(seconds=1))
    await other.sweep()
    await assert_each_is_paid_once(way, versions)
    await other.aclose()
