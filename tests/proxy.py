"""Proxies before storage and the service that answer some calls themselves, and pass on all others byte for byte.

They stand below the app's HTTP clients, so what a rule says about a call does not depend on how the code is arranged.
What is passed on is what came: its path, its headers and its chunks, since the signature of a request covers them.
"""

import asyncio
import json
import socket
import struct
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property, partial
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

import httpx
import pytest
from azure.core.exceptions import ServiceResponseTimeoutError
from azure.core.pipeline.transport import AioHttpTransport, AsyncHttpTransport

MAX_HEAD_BYTES: Final = 256 * 1024
END_OF_HEAD: Final = b"\r\n\r\n"
RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
"""For SO_LINGER: closing the socket sends a reset."""
SILENCE: Final = "x-silence"
"""A header that stands for no answer at all."""


class Service(StrEnum):
    """What stands behind a proxy."""

    BLOB = "blob"
    QUEUE = "queue"
    NER = "ner"


OPERATIONS: Final = {
    "GET account list": "List Containers",
    "PUT container": "Create Container",
    "DELETE container": "Delete Container",
    "GET container": "Get Container Properties",
    "HEAD container": "Get Container Properties",
    "GET container list": "List Blobs",
    "GET blob": "Get Blob",
    "HEAD blob": "Get Blob Properties",
    "PUT blob": "Put Blob",
    "DELETE blob": "Delete Blob",
    "PUT blob block": "Put Block",
    "PUT blob blocklist": "Put Block List",
    "PUT blob appendblock": "Append Block",
    "GET account": "List Queues",
    "PUT queue": "Create Queue",
    "DELETE queue": "Delete Queue",
    "GET queue": "Get Queue Metadata",
    "POST queue/messages": "Put Message",
    "GET queue/messages": "Get Messages",
    "GET queue/messages true": "Peek Messages",
    "DELETE queue/messages": "Clear Messages",
    "PUT queue/messages/id": "Update Message",
    "DELETE queue/messages/id": "Delete Message",
    "POST job": "Submit Job",
    "GET job": "Get Job",
    "POST job cancel": "Cancel Job",
}
"""Names of the REST APIs, by method, what a call is about, and how the query says what is to be done."""


@dataclass(frozen=True)
class Call:
    """A request as it came.

    Attributes:
        number: of the call among all calls of the same Proxies, from 1.
        service: that it is for.
        method: GET, PUT, ...
        target: path and query as they were sent.
        headers: by their names in lower case.
        body: of a request to the service.
    """

    number: int
    service: Service
    method: str
    target: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)

    @cached_property
    def path(self) -> list[str]:
        """The parts of the path, decoded; of a blob's name, the rest is one part."""
        path = urlsplit(self.target).path
        parts = path.split("/", 3 if self.service is Service.BLOB else -1)
        return [unquote(part) for part in parts[1:]]

    @cached_property
    def query(self) -> Mapping[str, str]:
        """The parameters of the query."""
        found = parse_qs(urlsplit(self.target).query, keep_blank_values=True)
        return {name: values[-1] for name, values in found.items()}

    @property
    def container(self) -> str:
        """The container, or the queue; empty if the call is about none."""
        return self.path[1] if len(self.path) > 1 and self.service is not Service.NER else ""

    @property
    def blob(self) -> str:
        """The blob's name; empty if the call is about none."""
        return self.path[2] if len(self.path) > 2 and self.service is Service.BLOB else ""

    @property
    def condition(self) -> str:
        """The condition that it depends on: If-Match, If-None-Match, appendpos, or nothing."""
        if "x-ms-blob-condition-appendpos" in self.headers:
            return "appendpos"
        return next((name for name in ("If-Match", "If-None-Match") if name.lower() in self.headers), "")

    @property
    def operation(self) -> str:
        """The name of the operation, as the REST API of the service calls it."""
        match self.service:
            case Service.BLOB:
                about = "blob" if self.blob else "container" if self.container else "account"
                what = self.query.get("comp", "")
            case Service.QUEUE:
                about = "/".join(["queue", "messages", "id"][: max(len(self.path) - 1, 0)]) or "account"
                what = self.query.get("peekonly", "")
            case Service.NER:
                about, what = "job", "cancel" if urlsplit(self.target).path.endswith(":cancel") else ""
        name = f"{self.method} {about} {what}".rstrip()
        return OPERATIONS.get(name, name)


