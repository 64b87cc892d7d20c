"""What an operator sees: one trace for each file, metrics, and fields in the log; and nothing that nobody asked for."""

import subprocess
import sys
from functools import partial
from typing import Any

from azure.storage.blob import BlobServiceClient

from local.install import ROOT
from local.stack import create_containers_and_queues
from shared.outcome import OutcomeStatus
from shared.settings import Settings
from tests.collector import Collector, attributes, collecting
from tests.conftest import LOGS, hosted
from tests.e2e.test_whole_way import drop, outcome_of
from tests.emulator import end_jobs, set_switches
from tests.waiting import eventually

TEXT = "A table at the Blue Heron in Bristol, please."
QUICKLY = {
    "OTEL_BSP_SCHEDULE_DELAY": "100",
    "OTEL_BLRP_SCHEDULE_DELAY": "100",
    "OTEL_METRIC_EXPORT_INTERVAL": "500",
}
"""Milliseconds."""


def test_a_file_is_one_trace_with_metrics_and_logs(
    values: dict[str, str], ner_emulator: str, blobs: BlobServiceClient
) -> None:
    """Submit, each look and the outcome are one tree, across the queue; the rest tells how much and how long."""
    with collecting() as collector:
        values |= {"NER_ENDPOINT": ner_emulator, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.address, **QUICKLY}
        values |= {"NER_POLL_MAX_SECONDS": "1"}
        settings = Settings.from_environ(values)
        set_switches(ner_emulator, jobSeconds=1000)
        with hosted(values, LOGS / "host-telemetry.log"):
            etag = drop(blobs, settings, "letters/told.txt", TEXT.encode())
            eventually(lambda: oldest_seconds(collector) > 2, "a look that still finds it running")
            end_jobs(ner_emulator)
            assert outcome_of(blobs, settings, "letters/told.txt", etag).status is OutcomeStatus.SUCCEEDED
            eventually(lambda: is_complete(collector), "the trace is complete")
            eventually(lambda: "ner.files.ended" in collector.points, "the metrics are there")
            eventually(
                lambda: any("wrote the outcome" in log.body.string_value for log in collector.logs),
                "the logs are there",
            )
        set_switches(ner_emulator)
    check_trace(collector)
    check_metrics(collector)
    check_logs(collector)
    told = b"".join(collector.bodies)
    assert b"Blue Heron" not in told, "no text"
    assert values["NER_KEY"].encode() not in told, "no key"


def is_complete(collector: Collector) -> bool:
    """Tell whether the look that wrote the outcome has been told of: it ends last."""
    told = {span.span_id for span in collector.spans}
    return any(span.name == "outcome" and span.parent_span_id in told for span in collector.spans)


def check_trace(collector: Collector) -> None:
    """Assert that there is one tree, beside those of the sweeps."""
    spans = {span.span_id: span for span in collector.spans if span.name != "sweep"}
    assert len({span.trace_id for span in spans.values()}) == 1
    (root,) = [span for span in spans.values() if not span.parent_span_id]
    assert root.name == "submit"
    assert attributes(root)["ner.file"] == "letters/told.txt"
    polls = [span for span in spans.values() if span.name == "poll"]
    assert len(polls) >= 2, "one before the job's end, and the one that saw it"
    assert all(poll.parent_span_id == root.span_id for poll in polls)
    (outcome,) = [span for span in spans.values() if span.name == "outcome"]
    assert spans[outcome.parent_span_id] == max(polls, key=lambda span: span.start_time_unix_nano)
    assert attributes(outcome) == {"status": "succeeded"}
    calls = [span for span in spans.values() if span.name in ("POST", "GET")]
    assert sorted((span.name, spans[span.parent_span_id].name) for span in calls) == [
        *[("GET", "poll")] * len(polls),
        ("POST", "submit"),
    ]
    assert len(spans) == 1 + len(polls) + 1 + len(calls)
    assert len({attributes(span)["faas.invocation_id"] for span in (root, *polls)}) == 1 + len(polls)


