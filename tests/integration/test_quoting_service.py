"""A service that quotes the app's key and the text in every field of every status: nobody gets to read them.

The uploader has the text, so an outcome may quote it: as an entity, as what the service says of this very text, and in
fields that the app passes on without knowing them.
"""

import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

import httpx
import pytest
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient

from local.account import Account
from local.results import read_result
from local.view.app import View
from shared.outcome import Outcome, OutcomeStatus
from tests.integration.conftest import TEXT, ProxiedWay
from tests.integration.test_shared_traces import told
from tests.proxy import END_OF_HEAD, Answer, Call

KEY: Final = "local-emulator-key"
QUOTE: Final = f"{KEY} {TEXT.decode()}"
ERROR: Final[dict[str, Any]] = {
    "code": QUOTE,
    "message": QUOTE,
    "target": QUOTE,
    "details": [{"code": QUOTE, "message": QUOTE}],
}
HEADERS: Final = {
    "Content-Type": "application/json",
    "Retry-After": QUOTE,
    "Location": f"https://{QUOTE}/",
    "Set-Cookie": QUOTE,
    "x-ms-error-code": QUOTE,
    "operation-location": f"https://{KEY}.example/jobs/{KEY}",
}
STATUSES: Final = (202, 301, 401, 403, 408, 409, 413, 429, 500, 502, 503, 599)
CODES: Final = ("InvalidRequest", "Forbidden", "NotFound")
"""What a status of the service means depends on them for 400 and 404 only."""

MakeWay = Callable[..., Awaitable[ProxiedWay]]


def refusing(status: int, code: str) -> Answer:
    """Return an answer that quotes in its status line, its headers and all fields of its body."""
    error: dict[str, Any] = {**ERROR, "innererror": {**ERROR, "code": code}}
    return Answer(status, HEADERS, json.dumps({"error": error, "status": QUOTE, "jobId": QUOTE}).encode(), reason=QUOTE)


def quoting_job(response: bytes) -> bytes:
    """Return the service's answer with a quote in all fields of a job except those that say how it ended."""
    job = json.loads(response.partition(END_OF_HEAD)[2])
    job |= dict.fromkeys(("displayName", "createdDateTime", "lastUpdatedDateTime", "expirationDateTime", "new"), QUOTE)
    job["errors"] = [ERROR]
    for task in job["tasks"].get("items", []):
        task |= {"lastUpdateDateTime": QUOTE, "taskName": QUOTE, "new": [QUOTE]}
        results = task["results"]
        results |= {"projectName": QUOTE, "new": QUOTE, "errors": [{"id": QUOTE, "error": ERROR}]}
        for document in results["documents"]:
            document |= {"warnings": [{"code": QUOTE, "message": QUOTE}], "new": QUOTE}
            for entity in document["entities"]:
                entity |= {"category": QUOTE, "new": QUOTE}
    body = json.dumps(job).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def once(answer: Answer, operation: str) -> Callable[[Call], Answer | None]:
    """Return the rule that gives an answer once, and then lets the service quote."""
    left = [answer]

    def rule(call: Call) -> Answer | None:
        if call.operation == operation and left:
            return left.pop()
        return Answer(edit=quoting_job) if call.operation == "Get Job" else None

    return rule


def stored(way: ProxiedWay) -> bytes:
    """Return all that the app has written into its two containers."""
    found = []
    for name in (way.settings.results_container, way.settings.state_container):
        container = way.blobs.get_container_client(name)
        found += [container.download_blob(blob.name).readall() for blob in container.list_blobs()]
    return b"".join(found)


