"""An OpenTelemetry collector: takes what is sent by OTLP over HTTP, and keeps it for a test to look at."""

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.serving import QuietHandler, serving


@dataclass
class Collector:
    """What has come."""

    address: str
    spans: list[Any] = field(default_factory=list)
    metrics: list[Any] = field(default_factory=list)
    logs: list[Any] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    def take(self, path: str, body: bytes) -> None:
        """Take a request."""
        self.bodies.append(body)
        match path:
            case "/v1/traces":
                for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                    self.spans += [span for scope in resource.scope_spans for span in scope.spans]
            case "/v1/metrics":
                for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                    self.metrics += [metric for scope in resource.scope_metrics for metric in scope.metrics]
            case "/v1/logs":
                for resource in ExportLogsServiceRequest.FromString(body).resource_logs:
                    self.logs += [record for scope in resource.scope_logs for record in scope.log_records]

    @property
    def points(self) -> dict[str, list[Any]]:
        """The points of all metrics, by name."""
        found: dict[str, list[Any]] = {}
        for metric in self.metrics:
            data = getattr(metric, metric.WhichOneof("data"))
            found.setdefault(metric.name, []).extend(data.data_points)
        return found


def attributes(thing: Any) -> dict[str, Any]:
    """Return the attributes of a span, a point or a record."""
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in thing.attributes}


@contextmanager
def collecting() -> Iterator[Collector]:
    """Run a collector until the block ends."""

    class Handler(QuietHandler):
        def do_POST(self) -> None:  # noqa: N802  # the name is looked up
            body = self.rfile.read(int(self.headers["Content-Length"]))
            is_packed = self.headers.get("Content-Encoding") == "gzip"
            collector.take(self.path, gzip.decompress(body) if is_packed else body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

    with serving(Handler) as address:
        collector = Collector(address)
        yield collector
