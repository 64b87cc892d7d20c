"""A sweep that is going on: what it knows, and the calls that it makes several of at the same time."""

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
"""Messages that are being sent, or state blobs that are being repaired, at the same time."""
MAX_REFUSALS: Final = 64
"""So many refused repairs in a row end a sweep: it is not single blobs that storage refuses."""

Repair = Callable[[], Awaitable[object]]


@dataclass
class Sweep:
    """A sweep that is going on.

    Attributes:
        now: when it began.
        state: what the last one left; None at the first one of a deployment.
        live: batches that have a record which is not void.
        swept: what it has seen and done so far.
        names: of files whose messages are about to be sent.
        repairs: of state blobs that are about to be made, and what each is about.
        refused_in_a_row: repairs that storage has refused since the last one that it let through.
    """

    services: Services
    now: datetime
    state: SweepState | None
    end_of_repairs: float
    end_of_work: float
    interval: timedelta
    live: set[str] = field(default_factory=set)
    swept: Swept = field(default_factory=Swept)
    names: list[str] = field(default_factory=list)
    repairs: list[tuple[str, Repair]] = field(default_factory=list)
    refused_in_a_row: int = 0

    @property
    def since(self) -> datetime:
        """When this deployment began: files that are older were there before it.

        Its first sweep comes within one interval after its start.
        """
        return self.state.since if self.state else self.now - self.interval

    def count(self, **more: int) -> None:
        """Add to what was seen and done."""
        added = {name: getattr(self.swept, name) + number for name, number in more.items()}
        self.swept = msgspec.structs.replace(self.swept, **added)

    async def send(self, name: str) -> None:
        """Send the message of a file, several of them at the same time."""
        self.names.append(name)
        if len(self.names) >= MAX_AT_ONCE:
            await self.send_all()

    async def send_all(self) -> None:
        """Send what is left to be sent."""
        queue, names, self.names = self.services.queue, self.names, []
        await asyncio.gather(*(queue.send(FileMessage(file=name, due=self.now)) for name in names))
        self.count(sent=len(names))

    async def repair(self, name: str, repair: Repair, until: float) -> None:
        """Do something about a state blob, several of them at the same time; nothing once the time for it is up.

        Args:
            name: of what it is about, for the log.
            repair: what to do.
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
        """Do what is left to be done; raises as `repair` does."""
        repairs, self.repairs = self.repairs, []
        refusals = await asyncio.gather(*(self.try_to(name, repair) for name, repair in repairs))
        if self.refused_in_a_row >= MAX_REFUSALS:
            raise next(error for error in reversed(refusals) if error)

    async def try_to(self, name: str, repair: Repair) -> AzureError | None:
        """Do something about a state blob; return why storage refused it.

        A lease, a legal hold or another tier of one blob must not keep the sweep from all others.
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
