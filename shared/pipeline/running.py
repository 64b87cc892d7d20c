"""What the functions call: each invocation has a time limit, and leaves what it cannot finish to a later one."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import datetime
from typing import TYPE_CHECKING, Final

from azure.core.exceptions import AzureError

from shared.message import BatchMessage, FileMessage, MessageError, decode_message
from shared.names import why_refused
from shared.pipeline.calling import after_refused_call
from shared.pipeline.polling import count_try, find_turn, poll
from shared.pipeline.rescheduling import Turn, names_of, send
from shared.pipeline.services import Services, open_services, utc_now
from shared.pipeline.submitting import submit
from shared.pipeline.sweeping import DEFAULT_INTERVAL, sweep
from shared.settings import Settings
from shared.state.batch import BatchKind
from shared.state.sweeping import Swept
from shared.storage.blobs import OutcomeConflictError
from shared.storage.errors import reason_of
from shared.storage.state import StateError
from shared.telemetry import Telemetry

if TYPE_CHECKING:
    import httpx

log = logging.getLogger("ner")

WATCH_SHARE: Final = 0.1
"""The part of the time after the deadline that reading the queue length may take."""
TRY_AGAIN_SECONDS: Final = 30.0
"""Delay before a file is submitted again after storage refused a call."""
REFUSALS: Final = (AzureError, TimeoutError, OutcomeConflictError)
"""Errors after which a batch continues later."""


class RefusedError(Exception):
    """Storage refuses calls that an invocation needs. Unlike the SDK's errors, this one contains no secrets."""


