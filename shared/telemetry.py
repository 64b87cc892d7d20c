"""What an operator sees of the work: a trace of each file, metrics, and fields in the log.

One trace holds all that happens to a version of a file. It begins where the host tells of the version; its context
travels in the message, as W3C Trace Context has it; each invocation is a span below the first one. A batch of several
files has a trace of its own for their shared steps, with links to the traces of the files.

Whoever does not listen pays for none of it: OpenTelemetry is imported where an exporter is configured, and only then.
"""

from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import httpx

    from shared.state.batch import BatchRecord, Member

AZURE_MONITOR: Final = "APPLICATIONINSIGHTS_CONNECTION_STRING"
OTLP: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"

INVOCATION: Final = ContextVar("invocation", default="")
"""The host's id of the invocation that is going on."""


@contextmanager
def invocation(invocation_id: str) -> Iterator[None]:
    """Let everything within be told as part of an invocation of the host."""
    token = INVOCATION.set(invocation_id)
    try:
        yield
    finally:
        INVOCATION.reset(token)


class Telemetry:
    """What the app has to tell; this one tells nobody. Safe to share between concurrent invocations."""

    def begin(self, step: str, file: str) -> AbstractContextManager[None]:
        """Tell of an invocation that is the first about a version of a file: a trace begins."""
        del step, file
        return nullcontext()

    def go_on(
        self, step: str, file: str, trace_parent: str | None, *, batch: str | None = None, job_id: str | None = None
    ) -> AbstractContextManager[None]:
        """Tell of a further invocation about a version or a batch."""
        del step, file, trace_parent, batch, job_id
        return nullcontext()

    def batch(self, step: str, batch: str, members: "Sequence[Member]") -> AbstractContextManager[None]:
        """Tell of a step of a batch: of one file, in its trace; of several, in a new trace with links to theirs."""
        del step, batch, members
        return nullcontext()

    def of_member(self, step: str, batch: str, record: "BatchRecord", member: "Member") -> AbstractContextManager[None]:
        """Tell of a step for one file of a batch; if the batch has several files, in the file's own trace."""
        del step, batch, record, member
        return nullcontext()

    def part(self, name: str, **attributes: str) -> AbstractContextManager[None]:
        """Tell of a part of an invocation."""
        del name, attributes
        return nullcontext()

    @property
    def trace_parent(self) -> str | None:
        """The trace that goes on now, for the message: a `traceparent` as W3C Trace Context has it."""
        return None

    def job(self, job_id: str) -> None:
        """Tell of the job that the service has accepted in this invocation."""

    def submitted(self, files_count: int = 1) -> None:
        """Tell that the service has accepted this many files."""

    def ended(self, status: str) -> None:
        """Tell that a version has its outcome."""

    def waits(self, seconds: float) -> None:
        """Tell that a version, first seen so many seconds ago, goes on waiting."""

    def throttled(self, seconds: float) -> None:
        """Tell that the service takes no calls for so long."""

    def swept(self, missing: int, revived: int) -> None:
        """Tell for how many files a sweep had to send a message: without an outcome, and in overdue batches."""

    def take_queue_length_turn(self) -> bool:
        """Whether it is time to tell how many messages are in the queue."""
        return False

    def queue_length(self, messages: int | None) -> None:
        """Tell how many messages are in the queue, about one for each batch in flight; None if nobody knows."""

    def watch(self, client: "httpx.AsyncClient") -> None:
        """Tell of each call of a client from now on."""


def telemetry_for(environ: MutableMapping[str, str]) -> Telemetry:
    """Return what tells whom the environment names: Application Insights, an OTLP endpoint, both, or nobody."""
    if not environ.get(AZURE_MONITOR) and not environ.get(OTLP):
        return Telemetry()
    from shared.telemetry_export import OpenTelemetry

    return OpenTelemetry(environ)
