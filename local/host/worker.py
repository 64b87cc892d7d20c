"""`python -m local.host.worker ROOT SOCKET`: the worker process, which imports an app and runs its functions.

The host starts it with a file descriptor of their connection, and kills it without warning. It never outlives the host.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final

from local.host.app import AppFunction, load_functions
from local.host.configuration import LOG_FORMAT, HostError
from local.host.protocol import FROM_HOST, Functions, Invocation, Refused, Result, frame, read_frame
from shared.settings import SettingsError

WORKER_THREADS: Final = 1000
"""The host's value for the worker's thread pool (PYTHON_THREADPOOL_THREAD_COUNT)."""


class Worker:
    """Runs functions: coroutines on the process's event loop, other functions in threads."""

    def __init__(self, connection: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        self.connection = connection
        self.loop = loop
        self.functions: dict[str, AppFunction] = {}
        self.threads = ThreadPoolExecutor(WORKER_THREADS, thread_name_prefix="worker")
        self.tasks: set[asyncio.Task[None]] = set()

    def listen(self) -> None:
        """Receive invocations in a separate thread; end the process as soon as the host has ended."""

        def read() -> None:
            # The connection is reset if the host has ended before it read everything.
            with suppress(ConnectionError), self.connection.makefile("rb") as stream:
                while (body := read_frame(stream)) is not None:
                    self.loop.call_soon_threadsafe(self.begin, FROM_HOST.decode(body))
            os._exit(0)

        threading.Thread(target=read, name="host", daemon=True).start()

    def begin(self, invocation: Invocation) -> None:
        """Start running a function."""
        task = self.loop.create_task(self.run(invocation))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def run(self, invocation: Invocation) -> None:
        """Run a function and report its end.

        As in the real worker, a function that cancels itself is not reported: it exceeds functionTimeout.
        """
        try:
            await self.call(self.functions[invocation.function], invocation)
        except Exception:  # noqa: BLE001  # the app's own
            error = traceback.format_exc().rstrip().encode(errors="backslashreplace").decode()
            self.send(Result(invocation.id, error))
        else:
            self.send(Result(invocation.id))

    async def call(self, function: AppFunction, invocation: Invocation) -> None:
        """Call a function, which must return None because it has no output binding."""
        arguments = function.arguments(invocation)
        if function.is_coroutine:
            result = await function.call(**arguments)
        else:
            result = await self.loop.run_in_executor(self.threads, lambda: function.call(**arguments))
        if result is not None:
            raise TypeError(f"function {invocation.function} returned a value without an output binding")

    def send(self, message: Functions | Refused | Result) -> None:
        """Send a message, unless the host has ended."""
        with suppress(OSError):
            self.connection.sendall(frame(message))


def main() -> int:
    """Run until the host ends; return an exit code on failure."""
    root, descriptor = Path(sys.argv[1]), int(sys.argv[2])
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    # Ctrl-C in a terminal reaches this process too, but it is the host that stops.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.set_inheritable(descriptor, False)
    loop = asyncio.new_event_loop()
    worker = Worker(socket.socket(fileno=descriptor), loop)
    worker.listen()
    try:
        worker.functions = load_functions(root)
    except (HostError, SettingsError) as error:
        worker.send(Refused(str(error)))
        return 1
    worker.send(Functions([function.description for function in worker.functions.values()]))
    loop.run_forever()
    return 1


if __name__ == "__main__":
    code = 1
    try:
        code = main()
    except Exception:  # noqa: BLE001  # the app's own, while it was imported
        traceback.print_exc()
    finally:
        logging.shutdown()
        # As if killed: threads of the app that still run must not keep the process alive.
        os._exit(code)
