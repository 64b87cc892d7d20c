"""The poison queues: evidence of what failed. No file depends on it: the sweep finds those that need a message.

The host puts there what failed five times: messages of this app, events of uploads and, in a queue that all apps of the
account share, uploads on which a blob trigger failed.
"""

import base64
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from azure.core.exceptions import ResourceNotFoundError

from local.account import Account
from shared.events import EventError, read_upload
from shared.message import BatchMessage, Message, MessageError, decode_message
from shared.names import why_refused
from shared.settings import Settings
from shared.storage.queue import BLOB_POISON_QUEUE, MAX_PEEKED, event_poison_queue, read_notice

FUNCTION_ID: Final = "Host.Functions.submit"
"""How the host names the function with the blob trigger."""


@dataclass(frozen=True)
class Poisoned:
    """A message in a poison queue.

    Attributes:
        queue: that it is in.
        inserted: when it went there.
        is_ours: whether it is one of this app's, or about an upload of this app's container.
        names: of the files that it is about; none if the message does not name them.
        message: of this app; None if it is an event or the host's notice of an upload, or of another program.
    """

    queue: str
    inserted: datetime | None
    is_ours: bool = False
    names: tuple[str, ...] = ()
    message: Message | None = None

    @property
    def said(self) -> str:
        """What it is about, for a person."""
        if not self.is_ours:
            return "not this app's message"
        return ", ".join(self.names) or "a batch of files with long names"


def poison_queues(settings: Settings) -> tuple[str, str, str]:
    """Return the names of the poison queues: of this app's messages, of uploads, and of their events."""
    return (settings.poison_queue, BLOB_POISON_QUEUE, event_poison_queue(settings))


def read_poisoned(settings: Settings, queue: str, content: object, inserted: datetime | None) -> Poisoned:
    """Return what a message in a poison queue is about; `content` is its text as it is stored there."""
    if queue == BLOB_POISON_QUEUE:
        notice = read_notice(content)
        ours = (FUNCTION_ID, settings.input_container)
        if notice is None or (notice.function_id, notice.container_name) != ours or why_refused(notice.blob_name or ""):
            return Poisoned(queue, inserted)
        return Poisoned(queue, inserted, is_ours=True, names=(str(notice.blob_name),))
    if queue == event_poison_queue(settings):
        name = name_in_event(str(content or ""), settings.input_container)
        is_ours = not why_refused(name)
        return Poisoned(queue, inserted, is_ours=is_ours, names=(name,) if is_ours else ())
    try:
        message = decode_message(base64.b64decode(str(content or ""), validate=True), settings.input_container)
    except (ValueError, MessageError):  # of base64, of JSON
        return Poisoned(queue, inserted)
    if isinstance(message, BatchMessage):
        members = message.record.members if message.record else []
        names = tuple(member.source.name for member in members)
    else:
        names = (message.file,)
    return Poisoned(queue, inserted, is_ours=True, names=names, message=message)


def name_in_event(content: str, container: str) -> str:
    """Return the file that a message reports, as it is stored in the queue of events; empty if it reports none.

    The host moves a message that is not in base64 to the poison queue at once, as it is.
    """
    try:
        body = base64.b64decode(content, validate=True)
    except ValueError:
        body = content.encode(errors="replace")
    try:
        return read_upload(body, container)
    except EventError:
        return ""


def peeked(account: Account, queue: str) -> list[Poisoned]:
    """Return the first messages of a poison queue: at most MAX_PEEKED, and only those visible."""
    try:
        messages = account.queues.get_queue_client(queue).peek_messages(max_messages=MAX_PEEKED)
    except ResourceNotFoundError:
        return []
    return [read_poisoned(account.settings, queue, message.content, message.inserted_on) for message in messages]
