"""A text is submitted a few times at most, never after its deadline, and a refusal of storage is no dead worker."""

import json
from datetime import timedelta

import pytest
from azure.storage.blob import BlobLeaseClient

from shared.outcome import OutcomeStatus
from shared.pipeline.decisions import MAX_UNSURE
from shared.pipeline.services import MAX_LARGE_FILES
from shared.pipeline.submitting import LARGE_FILE
from shared.state.claim import MAX_TRIES
from tests.integration.conftest import TEXT, Way
from tests.integration.test_many_jobs import lines


async def test_answers_that_are_always_lost_cost_five_submissions(way: Way) -> None:
    """Each may have been paid for."""
    way.name = "unanswered.txt"
    way.switch(jobSeconds=0, faults=[{"method": "POST", "after": True}])
    await way.submit()
    outcome = await way.poll_until_outcome()
    assert outcome.status is OutcomeStatus.FAILED
    assert way.submissions() == MAX_UNSURE
    assert timedelta(hours=12) < way.later < timedelta(days=1)


@pytest.mark.parametrize(
    ("name", "data"), [("late.txt", TEXT), ("late.jsonl", lines(60))], ids=["one job", "many jobs"]
)
async def test_nothing_is_submitted_after_the_deadline(name: str, data: bytes, way: Way) -> None:
    """The outcome says why the last submission failed."""
    way.name = name
    way.switch(jobSeconds=0, faults=[{"status": 503, "method": "POST", "times": 1}])
    await way.submit(data)
    way.later += timedelta(days=2)
    outcome = await way.poll_until_outcome()
    assert [problem.code for problem in outcome.errors] == ["ServiceUnavailable"]
    assert way.submissions() == 0


async def test_a_claim_that_was_left_is_not_submitted_after_the_deadline(way: Way) -> None:
    """As where the app was stopped for days."""
    await way.pipeline.sweep()
    way.name = "left.txt"
    way.upload()
    claim = way.pipeline.services.state.claim_blob(way.name)
    await way.submit()
    way.queue.clear_messages()
    left = json.loads(await (await claim.download_blob()).readall())
    await way.pipeline.services.state.delete_batch(left["batch"], None)
    before = way.submissions()
    way.later += timedelta(days=2)
    assert (await way.sweep()).missing == 1
    outcome = await way.poll_until_there()
    assert [problem.code for problem in outcome.errors] == ["NotSubmitted"]
    assert way.submissions() == before


async def test_a_bad_file_whose_outcome_is_refused_keeps_its_reason(way: Way) -> None:
    """Another program holds a lease on the outcome of its last version, for longer than workers may die."""
    await way.pipeline.sweep()
    way.name = "leased.txt"
    way.switch(jobSeconds=0)
    await way.submit()
    await way.poll_until_outcome()
    lease = BlobLeaseClient(way.blobs.get_blob_client(way.settings.results_container, "leased.txt.json"))
    lease.acquire(lease_duration=-1)
    await way.submit(b" ")
    for _ in range(MAX_TRIES + 2):
        await way.poll_until_empty()
        await way.sweep()
    lease.break_lease(0)
    await way.sweep()
    outcome = await way.poll_until_outcome()
    assert [problem.code for problem in outcome.errors] == ["EmptyFile"]


async def test_a_large_file_that_waits_for_its_turn_does_not_hold_up_the_sweep(way: Way) -> None:
    """Its message comes again and again, so that it never is overdue."""
    await way.pipeline.sweep()
    way.name = "large.txt"
    way.upload(b"A word. " * (LARGE_FILE // 8 + 1))
    for _ in range(MAX_LARGE_FILES):
        await way.pipeline.services.reading.acquire()
    assert (await way.sweep()).missing == 1
    for _ in range(40):
        await way.pipeline.poll(way.message().content.encode())
    way.hidden.clear()
    assert not (await way.pipeline.sweep()).is_behind
    for _ in range(MAX_LARGE_FILES):
        way.pipeline.services.reading.release()
