"""Under which host names the page answers."""

from types import SimpleNamespace
from typing import Any

import pytest
from httpx import ASGITransport, AsyncClient

from local.view.access import forwarded_hosts
from local.view.app import View

CODESPACE = {"CODESPACE_NAME": "fuzzy-disco", "GITHUB_CODESPACES_PORT_FORWARDING_DOMAIN": "app.github.dev"}


@pytest.mark.parametrize("missing", [None, *CODESPACE])
def test_a_codespace_forwards_a_port_under_one_name(missing: str | None) -> None:
    """Elsewhere there is no such name."""
    environ = {name: value for name, value in CODESPACE.items() if name != missing}
    assert forwarded_hosts(environ, 10300) == ([] if missing else ["fuzzy-disco-10300.app.github.dev"])


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:10300", 200),
        ("localhost:10300", 200),
        ("fuzzy-disco-10300.app.github.dev", 200),
        ("fuzzy-disco-10301.app.github.dev", 400),
        ("evil.example", 400),
    ],
)
async def test_the_page_answers_under_its_own_names_only(host: str, status: int) -> None:
    """Another host name that resolves to this machine opens nothing."""
    account: Any = SimpleNamespace(settings=SimpleNamespace(max_blob_bytes=1))
    view = View(account, hosts=forwarded_hosts(CODESPACE, 10300))
    async with AsyncClient(transport=ASGITransport(view.app), base_url="http://127.0.0.1") as client:
        response = await client.get("/static/page.css", headers={"host": host})
    assert response.status_code == status
