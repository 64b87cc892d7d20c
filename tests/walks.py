"""Ways of files through the pipeline, with a host that does what the Functions host does about calls that fail.

It works on the tests' clock: what the real host would wait for is over at once.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from azure.storage.queue import QueueMessage

from local.watch import read_outcome
from shared.outcome import Outcome
from tests.emulator import move_clock
from tests.integration.conftest import LEASE_SECONDS, TEXT, ProxiedWay
from tests.proxy import Call, documents_in, passing

MAX_TRIES: Final = 5
"""maxDequeueCount of host.json."""
RETRY_SECONDS: Final = 30.0
"""visibilityTimeout of host.json; uploads on which the trigger failed are tried again at once."""
SWEEP_SECONDS: Final = 300.0
"""What the default of NER_SWEEP_SCHEDULE says."""
MAX_SWEEPS: Final = 40
"""After which everything must have ended."""
MAX_INVOCATIONS: Final = 1000
"""Of one walk; more would have no end."""


def lines(count: int) -> bytes:
    """Return a file of so many documents; a request takes 20."""
    return "\n".join(json.dumps({"id": str(n), "text": "At Blue Heron, please."}) for n in range(count)).encode()


@dataclass(eq=False)
class Delivery:
    """Something that the host hands over when it is due; `message` is what it comes from, if it is in the queue.

    `tries` counts the functions that took it and failed, `deaths` the workers that died.
    """

    due: datetime
    body: bytes
    kind: str
    message: QueueMessage | None = None
    tries: int = 0
    deaths: int = 0


@dataclass
class Host:
    """Does what the Functions host does for one file, with a new worker wherever one has died.

    Attributes:
        way: of the file.
        errors: what invocations have raised, as the host logs it.
        waiting: what it has received, or will hand over again.
        worker: the invocation that runs now.
        is_patient: whether the service has recognised everything before anything is handed over, so that each walk of
            a file makes the same calls.
        down_until: until when storage is down for the host, too, which then hands over nothing.
        killed: whether it has been killed.
        stopped: why the walk cannot go on, if it cannot.
        first_calls: numbers of the calls that each event and each message began with.
        lengths: of the invocations, in seconds on the tests' clock.
        sweep_seconds: from one sweep to the next.
        others: ETags of the files that are handed over together with the way's own, by name.
        forgets: whether what a dead worker had in hand never comes again, so that only the sweep can help.
    """

    way: ProxiedWay
    errors: list[str] = field(default_factory=list)
    waiting: list[Delivery] = field(default_factory=list)
    worker: "asyncio.Future[None] | None" = None
    is_patient: bool = False
    down_until: datetime | None = None
    killed: bool = False
    stopped: str = ""
    first_calls: list[int] = field(default_factory=list)
    lengths: list[float] = field(default_factory=list)
    sweep_seconds: float = SWEEP_SECONDS
    others: dict[str, str] = field(default_factory=dict)
    forgets: bool = False

    def tick(self, seconds: float) -> None:
        """Let time pass within an invocation."""
        self.way.pass_time(seconds)

    def kill(self, stopped: str = "") -> None:
        """End the invocation that runs now, as the death of its process does; it gets no answer any more.

        Args:
            stopped: why the walk ends with it.
        """
        self.killed, self.stopped = True, stopped
        if self.worker is not None:
            self.worker.cancel()

    async def event(self) -> None:
        """Hand over the newest version of the file."""
        await self.hand_over(Delivery(self.way.now(), b"", "event"))

    async def messages(self) -> None:
        """Hand over what is due next until there is nothing left."""
        while delivery := await self.next():
            self.way.pass_time((delivery.due - self.way.now()).total_seconds())
            if self.is_patient:
                await asyncio.to_thread(move_clock, self.way.ner_emulator, 0)
            await self.hand_over(delivery)

    async def end(self) -> None:
        """Hand over messages, and let the sweep run, until nothing is left to do."""
        await self.messages()
        for _ in range(MAX_SWEEPS):
            if await asyncio.to_thread(self.is_at_rest):
                return
            self.way.pass_time(self.sweep_seconds)
            await self.hand_over(Delivery(self.way.now(), b"", "sweep"))
            await self.messages()

    def is_at_rest(self) -> bool:
        """Whether the newest version has its outcome and nothing else is left."""
        return all(self.outcomes()) and not self.way.in_flight()

    def outcomes(self) -> list[Outcome | None]:
        """Return the outcomes of the newest versions, that of the way's own file first."""
        blobs, settings = self.way.blobs, self.way.settings
        others = [read_outcome(blobs, settings, name, etag) for name, etag in self.others.items()]
        return [self.way.outcome(), *others]

    async def next(self) -> Delivery | None:
        """Return what is due next; hide all messages from others."""
        queue = self.way.queue
        received = await asyncio.to_thread(
            lambda: list(queue.receive_messages(max_messages=32, visibility_timeout=LEASE_SECONDS))
        )
        for message in received:
            due = self.way.messages_due.of(message)
            self.waiting.append(Delivery(due, message.content.encode(), "message", message))
        if not self.waiting:
            return None
        # What is due in the same minute comes in the order in which it was sent, however the delays were spread.
        first = min(self.waiting, key=lambda delivery: round((delivery.due - self.way.begun).total_seconds() / 60))
        self.waiting.remove(first)
        return first

    async def hand_over(self, delivery: Delivery) -> None:
        """Call the function; after a failure, do what the host does."""
        self.first_calls.append(len(self.way.proxies.calls) + 1)
        while True:
            delivery.tries += 1
            has_succeeded = await self.invoke(delivery)
            if self.down_until is not None:
                self.way.pass_time((self.down_until - self.way.now()).total_seconds())
            if has_succeeded:
                await self.delete(delivery)
                return
            is_last = delivery.tries >= MAX_TRIES
            if delivery.kind == "event" and not is_last:
                continue
            if delivery.kind == "message":
                if is_last:
                    await self.delete(delivery)  # it goes to the poison queue, where it stays
                else:
                    delivery.due = self.way.now() + timedelta(seconds=RETRY_SECONDS)
                    self.waiting.append(delivery)
            return

    async def call(self, delivery: Delivery) -> None:
        """Call the function of a delivery."""
        pipeline = self.way.pipeline
        match delivery.kind:
            case "event":
                await asyncio.gather(*(pipeline.submit(name) for name in (self.way.name, *self.others)))
            case "message":
                await pipeline.poll(delivery.body, comes_again=delivery.tries + delivery.deaths > 1)
            case "sweep":
                await pipeline.sweep()

    async def invoke(self, delivery: Delivery) -> bool:
        """Call the function until the worker lives to see its end; return whether there is nothing more to do."""
        passing.set(self.tick)
        while True:
            assert len(self.lengths) < MAX_INVOCATIONS, "there is no end"
            begun = self.way.now()
            self.killed = False
            self.worker = asyncio.ensure_future(self.call(delivery))
            try:
                await self.worker
            except asyncio.CancelledError:
                if not self.killed:
                    raise
                assert not self.stopped, self.stopped
                await self.way.pipeline.aclose()
                self.way.pipeline = self.way.another_pipeline()
                delivery.deaths += 1
                if self.forgets:
                    return True
                self.way.pass_time(RETRY_SECONDS)
            except Exception as error:  # noqa: BLE001  # the host catches all, and writes them to its log
                self.errors.append(f"{type(error).__name__}: {error}")
                return False
            else:
                return True
            finally:
                self.lengths.append((self.way.now() - begun).total_seconds())

    async def delete(self, delivery: Delivery) -> None:
        """Delete the message of a delivery."""
        if delivery.message is not None:
            await asyncio.to_thread(self.way.queue.delete_message, delivery.message)


