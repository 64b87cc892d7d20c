"""The host emulator treats its worker process as the Functions host does: timeouts, deaths, and what they cost."""

import asyncio
import os
import signal
import textwrap
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from local.host.configuration import HostError
from local.host.functions import Function, InvocationError
from local.host.protocol import FunctionDescription, TypedData
from local.host.worker_process import WorkerProcess
from local.host.workers import DEATHS_SECONDS, Times, Workers
from local.install import ROOT
from tests.waiting import PATIENCE_SECONDS

APP = """
    import asyncio, os, signal, sys, time
    import azure.functions as func

    app = func.FunctionApp()
    NOTES = {notes!r}

    async def do(words):
        match words:
            case ["fail"]:
                raise ValueError("the reason")
            case ["return"]:
                return "something"
            case ["cancel"]:
                raise asyncio.CancelledError
            case ["wait"]:
                try:
                    while not os.path.exists(NOTES + ".go"):
                        await asyncio.sleep(0.02)
                except BaseException as error:
                    note("heard of " + repr(error))
                    raise
            case ["block", seconds]:
                time.sleep(float(seconds))
            case ["die", number]:
                os.kill(os.getpid(), int(number))
            case ["exit", code]:
                os._exit(int(code))
            case ["leave"]:
                sys.exit(3)
        note(f"{{os.getpid()}} " + " ".join(words))

    def note(text):
        with open(NOTES, "a") as notes:
            notes.write(text + "\\n")

    @app.queue_trigger(arg_name="message", queue_name="one", connection="")
    async def one(message: func.QueueMessage):
        return await do(message.get_body().decode().split())

    @app.queue_trigger(arg_name="message", queue_name="two", connection="")
    def two(message: func.QueueMessage, context: func.Context):
        assert context.function_name == "two" and context.invocation_id
        return asyncio.run(do(message.get_body().decode().split()))
"""


