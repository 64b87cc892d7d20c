"""A running sweep: what it knows, and the calls that it makes concurrently."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import msgspec
from azure.core.exceptions import AzureError

from shared.message import FileMessage
from shared.pipeline.services import Services
from shared.state.sweeping import SweepState, Swept
from shared.storage.errors import describe

log = logging.getLogger("ner")

MAX_AT_ONCE: Final = 32
"""How many messages are sent, or state blobs repaired, concurrently."""
MAX_REFUSALS: Final = 64
"""How many refused repairs in a row end a sweep: storage then refuses more than single blobs."""

Repair = Callable[[], Awaitable[object]]


@dataclass
class Sweep:
    """A sweep that is running.

    Attributes:
        now: when the sweep began.
        state: what the last sweep stored; None in the first sweep of a deployment.
        live: ETags of the claims that the records of batches name.
        swept: what the sweep has seen and done so far.
        revived_files: how many files are in the batches that got a new message.
        messages: messages about files that are about to be sent.
        repairs: pending repairs of state blobs, each with the name of what it repairs.
        refused_in_a_row: repairs that storage has refused since the last successful one.
    """

    services: Services
    now: datetime
    state: SweepState | None
    end_of_repairs: float
    end_of_work: float
    interval: timedelta
    live: set[str] = field(default_factory=set)
    swept: Swept = field(default_factory=Swept)
    revived_files: int = 0
    messages: list[FileMessage] = field(default_factory=list)
    repairs: list[tuple[str, Repair]] = field(default_factory=list)
    refused_in_a_row: int = 0

    @property
    def since(self) -> datetime:
        """When this deployment began: older files existed before it.

        Its first sweep runs within one interval of its start.
        """
        return self.state.since if self.state else self.now - self.interval

    def count(self, **more: int) -> None:
        """Add to the counts in `swept`."""
        added = {name: getattr(self.swept, name) + number for name, number in more.items()}
        self.swept = msgspec.structs.replace(self.swept, **added)

    async def send(self, name: str, replaces: str | None = None) -> None:
        """Collect a file's message; send all once there are MAX_AT_ONCE. `replaces` is that of the message."""
        self.messages.append(FileMessage(file=name, replaces=replaces, due=self.now))
        if len(self.messages) >= MAX_AT_ONCE:
            await self.send_all()

    async def send_all(self) -> None:
        """Send the collected messages."""
        queue, messages, self.messages = self.services.queue, self.messages, []
        await asyncio.gather(*(queue.send(message) for message in messages))
        self.count(sent=len(messages))

    async def repair(self, name: str, repair: Repair, until: float) -> None:
        """Collect a repair of a state blob, unless the time is up; make all once there are MAX_AT_ONCE.

        Args:
            name: name of what is repaired, for the log.
            repair: makes the repair.
            until: when the time is up, by the monotonic clock.

        Raises:
            AzureError: storage has refused many repairs in a row.
        """
        if time.monotonic() >= until:
            self.count(left=1)
            return
        self.repairs.append((name, repair))
        if len(self.repairs) >= MAX_AT_ONCE:
            await self.repair_all()

    async def repair_all(self) -> None:
        """Make the collected repairs. Raises what `repair` raises."""
        repairs, self.repairs = self.repairs, []
        refusals = await asyncio.gather(*(self.try_to(name, repair) for name, repair in repairs))
        if self.refused_in_a_row >= MAX_REFUSALS:
            raise next(error for error in reversed(refusals) if error)

    async def try_to(self, name: str, repair: Repair) -> AzureError | None:
        """Make a repair; return the error if storage refused it.

        A lease, a legal hold or the tier of one blob must not stop the sweep for all others.
        """
        try:
            await repair()
        except AzureError as error:
            log.warning("%s: left to the next sweep, because %s", name, describe(error))
            self.refused_in_a_row += 1
            self.count(refused=1)
            return error
        self.refused_in_a_row = 0
        return None
