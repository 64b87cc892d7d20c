"""The worker process as the host sees it: started, given invocations, killed at a timeout, replaced when it ends."""

import asyncio
import logging
import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from local.host.configuration import HostError
from local.host.functions import Function, InvocationError
from local.host.protocol import (
    FROM_WORKER,
    HEADER_BYTES,
    FunctionDescription,
    Functions,
    Invocation,
    Refused,
    Result,
    TypedData,
    frame,
)

log = logging.getLogger("host")

START_SECONDS: Final = 60.0
"""The host gives a worker this long to start."""
GRACE_SECONDS: Final = 2.0
"""From functionTimeout until the worker process is killed."""
RESTART_SECONDS: Final = 10.0
"""From one replacement of a worker process to the next, at least."""
MAX_DEATHS: Final = 3
"""With this many, the host ends."""
DEATHS_SECONDS: Final = 1800.0
"""A worker process that lives longer than this after a death makes the host forget the deaths before."""
EXIT_SECONDS: Final = 5.0
"""A worker process that has closed its connection has ended, or is ended, after this."""


class Times(NamedTuple):
    """How long the host waits; tests wait less."""

    timeout: float
    grace: float = GRACE_SECONDS
    restart: float = RESTART_SECONDS


class WorkerEndedError(Exception):
    """The worker process ended by itself."""


