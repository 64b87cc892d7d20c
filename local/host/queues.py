"""The queue listener, as in the Storage Queues extension: batches, leases, dequeue counts, poison."""

import asyncio
import base64
import logging
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from azure.core.exceptions import AzureError, HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.storage.queue import QueueMessage
from azure.storage.queue.aio import QueueClient, QueueServiceClient

from local.host.configuration import MESSAGE_LEASE_SECONDS, HostError, QueueOptions, seconds
from local.host.functions import InvocationError
from local.host.locks import pause

log = logging.getLogger("host")

SHORTEST_POLLING_SECONDS: Final = 0.1
POISON_SUFFIX: Final = "-poison"
LONGEST_QUEUE_NAME: Final = 63
RENEWED_AFTER: Final = 0.5
"""The part of a lease after which it is renewed."""

WHITE_SPACE: Final = str.maketrans("", "", " \t\r\n")
"""What .NET ignores in base64."""

Wake = Callable[[str], None]
"""Called with the name of a queue to which this process has just sent a message."""
Handler = Callable[[bytes, QueueMessage], Awaitable[None]]
"""Runs a function for a message. Raises InvocationError if that fails, or HostError to end the host."""


def wake_none(_queue: str) -> None:
    """Wake no listener."""


class Backoff:
    """The delays between polls of an empty queue: 0.1 s, then randomised doubling up to the longest."""

    def __init__(self, longest: float) -> None:
        self.longest = longest
        self.empty = 0

    def next_delay(self, *, found: bool) -> float:
        """Return the seconds until the next poll."""
        self.empty = 0 if found else self.empty + 1
        if self.empty <= 1:
            return SHORTEST_POLLING_SECONDS
        spread = random.uniform(0.8, 1.2)  # noqa: S311
        # The exponent is bounded because a queue may stay empty for days.
        return min(SHORTEST_POLLING_SECONDS * (1 + spread * 2.0 ** min(self.empty - 2, 30)), self.longest)


