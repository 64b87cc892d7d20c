"""What outlives every worker: the storage account, the queue, the service and the clock, as a few dictionaries."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Final, Generic, NamedTuple, TypeVar

from shared import outcome as outcomes
from shared.message import Message, encode_message
from shared.outcome import OutcomeStatus
from shared.precedence import PresentOutcome
from shared.source import Source, read_instant
from shared.state.batch import BatchRecord
from shared.state.claim import Claim
from shared.state.ledger import Entry, Extent, Ledger, decode_ledger, encode_entry
from shared.state.sweeping import SweepState
from shared.storage.blobs import OutcomeConflictError
from shared.storage.ledgers import LedgerConflictError, ResultsGoneError
from tests.unit.protocol.protections import Protection

BEGIN: Final = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
FILES: Final = ("a.txt", "b.txt")
REQUESTS: Final = 2
"""Requests that a large text needs."""

T = TypeVar("T")


class Text(Enum):
    """What a version holds."""

    SMALL = "small"
    """One request."""
    LARGE = "large"
    """REQUESTS requests, so it needs a ledger."""
    BAD = "bad"
    """No text: it ends before anything is sent."""
    REFUSED = "refused"
    """The service refuses each request that has it."""
    FAILING = "failing"
    """Each job that has it fails."""


class Upload(NamedTuple):
    """A version in the input container, and what it holds; equal digests stand for equal texts."""

    source: Source
    text: Text
    digest: str


class Stored(NamedTuple, Generic[T]):
    """A blob and its etag."""

    value: T
    etag: str


class Outcome(NamedTuple):
    """An outcome blob, and the jobs whose entities it holds."""

    present: PresentOutcome
    jobs: list[str]


class Queued(NamedTuple):
    """A queue message: its text, when it becomes visible, and how often it was delivered before."""

    text: str
    visible: datetime
    deliveries: int = 0


class Payment(NamedTuple):
    """What the service is paid for: a request of a version."""

    name: str
    etag: str
    request: int


class JobState(Enum):
    """How far the service has come with a job."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass
