"""Answers of any kind, made up by the thousand or sent byte by byte: nothing but a NerError leaves the client."""

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import httpx
import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared import outcome as outcomes
from shared.merging import Merger, MergeState
from shared.ner import client as client_module
from shared.ner import errors, receiving
from shared.ner.client import JOB_ID as ID_SHAPE
from shared.ner.client import NerClient
from shared.ner.errors import LONGEST_LOGGED, NerError, Remedy
from shared.ner.model import Job
from shared.outcome import Outcome
from shared.settings import Settings
from shared.state.batch import SubmittedJob
from tests.unit.test_ner_client import DOCUMENTS, JOB_ID, VALUES, client
from tests.unit.test_outcome import API, SOURCE

RESPONSES = [path.read_bytes() for path in (Path(__file__).parents[1] / "responses").glob("*.json")]
WORDS = (
    *("status", "state", "jobId", "tasks", "items", "results", "documents", "entities", "warnings", "errors", "error"),
    *("statistics", "id", "kind", "text", "category", "offset", "length", "confidenceScore", "nextLink", "innererror"),
    *("code", "message", "succeeded", "failed", "partiallyCompleted", "running", "customEntityRecognitionTasks"),
)
BOUNDARY_NUMBERS = (0, -1, 2**53 + 1, 2**64, -(2**63), 10**400, 1e308, -0.0, float("nan"), float("inf"))

# Lone surrogates are among the characters: JSON can hold them, UTF-8 cannot.
texts = st.text(st.characters(), max_size=8) | st.sampled_from(WORDS)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(BOUNDARY_NUMBERS) | texts
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=4), max_leaves=12
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return where each value within a value is."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, inner in items for place in places(inner, (*path, key)))]


@st.composite
def changed_responses(draw: st.DrawFn) -> bytes:
    """Return a response of the service in which some values are replaced, missing or new."""
    answer = json.loads(draw(st.sampled_from(RESPONSES)))
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.sampled_from(places(answer)))
        if not place:
            continue
        holder = answer
        for key in place[:-1]:
            holder = holder[key]
        change = draw(st.sampled_from(["replace", "delete", "add"]))
        if change == "delete":
            del holder[place[-1]]
        elif change == "replace" or isinstance(holder, list):
            holder[place[-1]] = draw(values)
        else:
            holder[draw(texts)] = draw(values)
    return json.dumps(answer).encode()


def nested(levels: int) -> bytes:
    """Return a job with a warning, and fields that the app does not know, that are nested so deeply."""
    deep = b'{"a": ' * levels + b"1" + b"}" * levels
    document = b'{"id": "1", "entities": [], "warnings": [' + deep + b'], "new": ' + deep + b"}"
    return (
        b'{"jobId": "1", "status": "succeeded", "tasks": {"items": [{"results": {"documents": [' + document + b"]}}]}}"
    )


bodies = (
    st.binary(max_size=64)
    | values.map(lambda value: json.dumps(value).encode())
    | st.sampled_from([10, 100, 500, 900, 990, 1200, 100_000]).map(nested)
    | st.integers(0, 4000).map(lambda digits: b'{"jobId": "1", "status": "succeeded", "nextLink": "?skip=%d"}' % digits)
    | changed_responses()
)
encodings = st.sampled_from(["", "", "", "gzip", "deflate", "br", "zstd", "gzip, gzip", "odd"])
squeezes = st.sampled_from([bytes, bytes, gzip.compress, zlib.compress, lambda body: gzip.compress(body)[:-5]])
header_values = st.text(max_size=12) | st.sampled_from(
    [
        *["", "-1", "nan", "1e999", "9" * 5000, "Mon, 01 Jan 99999999999999999999 00:00:00 GMT", "Mon, 01 Jan 2026"],
        *["Mon, 01 Jan 2026 00:00:00 +999999999999999", f"/jobs/{JOB_ID}", f"https://e/{JOB_ID}", "https://[", "//"],
        *["https://xn--/", "http://\x00/", "a=b; expires=Mon, 01 Jan 99999999999999 00:00:00 GMT; max-age=1e9"],
    ]
)
names = st.sampled_from(["retry-after", "operation-location", "location", "set-cookie", "content-type", "x-odd"])
statuses = st.sampled_from([200, 200, 200, 202, 204, 301, 400, 404, 429, 503]) | st.integers(100, 999)


