"""What one process learns about the service reaches the others: `submit` and `poll` need not share one.

On Flex Consumption they never do, so the process that makes a job's first delay sees no job end, and a refusal that one
process met is unknown to the other. A small blob is read now and then, and written when there is something to tell.
"""

import asyncio
import logging
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from azure.core.exceptions import AzureError

from shared.state.learned import Learned, encode_learned, read_told, told
from shared.storage.errors import reason_of

if TYPE_CHECKING:
    from shared.pipeline.services import Services

log = logging.getLogger("ner")

READING_SECONDS: Final = 15.0
"""How old may be what a process knows of the others."""
LIMIT_SECONDS: Final = 20.0
"""How long an exchange may take."""


class Exchange:
    """Tells the other processes what this one learns, beside its work and never in its way."""

    def __init__(self) -> None:
        """Know nothing of the others yet."""
        self.next = 0.0
        self.task: asyncio.Task[None] | None = None

    def begin(self, services: "Services") -> None:
        """Exchange what is known if it is time, without waiting for it."""
        now = time.monotonic()
        if now >= self.next and (self.task is None or self.task.done()):
            self.next = now + READING_SECONDS
            self.task = asyncio.create_task(exchange(services))

    async def end(self) -> None:
        """End an exchange that is going on."""
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)


async def exchange(services: "Services") -> None:
    """Read what other processes have learned, and add what this one has; it fails without harm."""
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            await read_and_write(services)
    except (AzureError, TimeoutError) as error:
        log.warning("what was learned about the service cannot be shared now: %s", reason_of(error))


async def read_and_write(services: "Services") -> None:
    """Take over what others know; write it back with what this process has to tell."""
    delays, now = services.delays, services.now()
    stored = await services.state.read_learned()
    known = stored.learned if stored else Learned([])
    if known.closed_until is not None and known.closed_until > now:
        delays.throttle((known.closed_until - now).total_seconds())
    delays.adopt(read_told(known.sizes))
    told_of = len(delays.unshared)
    closed_until = now + timedelta(seconds=delays.closed_seconds) if delays.closed_seconds else None
    is_news = closed_until is not None and (known.closed_until is None or closed_until > known.closed_until)
    if not told_of and not is_news:
        return
    body = encode_learned(Learned(told(delays.histograms), closed_until or known.closed_until))
    # Where another process was faster, the next exchange tells it.
    if await services.state.write_learned(body, stored.etag if stored else None):
        delays.unshared = delays.unshared[told_of:]