class World:
    """What outlives every worker.

    Attributes:
        without: protections that the workers of this world do without.
        events: names of files whose event has yet to be delivered.
        paid: how often each request was accepted by the service.
        forgotten: of these, those of which no worker could record the job.
        repaid: of these, those whose batch of several files was dissolved after it had been paid.
        texts: what each version holds.
        throttled: whether the service refuses all calls now.
        closed: whether the workers know that, and make no calls.
        silent: whether the service's answers to submissions get lost.
        written: when something was last written beside a record, by its batch.
    """

    without: frozenset[Protection] = frozenset()
    now: datetime = BEGIN
    writes: int = 0
    inputs: dict[str, Upload] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)
    queue: list[Queued] = field(default_factory=list)
    claims: dict[str, Stored[Claim]] = field(default_factory=dict)
    batches: dict[str, Stored[BatchRecord]] = field(default_factory=dict)
    ledgers: dict[str, bytes] = field(default_factory=dict)
    results: set[str] = field(default_factory=set)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    sweep: SweepState | None = None
    jobs: dict[str, JobState] = field(default_factory=dict)
    paid: Counter[Payment] = field(default_factory=Counter)
    forgotten: Counter[Payment] = field(default_factory=Counter)
    repaid: Counter[Payment] = field(default_factory=Counter)
    texts: dict[Source, Text] = field(default_factory=dict)
    failing: set[str] = field(default_factory=set)
    throttled: bool = False
    closed: bool = False
    silent: bool = False
    written: dict[str, datetime] = field(default_factory=dict)

    def in_seconds(self, seconds: float) -> datetime:
        """Return the time in that many seconds."""
        return self.now + timedelta(seconds=seconds)

    def new_etag(self) -> str:
        """Return an etag that no other blob has or had: later ones are greater."""
        self.writes += 1
        return f"{self.writes:06}"

    def upload(self, name: str, text: Text, digest: str) -> None:
        """Upload a version in place of the one before."""
        source = Source("incoming", name, self.new_etag(), self.now, 1)
        self.inputs[name] = Upload(source, text, digest)
        self.texts[source] = text

    def newest(self, name: str) -> Source | None:
        """Return the version that the input container holds."""
        return self.inputs[name].source if name in self.inputs else None

    def read_upload(self, name: str, etag: str | None = None) -> Upload | None:
        """Return an upload; None if it is gone, or not this version."""
        upload = self.inputs.get(name)
        return upload if upload is not None and etag in (None, upload.source.etag) else None

    def write_claim(self, claim: Claim, known: str | None) -> str | None:
        """Write a claim on condition; return its etag, None if another worker was faster."""
        return self.write(self.claims, claim.source.name, claim, known)

    def write_batch(self, batch: str, record: BatchRecord, known: str | None) -> str | None:
        """Write a record on condition; return its etag, None if another worker was faster."""
        return self.write(self.batches, batch, record, known)

    def write(self, blobs: dict[str, Stored[T]], name: str, value: T, known: str | None) -> str | None:
        """Write a blob in place of the one with the etag `known`, or as the first one."""
        if (blobs[name].etag if name in blobs else None) != known:
            return None
        etag = self.new_etag()
        blobs[name] = Stored(value, etag)
        return etag

    def release_claim(self, name: str, etag: str) -> None:
        """Delete a claim, this version of it alone."""
        if name in self.claims and self.claims[name].etag == etag:
            del self.claims[name]

    def delete_batch(self, batch: str, etag: str | None) -> None:
        """Delete a record, this version of it alone if an etag is given."""
        if batch in self.batches and etag in (None, self.batches[batch].etag):
            del self.batches[batch]

    def present_outcome(self, name: str) -> PresentOutcome | None:
        """Return which outcome a file has."""
        return self.outcomes[name].present if name in self.outcomes else None

    def write_outcome(
        self, source: Source, status: OutcomeStatus, digest: str, jobs: list[str], replaced: str | None
    ) -> None:
        """Write the outcome of a version on condition; raises OutcomeConflictError."""
        present = self.present_outcome(source.name)
        if (present.etag if present else None) != replaced and Protection.OUTCOME_CONDITION not in self.without:
            raise OutcomeConflictError
        described = outcomes.metadata(status, source, digest)
        written = read_instant(described["source_last_modified"])
        found = PresentOutcome(self.new_etag(), described["source_etag"], written, described.get("digest", ""))
        self.outcomes[source.name] = Outcome(found, jobs)

    def read_ledger(self, batch: str) -> Ledger:
        """Return a ledger; an empty one if there is none."""
        return decode_ledger(batch, self.ledgers.get(batch, b""))

    def append(self, ledger: Ledger, entry: Entry) -> None:
        """Write the next entry of a ledger at its position; raises LedgerConflictError."""
        if ledger.size == 0:
            self.ledgers.setdefault(ledger.name, b"")
        known = self.ledgers.get(ledger.name)
        if known is None or (len(known) != ledger.size and Protection.LEDGER_POSITION not in self.without):
            raise LedgerConflictError
        self.written[ledger.name] = self.now
        line = encode_entry(entry)
        self.ledgers[ledger.name] = known + line
        ledger.size += len(line)
        ledger.add(entry)

    def append_results(self, ledger: Ledger) -> list[Extent]:
        """Keep what was collected for a ledger; raises ResultsGoneError if what was kept before is gone."""
        if ledger.has_results and ledger.name not in self.results:
            raise ResultsGoneError
        self.results.add(ledger.name)
        self.written[ledger.name] = self.now
        return [Extent(0, 1)]

    def read_results(self, batch: str) -> None:
        """Read what was collected for a ledger; raises ResultsGoneError."""
        if batch not in self.results:
            raise ResultsGoneError

    def send(self, message: Message, delay_seconds: float = 0.0) -> None:
        """Put a message into the queue."""
        self.queue.append(Queued(encode_message(message), self.in_seconds(max(delay_seconds, 0.0))))

    @property
    def visible(self) -> list[Queued]:
        """The messages that can be received, the next one first."""
        return sorted(
            (queued for queued in self.queue if queued.visible <= self.now), key=lambda queued: queued.visible
        )

    def accept(self, payments: Iterable[Payment]) -> str:
        """Accept a request: it is paid from now on. Return the job's id."""
        payments = list(payments)
        self.paid.update(payments)
        job_id = f"job-{len(self.jobs) + 1}"
        bad = {(source.name, source.etag) for source, text in self.texts.items() if text is Text.FAILING}
        if any((payment.name, payment.etag) in bad for payment in payments):
            self.failing.add(job_id)
        self.jobs[job_id] = JobState.RUNNING
        return job_id

    def cancel(self, job_id: str) -> None:
        """Cancel a job that runs."""
        if self.jobs[job_id] is JobState.RUNNING:
            self.jobs[job_id] = JobState.CANCELLED

    def end_jobs(self) -> None:
        """Let all jobs that run end, and well unless they have a text that makes them fail."""
        for job_id, state in self.jobs.items():
            if state is JobState.RUNNING:
                self.jobs[job_id] = JobState.FAILED if job_id in self.failing else JobState.SUCCEEDED