@st.composite
def responses(draw: st.DrawFn) -> httpx.Response:
    """Return any response."""
    headers = [(name, value.encode()) for name, value in draw(st.lists(st.tuples(names, header_values), max_size=4))]
    headers.append(("content-encoding", draw(encodings).encode()))
    stream = httpx.ByteStream(draw(squeezes)(draw(bodies)))
    return httpx.Response(draw(statuses), headers=[(name.encode(), value) for name, value in headers], stream=stream)


async def outcome_of(call: Awaitable[Any]) -> Any:
    """Return what a call gives, or its NerError, which must be fit for the log and the outcome."""
    try:
        made = await call
    except NerError as error:
        made = error
    if isinstance(made, NerError):
        assert made.for_log.isprintable()
        assert str(made) == made.for_log
        assert len(made.for_log) <= len(made.code) + 2 + LONGEST_LOGGED
        assert outcomes.explain(made, overdue=True).encode()
    return made


@example(httpx.Response(200, stream=httpx.ByteStream(nested(900))))
@example(httpx.Response(503, headers=[(b"set-cookie", b"a=\xff")], stream=httpx.ByteStream(b"")))
@example(httpx.Response(301, headers=[(b"location", b"https://xn--/")], stream=httpx.ByteStream(b"")))
@given(responses())
def test_nothing_but_a_ner_error_leaves_the_client(response: httpx.Response) -> None:
    """Whatever answers; and what is read from it can be written."""
    ner = client(lambda _request: response)
    body = b"".join(response.stream)  # type: ignore[arg-type]

    async def calls() -> list[Any]:
        made = []
        for call in (ner.submit(DOCUMENTS, "a.txt"), ner.look(JOB_ID), ner.cancel(JOB_ID)):
            response.stream = httpx.ByteStream(body)
            response.is_closed = response.is_stream_consumed = False
            made.append(await outcome_of(call))
        return made

    submitted, job, cancelled = asyncio.run(calls())
    assert isinstance(submitted, NerError) or ID_SHAPE.fullmatch(submitted)
    assert isinstance(cancelled, NerError) or cancelled is True
    if isinstance(job, Job):
        sent = SubmittedJob("id", 1, 1)
        written = outcomes.encode(outcomes.from_job(SOURCE, API, sent, job))
        assert msgspec.json.decode(written, type=Outcome).source == SOURCE
        merger = Merger(MergeState())
        merger.add(sent, job)
        assert msgspec.json.decode(msgspec.json.encode(merger.state), type=MergeState) == merger.state


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """A service of raw bytes."""

    def __init__(self) -> None:
        self.connections = 0
        self.closed = asyncio.Event()


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[tuple[NerClient, Server]]:
    """Serve on this machine; yield a client of it."""
    server = Server()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        try:
            await handler(reader, writer)
        except ConnectionError:
            pass
        finally:
            server.closed.set()
            writer.close()

    listening = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    ner = NerClient(Settings.from_environ(VALUES | {"NER_ENDPOINT": f"http://127.0.0.1:{port}"}))
    try:
        yield ner, server
    finally:
        await ner.aclose()
        listening.close()


