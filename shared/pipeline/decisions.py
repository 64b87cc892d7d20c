"""Decisions about what to do, based on what was read: pure functions, without a clock of their own and without I/O."""

import re
from datetime import datetime, timedelta
from enum import Enum
from typing import Final, NamedTuple

import msgspec

from shared.message import is_expired, waiting_delay
from shared.ner.errors import NerError, Remedy
from shared.ner.rate import CALLS_PER_MINUTE
from shared.source import Source
from shared.state.batch import BatchKind, BatchRecord
from shared.state.claim import MAX_TRIES, BatchId, Claim, is_old

MAX_STORAGE_DELAY_SECONDS: Final = 600
"""Some refusals, such as by an infinite lease, last until an operator acts, and each try costs calls."""

LAST_TRY_TIMEOUTS: Final = 15
"""The delay before a last try, in multiples of NER_SUBMIT_TIMEOUT_SECONDS: half an hour by default."""
MAX_UNSURE: Final = 5
"""How often a text may be submitted without learning its job."""
LEAST_UNSURE_SECONDS: Final = 120

SIZE = re.compile(
    r"InvalidDocumentBatch|413\b|too ?(?:large|long|big|many)|exceed|at most|maximum|limit", re.IGNORECASE
)
"""In the code or the message of a refusal that may be due to the size of the request."""

LONGEST_WINDOW_SECONDS: Final = 2.0
"""How long a batch waits at most for files that have no seat in it yet."""
FREE_SHARE: Final = 0.25
"""Share of the service's calls per minute; while a process makes fewer calls, there is no window."""
FULL_SHARE: Final = 0.75
"""From this share on, the window is LONGEST_WINDOW_SECONDS."""


class Claiming(Enum):
    """What a worker may do with a file that already has a claim."""

    LEAVE = "leave"
    """Another worker has this version."""
    FENCE = "fence"
    """Its worker has ended without a record: make sure that it can no longer record a job, then take over."""
    TAKE_OVER = "take over"
    """Its worker has ended, and its batch is void or was sent without it."""
    LEAVE_BATCH = "leave batch"
    """Its batch was dissolved: this version continues alone."""
    ASK = "ask"
    """The claim is for another version: take it over if this version is still the newest."""


def who_submits(
    claim: Claim,
    source: Source,
    is_in_batch: bool | None,
    now: datetime,
    patience_seconds: float,
    *,
    dissolved: BatchId | None = None,
) -> Claiming:
    """Decide what a worker does with a version whose file has a claim.

    Args:
        claim: the existing claim.
        source: the version that was read.
        is_in_batch: whether the record of the claim's batch names the claim; None if there is no record.
        now: the current time.
        patience_seconds: NER_SUBMIT_TIMEOUT_SECONDS; each worker ends itself before it is over.
        dissolved: the dissolved batch that the version was in, as its message says.
    """
    if claim.source.etag != source.etag:
        return Claiming.ASK
    if claim.batch == dissolved:
        return Claiming.LEAVE_BATCH
    if not is_old(claim.claimed_date_time, now, patience_seconds + before_last_try(claim.tries, patience_seconds)):
        return Claiming.LEAVE
    if is_in_batch is None:
        return Claiming.FENCE
    return Claiming.LEAVE if is_in_batch else Claiming.TAKE_OVER


def has_job(record: BatchRecord, claim_etag: str) -> bool:
    """Return whether the version of a claim is in a batch whose job another version can take over."""
    return record.kind is BatchKind.JOB and record.has(claim_etag)


def with_version(
    record: BatchRecord,
    known_etag: str,
    claim: Claim,
    claim_etag: str,
    now: datetime,
    *,
    trace_parent: str | None = None,
) -> BatchRecord:
    """Return the record of a batch, with the version in `claim` in place of that of the known claim.

    Later steps of a batch of one file belong to the trace of the new version. A batch of several has its own trace.
    """
    members = [
        msgspec.structs.replace(
            member,
            source=msgspec.structs.replace(claim.source, encoding=member.source.encoding),
            claim_etag=claim_etag,
            trace_parent=trace_parent,
        )
        if member.claim_etag == known_etag
        else member
        for member in record.members
    ]
    its_own = record.trace_parent if record.is_of_several else trace_parent
    return msgspec.structs.replace(record, members=members, due=now, trace_parent=its_own)


def before_last_try(tries: int, patience_seconds: float) -> float:
    """Return the delay, in seconds, before the next try of a step that `tries` workers may have died of.

    The host ends itself at the third death of its workers within half an hour, so the last try comes later.
    """
    return LAST_TRY_TIMEOUTS * patience_seconds if tries == MAX_TRIES - 1 else 0.0