def oldest_seconds(collector: Collector) -> float:
    """Return the longest that a file has been told to wait."""
    return max((point.as_double for point in collector.points.get("ner.files.oldest", [])), default=0.0)


def check_metrics(collector: Collector) -> None:
    """Assert that all that is promised is told."""
    points = collector.points
    assert points["ner.files.submitted"][-1].as_int == 1
    ended = points["ner.files.ended"][-1]
    assert (ended.as_int, attributes(ended)) == (1, {"status": "succeeded"})
    assert any(point.as_int == 1 for point in points["ner.files.waiting"])
    calls = {
        (attributes(point)["http.request.method"], attributes(point)["http.response.status_code"])
        for point in points["http.client.request.duration"]
    }
    assert calls == {("POST", 202), ("GET", 200)}


def check_logs(collector: Collector) -> None:
    """Assert that the lines name file, job and invocation, and belong to the trace."""
    (submitted,) = [log for log in collector.logs if "submitted as job" in log.body.string_value]
    (ended,) = [log for log in collector.logs if "wrote the outcome" in log.body.string_value]
    for log in (submitted, ended):
        fields = attributes(log)
        assert fields["ner.file"] == "letters/told.txt"
        assert fields["faas.invocation_id"]
        assert log.trace_id == next(span.trace_id for span in collector.spans if span.name == "submit")
        assert fields["ner.job.id"] in submitted.body.string_value
        assert fields["ner.batch.id"] in submitted.body.string_value


def test_files_that_arrive_together_have_a_trace_each(
    values: dict[str, str], ner_emulator: str, blobs: BlobServiceClient
) -> None:
    """It begins and ends with the file; what they share is in traces with links to those of all its files."""
    names = [f"together/{number}.txt" for number in range(8)]
    with collecting() as collector:
        values |= {"NER_ENDPOINT": ner_emulator, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.address, **QUICKLY}
        settings = Settings.from_environ(values)
        create_containers_and_queues(settings)
        # The host's first look finds all of them.
        etags = {name: drop(blobs, settings, name, f"{TEXT} {name}".encode()) for name in names}
        set_switches(ner_emulator, jobSeconds=0)
        with hosted(values, LOGS / "host-telemetry-together.log"):
            for name, etag in etags.items():
                assert outcome_of(blobs, settings, name, etag).status is OutcomeStatus.SUCCEEDED
            eventually(lambda: len(ended_in(collector)) == len(names), "all outcomes are told of")
            eventually(lambda: set(names) <= submitted_in(collector).keys(), "all events are told of")
            for metric in ("ner.files.submitted", "ner.files.ended"):
                eventually(partial(is_count, collector, metric, len(names)), metric)
        set_switches(ner_emulator)
    roots = submitted_in(collector)
    shared = {name: span for name, span in roots.items() if name not in names}
    for name in names:
        assert not roots[name].parent_span_id
        assert roots[name].trace_id in ended_in(collector)
    assert len({roots[name].trace_id for name in names}) == len(names)
    for name, span in shared.items():
        links = {link.span_id for link in span.links}
        assert {roots[each].span_id for each in name.split(", ")} <= links


def submitted_in(collector: Collector) -> dict[str, Any]:
    """Return the spans of submissions by the names of their files."""
    return {attributes(span)["ner.file"]: span for span in collector.spans if span.name == "submit"}


def ended_in(collector: Collector) -> set[bytes]:
    """Return the traces that have an outcome whose file has been told of."""
    told = {span.span_id for span in collector.spans}
    return {span.trace_id for span in collector.spans if span.name == "outcome" and span.parent_span_id in told}


def is_count(collector: Collector, metric: str, count: int) -> bool:
    """Return whether a count was told last."""
    return [point.as_int for point in collector.points.get(metric, [])][-1:] == [count]


def test_nothing_is_imported_for_nobody(values: dict[str, str]) -> None:
    """Each cold start would pay for it."""
    code = "import sys, function_app; function_app.pipeline(); print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=values, capture_output=True, check=True)
    loaded = result.stdout.decode().split()
    assert "shared.telemetry" in loaded
    assert not [name for name in loaded if name.startswith(("opentelemetry", "azure.monitor"))]