class Rig:
    """A small app in worker processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notes = folder / "notes.txt"
        self.notes.touch()
        self.write_app(APP.format(notes=str(self.notes)))
        self.processes: list[WorkerProcess] = []
        self.replacing: asyncio.Task[None]

    def write_app(self, source: str) -> None:
        """Give the app another source."""
        (self.folder / "function_app.py").write_text(textwrap.dedent(source))

    def start(self) -> WorkerProcess:
        """Start a worker process."""
        self.processes.append(WorkerProcess(self.folder, {**os.environ, "PYTHONPATH": str(ROOT)}))
        return self.processes[-1]

    @asynccontextmanager
    async def workers(self, *, grace: float = 0.0, restart: float = 0.0) -> AsyncIterator[Workers]:
        """Run worker processes until the block ends."""
        first = self.start()
        await first.connect()
        workers = Workers(self.start, first, Times(PATIENCE_SECONDS, grace, restart))
        self.replacing = asyncio.create_task(workers.run())
        yield workers
        self.replacing.cancel()
        await asyncio.gather(self.replacing, return_exceptions=True)

    def go(self) -> None:
        """End the functions that wait."""
        Path(f"{self.notes}.go").touch()

    def noted(self) -> list[str]:
        """Return what the functions have written down."""
        return self.notes.read_text().splitlines()


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """A small app in worker processes."""
    made = Rig(tmp_path)
    yield made
    for process in made.processes:
        process.close()


async def begin(
    workers: Workers, text: str, name: str = "one", *, seconds: float | None = None
) -> "asyncio.Task[None]":
    """Begin an invocation with a message of this text, and a timeout of its own."""
    function = Function(FunctionDescription(name, {"type": "queueTrigger", "name": "message"}))
    metadata = {"Id": TypedData("string", "1")}
    usual = workers.times
    workers.times = usual if seconds is None else usual._replace(timeout=seconds)
    task = asyncio.create_task(workers.invoke(function, TypedData("string", text), metadata, "test"))
    await asyncio.sleep(0)
    workers.times = usual
    return task


async def run(workers: Workers, text: str, name: str = "one", *, seconds: float | None = None) -> None:
    """Run a function to its end."""
    await (await begin(workers, text, name, seconds=seconds))


async def fails(workers: Workers, text: str, name: str = "one", *, seconds: float | None = None) -> None:
    """Run a function that fails."""
    with pytest.raises(InvocationError):
        await run(workers, text, name, seconds=seconds)


async def until(condition: Callable[[], object]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():
            await asyncio.sleep(0.02)


async def test_functions_run_beside_each_other_and_fail_by_themselves(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    """Coroutines and plain functions alike, and one that fails takes none with it."""
    caplog.set_level("INFO")
    async with rig.workers() as workers:
        waiting = [await begin(workers, "wait", name) for name in ("one", "two")]
        for name in ("one", "two"):
            await run(workers, "fine", name)
            for words, said in (("fail", "ValueError: the reason"), ("return", "without an output binding")):
                await fails(workers, words, name)
                assert said in caplog.messages[-1]
                assert caplog.messages[-1].startswith(f"Executed 'Functions.{name}' (Failed, Id=")
        assert not any(task.done() for task in waiting)
        rig.go()
        await asyncio.gather(*waiting)
        assert [line.partition(" ")[2] for line in rig.noted()] == ["fine", "fine", "wait", "wait"]
        assert len(rig.processes) == 1


async def test_a_timeout_costs_the_worker_process_and_all_that_runs_in_it(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    """The guilty one fails; the others are lost, and fail at their own timeouts, not before; new ones run at once."""
    caplog.set_level("INFO")
    async with rig.workers() as workers:
        other = await begin(workers, "wait", "two")
        late = await begin(workers, "wait", seconds=3.0)
        await fails(workers, "wait", seconds=1.0)
        assert rig.processes[0].process.wait(PATIENCE_SECONDS) == -signal.SIGKILL
        await run(workers, "fine")
        rig.go()
        with pytest.raises(InvocationError):
            await late
        assert not other.done(), "it is lost, but has not failed"
        other.cancel()
        assert len(rig.processes) == 2, "the second timeout found its process gone"
    assert rig.noted() == [f"{rig.processes[1].process.pid} fine"], "no exception reached the functions"
    said = "\n".join(caplog.messages)
    assert "Timeout value of 00:00:01 exceeded by function 'Functions.one'" in said
    assert said.count("A function timeout has occurred. Restarting worker process") == 2


async def test_the_failure_after_a_timeout_is_reported_once_the_restart_has_had_its_time(rig: Rig) -> None:
    """The message stays with its listener until then; new invocations need not wait for that."""
    async with rig.workers(restart=PATIENCE_SECONDS) as workers:
        guilty = await begin(workers, "wait", seconds=1.0)
        await until(lambda: len(rig.processes) == 2)
        await run(workers, "fine")
        assert not guilty.done()
        guilty.cancel()


async def test_a_blocked_event_loop_makes_the_others_time_out(rig: Rig) -> None:
    """They never begin, though they wait for nothing."""
    async with rig.workers() as workers:
        tasks = [await begin(workers, "block 600", seconds=2.0)]
        tasks += [await begin(workers, "fine", name, seconds=2.0) for name in ("one", "two")]
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [InvocationError] * 3
    assert rig.noted() == []


async def test_a_function_that_ends_within_the_grace_fails_alone(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """The process and what runs in it stay."""
    async with rig.workers(grace=PATIENCE_SECONDS) as workers:
        slow = await begin(workers, "wait", seconds=0.5)
        await until(lambda: "Timeout value" in caplog.text)
        rig.go()
        with pytest.raises(InvocationError):
            await slow
        assert [line.partition(" ")[2] for line in rig.noted()] == ["wait"]
        await run(workers, "fine")
        assert len(rig.processes) == 1


async def test_a_function_that_cancels_itself_runs_into_its_timeout(rig: Rig) -> None:
    """The real worker reports nothing of it, either."""
    async with rig.workers() as workers:
        await fails(workers, "cancel", seconds=1.0)
        assert rig.processes[0].process.wait(PATIENCE_SECONDS) == -signal.SIGKILL


@pytest.mark.parametrize("words", [f"die {signal.SIGKILL}", "exit 0", "leave"])
async def test_what_ran_in_a_worker_process_that_died_fails_at_once(
    words: str, rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    """By a signal or by itself; the next process takes over."""
    async with rig.workers() as workers:
        innocent = await begin(workers, "wait", "two")
        await fails(workers, words)
        with pytest.raises(InvocationError):
            await innocent
        await run(workers, "fine")
    assert rig.noted() == [f"{rig.processes[1].process.pid} fine"]
    assert "The worker process exited with code" in caplog.text


async def test_the_third_death_ends_the_host(rig: Rig) -> None:
    """A timeout is no death, and deaths of long ago are forgotten."""
    async with rig.workers() as workers:
        await fails(workers, "wait", seconds=0.5)
        for _ in range(2):
            await fails(workers, "exit 1")
            await run(workers, "fine")
        workers.deaths = [moment - DEATHS_SECONDS for moment in workers.deaths]
        for _ in range(2):
            await fails(workers, "exit 1")
            await run(workers, "fine")
        await fails(workers, "exit 1")
        with pytest.raises(HostError, match="3 worker processes died"):
            async with asyncio.timeout(PATIENCE_SECONDS):
                await rig.replacing


async def test_replacements_keep_their_distance(rig: Rig) -> None:
    """The first is at once, the second waits: invocations wait for it, and time out meanwhile."""
    async with rig.workers(restart=PATIENCE_SECONDS) as workers:
        for _ in range(2):
            await fails(workers, "exit 1")
        await fails(workers, "fine", seconds=1.0)
        assert len(rig.processes) == 2
    assert rig.noted() == []


async def test_a_worker_process_that_cannot_import_the_app_has_died(rig: Rig) -> None:
    """So a broken app does not make the host start processes without end."""
    async with rig.workers() as workers:
        rig.write_app("import nothing_of_this_name")
        with pytest.raises(InvocationError):
            await run(workers, "exit 1")
        with pytest.raises(HostError, match="3 worker processes died"):
            async with asyncio.timeout(PATIENCE_SECONDS):
                await rig.replacing
        assert len(rig.processes) == 3


async def test_a_worker_process_never_outlives_its_host(rig: Rig) -> None:
    """However the host ends, and whatever the worker is doing."""
    async with rig.workers() as workers:
        await begin(workers, "block 600")
        rig.processes[0].writer.transport.abort()
        assert await asyncio.to_thread(rig.processes[0].process.wait, PATIENCE_SECONDS) == 0


async def test_a_worker_process_ends_with_a_host_that_has_not_read_everything(rig: Rig) -> None:
    """The connection is reset then, which is no reason to stay."""
    process = rig.start()
    async with asyncio.timeout(PATIENCE_SECONDS):
        await asyncio.to_thread(process.connection.recv, 1)
    process.connection.close()
    assert await asyncio.to_thread(process.process.wait, PATIENCE_SECONDS) == 0
