"""The page's HTTP service, on this machine alone: shows an account and takes files for it, and changes nothing else."""

import asyncio
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from azure.core.exceptions import AzureError, ResourceNotFoundError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.templating import Jinja2Templates

from local.account import Account
from local.install import VIEW_NODE_MODULES
from local.listing import State, list_file
from local.own_requests import own_requests
from local.results import ResultError, read_result
from local.show_state import entities_text
from local.times import age_text, utc_now
from local.view.access import TokenGuard
from local.view.board import LARGEST_OUTCOME, Board, storage_problem
from local.view.headers import SafeHeaders
from local.view.reading import KEPT, MAX_PROBLEMS, Reading, classes, described, short
from shared.documents import DocumentError, check_length
from shared.names import RefusedNameError, check_name, result_name

FOLDER: Final = Path(__file__).parent
LIBRARIES: Final = {
    "htmx.js": VIEW_NODE_MODULES / "htmx.org" / "dist" / "htmx.min.js",
    "idiomorph.js": VIEW_NODE_MODULES / "idiomorph" / "dist" / "idiomorph-ext.min.js",
    "chart.js": VIEW_NODE_MODULES / "chart.js" / "dist" / "chart.umd.min.js",
}
COLOURS: Final = 12
ROWS: Final = 200
MAX_ROWS: Final = 2_000
MAX_CATEGORIES: Final = 200
"""In a list of categories."""
UPLOADS_AT_ONCE: Final = 16
UPLOAD_SECONDS: Final = 300.0
"""For receiving a file."""
IN_MEMORY: Final = 1024 * 1024
ENDS_CONNECTION: Final = {"connection": "close"}


@dataclass(frozen=True)
class Shortened:
    """What the list shows, as its address says."""

    query: str
    state: str
    most: int

    @classmethod
    def of(cls, request: Request) -> "Shortened":
        """Read an address; what makes no sense is as if it were not there."""
        asked = request.query_params
        most = asked.get("most", "")
        state = asked.get("state", "")
        known = state if state in {one.value for one in State} else ""
        return cls(asked.get("q", ""), known, min(int(most), MAX_ROWS) if most.isdecimal() and len(most) < 7 else ROWS)


