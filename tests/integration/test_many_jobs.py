"""Files of many jobs through the pipeline: whole in the end, whatever happened between."""

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from shared.jobs import decode_message, encode_message
from shared.ledger import FileRecord, JobRecord
from shared.submissions import Submission

from shared.outcome import Outcome, OutcomeStatus
from shared.pipeline import Pipeline
from shared.source import Position
from shared.storage import SentMessage
from tests.integration.conftest import Way

SENTENCE = "Please book a table at Blue Heron in Bristol for four people at eight. "
PLANTED = "We would like a table at Café Lumière 🍷 in Zürich for two people."


def lines(count: int, **last: Any) -> bytes:
    """Return a file of many documents, each of which names its own number."""
    documents = [{"id": f"doc {number}", "text": f"Table {number} at Blue Heron, please."} for number in range(count)]
    if last:
        documents.append(last)
    return "\n".join(json.dumps(document) for document in documents).encode()


def check(way: Way, outcome: Outcome, count: int) -> None:
    """Assert that all documents are there, in order, and nothing is left over."""
    assert [document.id for document in outcome.documents] == [f"doc {number}" for number in range(count)]
    for number, document in enumerate(outcome.documents):
        text = f"Table {number} at Blue Heron, please."
        assert document.entities
        for entity in document.entities:
            assert text[entity.offset : entity.offset + entity.length] == entity.text
    state = way.blobs.get_container_client(way.settings.state_container)
    assert list(state.list_blobs()) == []


@pytest.fixture
def way_of_lines(way: Way) -> Way:
    """A way of a file of lines, its jobs quick."""
    way.name = "many/notes.jsonl"
    way.switch(jobSeconds=0)
    return way


async def test_documents_of_one_request_need_no_ledger(way_of_lines: Way) -> None:
    """Twenty-five documents are one job, and come back in their order although pages have twenty."""
    way = way_of_lines
    await way.submit(lines(25))
    state = way.blobs.get_container_client(way.settings.state_container)
    assert [blob.name for blob in state.list_blobs() if blob.name.endswith(".jsonl")] == []
    outcome = await way.poll_until_outcome()
    assert outcome.status is OutcomeStatus.SUCCEEDED
    assert len(outcome.jobs) == 1
    assert [document.id for document in outcome.documents] == [f"doc {number}" for number in range(25)]
    assert outcome.source.encoding == "utf-8"


async def test_bad_lines_do_not_hurt_good_ones(way_of_lines: Way) -> None:
    """They are named in the outcome, which is partly a success."""
    way = way_of_lines
    await way.submit(lines(3) + b"\nbroken\n" + json.dumps({"id": "doc 0", "text": "again"}).encode())
    outcome = await way.poll_until_outcome()
    assert outcome.status is OutcomeStatus.PARTIALLY_SUCCEEDED
    check(way, outcome, 3)
    assert [(problem.code, problem.message.split(" ", 2)[:2]) for problem in outcome.errors] == [
        ("InvalidDocument", ["Line", "4"]),
        ("DuplicateId", ["Line", "5"]),
    ]
    statistics = outcome.statistics
    assert (statistics.documents_count, statistics.valid_documents_count) == (5, 3)
    assert (statistics.erroneous_documents_count, statistics.transactions_count) == (2, 3)


async def test_nothing_but_bad_lines_is_a_failure(way_of_lines: Way) -> None:
    """Without a call."""
    way = way_of_lines
    before = way.submissions()
    await way.submit(b"broken\n[]")
    outcome = way.outcome()
    assert outcome is not None
    assert outcome.status is OutcomeStatus.FAILED
    assert len(outcome.errors) == outcome.statistics.documents_count == 2
    assert way.submissions() == before


async def test_many_documents_come_back_in_order(way_of_lines: Way) -> None:
    """As one outcome of as few jobs as can be, with the statistics of all of them."""
    way = way_of_lines
    await way.submit(lines(130))
    outcome = await way.poll_until_outcome()
    assert outcome.status is OutcomeStatus.SUCCEEDED
    assert len(outcome.jobs) == 6
    assert {job.status for job in outcome.jobs} == {"succeeded"}
    check(way, outcome, 130)
    assert outcome.statistics.documents_count == outcome.statistics.valid_documents_count == 130
    assert outcome.statistics.transactions_count == 130


