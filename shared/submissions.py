"""The record of a version's submission: a promise that it is submitted once, and that somebody goes on with it.

Whoever wants to submit a version first writes its record, on the condition that nobody else has; that is the claim. The
record holds the message that follows the version, so that a claim whose worker has crashed can be taken over, and a
message that was lost sent again. It is deleted once the version has its outcome, so the records are what is in flight.
"""

from datetime import datetime, timedelta
from enum import Enum
from typing import Final
from uuid import uuid4

import msgspec

from shared.jobs import JobMessage
from shared.source import Instant

CLAIM_SHARE: Final = 0.5
"""Of NER_SUBMIT_TIMEOUT_SECONDS, what one call to submit may take: the rest is for recording what came of it."""


class Submission(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """How far a version has come, and the message that follows it.

    `claimed_date_time` is when somebody began to submit; None when nobody is at it: then the message stands in the
    queue, for the service to take the text (no `submitted_date_time` yet) or for the jobs to end.
    """

    message: JobMessage
    claimed_date_time: Instant | None = None


class Step(Enum):
    """What a message, or an event of the host, may do with its version."""

    SUBMIT = "submit"
    """Claim it and go on."""
    WATCH = "watch"
    """Somebody else is submitting it now: see later whether that worker lived to record it."""
    FOLLOW = "follow"
    """It has been submitted, and this is the message that follows it."""
    LEAVE = "leave"
    """Another message follows it."""


def next_step(
    known: Submission | None,
    claim_id: str | None,
    now: datetime,
    patience: timedelta,
    active: datetime | None = None,
) -> Step:
    """Decide who goes on with a version.

    Args:
        known: its record, if there is one.
        claim_id: of the message that asks.
        now: the time.
        patience: a claim that is older belongs to a worker that has crashed.
        active: when the worker that holds the claim last recorded something elsewhere.
    """
    if known is None:
        return Step.SUBMIT
    if known.claimed_date_time is not None:
        since = max(known.claimed_date_time, active or known.claimed_date_time)
        return Step.SUBMIT if now - since >= patience else Step.WATCH
    if known.message.claim_id != claim_id:
        return Step.LEAVE
    return Step.FOLLOW if known.message.submitted_date_time else Step.SUBMIT


def watching_seconds(known: Submission, now: datetime, patience: timedelta, jitter: float) -> float:
    """Return when a claim that is watched has to be looked at again, in seconds; `jitter` from 0 to 1 spreads many."""
    left = ((known.claimed_date_time or now) + patience - now).total_seconds()
    return max(left, 1.0) + jitter * patience.total_seconds() / 10


def new_claim_id() -> str:
    """Return what tells a message that follows a version from all others."""
    return uuid4().hex


def encode_submission(submission: Submission) -> bytes:
    """Return the record as JSON."""
    return msgspec.json.encode(submission)


def decode_submission(data: bytes) -> Submission:
    """Read a record.

    Raises:
        msgspec.DecodeError: it was not written by this version of the app.
    """
    return msgspec.json.decode(data, type=Submission)