@dataclass(frozen=True)
class Answer:
    """What a caller gets in place of the server's own answer.

    Attributes:
        status: of the answer; None resets the connection.
        headers: besides Content-Length.
        body: sent unless the call is a HEAD.
        carried_out: whether the call is passed on first, so that only its answer is lost.
        never: nothing is ever sent, and the connection stays open; or the client learns at once that it has waited in
            vain, if the proxies hurry.
        edit: changes the server's own answer, which then is sent.
        cut: only the first half of the server's own answer is sent, then the connection ends.
        then: called when the call has been carried out, or has been refused, before the caller gets anything. With
            it `never` is a real silence, since it ends the caller.
        reason: what the status line says.
    """

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    carried_out: bool = False
    never: bool = False
    edit: Callable[[bytes], bytes] | None = None
    cut: bool = False
    then: Callable[[], None] | None = None
    reason: str = ""

    @property
    def needs_server(self) -> bool:
        """Whether the server gets the call."""
        return self.carried_out or self.cut or self.edit is not None

    def encode(self, method: str) -> bytes:
        """Return the bytes of the answer."""
        body = b"" if method == "HEAD" or self.status in (204, 304) else self.body
        lines = [f"HTTP/1.1 {self.status} {self.reason}", *(f"{name}: {value}" for name, value in self.headers.items())]
        return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode("latin-1") + body


Rule = Callable[[Call], Answer | None]
"""Says what a caller gets; None passes the call on."""


def pass_on(_call: Call) -> None:
    """Answer nothing."""


