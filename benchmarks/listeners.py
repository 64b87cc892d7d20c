"""A host with Microsoft's own storage listeners, from a program that is not part of this project.

`python -m benchmarks.listeners` runs that program, a worker process of a checkout, and between them this bridge. Like
the Functions host, it passes each trigger to the worker, and its processor time counts as the host's.

The program, `listeners HOST.JSON`, consists of the published packages (WebJobs.Extensions.Storage.Blobs and .Queues).
It reads the app settings and the following variables, prints LISTENING, and ends when its standard input is closed:

- `RIG_FORWARD`: the URL to which it posts each trigger, as a JSON object that `Trigger` describes. Status 200 ends the
  invocation; any other fails it.
- `RIG_SOURCE`: `EventGrid`, with the port of the webhook in `RIG_WEBHOOK_PORT`.
- `RIG_BY_REFERENCE`: 1 if the blob trigger passes on a reference instead of bytes.

The program has no timers, so the app does not sweep.
"""

import argparse
import asyncio
import base64
import json
import logging
import os
import re
import signal
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Final

import msgspec

from benchmarks.running import LOGS
from local.children import Child, stop_with_parent
from local.host.configuration import LOG_FORMAT, override
from local.host.listening import DEFERRED
from local.host.protocol import FunctionDescription, Invocation, TypedData
from local.host.trigger_data import compact, properties_of
from local.host.worker_process import WorkerProcess, start_worker
from local.proxies import exempt_loopback

log = logging.getLogger("host")

TRIGGERS: Final = {"submit": "blobTrigger", "poll": "queueTrigger"}
"""The functions of the program, and the trigger of the app's function that each calls. Its two other
functions, which listen to the poison queues, have no counterpart."""
STRINGS: Final = frozenset({"name", "BlobTrigger", "QueueTrigger", "Id", "PopReceipt"})
"""Metadata that the host sends as strings; it sends the rest as JSON."""
LENGTH: Final = re.compile(rb"^content-length: *(\d+)", re.MULTILINE | re.IGNORECASE)


class Trigger(msgspec.Struct):
    """A trigger, as the program posts it."""

    function: str
    metadata: dict[str, Any]
    data: str | None = None
    """The bytes of the blob, in base64."""
    text: str | None = None
    """The text of the message."""


def typed(trigger: Trigger) -> tuple[TypedData, dict[str, TypedData]]:
    """Return the data and the metadata of a trigger as the host sends them to the worker."""
    metadata = {
        name: TypedData("string", value) if name in STRINGS else TypedData("json", compact(value))
        for name, value in trigger.metadata.items()
    }
    if trigger.text is not None:
        return TypedData("string", trigger.text), metadata | properties_of(trigger.text)
    if trigger.data is not None:
        return TypedData("bytes", content=base64.b64decode(trigger.data)), metadata
    container, _, name = metadata["BlobTrigger"].text.partition("/")
    reference = {"Connection": "NER_STORAGE", "ContainerName": container, "BlobName": name}
    return TypedData("model_binding_data", compact(reference)), metadata


def is_by_reference(functions: Iterable[FunctionDescription]) -> bool:
    """Return whether the blob trigger of an app asks for a reference."""
    properties = (function.binding.get("properties") or {} for function in functions)
    return any(name.lower() == DEFERRED for some in properties for name in some)


def host_json(path: Path, environ: Mapping[str, str]) -> str:
    """Return host.json with the overrides from the app settings applied: the program does not read those."""
    document: dict[str, Any] = json.loads(path.read_bytes())
    override(document, environ)
    return json.dumps(document)


class Bridge:
    """Passes the triggers of the program to a worker process."""

    def __init__(self, worker: WorkerProcess, functions: Iterable[FunctionDescription]) -> None:
        self.worker = worker
        by_trigger = {str(function.binding["type"]): function.name for function in functions}
        self.names = {name: by_trigger[trigger] for name, trigger in TRIGGERS.items()}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Respond to the requests of a connection until it is closed. It supports only requests of the program."""
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = LENGTH.search(head)
                error = (await self.run(await reader.readexactly(int(length[1]) if length else 0))).encode()
                status = b"500 Failed" if error else b"200 OK"
                writer.write(b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status, len(error), error))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            # The program or this process ends.
            writer.close()

    async def run(self, body: bytes) -> str:
        """Run a function; return its error, or an empty text if it succeeded."""
        trigger = msgspec.json.decode(body, type=Trigger)
        name = self.names.get(trigger.function)
        if name is None:
            error = "there is no such function"
        else:
            error = (await self.worker.invoke(Invocation(str(uuid.uuid4()), name, *typed(trigger)))).error
        if error:
            log.error("%s failed: %s", trigger.function, error)
        return error


async def run(arguments: argparse.Namespace) -> None:
    """Run the app until SIGTERM."""
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    # The worker imports the host emulator and the app from the current folder.
    os.chdir(arguments.checkout)
    worker = start_worker(arguments.root)
    try:
        functions = await worker.connect()
        results = loop.create_task(worker.receive_results())
        server = await asyncio.start_server(Bridge(worker, functions).serve, "127.0.0.1", 0)
        environ = os.environ | {
            "AZURE_FUNCTIONS_ENVIRONMENT": "Development",
            "DOTNET_ENVIRONMENT": "Development",
            "RIG_FORWARD": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/",
            "RIG_SOURCE": "EventGrid",
            "RIG_WEBHOOK_PORT": str(arguments.port),
            "RIG_BY_REFERENCE": "1" if is_by_reference(functions) else "",
        }
        with NamedTemporaryFile("w", suffix=".json") as settings:
            settings.write(host_json(arguments.root / "host.json", os.environ))
            settings.flush()
            output = LOGS / "listeners.log"
            with Child("The listeners", [str(arguments.program), settings.name], output, environ=environ) as child:
                await asyncio.to_thread(child.wait_until, lambda: b"LISTENING" in output.read_bytes())
                log.info("Functions: %s", ", ".join(TRIGGERS))
                # A worker that ends by itself ends the measurement.
                ending = {results, loop.create_task(stopped.wait())}
                await asyncio.wait(ending, return_when=asyncio.FIRST_COMPLETED)
                # The program has nothing to finish.
                child.kill()
    finally:
        worker.close()


def main() -> None:
    """Parse the command line, and run."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.listeners",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--program", type=Path, required=True, help="path of the program")
    parser.add_argument("--root", type=Path, required=True, help="folder of the function app")
    parser.add_argument("--checkout", type=Path, required=True, help="folder of the host emulator's worker process")
    parser.add_argument("--port", type=int, required=True, help="port on 127.0.0.1 for the Event Grid webhook")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    stop_with_parent()
    exempt_loopback()
    asyncio.run(run(arguments))


if __name__ == "__main__":
    main()