async def request(reader: asyncio.StreamReader) -> bytes:
    """Read a request to its end and return its first line."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.splitlines() if line.lower().startswith(b"content-length:")), 0)
    await reader.readexactly(length)
    return head.splitlines()[0]


async def test_a_connection_is_used_again() -> None:
    """Answers are read to their end, be they empty or in chunks; a new connection would make each look slower."""
    running = b'{"jobId": "1", "status": "running"}'

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            if (await request(reader)).startswith(b"POST"):
                writer.write(b"HTTP/1.1 202 Accepted\r\noperation-location: /jobs/1\r\ncontent-length: 0\r\n\r\n")
            else:
                writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
                writer.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(running), running))

    async with serving(answer) as (ner, server):
        for _ in range(3):
            assert await ner.submit(DOCUMENTS, "a.txt") == "1"
            assert not (await ner.look("1")).status.is_final
        assert server.connections == 1


async def test_an_answer_without_end_is_read_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory of a worker has one, too. The connection is given up."""
    monkeypatch.setattr(receiving, "LARGEST_ANSWER", 100_000)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b" " * 10_000)
            await writer.drain()

    async with serving(answer) as (ner, server):
        with pytest.raises(NerError, match="longer than 100,000 bytes") as caught:
            await ner.look("1")
        assert caught.value.remedy is Remedy.WAIT
        await server.closed.wait()


@pytest.mark.parametrize("value", ["[]", "{}", '"ab"', "12345"])
async def test_an_answer_of_more_values_than_any_result_has_is_not_decoded(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In memory, short values take 20 times as much as in JSON."""
    monkeypatch.setattr(errors, "MOST_VALUES", 1000)
    for count, is_read in ((400, True), (1001, False)):
        body = f'{{"jobId": "1", "status": "running", "other": [{",".join([value] * count)}]}}'
        ner = client(Mock(return_value=httpx.Response(200, text=body)))
        if is_read:
            assert (await ner.look("1")).job_id == "1"
            continue
        with pytest.raises(NerError, match="not a job") as caught:
            await ner.look("1")
        assert caught.value.remedy is Remedy.WAIT


@pytest.mark.parametrize("limit", ["size", "values"])
async def test_pages_have_a_limit_in_all(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them may be honest; what a worker keeps of them grows with each."""
    monkeypatch.setattr(receiving, "LARGEST_ANSWER", 10_000 if limit == "size" else 10**6)
    monkeypatch.setattr(receiving, "MOST_VALUES", 1000 if limit == "values" else 10**6)
    filling = {"size": [" " * 1000], "values": [0] * 100}[limit]
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        link = "" if len(asked) == last else f"?skip={len(asked)}"
        tasks: dict[str, Any] = {"items": [{"results": {"documents": []}}]}
        return httpx.Response(
            200, json={"jobId": "1", "status": "succeeded", "tasks": tasks, "other": filling, "nextLink": link}
        )

    last = 8
    assert (await client(answer).look("1")).status.is_final
    asked.clear()
    last = 0
    with pytest.raises(NerError, match="pages of the results") as caught:
        await client(answer).look("1")
    assert len(asked) < 12
    assert caught.value.remedy is Remedy.WAIT


async def test_an_answer_that_drips_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte comes in time, and the last one never: the host would restart the worker."""
    monkeypatch.setattr(client_module, "LONGEST_CALL_SECONDS", 0.05)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n{")
        await reader.read()

    async with serving(answer) as (ner, server):
        with pytest.raises(NerError) as caught:
            await ner.look("1")
        assert (caught.value.code, caught.value.remedy) == ("Timeout", Remedy.WAIT)
        await server.closed.wait()
        assert await ner.cancel("1")


@pytest.mark.parametrize("body", [b"content-length: 9\r\n\r\nx", b"transfer-encoding: chunked\r\n\r\n9\r\nx"])
@pytest.mark.parametrize("is_cut", [True, False])
async def test_a_job_is_accepted_though_the_body_of_the_answer_never_ends(body: bytes, *, is_cut: bool) -> None:
    """Its header has come, so that the text need not be sent, and paid, again."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(b"HTTP/1.1 202 Accepted\r\noperation-location: /jobs/1\r\n" + body)
        if not is_cut:
            await reader.read()

    async with serving(answer) as (ner, _server):
        assert await ner.submit(DOCUMENTS, "a.txt", within_seconds=60 if is_cut else 0.05) == "1"
