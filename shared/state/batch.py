"""The record of a batch, which is one file, or several small files that share a request; and its progress.

The record's ETag is a baton: only the message that carries it may continue, and every new message changes it. `due` is
when that message should be received; an overdue record has lost its message, and the sweep sends another one.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final

import msgspec

from shared.ner.model import Problem
from shared.source import Digest, ETag, Instant, JobId, Position, Source, TraceParent
from shared.state.claim import BatchId

BATCHES: Final = "batches/"
"""Prefix of the names of records in NER_STATE_CONTAINER."""
SEPARATOR: Final = ","


class BatchKind(StrEnum):
    """The next step of a batch."""

    WAITING = "waiting"
    """The service has not accepted it yet."""
    JOB = "job"
    """The service has accepted it as one job."""
    LEDGER = "ledger"
    """A file of many jobs: its ledger says what was submitted and collected."""
    VOID = "void"
    """The batch has ended: a worker that is late must not record a job. Its files continue in other batches."""


class SubmittedJob(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A job that the service accepted.

    The counts are of what was sent (a transaction is up to 1,000 characters). The job covers the file from `start` to
    `end`; `end` is None for the file's last job.
    """

    job_id: JobId
    documents_count: Annotated[int, msgspec.Meta(ge=1)]
    transactions_count: Annotated[int, msgspec.Meta(ge=0)]
    start: Position = Position()
    end: Position | None = None

    def share_of(self, member: "Member") -> "SubmittedJob":
        """Return the part of the job that belongs to a member of its batch; all of it if the member is alone."""
        if member.documents_count >= self.documents_count:
            return self
        counts = {"documents_count": member.documents_count, "transactions_count": member.transactions_count}
        return msgspec.structs.replace(self, **counts)


class Member(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A version of a file in a batch.

    `claim_etag` is the ETag of its claim. `outcome_etag` is the ETag of the outcome that its own may replace; None if
    there was no outcome after the claim. `digest` is a hash of the text and how it is sent: equal ones give equal
    entities. The counts are those of the file's part of the request, as in SubmittedJob, and `first_document` is the
    index of its first document in the request. `trace_parent` is the file's own trace.
    """

    source: Source
    claim_etag: ETag
    outcome_etag: ETag | None = None
    digest: Digest = ""
    documents_count: Annotated[int, msgspec.Meta(ge=1)] = 1
    transactions_count: Annotated[int, msgspec.Meta(ge=0)] = 0
    first_document: Annotated[int, msgspec.Meta(ge=0)] = 0
    trace_parent: TraceParent | None = None


class BatchRecord(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The state of a batch.

    `received_date_time` is when the app first saw the first of its files. `submitted_date_time` is when the service
    accepted them (the last job, if there are many); `host` is that of the endpoint, which alone has their jobs. `tries`
    counts the workers in a row that began the next step and recorded no result; a lost message counts as one. `unsure`
    counts the submissions in a row that may have been accepted, but whose job is unknown; nothing is submitted before
    `not_before`. `problem` is the reason why the last submission failed. `is_halved` says that the service has refused
    a request of the file for its size: the next requests have at most half of the limits.
    """

    kind: BatchKind
    members: list[Member] = []
    job: SubmittedJob | None = None
    received_date_time: Instant
    submitted_date_time: Instant | None = None
    due: Instant
    host: Annotated[str, msgspec.Meta(max_length=1024)] = ""
    tries: int = 0
    unsure: int = 0
    not_before: Instant | None = None
    problem: Problem | None = None
    is_halved: bool = False
    trace_parent: TraceParent | None = None

    @property
    def since(self) -> datetime:
        """When the time limit began: at the submission or, until the service accepts it, when the app saw the files."""
        return self.submitted_date_time or self.received_date_time

    def has(self, claim_etag: str) -> bool:
        """Return whether the batch contains the version of a claim."""
        return any(member.claim_etag == claim_etag for member in self.members)

    @property
    def is_of_several(self) -> bool:
        """Whether several files share the batch."""
        return len(self.members) > 1

    def jobs_of(self, member: Member) -> list[SubmittedJob]:
        """Return the member's part of the batch's job, as a list; an empty list if there is no job."""
        return [] if self.job is None else [self.job.share_of(member)]

    def after_progress(self) -> "BatchRecord":
        """Return the record after a successful step: earlier failures no longer count."""
        return msgspec.structs.replace(self, tries=0, unsure=0, not_before=None, problem=None)

    def metadata(self) -> dict[str, str]:
        """Return the metadata that a listing shows of the record."""
        claims = SEPARATOR.join(member.claim_etag for member in self.members)
        return {"kind": self.kind.value, "due": self.due.isoformat(), "tries": str(self.tries), "claims": claims}


def listed_claims(metadata: Mapping[str, str]) -> list[str]:
    """Return the ETags of the claims of a record's members, from its metadata in a listing."""
    claims = metadata.get("claims", "")
    return claims.split(SEPARATOR) if claims else []


def batch_name(batch: BatchId) -> str:
    """Return the name of a batch's record."""
    return f"{BATCHES}{batch}.json"


def is_overdue(due: datetime, now: datetime, grace_seconds: float) -> bool:
    """Return whether a message that was due then must have been lost."""
    return (now - due).total_seconds() >= grace_seconds


def encode_batch(record: BatchRecord) -> bytes:
    """Return the record as JSON."""
    return msgspec.json.encode(record)


def decode_batch(data: bytes) -> BatchRecord:
    """Decode a record.

    Raises:
        msgspec.DecodeError: another version of the app has written it.
    """
    return msgspec.json.decode(data, type=BatchRecord)
