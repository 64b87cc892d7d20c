"""Jobs that the service has accepted and storage refuses to record: paid as seldom as can be, and never lost."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta

import pytest
from azure.core.exceptions import ServiceRequestError
from azure.storage.queue.aio import QueueClient

from shared.outcome import OutcomeStatus
from shared.pipeline.decisions import MAX_UNSURE
from shared.pipeline.running import Pipeline, RefusedError
from shared.state.batch import BATCHES
from shared.state.claim import MAX_TRIES
from tests.calls import before_blob_call, refuse
from tests.integration.conftest import Way
from tests.integration.test_many_jobs import lines

HOST_TRIES = 5
"""So often the host hands over a message before it gives it up."""

Refused = Callable[[], Awaitable[None]]


def records(way: Way) -> str:
    """Return how the names of records begin, for the hooks."""
    return f"{way.settings.state_container}/{BATCHES}"


@pytest.mark.parametrize("times", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("waits", [False, True], ids=["at once", "after waiting"])
async def test_a_job_that_cannot_be_recorded_is_paid_once(times: int, way: Way, *, waits: bool) -> None:
    """Its message carries it, and whoever receives it writes the record, or ends the file without one."""
    way.name = f"unrecorded-{times}-{waits}.txt"
    way.switch(jobSeconds=1000)
    if waits:
        way.switch(jobSeconds=1000, faults=[{"status": 503, "method": "POST", "times": 1}])
        await way.submit()
    # The baton of a text that waits is taken before it is posted.
    with before_blob_call("upload_blob", records(way), refuse_after(int(waits), times), times=None):
        if not waits:
            await way.submit()
        for _ in range(5):
            await deliver(way)
            assert way.queue.get_queue_properties().approximate_message_count == 1
    assert way.submissions() == 1
    way.end_jobs()
    assert (await way.poll_until_outcome()).status is OutcomeStatus.SUCCEEDED
    assert way.submissions() == 1


async def deliver(way: Way, pipeline: Pipeline | None = None) -> None:
    """Hand over the next message, again if that fails, as the host does."""
    body = way.message().content.encode()
    pipeline = pipeline or way.pipeline
    for _ in range(HOST_TRIES - 1):
        with suppress(RefusedError):
            await pipeline.poll(body)
            return
    await pipeline.poll(body)


def refuse_after(made: int, refused: int) -> Refused:
    """Return what refuses so many calls, after so many that were made."""
    count = 0

    async def call() -> None:
        nonlocal count
        count += 1
        if made < count <= made + refused:
            raise ServiceRequestError("refused by the test")

    return call


async def test_a_job_that_ends_before_it_can_be_recorded_has_its_outcome(way: Way) -> None:
    """The record is of use only while the job runs."""
    way.name = "unrecorded-quick.txt"
    way.switch(jobSeconds=0)
    with before_blob_call("upload_blob", records(way), refuse, times=None):
        await way.submit()
        assert (await way.poll_until_there()).status is OutcomeStatus.SUCCEEDED
    assert way.in_flight() == 0
    assert way.submissions() == 1


async def test_two_messages_of_an_unrecorded_job_are_one_afterwards(way: Way) -> None:
    """The host may hand over the same message twice: one of them writes the record, and the other one ends."""
    way.name = "unrecorded-twice.txt"
    way.switch(jobSeconds=1000)
    with before_blob_call("upload_blob", records(way), refuse):
        await way.submit()
    body = way.message().content.encode()
    other = way.another_pipeline(later=timedelta(seconds=1))
    await asyncio.gather(way.pipeline.poll(body), other.poll(body))
    assert way.queue.get_queue_properties().approximate_message_count == 1
    way.end_jobs()
    await way.poll_until_outcome()
    await other.aclose()


async def test_neither_record_nor_message_costs_a_few_submissions_at_most(
    way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as storage refuses both, each worker that takes over pays; then the outcome says so."""
    await way.pipeline.sweep()
    way.name = "unrecorded-unsent.txt"
    way.switch(jobSeconds=0)
    way.upload()

    async def unsent(*_arguments: object, **_named: object) -> None:
        await refuse()

    for tries in range(1, MAX_TRIES + 1):
        # A worker that takes over has put up the fence before.
        refused = refuse_after(0 if tries == 1 else 1, 10)
        body = None if tries == 1 else way.message().content.encode()
        with before_blob_call("upload_blob", records(way), refused, times=None), monkeypatch.context() as patch:
            patch.setattr(QueueClient, "send_message", unsent)
            await (way.pipeline.submit(way.name) if body is None else way.pipeline.poll(body))
        assert way.submissions() == tries
        assert (await way.sweep()).missing == 1
    await way.pipeline.poll(way.message().content.encode())
    outcome = way.outcome()
    assert outcome is not None
    assert [problem.code for problem in outcome.errors] == ["ProcessingFailed"]
    assert way.submissions() == MAX_TRIES


async def test_a_ledger_that_cannot_be_written_costs_a_few_submissions_at_most(
    way: Way, caplog: pytest.LogCaptureFixture
) -> None:
    """After a few jobs that were paid in vain the file fails, and the log says why."""
    way.name = "unrecorded-ledger.jsonl"
    # The first entry tells of the file.
    with before_blob_call("append_block", records(way), refuse_after(1, 10**6), times=None):
        await way.submit(lines(60))
        outcome = await way.poll_until_there()
    assert outcome.status is OutcomeStatus.FAILED
    assert [problem.code for problem in outcome.errors] == ["ProcessingFailed"]
    assert way.submissions() == MAX_UNSURE
    assert "jobs of this file cannot be recorded" in caplog.text
    assert way.in_flight() == 0
    assert way.queue.get_queue_properties().approximate_message_count == 0


async def test_a_ledger_that_cannot_be_written_for_a_while_costs_one_job_more(way: Way) -> None:
    """Afterwards the file goes on where it stopped."""
    way.name = "unrecorded-entry.jsonl"
    way.switch(jobSeconds=0)
    with before_blob_call("append_block", records(way), refuse_after(2, 1), times=None):
        await way.submit(lines(60))
    outcome = await way.poll_until_outcome()
    assert outcome.status is OutcomeStatus.SUCCEEDED
    assert len(outcome.jobs) == 3
    assert way.submissions() == 4


async def test_nothing_is_paid_as_long_as_a_ledger_cannot_be_begun(way: Way) -> None:
    """Its first entry tells of the file, and comes before the first request."""
    way.name = "unrecorded-file.jsonl"
    way.switch(jobSeconds=0)
    with before_blob_call("append_block", records(way), refuse, times=3):
        await way.submit(lines(60))
        for _ in range(2):
            await way.pipeline.poll(way.message().content.encode())
    assert way.submissions() == 0
    outcome = await way.poll_until_outcome()
    assert outcome.status is OutcomeStatus.SUCCEEDED
    assert way.submissions() == 3
