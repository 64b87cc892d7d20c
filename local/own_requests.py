"""Refuses what a browser on this machine sends for a web page of another origin.

A port on this machine is open to every page that a browser shows. A page can send requests to it, and if the page has
its own host name lead here, it can also read the responses.
"""

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from local.proxies import LOOPBACK

REFUSAL: Final = "Access denied: a page of another origin sent this request."


def own_requests(hosts: Sequence[str] = ()) -> list[Middleware]:
    """Return the middleware that lets only requests to this machine, and from its own pages, pass.

    Args:
        hosts: names of the server besides those of this machine.
    """
    return [
        Middleware(TrustedHostMiddleware, allowed_hosts=[*LOOPBACK, *hosts]),
        Middleware(SameOriginOnly, hosts=hosts),
    ]


class SameOriginOnly:
    """Refuses requests that a page of another origin sends, other than by a link. Programs name no origin."""

    def __init__(self, app: ASGIApp, hosts: Sequence[str] = ()) -> None:
        """Wrap an application that a proxy may serve under the given host names."""
        self.app = app
        self.hosts = frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond."""
        if scope["type"] == "http" and self.is_foreign(str(scope["method"]), Headers(scope=scope)):
            await PlainTextResponse(REFUSAL, 403)(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def is_foreign(self, method: str, headers: Headers) -> bool:
        """Return whether a page of another origin sent a request with these headers."""
        origin = headers.get("origin")
        if origin is not None and not self.is_own(origin, headers.get("host", "")):
            return True
        # Browsers send no Origin with the GET requests for images and scripts.
        is_link = (method, headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")) == (
            "GET",
            "navigate",
            "document",
        )
        return headers.get("sec-fetch-site") in ("cross-site", "same-site") and not is_link

    def is_own(self, origin: str, host: str) -> bool:
        """Return whether an origin is that of this server. Other users may serve pages on other ports."""
        try:
            parts = urlsplit(origin)
            return parts.netloc.lower() == host.lower() or (parts.hostname or "") in self.hosts
        except ValueError:
            return False
