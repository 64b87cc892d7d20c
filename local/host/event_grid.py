"""The webhook to which Event Grid posts the events of new blobs, as the Storage Blobs extension has it."""

import ipaddress
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

from local.host.blobs import BlobListener, BlobTrigger

PATH: Final = "/runtime/webhooks/blobs"


class BlobEvent(msgspec.Struct, rename="camel"):
    """What the extension reads of an event's `data`."""

    url: str
    e_tag: str = ""


class Event(msgspec.Struct):
    """An event of new blobs."""

    data: BlobEvent


class BlobPath(NamedTuple):
    """Where a blob is."""

    container: str
    name: str


def blob_path(url: str) -> BlobPath:
    """Split a blob's address; the account is the first part of the path where the host is an IP address.

    Raises:
        ValueError: it is not the address of a blob.
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
    if not container or not name:
        raise ValueError(url)
    return BlobPath(container, name)


def read_events(body: bytes) -> list[tuple[BlobPath, str]]:
    """Return the blobs that events are about, with their etags; one event or a list.

    Raises:
        ValueError: the body is not one that Event Grid sends, or an event is about no blob.
    """
    found: Any = msgspec.json.decode(body)
    events = msgspec.convert(found if isinstance(found, list) else [found], list[Event])
    return [(blob_path(event.data.url), event.data.e_tag) for event in events]


def make_app(listener: BlobListener) -> Starlette:
    """Return the application that hands events to a listener."""
    triggers = {trigger.function.function_id: trigger for trigger in listener.triggers if trigger.by_events}

    async def take(request: Request) -> Response:
        """`POST`: validation of the subscription, or events."""
        trigger = triggers.get(request.query_params.get("functionName", ""))
        if trigger is None:
            return JSONResponse({"error": "functionName does not name a function with source EventGrid"}, 404)
        body = await request.body()
        try:
            match request.headers.get("aeg-event-type"):
                case "SubscriptionValidation":
                    code = msgspec.json.decode(body)[0]["data"]["validationCode"]
                    return JSONResponse({"validationResponse": code})
                case "Notification":
                    await hand_over(trigger, read_events(body))
                    return Response(status_code=202)
        except (ValueError, KeyError, IndexError, TypeError) as error:
            return JSONResponse({"error": f"the body is not an Event Grid event: {error}"}, 400)
        except AzureError as error:
            return JSONResponse({"error": f"the storage account cannot be used: {type(error).__name__}"}, 503)
        return JSONResponse({"error": "aeg-event-type must be SubscriptionValidation or Notification"}, 400)

    async def hand_over(trigger: BlobTrigger, events: list[tuple[BlobPath, str]]) -> None:
        # The path of the trigger is not looked at: it is the subscription's filter that decides.
        for path, etag in events:
            await listener.enqueue(trigger, path.container, path.name, etag)

    return Starlette(routes=[Route(PATH, take, methods=["POST"])])


class Server(uvicorn.Server):
    """A server that leaves the signals to the host."""

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]  # a generator's, there
        """Capture none."""
        return nullcontext()


async def serve(listener: BlobListener, port: int) -> None:
    """Take events until cancelled."""
    config = uvicorn.Config(
        make_app(listener), host="127.0.0.1", port=port, log_level="warning", access_log=False, lifespan="off"
    )
    await Server(config).serve()
