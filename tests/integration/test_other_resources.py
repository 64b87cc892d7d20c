"""Two apps with different Language resources share a queue, or the operator has changed NER_ENDPOINT."""

import json
import logging
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from shared.outcome import OutcomeStatus
from shared.pipeline.calling import host_of
from shared.pipeline.running import Pipeline
from tests.integration.conftest import TEXT, Way
from tests.integration.test_many_jobs import lines
from tests.proxy import Answer, Call, Proxies, Service, pass_on, proxies

UNKNOWN = json.dumps({"error": {"code": "NotFound", "message": "There is no such job."}}).encode()
YOUNG_SECONDS = 660
"""After that, the service must show a job."""


def unknown(call: Call) -> Answer | None:
    """Know none of the jobs, as another resource does."""
    return Answer(404, {"Content-Type": "application/json"}, UNKNOWN) if call.operation == "Get Job" else None


class Other:
    """An app with another endpoint: that of a proxy, which knows no job or, as another endpoint of the same resource,
    all of them.
    """

    def __init__(self, way: Way, running: Proxies) -> None:
        """Share queue and containers with a way."""
        self.proxies = running
        self.host = f"127.0.0.1:{running.ports[Service.NER]}"
        self.pipeline = Pipeline(replace(way.settings, endpoint=f"http://{self.host}"), now=way.now)
        self.pipeline.services.delays.clock = lambda: way.now().timestamp()

    def count(self, operation: str) -> int:
        """Return how many calls it has made."""
        return sum(call.operation == operation for call in self.proxies.calls)


@pytest.fixture
async def other(way: Way) -> AsyncIterator[Other]:
    """An app of another resource."""
    port = int(way.settings.endpoint.rpartition(":")[2])
    async with proxies({Service.NER: port}, unknown) as running:
        app = Other(way, running)
        yield app
        await app.pipeline.aclose()


@pytest.mark.parametrize("count", [1, 60])
async def test_a_job_of_another_resource_is_left_to_its_owner(
    count: int, way: Way, other: Other, caplog: pytest.LogCaptureFixture
) -> None:
    """It was charged: it neither fails nor is submitted again, and its owner ends it."""
    way.name = f"others-{count}.jsonl"
    way.switch(jobSeconds=0)
    await way.submit(lines(count))
    jobs = way.submissions()
    way.pass_time(YOUNG_SECONDS)
    for _ in range(5):
        begun = way.now()
        caplog.clear()
        await other.pipeline.poll(way.message().content.encode())
        (warning,) = [line.message for line in caplog.records if line.levelno >= logging.WARNING]
        assert f"the job belongs to {host_of(way.pipeline.services)}, not to NER_ENDPOINT ({other.host})" in warning
        assert "give each app its own NER_QUEUE and NER_STATE_CONTAINER, or set NER_ENDPOINT back" in warning
        assert way.outcome() is None
    body = way.message().content.encode()
    assert way.now() > begun
    await way.pipeline.poll(body)
    assert (await way.poll_until_outcome()).status is OutcomeStatus.SUCCEEDED
    assert way.submissions() == jobs


@pytest.mark.parametrize("count", [1, 60])
async def test_a_job_of_another_resource_fails_at_the_time_limit(count: int, way: Way, other: Other) -> None:
    """The resource is gone, for instance: nothing is charged again until an operator asks for it."""
    way.name = f"others-late-{count}.jsonl"
    way.switch(jobSeconds=0)
    await way.submit(lines(count))
    jobs = way.submissions()
    body = way.message().content.encode()
    way.pass_time(way.settings.job_timeout_seconds)
    await other.pipeline.poll(body)
    while way.queue.get_queue_properties().approximate_message_count:
        await other.pipeline.poll(way.message().content.encode())
    outcome = way.outcome()
    assert outcome is not None
    assert outcome.status is OutcomeStatus.FAILED
    assert {problem.code for problem in outcome.errors} == {"OtherResource"}
    assert f"the job belongs to {host_of(way.pipeline.services)}, not" in outcome.errors[0].message
    assert len(outcome.jobs) == jobs
    assert way.submissions() == jobs
    assert way.in_flight() == 0


async def polled_by(other: Other, way: Way) -> OutcomeStatus | None:
    """Let the other app process all messages; return the status of the outcome."""
    while way.queue.get_queue_properties().approximate_message_count:
        await other.pipeline.poll(way.message().content.encode())
    outcome = way.outcome()
    return outcome.status if outcome else None


@pytest.mark.parametrize("count", [1, 60])
async def test_another_endpoint_of_the_same_resource_is_no_other_resource(count: int, way: Way, other: Other) -> None:
    """Only what the resource says of the job decides."""
    other.proxies.rule = pass_on
    way.name = f"same-resource-{count}.jsonl"
    way.switch(jobSeconds=0)
    await way.submit(lines(count))
    assert await polled_by(other, way) is OutcomeStatus.SUCCEEDED


async def test_a_file_of_many_jobs_is_posted_to_one_resource(
    way: Way, other: Other, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each app can read only its own jobs, so nobody could collect those of two."""
    monkeypatch.setattr("shared.pipeline.ledger_posting.WORKING_SHARE", 0.0)
    way.name = "one-resource.jsonl"
    way.switch(jobSeconds=0)
    await way.submit(lines(60))
    assert way.submissions() == 1
    for _ in range(3):
        await other.pipeline.poll(way.message().content.encode())
    assert other.count("Submit Job") == 0
    assert (await way.poll_until_outcome()).status is OutcomeStatus.SUCCEEDED
    assert way.submissions() == 3


@pytest.mark.parametrize("count", [1, 60])
async def test_a_text_that_waits_can_be_posted_to_any_resource(count: int, way: Way, other: Other) -> None:
    """Nothing was charged yet."""
    other.proxies.rule = pass_on
    way.name = f"waits-{count}.jsonl"
    way.switch(jobSeconds=0, faults=[{"status": 503, "method": "POST", "times": 1}])
    await way.submit(lines(count))
    assert await polled_by(other, way) is OutcomeStatus.SUCCEEDED
    assert other.count("Submit Job") == (1 if count == 1 else 3)


async def test_a_file_that_is_uploaded_again_is_submitted_to_the_new_resource(way: Way, other: Other) -> None:
    """A new version takes over no job that this app cannot read."""
    other.proxies.rule = pass_on
    way.name = "again.txt"
    way.switch(jobSeconds=0)
    await way.submit()
    old = way.message().content.encode()
    way.upload(TEXT)
    await other.pipeline.submit(way.name)
    assert way.submissions() == 2
    other.proxies.rule = pass_on
    await other.pipeline.poll(way.message().content.encode())
    await way.pipeline.poll(old)
    outcome = way.outcome()
    assert outcome is not None
    assert outcome.status is OutcomeStatus.SUCCEEDED
    assert way.in_flight() == 0
