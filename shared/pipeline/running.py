"""What the functions call: each invocation bounded in time, and whatever it could not finish left to a later one."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TYPE_CHECKING, Final

import msgspec
from azure.core.exceptions import AzureError

from shared.message import BatchMessage, FileMessage, MessageError, decode_message
from shared.pipeline.decisions import after_refusal
from shared.pipeline.polling import poll
from shared.pipeline.rescheduling import names_of, reschedule, send
from shared.pipeline.services import Services, open_services, utc_now
from shared.pipeline.submitting import submit
from shared.pipeline.sweeping import DEFAULT_INTERVAL, sweep
from shared.settings import Settings
from shared.state.sweeping import Swept
from shared.storage.blobs import OutcomeConflictError
from shared.storage.errors import reason_of
from shared.storage.state import StateError
from shared.telemetry import Telemetry

if TYPE_CHECKING:
    import httpx

log = logging.getLogger("ner")

LAST_SECONDS: Final = 20.0
"""What an invocation that has reached its deadline may take for sending its message."""
TRY_AGAIN_SECONDS: Final = 30.0
"""When a file is submitted again after storage has refused a call."""
REFUSALS: Final = (AzureError, TimeoutError, OutcomeConflictError)
"""After these a batch goes on later."""


class Pipeline:
    """Everything the functions do, over one HTTP client and one storage client. Safe for concurrent invocations."""

    def __init__(
        self,
        settings: Settings,
        *,
        telemetry: Telemetry | None = None,
        transport: "httpx.AsyncBaseTransport | None" = None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        """Make the clients; nothing is connected yet."""
        self.services: Services = open_services(settings, telemetry=telemetry, transport=transport, now=now)

    async def submit(self, name: str) -> None:
        """Submit a file of which the host tells; nothing is raised for what may go away, since the host would run it
        again five times within a second and then give it up.
        """
        services = self.services
        with services.telemetry.begin("submit", name):
            wanted = FileMessage(file=name, trace_parent=services.telemetry.trace_parent)
            try:
                await self.within_deadline(submit(services, wanted))
            except StateError as error:
                log.error("%r: left alone: %s", name, error)  # noqa: TRY400  # the message says it all
            except REFUSALS as error:
                log.warning("%r: submitting later, because %s", name, reason_of(error))
                await self.try_to_send(wanted)

    async def try_to_send(self, wanted: FileMessage) -> None:
        """Send a message of a file if storage lets us; the sweep finds the file anyway."""
        try:
            async with asyncio.timeout(LAST_SECONDS):
                await self.services.queue.send(wanted, TRY_AGAIN_SECONDS)
        except (AzureError, TimeoutError) as error:
            log.warning(
                "%r: no message could be sent, the next sweep finds the file: %s", wanted.file, reason_of(error)
            )

    async def poll(self, body: bytes) -> None:
        """Do what a message says.

        Raises:
            AzureError: storage refuses everything: the host runs the message again, and so does the sweep.
        """
        services = self.services
        try:
            message = decode_message(body, services.settings.input_container)
        except MessageError as error:
            log.error("dropped a message of %d bytes: %s", len(body), error)  # noqa: TRY400  # nobody's file
            return
        if services.telemetry.take_queue_length_turn():
            services.telemetry.queue_length(await services.queue.length())
        if isinstance(message, FileMessage):
            with services.telemetry.go_on("submit", message.file, message.trace_parent, None):
                try:
                    await self.within_deadline(submit(services, message))
                except StateError as error:
                    log.error("%r: left alone: %s", message.file, error)  # noqa: TRY400  # the message says it all
            return
        await self.poll_batch(message)

    async def poll_batch(self, message: BatchMessage) -> None:
        """Do what is next about a batch; after a refusal it goes on later."""
        services, record = self.services, message.record
        names = names_of(record) if record else message.batch
        files = ", ".join(member.source.name for member in record.members) if record else ""
        job_id = record.job.job_id if record and record.job else None
        with services.telemetry.go_on("poll", files, record.trace_parent if record else None, job_id):
            try:
                await self.within_deadline(poll(services, message))
            except StateError as error:
                log.error("%s: left alone: %s", names, error)  # noqa: TRY400  # the message says it all
            except REFUSALS as error:
                log.warning("%s: retrying later, because %s", names, reason_of(error))
                async with asyncio.timeout(LAST_SECONDS):
                    await self.back_off(message)

    async def back_off(self, message: BatchMessage) -> None:
        """Let a batch go on later; one whose baton was taken, by this worker or another one, is the sweep's."""
        services, settings = self.services, self.services.settings
        record, baton = message.record, message.etag
        if baton is not None:
            stored = await services.state.read_batch(message.batch)
            if stored is None or stored.etag != baton:
                log.info("%s: left to its worker or the sweep", message.batch)
                return
            # What the message says is newer where the record of an accepted job was refused.
            record = record or stored.record
        if record is None:
            return
        seconds = after_refusal(
            record,
            services.now(),
            least=settings.poll_min_seconds,
            most=settings.poll_max_seconds,
            jitter=services.random.random(),
        )
        later = msgspec.structs.replace(record, due=services.in_seconds(seconds))
        if baton is None:
            await send(services, message.batch, later, None)
        else:
            await reschedule(services, message.batch, later, baton)

    async def sweep(self, next_run: datetime | None = None) -> Swept:
        """Send messages to files that no trigger brought and to batches whose message was lost; return what was found.

        Args:
            next_run: when the next sweep is due, if the host says so.

        Raises:
            AzureError, TimeoutError: storage refused a call or was too slow; the next sweep begins again.
        """
        with self.services.telemetry.begin("sweep", ""):
            async with asyncio.timeout(self.services.settings.deadline_seconds):
                interval = next_run - self.services.now() if next_run else DEFAULT_INTERVAL
                return await sweep(self.services, interval)

    async def within_deadline(self, work: Awaitable[None]) -> None:
        """Do the work; raises TimeoutError at the deadline, which is well before the host would end the worker."""
        self.services.exchange.begin(self.services)
        async with asyncio.timeout(self.services.settings.deadline_seconds):
            await work

    async def aclose(self) -> None:
        """Close all connections."""
        await self.services.aclose()
