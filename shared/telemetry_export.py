"""Traces, metrics and logs by OpenTelemetry, to Application Insights or to an OTLP endpoint.

Imported only where one of them is configured. OpenTelemetry's own settings (`OTEL_*`) hold: the sampler, the intervals,
attributes of the resource.
"""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from shared.ner.model import loggable_job
from shared.telemetry import AZURE_MONITOR, INVOCATION, OTLP, Telemetry
from shared.telemetry_errors import QuietTracers, log_failure

if TYPE_CHECKING:
    import httpx
    from opentelemetry.sdk._logs.export import LogRecordExporter
    from opentelemetry.sdk.metrics.export import MetricExporter
    from opentelemetry.sdk.trace.export import SpanExporter

    from shared.state.batch import BatchRecord, Member

log = logging.getLogger("ner")

NAME: Final = "ner-function-app"
EXPORT_MILLISECONDS: Final = "15000"
"""How often metrics are sent. What an instance has not sent when the platform removes it is lost."""
QUEUE_LENGTH_SECONDS: Final = 60.0
"""How often each process asks for the length of the queue."""
PROPAGATOR: Final = TraceContextTextMapPropagator()
JOB_ID: Final = "ner.job.id"
BATCH_ID: Final = "ner.batch.id"
FIELDS: Final[ContextVar[dict[str, str] | None]] = ContextVar("fields", default=None)
"""What the log says of everything that is told within an invocation."""


