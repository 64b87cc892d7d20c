"""Files that arrive together: they share a job, and each has its own claim and its own outcome."""

import asyncio
import json
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from shared.message import BatchMessage, FileMessage, decode_message
from shared.ner.client import NerClient
from shared.outcome import Outcome, OutcomeStatus
from shared.pipeline.decisions import LAST_TRY_TIMEOUTS
from shared.state.batch import BatchKind, BatchRecord
from shared.state.claim import MAX_TRIES
from tests.calls import before_blob_call
from tests.emulator import documents, stats
from tests.integration.conftest import TEXT, Way

NAMES = ("together/1.txt", "together/2.txt", "together/3.txt", "together/4.txt")


def drop(way: Way, names: Iterable[str] = NAMES, text: bytes = TEXT) -> None:
    """Upload files of different texts."""
    for way.name in names:
        way.upload(text + b" " + way.name.encode())


async def submit(way: Way, names: Iterable[str] = NAMES) -> None:
    """Tell the app of files at the same time, as the host does."""
    await asyncio.gather(*(way.pipeline.submit(name) for name in names))


def outcome_of(way: Way, name: str) -> Outcome | None:
    """Return the outcome of a file; None if it has none of its newest version."""
    blob = way.blobs.get_blob_client(way.settings.input_container, name)
    way.name, way.etag = name, blob.get_blob_properties().etag.strip('"')
    return way.outcome()


def statuses(way: Way, names: Iterable[str] = NAMES) -> list[str | None]:
    """Return how files have ended; None for one that has no outcome."""
    outcomes = [outcome_of(way, name) for name in names]
    return [outcome.status.value if outcome else None for outcome in outcomes]


def next_batch(way: Way) -> tuple[bytes, BatchRecord]:
    """Return the body of the next message, which is about a batch, and its record."""
    body = way.message().content.encode()
    message = decode_message(body)
    assert isinstance(message, BatchMessage)
    assert message.record is not None
    return body, message.record


def members(record: BatchRecord) -> list[str]:
    """Return the names of a batch's files."""
    return sorted(member.source.name for member in record.members)


async def test_files_that_arrive_together_share_a_job(way: Way) -> None:
    """One request, one message and one poll for all; each outcome is that of its own file."""
    names = [f"together/{number}.txt" for number in range(12)]
    drop(way, names)
    await submit(way, names)
    body, record = next_batch(way)
    assert members(record) == sorted(names)
    way.end_jobs()
    await way.pipeline.poll(body)
    jobs = set()
    for name in names:
        outcome = outcome_of(way, name)
        assert outcome is not None
        assert outcome.status is OutcomeStatus.SUCCEEDED
        assert [document.id for document in outcome.documents] == [name.rpartition("/")[2]]
        assert outcome.documents[0].entities
        assert outcome.statistics.documents_count == 1
        jobs |= {job.job_id for job in outcome.jobs}
    assert len(jobs) == 1
    assert way.in_flight() == 0
    assert way.queue.get_queue_properties().approximate_message_count == 0


async def test_a_batch_has_as_many_files_as_a_page_of_results(way: Way) -> None:
    """More files are more batches, and each file is in one of them."""
    names = [f"many/{number:02}.txt" for number in range(50)]
    drop(way, names)
    before = stats(way.ner_emulator)["documentsPerJob"]
    way.switch(jobSeconds=0)
    await submit(way, names)
    await way.poll_until_empty()
    after = stats(way.ner_emulator)["documentsPerJob"]
    counts = {int(count): jobs - before.get(count, 0) for count, jobs in after.items()}
    assert sum(count * jobs for count, jobs in counts.items()) == 50
    assert max(count for count, jobs in counts.items() if jobs) == 20
    assert statuses(way, names) == ["succeeded"] * 50
    assert way.in_flight() == 0


def comparable(outcome: Outcome | None) -> dict[str, Any]:
    """Return an outcome without ids and times."""
    found: dict[str, Any] = json.loads(msgspec.json.encode(outcome))
    found["jobs"] = [job["status"] for job in found["jobs"]]
    found["source"].pop("etag")
    found["source"].pop("lastModified")
    return found


async def test_outcomes_are_those_of_single_files(way: Way) -> None:
    """Whatever the files are: of one document or several, in any encoding, with errors or without."""
    lines = [{"id": "a", "text": "Play some jazz."}, {"id": "b", "text": "A table in Bristol.", "language": "xx"}]
    files = {
        "kinds/plain.txt": TEXT,
        "kinds/latin.txt": "Ein Tisch für zwei in Köln, bitte, und zwar für heute Abend.".encode("latin-1"),
        "kinds/long.txt": TEXT * 60,
        "kinds/lines.jsonl": "\n".join(json.dumps(line) for line in lines).encode(),
        "kinds/list.json": json.dumps([{"id": str(number), "text": "Play jazz."} for number in range(5)]).encode(),
        "kinds/other.txt": "Wetter in München 🌦, bitte!".encode(),
    }
    way.switch(jobSeconds=0)
    found: list[list[dict[str, Any]]] = []
    for together in (False, True):
        for way.name, data in files.items():
            way.upload(data + b" " if together else data)
        if together:
            await submit(way, files)
            _, record = next_batch(way)
            assert len(record.members) == len(files)
            way.queue.clear_messages()
            await way.sweep()
        else:
            for name in files:
                await way.pipeline.submit(name)
        await way.poll_until_empty()
        found.append([comparable(outcome_of(way, name)) for name in files])
    for single, shared in zip(*found, strict=True):
        single["source"]["length"] += 1
        assert shared == single