def window_seconds(calls_in_last_minute: int, *, is_throttled: bool) -> float:
    """Return the window, in seconds: how long a batch waits for more files, so that they share its calls.

    Args:
        calls_in_last_minute: calls to the service that this process has made.
        is_throttled: whether the service has throttled a call of any process within the last minute.
    """
    share = calls_in_last_minute / CALLS_PER_MINUTE
    grown = min(max((share - FREE_SHARE) / (FULL_SHARE - FREE_SHARE), 0.0), 1.0)
    return LONGEST_WINDOW_SECONDS * (1.0 if is_throttled else grown)


class Later(NamedTuple):
    """A step to take later."""

    seconds: float


class Fail(NamedTuple):
    """A batch that ends without entities."""

    overdue: bool
    """Whether a retry might have helped, but the time limit has passed."""


def after_call(
    error: NerError,
    record: BatchRecord,
    now: datetime,
    *,
    timeout_seconds: float,
    least: float,
    most: float,
    jitter: float,
    since: datetime | None = None,
) -> Later | Fail:
    """Decide what happens after the service refused a call or did not respond.

    Args:
        error: why the call failed.
        record: the batch's record.
        now: the current time.
        timeout_seconds: NER_JOB_TIMEOUT_SECONDS.
        least: NER_POLL_MIN_SECONDS.
        most: NER_POLL_MAX_SECONDS.
        jitter: from 0 to 1, drawn at random by the caller.
        since: when the wait began, if not at the time in the record; the time limit counts from the record.
    """
    if error.remedy is Remedy.NONE:
        return Fail(overdue=False)
    if is_expired(record.since, now, timeout_seconds):
        return Fail(overdue=True)
    waited = now - (since or record.since)
    return Later(waiting_delay(waited, least=least, most=most, jitter=jitter, retry_after=error.retry_after))


def after_unsure(record: BatchRecord, now: datetime, patience_seconds: float) -> BatchRecord | None:
    """Return the record after one more submission that may have been accepted, but whose job is unknown.

    Each submission may have been charged, so each delay is eight times the last one: 2 minutes, 16 minutes, 2 hours,
    17 hours.

    Returns:
        None after the last submission: the app gives the file up.
    """
    unsure = record.unsure + 1
    if unsure >= MAX_UNSURE:
        return None
    seconds = max(patience_seconds, LEAST_UNSURE_SECONDS) * 8 ** (unsure - 1)
    return msgspec.structs.replace(record, unsure=unsure, not_before=now + timedelta(seconds=seconds))


def is_refused_for_size(error: NerError) -> bool:
    """Return whether the service has refused a request that may be accepted in smaller ones."""
    is_refused = error.remedy is Remedy.NONE and not error.is_unanswered
    return is_refused and SIZE.search(f"{error.code} {error.message}") is not None


def after_refusal(record: BatchRecord, now: datetime, *, least: float, most: float, jitter: float) -> float:
    """Return the delay, in seconds, before a batch continues after storage refused a call or did not respond."""
    longest = max(most, MAX_STORAGE_DELAY_SECONDS)
    return waiting_delay(now - record.since, least=least, most=longest, jitter=jitter)


class Finding(Enum):
    """What the sweep finds about a file."""

    WELL = "well"
    """It has its outcome or a worker, or is too recent."""
    MISSING = "missing"
    """It needs a message: no worker has begun it, or its worker has ended without a record."""
    EXISTING = "existing"
    """It has no outcome, and is older than this deployment."""


class ListedClaim(NamedTuple):
    """A claim as a listing shows it."""

    batch: str
    claimed: datetime
    source_etag: str


def look_at_file(
    source: Source,
    outcome_of: str | None,
    claim: ListedClaim | None,
    now: datetime,
    *,
    is_in_batch: bool,
    grace_seconds: float,
    patience_seconds: float,
    since: datetime | None,
) -> Finding:
    """Decide whether a file needs a message.

    Args:
        source: its version, as listed.
        outcome_of: ETag of the version that its outcome belongs to; None if it has no outcome.
        claim: the file's claim. A claim for another version can be taken over.
        now: the current time.
        is_in_batch: whether the record of the claim's batch names the claim.
        grace_seconds: NER_SWEEP_GRACE_SECONDS, the minimum age of the file.
        patience_seconds: NER_SUBMIT_TIMEOUT_SECONDS; each worker ends itself before it is over.
        since: when this deployment began; older files are only counted. None to submit them too.
    """
    if claim is not None:
        if is_old(claim.claimed, now, patience_seconds) and not is_in_batch:
            return Finding.MISSING
        if claim.source_etag == source.etag:
            return Finding.WELL
    if outcome_of == source.etag or (now - source.last_modified).total_seconds() < grace_seconds:
        return Finding.WELL
    if since is not None and source.last_modified < since:
        return Finding.EXISTING
    return Finding.MISSING


def is_behind(due: datetime | None, now: datetime, grace_seconds: float) -> bool:
    """Return whether `poll` is behind: the message at the front of the queue has been due for too long."""
    return due is not None and (now - due).total_seconds() >= grace_seconds
