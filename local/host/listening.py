"""The host process of a function app: a listener for each trigger, and the worker process behind them."""

import asyncio
import hashlib
import logging
import socket
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from azure.storage.queue import QueueMessage

from local.host import blobs, queues, timers, trigger_data
from local.host.configuration import HostConfiguration, HostError
from local.host.connections import Account, find_connection, open_account
from local.host.functions import Function, Invoker
from local.host.worker_process import WorkerEndedError, WorkerProcess, start_worker
from local.host.workers import Times, Workers

log = logging.getLogger("host")

DEFERRED: Final = "supportsdeferredbinding"
"""The property of a blob trigger, letter case aside, that asks for a reference."""


class Options(NamedTuple):
    """The command-line options."""

    root: Path
    port: int | None
    webhook_key: str | None
    lease_seconds: int
    stop_seconds: float
    restart_seconds: float
    is_lossless: bool


class Listener(Protocol):
    """Something that triggers functions."""

    async def run(self) -> None:
        """Listen until stopped, and return once all running invocations have ended."""

    def stop(self) -> None:
        """Start nothing more."""


def host_id(environ: Mapping[str, str], root: Path) -> str:
    """Return the name under which receipts are stored: by machine and folder, unless it is set."""
    configured = environ.get("AzureFunctionsWebHost__hostid")
    digest = hashlib.sha256(f"{socket.gethostname()}{root.resolve()}".encode()).hexdigest()
    return configured or f"local-{digest[:12]}"


class Host:
    """The listeners of one function app."""

    def __init__(self, options: Options, environ: Mapping[str, str], configuration: HostConfiguration) -> None:
        """Prepare a host; `run` starts it."""
        self.options = options
        self.environ = environ
        self.configuration = configuration
        self.listeners: list[Listener] = []
        self.is_stopping = False
        self.is_failing = False

    async def run(self, first: WorkerProcess) -> None:
        """Listen until stopped.

        Raises:
            ExceptionGroup: contains the HostError that ended the host.
            HostError: the app or its settings are invalid.
        """
        try:
            functions = [Function(description) for description in await first.connect()]
        except WorkerEndedError as error:
            raise HostError(f"The worker process {error}: see above why it did not import the app") from None
        times = Times(self.configuration.timeout_seconds, restart=self.options.restart_seconds)
        workers = Workers(lambda: start_worker(self.options.root), first, times)
        async with AsyncExitStack() as stack:
            stack.callback(workers.close)
            await self.open(functions, workers, stack)
            log.info("Functions: %s", ", ".join(function.name for function in functions))
            async with asyncio.TaskGroup() as group:
                listening = [group.create_task(listener.run()) for listener in self.listeners]
                replacing = group.create_task(self.replace(workers, listening))
                if listening:
                    await asyncio.wait(listening)
                if not self.is_failing:
                    replacing.cancel()

    async def replace(self, workers: Workers, listening: "list[asyncio.Task[None]]") -> None:
        """Replace worker processes; if too many have died, let the listeners release what failed with the last one.

        Raises:
            HostError: too many worker processes have died.
        """
        try:
            await workers.run()
        except HostError:
            self.is_failing = True
            for listener in self.listeners:
                listener.stop()
            await asyncio.wait(listening, timeout=self.options.stop_seconds)
            raise

    def stop(self, running: "asyncio.Task[None]") -> None:
        """Stop the listeners, then the host once invocations have ended or timed out; immediately if called again."""
        if self.is_stopping or not self.listeners:
            running.cancel()
        self.is_stopping = True
        for listener in self.listeners:
            listener.stop()
        asyncio.get_running_loop().call_later(self.options.stop_seconds, running.cancel)

    def wake(self, queue: str) -> None:
        """Let the listener of a queue receive now: this process has just sent it a message."""
        for listener in self.listeners:
            if isinstance(listener, queues.QueueListener) and listener.client.queue_name == queue:
                listener.notify()

    async def open(self, functions: list[Function], workers: Invoker, stack: AsyncExitStack) -> None:
        """Add a listener for each queue or timer trigger, and one for all blob triggers of a connection."""
        accounts: dict[str, Account] = {}
        blob_triggers: dict[str, list[blobs.BlobTrigger]] = {}
        for function in functions:
            name = str(function.binding.get("connection", ""))
            if name not in accounts:
                accounts[name] = await open_account(find_connection(self.environ, name), stack)
            if function.trigger == "timerTrigger":
                schedule = function.text("schedule", self.environ)
                id_ = host_id(self.environ, self.options.root)
                self.listeners.append(timers.TimerListener(function, workers, accounts[name].blobs, id_, schedule))
                continue
            if function.trigger == "blobTrigger":
                blob_triggers.setdefault(name, []).append(self.blob_trigger(function))
                continue
            queue = function.text("queueName", self.environ).lower()
            queue_listener = queues.QueueListener(
                accounts[name].queues,
                queue,
                self.configuration.extensions.queues,
                queue_handler(function, workers),
                queues.poison_queue_for(queue),
                lease_seconds=self.options.lease_seconds,
                wake=self.wake,
            )
            self.listeners.append(queue_listener)
        for name, triggers in blob_triggers.items():
            blob_listener = blobs.BlobListener(
                accounts[name].blobs,
                accounts[name].queues,
                triggers,
                options=self.configuration.extensions.blobs,
                workers=workers,
                host_id=host_id(self.environ, self.options.root),
                lease_seconds=self.options.lease_seconds,
                is_lossless=self.options.is_lossless,
                wake=self.wake,
            )
            self.listeners.append(blob_listener)
            if self.options.port is not None:
                # A web server is rarely needed.
                from local.host.event_grid import Webhook

                self.listeners.append(Webhook(blob_listener, self.options.port, self.options.webhook_key))

    def blob_trigger(self, function: Function) -> blobs.BlobTrigger:
        """Return a function's blob trigger.

        Raises:
            HostError: it needs events, but has no webhook.
        """
        by_events = function.binding.get("source") == "EventGrid"
        if by_events and self.options.port is None:
            raise HostError(
                f"function {function.name} needs Event Grid, but the storage emulator sends no events: "
                "set NER_BLOB_TRIGGER_SOURCE to LogsAndContainerScan or EventGridQueue, or start this host emulator "
                "with --port and post the events there"
            )
        container, pattern = blobs.parse_path(function.text("path", self.environ))
        properties = function.binding.get("properties") or {}
        is_by_reference = any(
            name.lower() == DEFERRED and str(value).lower() == "true" for name, value in properties.items()
        )
        connection = str(function.binding.get("connection", ""))
        return blobs.BlobTrigger(function, container, pattern, by_events, is_by_reference, connection)


def queue_handler(function: Function, workers: Invoker) -> queues.Handler:
    """Return the function that a queue listener calls for each message."""

    async def handle(body: bytes, message: QueueMessage) -> None:
        reason = "New queue message detected"
        try:
            text = body.decode()
        except UnicodeDecodeError as error:
            raise workers.reject(function, reason, f"Message {message.id} is not UTF-8") from error
        data, metadata = trigger_data.of_message(text, message)
        await workers.invoke(function, data, metadata, reason)

    return handle
