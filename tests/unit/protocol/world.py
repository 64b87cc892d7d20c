"""What outlives every worker: the storage account, the queue, the service and the clock, as a few dictionaries."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

from azure.core.exceptions import AzureError

from shared import outcome as outcomes
from shared.message import Message, encode_message
from shared.ner.errors import NerError, Remedy
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
from tests.unit.protocol.values import (
    DiedError,
    JobState,
    Outcome,
    Part,
    Payment,
    Queued,
    Stored,
    Text,
    Upload,
    Version,
)

BEGIN: Final = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
FILES: Final = ("a.txt", "b.txt", "c.txt")
REQUESTS: Final = 2
"""Requests that a large text needs."""

T = TypeVar("T")


@dataclass
class World:
    """What outlives every worker.

    Attributes:
        without: protections that the workers of this world do without.
        events: names of files whose event has yet to be delivered.
        paid: how often each request was accepted by the service.
        forgotten: of these, those of which no worker could record the job.
        dissolved: of these, those whose job of several files was given up for one of each.
        uploads: all versions that there were, by etag.
        first_uploads: when a text was first uploaded.
        befallen: how often something may have counted against a text that was no other text's fault.
        hurt_by: texts that killed a worker with this one in hand.
        failed_alone: texts with a job of their own that failed.
        suspects: etags of claims of versions that were taken over from a worker that may have died of them.
        throttled: whether the service refuses all calls now.
        closed: whether the workers know that, and make no calls.
        silent: whether the service's answers to submissions get lost.
        window_seconds: how long a batch waits for files that have no seat yet.
        leased: files whose outcome another program does not let be written.
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
    requests: dict[str, list[Payment]] = field(default_factory=dict)
    paid: Counter[Payment] = field(default_factory=Counter)
    forgotten: Counter[Payment] = field(default_factory=Counter)
    dissolved: Counter[Payment] = field(default_factory=Counter)
    uploads: dict[str, Upload] = field(default_factory=dict)
    first_uploads: dict[Version, datetime] = field(default_factory=dict)
    befallen: Counter[Version] = field(default_factory=Counter)
    hurt_by: dict[Version, set[Version]] = field(default_factory=dict)
    failed_alone: set[Version] = field(default_factory=set)
    suspects: set[str] = field(default_factory=set)
    throttled: bool = False
    closed: bool = False
    silent: bool = False
    window_seconds: float = 0.0
    leased: set[str] = field(default_factory=set)
    written: dict[str, datetime] = field(default_factory=dict)

    def in_seconds(self, seconds: float) -> datetime:
        """Return the time in that many seconds."""
        return self.now + timedelta(seconds=seconds)

    def new_etag(self) -> str:
        """Return an etag that no other blob has or had: later ones are greater."""
        self.writes += 1
        return f"{self.writes:06}"

    def new_batch(self) -> str:
        """Return a name for a batch."""
        return f"{self.new_etag():0>32}"

    def upload(self, name: str, text: Text, digest: str) -> None:
        """Upload a version in place of the one before."""
        source = Source("incoming", name, self.new_etag(), self.now, 1)
        self.inputs[name] = self.uploads[source.etag] = Upload(source, text, digest)
        self.first_uploads.setdefault(Version(name, digest), self.now)

    def version_of(self, etag: str) -> Version:
        """Return the text of a version, by its etag."""
        upload = self.uploads[etag]
        return Version(upload.source.name, upload.digest)

    def texts_of(self, payments: Iterable[Payment]) -> dict[Text, Version]:
        """Return what the files of a request hold, and one text of each kind."""
        return {self.uploads[payment.etag].text: self.version_of(payment.etag) for payment in payments}

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
        self, source: Source, status: OutcomeStatus, digest: str, parts: list[Part], replaced: str | None
    ) -> None:
        """Write the outcome of a version on condition; raises OutcomeConflictError, or AzureError if it is leased."""
        if source.name in self.leased:
            raise AzureError("leased")
        present = self.present_outcome(source.name)
        if (present.etag if present else None) != replaced and Protection.OUTCOME_CONDITION not in self.without:
            raise OutcomeConflictError
        described = outcomes.metadata(status, source, digest)
        written = read_instant(described["source_last_modified"])
        found = PresentOutcome(self.new_etag(), described["source_etag"], written, described.get("digest", ""))
        self.outcomes[source.name] = Outcome(found, status, parts)

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

    def accept(self, payments: Sequence[Payment]) -> str:
        """Accept a request: it is paid from now on. Return the job's id."""
        texts = self.texts_of(payments)
        if Text.DEADLY in texts:
            raise DiedError(texts[Text.DEADLY])
        if Text.REFUSED in texts:
            raise NerError("InvalidRequest", "", Remedy.NONE)
        self.paid.update(payments)
        job_id = f"job-{len(self.jobs) + 1}"
        self.jobs[job_id] = JobState.RUNNING
        self.requests[job_id] = list(payments)
        return job_id

    def look(self, job_id: str) -> JobState:
        """Return the state of a job, with its results."""
        texts = self.texts_of(self.requests[job_id])
        if self.jobs[job_id] is JobState.SUCCEEDED and Text.DEADLY_RESULTS in texts:
            raise DiedError(texts[Text.DEADLY_RESULTS])
        return self.jobs[job_id]

    def parts(self, job_id: str) -> list[Part]:
        """Return what a job has of each of its files."""
        return [Part(job_id, payment) for payment in self.requests[job_id]]

    def cancel(self, job_id: str) -> None:
        """Cancel a job that runs."""
        if self.jobs[job_id] is JobState.RUNNING:
            self.jobs[job_id] = JobState.CANCELLED

    def end_jobs(self, *, fail: bool = False) -> None:
        """Let all jobs that run end, well unless they are to fail."""
        for job_id, state in self.jobs.items():
            if state is not JobState.RUNNING:
                continue
            payments = self.requests[job_id]
            fails = fail or Text.FAILING in self.texts_of(payments)
            self.jobs[job_id] = JobState.FAILED if fails else JobState.SUCCEEDED
            if fails and len(payments) == 1:
                self.failed_alone.add(self.version_of(payments[0].etag))
