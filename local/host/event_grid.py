"""The webhook to which Event Grid posts the events of new blobs, as in the Storage Blobs extension."""

import hmac
import ipaddress
import logging
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit

import msgspec
import uvicorn
from azure.core.exceptions import AzureError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from local.host.blobs import BlobListener
from local.json_errors import JSON_ERRORS
from local.own_requests import own_requests

log = logging.getLogger("host")

PATH: Final = "/runtime/webhooks/blobs"


class BlobEvent(msgspec.Struct, rename="camel"):
    """What the extension reads of an event's `data`."""

    url: str
    blob_type: str
    e_tag: str | None = None


class Event(msgspec.Struct):
    """An event of a blob."""

    data: BlobEvent


class BlobPath(NamedTuple):
    """A blob's path."""

    container: str
    name: str


def blob_path(url: str) -> BlobPath:
    """Return the path in a blob's URL, which begins with the account if the host is an IP address.

    Raises:
        ValueError: it is not the URL of a blob.
    """
    parts = urlsplit(url)
    path = unquote(parts.path).lstrip("/")
    try:
        ipaddress.ip_address(parts.hostname or "")
    except ValueError:
        pass
    else:
        path = path.partition("/")[2]
    container, _, name = path.partition("/")
    if parts.scheme not in ("http", "https") or not container or not name:
        raise ValueError("an event's URL is not that of a blob")
    return BlobPath(container, name)


class Server(uvicorn.Server):
    """A server that leaves the signals to the host."""

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]  # a generator's, there
        """Capture no signal."""
        return nullcontext()


class Webhook:
    """Accepts events for a blob listener, until stopped. Responds as the Functions host does."""

    def __init__(self, listener: BlobListener, port: int, key: str | None) -> None:
        """Prepare a server; callers pass the key as `?code=`."""
        self.listener = listener
        self.key = key
        app = Starlette(routes=[Route(PATH, self.take, methods=["POST"])], middleware=own_requests())
        config = uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning", access_log=False, lifespan="off")
        self.server = Server(config)

    def stop(self) -> None:
        """Stop accepting events."""
        self.server.should_exit = True

    async def run(self) -> None:
        """Serve."""
        await self.server.serve()

    async def take(self, request: Request) -> Response:
        """`POST`: validation of the subscription, or events.

        Only the form is checked: whether the function in `functionName` exists is checked when its message is
        received. If it does not, the host discards the message; if no function was named, the host ends.
        """
        given = request.query_params.get("code", "")
        if self.key is not None and not hmac.compare_digest(given.encode(), self.key.encode()):
            return Response(status_code=401)
        body = await request.body()
        kind = request.headers.get("aeg-event-type", "").lower()
        try:
            if kind == "subscriptionvalidation":
                code = msgspec.json.decode(body)[0]["data"]["validationCode"]
                return JSONResponse({"validationResponse": code})
            if kind == "notification":
                await self.hand_over(request.query_params.get("functionName"), body)
        except (*JSON_ERRORS, KeyError, IndexError, TypeError, AzureError) as error:
            log.error("Event Grid's request failed: %s: %s", type(error).__name__, error)  # noqa: TRY400
            return Response(status_code=500)
        return Response(status_code=202 if kind in ("notification", "unsubscribe") else 400)

    async def hand_over(self, function_id: str | None, body: bytes) -> None:
        """Enqueue the blobs of an event or a list of events, up to the first that is not about a blob.

        Raises:
            ValueError: an event is not about a blob, or the body contains no events.
        """
        found: Any = msgspec.json.decode(body)
        for one in found if isinstance(found, list) else [found]:
            event = msgspec.convert(one, Event)
            path = blob_path(event.data.url)
            # The path of the trigger does not matter here: the filter of the subscription decides.
            await self.listener.enqueue(function_id, path.container, path.name, event.data.e_tag or "")