Walk = Callable[[Host, bytes, bytes], Awaitable[None]]


async def plain(host: Host, data: bytes, _newer: bytes) -> None:
    """One event."""
    host.way.upload(data)
    await host.event()
    await host.end()


async def repeated(host: Host, data: bytes, _newer: bytes) -> None:
    """The same event again before the job has ended, and once more after the outcome."""
    host.way.upload(data)
    await host.event()
    await host.event()
    await host.messages()
    await host.event()
    await host.end()


async def overwritten(host: Host, data: bytes, newer: bytes) -> None:
    """A newer version while the older one is on its way."""
    host.way.upload(data)
    await host.event()
    host.way.upload(newer)
    await host.event()
    await host.end()


async def replaced(host: Host, data: bytes, newer: bytes) -> None:
    """A newer version after the outcome of the older one."""
    host.way.upload(data)
    await host.event()
    await host.messages()
    host.way.upload(newer)
    await host.event()
    await host.end()


async def unannounced(host: Host, data: bytes, newer: bytes) -> None:
    """A newer version of which the host never says a word."""
    host.way.upload(data)
    await host.event()
    host.way.upload(newer)
    await host.end()


async def throttled(host: Host, data: bytes, _newer: bytes) -> None:
    """Two events of a version while the service takes no calls, as far as this worker knows."""
    host.way.upload(data)
    host.way.pipeline.services.delays.throttle(1.0)
    await host.event()
    await host.event()
    await host.end()


