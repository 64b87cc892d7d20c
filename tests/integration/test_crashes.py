"""A worker that dies at any step of any way loses nothing, and costs a submission only in one instant.

Each test walks a file's way again and again; each time the worker dies before or after another one of its calls to
storage or the service. What the host would do, the test does: an event or a message that was not finished comes again,
to a new worker.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from shared.outcome import OutcomeStatus
from shared.pipeline import Pipeline
from tests.integration.conftest import TEXT, Way

CALLS = {
    "storage": ["read_upload", "newest_source", "present_outcome", "write_outcome", "send", "change", "take_back"],
    "state": [
        *("read_submission", "write_submission", "delete_submission", "delete"),
        *("read_ledger", "append", "append_results"),
    ],
    "ner": ["submit", "look", "cancel"],
}
AT_ONCE = 16


def lines(count: int) -> bytes:
    """Return a file of so many documents; a request takes 25."""
    return "\n".join(json.dumps({"id": str(n), "text": "At Blue Heron, please."}) for n in range(count)).encode()


class Killed(BaseException):  # no handler of errors may catch it
    """The worker is dead."""


@dataclass
class Fuse:
    """Kills the worker at one call: before it is made, or when it has been made and its answer comes too late."""

    number: int
    after: bool
    calls: list[str] = field(default_factory=list)
    first_calls: list[int] = field(default_factory=list)
    """Numbers of the calls that each event and each message began with."""

    def wrap(self, pipeline: Pipeline) -> None:
        """Count the pipeline's calls from now on."""
        for part, names in CALLS.items():
            for name in names:
                owner = getattr(pipeline, part)
                setattr(owner, name, self.wrapped(f"{part}.{name}", getattr(owner, name)))

    def wrapped(self, name: str, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        """Return a call that may be the worker's last."""

        async def counted(*arguments: Any, **named: Any) -> Any:
            self.calls.append(name)
            last = len(self.calls) == self.number
            if last and not self.after:
                raise Killed
            result = await call(*arguments, **named)
            if last:
                raise Killed
            return result

        return counted

    @property
    def has_burnt(self) -> bool:
        """Whether the worker was killed."""
        return 0 < self.number <= len(self.calls)

    @property
    def forgets_a_submission(self) -> bool:
        """Whether the worker died after the service's 202 and before its record: the one instant."""
        if not self.has_burnt:
            return False
        died_at, before = self.calls[self.number - 1], self.calls[: self.number - 1]
        if died_at == "ner.submit":
            return self.after
        recorded = {"state.write_submission", "state.append"}
        return died_at in recorded and not self.after and bool(before) and before[-1] == "ner.submit"


class Host:
    """Does what the Functions host does for one file, with a new worker wherever one has died."""

    def __init__(self, way: Way, fuse: Fuse) -> None:
        self.way = way
        self.fuse = fuse
        fuse.wrap(way.pipeline)

    async def deliver(self, call: Callable[[], Awaitable[None]]) -> None:
        """Make a call until it returns."""
        self.fuse.first_calls.append(len(self.fuse.calls) + 1)
        for _ in range(2):
            try:
                await call()
            except Killed:
                await self.way.pipeline.aclose()
                self.way.pipeline = self.way.another_pipeline()
            else:
                return
        raise AssertionError("the worker died twice")

    async def event(self) -> None:
        """Hand over the newest version of the file."""
        await self.deliver(lambda: self.way.pipeline.submit(self.way.name))

    async def messages(self) -> None:
        """Hand over messages until there are none."""
        queue = self.way.queue
        while await asyncio.to_thread(lambda: queue.get_queue_properties().approximate_message_count):
            message = await asyncio.to_thread(self.way.received)
            body = message.content.encode()
            await self.deliver(lambda body=body: self.way.pipeline.poll(body))  # type: ignore[misc]
            await asyncio.to_thread(queue.delete_message, message)


Walk = Callable[[Host, bytes, bytes], Awaitable[None]]


async def plain(host: Host, data: bytes, _newer: bytes) -> None:
    """One event."""
    host.way.upload(data)
    await host.event()
    await host.messages()


async def repeated(host: Host, data: bytes, _newer: bytes) -> None:
    """The same event again before the job has ended, and once more after the outcome."""
    host.way.upload(data)
    await host.event()
    await host.event()
    await host.messages()
    await host.event()
    await host.messages()


async def overwritten(host: Host, data: bytes, newer: bytes) -> None:
    """A newer version while the older one is on its way."""
    host.way.upload(data)
    await host.event()
    host.way.upload(newer)
    await host.event()
    await host.messages()


async def unannounced(host: Host, data: bytes, newer: bytes) -> None:
    """A newer version of which the host never says a word."""
    host.way.upload(data)
    await host.event()
    host.way.upload(newer)
    await host.messages()


async def throttled(host: Host, data: bytes, _newer: bytes) -> None:
    """Two events of a version while the service takes no calls, as far as this worker knows."""
    host.way.upload(data)
    host.way.pipeline.following.delays.throttle(1.0)
    await host.event()
    await host.event()
    await host.messages()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("walk", "data", "newer", "requests"),
    [
        pytest.param(plain, TEXT, b"", 1, id="one job"),
        pytest.param(plain, lines(60), b"", 3, id="many jobs"),
        pytest.param(plain, b"", b"", 0, id="bad file"),
        pytest.param(repeated, TEXT, b"", 1, id="repeated events"),
        pytest.param(throttled, TEXT, b"", 1, id="throttled"),
        pytest.param(overwritten, TEXT, TEXT + b" Newer.", 2, id="overwritten"),
        pytest.param(overwritten, lines(30), lines(2), 3, id="overwritten many jobs"),
        pytest.param(unannounced, TEXT, TEXT + b" Newer.", 2, id="overwritten without an event"),
    ],
)
async def test_a_worker_may_die_at_any_call(
    walk: Walk, data: bytes, newer: bytes, requests: int, make_way: Callable[..., Way]
) -> None:
    """One outcome, of the newest version; nothing left over; each request submitted once, but for the one instant."""
    limit = asyncio.Semaphore(AT_ONCE)
    name = f"{walk.__name__}-{len(data)}"
    make_way().switch(jobSeconds=0.5)

    async def walk_once(number: int, *, after: bool) -> Fuse:
        async with limit:
            own = f"{name}-{number}-{after:d}"
            way = make_way(NER_QUEUE=own, NER_STATE_CONTAINER=own)
            way.name = f"{own}.{'jsonl' if data.startswith(b'{') else 'txt'}"
            fuse = Fuse(number, after)
            try:
                await walk(Host(way, fuse), data, newer)
                check(way, fuse, requests, OutcomeStatus.SUCCEEDED if data else OutcomeStatus.FAILED)
            finally:
                await way.pipeline.aclose()
            return fuse

    whole = await walk_once(0, after=False)
    assert not whole.has_burnt
    numbers = range(1, len(whole.calls) + 1)
    # Within one event or message, dying before a call is dying after the one before it: the worker makes one at a time.
    deaths = [(number, True) for number in numbers] + [(number, False) for number in whole.first_calls]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(walk_once(number, after=after)) for number, after in deaths]
    fuses = [task.result() for task in tasks]
    assert sum(fuse.has_burnt for fuse in fuses) >= len(numbers), "the worker died nearly every time"


def check(way: Way, fuse: Fuse, requests: int, status: OutcomeStatus) -> None:
    """Assert what must hold in the end."""
    where = f"{'after' if fuse.after else 'before'} call {fuse.number} of {fuse.calls}"
    outcome = way.outcome()
    assert outcome is not None, where
    assert outcome.status is status, where
    assert way.in_flight() == 0, where
    assert way.submissions() <= requests + fuse.forgets_a_submission, where
