"""The host's worker processes: they get invocations, are killed at a timeout, and replaced when they end."""

import asyncio
import logging
import uuid
from collections.abc import Callable
from typing import Final, NamedTuple

from local.host.configuration import HostError
from local.host.functions import Function, InvocationError
from local.host.protocol import Invocation, Result, TypedData
from local.host.worker_process import WorkerEndedError, WorkerProcess

log = logging.getLogger("host")

GRACE_SECONDS: Final = 2.0
"""From functionTimeout until the worker process is killed."""
RESTART_SECONDS: Final = 10.0
"""Minimum time between two replacements of a worker process."""
MAX_DEATHS: Final = 3
"""After this many, the host ends."""
DEATHS_SECONDS: Final = 1800.0
"""If this much time has passed since the last death, earlier deaths no longer count."""


class Times(NamedTuple):
    """How long the host waits; shorter in tests."""

    timeout: float
    grace: float = GRACE_SECONDS
    restart: float = RESTART_SECONDS


class Workers:
    """Runs invocations in a worker process, and replaces it when it ends."""

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
        """Start a worker process in place of the one that ended; return the earliest time of the next replacement."""
        loop = asyncio.get_running_loop()
        while True:
            self.worker = self.start()
            begun = loop.time()
            try:
                await self.worker.connect()
            except WorkerEndedError as error:
                log.error("Language Worker Process exited. Pid=%d. It %s", self.worker.process.pid, error)  # noqa: TRY400
                self.worker.close()
                self.count_death(loop.time())
                await asyncio.sleep(begun + self.times.restart - loop.time())
            else:
                self.available.set()
                return loop.time() + self.times.restart

    def count_death(self, now: float) -> None:
        """Count the death of a worker process.

        Raises:
            HostError: too many have.
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
        """Call a function with trigger data in the form that the host sends.

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

        The other invocations in that process are lost, but do not fail yet: each keeps its message, and counts as
        running, until its own timeout.

        Raises:
            InvocationError: always.
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
