"""Who may see the page: on a machine with other users, only those who know its URL.

The port is open to all of them, and the page shows what the user who started it may read. So, unless the account is
that of a storage emulator on this machine, the first segment of each path is a token. It is not in a cookie, because
browsers send the cookies of a host to all of its ports, and other users may have servers there.
"""

import secrets
from collections.abc import Mapping
from typing import Final

from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

REFUSAL: Final = (
    "Access denied: the URL has no valid token. Open the whole URL that was printed when the page was started."
)


def new_token() -> str:
    """Return what nobody guesses."""
    return secrets.token_urlsafe(24)


def forwarded_hosts(environ: Mapping[str, str], port: int) -> list[str]:
    """Return the host names under which GitHub Codespaces forwards a port, by default to the owner of the codespace."""
    name, domain = environ.get("CODESPACE_NAME"), environ.get("GITHUB_CODESPACES_PORT_FORWARDING_DOMAIN")
    return [f"{name}-{port}.{domain}"] if name and domain else []


def page_url(port: int, token: str | None) -> str:
    """Return the URL of a page on this machine."""
    return f"http://127.0.0.1:{port}" + (f"/{token}/" if token else "")


class TokenGuard:
    """Passes requests on whose path begins with the token."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        """Wrap an application, whose links must be relative."""
        self.app = app
        self.token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given, slash, _ = str(scope["path"]).removeprefix("/").partition("/")
        # The time that this takes does not depend on the token.
        if not secrets.compare_digest(given.encode("utf-8", "replace"), self.token.encode()):
            await PlainTextResponse(REFUSAL, 403)(scope, receive, send)
        elif not slash:
            await RedirectResponse(f"/{self.token}/", 303)(scope, receive, send)
        else:
            await self.app({**scope, "root_path": f"/{self.token}"}, receive, send)