class OpenTelemetry(Telemetry):
    """Tells everybody who is configured."""

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        """Make the exporters that the app settings name; each sends from a thread of its own."""
        # The names of HTTP metrics and attributes that are stable; the instrumentation asks the environment for it.
        environ.setdefault("OTEL_SEMCONV_STABILITY_OPT_IN", "http")
        environ.setdefault("OTEL_METRIC_EXPORT_INTERVAL", EXPORT_MILLISECONDS)
        name = environ.get("OTEL_SERVICE_NAME") or environ.get("WEBSITE_SITE_NAME") or NAME
        resource = Resource.create({"service.name": name})
        self.tracers = TracerProvider(resource=resource)
        spans, metrics, logs = exporters(environ, self.tracers)
        for span_exporter in spans:
            self.tracers.add_span_processor(BatchSpanProcessor(span_exporter))
        self.meters = MeterProvider([PeriodicExportingMetricReader(exporter) for exporter in metrics], resource)
        self.loggers = LoggerProvider(resource)
        for log_exporter in logs:
            self.loggers.add_log_record_processor(BatchLogRecordProcessor(log_exporter))
        handler = LoggingHandler(logging.INFO, self.loggers)
        handler.addFilter(add_fields)
        log.addHandler(handler)
        self.tracer = self.tracers.get_tracer(NAME)
        meter = self.meters.get_meter(NAME)
        self.submitted_count = meter.create_counter("ner.files.submitted", "{file}", "Versions accepted by the service")
        self.ended_count = meter.create_counter("ner.files.ended", "{file}", "Outcomes, by status")
        self.throttled_seconds = meter.create_counter("ner.throttled", "s", "Time without calls, due to throttling")
        self.swept_count = meter.create_counter("ner.swept", "{file}", "Versions that the sweep had to send on")
        self.longest_wait = 0.0
        self.messages: int | None = None
        self.asked_at = -QUEUE_LENGTH_SECONDS
        self.counted_at = 0.0
        meter.create_observable_gauge(
            "ner.files.waiting", [self.observe_waiting], "{message}", "Messages in the queue: batches in flight"
        )
        meter.create_observable_gauge(
            "ner.files.oldest", [self.observe_oldest], "s", "Age of the oldest version polled since the last export"
        )

    def begin(self, step: str, file: str) -> AbstractContextManager[None]:
        """See Telemetry."""
        return self.span(step, Context(), {"ner.file": file})

    def go_on(
        self, step: str, file: str, trace_parent: str | None, *, batch: str | None = None, job_id: str | None = None
    ) -> AbstractContextManager[None]:
        """See Telemetry."""
        known = {"ner.file": file, BATCH_ID: batch, JOB_ID: job_id and loggable_job(job_id)}
        return self.span(step, parent_of(trace_parent), {name: value for name, value in known.items() if value})

    def batch(self, step: str, batch: str, members: "Sequence[Member]") -> AbstractContextManager[None]:
        """See Telemetry."""
        if len(members) == 1:
            self.tell(BATCH_ID, batch)
            return nullcontext()
        fields = {"ner.file": ", ".join(member.source.name for member in members), BATCH_ID: batch}
        parents = [parent_of(member.trace_parent) for member in members]
        links = [Link(context) for parent in parents if (context := span_context(parent)).is_valid]
        return self.span(step, Context(), fields, links)

    def of_member(self, step: str, batch: str, record: "BatchRecord", member: "Member") -> AbstractContextManager[None]:
        """See Telemetry."""
        if not record.is_of_several:
            return nullcontext()
        job_id = record.job.job_id if record.job else None
        return self.go_on(step, member.source.name, member.trace_parent, batch=batch, job_id=job_id)

    @contextmanager
    def span(self, step: str, parent: Context, fields: dict[str, str], links: Sequence[Link] = ()) -> Iterator[None]:
        """Tell of an invocation or a step, beside the span that the host may have of it, or that of the batch."""
        if INVOCATION.get():
            fields["faas.invocation_id"] = INVOCATION.get()
        around = trace.get_current_span().get_span_context()
        if around.is_valid and around not in [link.context for link in links]:
            links = [*links, Link(around)]
        is_outermost = FIELDS.get() is None
        token = FIELDS.set(fields)
        try:
            with self.current_span(step, parent, fields, SpanKind.CONSUMER, links), ExitStack() as stack:
                if is_outermost:
                    # The host does not export why an invocation failed, because the app exports its logs itself.
                    stack.push(partial(log_failure, step, fields.get("ner.file", "")))
                yield
        finally:
            FIELDS.reset(token)

    def part(self, name: str, **attributes: str) -> AbstractContextManager[None]:
        """See Telemetry."""
        return self.current_span(name, None, attributes)

    @contextmanager
    def current_span(
        self,
        name: str,
        parent: Context | None,
        attributes: Mapping[str, str],
        kind: SpanKind = SpanKind.INTERNAL,
        links: Sequence[Link] = (),
    ) -> Iterator[None]:
        """Tell of what is done within. Of an exception it is told that there was one: its text may quote anything."""
        is_done = False
        with self.tracer.start_as_current_span(
            name, parent, kind, attributes, links, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield
                is_done = True
            finally:
                if not is_done:
                    span.set_status(StatusCode.ERROR)

    @property
    def trace_parent(self) -> str | None:
        """See Telemetry."""
        carrier: dict[str, str] = {}
        PROPAGATOR.inject(carrier)
        return carrier.get("traceparent")

    def job(self, job_id: str) -> None:
        """See Telemetry."""
        self.tell(JOB_ID, loggable_job(job_id))

    def tell(self, name: str, value: str) -> None:
        """Add what has become known to the span that goes on now, and to the lines of the log from now on."""
        trace.get_current_span().set_attribute(name, value)
        fields = FIELDS.get()
        if fields is not None:
            fields[name] = value

    def submitted(self, files_count: int = 1) -> None:
        """See Telemetry."""
        self.submitted_count.add(files_count)

    def ended(self, status: str) -> None:
        """See Telemetry."""
        self.ended_count.add(1, {"status": status})

    def waits(self, seconds: float) -> None:
        """See Telemetry."""
        self.longest_wait = max(self.longest_wait, seconds)

    def throttled(self, seconds: float) -> None:
        """See Telemetry."""
        self.throttled_seconds.add(seconds)

    def swept(self, missing: int, revived: int) -> None:
        """See Telemetry."""
        self.swept_count.add(missing, {"found": "files without an outcome"})
        self.swept_count.add(revived, {"found": "batches without a message"})

    def take_queue_length_turn(self) -> bool:
        """See Telemetry."""
        now = time.monotonic()
        if now - self.asked_at < QUEUE_LENGTH_SECONDS:
            return False
        # Others who come meanwhile need not ask too.
        self.asked_at = now
        return True

    def queue_length(self, messages: int | None) -> None:
        """See Telemetry."""
        self.messages = messages
        self.counted_at = time.monotonic()

    def watch(self, client: "httpx.AsyncClient") -> None:
        """See Telemetry."""
        HTTPXClientInstrumentor().instrument_client(client, QuietTracers(self.tracers), self.meters)

    def observe_waiting(self, _options: CallbackOptions) -> Iterable[Observation]:
        """Return what the queue held when it was asked last; nothing if that was long ago: then no message arrives."""
        is_old = time.monotonic() - self.counted_at >= 2 * QUEUE_LENGTH_SECONDS
        return [] if self.messages is None or is_old else [Observation(self.messages)]

    def observe_oldest(self, _options: CallbackOptions) -> Iterable[Observation]:
        """Return the longest wait that was seen since the last time: each version is looked at again and again."""
        longest, self.longest_wait = self.longest_wait, 0.0
        return [Observation(longest)]


def parent_of(trace_parent: str | None) -> Context:
    """Return the context of a span whose `traceparent` is known; an empty one if none is."""
    return PROPAGATOR.extract({"traceparent": trace_parent} if trace_parent else {}, Context())


def span_context(context: Context) -> trace.SpanContext:
    """Return the span that a context has; an invalid one if it has none."""
    return trace.get_current_span(context).get_span_context()


def exporters(
    environ: Mapping[str, str], tracers: TracerProvider
) -> tuple[list["SpanExporter"], list["MetricExporter"], list["LogRecordExporter"]]:
    """Return exporters of traces, metrics and logs for each place that is configured."""
    spans: list[SpanExporter] = []
    metrics: list[MetricExporter] = []
    logs: list[LogRecordExporter] = []
    if environ.get(AZURE_MONITOR):
        from azure.monitor.opentelemetry.exporter import (
            AzureMonitorLogExporter,
            AzureMonitorMetricExporter,
            AzureMonitorTraceExporter,
        )

        # As an identity where APPLICATIONINSIGHTS_AUTHENTICATION_STRING says so, which they read themselves.
        spans.append(AzureMonitorTraceExporter(tracer_provider=tracers))
        metrics.append(AzureMonitorMetricExporter())
        logs.append(AzureMonitorLogExporter())
    if environ.get(OTLP):
        from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        spans.append(OTLPSpanExporter())
        metrics.append(OTLPMetricExporter())
        logs.append(OTLPLogExporter())
    return spans, metrics, logs


def add_fields(record: logging.LogRecord) -> bool:
    """Give a line of the log the fields of its invocation."""
    for name, value in (FIELDS.get() or {}).items():
        setattr(record, name, value)
    return True
