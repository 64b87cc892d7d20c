"""Files of many jobs through the pipeline: whole in the end, whatever happened between."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest

from shared.message import FileMessage, encode_message
from shared.outcome import Outcome, OutcomeStatus
from shared.pipeline.sweeping import VOID_TIMEOUTS
from shared.state.batch import BATCHES
from tests.calls import before_blob_call
from tests.emulator import looks
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
    assert way.in_flight() == 0


def state_blobs(way: Way, ending: str) -> list[str]:
    """Return the names of the blobs about files in flight that end so."""
    state = way.blobs.get_container_client(way.settings.state_container)
    return [blob.name for blob in state.list_blobs() if blob.name.endswith(ending)]


def delete_state(way: Way, ending: str) -> None:
    """Delete such a blob, as somebody who cleans up."""
    (name,) = state_blobs(way, ending)
    way.blobs.get_blob_client(way.settings.state_container, name).delete_blob()


@pytest.fixture
def bit_by_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each invocation post one request, or collect the results of one."""
    for module in ("ledger_posting", "collecting"):
        monkeypatch.setattr(f"shared.pipeline.{module}.WORKING_SHARE", 0.0)


@pytest.fixture
async def way_of_lines(way: Way) -> Way:
    """A way of a file of lines, its jobs quick; it is no older than the first sweep."""
    await way.pipeline.sweep()
    way.name = "many/notes.jsonl"
    way.switch(jobSeconds=0)
    return way


async def test_documents_of_one_request_need_no_ledger(way_of_lines: Way) -> None:
    """Twenty documents are one job, and come back in their order on one page."""
    way = way_of_lines
    await way.submit(lines(20))
    assert state_blobs(way, ".ledger.jsonl") == []
    outcome = await way.poll_until_outcome()
    assert outcome.status is OutcomeStatus.SUCCEEDED
    assert len(outcome.jobs) == 1
    assert [document.id for document in outcome.documents] == [f"doc {number}" for number in range(20)]
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


async def test_too_many_documents_are_a_failure(way_of_lines: Way) -> None:
    """Without a call, even if all of them are valid: a part of the file is not sent."""
    way = way_of_lines
    before = way.submissions()
    await way.submit(b"\n".join(b'{"text":"a"}' for _ in range(250_001)))
    outcome = way.outcome()
    assert outcome is not None
    assert outcome.status is OutcomeStatus.FAILED
    assert [problem.code for problem in outcome.errors] == ["TooManyDocuments"]
    assert way.submissions() == before


async def test_many_documents_come_back_in_order(way_of_lines: Way) -> None:
    """As one outcome of as few jobs as can be, with the statistics of all of them."""
    way = way_of_lines
    await way.submit(lines(130))
    outcome = await way.poll_until_outcome()
    assert outcome.status is OutcomeStatus.SUCCEEDED
    assert len(outcome.jobs) == 7
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
    assert way.submissions() - before == len(outcome.jobs) == 10


@pytest.mark.usefixtures("bit_by_bit")
async def test_a_throttled_submission_that_moves_does_not_wait_for_its_age(way_of_lines: Way) -> None:
    """However long it has taken until now: the delay counts from the last request that was accepted."""
    way = way_of_lines
    await way.submit(lines(100))
    way.later = timedelta(hours=1)
    await way.pipeline.poll(way.message().content.encode())
    way.switch(faults=[{"status": 503}])
    delays = []
    for moved in (timedelta(), timedelta(hours=1)):
        body = way.message().content.encode()
        way.later += moved
        polled = way.now()
        await way.pipeline.poll(body)
        way.received()
        delays.append(way.now() - polled)
        way.queue.clear_messages()
        way.hidden.clear()
        await way.sweep()
    soon, late = delays
    assert soon < late / 4


async def test_an_interrupted_submission_goes_on_where_it_stopped(way_of_lines: Way) -> None:
    """Killed half-way, then found by the sweep: what was recorded is not sent again."""
    way = way_of_lines
    before = way.submissions()
    way.switch(jobSeconds=0, latencySeconds=0.1)
    way.upload(lines(200))
    running = asyncio.create_task(way.pipeline.submit(way.name))
    while way.submissions() - before < 4:
        await asyncio.sleep(0.02)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    # Its event comes again: its worker may be alive.
    await way.pipeline.submit(way.name)
    assert way.queue.get_queue_properties().approximate_message_count == 0
    assert (await way.sweep()).revived == 1
    outcome = await way.poll_until_outcome()
    assert outcome.status is OutcomeStatus.SUCCEEDED
    check(way, outcome, 200)
    # At most the one whose answer was on its way.
    assert way.submissions() - before <= 11
    assert len(outcome.jobs) == 10


