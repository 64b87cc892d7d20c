"""Sharing what one process learns about the service with the others: `submit` and `poll` may run in different ones.

On Flex Consumption they always do: the process that chooses a job's first delay sees no job end, and does not know when
the other one is throttled. Each process reads a small blob every 15 seconds at most, and writes it if it has news.
"""

import asyncio
import logging
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import msgspec
from azure.core.exceptions import AzureError

from shared.delays import THROTTLED_SECONDS
from shared.state.learned import Learned, encode_learned, read_told, told
from shared.storage.errors import reason_of

if TYPE_CHECKING:
    from shared.pipeline.services import Services

log = logging.getLogger("ner")

READING_SECONDS: Final = 15.0
"""Interval at which a process reads what the others have learned."""
LIMIT_SECONDS: Final = 20.0
"""Time limit of an exchange."""


class Exchange:
    """Shares what this process learns with the others, in the background."""

    def __init__(self) -> None:
        """Prepare the first exchange."""
        self.next = 0.0
        self.task: asyncio.Task[None] | None = None

    def begin(self, services: "Services") -> None:
        """Start an exchange if one is due, without waiting for it."""
        now = time.monotonic()
        if now >= self.next and (self.task is None or self.task.done()):
            self.next = now + READING_SECONDS
            self.task = asyncio.create_task(exchange(services))

    async def end(self) -> None:
        """Cancel an exchange that is running."""
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)


async def exchange(services: "Services") -> None:
    """Read what other processes have learned and add what this one has; failures are only logged."""
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            await read_and_write(services)
    except (AzureError, TimeoutError) as error:
        log.warning("could not share with other processes what was learned about the service: %s", reason_of(error))


async def read_and_write(services: "Services") -> None:
    """Adopt what the others have learned; write it back with what is new in this process."""
    delays, now = services.delays, services.now()
    stored = await services.state.read_learned()
    known = stored.learned if stored else Learned([])
    if known.closed_until is not None and known.closed_until - now > timedelta(seconds=THROTTLED_SECONDS):
        # Another process's clock is fast; it must not keep all of them from calling the service.
        known = msgspec.structs.replace(known, closed_until=None)
    own_throttled = now - timedelta(seconds=delays.throttled_seconds) if delays.is_throttled else None
    if known.closed_until is not None and known.closed_until > now:
        delays.throttle((known.closed_until - now).total_seconds())
    if known.throttled is not None:
        delays.note_throttled((now - known.throttled).total_seconds())
    delays.adopt(read_told(known.sizes))
    told_of = len(delays.unshared)
    closed_until = now + timedelta(seconds=delays.closed_seconds) if delays.closed_seconds else None
    is_news = closed_until is not None and (known.closed_until is None or closed_until > known.closed_until)
    is_newly_throttled = own_throttled is not None and (
        known.throttled is None or (own_throttled - known.throttled).total_seconds() > READING_SECONDS
    )
    if not told_of and not is_news and not is_newly_throttled:
        return
    throttled = max((when for when in (own_throttled, known.throttled) if when is not None), default=None)
    body = encode_learned(Learned(told(delays.histograms), closed_until or known.closed_until, throttled))
    # If another process was faster, the next exchange shares it.
    if await services.state.write_learned(body, stored.etag if stored else None):
        delays.unshared = delays.unshared[told_of:]
