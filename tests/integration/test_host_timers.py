"""The stand-in runs timers as the Functions host does (Timers extension 4.x)."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from azure.storage.blob.aio import BlobServiceClient

from local.host import locks, timers
from local.host.blobs import HOSTS_CONTAINER
from local.host.configuration import HostError
from local.host.functions import Function, InvocationError
from local.host.protocol import FunctionDescription, TypedData
from local.host.timers import TimerListener
from local.host.trigger_data import NEVER
from local.storage_emulator import Azurite
from tests.waiting import PATIENCE_SECONDS

BEGUN: Final = datetime(2026, 11, 25, 8, 2, tzinfo=UTC)
FIVE_MINUTES: Final = "0 */5 * * * *"


def at(minute: int, second: int = 0, hour: int = 8) -> datetime:
    """Return a time of the day on which the tests begin."""
    return BEGUN.replace(hour=hour, minute=minute, second=second)


class Clock:
    """A clock that moves when a listener waits."""

    def __init__(self) -> None:
        self.time = BEGUN

    def now(self) -> datetime:
        """Return the time."""
        return self.time


class Runs:
    """The function: remembers its runs, takes some time, and stops the listener after so many of them."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.listener: TimerListener | None = None
        self.left = 1
        self.took = timedelta()
        self.fails = False
        self.times: list[datetime] = []
        self.told: list[dict[str, Any]] = []

    async def invoke(self, function: Function, data: TypedData, metadata: dict[str, TypedData], reason: str) -> None:
        """Be called by the host."""
        del metadata
        assert self.listener
        assert function.name == "sweep"
        assert reason == f"Timer fired at {self.clock.time.isoformat()}"
        self.times.append(self.clock.time)
        self.told.append(json.loads(data.text))
        self.clock.time += self.took
        self.left -= 1
        if self.left <= 0:
            self.listener.stop()
        if self.fails:
            raise InvocationError("failed")

    def reject(self, function: Function, reason: str, why: str) -> InvocationError:
        """Never be told that a time cannot be read."""
        raise AssertionError((function.name, reason, why))