@pytest.mark.usefixtures("bit_by_bit")
async def test_work_that_takes_long_goes_on_in_other_invocations(way_of_lines: Way) -> None:
    """Each one does a little, and none sleeps; an event that comes again changes nothing, however late."""
    way = way_of_lines
    before = way.submissions()
    await way.submit(lines(60))
    assert way.submissions() - before == 1
    way.later = timedelta(hours=1)
    await way.pipeline.submit(way.name)
    assert way.submissions() - before == 1
    assert way.queue.get_queue_properties().approximate_message_count == 1
    await way.pipeline.poll(way.message().content.encode())
    assert way.submissions() - before == 2
    outcome = await way.poll_until_outcome()
    assert outcome.status is OutcomeStatus.SUCCEEDED
    check(way, outcome, 60)
    assert way.submissions() - before == 3


@pytest.mark.parametrize("step", ["posting", "collecting"])
async def test_a_message_that_comes_twice_changes_nothing(
    step: str, way_of_lines: Way, request: pytest.FixtureRequest
) -> None:
    """Neither while requests are posted, nor while the jobs run, nor after the outcome."""
    if step == "posting":
        request.getfixturevalue("bit_by_bit")
    way = way_of_lines
    before = way.submissions()
    other = way.another_pipeline(later=timedelta(seconds=1))
    await way.submit(lines(130))
    body = way.message().content.encode()
    await asyncio.gather(way.pipeline.poll(body), other.poll(body))
    await way.pipeline.poll(body)
    assert way.queue.get_queue_properties().approximate_message_count == (1 if step == "posting" else 0)
    outcome = await way.poll_until_outcome()
    assert outcome.status is OutcomeStatus.SUCCEEDED
    await way.pipeline.poll(body)
    assert way.outcome() == outcome
    check(way, outcome, 130)
    assert way.submissions() - before == 7
    await other.aclose()


async def test_a_late_message_of_an_earlier_run_leaves_the_next_one_alone(way_of_lines: Way) -> None:
    """The outcome is to be replaced, so the same version is on its way again: its ledger is its own."""
    way = way_of_lines
    before = way.submissions()
    way.switch(jobSeconds=0, jobEnd="failed")
    await way.submit(lines(60))
    late = way.message().content.encode()
    await way.pipeline.poll(late)
    blob = way.blobs.get_blob_client(way.settings.results_container, f"{way.name}.json")
    replaces = str(blob.get_blob_properties().etag).strip('"')
    way.switch(jobSeconds=0)
    await way.pipeline.poll(encode_message(FileMessage(file=way.name, replaces=replaces)).encode())
    await way.pipeline.poll(late)
    assert len(state_blobs(way, ".ledger.jsonl")) == 1
    await way.poll_until_empty()
    outcome = way.outcome()
    assert outcome is not None
    check(way, outcome, 60)
    assert way.submissions() - before == 6


@pytest.mark.usefixtures("bit_by_bit")
async def test_a_failed_job_costs_its_documents_only(way_of_lines: Way) -> None:
    """A part of the file is named, the rest is there."""
    way = way_of_lines
    way.switch(jobSeconds=0, jobEnd="failed")
    await way.submit(lines(30))
    way.switch(jobSeconds=0)
    outcome = await way.poll_until_outcome()
    assert outcome.status is OutcomeStatus.PARTIALLY_SUCCEEDED
    assert [document.id for document in outcome.documents] == [f"doc {number}" for number in range(20, 30)]
    assert [problem.message.partition(":")[0] for problem in outcome.errors] == ["Documents 1 to 20"]
    assert [job.status for job in outcome.jobs] == ["failed", "succeeded"]
    assert outcome.statistics.erroneous_documents_count == 20


@pytest.mark.usefixtures("bit_by_bit")
async def test_jobs_that_never_end_are_given_up(way_of_lines: Way) -> None:
    """What ended in time is kept; a request that is refused costs its own documents only."""
    way = way_of_lines
    way.switch(jobSeconds=0, faults=[{"status": 400, "method": "POST", "times": 1}])
    await way.submit(lines(60))
    await way.pipeline.poll(way.message().content.encode())
    way.switch(jobEnd="never")
    await way.pipeline.poll(way.message().content.encode())
    way.later = timedelta(seconds=way.settings.job_timeout_seconds)
    outcome = await way.poll_until_outcome()
    assert outcome.status is OutcomeStatus.PARTIALLY_SUCCEEDED
    assert [document.id for document in outcome.documents] == [f"doc {number}" for number in range(20, 40)]
    assert [problem.code for problem in outcome.errors] == ["InternalServerError", "JobTimeout"]
    assert [problem.message.partition(":")[0] for problem in outcome.errors] == [
        "Documents 1 to 20",
        "Document 41 to the end of the file",
    ]
    assert [job.status for job in outcome.jobs] == ["succeeded", "failed"]


@pytest.mark.usefixtures("bit_by_bit")
@pytest.mark.parametrize("has_event", [False, True])
async def test_a_replaced_version_is_submitted_no_further(way_of_lines: Way, *, has_event: bool) -> None:
    """Nothing of the older one is left; the newer one's event or the sweep brings the newer one."""
    way = way_of_lines
    before = way.submissions()
    await way.submit(lines(60))
    older = way.message().content.encode()
    way.upload(lines(1))
    if has_event:
        await way.pipeline.submit(way.name)
    await way.pipeline.poll(older)
    if not has_event:
        await way.sweep()
    check(way, await way.poll_until_outcome(), 1)
    assert way.submissions() - before == 2


