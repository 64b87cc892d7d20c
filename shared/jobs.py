"""The queue message that follows a file, and when it comes back if the service could not be used.

For a file of one job the message holds all there is to know; without a job it is a submission that the service has not
accepted yet. The jobs of a larger file stand in its ledger, and the message only says when to look there. Nothing in it
grows with the number of looks: `delays` needs the age alone.
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Literal

import msgspec

from shared.settings import LONGEST_DELAY_SECONDS
from shared.source import Instant, Position, Source

WAIT_FRACTION: Final = 0.5
"""What the service could not take is offered again after this fraction of the time that it has waited."""
WAIT_JITTER: Final = 0.5
"""That delay is shortened by up to this fraction: what could not be taken at once should not come back at once."""

JobId = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,128}$")]
TraceParent = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$")]
"""W3C Trace Context, https://www.w3.org/TR/trace-context/."""
ClaimId = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}$")]


class MessageError(Exception):
    """A queue message is not one that this app wrote; the text says what is wrong, without the message's content."""


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


class JobMessage(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What stands in the queue.

    `received_date_time` is when the app first saw the file, `submitted_date_time` when its jobs were accepted, the last
    one if there are many. `has_ledger` says that the jobs of the file stand in its ledger, not here. `claim_id` tells
    the message that follows a version from others about it; with `record_etag`, the version's record can be deleted
    without being read. `replaces` is the etag of an outcome that this is to be written in place of; any other outcome
    of the version means that the version has ended. `is_first` says that there was no outcome of any version when this
    one was claimed. `trace_parent` is the trace that the version's way is told as.
    """

    version: Literal[1] = 1
    source: Source
    received_date_time: Instant
    submitted_date_time: Instant | None = None
    jobs: list[SubmittedJob] = []
    has_ledger: bool = False
    claim_id: ClaimId | None = None
    replaces: str | None = None
    record_etag: str | None = None
    is_first: bool = False
    trace_parent: TraceParent | None = None

    @property
    def since(self) -> datetime:
        """When the waiting began: for the jobs if there are any, else for the service to accept them."""
        return self.submitted_date_time or self.received_date_time


def encode_message(message: JobMessage) -> str:
    """Return the message as JSON text."""
    return msgspec.json.encode(message).decode()


def decode_message(body: bytes | str, container: str | None = None) -> JobMessage:
    """Read and check a message.

    Args:
        body: of the message.
        container: the only one that it may be about, whatever somebody else has put into the queue; None allows any.

    Raises:
        MessageError: it is not JSON, not of the shape that this app writes, or about another container.
    """
    try:
        message = msgspec.json.decode(body, type=JobMessage)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MessageError(f"the queue message was not written by this app: {error}") from None
    if container is not None and message.source.container != container:
        raise MessageError("the queue message names a container that is not NER_INPUT_CONTAINER")
    return message


def waiting_delay(
    age: timedelta, *, least: float, most: float, jitter: float, retry_after: float | None = None
) -> float:
    """Return how many seconds a call waits that the service could not serve.

    Args:
        age: how long the waiting has lasted.
        least: shortest delay, in seconds.
        most: longest delay that is not asked for, in seconds.
        jitter: from 0 to 1, drawn at random by the caller.
        retry_after: what the service asked for, in seconds; it wins over a shorter delay.
    """
    due = min(max(age.total_seconds() * WAIT_FRACTION, least), most)
    # The longest delays are the most alike, so these are shortened; what was asked for may only grow.
    spread = max(due * (1 - WAIT_JITTER * jitter), least)
    asked = 0.0 if retry_after is None else max(retry_after, least) * (1 + WAIT_JITTER * jitter)
    return min(max(spread, asked), LONGEST_DELAY_SECONDS)


def is_overdue(message: JobMessage, now: datetime, timeout_seconds: float) -> bool:
    """Tell whether the waiting has lasted longer than NER_JOB_TIMEOUT_SECONDS."""
    return (now - message.since).total_seconds() >= timeout_seconds


def utc_now() -> datetime:
    """Return the time as the messages write it."""
    return datetime.now(UTC)