async def several(host: Host, data: bytes, _newer: bytes) -> None:
    """Three files at the same time, which share a batch."""
    drop_several(host, data)
    await host.event()
    await host.end()


def drop_several(host: Host, data: bytes) -> None:
    """Upload the file and two others."""
    way = host.way
    own, names = way.name, [f"{number} {way.name}" for number in (2, 3)]
    for way.name in names:
        way.upload(data + b" " + way.name.encode())
        host.others[way.name] = way.etag
    way.name = own
    way.upload(data)


@dataclass(frozen=True)
class Case:
    """A walk with its files, and how many requests to the service they take, or documents if it is of several files."""

    name: str
    walk: Walk
    data: bytes
    newer: bytes
    requests: int

    @property
    def is_of_several(self) -> bool:
        """Whether it is of several files, which share a request or have one each."""
        return self.walk is several

    def paid(self, way: ProxiedWay) -> int:
        """Return how many requests the service has accepted, or documents if the walk is of several files."""
        return way.documents() if self.is_of_several else way.submissions()

    def paid_in(self, call: Call) -> int:
        """Return the same of one submission."""
        return documents_in(call) if self.is_of_several else 1

    @property
    def is_plain(self) -> bool:
        """Whether others begin like this one."""
        return self.walk is plain

    def own_names(self, number: str) -> dict[str, str]:
        """Return app settings for one of many walks in the same account."""
        own = f"{self.name} {number}".replace(" ", "-")
        containers = {"NER_INPUT_CONTAINER": f"{own}-in", "NER_RESULTS_CONTAINER": f"{own}-out"}
        return {"NER_QUEUE": own, "NER_STATE_CONTAINER": own, **containers}

    def file_name(self, number: str) -> str:
        """Return the file's name in such a walk."""
        return f"{self.name} {number}.{'jsonl' if self.data.startswith(b'{') else 'txt'}"


CASES: Final = (
    Case("one job", plain, TEXT, b"", 1),
    Case("many jobs", plain, lines(60), b"", 3),
    Case("bad file", plain, b"", b"", 0),
    Case("repeated events", repeated, TEXT, b"", 1),
    Case("throttled", throttled, TEXT, b"", 1),
    Case("overwritten", overwritten, TEXT, TEXT + b" Newer.", 2),
    Case("overwritten many jobs", overwritten, lines(30), lines(2), 3),
    Case("replaced", replaced, TEXT, TEXT + b" Newer.", 2),
    Case("several files", several, TEXT, b"", 3),
    Case("overwritten without an event", unannounced, TEXT, TEXT + b" Newer.", 2),
)

journal: ContextVar[list[str] | None] = ContextVar("journal", default=None)
"""What is logged in the context of a walk goes here."""


class Journals(logging.Handler):
    """Keeps what is logged apart for walks that run side by side."""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        if (own := journal.get()) is not None:
            own.append(self.format(record))


@contextmanager
def journals() -> Iterator[None]:
    """Keep what the walks log until the block ends."""
    handler = Journals()
    logging.getLogger().addHandler(handler)
    yield
    logging.getLogger().removeHandler(handler)
