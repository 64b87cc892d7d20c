"""What is to be done, decided from what was seen: pure functions, without a clock of their own and without I/O."""

from datetime import datetime, timedelta
from enum import Enum
from typing import Final, NamedTuple

import msgspec

from shared.message import is_expired, waiting_delay
from shared.ner.errors import NerError, Remedy
from shared.source import Source
from shared.state.batch import BatchKind, BatchRecord
from shared.state.claim import Claim, is_old

MAX_STORAGE_DELAY_SECONDS: Final = 600
"""Some refusals last until an operator acts, such as a lease without end, and each try costs calls."""

MAX_UNSURE: Final = 5
"""So many submissions of a text may be paid for without a job that is known."""
LEAST_UNSURE_SECONDS: Final = 120


class Claiming(Enum):
    """What a worker may do about a file that has a claim already."""

    LEAVE = "leave"
    """Another worker has this version."""
    FENCE = "fence"
    """Its worker has ended without a record: make sure that it cannot record a job any more, then take over."""
    TAKE_OVER = "take over"
    """Its worker has ended, and its batch is void."""
    ASK = "ask"
    """The claim is of another version: take it over if this one is still the newest."""


def who_submits(
    claim: Claim, source: Source, kind: BatchKind | None, now: datetime, patience_seconds: float
) -> Claiming:
    """Decide who submits a version whose file has a claim.

    Args:
        claim: the claim that is there.
        source: the version that was read.
        kind: of the record of the claim's batch; None where there is none.
        now: the time.
        patience_seconds: NER_SUBMIT_TIMEOUT_SECONDS; each worker ends itself before.
    """
    if claim.source.etag != source.etag:
        return Claiming.ASK
    if not is_old(claim.claimed_date_time, now, patience_seconds):
        return Claiming.LEAVE
    if kind is None:
        return Claiming.FENCE
    return Claiming.TAKE_OVER if kind is BatchKind.VOID else Claiming.LEAVE


class Later(NamedTuple):
    """A step that is to be taken later."""

    seconds: float


class Fail(NamedTuple):
    """A batch that ends without entities."""

    overdue: bool
    """Whether waiting might have helped, but has lasted long enough."""


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
    """Decide what comes after a call that the service refused or did not answer.

    Args:
        error: what the call failed with.
        record: of the batch.
        now: the time.
        timeout_seconds: NER_JOB_TIMEOUT_SECONDS.
        least: NER_POLL_MIN_SECONDS.
        most: NER_POLL_MAX_SECONDS.
        jitter: from 0 to 1, drawn at random by the caller.
        since: when the waiting began, if not when the record says; the deadline counts from there as ever.
    """
    if error.remedy is Remedy.NONE:
        return Fail(overdue=False)
    if is_expired(record.since, now, timeout_seconds):
        return Fail(overdue=True)
    waited = now - (since or record.since)
    return Later(waiting_delay(waited, least=least, most=most, jitter=jitter, retry_after=error.retry_after))


def after_unsure(record: BatchRecord, now: datetime, patience_seconds: float) -> BatchRecord | None:
    """Return the record after one more submission that may have been accepted, though no job is known.

    Each may be paid for, so each delay is eight times the last one: 2 minutes, 16 minutes, 2 hours, 17 hours.

    Returns:
        None if there were too many of them: the file is to be given up.
    """
    unsure = record.unsure + 1
    if unsure >= MAX_UNSURE:
        return None
    seconds = max(patience_seconds, LEAST_UNSURE_SECONDS) * 8 ** (unsure - 1)
    return msgspec.structs.replace(record, unsure=unsure, not_before=now + timedelta(seconds=seconds))


def after_refusal(record: BatchRecord, now: datetime, *, least: float, most: float, jitter: float) -> float:
    """Return in how many seconds to go on where storage has refused a call, or has not answered in time."""
    longest = max(most, MAX_STORAGE_DELAY_SECONDS)
    return waiting_delay(now - record.since, least=least, most=longest, jitter=jitter)


class Finding(Enum):
    """What the sweep finds about a file."""

    WELL = "well"
    """It has its outcome, or a worker, or is too young to tell."""
    MISSING = "missing"
    """It needs a message: nobody has begun it, or its worker has ended without a record."""
    EXISTING = "existing"
    """It has no outcome, and was there before this deployment."""


class ListedClaim(NamedTuple):
    """A claim as a listing shows it."""

    batch: str
    claimed: datetime


def look_at_file(
    source: Source,
    outcome_of: str | None,
    claim: ListedClaim | None,
    now: datetime,
    *,
    has_live_batch: bool,
    grace_seconds: float,
    patience_seconds: float,
    since: datetime | None,
) -> Finding:
    """Decide whether a file needs a message.

    Args:
        source: its version, as listed.
        outcome_of: etag of the version that its outcome is of; None if it has none.
        claim: of the file. One of another version ends sooner or later, and then the version is missing.
        now: the time.
        has_live_batch: whether the claim's batch has a record that is not void.
        grace_seconds: NER_SWEEP_GRACE_SECONDS, the age that a file must have.
        patience_seconds: NER_SUBMIT_TIMEOUT_SECONDS; each worker ends itself before.
        since: when this deployment began; older files are only counted. None if they are to be submitted too.
    """
    if claim is not None:
        is_orphan = is_old(claim.claimed, now, patience_seconds) and not has_live_batch
        return Finding.MISSING if is_orphan else Finding.WELL
    if outcome_of == source.etag or (now - source.last_modified).total_seconds() < grace_seconds:
        return Finding.WELL
    if since is not None and source.last_modified < since:
        return Finding.EXISTING
    return Finding.MISSING


def is_behind(due: datetime | None, now: datetime, grace_seconds: float) -> bool:
    """Tell whether `poll` is behind: the message at the front of the queue has been due for too long."""
    return due is not None and (now - due).total_seconds() >= grace_seconds