class WorkerProcess:
    """A worker process and the invocations that it runs."""

    def __init__(self, root: Path, environ: Mapping[str, str]) -> None:
        """Start the process; it imports the app while the host goes on."""
        self.connection, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", "local.host.worker"]
            command += ["--root", str(root), "--socket", str(theirs.fileno())]
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, env=dict(environ), pass_fds=[theirs.fileno()]
            )
        self.running: dict[str, asyncio.Future[Result]] = {}
        self.is_killed = False
        self.replaced = asyncio.Event()

    async def connect(self) -> list[FunctionDescription]:
        """Wait until the worker has imported the app; return its functions.

        Raises:
            HostError: the app cannot be hosted.
            WorkerEndedError: the process has ended.
        """
        self.reader, self.writer = await asyncio.open_unix_connection(sock=self.connection)
        try:
            async with asyncio.timeout(START_SECONDS):
                message = await self.receive()
        except TimeoutError:
            self.kill()
            raise WorkerEndedError(f"has not imported the app within {START_SECONDS:.0f} seconds") from None
        match message:
            case Functions(functions=functions):
                log.info("Worker process started and initialized. Pid=%d", self.process.pid)
                return functions
            case Refused(reason=reason):
                raise HostError(reason)
            case _:
                raise WorkerEndedError(await self.exit_words())

    async def receive(self) -> Functions | Refused | Result | None:
        """Return the next message of the worker; None if the process has ended."""
        try:
            length = int.from_bytes(await self.reader.readexactly(HEADER_BYTES), "big")
            body = await self.reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        message: Functions | Refused | Result = FROM_WORKER.decode(body)
        return message

    async def receive_results(self) -> None:
        """Hand results to those who wait for them until the process ends."""
        while isinstance(message := await self.receive(), Result):
            ended = self.running.pop(message.id, None)
            if ended is not None and not ended.done():
                ended.set_result(message)

    async def invoke(self, invocation: Invocation) -> Result:
        """Run a function to its end.

        Raises:
            WorkerEndedError: the process ended before. If it was killed, this waits for ever.
        """
        ended: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self.running[invocation.id] = ended
        try:
            self.writer.write(frame(invocation))
            await self.writer.drain()
        except ConnectionError:
            log.debug("Invocation %s did not reach the worker process, which has ended", invocation.id)
        return await ended

    def fail_running(self, why: str) -> None:
        """Let all invocations fail."""
        for ended in self.running.values():
            if not ended.done():
                ended.set_exception(WorkerEndedError(f"The worker process {why}"))
        self.running.clear()

    async def exit_words(self) -> str:
        """Return how the process ended, once it has."""
        try:
            code = await asyncio.to_thread(self.process.wait, EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = await asyncio.to_thread(self.process.wait)
        return f"exited with code {code}"

    def kill(self) -> None:
        """End the process without warning."""
        self.is_killed = True
        self.process.kill()

    def close(self) -> None:
        """End the process, and free what belongs to it."""
        self.kill()
        self.process.wait()
        self.writer.close()


class Workers:
    """Runs invocations in a worker process, and replaces that when it ends."""

    def __init__(self, start: Callable[[], WorkerProcess], first: WorkerProcess, times: Times) -> None:
        """Take over the first worker process, which is connected."""
        self.start = start
        self.worker = first
        self.times = times
        self.deaths: list[float] = []
        self.available = asyncio.Event()
        self.available.set()

    async def run(self) -> None:
        """Replace each worker process that ends, until cancelled.

        Raises:
            HostError: too many have died.
        """
        loop = asyncio.get_running_loop()
        next_start = 0.0
        while True:
            await self.worker.receive_results()
            self.available.clear()
            ended = self.worker
            if not ended.is_killed:
                why = await ended.exit_words()
                log.error("Language Worker Process exited. Pid=%d. It %s", ended.process.pid, why)
                ended.fail_running(why)
                self.count_death(loop.time())
            await asyncio.sleep(next_start - loop.time())
            next_start = await self.replace()
            ended.replaced.set()
            ended.close()

    async def replace(self) -> float:
        """Start a worker process in place of the one that ended; return when it may be replaced at the earliest."""
        loop = asyncio.get_running_loop()
        while True:
            self.worker = self.start()
            begun = loop.time()
            try:
                await self.worker.connect()
            except WorkerEndedError as error:
                log.error("Language Worker Process exited. Pid=%d. It %s", self.worker.process.pid, error)  # noqa: TRY400
                self.count_death(loop.time())
                await asyncio.sleep(begun + self.times.restart - loop.time())
            else:
                self.available.set()
                return loop.time() + self.times.restart

    def count_death(self, now: float) -> None:
        """Remember that a worker process died.

        Raises:
            HostError: one too many.
        """
        if self.deaths and now - self.deaths[-1] > DEATHS_SECONDS:
            self.deaths.clear()
        self.deaths.append(now)
        if len(self.deaths) >= MAX_DEATHS:
            raise HostError(
                f"Exceeded language worker restart retry count: {MAX_DEATHS} worker processes died. Shutting down: "
                "read above why they ended, then start the host again"
            )

    async def invoke(self, function: Function, data: TypedData, metadata: dict[str, TypedData], reason: str) -> None:
        """Call a function with trigger data of the form that the host sends.

        Raises:
            InvocationError: the function failed.
        """
        invocation = Invocation(begin(function, reason), function.name, data, metadata)
        call, times = asyncio.create_task(self.call(invocation)), self.times
        try:
            await asyncio.wait({call}, timeout=times.timeout)
            if not call.done():
                await self.time_out(invocation, call, times)
            error = call.result().error
        except WorkerEndedError as ended:
            error = str(ended)
        finally:
            call.cancel()
        if error:
            raise failure(function.name, invocation.id, error)
        log.info("Executed 'Functions.%s' (Succeeded, Id=%s)", function.name, invocation.id)

    async def call(self, invocation: Invocation) -> Result:
        """Call a function as soon as there is a worker process."""
        await self.available.wait()
        return await self.worker.invoke(invocation)

    async def time_out(self, invocation: Invocation, call: asyncio.Task[Result], times: Times) -> None:
        """Kill the worker process that runs an invocation, unless the invocation ends very soon.

        The other invocations of that process are lost, but have not failed: each holds its message and its place until
        its own timeout.

        Raises:
            InvocationError: in any case.
        """
        timeout = time_span(times.timeout)
        log.error(
            "Timeout value of %s exceeded by function 'Functions.%s' (Id: '%s'). Initiating cancellation.",
            timeout,
            invocation.function,
            invocation.id,
        )
        words = f"Timeout value of {timeout} was exceeded by function: Functions.{invocation.function}"
        failed = failure(invocation.function, invocation.id, words)
        await asyncio.wait({call}, timeout=times.grace)
        if not call.done():
            log.warning(
                "A function timeout has occurred. Restarting worker process executing invocationId '%s'.", invocation.id
            )
            worker = self.worker
            if invocation.id in worker.running and not worker.is_killed:
                self.available.clear()
                worker.kill()
                await worker.replaced.wait()
                await asyncio.sleep(times.restart)
            log.warning("Restart of language worker process(es) completed.")
        elif not call.cancelled():
            call.exception()  # retrieved, so that asyncio does not report it
        raise failed

    def reject(self, function: Function, reason: str, why: str) -> InvocationError:
        """Return the failure of an invocation whose data the host itself cannot read; no worker process sees it."""
        return failure(function.name, begin(function, reason), why)

    def close(self) -> None:
        """End the worker process."""
        self.worker.close()


def begin(function: Function, reason: str) -> str:
    """Log that an invocation begins; return its ID."""
    invocation = str(uuid.uuid4())
    log.info("Executing 'Functions.%s' (Reason='%s', Id=%s)", function.name, reason, invocation)
    return invocation


def failure(function: str, invocation: str, error: str) -> InvocationError:
    """Log that an invocation failed; return the exception for it."""
    log.error("Executed 'Functions.%s' (Failed, Id=%s)\n%s", function, invocation, error)
    return InvocationError(function)


def time_span(seconds: float) -> str:
    """Return seconds as .NET writes them."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest:02}"


def start_worker(root: Path) -> WorkerProcess:
    """Start a worker process with the app settings of this process's environment."""
    return WorkerProcess(root, os.environ)