async def page_of(way: ProxiedWay, blobs: BlobServiceClient, queues: QueueServiceClient) -> str:
    """Return what the page says of the file and of the account."""
    transport = httpx.ASGITransport(View(Account(way.settings, blobs, queues)).app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        pages = [await client.get("/file", params={"name": way.name}), await client.get("/files")]
    assert pages[0].status_code == 200
    return "".join(page.text for page in pages)


@pytest.mark.parametrize("operation", ["Submit Job", "Get Job"])
async def test_a_service_that_quotes_is_not_quoted(
    operation: str,
    make_proxied_way: MakeWay,
    queues: QueueServiceClient,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The key is in no log, trace, metric, outcome, record or page, and the text in no log, trace or metric."""
    way = await make_proxied_way()
    assert way.settings.key == KEY
    way.switch(jobSeconds=0, callsPerMinute=10**9)
    answers = [(str(status), refusing(status, QUOTE)) for status in STATUSES]
    answers += [(f"{status} {code}", refusing(status, code)) for status in (400, 404) for code in CODES]
    answers.append(("no HTTP", Answer(edit=lambda _response: QUOTE.encode() + END_OF_HEAD)))
    answers.append(("odd header", Answer(edit=lambda _response: f"HTTP/1.1 200 OK\r\n{QUOTE}".encode() + END_OF_HEAD)))
    caplog.set_level(logging.INFO)
    for chatty in ("azure", "httpx"):
        caplog.set_level(logging.WARNING, chatty)  # as in function_app
    ended: dict[str, Outcome] = {}
    async with told(way, monkeypatch) as (pipeline, collector):
        pipeline.services.delays.clock = lambda: way.now().timestamp()
        pipeline.services.gate.window = lambda: 0.0
        way.pipeline = pipeline
        for name, answer in answers:
            way.name = f"{operation} {name}.txt"
            way.proxies.rule = once(answer, operation)
            await way.submit()
            ended[name] = await way.poll_until_there()
            assert KEY not in await page_of(way, way.blobs, queues)
            assert KEY not in str(read_result(Account(way.settings, way.blobs, queues), way.name))
    assert OutcomeStatus.PARTIALLY_SUCCEEDED in {outcome.status for outcome in ended.values()}
    assert KEY.encode() not in stored(way)
    for outcome in ended.values():
        check_outcome(outcome)
    sent = b"".join(collector.bodies)
    assert b"retrying later" in sent
    assert collector.spans
    assert collector.points
    for quote in (KEY.encode(), TEXT, b"Blue Heron"):
        assert quote not in sent
        assert quote.decode() not in caplog.text


@pytest.mark.parametrize("is_running", [True, False])
async def test_a_job_id_that_is_a_word_of_the_text_is_not_logged(
    make_proxied_way: MakeWay, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, *, is_running: bool
) -> None:
    """The app asks for the job all the same, since it was charged; its outcome has the ID."""
    way = await make_proxied_way()
    job = {"jobId": "Bristol", "status": "running"}
    if not is_running:
        odd = {"id": "1", "entities": [], "warnings": [5]}
        job |= {"status": "succeeded", "tasks": {"items": [{"results": {"documents": [odd]}}]}}  # type: ignore[dict-item]
    answers = {
        "Submit Job": Answer(202, {"operation-location": "/language/analyze-text/jobs/Bristol?api-version=1"}),
        "Get Job": Answer(200, {}, json.dumps(job).encode()),
        "Cancel Job": Answer(202),
    }
    way.proxies.rule = lambda call: answers.get(call.operation)
    caplog.set_level(logging.INFO, "ner")
    async with told(way, monkeypatch) as (pipeline, collector):
        pipeline.services.gate.window = lambda: 0.0
        way.pipeline = pipeline
        await way.submit(b"Bristol")
        if is_running:
            way.pass_time(2 * 24 * 3600)
        outcome = await way.poll_until_there()
    assert [found.job_id for found in outcome.jobs] == ["Bristol"]
    assert "submitted as job ***" in caplog.text
    assert ("cancel job ***" if is_running else "job ***: some fields") in caplog.text
    assert collector.spans
    for found in (b"".join(collector.bodies), caplog.text.encode()):
        assert b"Bristol" not in found


def check_outcome(outcome: Outcome) -> None:
    """Assert that an outcome says what the app says, except where it is about the text itself."""
    told_by_app: list[Any] = [outcome.status, outcome.source, outcome.api]
    told_by_app += [(job.job_id, job.status, job.created_date_time) for job in outcome.jobs]
    assert "Blue Heron" not in str(told_by_app)
