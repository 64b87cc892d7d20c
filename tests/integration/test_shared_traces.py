"""Telemetry of files that share a job: a trace for each file, and one for their batch, with links."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from shared.outcome import OutcomeStatus
from shared.pipeline.running import Pipeline
from shared.telemetry_export import OpenTelemetry
from tests.calls import arriving_together
from tests.collector import Collector, attributes, collecting
from tests.integration.conftest import Way
from tests.integration.test_batches import NAMES, drop, next_batch, statuses

LOG = logging.getLogger("ner")


@asynccontextmanager
async def told(way: Way, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Pipeline, Collector]]:
    """Yield a pipeline and a collector, which has the pipeline's telemetry once the block has ended."""
    handlers = list(LOG.handlers)
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.address)
        telemetry = OpenTelemetry({"OTEL_EXPORTER_OTLP_ENDPOINT": collector.address})
        pipeline = Pipeline(way.app_settings, telemetry=telemetry, now=way.now)
        yield pipeline, collector
        await pipeline.aclose()
        for provider in (telemetry.tracers, telemetry.meters, telemetry.loggers):
            await asyncio.to_thread(provider.shutdown)
    LOG.handlers = handlers


@pytest.fixture
async def collector(way: Way, monkeypatch: pytest.MonkeyPatch) -> Collector:
    """The telemetry of files that share a job."""
    async with told(way, monkeypatch) as (pipeline, collector):
        drop(way)
        way.switch(jobSeconds=0)
        with arriving_together(pipeline, len(NAMES)):
            await asyncio.gather(*(pipeline.submit(name) for name in NAMES))
        body, _ = next_batch(way)
        await pipeline.poll(body)
    assert statuses(way) == [OutcomeStatus.SUCCEEDED.value] * len(NAMES)
    return collector


def traces_of(collector: Collector, name: str) -> dict[bytes, list[str]]:
    """Return the traces in which a file has spans of its own, with the names of all their spans."""
    its = {span.trace_id for span in collector.spans if attributes(span).get("ner.file") == name}
    return {trace: sorted(span.name for span in collector.spans if span.trace_id == trace) for trace in its}


def lines(collector: Collector, words: str) -> list[dict[str, Any]]:
    """Return the fields of the log lines that contain these words."""
    return [attributes(log) for log in collector.logs if words in log.body.string_value]


async def test_each_file_has_its_trace_and_the_batch_has_one(collector: Collector) -> None:
    """A file's trace begins with its event and ends with its outcome. The batch's trace has the calls, and links."""
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
    """Each file counts, and the lines about the batch name it."""
    assert collector.points["ner.files.submitted"][-1].as_int == len(NAMES)
    assert collector.points["ner.files.ended"][-1].as_int == len(NAMES)
    (submitted,) = [log for log in collector.logs if "submitted as job" in log.body.string_value]
    assert all(repr(name) in submitted.body.string_value for name in NAMES)
    assert str(attributes(submitted)["ner.job.id"]) in submitted.body.string_value
    assert str(attributes(submitted)["ner.batch.id"]) in submitted.body.string_value
    ended = [log for log in collector.logs if "wrote the outcome" in log.body.string_value]
    assert sorted(str(attributes(log)["ner.file"]) for log in ended) == list(NAMES)


async def test_files_that_end_without_entities_have_their_own_traces(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service no longer has their job, and their time limit is over."""
    async with told(way, monkeypatch) as (pipeline, collector):
        drop(way)
        way.switch(faults=[{"status": 404, "method": "GET"}])
        with arriving_together(pipeline, len(NAMES)):
            await asyncio.gather(*(pipeline.submit(name) for name in NAMES))
        way.pass_time(way.settings.job_timeout_seconds)
        await pipeline.poll(next_batch(way)[0])
        assert statuses(way) == [OutcomeStatus.FAILED.value] * len(NAMES)
    for name in NAMES:
        assert list(traces_of(collector, name).values()) == [["finish", "outcome", "submit"]]
    ended = lines(collector, "wrote the outcome")
    assert sorted(line["ner.file"] for line in ended) == list(NAMES)
    assert len({(line["ner.batch.id"], line["ner.job.id"]) for line in ended}) == 1


async def test_each_line_about_a_batch_names_it(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line also names the files and, once there is one, the job."""
    async with told(way, monkeypatch) as (pipeline, collector):
        drop(way)
        way.switch(faults=[{"status": 503}])
        with arriving_together(pipeline, len(NAMES)):
            await asyncio.gather(*(pipeline.submit(name) for name in NAMES))
        body, record = next_batch(way)
        way.switch(jobSeconds=1000)
        await pipeline.poll(body)
        way.switch(jobSeconds=1000, faults=[{"status": 503}])
        await pipeline.poll(next_batch(way)[0])
    files = ", ".join(member.source.name for member in record.members)
    (submitted,) = lines(collector, "submitted as job")
    before, after = lines(collector, "retrying later")
    assert {line["ner.file"] for line in (submitted, before, after)} == {files}
    assert len({line["ner.batch.id"] for line in (submitted, before, after)}) == 1
    assert "ner.job.id" not in before
    assert after["ner.job.id"] == submitted["ner.job.id"]


async def test_files_that_leave_their_batch_stay_in_their_traces(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service refuses their request, so each file continues alone."""
    async with told(way, monkeypatch) as (pipeline, collector):
        drop(way)
        way.switch(faults=[{"status": 400, "method": "POST"}])
        with arriving_together(pipeline, len(NAMES)):
            await asyncio.gather(*(pipeline.submit(name) for name in NAMES))
        way.switch(jobSeconds=0)
        for _ in range(2 * len(NAMES)):
            await pipeline.poll(way.message().content.encode())
        assert statuses(way) == [OutcomeStatus.SUCCEEDED.value] * len(NAMES)
    for name in NAMES:
        (spans,) = traces_of(collector, name).values()
        assert spans == ["GET", "POST", "outcome", "poll", "submit", "submit"]
    (line,) = lines(collector, "submitting each of these files alone")
    assert sorted(line["ner.file"].split(", ")) == list(NAMES)
    submitted = lines(collector, "submitted as job")
    assert len({line["ner.batch.id"] for line in submitted} - {line["ner.batch.id"]}) == len(NAMES)


@pytest.mark.parametrize("count", [1, len(NAMES)], ids=["alone", "in a batch of several"])
async def test_a_version_that_takes_over_a_job_ends_in_its_own_trace(
    count: int, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trace of the previous version has no outcome, because that version has none."""
    names = NAMES[:count]
    async with told(way, monkeypatch) as (pipeline, collector):
        drop(way, names)
        way.switch(jobSeconds=1000)
        with arriving_together(pipeline, len(names)):
            await asyncio.gather(*(pipeline.submit(name) for name in names))
        drop(way, names[:1])
        await pipeline.submit(names[0])
        way.end_jobs()
        for _ in range(2):
            await pipeline.poll(way.message().content.encode())
        assert statuses(way, names) == [OutcomeStatus.SUCCEEDED.value] * count
    (first, newest) = sorted(
        (span for span in collector.spans if (span.name, attributes(span).get("ner.file")) == ("submit", names[0])),
        key=lambda span: span.start_time_unix_nano,
    )
    written = [log for log in collector.logs if f"{names[0]!r}: wrote the outcome" in log.body.string_value]
    assert [log.trace_id for log in written] == [newest.trace_id]
    assert first.trace_id != newest.trace_id
