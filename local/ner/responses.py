"""The responses of the emulator: JSON, errors of the API or of a gateway, or half a response."""

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.types import Receive, Scope, Send

from local.ner.errors import ApiError
from local.ner.switches import GatewayError, LostConnection


class HalfAnAnswer(Response):
    """Announces more bytes than it sends, so the server closes the connection."""

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Send the head and the first byte."""
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1000")]})
        await send({"type": "http.response.body", "body": b"{", "more_body": True})


def refusal(error: ApiError | GatewayError | LostConnection) -> Response:
    """Return the response to a refused call, or a broken one if the connection is to be lost."""
    if isinstance(error, GatewayError):
        return HTMLResponse("<h1>The gateway answers.</h1>", error.status)
    if isinstance(error, ApiError):
        return json_response(error.body, error.status, error.headers)
    return HalfAnAnswer()


async def api_error(_request: Request, error: Exception) -> Response:
    """Return the response to a call that raised an ApiError."""
    if not isinstance(error, ApiError):
        raise error
    return refusal(error)


def json_response(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return a response with JSON in UTF-8."""
    return Response(msgspec.json.encode(content), status, headers, media_type="application/json; charset=utf-8")
