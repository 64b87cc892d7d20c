"""A version is submitted once, and the newest one wins, however often and at once it is asked for."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from shared.jobs import JobMessage, decode_message, encode_message
from shared.submissions import new_claim_id

from shared.outcome import OutcomeStatus
from tests.emulator import CLIENT
from tests.integration.conftest import TEXT, Way
from tests.integration.test_many_jobs import lines

NEWER = b"The newer text asks for a table at Blue Heron."


def statuses(way: Way) -> list[str]:
    """Return how the jobs of the way's file stand in the service, in the order of their submission."""
    jobs = CLIENT.get(f"{way.ner_emulator}/emulator/jobs").raise_for_status().json()["jobs"]
    return [job["status"] for job in jobs if job["displayName"] == way.name]


@pytest.mark.parametrize(("name", "data", "requests"), [("one.txt", TEXT, 1), ("many.jsonl", lines(60), 3)])
async def test_one_event_twenty_times_at_once_and_again_is_one_submission(
    name: str, data: bytes, requests: int, way: Way
) -> None:
    """In two instances of the app, while the job runs, and after the outcome."""
    way.name = f"twenty-{name}"
    way.switch(jobSeconds=0.5, latencySeconds=0.2)
    way.upload(data)
    other = way.another_pipeline()
    await asyncio.gather(*(pipeline.submit(way.name) for _ in range(10) for pipeline in (way.pipeline, other)))
    assert way.submissions() == requests
    await way.pipeline.submit(way.name)
    outcome = await way.poll_until_outcome()
    assert outcome.status is OutcomeStatus.SUCCEEDED
    await asyncio.gather(*(pipeline.submit(way.name) for _ in range(10) for pipeline in (way.pipeline, other)))
    await way.poll_until_empty()
    assert way.submissions() == requests
    assert way.in_flight() == 0
    assert way.outcome() == outcome
    await asyncio.gather(way.pipeline.aclose(), other.aclose())


