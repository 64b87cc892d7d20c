"""`python -m local.host`: runs the function app of a folder with the app settings of the environment."""

import argparse
import asyncio
import hashlib
import logging
import os
import signal
import socket
from collections.abc import Coroutine, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from azure.storage.queue import QueueMessage

from local.children import stop_with_parent
from local.host import blobs, queues
from local.host.configuration import MESSAGE_LEASE_SECONDS, HostConfiguration, HostError, read_host_json, seconds
from local.host.connections import Account, find_connection, open_account
from local.host.functions import Function, Worker, load_functions
from local.proxies import exempt_loopback
from shared.settings import SettingsError

log = logging.getLogger("host")


def host_id(environ: Mapping[str, str], root: Path) -> str:
    """Return the name under which receipts are kept: of this machine and folder, unless it is set."""
    configured = environ.get("AzureFunctionsWebHost__hostid")
    digest = hashlib.sha256(f"{socket.gethostname()}{root.resolve()}".encode()).hexdigest()
    return configured or f"local-{digest[:12]}"


class Host:
    """The listeners of one function app."""

    def __init__(self, root: Path, environ: Mapping[str, str], lease_seconds: int, port: int | None) -> None:
        """Load the app; without a port there is no webhook for events.

        Raises:
            HostError, SettingsError: the app or its settings are not in order.
        """
        self.root = root
        self.environ = environ
        self.configuration: HostConfiguration = read_host_json(root / "host.json", environ)
        self.functions = load_functions(root)
        self.lease_seconds = lease_seconds
        self.port = port
        self.worker = Worker(seconds(self.configuration.function_timeout))

    async def run(self) -> None:
        """Listen for ever."""
        async with AsyncExitStack() as stack:
            listeners = await self.listeners(stack)
            stack.callback(self.worker.close)
            log.info("Functions: %s", ", ".join(function.name for function in self.functions))
            async with asyncio.TaskGroup() as group:
                for listener in listeners:
                    group.create_task(listener)

    async def listeners(self, stack: AsyncExitStack) -> list[Coroutine[Any, Any, None]]:
        """Make a listener for each queue trigger, and one for all blob triggers of a connection."""
        queue_options = self.configuration.extensions.queues
        listeners: list[Coroutine[Any, Any, None]] = []
        accounts: dict[str, Account] = {}
        blob_triggers: dict[str, list[blobs.BlobTrigger]] = {}
        for function in self.functions:
            name = str(function.binding.get("connection", ""))
            if name not in accounts:
                accounts[name] = await open_account(find_connection(self.environ, name), stack)
            if function.trigger == "blobTrigger":
                blob_triggers.setdefault(name, []).append(self.blob_trigger(function))
                continue
            queue = function.text("queueName", self.environ).lower()
            handler = self.queue_handler(function)
            poison = queues.poison_queue_for(queue)
            listener = queues.QueueListener(
                accounts[name].queues, queue, queue_options, handler, poison, lease_seconds=self.lease_seconds
            )
            listeners.append(listener.run())
        for name, triggers in blob_triggers.items():
            blob_listener = blobs.BlobListener(
                accounts[name].blobs,
                accounts[name].queues,
                triggers,
                options=self.configuration.extensions.blobs,
                worker=self.worker,
                host_id=host_id(self.environ, self.root),
                lease_seconds=self.lease_seconds,
            )
            listeners.append(blob_listener.run())
            if self.port is not None and any(trigger.by_events for trigger in triggers):
                # A web server is rarely asked for.
                from local.host import event_grid

                listeners.append(event_grid.serve(blob_listener, self.port))
        return listeners

    def blob_trigger(self, function: Function) -> blobs.BlobTrigger:
        """Return a function's blob trigger.

        Raises:
            HostError: nobody could tell it of new blobs.
        """
        by_events = function.binding.get("source") == "EventGrid"
        if by_events and self.port is None:
            raise HostError(
                f"function {function.name} needs Event Grid, but the storage emulator sends no events: "
                "set NER_BLOB_TRIGGER_SOURCE to LogsAndContainerScan, or start this host emulator with --port and "
                "post the events there"
            )
        container, pattern = blobs.parse_path(function.text("path", self.environ))
        return blobs.BlobTrigger(function, container, pattern, by_events)

    def queue_handler(self, function: Function) -> queues.Handler:
        """Return what a queue listener calls for each message."""

        async def handle(text: str, message: QueueMessage) -> None:
            data, metadata = queues.trigger_data(text, message)
            await self.worker.invoke(function, data, metadata, "New queue message detected")

        return handle


async def serve(root: Path, environ: Mapping[str, str], lease_seconds: int, port: int | None) -> None:
    """Run the host until SIGTERM or SIGINT."""
    host = Host(root, environ, lease_seconds, port)
    running = asyncio.create_task(host.run())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    try:
        await running
    except asyncio.CancelledError:
        log.info("Stopped")


def main() -> int:
    """Parse the command line; return the process's exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m local.host", description="Run a function app with the app settings of the environment."
    )
    parser.add_argument(
        "--root", type=Path, default=Path.cwd(), help="folder of the function app (default: the current folder)"
    )
    parser.add_argument("--exit-with-stdin", action="store_true", help="stop when standard input ends")
    parser.add_argument("--port", type=int, help="port on 127.0.0.1 for the Event Grid webhook (default: no webhook)")
    parser.add_argument(
        "--lease-seconds",
        type=int,
        default=MESSAGE_LEASE_SECONDS,
        help="seconds until the message of a killed host becomes visible again (default: 600, as in the host)",
    )
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if arguments.exit_with_stdin:
        stop_with_parent()
    exempt_loopback()
    log.info("This host emulator replaces the Azure Functions host in tests and for offline use.")
    try:
        asyncio.run(serve(arguments.root, os.environ, arguments.lease_seconds, arguments.port))
    except (HostError, SettingsError) as error:
        log.error("%s", error)  # noqa: TRY400  # the message says it all
        return 1
    return 0


if __name__ == "__main__":
    code = main()
    logging.shutdown()
    # As the host ends its worker: the app's open connections have nobody to close them, and need nobody.
    os._exit(code)