@pytest.mark.parametrize("refused", [1, 2])
async def test_a_request_that_is_refused_is_sent_again_file_by_file(refused: int, way: Way) -> None:
    """Only a file whose own request is refused fails."""
    drop(way)
    way.switch(jobSeconds=0, faults=[{"status": 400, "method": "POST", "times": refused}])
    before = documents(way.ner_emulator)
    await submit(way)
    await way.poll_until_empty()
    assert sorted(map(str, statuses(way))) == ["failed"] * (refused - 1) + ["succeeded"] * (5 - refused)
    assert documents(way.ner_emulator) - before == 5 - refused
    await way.sweep()
    assert way.queue.get_queue_properties().approximate_message_count == 0


@pytest.mark.parametrize("is_lasting", [False, True])
async def test_a_job_that_fails_as_a_whole_is_tried_once_more_file_by_file(way: Way, *, is_lasting: bool) -> None:
    """A second failure is the outcome."""
    drop(way)
    way.switch(jobSeconds=0, jobEnd="failed")
    before = documents(way.ner_emulator)
    await submit(way)
    way.switch(jobSeconds=0, jobEnd="failed" if is_lasting else "succeeded")
    await way.poll_until_empty()
    assert statuses(way) == ["failed" if is_lasting else "succeeded"] * 4
    assert documents(way.ner_emulator) - before == 8


@pytest.mark.parametrize("status", [401, 403, 404, 429, 503])
async def test_files_that_wait_for_the_service_wait_together(status: int, way: Way) -> None:
    """As one message; once the service accepts calls, in one job."""
    drop(way)
    way.switch(jobSeconds=0, faults=[{"status": status, "method": "POST", "times": 2}])
    before = documents(way.ner_emulator)
    await submit(way)
    body, record = next_batch(way)
    assert (record.kind, members(record)) == (BatchKind.WAITING, list(NAMES))
    await way.pipeline.poll(body)
    assert way.queue.get_queue_properties().approximate_message_count == 1
    await way.poll_until_empty()
    assert statuses(way) == ["succeeded"] * 4
    assert documents(way.ner_emulator) - before == 4
    assert way.in_flight() == 0


async def test_an_unanswered_request_is_sent_again_as_a_whole(way: Way) -> None:
    """It may have been accepted, and may be charged twice, as that of a single file."""
    drop(way)
    way.switch(jobSeconds=0, faults=[{"status": 504, "method": "POST", "times": 1, "after": True, "page": True}])
    before = documents(way.ner_emulator)
    await submit(way)
    await way.poll_until_empty()
    assert statuses(way) == ["succeeded"] * 4
    assert documents(way.ner_emulator) - before == 8


async def test_a_forgotten_job_fails_all_its_files(way: Way) -> None:
    """The service has charged it, and each file says so."""
    drop(way)
    way.switch(jobSeconds=0, retentionSeconds=60)
    await submit(way)
    before = documents(way.ner_emulator)
    way.pass_time(3600)
    await way.poll_until_empty()
    assert statuses(way) == ["failed"] * 4
    assert documents(way.ner_emulator) == before


async def test_files_that_change_while_they_wait_drop_out(way: Way) -> None:
    """A deleted one and a replaced one are not sent; the newer version is, on its own message."""
    drop(way)
    way.switch(jobSeconds=0, faults=[{"status": 503, "method": "POST", "times": 1}])
    before = documents(way.ner_emulator)
    await submit(way)
    way.blobs.get_blob_client(way.settings.input_container, NAMES[0]).delete_blob()
    way.name = NAMES[1]
    way.upload(b"Play some jazz in Leeds.")
    await way.pipeline.submit(NAMES[1])
    await way.poll_until_empty()
    assert statuses(way, NAMES[1:]) == ["succeeded"] * 3
    assert documents(way.ner_emulator) - before == 3
    await way.sweep()
    assert way.in_flight() == 0


async def test_a_file_that_changes_while_the_job_runs_gets_its_own_outcome(way: Way) -> None:
    """The others get theirs from the job; the old version's is not written."""
    drop(way)
    await submit(way)
    way.name = NAMES[1]
    way.upload(b"Play some jazz in Leeds.")
    await way.pipeline.submit(NAMES[1])
    way.end_jobs()
    await way.poll_until_empty()
    assert statuses(way) == ["succeeded"] * 4
    outcome = outcome_of(way, NAMES[1])
    assert outcome is not None
    assert "Leeds" in [entity.text for entity in outcome.documents[0].entities]
    assert way.in_flight() == 0


