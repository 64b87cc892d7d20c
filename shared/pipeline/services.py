"""What all invocations of a process share: connections, the learned schedule, the clock."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Final

from shared.delays import Delays
from shared.ner.client import NerClient
from shared.ner.dialects import STRING_INDEX_TYPE, dialect_for
from shared.pipeline.decisions import window_seconds
from shared.pipeline.gate import Gate
from shared.pipeline.learning import Exchange
from shared.pipeline.texts import TextThread
from shared.settings import Settings
from shared.state.batch import BatchRecord
from shared.storage.account import Account
from shared.storage.blobs import Blobs
from shared.storage.ledgers import Ledgers
from shared.storage.queue import Queue
from shared.storage.state import State
from shared.telemetry import Telemetry

if TYPE_CHECKING:
    import httpx

log = logging.getLogger("ner")

MAX_LARGE_FILES: Final = 4
"""How many large files are in memory at the same time, each of up to NER_MAX_BLOB_BYTES."""
MAX_DUE_SECONDS: Final = 3600
MAX_ODD_NAMES: Final = 1000
"""How many refused uploads a sweep names in the log; of more, it logs the number alone."""
WINDOW_SHARE: Final = 0.25
"""The largest part of the time limit of an invocation for which a batch waits for more files."""


def utc_now() -> datetime:
    """Return the current time, in UTC as in records and messages."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Services:
    """What all invocations of a process share. Safe for concurrent use."""

    settings: Settings
    account: Account
    blobs: Blobs
    state: State
    ledgers: Ledgers
    queue: Queue
    ner: NerClient
    delays: Delays
    gate: Gate
    telemetry: Telemetry
    now: Callable[[], datetime]
    api: dict[str, str]
    """How an outcome names the API and the model."""
    random: Random = field(default_factory=Random)  # spreads polls; not for security
    exchange: Exchange = field(default_factory=Exchange)
    reading: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_LARGE_FILES))
    texts: TextThread = field(default_factory=TextThread)
    same_texts: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while the job of a version with the same text is taken over."""
    suspects: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while a batch is processed that a worker may have died of. That death also stopped the worker's other
    batches, so any of them may be the cause: they are processed one at a time."""

    odd_names: set[str] = field(default_factory=set)
    """Names of uploads that were refused and logged, so that each sweep does not log them again."""

    def refuse(self, name: str, why: str, *, is_new: bool = False) -> None:
        """Log that an upload is ignored: once in a process, unless it is new. At most MAX_ODD_NAMES are remembered."""
        if is_new or (name not in self.odd_names and len(self.odd_names) < MAX_ODD_NAMES):
            log.warning("ignored the upload %r: %s. Upload it again under another name.", name, why)
            if len(self.odd_names) < MAX_ODD_NAMES:
                self.odd_names.add(name)

    def in_seconds(self, seconds: float) -> datetime:
        """Return the time in that many seconds, at most an hour: no batch is hidden from the sweep for longer."""
        return self.now() + timedelta(seconds=min(seconds, MAX_DUE_SECONDS))

    def reading_turn(self, *, is_large: bool) -> AbstractAsyncContextManager[None]:
        """Return the context in which a file is in memory; call it for a large file only if `reading` is not locked."""
        return self.reading if is_large else nullcontext()

    def throttle(self, retry_after: float | None) -> None:
        """Note that the service throttled a call, and accepts calls again after `retry_after` seconds."""
        before = self.delays.closed_seconds
        self.delays.throttle(retry_after)
        self.telemetry.throttled(max(self.delays.closed_seconds - before, 0.0))

    def waited(self, record: BatchRecord) -> None:
        """Report how long a batch has been in flight."""
        self.telemetry.waits((self.now() - record.received_date_time).total_seconds())

    async def aclose(self) -> None:
        """Close all connections."""
        await self.exchange.end()
        await self.ner.aclose()
        await self.account.aclose()


def open_services(
    settings: Settings,
    *,
    telemetry: Telemetry | None = None,
    transport: "httpx.AsyncBaseTransport | None" = None,
    now: Callable[[], datetime] = utc_now,
) -> Services:
    """Create the clients, without connecting yet."""
    account = Account(settings.storage, settings.submit_timeout_seconds)
    ner = NerClient(settings, transport=transport, now=now)
    telemetry = telemetry or Telemetry()
    telemetry.watch(ner.http)
    model = dialect_for(settings).describe_model()
    delays = Delays(least=settings.poll_min_seconds, most=settings.poll_max_seconds)

    longest = settings.deadline_seconds

    def window() -> float:
        wanted = window_seconds(ner.rate.in_last_minute, is_throttled=delays.is_throttled)
        return min(wanted, longest * WINDOW_SHARE)

    return Services(
        settings=settings,
        account=account,
        blobs=Blobs(account, settings),
        state=State(account, settings),
        ledgers=Ledgers(account, settings),
        queue=Queue(account, settings),
        ner=ner,
        delays=delays,
        gate=Gate(window, longest),
        telemetry=telemetry,
        now=now,
        api={"version": settings.api_version, **model, "stringIndexType": STRING_INDEX_TYPE},
    )
