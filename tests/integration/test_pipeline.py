"""What becomes of a file of one job, whatever the service does."""

from datetime import timedelta

import pytest

from shared.message import BatchMessage, decode_message
from shared.outcome import OutcomeStatus
from shared.state.batch import BatchKind
from tests.emulator import stats
from tests.integration.conftest import Way


def batch_of(body: bytes | str) -> BatchMessage:
    """Return a message about a batch."""
    message = decode_message(body)
    assert isinstance(message, BatchMessage)
    return message


async def test_a_file_is_submitted_once_and_polled(way: Way) -> None:
    """One message goes round; it holds the job's id, and no address and no text."""
    way.switch(jobSeconds=1000)
    await way.submit()
    body = way.message().content
    record = batch_of(body).record
    assert record is not None
    assert record.job is not None
    assert [member.source.etag for member in record.members] == [way.etag]
    assert "http" not in body
    assert "Heron" not in body
    await way.pipeline.poll(body.encode())
    assert way.queue.get_queue_properties().approximate_message_count == 1
    way.end_jobs()
    outcome = await way.poll_until_outcome()
    assert outcome.status is OutcomeStatus.SUCCEEDED
    assert [job.job_id for job in outcome.jobs] == [record.job.job_id]
    assert ("city", "Bristol") in {(entity.category, entity.text) for entity in outcome.documents[0].entities}


@pytest.mark.parametrize(("end", "code"), [("failed", "InternalServerError"), ("cancelled", "JobFailed")])
async def test_a_job_that_fails_gives_a_failed_outcome(end: str, code: str, way: Way) -> None:
    """With the service's reason, or with ours where it gives none."""
    way.switch(jobEnd=end, jobSeconds=0)
    await way.submit()
    outcome = await way.poll_until_outcome()
    assert outcome.status is OutcomeStatus.FAILED
    assert [problem.code for problem in outcome.errors] == [code]
    assert [job.status for job in outcome.jobs] == [end]


async def test_a_job_that_never_ends_is_given_up(way: Way) -> None:
    """After NER_JOB_TIMEOUT_SECONDS, not before."""
    way.switch(jobEnd="never")
    await way.submit()
    way.later = timedelta(seconds=way.settings.job_timeout_seconds - 60)
    body = way.message().content.encode()
    await way.pipeline.poll(body)
    assert way.outcome() is None
    way.queue.clear_messages()
    way.later += timedelta(seconds=60)
    await way.pipeline.poll(body)
    outcome = way.outcome()
    assert outcome is not None
    assert [problem.code for problem in outcome.errors] == ["JobTimeout"]
    assert [job.status for job in outcome.jobs] == ["failed"]


async def test_a_job_that_the_service_forgot_is_a_failure(way: Way) -> None:
    """It forgets after a day; the submission cost, so it is not sent again unasked."""
    way.switch(retentionSeconds=0)
    await way.submit()
    outcome = await way.poll_until_outcome()
    assert outcome.status is OutcomeStatus.FAILED
    assert [problem.code for problem in outcome.errors] == ["OperationNotFound"]


async def test_a_submission_waits_as_long_as_the_service_asks(way: Way) -> None:
    """Throttled, it becomes a message without a job, which is not visible before Retry-After is over."""
    way.switch(faults=[{"status": 429, "method": "POST", "retryAfter": 3, "times": 1}])
    await way.submit()
    sent = way.now()
    message = way.message()
    assert way.now() - sent >= timedelta(seconds=3)
    record = batch_of(message.content).record
    assert record is not None
    assert record.kind is BatchKind.WAITING
    await way.pipeline.poll(message.content.encode())
    assert (await way.poll_until_outcome()).status is OutcomeStatus.SUCCEEDED


async def test_while_the_service_takes_no_calls_none_is_made(way: Way) -> None:
    """Not for files that arrive meanwhile: each has a claim, a record and one message, and goes its way later."""
    way.switch(faults=[{"status": 429, "method": "POST", "retryAfter": 4, "times": 1}])
    etags = {}
    for way.name in ("unasked-first.txt", "unasked-second.txt"):
        await way.submit()
        etags[way.name] = way.etag
        if way.name == "unasked-first.txt":
            before = stats(way.ner_emulator)["calls"]
    await way.pipeline.submit(way.name)
    assert way.in_flight() == 4
    assert way.queue.get_queue_properties().approximate_message_count == 2
    assert stats(way.ner_emulator)["calls"] == before
    for name in ("unasked-first.txt", "unasked-second.txt"):
        way.name, way.etag = name, etags[name]
        assert (await way.poll_until_there()).status is OutcomeStatus.SUCCEEDED
        assert way.submissions() == 1
    await way.poll_until_empty()
    assert way.in_flight() == 0


async def test_a_poll_waits_for_the_service_too(way: Way) -> None:
    """A call that would be refused is not made."""
    await way.submit()
    message = way.message()
    way.pipeline.services.delays.throttle(30)
    before = stats(way.ner_emulator)["calls"]
    await way.pipeline.poll(message.content.encode())
    assert stats(way.ner_emulator)["calls"] == before
    assert way.queue.get_queue_properties().approximate_message_count == 1
    assert way.outcome() is None


async def test_polls_survive_an_outage(way: Way) -> None:
    """Errors, cut connections and throttling while the job runs only make it later."""
    await way.submit()
    way.switch(faults=[{"status": 500, "times": 1}, {"times": 1}, {"status": 429, "retryAfter": 1, "times": 1}])
    assert (await way.poll_until_outcome()).status is OutcomeStatus.SUCCEEDED


async def test_an_outage_ends_with_the_deadline(way: Way) -> None:
    """A file does not wait for ever; the outcome says what was wrong."""
    way.switch(faults=[{"status": 503}])
    await way.submit()
    way.later = timedelta(seconds=way.settings.job_timeout_seconds)
    outcome = await way.poll_until_outcome()
    assert [problem.code for problem in outcome.errors] == ["ServiceUnavailable"]
    assert "NER_JOB_TIMEOUT_SECONDS" in outcome.errors[0].message


@pytest.mark.parametrize("event_first", [False, True])
async def test_a_waiting_version_that_was_replaced_is_not_sent(way: Way, *, event_first: bool) -> None:
    """Only the newer one is, once, whichever comes first: the older one's message or the newer one's event."""
    way.name = f"waiting-{event_first}.txt"
    way.switch(faults=[{"status": 503, "method": "POST", "times": 1}])
    await way.submit()
    older = way.message().content.encode()
    way.upload(b"A table at Blue Heron, please.")
    if event_first:
        await way.pipeline.submit(way.name)
    await way.pipeline.poll(older)
    if not event_first:
        await way.pipeline.submit(way.name)
    outcome = await way.poll_until_outcome()
    assert outcome.source.etag == way.etag
    assert way.submissions() == 1


async def test_a_waiting_file_that_is_deleted_ends_without_an_outcome(way: Way) -> None:
    """Nothing was paid, and nobody waits for it."""
    way.name = "deleted-while-waiting.txt"
    way.switch(faults=[{"status": 503, "method": "POST", "times": 1}])
    await way.submit()
    way.blobs.get_blob_client(way.settings.input_container, way.name).delete_blob()
    await way.poll_until_empty()
    assert way.outcome() is None
    assert way.submissions() == 0
    await way.sweep()
    assert way.in_flight() == 0


async def test_a_file_that_is_gone_ends_quietly(way: Way) -> None:
    """Deleted between its event and its turn: nobody waits for an outcome."""
    await way.pipeline.submit("a.txt")
    assert way.queue.get_queue_properties().approximate_message_count == 0
    assert way.in_flight() == 0
