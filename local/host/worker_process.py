"""A worker process as the host sees it: start it, get its functions, send it invocations."""

import asyncio
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from local.host.configuration import HostError
from local.host.protocol import (
    FROM_WORKER,
    HEADER_BYTES,
    FunctionDescription,
    Functions,
    Invocation,
    Refused,
    Result,
    frame,
)

log = logging.getLogger("host")

START_SECONDS: Final = 60.0
"""The host gives a worker this long to start."""
EXIT_SECONDS: Final = 5.0
"""A worker process that has closed its connection is killed after this."""


class WorkerEndedError(Exception):
    """The worker process ended by itself."""


class WorkerProcess:
    """A worker process and the invocations that it runs."""

    def __init__(self, root: Path, environ: Mapping[str, str]) -> None:
        """Start the process; it imports the app while the host continues."""
        self.connection, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", "local.host.worker", str(root), str(theirs.fileno())]
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, env=dict(environ), pass_fds=[theirs.fileno()]
            )
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter
        self.is_connected = False
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
        self.is_connected = True
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
        """Pass results to the waiting invocations until the process ends."""
        while isinstance(message := await self.receive(), Result):
            ended = self.running.pop(message.id, None)
            if ended is not None and not ended.done():
                ended.set_result(message)

    async def invoke(self, invocation: Invocation) -> Result:
        """Run a function to its end.

        Raises:
            WorkerEndedError: the process ended before. If it was killed, this waits forever.
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
        """Fail all invocations."""
        for ended in self.running.values():
            if not ended.done():
                ended.set_exception(WorkerEndedError(f"The worker process {why}"))
        self.running.clear()

    async def exit_words(self) -> str:
        """Wait for the process to end; return how it did."""
        try:
            code = await asyncio.to_thread(self.process.wait, EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = await asyncio.to_thread(self.process.wait)
        return f"exited with code {code}"

    def kill(self) -> None:
        """Kill the process."""
        self.is_killed = True
        self.process.kill()

    def close(self) -> None:
        """Kill the process and free its resources."""
        self.kill()
        self.process.wait()
        (self.writer if self.is_connected else self.connection).close()


def start_worker(root: Path) -> WorkerProcess:
    """Start a worker process with the app settings of this process's environment."""
    return WorkerProcess(root, os.environ)