async def test_a_bad_file_is_not_written_twice(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its outcome is made once, however often the host says that it is there."""
    written: list[str] = []
    write = way.pipeline.storage.write_outcome

    async def count(name: str, *arguments: Any) -> None:
        await write(name, *arguments)
        written.append(name)

    monkeypatch.setattr(way.pipeline.storage, "write_outcome", count)
    way.upload(b"")
    await asyncio.gather(*(way.pipeline.submit(way.name) for _ in range(10)))
    assert written == ["a.txt.json"]


async def test_a_slow_worker_that_was_taken_over_cancels_its_own_job(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    """It took longer than a worker may; what it has paid for nevertheless is cancelled, and one job is followed."""
    way.name = "slow-worker.txt"
    way.switch(jobSeconds=1000)
    way.upload()
    other = way.another_pipeline(later=timedelta(seconds=130))
    submit = way.pipeline.ner.submit

    async def submit_slowly(*arguments: Any) -> str:
        job_id = await submit(*arguments)
        way.switch(jobSeconds=0)
        await other.submit(way.name)
        return job_id

    monkeypatch.setattr(way.pipeline.ner, "submit", submit_slowly)
    await way.pipeline.submit(way.name)
    await way.poll_until_empty()
    slow, fast = statuses(way)
    assert slow.startswith("cancel")
    assert fast == "succeeded"
    assert (outcome := way.outcome()) is not None
    assert len(outcome.jobs) == 1
    assert way.in_flight() == 0
    await asyncio.gather(way.pipeline.aclose(), other.aclose())


@pytest.mark.parametrize(("first", "newer"), [(TEXT, NEWER), (lines(60), lines(2))])
async def test_an_overwritten_version_stops_and_its_jobs_are_cancelled(first: bytes, newer: bytes, way: Way) -> None:
    """The newer outcome is never replaced by the older one, whose job would have ended later."""
    way.name = f"overwritten-{len(first)}.{'txt' if first == TEXT else 'jsonl'}"
    way.switch(jobSeconds=1000)
    await way.submit(first)
    older = way.message().content.encode()
    way.switch(jobSeconds=0)
    way.upload(newer)
    await way.pipeline.submit(way.name)
    outcome = await way.poll_until_there()
    await way.pipeline.poll(older)
    await way.poll_until_empty()
    assert way.outcome() == outcome
    *olds, new = statuses(way)
    assert all(status.startswith("cancel") for status in olds)
    assert new == "succeeded"
    assert way.in_flight() == 0


async def test_an_event_that_lingers_does_not_submit_a_version_that_was_replaced(way: Way) -> None:
    """The host hands over bytes that it read before: nothing is paid for them, and the newer version is seen to."""
    way.name = "lingering.txt"
    way.upload()
    old = await way.pipeline.storage.read_upload(way.name)
    assert old is not None
    way.upload(NEWER)
    await way.pipeline.submit(way.name, old.data, old.source)
    assert way.submissions() == 0
    outcome = await way.poll_until_outcome()
    assert outcome.source.etag == way.etag
    assert way.submissions() == 1


async def test_an_event_that_lingers_does_not_submit_a_file_that_was_deleted(way: Way) -> None:
    """Nobody waits for it."""
    way.name = "lingering-deleted.txt"
    way.upload()
    old = await way.pipeline.storage.read_upload(way.name)
    assert old is not None
    way.blobs.get_blob_client(way.settings.input_container, way.name).delete_blob()
    await way.pipeline.submit(way.name, old.data, old.source)
    await way.poll_until_empty()
    assert way.submissions() == 0
    assert way.in_flight() == 0
    assert way.outcome() is None


async def test_a_version_that_is_overwritten_at_the_last_moment_does_not_win(
    way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at what is there and the writing, the newer version comes, and even ends."""
    way.switch(jobSeconds=0)
    await way.submit()
    older = way.message().content.encode()
    write = way.pipeline.storage.write_outcome
    other = way.another_pipeline()

    async def write_late(*arguments: Any) -> None:
        monkeypatch.undo()
        way.upload(NEWER)
        await other.submit(way.name)
        while way.outcome() is None:
            message = await asyncio.to_thread(way.message)
            await other.poll(message.content.encode())
        await write(*arguments)

    monkeypatch.setattr(way.pipeline.storage, "write_outcome", write_late)
    await way.pipeline.poll(older)
    outcome = await way.poll_until_outcome()
    assert outcome.source.length == len(NEWER)
    await other.aclose()


async def test_a_file_that_was_deleted_after_its_submission_gets_its_outcome(way: Way) -> None:
    """It has been paid for; but it does not replace the outcome of a version that came later."""
    way.switch(jobSeconds=0)
    await way.submit()
    blob = way.blobs.get_blob_client(way.settings.input_container, way.name)
    blob.delete_blob()
    older = way.message()
    await way.pipeline.poll(older.content.encode())
    assert (await way.poll_until_outcome()).status is OutcomeStatus.SUCCEEDED
    # The time of an upload has whole seconds, and decides only here.
    await asyncio.sleep(1.1)
    await way.submit(NEWER)
    newest = await way.poll_until_outcome()
    blob.delete_blob()
    await way.pipeline.poll(older.content.encode())
    assert way.outcome() == newest
    assert way.in_flight() == 0


async def test_a_lost_answer_costs_one_submission_at_most(way: Way) -> None:
    """The service accepts the text, and the connection breaks before it says so."""
    way.name = "lost-answer.txt"
    way.switch(jobSeconds=0, faults=[{"method": "POST", "after": True, "times": 1}])
    await way.submit()
    assert (await way.poll_until_outcome()).status is OutcomeStatus.SUCCEEDED
    assert way.submissions() == 2


@pytest.mark.parametrize(
    "data", [b'{"from": "the future"}\n', b'{"message": {"version": 1, "source": {"name": "\xff"}}}\n']
)
async def test_an_unreadable_record_ends_in_an_outcome(data: bytes, way: Way) -> None:
    """Another version of the app wrote it: the host's tries come to nothing, and giving up cleans up."""
    way.name = "lines.jsonl"
    await way.submit(lines(30))
    body = way.message().content.encode()
    message = decode_message(body)
    state = way.pipeline.state
    state_blobs = way.blobs.get_container_client(way.settings.state_container)
    for blob in [blob.name for blob in state_blobs.list_blobs()]:
        state_blobs.delete_blob(blob)
        state_blobs.upload_blob(blob, data)
    with pytest.raises(Exception, match="cannot be read"):
        await way.pipeline.poll(body)
    await way.pipeline.poison.give_up(body)
    outcome = way.outcome()
    assert outcome is not None
    assert [problem.code for problem in outcome.errors] == ["ProcessingFailed"]
    assert way.in_flight() == 0
    assert await state.read_submission(message.source) is None


async def test_a_poison_message_of_another_follower_changes_nothing(way: Way) -> None:
    """The version is on its way by another message: that one ends it."""
    way.switch(faults=[{"status": 503, "method": "POST"}])
    await way.submit()
    mine = way.message()
    message = decode_message(mine.content)
    forged = mine.content.replace(str(message.claim_id), "0" * 32)
    await way.pipeline.poison.give_up(forged.encode())
    assert way.outcome() is None
    way.switch(jobSeconds=0)
    await way.pipeline.poll(mine.content.encode())
    assert (await way.poll_until_outcome()).status is OutcomeStatus.SUCCEEDED
    await way.pipeline.aclose()


async def test_a_failed_outcome_is_replaced_once_when_that_is_asked_for(way: Way) -> None:
    """A late message of the first submission neither ends the second one nor deletes its record."""
    way.name = "asked-for.txt"
    way.switch(jobSeconds=0, jobEnd="failed")
    await way.submit()
    first = way.message().content
    await way.pipeline.poll(first.encode())
    failed = await way.pipeline.storage.present_outcome("asked-for.txt.json")
    assert failed is not None
    message = decode_message(first)
    again = JobMessage(
        source=message.source,
        received_date_time=message.received_date_time,
        claim_id=new_claim_id(),
        replaces=failed.etag,
    )
    way.switch(faults=[{"status": 503, "method": "POST"}])
    await way.pipeline.poll(encode_message(again).encode())
    waiting = way.message()
    await way.pipeline.poll(first.encode())
    assert way.in_flight() == 1
    way.switch(jobSeconds=0)
    await way.pipeline.poll(waiting.content.encode())
    await way.poll_until_empty()
    assert (outcome := way.outcome()) is not None
    assert outcome.status is OutcomeStatus.SUCCEEDED
    await way.pipeline.poll(encode_message(again).encode())
    await way.poll_until_empty()
    assert way.outcome() == outcome
    assert way.submissions() == 2
    assert way.in_flight() == 0
