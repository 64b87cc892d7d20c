"""What an operator sees of files that share a job: one trace for each file, and one for their batch, with links."""

import asyncio
import logging
from collections import defaultdict

import pytest

from shared.outcome import OutcomeStatus
from shared.pipeline.running import Pipeline
from shared.telemetry_export import OpenTelemetry
from tests.collector import Collector, attributes, collecting
from tests.integration.conftest import Way
from tests.integration.test_batches import NAMES, drop, next_batch, statuses

LOG = logging.getLogger("ner")


async def collect(way: Way, collector: Collector) -> None:
    """Let files share a job, and collect what the app tells of it."""
    handlers = list(LOG.handlers)
    telemetry = OpenTelemetry({"OTEL_EXPORTER_OTLP_ENDPOINT": collector.address})
    pipeline = Pipeline(way.app_settings, telemetry=telemetry, now=way.now)
    drop(way)
    way.switch(jobSeconds=0)
    await asyncio.gather(*(pipeline.submit(name) for name in NAMES))
    body, _ = next_batch(way)
    await pipeline.poll(body)
    await pipeline.aclose()
    for provider in (telemetry.tracers, telemetry.meters, telemetry.loggers):
        await asyncio.to_thread(provider.shutdown)
    LOG.handlers = handlers


@pytest.fixture
async def collector(way: Way, monkeypatch: pytest.MonkeyPatch) -> Collector:
    """What was told of files that share a job."""
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.address)
        await collect(way, collector)
    assert statuses(way) == [OutcomeStatus.SUCCEEDED.value] * len(NAMES)
    return collector


async def test_each_file_has_its_trace_and_the_batch_has_one(collector: Collector) -> None:
    """That of a file begins with its event and ends with its outcome; that of the batch has the calls, and links."""
    traces = defaultdict(list)
    for span in collector.spans:
        traces[span.trace_id].append(span)
    roots = {
        attributes(span)["ner.file"]: span
        for span in collector.spans
        if span.name == "submit" and not span.parent_span_id
    }
    batch = roots.pop(next(name for name in roots if "," in str(name)))
    assert sorted(map(str, roots)) == list(NAMES)
    assert len(traces) == len(NAMES) + 1
    polls = [span for span in traces[batch.trace_id] if span.name == "poll"]
    for root in roots.values():
        names = sorted(span.name for span in traces[root.trace_id])
        assert names == ["finish", "outcome", "submit"]
        (finish,) = [span for span in traces[root.trace_id] if span.name == "finish"]
        assert finish.parent_span_id == root.span_id
        assert [link.span_id for link in finish.links] == [poll.span_id for poll in polls]
        assert attributes(finish)["ner.job.id"] == attributes(batch)["ner.job.id"]
    assert {link.span_id for link in batch.links} == {root.span_id for root in roots.values()}
    assert attributes(batch)["ner.batch.id"]
    assert sorted(span.name for span in traces[batch.trace_id]) == ["GET", "POST", "poll", "submit"]


async def test_files_are_counted_and_named(collector: Collector) -> None:
    """Each of them, also in the lines about their batch."""
    assert collector.points["ner.files.submitted"][-1].as_int == len(NAMES)
    assert collector.points["ner.files.ended"][-1].as_int == len(NAMES)
    (submitted,) = [log for log in collector.logs if "submitted as job" in log.body.string_value]
    assert all(repr(name) in submitted.body.string_value for name in NAMES)
    assert str(attributes(submitted)["ner.job.id"]) in submitted.body.string_value
    assert str(attributes(submitted)["ner.batch.id"]) in submitted.body.string_value
    ended = [log for log in collector.logs if "wrote the outcome" in log.body.string_value]
    assert sorted(str(attributes(log)["ner.file"]) for log in ended) == list(NAMES)