class Proxies:
    """Proxies before one server each, with one rule and one count of calls; must run on one event loop.

    Attributes:
        rule: for all calls from now on; it must be quick, since everything waits for it.
        calls: that have come so far, in their order, unless they are not kept.
        count: of these calls.
        statuses: that the servers have answered with, by the numbers of the calls that were passed on and are kept.
        ports: where the proxies listen.
        connections: of their callers.
    """

    def __init__(
        self, targets: Mapping[Service, int], rule: Rule = pass_on, *, hurry: bool = False, keep: bool = True
    ) -> None:
        """Stand before these ports of this machine.

        Args:
            targets: the ports of the servers.
            rule: for all calls.
            hurry: for clients in `no_pauses`, which need not wait for what never comes.
            keep: whether to keep the calls, of which a long run has many.
        """
        self.targets = targets
        self.rule = rule
        self.hurry = hurry
        self.keep = keep
        self.count = 0
        self.calls: list[Call] = []
        self.statuses: dict[int, int] = {}
        self.ports: dict[Service, int] = {}
        self._servers: list[asyncio.Server] = []
        self.connections: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen."""
        for service in self.targets:
            server = await asyncio.start_server(partial(self._accept, service), "127.0.0.1", 0, limit=MAX_HEAD_BYTES)
            self._servers.append(server)
            self.ports[service] = server.sockets[0].getsockname()[1]

    async def aclose(self) -> None:
        """Stop, and cut all connections."""
        for server in self._servers:
            server.close()
        for task in self.connections:
            task.cancel()
        await asyncio.gather(*self.connections, return_exceptions=True)

    def _accept(self, service: Service, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Begin to serve a connection, in a task that can be stopped."""
        task = asyncio.get_running_loop().create_task(self._serve(service, reader, writer))
        self.connections.add(task)
        task.add_done_callback(self.connections.discard)

    async def _serve(self, service: Service, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the calls of one connection, over one connection to the server."""
        upstream = Upstream(self.targets[service])
        try:
            while head := await read_head(reader):
                body = await read_body(head, reader)
                request = head + body
                call = self._call(service, head, body)
                answer = self.rule(call)
                response = b""
                if answer is None or answer.needs_server:
                    response = await upstream.send(call.method, request)
                    if self.keep:
                        self.statuses[call.number] = status_of(response)
                if answer is not None and answer.never and answer.then is None and self.hurry:
                    response = Answer(599, {SILENCE: "1"}).encode(call.method)
                elif answer is not None:
                    response = await answer_in_place(answer, call, response, reader)
                    if not response:
                        reset(writer)
                        break
                writer.write(response)
                await writer.drain()
                if upstream.was_cut or (answer is not None and answer.cut):
                    break
        except (OSError, EOFError):
            reset(writer)  # one of both sides is gone, and the other one learns it now
        finally:
            upstream.close()
            writer.close()

    def _call(self, service: Service, head: bytes, body: bytes) -> Call:
        """Return the next call."""
        method, target, _ = head[: head.index(b"\r\n")].decode("latin-1").split(" ")
        self.count += 1
        call = Call(self.count, service, method, target, headers_of(head), body if service is Service.NER else b"")
        if self.keep:
            self.calls.append(call)
        return call


class Upstream:
    """A connection to the server, which is opened again where the server has closed it meanwhile.

    Attributes:
        was_cut: whether the last response ended before its time; what came of it was returned.
    """

    def __init__(self, port: int) -> None:
        """Connect to this port once it is needed."""
        self.port = port
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.was_cut = False

    async def send(self, method: str, request: bytes) -> bytes:
        """Send a request and return the response, both as they are.

        Raises:
            OSError, EOFError: the server could not be reached, or closed the connection without a response.
        """
        if self.streams is None or self.streams[0].at_eof():
            self.close()
            self.streams = await asyncio.open_connection("127.0.0.1", self.port, limit=MAX_HEAD_BYTES)
        reader, writer = self.streams
        writer.write(request)
        await writer.drain()
        head = await reader.readuntil(END_OF_HEAD)
        if method == "HEAD" or status_of(head) in (204, 304):
            return head
        try:
            return head + await read_body(head, reader)
        except asyncio.IncompleteReadError as error:
            self.was_cut = True
            return head + error.partial

    def close(self) -> None:
        """Close the connection."""
        if self.streams is not None:
            self.streams[1].close()
            self.streams = None


async def answer_in_place(answer: Answer, call: Call, response: bytes, reader: asyncio.StreamReader) -> bytes:
    """Return what is sent in place of the server's response; nothing cuts the connection."""
    if answer.then is not None:
        answer.then()
    if answer.never:
        await reader.read()  # ends with the connection
    if answer.edit is not None:
        return answer.edit(response)
    if answer.cut:
        head = response.index(END_OF_HEAD) + len(END_OF_HEAD)
        return response[: (head + len(response) if len(response) > head else head) // 2]
    return b"" if answer.never or answer.status is None else answer.encode(call.method)


def reset(writer: asyncio.StreamWriter) -> None:
    """Cut a connection, so that the other side gets a reset."""
    if not writer.is_closing():
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        writer.transport.abort()


async def read_head(reader: asyncio.StreamReader) -> bytes:
    """Return a request line or a status line with its headers; nothing if the connection ends before."""
    try:
        return await reader.readuntil(END_OF_HEAD)
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return b""


def status_of(response: bytes) -> int:
    """Return the status of a response."""
    return int(response[:12].split(b" ")[1])


def headers_of(head: bytes) -> dict[str, str]:
    """Return the headers, by their names in lower case."""
    lines = head[: -len(END_OF_HEAD)].decode("latin-1").split("\r\n")[1:]
    return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


async def read_body(head: bytes, reader: asyncio.StreamReader) -> bytes:
    """Return the body that follows a head, as it came; both servers say how long theirs are."""
    headers = headers_of(head)
    if "chunked" in headers.get("transfer-encoding", "").lower():
        return await read_chunks(reader)
    return await reader.readexactly(int(headers.get("content-length", 0)))


async def read_chunks(reader: asyncio.StreamReader) -> bytes:
    """Return a body in chunks, with their sizes."""
    found = []
    size = -1
    while size:
        line = await reader.readuntil(b"\r\n")
        size = int(line.partition(b";")[0], 16)
        found += [line, await reader.readexactly(size) if size else b"", await reader.readuntil(b"\r\n")]
    while found[-1] != b"\r\n":  # trailers
        found.append(await reader.readuntil(b"\r\n"))
    return b"".join(found)


@asynccontextmanager
async def proxies(
    targets: Mapping[Service, int], rule: Rule = pass_on, *, hurry: bool = False, keep: bool = True
) -> AsyncIterator[Proxies]:
    """Run proxies on this event loop until the block ends; what calls them must not hold the loop."""
    running = Proxies(targets, rule, hurry=hurry, keep=keep)
    await running.start()
    try:
        yield running
    finally:
        await running.aclose()


@contextmanager
def proxies_in_thread(targets: Mapping[Service, int], rule: Rule = pass_on) -> Iterator[Proxies]:
    """Run proxies in a thread until the block ends, for callers that hold their own thread; no call is kept."""
    started: Future[Proxies] = Future()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def run() -> None:
        async with proxies(targets, rule, keep=False) as running:
            started.set_result(running)
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()), name="proxies")
    thread.start()
    try:
        yield started.result(timeout=60)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


