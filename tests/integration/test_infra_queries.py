"""The alerts and the workbook, on made-up rows and on what the app's exporter sends to Application Insights."""

import asyncio
import json
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from opentelemetry.metrics import CallbackOptions
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

from local.install import ROOT
from shared.telemetry import AZURE_MONITOR
from shared.telemetry_export import QUEUE_LENGTH_SECONDS, OpenTelemetry
from tests.kql.asking import Insights, Tables, ask, insights, line, metric

# Installing DuckDB takes half a minute, and several on a machine that is busy with other things.
pytestmark = pytest.mark.timeout(1800)

QUERIES = {path.stem: path.read_text() for path in sorted((ROOT / "infra" / "queries").glob("*.kql"))}
PANELS = {
    item["content"]["title"]: item["content"]["query"]
    for item in json.loads((ROOT / "infra" / "workbook.json").read_text())["items"]
    if item["type"] == 3
}
THRESHOLDS = {"oldest-waiting": 3600.0, "failed-outcomes": 10.0, "swept": 5.0}
"""Of the others, it is 0: test_infra_compiled compares them with the template."""
TEXT = "A table at the Blue Heron"

ENDED_OK = metric("ner.files.ended", 1, properties={"status": "succeeded"})
FIRING: dict[str, Tables] = {
    "oldest-waiting": {"AppMetrics": [metric("ner.files.oldest", 10), metric("ner.files.oldest", 3601)]},
    "failed-outcomes": {"AppMetrics": [ENDED_OK, *[metric("ner.files.ended", 6, properties={"status": "failed"})] * 2]},
    "gave-up": {"AppTraces": [line("'a.txt': gave up, because 3 workers failed to process this version", severity=3)]},
    "swept": {
        "AppMetrics": [
            metric("ner.swept", 12, properties={"found": "files without an outcome"}),
            metric("ner.files.submitted", 100),
        ]
    },
    "sweep-stopped": {"AppTraces": [line("'a.txt': submitted as job 1 of batch 2")]},
    "stuck": {"AppMetrics": [metric("ner.files.submitted", 3, minutes_ago=70)]},
    "poisoned": {"AppTraces": [line("2 messages are in the poison queue: the log has the exceptions", severity=2)]},
    "settings": {"AppTraces": [line("'a.txt': waiting until the app settings are fixed: 401", severity=3)]},
}
QUIET: dict[str, Tables] = {
    "oldest-waiting": {"AppMetrics": [metric("ner.files.oldest", 3600), metric("ner.files.waiting", 9999)]},
    "failed-outcomes": {"AppMetrics": [ENDED_OK, metric("ner.files.ended", 10, properties={"status": "failed"})]},
    "gave-up": {"AppTraces": [line("'a.txt': wrote the outcome: 'failed'")]},
    "swept": {"AppMetrics": [metric("ner.swept", 12), metric("ner.files.submitted", 1000)]},
    "sweep-stopped": {"AppTraces": [line("sweep: 10 files checked")]},
    "stuck": {
        "AppMetrics": [metric("ner.files.submitted", 3, minutes_ago=70), metric("ner.files.ended", 1, minutes_ago=65)]
    },
    "poisoned": {"AppTraces": [line("sweep: 10 files checked")]},
    "settings": {"AppTraces": [line("'a.txt': retrying later, because a service call failed: 503", severity=2)]},
}


def fires(name: str, rows: list[dict[str, Any]]) -> bool:
    """Return whether the rule of an alert fires: the maximum of the column Value is above the threshold."""
    assert all("Value" in row for row in rows), name
    return any((row["Value"] or 0) > THRESHOLDS.get(name, 0) for row in rows)


def outcomes(tables: dict[str, Tables]) -> dict[str, bool]:
    """Return for each alert whether it fires on the tables that are given for it."""
    answers = ask(*((query, tables[name]) for name, query in QUERIES.items()))
    return {name: fires(name, rows) for name, rows in zip(QUERIES, answers, strict=True)}


def test_every_alert_fires_on_what_it_is_about() -> None:
    """The tests with rows that concern another file or lie below the threshold are next to it."""
    assert outcomes(FIRING) == dict.fromkeys(QUERIES, True)
    assert outcomes(QUIET) == dict.fromkeys(QUERIES, False)


def test_a_file_that_was_just_submitted_is_not_stuck() -> None:
    """Its job may take minutes, and nothing has ended while no file was there."""
    assert not fires("stuck", ask((QUERIES["stuck"], {"AppMetrics": [metric("ner.files.submitted", 3)]}))[0])


@pytest.mark.parametrize("tables", [{}, {"AppMetrics": [], "AppTraces": []}], ids=["no tables", "no rows"])
def test_queries_work_in_a_new_workspace(tables: Tables) -> None:
    """It has no tables until telemetry arrives. Only the missing sweep is a reason for an alert then."""
    assert outcomes(dict.fromkeys(QUERIES, tables)) == {name: name == "sweep-stopped" for name in QUERIES}
    ask(*((query, tables) for query in PANELS.values()))


@contextmanager
def exporting(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[OpenTelemetry, Insights]]:
    """The app's telemetry, and what it has sent to Application Insights once the block has ended."""
    log = logging.getLogger("ner")
    handlers, level = list(log.handlers), log.level
    log.setLevel(logging.INFO)
    with insights() as taken:
        monkeypatch.setenv(AZURE_MONITOR, taken.connection_string)
        for own in ("STATSBEAT_DISABLED_ALL", "SDKSTATS_DISABLED", "CONTROLPLANE_DISABLED"):
            monkeypatch.setenv(f"APPLICATIONINSIGHTS_{own}", "true")
        telemetry = OpenTelemetry(os.environ)
        try:
            yield telemetry, taken
        finally:
            for provider in (telemetry.tracers, telemetry.meters, telemetry.loggers):
                provider.shutdown()
            log.handlers = handlers
            log.setLevel(level)


