"""A version is submitted once, and the newest one wins, however often and at once it is asked for."""

import asyncio
import logging
from datetime import timedelta

import pytest
from azure.core.exceptions import ResourceNotFoundError

from shared.message import FileMessage, encode_message
from shared.outcome import OutcomeStatus
from shared.state.claim import CLAIMS
from tests.calls import after_submission, before_blob_call
from tests.emulator import CLIENT
from tests.integration.conftest import TEXT, Way
from tests.integration.test_many_jobs import lines

NEWER = b"The newer text asks for a table at Blue Heron."
SLOW = timedelta(seconds=600)
"""Longer than any worker may take, and than a record may be overdue before its message counts as lost."""


def statuses(way: Way) -> list[str]:
    """Return how the jobs of the way's file stand in the service, in the order of their submission."""
    jobs = CLIENT.get(f"{way.ner_emulator}/emulator/jobs").raise_for_status().json()["jobs"]
    return [job["status"] for job in jobs if job["displayName"] == way.name]


def version_with_outcome(way: Way) -> str | None:
    """Return the etag of the version that has an outcome; None if there is no outcome at all."""
    blob = way.blobs.get_blob_client(way.settings.results_container, f"{way.name}.json")
    try:
        return str(blob.get_blob_properties().metadata["source_etag"])
    except ResourceNotFoundError:
        return None


def delete(way: Way) -> None:
    """Delete the file."""
    way.blobs.get_blob_client(way.settings.input_container, way.name).delete_blob()


def messages(way: Way) -> int:
    """Return how many messages there are, visible or not."""
    return int(way.queue.get_queue_properties().approximate_message_count or 0)


def body_of(way: Way) -> bytes:
    """Take the next message from the queue."""
    return str(way.message().content).encode()


@pytest.mark.parametrize(
    ("name", "data", "requests"), [("one.txt", TEXT, 1), ("many.jsonl", lines(60), 3)], ids=["one job", "many jobs"]
)
async def test_one_event_twenty_times_at_once_and_again_is_one_submission(
    name: str, data: bytes, requests: int, way: Way
) -> None:
    """In two instances of the app, while the job runs, and after the outcome; and it is one message."""
    way.name = f"twenty-{name}"
    way.switch(jobSeconds=0.5, latencySeconds=0.2)
    way.upload(data)
    other = way.another_pipeline()
    await asyncio.gather(*(pipeline.submit(way.name) for _ in range(10) for pipeline in (way.pipeline, other)))
    assert way.submissions() == requests
    assert messages(way) == 1
    await way.pipeline.submit(way.name)
    outcome = await way.poll_until_outcome()
    assert outcome.status is OutcomeStatus.SUCCEEDED
    await asyncio.gather(*(pipeline.submit(way.name) for _ in range(10) for pipeline in (way.pipeline, other)))
    assert messages(way) == 0
    assert way.submissions() == requests
    assert way.in_flight() == 0
    assert way.outcome() == outcome
    await other.aclose()


async def test_a_bad_file_is_not_written_twice(way: Way, caplog: pytest.LogCaptureFixture) -> None:
    """Its outcome is made once, however often the host says that it is there."""
    caplog.set_level(logging.INFO, "ner")
    way.upload(b" ")
    await asyncio.gather(*(way.pipeline.submit(way.name) for _ in range(10)))
    assert len([line for line in caplog.messages if "wrote the outcome" in line]) == 1
    outcome = way.outcome()
    assert outcome is not None
    assert [problem.code for problem in outcome.errors] == ["EmptyFile"]
    assert way.in_flight() == 0


@pytest.mark.parametrize("state", ["claimed", "waiting", "ledger"])
async def test_a_slow_worker_that_was_taken_over_cancels_its_own_job(state: str, way: Way) -> None:
    """It took longer than a worker may; what it has paid for nevertheless is cancelled, and one job is polled.

    The sweep takes over, from whatever there is: a claim alone, the record of a file that waits, or a ledger.
    """
    way.name = f"slow-worker-{state}.jsonl"
    data = lines(60) if state == "ledger" else lines(1)
    other = way.another_pipeline(later=SLOW)

    async def take_over() -> None:
        way.switch(jobSeconds=0)
        assert (await other.sweep()).sent == 1
        await other.poll(body_of(way))

    way.switch(jobSeconds=1000)
    if state == "waiting":
        way.switch(jobSeconds=1000, faults=[{"status": 503, "method": "POST", "times": 1}])
        await way.submit(data)
        waiting = body_of(way)
        with after_submission(take_over):
            await way.pipeline.poll(waiting)
    else:
        way.upload(data)
        with after_submission(take_over):
            await way.pipeline.submit(way.name)
    await way.poll_until_empty()
    slow, *fast = statuses(way)
    assert slow.startswith("cancel")
    assert fast == ["succeeded"] * (3 if state == "ledger" else 1)
    outcome = way.outcome()
    assert outcome is not None
    assert outcome.status is OutcomeStatus.SUCCEEDED
    assert len(outcome.jobs) == len(fast)
    # What kept the slow worker from recording its job stands for some time.
    way.later += timedelta(hours=1)
    await way.sweep()
    assert way.in_flight() == 0
    await other.aclose()