def through(connection_string: str, ports: Mapping[Service, int]) -> str:
    """Return the storage emulator's connection string with these ports in place of its own."""
    parts = dict(part.split("=", 1) for part in connection_string.split(";") if part)
    for service in (Service.BLOB, Service.QUEUE):
        name = f"{service.title()}Endpoint"
        account = urlsplit(parts[name]).path
        parts[name] = f"http://127.0.0.1:{ports[service]}{account}"
    return "".join(f"{name}={value};" for name, value in parts.items())


def ports_of(connection_string: str, ner_emulator: str | None = None) -> dict[Service, int]:
    """Return where the storage emulator, and the service's if it is given, listen."""
    parts = dict(part.split("=", 1) for part in connection_string.split(";") if part)
    addresses = {service: parts[f"{service.title()}Endpoint"] for service in (Service.BLOB, Service.QUEUE)}
    if ner_emulator is not None:
        addresses[Service.NER] = ner_emulator
    return {service: urlsplit(address).port or 80 for service, address in addresses.items()}


passing: ContextVar[Callable[[float], None] | None] = ContextVar("passing", default=None)
"""What lets time pass on the tests' clock, for the pauses that are not made."""


async def wait(seconds: float) -> None:
    """Let time pass on the tests' clock, second by second, so that deadlines on the same clock come in between."""
    while seconds > 0:
        if tick := passing.get():
            tick(min(seconds, 1.0))
        seconds -= 1.0
        await asyncio.sleep(0)


@contextmanager
def no_pauses() -> Iterator[None]:
    """Let the HTTP clients of this process wait on the tests' clock alone.

    The storage SDK repeats failed calls at once, and a call that proxies with `hurry` never answer has timed out.
    """
    send, handle = AioHttpTransport.send, httpx.AsyncHTTPTransport.handle_async_request

    async def sleep(_transport: AsyncHttpTransport[Any, Any], seconds: float) -> None:
        await wait(seconds)

    async def send_storage(transport: AioHttpTransport, request: Any, **config: Any) -> Any:
        response = await send(transport, request, **config)
        if SILENCE in response.headers:
            await wait(config.get("read_timeout", transport.connection_config.read_timeout))
            raise ServiceResponseTimeoutError("no response")
        return response

    async def send_ner(transport: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        response = await handle(transport, request)
        if SILENCE in response.headers:
            await response.aclose()
            await wait(request.extensions["timeout"]["read"])
            raise httpx.ReadTimeout("no response", request=request)
        return response

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AsyncHttpTransport, "sleep", sleep)
        patch.setattr(AioHttpTransport, "send", send_storage)
        patch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", send_ner)
        yield


def documents_in(call: Call) -> int:
    """Return how many documents a submission has."""
    return len(json.loads(call.body)["analysisInput"]["documents"])
