"""An invocation whose call hangs ends itself well before the host would end its worker, and nothing is lost."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from shared.outcome import OutcomeStatus
from shared.pipeline.running import Pipeline
from shared.settings import Settings
from tests.calls import after_storage_call, before_blob_call, lists
from tests.integration.conftest import TEXT, Way
from tests.integration.test_many_jobs import lines
from tests.integration.test_unrecorded_jobs import deliver

LATENCY_SECONDS = 6.0
"""Longer than a hasty invocation may take."""


@pytest.fixture
async def hasty(way: Way, values: dict[str, str]) -> AsyncIterator[Pipeline]:
    """A pipeline whose invocations end themselves soon; all others have the usual time, however slow the machine is."""
    changes = {"NER_ENDPOINT": way.ner_emulator, "NER_SUBMIT_TIMEOUT_SECONDS": "4"}
    pipeline = Pipeline(Settings.from_environ({**values, **changes}), now=way.now)
    way.switch(jobSeconds=0)
    await way.pipeline.sweep()
    yield pipeline
    await pipeline.aclose()


async def hang() -> None:
    """Never answer."""
    await asyncio.Event().wait()


async def test_a_submission_that_hangs_is_made_again(way: Way, hasty: Pipeline) -> None:
    """The service does not answer in time: the text waits like one that the service could not take."""
    way.name = "hanging-submission.txt"
    way.switch(jobSeconds=0, latencySeconds=LATENCY_SECONDS)
    way.upload()
    await hasty.submit(way.name)
    assert way.queue.get_queue_properties().approximate_message_count == 1
    way.switch(jobSeconds=0)
    assert (await way.poll_until_outcome()).status is OutcomeStatus.SUCCEEDED


@pytest.mark.parametrize(
    ("method", "container"),
    [("download_blob", "input"), ("upload_blob", "state"), ("get_blob_properties", "results")],
)
async def test_a_submission_whose_storage_hangs_goes_on_later(
    method: str, container: str, way: Way, hasty: Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    """Whichever call it is: a message brings the file back, or the sweep does once the claim is old."""
    way.name = f"hanging-{container}.txt"
    place = getattr(way.settings, f"{container}_container")
    with before_blob_call(method, f"{place}/{'claims/' * (container == 'state')}{way.name}", hang):
        way.upload()
        await hasty.submit(way.name)
    assert "NER_SUBMIT_TIMEOUT_SECONDS" in caplog.text
    assert way.queue.get_queue_properties().approximate_message_count == 1
    await way.poll_until_empty()
    await way.sweep()
    outcome = await way.poll_until_there()
    assert outcome.status is OutcomeStatus.SUCCEEDED
    assert way.submissions() == 1


@pytest.mark.parametrize(("name", "data"), [("one.txt", TEXT), ("many.jsonl", lines(60))], ids=["one job", "many jobs"])
async def test_a_poll_that_hangs_is_made_again(
    name: str, data: bytes, way: Way, hasty: Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    """The service does not show the job in time: it is asked later, and the file is not paid again."""
    caplog.set_level(logging.INFO, "ner")
    way.name = f"hanging-poll-{name}"
    await way.submit(data)
    paid = way.submissions()
    way.switch(jobSeconds=0, latencySeconds=LATENCY_SECONDS)
    await deliver(way, hasty)
    assert "retrying later" in caplog.text
    assert way.queue.get_queue_properties().approximate_message_count == 1
    assert way.outcome() is None
    way.switch(jobSeconds=0)
    assert (await way.poll_until_outcome()).status is OutcomeStatus.SUCCEEDED
    assert way.submissions() == paid


async def test_an_outcome_whose_writing_hangs_is_written_later(way: Way, hasty: Pipeline) -> None:
    """The job has ended and been paid: its message comes again."""
    way.name = "hanging-outcome.txt"
    await way.submit()
    with before_blob_call("upload_blob", f"{way.settings.results_container}/", hang):
        await deliver(way, hasty)
    assert way.outcome() is None
    assert (await way.poll_until_outcome()).status is OutcomeStatus.SUCCEEDED
    assert way.submissions() == 1


async def test_a_large_file_of_slow_calls_takes_many_invocations(way: Way, hasty: Pipeline) -> None:
    """Each one posts what it can, and leaves the rest to the next one."""
    way.name = "slow-calls.jsonl"
    way.switch(jobSeconds=0, latencySeconds=0.5)
    way.upload(lines(200))
    await hasty.submit(way.name)
    assert way.submissions() < 8
    way.switch(jobSeconds=0)
    outcome = await way.poll_until_outcome()
    assert outcome.status is OutcomeStatus.SUCCEEDED
    assert len(outcome.documents) == 200


async def test_a_sweep_that_hangs_ends_and_the_next_one_begins_again(
    way: Way, hasty: Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says so; what it had not come to is left to the next one."""
    way.name = "unheard.txt"
    way.upload()
    way.pass_time(3600)
    with after_storage_call(lists(way.settings.input_container), hang):
        assert not (await hasty.sweep()).is_complete
    assert "the sweep stopped, because" in caplog.text
    assert way.queue.get_queue_properties().approximate_message_count == 0
    assert (await way.pipeline.sweep()).missing == 1
    assert (await way.poll_until_outcome()).status is OutcomeStatus.SUCCEEDED
