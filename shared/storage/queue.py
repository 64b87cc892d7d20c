"""The queue: messages that become visible when the next step of a file is due."""

import base64
import logging
from typing import TYPE_CHECKING, Final

from azure.core.exceptions import AzureError, HttpResponseError
from azure.storage.queue import TextBase64EncodePolicy

from shared.message import Message, encode_message
from shared.settings import Settings
from shared.storage.account import Account
from shared.storage.conditions import creating_if_missing
from shared.storage.errors import describe, is_missing

if TYPE_CHECKING:
    from azure.storage.queue.aio import QueueClient

log = logging.getLogger("ner")

NEVER_EXPIRES: Final = -1


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
        try:
            return (await self.poison.get_queue_properties()).approximate_message_count or 0
        except HttpResponseError as error:
            if not is_missing(error):
                raise
            return 0

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