async def test_a_long_text_comes_back_as_one_document(way: Way) -> None:
    """Each entity at its place in the whole text, also those beside the cuts."""
    way.switch(jobSeconds=0)
    text = SENTENCE * 3450 + PLANTED + "\r\n\r\n" + SENTENCE * 1700 + PLANTED
    await way.submit(text.encode())
    outcome = await way.poll_until_outcome()
    assert outcome.status is OutcomeStatus.SUCCEEDED
    assert len(outcome.jobs) == -(-len(text) // 125_000)
    (document,) = outcome.documents
    assert all(text[found.offset : found.offset + found.length] == found.text for found in document.entities)
    names = [found.offset for found in document.entities if found.text == "Blue Heron"]
    assert len(names) == len(set(names)) == 5150
    assert [found.text for found in document.entities].count("Café Lumière") == 2


@pytest.mark.parametrize("times", [3, 30])
async def test_throttling_and_errors_only_make_it_later(times: int, way_of_lines: Way) -> None:
    """Every document once, and no job more than without."""
    way = way_of_lines
    before = way.submissions()
    fault = {"status": 429, "retryAfter": 1, "share": 0.3, "times": times}
    way.switch(jobSeconds=0, faults=[{"status": 503, "times": 1}, fault])
    await way.submit(lines(200))
    outcome = await way.poll_until_outcome()
    assert outcome.status is OutcomeStatus.SUCCEEDED
    check(way, outcome, 200)
    assert way.submissions() - before == len(outcome.jobs) == 8


async def test_a_throttled_submission_that_moves_does_not_wait_for_its_age(
    way_of_lines: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long it has taken until now: the delay counts from the last request that was accepted."""
    way = way_of_lines
    way.pipeline.many.working_seconds = 0.0
    await way.submit(lines(100))
    way.later = timedelta(hours=1)
    await way.pipeline.poll(way.message().content.encode())
    body = way.message().content.encode()
    delays: list[float] = []

    async def send(_text: str, delay_seconds: float) -> SentMessage:
        delays.append(delay_seconds)
        return SentMessage("", "")

    monkeypatch.setattr(way.pipeline.storage, "send", send)
    way.switch(faults=[{"status": 503}])
    await way.pipeline.poll(body)
    way.later = timedelta(hours=2)
    await way.pipeline.poll(body)
    soon, late = delays
    assert soon < late / 4


async def test_an_interrupted_submission_goes_on_where_it_stopped(make_way: Callable[..., Way]) -> None:
    """Killed half-way, then begun again by the host: what was recorded is not sent again."""
    way = make_way()
    way.name = "many/notes.jsonl"
    before = way.submissions()
    way.switch(jobSeconds=0, latencySeconds=0.1)
    data = lines(200)
    way.upload(data)
    running = asyncio.create_task(way.pipeline.submit(way.name, data, None))
    while way.submissions() - before < 4:
        await asyncio.sleep(0.02)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    # Its own message, and that of the event which comes once more, wait until the claim counts as abandoned.
    await way.pipeline.submit(way.name, data, None)
    assert way.queue.get_queue_properties().approximate_message_count == 2
    outcome = await way.poll_until_outcome()
    assert outcome.status is OutcomeStatus.SUCCEEDED
    check(way, outcome, 200)
    # At most the one whose answer was on its way.
    assert way.submissions() - before <= 9
    assert len(outcome.jobs) == 8
    await way.pipeline.aclose()


async def test_work_that_takes_long_goes_on_in_other_invocations(way_of_lines: Way) -> None:
    """Each one does a little, and none sleeps."""
    way = way_of_lines
    way.pipeline.many.working_seconds = 0.0
    before = way.submissions()
    await way.submit(lines(60))
    assert way.submissions() - before == 1
    outcome = await way.poll_until_outcome()
    assert outcome.status is OutcomeStatus.SUCCEEDED
    check(way, outcome, 60)
    assert way.submissions() - before == 3


async def test_a_worker_that_still_submits_is_not_taken_over(way_of_lines: Way) -> None:
    """However long ago it claimed the file: its ledger tells that it is alive, until it is not."""
    way = way_of_lines
    before = way.submissions()
    way.pipeline.many.working_seconds = 0.0
    await way.submit(lines(60))
    source = decode_message(way.message().content).source
    stored = await way.pipeline.state.read_submission(source)
    assert stored is not None
    long_ago = stored.submission.message.received_date_time - timedelta(hours=1)
    await way.pipeline.state.write_submission(Submission(stored.submission.message, long_ago), stored.etag)
    await way.pipeline.submit(way.name)
    assert way.submissions() - before == 1
    way.later = timedelta(hours=1)
    await way.pipeline.submit(way.name)
    assert way.submissions() - before == 2


async def test_a_message_that_comes_once_more_changes_nothing(way_of_lines: Way) -> None:
    """Neither while the jobs run nor after the outcome."""
    way = way_of_lines
    before = way.submissions()
    await way.submit(lines(30))
    body = way.message().content.encode()
    await asyncio.gather(way.pipeline.poll(body), way.pipeline.poll(body))
    while way.queue.get_queue_properties().approximate_message_count:
        await way.pipeline.poll(way.message().content.encode())
    outcome = way.outcome()
    assert outcome is not None
    assert outcome.status is OutcomeStatus.SUCCEEDED
    await way.pipeline.poll(body)
    assert way.outcome() == outcome
    check(way, outcome, 30)
    assert way.submissions() - before == 2


async def test_a_failed_job_costs_its_documents_only(make_way: Callable[..., Way]) -> None:
    """A part of the file is named, the rest is there."""
    way = make_way()
    way.name = "many/notes.jsonl"
    way.switch(jobSeconds=0)
    data = lines(30)
    way.upload(data)
    await way.pipeline.submit(way.name, data, None)
    message = decode_message(way.message().content)
    ledger = await way.pipeline.state.read_ledger(message.source)
    # The service has forgotten the first job, whose id nobody knows.
    forged = await way.pipeline.state.read_ledger(message.source)
    await way.pipeline.state.delete(ledger.name)
    forged.size, forged.requests = 0, []
    assert isinstance(ledger.file, FileRecord)
    await way.pipeline.state.append(forged, ledger.file)
    first, second = ledger.jobs
    lost = JobRecord(
        job_id="forgotten",
        documents_count=first.documents_count,
        transactions_count=first.transactions_count,
        start=first.start,
        end=first.end,
        submitted_date_time=first.submitted_date_time,
    )
    for record in (lost, second):
        await way.pipeline.state.append(forged, record)
    await way.pipeline.poll(encode_message(message).encode())
    outcome = await way.poll_until_outcome()
    assert outcome.status is OutcomeStatus.PARTIALLY_SUCCEEDED
    assert [document.id for document in outcome.documents] == [f"doc {number}" for number in range(25, 30)]
    assert [problem.message.partition(":")[0] for problem in outcome.errors] == ["Documents 1 to 25"]
    assert [job.status for job in outcome.jobs] == ["failed", "succeeded"]
    assert outcome.statistics.erroneous_documents_count == 25
    assert lost.end == Position(25)
    await way.pipeline.aclose()


async def test_jobs_that_never_end_are_given_up(way_of_lines: Way) -> None:
    """What ended in time is kept; a request that is refused costs its own documents only."""
    way = way_of_lines
    way.switch(jobSeconds=0, faults=[{"status": 400, "method": "POST", "times": 1}])
    data = lines(60)
    way.upload(data)
    way.pipeline.many.working_seconds = 0.0
    await way.pipeline.submit(way.name, data, None)
    await way.pipeline.poll(way.message().content.encode())
    way.switch(jobEnd="never")
    way.pipeline.many.working_seconds = 60.0
    await way.pipeline.poll(way.message().content.encode())
    way.later = timedelta(seconds=way.settings.job_timeout_seconds)
    outcome = await way.poll_until_outcome()
    assert outcome.status is OutcomeStatus.PARTIALLY_SUCCEEDED
    assert [document.id for document in outcome.documents] == [f"doc {number}" for number in range(25, 50)]
    assert [problem.code for problem in outcome.errors] == ["InternalServerError", "JobTimeout"]
    assert [problem.message.partition(":")[0] for problem in outcome.errors] == [
        "Documents 1 to 25",
        "Document 51 to the end of the file",
    ]
    assert [job.status for job in outcome.jobs] == ["succeeded", "failed"]


async def test_a_replaced_version_is_submitted_no_further(way_of_lines: Way) -> None:
    """Its message submits the newer one, in case nobody else does; nothing of the older one is left."""
    way = way_of_lines
    before = way.submissions()
    way.pipeline.many.working_seconds = 0.0
    await way.submit(lines(60))
    way.upload(lines(1))
    await way.pipeline.poll(way.message().content.encode())
    assert way.submissions() - before == 2
    check(way, await way.poll_until_outcome(), 1)


async def test_giving_up_names_the_jobs(way_of_lines: Way) -> None:
    """A poison message ends as a failure; one of a file that has its outcome changes nothing."""
    way = way_of_lines
    await way.submit(lines(30))
    body = way.message().content.encode()
    await way.pipeline.poison.give_up(body)
    outcome = way.outcome()
    assert outcome is not None
    assert outcome.status is OutcomeStatus.FAILED
    assert [problem.code for problem in outcome.errors] == ["ProcessingFailed"]
    assert len(outcome.jobs) == 2
    assert outcome.statistics.erroneous_documents_count == 30


async def test_a_poison_message_of_a_file_that_has_ended_changes_nothing(way_of_lines: Way) -> None:
    """A message may fail after the outcome was written."""
    way = way_of_lines
    await way.submit(lines(30))
    body = way.message().content.encode()
    await way.pipeline.poll(body)
    outcome = await way.poll_until_outcome()
    await way.pipeline.poison.give_up(body)
    assert way.outcome() == outcome


async def test_a_ledger_that_was_deleted_is_begun_again(way_of_lines: Way) -> None:
    """Whoever cleaned the container up cost a submission, not a file."""
    way = way_of_lines
    await way.submit(lines(30))
    message = decode_message(way.message().content)
    ledger = await way.pipeline.state.read_ledger(message.source)
    await way.pipeline.state.delete(ledger.name)
    await way.pipeline.poll(encode_message(message).encode())
    outcome = await way.poll_until_outcome()
    check(way, outcome, 30)


async def test_an_outcome_of_many_pieces_is_one_document(way_of_lines: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kept in many small pieces, it reads as if written at once."""
    monkeypatch.setattr("shared.collecting.MOST_COLLECTED", 1)
    way = way_of_lines
    await way.submit(lines(100))
    outcome = await way.poll_until_outcome()
    check(way, outcome, 100)
    assert isinstance(way.pipeline, Pipeline)