class Listener(TimerListener):
    """A listener whose waits move the clock."""

    clock: Clock
    early = timedelta()

    async def pause(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.time += max(timedelta(seconds=seconds) - self.early, timedelta())


Start = Callable[..., Listener]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time of listeners."""
    clock = Clock()
    monkeypatch.setattr(timers, "now", clock.now)
    return clock


@pytest.fixture
def runs(clock: Clock) -> Runs:
    """The function."""
    return Runs(clock)


@pytest.fixture
async def start(azurite: Azurite, clock: Clock, runs: Runs) -> AsyncIterator[Start]:
    """Return what makes a listener, as a host does that starts; the host has run no timer before."""
    async with BlobServiceClient.from_connection_string(azurite.connection_string) as blobs:
        status = blobs.get_blob_client(HOSTS_CONTAINER, "timers/a-host/Host.Functions.sweep/status")
        if await status.exists():
            await status.delete_blob()

        def make(schedule: str = FIVE_MINUTES, *, times: int = 1, **binding: bool) -> Listener:
            function = Function(FunctionDescription("sweep", {"type": "timerTrigger", "name": "timer", **binding}))
            listener = Listener(function, runs, blobs, "a-host", schedule)
            listener.clock = clock
            runs.listener, runs.left = listener, times
            return listener

        yield make


def statuses(runs: Runs, name: str) -> list[str]:
    """Return what the runs were told."""
    return [told["ScheduleStatus"][name] for told in runs.told]


async def test_it_runs_at_the_times_of_its_schedule(start: Start, runs: Runs) -> None:
    """Each run is told when the one before was; what it is told of as the next one is itself."""
    await start(times=3).run()
    assert runs.times == [at(5), at(10), at(15)]
    assert statuses(runs, "Last") == [NEVER, at(5).isoformat(), at(10).isoformat()]
    assert statuses(runs, "Next") == [time.isoformat() for time in runs.times]
    assert [told["IsPastDue"] for told in runs.told] == [False] * 3


async def test_it_runs_on_one_host_at_a_time(
    start: Start, runs: Runs, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The one that holds its lock."""
    monkeypatch.setattr(locks, "POLL_SECONDS", 0.02)
    listener = start()
    # As another host would.
    assert await listener.lock.acquire()
    others = listener.lock.lease
    running = asyncio.create_task(listener.run())
    async with asyncio.timeout(PATIENCE_SECONDS):
        while "Another host" not in caplog.text:
            await asyncio.sleep(0.01)
        assert runs.times == []
        await others.release()
        await running
    assert runs.times == [at(5)]


async def test_a_run_that_was_missed_comes_at_the_start(start: Start, runs: Runs, clock: Clock) -> None:
    """One for all that were missed, and it is told so; then those of the schedule."""
    await start().run()
    clock.time = at(21)
    await start(times=2).run()
    assert runs.times == [at(5), at(21), at(25)]
    assert [told["IsPastDue"] for told in runs.told] == [False, True, False]
    assert statuses(runs, "Next")[1] == at(10).isoformat()


async def test_a_run_that_was_missed_before_the_first_one_comes_at_the_start(
    start: Start, runs: Runs, clock: Clock
) -> None:
    """The host remembers when it has first seen a timer."""
    listener = start()
    listener.stop()
    await listener.run()
    clock.time = at(6)
    await start().run()
    assert (runs.times, runs.told[0]["IsPastDue"]) == ([at(6)], True)


@pytest.mark.parametrize(("minute", "second"), [(9, 59), (10, 0)])
async def test_a_run_that_is_not_due_yet_does_not_come_at_the_start(
    minute: int, second: int, start: Start, runs: Runs, clock: Clock
) -> None:
    """A host that starts again and again must not run it each time."""
    await start().run()
    clock.time = at(minute, second)
    await start().run()
    assert runs.times == [at(5), at(10)]
    assert not runs.told[1]["IsPastDue"]


async def test_a_timer_that_is_not_monitored_misses_runs(start: Start, runs: Runs, clock: Clock) -> None:
    """Nothing is remembered of it, and it is told nothing."""
    await start(useMonitor=False).run()
    clock.time = at(21)
    await start(useMonitor=False).run()
    assert runs.times == [at(5), at(25)]
    assert [told["ScheduleStatus"] for told in runs.told] == [None, None]


async def test_a_timer_of_seconds_is_not_monitored(start: Start, runs: Runs, clock: Clock) -> None:
    """Whatever it says."""
    await start("*/30 * * * * *", useMonitor=True).run()
    clock.time = at(21, 1)
    await start("*/30 * * * * *", useMonitor=True).run()
    assert runs.times == [at(2, 30), at(21, 30)]
    assert runs.told[0]["ScheduleStatus"] is None


async def test_run_on_startup_runs_at_once(start: Start, runs: Runs, clock: Clock) -> None:
    """At each start, and then by the schedule; it is not past due unless a run was missed."""
    await start(times=2, runOnStartup=True).run()
    clock.time = at(6)
    await start(runOnStartup=True).run()
    clock.time = at(21)
    await start(runOnStartup=True).run()
    assert runs.times == [BEGUN, at(5), at(6), at(21)]
    assert [told["IsPastDue"] for told in runs.told] == [False, False, False, True]


async def test_a_long_run_is_not_joined_by_another_one(start: Start, runs: Runs) -> None:
    """What was due meanwhile comes right after it, once."""
    runs.took = timedelta(minutes=13)
    await start(times=3).run()
    assert runs.times == [at(5), at(18), at(31)]


async def test_a_run_that_fails_is_not_repeated(start: Start, runs: Runs) -> None:
    """Before it is due."""
    runs.fails = True
    await start(times=2).run()
    assert runs.times == [at(5), at(10)]


async def test_a_timer_that_fires_early_does_not_fire_again_for_the_same_time(start: Start, runs: Runs) -> None:
    """Clocks differ a little."""
    listener = start(times=2)
    listener.early = timedelta(seconds=0.5)
    await listener.run()
    assert statuses(runs, "Next") == [at(5).isoformat(), at(10).isoformat()]


async def test_another_schedule_makes_nothing_past_due(start: Start, runs: Runs, clock: Clock) -> None:
    """What it would have had in the past was never promised."""
    await start("0 0 * * * *").run()
    assert runs.times == [at(0, hour=9)]
    clock.time = at(21, hour=9)
    await start().run()
    assert runs.times[1:] == [at(25, hour=9)]
    assert not runs.told[1]["IsPastDue"]


async def test_a_listener_that_is_stopped_ends_while_it_waits(azurite: Azurite, runs: Runs) -> None:
    """And runs nothing more."""
    async with BlobServiceClient.from_connection_string(azurite.connection_string) as blobs:
        function = Function(FunctionDescription("sweep", {"type": "timerTrigger", "name": "timer"}))
        listener = TimerListener(function, runs, blobs, "another-host", "0 0 0 1 1 *")
        running = asyncio.create_task(listener.run())
        await asyncio.sleep(0)
        listener.stop()
        await running
    assert runs.times == []


async def test_what_is_no_schedule_is_refused(start: Start) -> None:
    """As the host does when it starts."""
    with pytest.raises(HostError, match="not an NCRONTAB expression"):
        start("*/5 * * * *")
