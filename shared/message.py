"""The queue messages, and when one is retried if the service or storage could not be used.

A message names either a file, whose newest version is to be submitted unless it has been, or a batch, whose next step
is due. No property is named like trigger metadata, in any letter case: the host would replace the metadata with it.
"""

import re
from datetime import datetime, timedelta
from typing import Annotated, Final, Literal

import msgspec

from shared.names import check_name
from shared.settings import LONGEST_DELAY_SECONDS
from shared.source import ETag, Instant, Name, TraceParent
from shared.state.batch import BatchRecord
from shared.state.claim import BatchId

WAIT_FRACTION: Final = 0.5
"""A failed call is retried after this fraction of the time for which it has waited."""
WAIT_JITTER: Final = 0.5
"""That delay is shortened by up to this fraction, so that calls that failed together are not retried together."""
MAX_MESSAGE_BYTES: Final = 48 * 1024
"""Of a message's text, which base64 makes a third longer; a queue message holds 64 KiB."""
QUOTED: Final = re.compile("'.*'", re.DOTALL)
"""What the decoder quotes: the value of a property that accepts only a few values."""


class MessageError(Exception):
    """A queue message was not written by this app; the text says what is wrong, without quoting the message."""


class FileMessage(msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag="file", tag_field="kind"):
    """A file whose newest version is to be submitted, unless it is in flight or has its outcome.

    `replaces` is the ETag of an outcome of that version that is to be replaced. `dissolved` is the dissolved batch that
    the file was in, and `unsure` is copied from its record. `due` is when the message should be received; None if the
    host has just reported the file. `etag` is that of the only version that the message is about: a newer one has an
    event of its own.
    """

    version: Literal[2] = 2
    file: Name
    replaces: ETag | None = None
    dissolved: BatchId | None = None
    unsure: Annotated[int, msgspec.Meta(ge=0)] = 0
    due: Instant | None = None
    etag: ETag | None = None
    trace_parent: TraceParent | None = None

    def __post_init__(self) -> None:
        """Refuse a name that may lead to another blob. Raises RefusedNameError."""
        check_name(self.file)


class BatchMessage(msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag="batch", tag_field="kind"):
    """A batch whose next step is due.

    `etag` is the ETag of its record, the baton; None if storage refused to write the record of a job that the service
    has accepted. `record` is a copy of the record, so that no worker has to read it; None if it is too long for a
    message.
    """

    version: Literal[2] = 2
    batch: BatchId
    etag: ETag | None
    record: BatchRecord | None = None


Message = FileMessage | BatchMessage


def encode_message(message: Message) -> str:
    """Return a message as JSON text."""
    text = msgspec.json.encode(message)
    if isinstance(message, BatchMessage) and message.record and len(text) > MAX_MESSAGE_BYTES:
        text = msgspec.json.encode(msgspec.structs.replace(message, record=None))
    return text.decode()


def decode_message(body: bytes | str, container: str | None = None) -> Message:
    """Decode and check a message.

    Args:
        body: body of the message.
        container: the only container that the message may be about; None allows any.

    Raises:
        MessageError: it is not JSON, not in the form that this app writes, or about another container.
    """
    try:
        message: Message = msgspec.json.decode(body, type=FileMessage | BatchMessage)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MessageError(
            f"the queue message was not written by this version of the app: {why_unreadable(error)}"
        ) from None
    if container is not None and isinstance(message, BatchMessage):
        members = message.record.members if message.record else []
        if any(member.source.container != container for member in members):
            raise MessageError("the queue message names a container that is not NER_INPUT_CONTAINER")
    if isinstance(message, BatchMessage) and message.record is not None and not message.record.members:
        raise MessageError("the queue message names no file")
    return message


def why_unreadable(error: Exception) -> str:
    """Return what is wrong with JSON, without quoting anything in it."""
    return "nested too deeply" if isinstance(error, RecursionError) else QUOTED.sub("...", str(error))


def waiting_delay(
    age: timedelta, *, least: float, most: float, jitter: float, retry_after: float | None = None
) -> float:
    """Return the delay, in seconds, before a call that failed is retried.

    Args:
        age: for how long the call has waited.
        least: shortest delay, in seconds.
        most: longest delay, in seconds, unless the service asks for more.
        jitter: from 0 to 1, drawn at random by the caller.
        retry_after: what the service asked for, in seconds; it overrides a shorter delay.
    """
    due = min(max(age.total_seconds() * WAIT_FRACTION, least), most)
    # Delays at the maximum are all equal, so jitter shortens them; a delay that was asked for may only grow.
    spread = max(due * (1 - WAIT_JITTER * jitter), least)
    asked = 0.0 if retry_after is None else max(retry_after, least) * (1 + WAIT_JITTER * jitter)
    return min(max(spread, asked), LONGEST_DELAY_SECONDS)


def is_expired(since: datetime, now: datetime, timeout_seconds: float) -> bool:
    """Return whether the wait has lasted for NER_JOB_TIMEOUT_SECONDS or longer."""
    return (now - since).total_seconds() >= timeout_seconds