async def test_a_replaced_version_is_not_collected(way_of_lines: Way) -> None:
    """Its claim is the newer version's: its jobs are not asked for any more, and nothing of it is left."""
    way = way_of_lines
    way.switch(jobSeconds=1000)
    await way.submit(lines(60))
    older = way.message().content.encode()
    ledgers = set(state_blobs(way, ".ledger.jsonl"))
    way.upload(lines(1))
    await way.pipeline.submit(way.name)
    way.end_jobs()
    before = looks(way.ner_emulator)
    await way.pipeline.poll(older)
    assert looks(way.ner_emulator) == before
    assert ledgers
    assert not ledgers & set(state_blobs(way, ".ledger.jsonl"))
    check(way, await way.poll_until_outcome(), 1)


async def test_a_file_that_has_ended_is_not_begun_again_by_a_message_that_comes_again(way_of_lines: Way) -> None:
    """Its worker died after it had deleted the ledger, and before it deleted the record: nothing is paid again."""

    async def die() -> None:
        raise asyncio.CancelledError

    way = way_of_lines
    await way.submit(lines(60))
    paid = way.submissions()
    body = way.message().content.encode()
    records = f"{way.settings.state_container}/{BATCHES}"
    with before_blob_call("delete_blob", records, die, ending=".json"), pytest.raises(asyncio.CancelledError):
        await way.pipeline.poll(body)
    outcome = way.outcome()
    assert outcome is not None
    assert way.in_flight() == 1
    await way.pipeline.poll(body, comes_again=True)
    check(way, outcome, 60)
    assert way.queue.get_queue_properties().approximate_message_count == 0
    assert way.submissions() == paid
    assert way.outcome() == outcome


@pytest.mark.usefixtures("bit_by_bit")
async def test_collecting_that_ran_out_of_its_time_goes_on_at_once(way_of_lines: Way) -> None:
    """What has ended is not waited for; what has not ended is."""
    way = way_of_lines
    way.switch(jobSeconds=1000)
    await way.submit(lines(60))
    body = way.message().content.encode()
    while b'"submittedDateTime"' not in body:
        await way.pipeline.poll(body)
        body = way.message().content.encode()
    before = way.now()
    await way.pipeline.poll(body)
    body = way.message().content.encode()
    assert way.now() > before, "the first job was not waited for"
    way.end_jobs()
    before = way.now()
    await way.pipeline.poll(body)
    assert way.outcome() is None, "an invocation collected more than one job"
    outcome = await way.poll_until_outcome()
    assert len(outcome.jobs) == 3
    assert way.now() == before


@pytest.mark.usefixtures("bit_by_bit")
async def test_a_file_that_is_deleted_is_submitted_no_further(way_of_lines: Way) -> None:
    """Nobody waits for the rest of it."""
    way = way_of_lines
    before = way.submissions()
    await way.submit(lines(60))
    way.blobs.get_blob_client(way.settings.input_container, way.name).delete_blob()
    await way.poll_until_empty()
    assert way.submissions() - before == 1
    assert way.outcome() is None
    await way.sweep()
    assert way.in_flight() == 0


async def test_a_ledger_that_was_deleted_is_begun_again(way_of_lines: Way) -> None:
    """Whoever cleaned the container up cost a submission, not a file."""
    way = way_of_lines
    await way.submit(lines(30))
    delete_state(way, ".ledger.jsonl")
    check(way, await way.poll_until_outcome(), 30)


async def test_results_that_were_deleted_are_begun_again(
    way_of_lines: Way, bit_by_bit: None, caplog: pytest.LogCaptureFixture
) -> None:
    """So it is with what was collected until then; the sweep begins the file again."""
    del bit_by_bit
    way = way_of_lines
    await way.submit(lines(60))
    while not state_blobs(way, ".results"):
        await way.pipeline.poll(way.message().content.encode())
    delete_state(way, ".results")
    await way.poll_until_empty()
    assert way.outcome() is None
    assert "the collected results are gone" in caplog.text
    await way.sweep()
    await way.poll_until_empty()
    # What stands in the way of a slow worker is deleted later.
    way.pass_time(2 * VOID_TIMEOUTS * way.settings.submit_timeout_seconds)
    await way.pipeline.sweep()
    check(way, await way.poll_until_outcome(), 60)


async def test_an_outcome_of_many_pieces_is_one_document(way_of_lines: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kept in many small pieces, it reads as if written at once."""
    monkeypatch.setattr("shared.pipeline.collecting.MAX_COLLECTED", 1)
    way = way_of_lines
    await way.submit(lines(100))
    check(way, await way.poll_until_outcome(), 100)