class View:
    """The page; `app` is its ASGI application."""

    def __init__(self, account: Account, *, token: str | None = None, hosts: Sequence[str] = ()) -> None:
        """Show an account.

        Args:
            account: to show, and to drop files on.
            token: without which nobody sees anything; None asks for none.
            hosts: names of this page besides those of this machine.
        """
        self.account = account
        self.board = Board(account)
        # By the outcome's etag too, as it was last seen: what has changed since is read anew.
        self.open_reading = lru_cache(KEPT)(lambda name, _etag: read(account, name))
        self.uploads = asyncio.Semaphore(UPLOADS_AT_ONCE)
        self.templates = Jinja2Templates(FOLDER / "templates")
        self.templates.env.trim_blocks = self.templates.env.lstrip_blocks = True
        self.templates.env.globals.update(
            account=account,
            State=State,
            address=address,
            age_text=age_text,
            entities_text=entities_text,
            classes=classes,
            described=described,
            max_categories=MAX_CATEGORIES,
            max_problems=MAX_PROBLEMS,
        )
        self.templates.env.filters["short"] = short
        self.templates.env.filters["colour"] = lambda category, colours: colours.get(category, 0)
        self.templates.env.globals["largest"] = account.settings.max_blob_bytes
        service = Starlette(
            routes=[
                Route("/", self.index),
                Route("/files", self.files),
                Route("/file", self.file),
                Route("/file/part", self.part),
                Route("/file/outcome", self.outcome),
                Route("/file/text", self.text),
                Route("/drop", self.drop, methods=["PUT"]),
                *(Route(f"/libraries/{name}", library(path)) for name, path in LIBRARIES.items()),
                Mount("/static", StaticFiles(directory=FOLDER / "static")),
            ],
            middleware=[
                *own_requests(hosts),
                *([Middleware(TokenGuard, token=token)] if token else []),
            ],
            exception_handlers={AzureError: storage_error, ResultError: no_result, RefusedNameError: refused_name},
        )
        # Around all of it: the response to an unexpected error is made outside of all middleware.
        self.app = SafeHeaders(service)

    async def answer(self, request: Request, template: str, context: Mapping[str, Any]) -> Response:
        """Return a page, or a piece of one, without holding up other requests."""
        return await run_in_threadpool(self.templates.TemplateResponse, request, template, dict(context))

    async def index(self, request: Request) -> Response:
        """`/`: the whole page."""
        return await self.answer(request, "index.html", await self.list_context(request))

    async def files(self, request: Request) -> Response:
        """`/files`: the part of it that changes."""
        return await self.answer(request, "update.html", {**await self.list_context(request), "is_update": True})

    async def list_context(self, request: Request) -> dict[str, Any]:
        """Return what the list shows."""
        shortened = Shortened.of(request)
        snapshot = await run_in_threadpool(self.board.look)
        rows, count = snapshot.rows(shortened.query, shortened.state, shortened.most)
        return {
            "shortened": shortened,
            "snapshot": snapshot,
            "rows": rows,
            "count": count,
            "now": utc_now(),
            "more": address("./", q=shortened.query, state=shortened.state, most=shortened.most + ROWS)
            if shortened.most < MAX_ROWS
            else "",
            "colours": self.colours(),
        }

    async def file(self, request: Request) -> Response:
        """`/file?name=`: a file, with its text and its entities if it has ended."""
        name = request.query_params.get("name", "")
        found = await run_in_threadpool(list_file, self.account, name) if name else None
        if found is None:
            raise ResultError("There is no file with this name, and no outcome either.")
        context: dict[str, Any] = {"file": found, "now": utc_now(), "reading": None}
        if found.state.has_ended and found.outcome is not None and found.outcome.size <= LARGEST_OUTCOME:
            context |= await self.reading_context(found.name, found.outcome.etag, 0)
        outcome = context["reading"].result.outcome if context["reading"] else None
        context["row"] = await run_in_threadpool(self.board.row_of, found, outcome)
        return await self.answer(request, "file.html", context)

    async def part(self, request: Request) -> Response:
        """`/file/part?name=&etag=&part=`: a further part of its text."""
        asked = request.query_params
        number = asked.get("part", "")
        part = int(number) if number.isdecimal() and len(number) < 9 else 0
        etag = asked.get("etag", "")
        context = await self.reading_context(asked.get("name", ""), etag, part)
        if context["reading"].result.etag != etag:
            return await self.answer(request, "changed.html", {})
        return await self.answer(request, "part.html", context)

    async def reading_context(self, name: str, etag: str, part: int) -> dict[str, Any]:
        """Return what a part of a result shows."""
        reading = await run_in_threadpool(self.open_reading, name, etag)
        painted = await run_in_threadpool(reading.painted, part)
        following = address("file/part", name=name, etag=reading.result.etag, part=part + 1)
        return {
            "reading": reading,
            "painted": painted,
            "following": following if part + 1 < len(reading.parts) else "",
            "colours": self.colours(*reading.categories),
        }

    def colours(self, *categories: str) -> dict[str, int]:
        """Return the number of each category's colour: the same in the list and in every file."""
        names = sorted({*self.board.snapshot.categories, *categories})
        return {name: number % COLOURS for number, name in enumerate(names)}

    async def outcome(self, request: Request) -> Response:
        """`/file/outcome?name=`: the outcome as it is, to be kept."""
        name = check_name(request.query_params.get("name", ""))
        container = self.account.settings.results_container
        missing = f"There is no outcome of {name!r}."
        return await self.download(container, result_name(name), name, ".json", missing)

    async def text(self, request: Request) -> Response:
        """`/file/text?name=`: the file as it was dropped, to be kept."""
        name = request.query_params.get("name", "")
        missing = "The file is no longer in the input container."
        container = self.account.settings.input_container
        return await self.download(container, name, name, "", missing)

    async def download(self, container: str, blob: str, name: str, ending: str, missing: str) -> Response:
        """Return a blob to be kept, piece by piece; no browser displays it, whatever it contains."""
        client = self.account.blob(container, blob)
        try:
            found = await run_in_threadpool(client.download_blob)
        except ResourceNotFoundError:
            return PlainTextResponse(missing, 404)
        last = quote(name.rpartition("/")[2] + ending, safe="")
        media_type = "application/json" if ending else "application/octet-stream"
        headers = {"content-disposition": f"attachment; filename*=UTF-8''{last}"}
        return StreamingResponse(found.chunks(), media_type=media_type, headers=headers)

    async def drop(self, request: Request) -> Response:
        """`PUT /drop?name=`: take a file. A page elsewhere must ask before it sends this, and nobody answers."""
        name = check_name(request.query_params.get("name", "").lstrip("/"))
        if self.uploads.locked():
            return PlainTextResponse("Too many files arrive at the same time: try again.", 503, ENDS_CONNECTION)
        async with self.uploads:
            with tempfile.SpooledTemporaryFile(IN_MEMORY) as received:
                try:
                    async with asyncio.timeout(UPLOAD_SECONDS):
                        await self.receive(request, received)
                except DocumentError as error:
                    return PlainTextResponse(error.message, 413)
                except (TimeoutError, ClientDisconnect):
                    # Else the server waits for the rest as long as the client likes.
                    return PlainTextResponse("The file did not arrive in time.", 408, ENDS_CONNECTION)
                received.seek(0)
                await run_in_threadpool(self.upload, name, received)
        return Response(status_code=201)

    async def receive(self, request: Request, received: Any) -> None:
        """Write the body to a file. Raises DocumentError as soon as it is too large."""
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
            check_length(size, self.account.settings.max_blob_bytes)
            received.write(chunk)

    def upload(self, name: str, data: Any) -> None:
        """Put a file into the input container, in place of an older version."""
        blob = self.account.blob(self.account.settings.input_container, name)
        blob.upload_blob(data, overwrite=True)
        self.board.expire()


def read(account: Account, name: str) -> Reading:
    """Return a result to be shown. Raises ResultError if there is none, or it is too large."""
    properties = account.properties(account.settings.results_container, result_name(name))
    if properties is not None and properties.size > LARGEST_OUTCOME:
        raise ResultError("The outcome is too large to show here.")
    return Reading(read_result(account, name))


def library(path: Path) -> Any:
    """Return what serves a library's file."""

    async def serve(_request: Request) -> Response:
        return FileResponse(path, media_type="text/javascript")

    return serve


def address(path: str, **query: Any) -> str:
    """Return a URL relative to that of the page, whose own path may begin with a token."""
    return f"{path}?{urlencode({name: value for name, value in query.items() if value != ''}, quote_via=quote)}"


async def storage_error(_request: Request, error: Exception) -> Response:
    """Say in a sentence what the account answered."""
    return PlainTextResponse(storage_problem(error) if isinstance(error, AzureError) else str(error), 502)


async def refused_name(_request: Request, error: Exception) -> Response:
    """Say why no file has this name."""
    return PlainTextResponse(f"No file can have this name: {error}.", 400)


async def no_result(_request: Request, error: Exception) -> Response:
    """Say that there is nothing to show."""
    return PlainTextResponse(str(error), 404)
