"""Every server of a local run answers this machine's programs and its own pages, and no page of another origin."""

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from httpx import ASGITransport, AsyncClient

from local.host.event_grid import PATH, Webhook
from local.ner.app import Emulator
from local.ner.recogniser import Recogniser
from local.ner.requests import Deployment
from local.view.app import View

BASE = "http://127.0.0.1:10100"
SERVERS = {
    "emulator": ("POST", "/emulator/jobs/end", 204),
    "emulator, the API": ("GET", "/language/analyze-text/jobs/none?api-version=2023-04-01", 404),
    "page": ("GET", "/static/page.css", 200),
    "webhook": ("POST", PATH, 401),
}


@pytest.fixture(params=SERVERS)
async def server(
    request: pytest.FixtureRequest, recogniser: Recogniser
) -> AsyncIterator[tuple[AsyncClient, str, str, int]]:
    """A client of each server, and a call with the status that this machine's programs get."""
    emulator = Emulator(recogniser, Deployment("concierge", "production", "model", "en", multilingual=False), "key")
    account: Any = SimpleNamespace(settings=SimpleNamespace(max_blob_bytes=1))
    listener: Any = None
    app: Any = {
        "page": View(account).app,
        "webhook": Webhook(listener, 0, "another key").server.config.app,
    }.get(request.param, emulator.app)
    headers = {"Ocp-Apim-Subscription-Key": "key"}
    async with AsyncClient(transport=ASGITransport(app), base_url=BASE, headers=headers) as client:
        yield client, *SERVERS[request.param]
    emulator.jobs.close()


@pytest.mark.parametrize(
    ("headers", "refusal"),
    [
        ({}, None),
        ({"host": "localhost:10100"}, None),
        ({"origin": BASE}, None),
        ({"origin": BASE, "sec-fetch-site": "same-origin"}, None),
        ({"host": "rebind.test:10100"}, 400),
        ({"host": "127.0.0.1.evil.example"}, 400),
        ({"host": ""}, 400),
        ({"host": "rebind.test:10100", "origin": "http://rebind.test:10100"}, 400),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://127.0.0.1:10155"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://[evil"}, 403),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, 403),
        ({"sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors"}, 403),
    ],
)
async def test_only_own_requests_pass(
    server: tuple[AsyncClient, str, str, int], headers: dict[str, str], refusal: int | None
) -> None:
    """Neither a host name that leads here nor a request without permission reaches a server."""
    client, method, path, status = server
    answer = await client.request(method, path, headers=headers)
    assert answer.status_code == (refusal or status)


async def test_a_link_of_another_site_opens_the_page() -> None:
    """Such as that of an editor which forwards the port; a frame or an image does not."""
    account: Any = SimpleNamespace(settings=SimpleNamespace(max_blob_bytes=1))
    site = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    async with AsyncClient(transport=ASGITransport(View(account).app), base_url=BASE) as client:
        for kind, status in (("document", 200), ("iframe", 403)):
            answer = await client.get("/static/page.css", headers={**site, "sec-fetch-dest": kind})
            assert answer.status_code == status