def process_a_file(telemetry: OpenTelemetry) -> None:
    """Report what the app reports of a file that has failed."""

    async def call() -> None:
        transport = httpx.MockTransport(lambda _request: httpx.Response(429))
        async with httpx.AsyncClient(transport=transport) as client:
            telemetry.watch(client)
            await client.get("https://resource.example/language/analyze-text/jobs/1")

    with telemetry.begin("submit", "a.txt"):
        asyncio.run(call())
        telemetry.submitted()
        telemetry.throttled(30)
        telemetry.waits(4000)
        telemetry.queue_length(3)
        telemetry.ended("failed")
        logging.getLogger("ner").info("%r: wrote the outcome: %r", "a.txt", "failed")
        logging.getLogger("ner").error("%r: waiting until the app settings are fixed", "a.txt")


def sampler() -> dict[str, str]:
    """Return the settings of the sampler in the template."""
    found = dict(re.findall(r"(OTEL_TRACES_SAMPLER\w*): '(.+?)'", (ROOT / "infra" / "app.bicep").read_text()))
    assert set(found) == {"OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"}
    return found


def test_no_query_reads_spans() -> None:
    """The sampler of the template keeps only a share of them, and they do not say which."""
    read = {table for query in (*QUERIES.values(), *PANELS.values()) for table in re.findall(r"\bApp[A-Z]\w+", query)}
    assert read == {"AppMetrics", "AppTraces"}


def test_a_queue_that_sends_no_more_messages_has_no_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody asks for it any more, so the last length would be shown for ever."""
    now = 1000.0
    with exporting(monkeypatch) as (telemetry, _), monkeypatch.context() as patched:
        patched.setattr("shared.telemetry_export.time.monotonic", lambda: now)
        telemetry.queue_length(3)
        options = CallbackOptions()
        assert [one.value for one in telemetry.observe_waiting(options)] == [3]
        now += 2 * QUEUE_LENGTH_SECONDS
        assert list(telemetry.observe_waiting(options)) == []


@pytest.mark.parametrize("share", ["1", "0"], ids=["all spans", "no span"])
def test_the_workbook_shows_what_the_exporter_sends(share: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exporter replaces some attributes, and sends no minimum and maximum of gauges. Sampling takes only spans."""
    for name, value in sampler().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", share)
    with exporting(monkeypatch) as (telemetry, taken):
        process_a_file(telemetry)
    assert ("RequestData" in {envelope["data"]["baseType"] for envelope in taken.sent}) is (share == "1")
    tables = taken.tables()
    shown = dict(zip(PANELS, ask(*((query, tables) for query in PANELS.values())), strict=True))

    def values(title: str, *columns: str) -> list[tuple[Any, ...]]:
        return sorted(tuple(row[column] for column in columns) for row in shown[title])

    assert values("Files submitted and ended, by status", "What", "sum_Sum") == [("failed", 1), ("submitted", 1)]
    assert values("Batches in flight", "Batches") == [(3,)]
    assert values("Age of the oldest file, in seconds", "Seconds") == [(4000,)]
    assert values("Calls of the service, by status", "Status", "Calls") == [("429", 1)]
    assert values("Seconds without calls, due to throttling", "Seconds") == [(30,)]
    assert values("Newest failures", "File") == [("a.txt",)]
    assert values("Warnings and errors", "File", "SeverityLevel") == [("a.txt", 3)]
    alerts = outcomes(dict.fromkeys(QUERIES, tables))
    assert {name for name, is_firing in alerts.items() if is_firing} == {"oldest-waiting", "settings", "sweep-stopped"}


def test_the_reason_of_a_failed_invocation_is_exported_without_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Types and frames only: the message of an exception may quote the text that it is about."""

    def parse(text: str) -> None:
        raise ValueError(text)

    with exporting(monkeypatch) as (telemetry, taken):

        def fail() -> None:
            with telemetry.begin("submit", "a.txt"), telemetry.go_on("poll", "a.txt", None):
                try:
                    parse(TEXT)
                except ValueError as error:
                    raise RuntimeError(f"cannot read {TEXT}") from error

        with pytest.raises(RuntimeError):
            fail()
    tables = taken.tables()
    (row,) = tables["AppTraces"]
    _, message, severity, operation, properties = row
    assert message.startswith("'a.txt': submit failed: RuntimeError < tests/integration/test_infra_queries.py:")
    assert "; caused by ValueError < tests/integration/test_infra_queries.py:" in message
    assert " in parse < " in message
    assert severity == 3
    assert operation
    assert json.loads(properties)["ner.file"] == "a.txt"
    assert TEXT not in json.dumps(tables)
    assert "exception" not in properties


@pytest.mark.parametrize(("setting", "milliseconds"), [(None, 15_000), ("30000", 30_000)])
def test_metrics_are_sent_four_times_a_minute(
    setting: str | None, milliseconds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an instance has not sent when the platform removes it is lost. OpenTelemetry's own setting decides."""
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", setting or "")
    if setting is None:
        monkeypatch.delenv("OTEL_METRIC_EXPORT_INTERVAL")
    with exporting(monkeypatch) as (telemetry, _):
        (reader,) = telemetry.meters._metric_readers
        assert isinstance(reader, PeriodicExportingMetricReader)
        assert reader._export_interval_millis == milliseconds
