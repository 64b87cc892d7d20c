"""Who may see the page: on a machine with other users, whoever was told its address.

The port is open to all of them, and the page shows what whoever started it may read. So, unless the account is the
storage emulator's, which anybody on the machine can read anyway, the address holds a token, which becomes a cookie.
"""

import secrets
from collections.abc import Mapping
from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

PARAMETER: Final = "token"
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


class TokenGuard:
    """Lets requests pass that have the token in a cookie, and gives that to whoever brings it in the address."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        """Stand before an application."""
        self.app = app
        self.token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        # Cookies know no ports, and another page may be up on this machine.
        cookie = f"page-{(scope.get('server') or ('', 0))[1]}"
        if self.is_right(request.cookies.get(cookie)):
            await self.app(scope, receive, send)
            return
        answer: Response = PlainTextResponse(REFUSAL, 403)
        if self.is_right(request.query_params.get(PARAMETER)):
            answer = RedirectResponse("/", 303)
            answer.set_cookie(cookie, self.token, httponly=True, samesite="strict")
        await answer(scope, receive, send)

    def is_right(self, given: str | None) -> bool:
        """Tell whether this is the token; how long that takes tells nothing."""
        return secrets.compare_digest((given or "").encode(), self.token.encode())