class Pipeline:
    """The work of all functions, over one HTTP client and one storage client. Safe for concurrent invocations."""

    def __init__(
        self,
        settings: Settings,
        *,
        telemetry: Telemetry | None = None,
        transport: "httpx.AsyncBaseTransport | None" = None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        """Create the clients, without connecting yet."""
        self.services: Services = open_services(settings, telemetry=telemetry, transport=transport, now=now)

    async def submit(self, name: str) -> None:
        """Submit a file that the host reports. Temporary errors are not raised: the host would run the function five
        times within a second and then give up the file.
        """
        services = self.services
        if why := why_refused(name):
            services.refuse(name, why, is_new=True)
            return
        with services.telemetry.begin("submit", name):
            wanted = FileMessage(file=name, trace_parent=services.telemetry.trace_parent)
            try:
                async with self.deadline():
                    await submit(services, wanted)
            except StateError as error:
                log.error("%r: not processed, because %s", name, error)  # noqa: TRY400  # the text suffices
            except REFUSALS as error:
                log.warning("%r: submitting later, because %s", name, reason_of(error))
                await self.try_to_send(wanted)

    async def submit_event(self, body: bytes) -> None:
        """Submit the file that an event of Event Grid reports; ignore any other event.

        Args:
            body: body of a message of the queue of events.
        """
        from shared.events import EventError, read_upload  # only this source of uploads needs it

        try:
            name = read_upload(body, self.services.settings.input_container)
        except EventError as error:
            log.error("ignored %s", error)  # noqa: TRY400  # about no file
            return
        await self.submit(name)

    async def try_to_send(self, wanted: FileMessage) -> None:
        """Try to send a message for a file; the sweep finds the file anyway."""
        try:
            async with asyncio.timeout(self.services.settings.last_seconds):
                await self.services.queue.send(wanted, TRY_AGAIN_SECONDS)
        except (AzureError, TimeoutError) as error:
            log.warning(
                "%r: left to the next sweep, because no message could be sent: %s", wanted.file, reason_of(error)
            )

    async def poll(self, body: bytes, *, comes_again: bool = False) -> None:
        """Process a message.

        Args:
            body: body of the message.
            comes_again: whether the message was delivered before, to a worker that may have died of it.

        Raises:
            RefusedError: storage refuses all calls: the host retries the message, and so does the sweep.
        """
        services = self.services
        try:
            message = decode_message(body, services.settings.input_container)
        except MessageError as error:
            log.error("discarded a message of %d bytes: %s", len(body), error)  # noqa: TRY400  # about no file
            return
        await self.watch_queue()
        if isinstance(message, FileMessage):
            with services.telemetry.go_on("submit", message.file, message.trace_parent):
                try:
                    async with self.deadline():
                        await submit(services, message)
                except StateError as error:
                    log.error("%r: not processed, because %s", message.file, error)  # noqa: TRY400  # the text suffices
                except REFUSALS as error:
                    if message.replaces is not None:  # the sweep does not know of it
                        raise RefusedError(f"{message.file!r}: {reason_of(error)}") from None
                    log.warning("%r: left to the next sweep, because %s", message.file, reason_of(error))
            return
        await self.poll_batch(message, comes_again=comes_again)

    async def watch_queue(self) -> None:
        """Report the length of the queue now and then, unless that takes long."""
        services = self.services
        if not services.telemetry.take_queue_length_turn():
            return
        try:
            async with asyncio.timeout(services.settings.last_seconds * WATCH_SHARE):
                services.telemetry.queue_length(await services.queue.length())
        except TimeoutError:
            log.warning("the queue length cannot be read now: storage does not respond")

    async def poll_batch(self, message: BatchMessage, *, comes_again: bool) -> None:
        """Take the next step of a batch; if storage refuses a call, the batch continues later."""
        services, record = self.services, message.record
        names = names_of(record) if record else message.batch
        files = ", ".join(member.source.name for member in record.members) if record else ""
        job_id = record.job.job_id if record and record.job else None
        trace_parent = record.trace_parent if record else None
        with services.telemetry.go_on("poll", files, trace_parent, batch=message.batch, job_id=job_id):
            try:
                async with self.deadline(), AsyncExitStack() as stack:
                    turn = await find_turn(services, message)
                    # A worker takes the baton before it posts: after its death, the redelivered message is discarded.
                    comes_again = comes_again and turn is not None and turn.record.kind is not BatchKind.WAITING
                    if turn and (comes_again or turn.record.tries):
                        # A single lost message does not suggest a death.
                        if comes_again or turn.record.tries > 1:
                            await stack.enter_async_context(services.suspects)
                        turn = await count_try(services, turn, comes_again=comes_again)
                    if turn:
                        message = BatchMessage(batch=message.batch, etag=turn.baton, record=turn.record)
                        await poll(services, turn)
            except StateError as error:
                log.error("%s: not processed, because %s", names, error)  # noqa: TRY400  # the text suffices
            except REFUSALS as error:
                try:
                    async with asyncio.timeout(services.settings.last_seconds):
                        await self.back_off(message, error)
                except REFUSALS as worse:
                    raise RefusedError(f"{names}: {reason_of(error)}, and then {reason_of(worse)}") from None

    async def back_off(self, message: BatchMessage, error: Exception) -> None:
        """Continue a batch later, unless its baton was taken, by this worker or another: then, the sweep revives it."""
        services, record = self.services, message.record
        if message.etag is None:
            if record is not None:
                log.warning("%s: retrying later, because %s", names_of(record), reason_of(error))
                seconds = services.settings.poll_max_seconds
                await send(services, Turn(message.batch, record, None).changed(due=services.in_seconds(seconds)))
            return
        stored = await services.state.read_batch(message.batch)
        if stored is None or stored.etag != message.etag:
            log.info("batch %s is left to its worker or the sweep", message.batch)
            return
        # The record in the message is newer if storage refused to write that of an accepted job.
        await after_refused_call(services, Turn(message.batch, record or stored.record, message.etag), error)

    async def sweep(self, next_run: datetime | None = None) -> Swept:
        """Send messages for files that no trigger reported and for batches whose message was lost.

        Args:
            next_run: when the next sweep is due, if the host says so.

        Returns:
            What was found; nothing if storage refused a call or was too slow. The next sweep starts again.
        """
        interval = next_run - self.services.now() if next_run else DEFAULT_INTERVAL
        try:
            with self.services.telemetry.begin("sweep", ""):
                async with asyncio.timeout(self.services.settings.deadline_seconds):
                    return await sweep(self.services, interval)
        except REFUSALS as error:
            log.error("the sweep stopped, because %s", reason_of(error))  # noqa: TRY400  # the SDK's may have secrets
            return Swept(is_complete=False)

    def deadline(self) -> asyncio.Timeout:
        """Begin an invocation; return its timeout, which ends it well before the host would end the worker."""
        self.services.exchange.begin(self.services)
        return asyncio.timeout(self.services.settings.deadline_seconds)

    async def aclose(self) -> None:
        """Close all connections."""
        await self.services.aclose()