@pytest.mark.parametrize("newer_first", [False, True])
@pytest.mark.parametrize(
    ("kind", "first", "newer"), [("txt", TEXT, NEWER), ("jsonl", lines(60), lines(2))], ids=["one job", "many jobs"]
)
async def test_a_replaced_version_never_has_the_outcome_again(
    kind: str, first: bytes, newer: bytes, way: Way, *, newer_first: bool
) -> None:
    """Neither while the newer one's job runs nor afterwards; its own job runs to its end, and is not wanted."""
    way.name = f"replaced-{newer_first}.{kind}"
    way.switch(jobSeconds=1000)
    await way.submit(first)
    older = body_of(way)
    await way.submit(newer)
    later = body_of(way)
    way.end_jobs()
    if newer_first:
        await way.pipeline.poll(later)
        assert version_with_outcome(way) == way.etag
        await way.pipeline.poll(older)
    else:
        await way.pipeline.poll(older)
        assert version_with_outcome(way) is None
        await way.pipeline.poll(later)
    outcome = await way.poll_until_outcome()
    assert outcome.source.etag == way.etag
    assert set(statuses(way)) == {"succeeded"}


@pytest.mark.parametrize("data", [lines(2), lines(60)], ids=["one job", "many jobs"])
async def test_a_newer_version_of_which_nobody_hears_is_found(data: bytes, way: Way) -> None:
    """The older one's outcome is not written, and the sweep brings the newer one."""
    await way.pipeline.sweep()
    way.name = f"unheard-{len(data)}.jsonl"
    way.switch(jobSeconds=0)
    await way.submit(data)
    older = body_of(way)
    before = way.submissions()
    way.upload(lines(1))
    await way.pipeline.poll(older)
    assert version_with_outcome(way) is None
    assert messages(way) == 0
    assert (await way.sweep()).missing == 1
    outcome = await way.poll_until_outcome()
    assert outcome.status is OutcomeStatus.SUCCEEDED
    assert way.submissions() == before + 1


@pytest.mark.parametrize("ended", [False, True])
async def test_a_worker_that_read_an_older_version_does_not_submit_it(way: Way, *, ended: bool) -> None:
    """Between its reading and its claim the newer version comes, is claimed, and perhaps ends."""
    way.name = f"overtaken-{ended}.txt"
    way.switch(jobSeconds=0)
    way.upload()
    other = way.another_pipeline()

    async def overtake() -> None:
        way.upload(NEWER)
        await other.submit(way.name)
        if ended:
            await other.poll(body_of(way))

    with before_blob_call("upload_blob", f"{way.settings.state_container}/{CLAIMS}", overtake):
        await way.pipeline.submit(way.name)
    outcome = await way.poll_until_outcome()
    assert outcome.source.length == len(NEWER)
    assert way.submissions() == 1
    await other.aclose()


@pytest.mark.parametrize("ended", [False, True])
async def test_a_version_that_is_replaced_at_the_last_moment_does_not_win(way: Way, *, ended: bool) -> None:
    """Between the look at what is there and the writing, the newer version comes, and perhaps ends."""
    way.name = f"last-moment-{ended}.txt"
    way.switch(jobSeconds=0)
    await way.submit()
    older = body_of(way)
    other = way.another_pipeline()

    async def replace() -> None:
        way.upload(NEWER)
        await other.submit(way.name)
        if ended:
            await other.poll(body_of(way))

    with before_blob_call("upload_blob", f"{way.settings.results_container}/", replace):
        await way.pipeline.poll(older)
    outcome = await way.poll_until_outcome()
    assert outcome.source.length == len(NEWER)
    await other.aclose()


async def test_a_file_that_was_deleted_after_its_submission_gets_its_outcome(way: Way) -> None:
    """It has been paid for; but it does not replace the outcome of a version that came later."""
    way.name = "deleted.txt"
    way.switch(jobSeconds=0)
    await way.submit()
    delete(way)
    older = body_of(way)
    await way.pipeline.poll(older)
    assert (await way.poll_until_outcome()).status is OutcomeStatus.SUCCEEDED
    await way.submit(NEWER)
    newest = await way.poll_until_outcome()
    delete(way)
    await way.pipeline.poll(older)
    assert way.outcome() == newest
    assert way.in_flight() == 0


@pytest.mark.parametrize("newer_first", [False, True])
async def test_of_two_versions_of_one_second_that_are_deleted_the_newer_one_wins(
    way: Way, *, newer_first: bool
) -> None:
    """The time of an upload has whole seconds, so it tells nothing here; the claim does."""
    way.name = f"one-second-{newer_first}.txt"
    way.switch(jobSeconds=1000)
    await way.submit()
    older = body_of(way)
    await way.submit(NEWER)
    newer = body_of(way)
    delete(way)
    way.end_jobs()
    for body in (newer, older) if newer_first else (older, newer):
        await way.pipeline.poll(body)
        assert version_with_outcome(way) in (None, way.etag)
    assert (await way.poll_until_outcome()).source.length == len(NEWER)