async def test_a_file_that_is_saved_again_takes_over_its_part_of_the_job(way: Way) -> None:
    """The text is the same, so nothing is charged again, and the others are not held up."""
    drop(way)
    await submit(way)
    before = documents(way.ner_emulator)
    drop(way, NAMES[2:3])
    await way.pipeline.submit(NAMES[2])
    way.end_jobs()
    await way.poll_until_empty()
    assert statuses(way) == ["succeeded"] * 4
    assert documents(way.ner_emulator) == before
    assert way.in_flight() == 0


async def test_an_outcome_that_cannot_be_written_holds_up_no_other(way: Way) -> None:
    """Another program holds a lease on it; once that is released, the outcome is written."""
    drop(way)
    way.switch(jobSeconds=0)
    blob = way.blobs.get_blob_client(way.settings.results_container, f"{NAMES[1]}.json")
    blob.upload_blob(b"-")
    held = blob.acquire_lease(lease_duration=-1)
    await submit(way)
    body, _ = next_batch(way)
    await way.pipeline.poll(body)
    assert statuses(way) == ["succeeded", None, "succeeded", "succeeded"]
    held.release()
    await way.poll_until_empty()
    assert statuses(way) == ["succeeded"] * 4
    assert way.in_flight() == 0


async def test_files_with_the_longest_names_share_a_job(way: Way) -> None:
    """Their record does not fit a message, so the next worker reads it."""
    names = [f"{number:02}{'文' * 960}.txt" for number in range(20)]
    for way.name in names:
        way.upload(f"{TEXT.decode()} {way.name[:3]}".encode())
    before = documents(way.ner_emulator)
    way.switch(jobSeconds=0)
    await submit(way, names)
    body = way.message().content.encode()
    message = decode_message(body)
    assert isinstance(message, BatchMessage)
    assert message.record is None
    await way.pipeline.poll(body)
    await way.poll_until_empty()
    assert statuses(way, names) == ["succeeded"] * 20
    assert documents(way.ner_emulator) - before == 20
    assert way.in_flight() == 0


async def test_a_worker_that_dies_before_the_record_leaves_files_that_continue_alone(way: Way) -> None:
    """One of them may be what it died of. None is lost, and the sweep's messages bring all of them back."""
    drop(way)
    way.switch(jobSeconds=0)

    async def die() -> None:
        raise asyncio.CancelledError

    state = f"{way.settings.state_container}/batches/"
    with before_blob_call("upload_blob", state, die):
        results = await asyncio.gather(*(way.pipeline.submit(name) for name in NAMES), return_exceptions=True)
    assert any(isinstance(result, asyncio.CancelledError) for result in results)
    way.queue.clear_messages()
    before = documents(way.ner_emulator)
    assert (await way.sweep()).missing == 4
    await way.poll_until_empty()
    assert statuses(way) == ["succeeded"] * 4
    assert documents(way.ner_emulator) - before == 4
    assert way.in_flight() == 1  # the void record, which keeps the slow worker from recording its job


async def test_a_waiting_batch_is_dissolved_after_the_first_death(way: Way) -> None:
    """Then each file is tried alone, and only the one that kills its workers is given up."""
    drop(way)
    way.switch(jobSeconds=0, faults=[{"status": 503, "method": "POST", "times": 1}])
    await submit(way)
    body, _ = next_batch(way)
    way.pass_time(way.settings.submit_timeout_seconds)
    await way.pipeline.poll(body, comes_again=True)
    messages = [decode_message(message.content) for message in way.queue.peek_messages(max_messages=32)]
    assert sorted(message.file for message in messages if isinstance(message, FileMessage)) == list(NAMES)
    await way.poll_until_empty()
    assert statuses(way) == ["succeeded"] * 4


async def test_a_job_is_not_paid_again_until_several_workers_have_died(
    way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files continue alone as late after the last try as that came after the one before."""
    drop(way)
    way.switch(jobSeconds=0)
    await submit(way)
    before = documents(way.ner_emulator)

    async def die(*_arguments: object) -> None:
        raise asyncio.CancelledError

    for _ in range(MAX_TRIES):
        body, _ = next_batch(way)
        with monkeypatch.context() as patch:
            patch.setattr(NerClient, "look", die)
            with pytest.raises(asyncio.CancelledError):
                await way.pipeline.poll(body)
        await way.sweep()
    body, record = next_batch(way)
    assert record.tries == MAX_TRIES
    died = way.now()
    await way.pipeline.poll(body)
    body, _ = next_batch(way)
    assert way.now() - died >= timedelta(seconds=LAST_TRY_TIMEOUTS * way.settings.submit_timeout_seconds)
    assert documents(way.ner_emulator) == before
    await way.pipeline.poll(body)
    await way.poll_until_empty()
    assert statuses(way) == ["succeeded"] * 4
    assert documents(way.ner_emulator) - before == 4
