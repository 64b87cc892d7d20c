"""The queue: messages that become visible when the next step of a file is due."""

import base64
import logging
from typing import TYPE_CHECKING, Final

import msgspec
from azure.core.exceptions import AzureError, HttpResponseError
from azure.storage.queue import TextBase64EncodePolicy

from shared.message import Message, encode_message
from shared.settings import EVENT_QUEUE, Settings
from shared.storage.account import Account
from shared.storage.conditions import creating_if_missing
from shared.storage.errors import describe, is_missing

if TYPE_CHECKING:
    from azure.storage.queue.aio import QueueClient

log = logging.getLogger("ner")

BLOB_POISON_QUEUE: Final = "webjobs-blobtrigger-poison"
"""Where the host puts uploads on which a blob trigger failed; all apps of the account share it."""
NEVER_EXPIRES: Final = -1
MAX_PEEKED: Final = 32
"""Storage shows no more messages without hiding them."""


class BlobNotice(msgspec.Struct):
    """What the host writes of an upload on which a function failed five times."""

    container_name: str = msgspec.field(name="ContainerName")
    function_id: str | None = msgspec.field(name="FunctionId", default=None)
    blob_name: str | None = msgspec.field(name="BlobName", default=None)


def read_notice(content: object) -> BlobNotice | None:
    """Decode a message of the poison queue of uploads; None if it is not a notice of the host."""
    try:
        return msgspec.json.decode(base64.b64decode(str(content), validate=True), type=BlobNotice)
    except (ValueError, RecursionError):  # of base64, of JSON
        return None


class Queue:
    """Sends messages. Safe for concurrent use."""

    def __init__(self, account: Account, settings: Settings) -> None:
        """Use an account, without connecting yet."""
        self.client: QueueClient = account.queues.get_queue_client(
            settings.queue,
            # The host's default (messageEncoding in host.json); without it, every message is poisoned.
            message_encode_policy=TextBase64EncodePolicy(),
        )
        self.poison: QueueClient = account.queues.get_queue_client(settings.poison_queue)
        self.upload_poison: QueueClient = account.queues.get_queue_client(BLOB_POISON_QUEUE)
        self.event_poison: QueueClient | None = None
        if settings.blob_trigger_source == EVENT_QUEUE:
            self.event_poison = account.queues.get_queue_client(event_poison_queue(settings))
        self.input_container = settings.input_container

    async def send(self, message: Message, delay_seconds: float = 0.0) -> None:
        """Send a message that becomes visible after the delay and never expires."""
        text = encode_message(message)

        async def send() -> None:
            await self.client.send_message(text, visibility_timeout=round(delay_seconds), time_to_live=NEVER_EXPIRES)

        await creating_if_missing(self.client.create_queue, send)

    async def length(self) -> int | None:
        """Return the number of messages in the queue, visible or not; None if storage refuses the call."""
        try:
            return (await self.client.get_queue_properties()).approximate_message_count
        except AzureError as error:
            # It is only for monitoring, so it must not stop the caller.
            log.warning("the queue length could not be read: %s", describe(error))
            return None

    async def poisoned(self) -> int:
        """Return the approximate number of messages that the host has moved to the poison queue."""
        return await count_messages(self.poison)

    async def poisoned_uploads(self) -> int:
        """Return how many uploads of this app the host has moved to a poison queue: events, or notices.

        All apps of the account share the queue of notices, so only the next ones are counted.
        """
        if self.event_poison is not None:
            return await count_messages(self.event_poison)
        try:
            messages = await self.upload_poison.peek_messages(max_messages=MAX_PEEKED)
        except HttpResponseError as error:
            if not is_missing(error):
                raise
            return 0
        notices = [read_notice(message.content) for message in messages]
        return sum(notice is not None and notice.container_name == self.input_container for notice in notices)

    async def peek(self) -> bytes | None:
        """Return the text of the next visible message; None if there is none, or it is not base64."""
        try:
            messages = await self.client.peek_messages(max_messages=1)
        except HttpResponseError as error:
            if not is_missing(error):
                raise
            return None
        try:
            return base64.b64decode(str(messages[0].content), validate=True) if messages else None
        except ValueError:
            return None


async def count_messages(queue: "QueueClient") -> int:
    """Return the approximate number of messages in a queue; 0 if it does not exist."""
    try:
        return (await queue.get_queue_properties()).approximate_message_count or 0
    except HttpResponseError as error:
        if not is_missing(error):
            raise
        return 0


def event_poison_queue(settings: Settings) -> str:
    """Return the name of the poison queue of events. It exists only if such a queue is the source of uploads."""
    return f"{settings.event_queue}-poison"