async def test_an_older_version_does_not_win_where_the_newer_one_was_deleted_unsubmitted(way: Way) -> None:
    """The newer one waited for the service when the file was deleted: there is no outcome then."""
    way.name = "deleted-while-the-newer-one-waited.txt"
    way.switch(jobSeconds=1000)
    await way.submit()
    older = body_of(way)
    way.switch(jobSeconds=1000, faults=[{"status": 503, "method": "POST"}])
    await way.submit(NEWER)
    newer = body_of(way)
    delete(way)
    way.switch()
    way.end_jobs()
    for body in (newer, older):
        await way.pipeline.poll(body)
    assert version_with_outcome(way) is None
    assert messages(way) == 0
    await way.sweep()
    assert way.in_flight() == 0


async def test_a_message_that_came_twice_is_one_message_again(way: Way) -> None:
    """Whoever comes second finds that another worker goes on: nobody polls twice from then on, or pays twice."""
    way.name = "came-twice.txt"
    other = way.another_pipeline(later=timedelta(seconds=1))
    way.switch(jobSeconds=1000, faults=[{"status": 503, "method": "POST", "times": 1}])
    await way.submit()
    for _ in range(3):
        body = body_of(way)
        await asyncio.gather(way.pipeline.poll(body), other.poll(body))
        await way.pipeline.poll(body)
        assert messages(way) == 1
        assert way.submissions() == 1
    way.end_jobs()
    await way.poll_until_outcome()
    await other.aclose()


async def test_a_lost_answer_costs_one_submission_at_most(way: Way) -> None:
    """The service accepts the text, and the connection breaks before it says so."""
    way.name = "lost-answer.txt"
    way.switch(jobSeconds=0, faults=[{"method": "POST", "after": True, "times": 1}])
    await way.submit()
    assert (await way.poll_until_outcome()).status is OutcomeStatus.SUCCEEDED
    assert way.submissions() == 2


@pytest.mark.parametrize("data", [b'{"from": "the future"}\n', b'{"source": {"name": "\xff"}}\n'])
async def test_what_another_version_of_the_app_left_is_left_alone_until_an_operator_deletes_it(
    data: bytes, way: Way, caplog: pytest.LogCaptureFixture
) -> None:
    """No outcome is made up, and nothing is paid again meanwhile; the log says why."""
    await way.pipeline.sweep()
    way.name = f"future-{len(data)}.jsonl"
    way.switch(jobSeconds=0)
    await way.submit(lines(30))
    body = body_of(way)
    state = way.blobs.get_container_client(way.settings.state_container)
    names = [blob.name for blob in state.list_blobs() if not blob.name.startswith("app/")]
    for name in names:
        state.delete_blob(name)
        state.upload_blob(name, data)
    await way.pipeline.poll(body)
    await way.sweep()
    await way.pipeline.submit(way.name)
    await way.poll_until_empty()
    assert way.outcome() is None
    assert way.submissions() == 2
    assert "cannot be read" in caplog.text
    for name in names:
        state.delete_blob(name)
    await way.sweep()
    assert (await way.poll_until_outcome()).status is OutcomeStatus.SUCCEEDED


async def test_a_failed_outcome_is_replaced_once_when_that_is_asked_for(way: Way) -> None:
    """A late message of the first submission neither ends the second one nor deletes its record."""
    way.name = "asked-for.txt"
    way.switch(jobSeconds=0, jobEnd="failed")
    await way.submit()
    first = body_of(way)
    await way.pipeline.poll(first)
    blob = way.blobs.get_blob_client(way.settings.results_container, f"{way.name}.json")
    replaces = str(blob.get_blob_properties().etag).strip('"')
    again = encode_message(FileMessage(file=way.name, replaces=replaces)).encode()
    way.switch(faults=[{"status": 503, "method": "POST"}])
    await asyncio.gather(way.pipeline.poll(again), way.pipeline.poll(again))
    assert messages(way) == 1
    waiting = body_of(way)
    await way.pipeline.poll(first)
    assert way.in_flight() == 2
    way.switch(jobSeconds=0)
    await way.pipeline.poll(waiting)
    await way.poll_until_empty()
    outcome = way.outcome()
    assert outcome is not None
    assert outcome.status is OutcomeStatus.SUCCEEDED
    await way.pipeline.poll(again)
    assert way.outcome() == outcome
    assert way.submissions() == 2
    assert messages(way) == 0
    assert way.in_flight() == 0


async def test_a_message_without_a_wish_replaces_no_outcome(way: Way) -> None:
    """Neither a success nor a failure of the same version is paid again."""
    way.name = "no-wish.txt"
    way.switch(jobSeconds=0, jobEnd="failed")
    await way.submit()
    await way.poll_until_outcome()
    await way.pipeline.poll(encode_message(FileMessage(file=way.name)).encode())
    await way.pipeline.poll(encode_message(FileMessage(file=way.name, replaces="0x0")).encode())
    assert messages(way) == 0
    assert way.submissions() == 1
    assert way.in_flight() == 0
