"""A workspace of Application Insights: what the app's exporter sends, as rows, and the answers to queries on them."""

import gzip
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from local.install import ROOT, STATE, environment_python, install_python_packages
from tests.serving import QuietHandler, serving

Tables = dict[str, list[list[Any]]]
"""Rows by the name of their table; a table that is not there has not been created yet."""


def metric(
    name: str, total: float, *, minutes_ago: float = 1, count: int = 1, properties: dict[str, str] | None = None
) -> list[Any]:
    """Return a row of AppMetrics without Min and Max, as counters and gauges have them."""
    return [instant(minutes_ago), name, total, None, None, count, json.dumps(properties or {})]


def line(
    message: str, *, minutes_ago: float = 1, severity: int = 1, properties: dict[str, str] | None = None
) -> list[Any]:
    """Return a row of AppTraces."""
    return [instant(minutes_ago), message, severity, "a" * 32, json.dumps(properties or {})]


def instant(minutes_ago: float) -> str:
    """Return a time in the past as DuckDB reads it."""
    return (datetime.now(UTC) - timedelta(minutes=minutes_ago)).strftime("%Y-%m-%d %H:%M:%S.%f")


def ask(*cases: tuple[str, Tables]) -> list[list[dict[str, Any]]]:
    """Return the rows that each query finds in the tables next to it."""
    environment, requirements = STATE / "kql", ROOT / "tests" / "kql" / "requirements.txt"
    install_python_packages(environment, ["--no-compile", "-r", str(requirements)], [requirements])
    result = subprocess.run(
        [environment_python(environment), ROOT / "tests" / "kql" / "run.py"],
        input=json.dumps([{"query": query, "tables": tables} for query, tables in cases]),
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    found: list[list[dict[str, Any]]] = json.loads(result.stdout)
    return found


@dataclass
class Insights:
    """What an exporter of Azure Monitor has sent."""

    connection_string: str
    sent: list[dict[str, Any]] = field(default_factory=list)

    def tables(self) -> Tables:
        """Return what was sent as the rows that a workspace makes of it."""
        tables: Tables = {"AppMetrics": [], "AppTraces": []}
        for envelope in self.sent:
            data = envelope["data"]["baseData"]
            properties = json.dumps(data.get("properties", {}))
            if envelope["data"]["baseType"] == "MetricData":
                for point in data["metrics"]:
                    values = [point.get(key) for key in ("value", "min", "max", "count")]
                    tables["AppMetrics"].append([instant(0), point["name"], *values, properties])
            elif envelope["data"]["baseType"] == "MessageData":
                operation = envelope["tags"].get("ai.operation.id", "")
                tables["AppTraces"].append([instant(0), data["message"], data["severityLevel"], operation, properties])
        return tables


@contextmanager
def insights() -> Iterator[Insights]:
    """Take what exporters of Azure Monitor send, until the block ends."""

    class Handler(QuietHandler):
        def do_POST(self) -> None:  # noqa: N802  # the name is looked up
            body = self.rfile.read(int(self.headers["Content-Length"]))
            items = json.loads(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
            taken.sent.extend(items)
            answer = json.dumps({"itemsReceived": len(items), "itemsAccepted": len(items), "errors": []}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

    with serving(Handler) as url:
        key = "00000000-0000-0000-0000-000000000001"
        taken = Insights(f"InstrumentationKey={key};IngestionEndpoint={url}/;LiveEndpoint={url}/")
        yield taken