class QueueListener:
    """Receives messages from one queue and passes each to a handler, until it is stopped."""

    def __init__(
        self,
        service: QueueServiceClient,
        name: str,
        options: QueueOptions,
        handler: Handler,
        poison: str | None,
        *,
        lease_seconds: int = MESSAGE_LEASE_SECONDS,
        is_internal: bool = False,
        wake: Wake = wake_none,
    ) -> None:
        """Prepare a listener; `run` starts it.

        Args:
            service: client of the account.
            name: name of the queue.
            options: how to read it.
            handler: called for each message.
            poison: the name of its poison queue; None if it has none.
            lease_seconds: visibility timeout of a received message.
            is_internal: whether the host itself writes the messages, and ends if it cannot decode one.
            wake: called with the name of the poison queue when a message was moved there.
        """
        self.service = service
        self.client: QueueClient = service.get_queue_client(name)
        self.options = options
        self.handler = handler
        self.poison = poison
        self.lease_seconds = lease_seconds
        self.is_internal = is_internal
        self.wake = wake
        self.exists = False
        self.running: set[asyncio.Task[None]] = set()
        self.woken = asyncio.Event()
        self.is_stopped = False

    def notify(self) -> None:
        """Receive now: this process has just sent a message."""
        self.woken.set()

    def stop(self) -> None:
        """Stop receiving; `run` returns as soon as the running invocations have ended."""
        self.is_stopped = True
        self.woken.set()

    async def run(self) -> None:
        """Receive and dispatch.

        Raises:
            ExceptionGroup: contains the HostError of a message that ends the host.
        """
        backoff = Backoff(seconds(self.options.max_polling_interval))
        async with asyncio.TaskGroup() as group:
            while not self.is_stopped:
                if len(self.running) > self.options.threshold:
                    await asyncio.wait(self.running, return_when=asyncio.FIRST_COMPLETED)
                    continue
                # Clear first: a message that is sent while receiving is received next.
                self.woken.clear()
                messages = await self.receive()
                for message in messages:
                    task = group.create_task(self.process(message))
                    self.running.add(task)
                    task.add_done_callback(self.running.discard)
                delay = backoff.next_delay(found=bool(messages))
                if not messages and not self.is_stopped:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(delay):
                            await self.woken.wait()

    async def receive(self) -> list[QueueMessage]:
        """Return the next batch; it is empty if the queue is missing or the account does not respond."""
        try:
            if not self.exists:
                await self.client.get_queue_properties()
                self.exists = True
            pages = self.client.receive_messages(
                messages_per_page=self.options.batch_size, visibility_timeout=self.lease_seconds
            ).by_page()
            return [message async for message in await anext(pages)]
        except StopAsyncIteration:
            return []
        except ResourceNotFoundError:
            self.exists = False
            return []
        except AzureError as error:
            log.warning("Queue %s cannot be read: %s", self.client.queue_name, type(error).__name__)
            return []

    async def process(self, message: QueueMessage) -> None:
        """Process one message; if storage fails, the message only stays invisible for its lease."""
        try:
            await self.dispatch(message)
        except AzureError as error:
            log.warning("Message %s of %s: %s", message.id, self.client.queue_name, type(error).__name__)

    async def dispatch(self, message: QueueMessage) -> None:
        """Call the handler, then delete the message, release it for another try, or move it to poison."""
        tries = message.dequeue_count or 0
        if self.poison is not None and tries > self.options.max_dequeue_count:
            await self.move_to_poison(message)
            return
        body = self.decode(str(message.content))
        if body is None:
            if self.is_internal:
                raise HostError(f"Message {message.id} of {self.client.queue_name} is not base64. Shutting down")
            log.error("Message %s of %s is not base64: moved to the poison queue", message.id, self.client.queue_name)
            await self.move_to_poison(message)
            return
        ended = asyncio.Event()
        renewal = asyncio.create_task(self.renew(message, ended))
        try:
            await self.handler(body, message)
        except InvocationError:
            has_failed = True
        else:
            has_failed = False
        finally:
            ended.set()
            # A renewal changes the receipt with which the message is deleted.
            await renewal
        if has_failed:
            await self.release(message, tries)
        else:
            await self.delete(message)

    async def release(self, message: QueueMessage, tries: int) -> None:
        """Handle a failed try."""
        if self.poison is None:
            return  # a poison queue's own message stays invisible for the rest of its lease
        if tries >= self.options.max_dequeue_count:
            log.warning(
                "Message has reached MaxDequeueCount of %d. Moving message to queue '%s'.",
                self.options.max_dequeue_count,
                self.poison,
            )
            await self.move_to_poison(message)
            return
        await self.client.update_message(
            message, visibility_timeout=round(seconds(self.options.visibility_timeout)), content=message.content
        )

    async def move_to_poison(self, message: QueueMessage) -> None:
        """Copy the body unchanged to the poison queue, then delete the message."""
        if self.poison is None:
            return
        await send(self.service.get_queue_client(self.poison), message.content)
        self.wake(self.poison)
        await self.delete(message)

    async def delete(self, message: QueueMessage) -> None:
        """Delete the message, unless it is gone or another host has received it."""
        try:
            await self.client.delete_message(message)
        except HttpResponseError as error:
            if error.status_code != 404 and getattr(error, "error_code", "") != "PopReceiptMismatch":
                raise
            log.debug("Message %s was deleted, or received by another host", message.id)

    async def renew(self, message: QueueMessage, ended: asyncio.Event) -> None:
        """Renew the lease, each time half of it has passed, until the function has ended."""
        while True:
            await pause(self.lease_seconds * RENEWED_AFTER, ended)
            if ended.is_set():
                return
            try:
                renewed = await self.client.update_message(
                    message, visibility_timeout=self.lease_seconds, content=message.content
                )
            except AzureError as error:
                log.warning("Message %s of %s: %s", message.id, self.client.queue_name, type(error).__name__)
                continue
            message.pop_receipt = renewed.pop_receipt

    def decode(self, content: str) -> bytes | None:
        """Return the message's bytes; None if it is not in the configured encoding."""
        if self.options.message_encoding == "none":
            return content.encode()
        try:
            return base64.b64decode(content.translate(WHITE_SPACE), validate=True)
        except ValueError:
            return None


async def send(queue: QueueClient, content: object) -> None:
    """Send a message, and create the queue if it does not exist."""
    try:
        await queue.send_message(content)
    except ResourceNotFoundError:
        with suppress(ResourceExistsError):  # created meanwhile
            await queue.create_queue()
        await queue.send_message(content)


def poison_queue_for(name: str) -> str | None:
    """Return the name of a queue's poison queue; None for a poison queue, or if the name would be too long."""
    poison = name + POISON_SUFFIX
    return None if name.endswith(POISON_SUFFIX) or len(poison) > LONGEST_QUEUE_NAME else poison
