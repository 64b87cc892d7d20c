"""The record of a batch: one request to the service, or the many requests of one large file, and how far it has come.

The record's etag is a baton: only the message that carries it may go on, and every new message changes it. `due` is
when that message is to be received; a record that is overdue has lost its message, and the sweep sends another one.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Final

import msgspec

from shared.ner.model import Problem
from shared.source import Instant, JobId, Position, Source, TraceParent
from shared.state.claim import BatchId

BATCHES: Final = "batches/"
"""How the names of records begin, in NER_STATE_CONTAINER."""


class BatchKind(StrEnum):
    """What is to be done next about a batch."""

    WAITING = "waiting"
    """The service has not accepted it yet."""
    JOB = "job"
    """The service has accepted it as one job."""
    LEDGER = "ledger"
    """A file of many jobs: its ledger says what was submitted and collected."""
    VOID = "void"
    """Its members were claimed by others: whoever comes late with a job must give it up."""


class SubmittedJob(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A job that the service accepted.

    The counts are what was sent (a transaction is up to 1,000 characters). The job is about what is between `start`
    and `end` in the file; `end` is None for the file's last job.
    """

    job_id: JobId
    documents_count: Annotated[int, msgspec.Meta(ge=1)]
    transactions_count: Annotated[int, msgspec.Meta(ge=0)]
    start: Position = Position()
    end: Position | None = None


class Member(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A version of a file in a batch.

    `claim_etag` is that of its claim, `outcome_etag` that of the outcome that its own may replace: None where there was
    none at the claim. `digest` stands for what was sent and how: equal ones give equal entities.
    """

    source: Source
    claim_etag: str
    outcome_etag: str | None = None
    digest: str = ""


class BatchRecord(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """How far a batch has come.

    `received_date_time` is when the app first saw its files, `submitted_date_time` when the service accepted them (the
    last job, if there are many). `tries` counts the workers in a row that began the next step and recorded nothing of
    it; a message that was lost counts once. `unsure` counts submissions in a row that may have been accepted, though no
    job is known: nothing is submitted before `not_before`. `problem` is why the last submission failed.
    """

    kind: BatchKind
    members: list[Member] = []
    job: SubmittedJob | None = None
    received_date_time: Instant
    submitted_date_time: Instant | None = None
    due: Instant
    tries: int = 0
    unsure: int = 0
    not_before: Instant | None = None
    problem: Problem | None = None
    trace_parent: TraceParent | None = None

    @property
    def since(self) -> datetime:
        """When the waiting began: for the jobs if there are any, else for the service to accept them."""
        return self.submitted_date_time or self.received_date_time

    def after_progress(self) -> "BatchRecord":
        """Return the record once a step has been taken: what had gone wrong before counts no more."""
        return msgspec.structs.replace(self, tries=0, unsure=0, not_before=None, problem=None)

    def metadata(self) -> dict[str, str]:
        """Return what a listing shows of the record."""
        return {"kind": self.kind.value, "due": self.due.isoformat(), "tries": str(self.tries)}


def batch_name(batch: BatchId) -> str:
    """Return the name of a batch's record."""
    return f"{BATCHES}{batch}.json"


def is_overdue(due: datetime, now: datetime, grace_seconds: float) -> bool:
    """Tell whether the message of a record must be lost."""
    return now >= due + timedelta(seconds=grace_seconds)


def encode_batch(record: BatchRecord) -> bytes:
    """Return the record as JSON."""
    return msgspec.json.encode(record)


def decode_batch(data: bytes) -> BatchRecord:
    """Read a record.

    Raises:
        msgspec.DecodeError: another version of the app has written it.
    """
    return msgspec.json.decode(data, type=BatchRecord)
