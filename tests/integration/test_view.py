"""The page's service on a real account: what it answers, what it refuses, and what it never lets a browser do."""

import asyncio
import html
import json
import re
import threading
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urljoin

import httpx
import pytest
from azure.core.exceptions import HttpResponseError, ServiceRequestError
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient

from local.account import Account
from local.listing import Listing, State, list_account, list_file
from local.view.app import MAX_CATEGORIES, UPLOADS_AT_ONCE, View
from local.view.board import Board
from local.view.reading import ENTITIES_A_PART
from shared.names import result_name
from shared.ner.model import Entity, Problem, Statistics
from shared.outcome import Outcome, OutcomeStatus
from shared.state.sweeping import SweepState, Swept
from tests import finished
from tests.integration.conftest import TEXT, Way
from tests.waiting import PATIENCE_SECONDS

NAMES = ["a.txt", "folder/été 1.txt", "100% #1?.txt", "a&b=c+d.txt", "<b>.txt", "'\".txt", "n" * 1020 + ".txt"]


@pytest.fixture
def account(way: Way, blobs: BlobServiceClient, queues: QueueServiceClient) -> Account:
    """The way's storage account."""
    return Account(way.settings, blobs, queues, price=5.0)


@pytest.fixture
async def client(account: Account) -> AsyncIterator[httpx.AsyncClient]:
    """A browser without scripts."""
    transport = httpx.ASGITransport(View(account).app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        yield client


async def arrived(client: httpx.AsyncClient, path: str, text: str) -> str:
    """Return a page as soon as it holds a text: an account is shown as it was while it is looked at."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while text not in (page := (await client.get(path)).text):
            await asyncio.sleep(0.1)
    return page


async def test_every_answer_forbids_what_a_text_could_try(client: httpx.AsyncClient) -> None:
    """Scripts and styles are the page's own, nothing is guessed, nothing is kept or framed."""
    for path in ("/", "/files", "/file?name=none", "/static/page.js", "/libraries/htmx.js", "/nowhere"):
        headers = (await client.get(path)).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["cross-origin-opener-policy"] == "same-origin"


async def test_an_unexpected_error_has_the_same_headers(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library makes that response outside of everything else."""

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(account.blobs, "get_blob_client", fail)
    transport = httpx.ASGITransport(View(account).app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        answer = await client.get("/file/text?name=a.txt")
    assert answer.status_code == 500
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_page_under_another_name_is_refused(client: httpx.AsyncClient) -> None:
    """Else a site could have its own name lead here and read what it likes."""
    assert (await client.get("/", headers={"host": "evil.example"})).status_code == 400


async def test_with_a_token_nobody_else_sees_anything(account: Account) -> None:
    """Each path begins with it; without it there is nothing but a sentence, and no upload."""
    transport = httpx.ASGITransport(View(account, token="s3cret").app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:10300") as client:
        for path in ("/", "/files", "/file?name=a.txt", "/static/page.js", "/wrong/", "/s3cre/", "/?token=s3cret"):
            answer = await client.get(path, headers={"cookie": "page-10300=s3cret"})
            assert answer.status_code == 403
            assert "whole URL" in answer.text
        for path in ("/drop?name=a.txt", "/drop?name=a.txt&token=s3cret"):
            assert (await client.put(path, content=b"x")).status_code == 403
        assert not list(account.listed(account.settings.input_container))
        answer = await client.get("/s3cret")
        assert (answer.status_code, answer.headers["location"]) == (303, "/s3cret/")
        assert (await client.put("/s3cret/drop?name=a.txt", content=b"x")).status_code == 201


async def test_a_token_stays_in_the_path(account: Account) -> None:
    """Browsers send cookies to every port of the host, and so to the servers of other users; and links are relative."""
    transport = httpx.ASGITransport(View(account, token="s3cret").app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:10300") as client:
        finished.succeed(account.blobs, account.settings, "a.txt", "x" * 30_000)
        page = await arrived(client, "/s3cret/?most=1", "1 of 1 done")
        for url in ("/s3cret/", "/s3cret/file?name=a.txt"):
            answer = await client.get(url)
            assert answer.status_code == 200
            assert "set-cookie" not in answer.headers
            assert answer.headers["referrer-policy"] == "no-referrer"
            page = answer.text
            links = re.findall(r'(?:href|src|hx-get)="([^"#]*)"', page)
            assert len(links) > 5
            for link in links:
                if not link.startswith("data:"):
                    assert not link.startswith("/")
                    assert (await client.get(urljoin(url, html.unescape(link)))).status_code == 200


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_only_put_uploads(client: httpx.AsyncClient, account: Account, method: str) -> None:
    """A form or a link elsewhere can send these two; a browser asks before it sends a PUT, and nobody answers."""
    assert (await client.request(method, "/drop?name=a.txt", content=b"x")).status_code == 405
    asked = await client.options(
        "/drop", headers={"origin": "http://evil.example", "access-control-request-method": "PUT"}
    )
    assert "access-control-allow-origin" not in asked.headers
    assert not list(account.listed(account.settings.input_container))


@pytest.mark.parametrize("name", NAMES)
async def test_a_file_of_any_name_comes_and_goes(
    client: httpx.AsyncClient, way: Way, account: Account, name: str
) -> None:
    """Uploaded, listed, read, downloaded under its name."""
    assert (await client.put(f"/drop?name={quote(name, safe='')}", content=TEXT)).status_code == 201
    (listed,) = list_account(account).files()
    assert (listed.name, listed.state) == (name, State.WAITING)
    newest = account.newest(name)
    assert newest is not None
    way.name, way.etag = name, newest.etag
    await way.pipeline.submit(name)
    file = list_file(account, name)
    assert file is not None
    assert file.state is State.IN_FLIGHT
    page = await client.get("/file", params={"name": name})
    assert page.status_code == 200
    assert "running for" in page.text
    await way.poll_until_outcome()
    page = await client.get("/file", params={"name": name})
    assert ">Blue Heron</mark>" in page.text
    text = await client.get("/file/text", params={"name": name})
    assert text.content == TEXT
    assert text.headers["content-disposition"] == (
        f"attachment; filename*=UTF-8''{quote(name.rpartition('/')[2], safe='')}"
    )
    assert json.loads((await client.get("/file/outcome", params={"name": name})).content)["source"]["name"] == name


async def test_the_list_says_where_each_file_stands(client: httpx.AsyncClient, way: Way) -> None:
    """With its entities and cost, or with what went wrong."""
    await way.submit()
    await way.poll_until_outcome()
    way.name = "scan.pdf"
    await way.submit(b"%PDF")
    way.name = "new.txt"
    way.upload()
    # Outcomes are read after the list.
    page = await arrived(client, "/files", "1 text record, 0.005")
    assert "2 of 3 done" in page
    assert "not started" in page
    assert "failed: The name is that of a PDF document (application/pdf)." in page
    assert "1 text record, 0.005" in page
    only = (await client.get("/files", params={"q": "SCAN", "state": "failed"})).text
    assert "scan.pdf" in only
    assert "new.txt" not in only
    assert "Show more" in (await client.get("/files", params={"most": "1"})).text
    assert (await client.get("/files", params={"most": "many", "state": "none"})).status_code == 200


async def test_the_list_says_how_the_app_is_doing(
    client: httpx.AsyncClient, way: Way, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the last sweep was and what it found, which messages are overdue, how many are in the poison queues."""
    assert "Last sweep: none yet." in await arrived(client, "/files", "No file has been dropped yet")
    await way.submit()
    await way.pipeline.sweep()
    page = await arrived(client, "/files", "1 file checked")
    assert "running for" in page
    assert "overdue" not in page
    assert 'class="problem"' not in page
    way.queue.clear_messages()
    way.pass_time(way.settings.poll_max_seconds + way.settings.overdue_seconds)
    monkeypatch.setattr("local.in_flight.utc_now", way.now)
    account.queues.create_queue(way.settings.poison_queue).send_message("evidence")
    long_ago = datetime.now(UTC) - timedelta(hours=2)
    await way.pipeline.services.state.write_sweep(SweepState(since=long_ago, last=long_ago, swept=Swept(files=1)))
    page = await arrived(client, "/files", "overdue")
    assert re.search(r"running for \d+ s, overdue", page)
    assert "The last sweep was 2 h 0 min ago" in page
    assert "1 poison message: run &#39;ner status&#39;." in page


async def test_uploads_from_before_the_deployment_need_a_hand(
    make_way: Callable[..., Way], blobs: BlobServiceClient, queues: QueueServiceClient
) -> None:
    """No trigger brings them, and the sweep only counts them."""
    way = make_way(NER_SWEEP_EXISTING="false", NER_SWEEP_GRACE_SECONDS="1")
    way.upload()
    await way.sweep()
    transport = httpx.ASGITransport(View(Account(way.settings, blobs, queues)).app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        await arrived(client, "/files", "1 upload from before this deployment will not be submitted")
    await way.pipeline.aclose()


async def test_the_page_needs_no_role_for_queues(
    client: httpx.AsyncClient, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without one it shows everything else."""

    def refuse(*_: object, **__: object) -> None:
        raise HttpResponseError("AuthorizationPermissionMismatch")

    monkeypatch.setattr(account.queues, "get_queue_client", refuse)
    page = await arrived(client, "/files", "No file has been dropped yet")
    assert "cannot be used" not in page


async def test_an_outcome_is_read_once(way: Way, account: Account) -> None:
    """Until it changes: a look at an account where nothing happens reads no blob."""
    await way.submit()
    await way.poll_until_outcome()
    board = Board(account)
    board.read()
    assert board.snapshot.text_records == 1
    outcome = account.blobs.get_blob_client(account.settings.results_container, result_name("a.txt"))
    kept = dict(outcome.get_blob_properties().metadata)
    board.known = {key: digest for key, digest in board.known.items() if digest.text_records}
    digests = list(board.known.values())
    board.read()
    assert [one is other for one, other in zip(digests, board.known.values(), strict=True)] == [True]
    changed = json.loads(outcome.download_blob().readall())
    changed["statistics"]["transactionsCount"] = 7
    outcome.upload_blob(json.dumps(changed), overwrite=True, metadata=kept)
    board.read()
    assert board.snapshot.text_records == 7


async def test_nobody_waits_for_a_long_listing(
    client: httpx.AsyncClient, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At first the page says that it reads the list; later it shows the account as it was before."""
    may_list = threading.Event()

    def list_slowly(account: Account) -> Listing:
        may_list.wait(PATIENCE_SECONDS)
        return list_account(account)

    monkeypatch.setattr("local.view.board.list_account", list_slowly)
    page = (await client.get("/")).text
    assert "Reading the list of files" in page
    assert "No file has been dropped yet" not in page
    may_list.set()
    await arrived(client, "/files", "No file has been dropped yet")
    may_list.clear()
    assert (await client.put("/drop?name=a.txt", content=TEXT)).status_code == 201
    assert "No file has been dropped yet" in (await client.get("/files")).text
    may_list.set()
    await arrived(client, "/files", "not started")
    assert way.in_flight() == 0


async def test_a_replaced_file_says_that_its_text_is_another(client: httpx.AsyncClient, way: Way) -> None:
    """While the new version is on its way, the old outcome is not shown as if it were its."""
    await way.submit()
    await way.poll_until_outcome()
    way.upload(b"Something else.")
    page = (await client.get("/file", params={"name": "a.txt"})).text
    assert "not started" in page
    assert "Blue Heron" not in page


async def test_an_outcome_without_its_file_still_shows_its_entities(
    client: httpx.AsyncClient, way: Way, account: Account
) -> None:
    """A file may be deleted once it has ended."""
    await way.submit()
    await way.poll_until_outcome()
    account.blobs.get_blob_client(account.settings.input_container, "a.txt").delete_blob()
    page = (await client.get("/file", params={"name": "a.txt"})).text
    assert "The file is no longer in the input container." in page
    assert ">Blue Heron</mark>" in page
    assert (await client.get("/file/text", params={"name": "a.txt"})).status_code == 404


async def test_parts_of_two_outcomes_are_never_mixed(client: httpx.AsyncClient, way: Way) -> None:
    """Whoever reads on in a text whose outcome has been replaced is told so."""
    text = b"A table at Blue Heron in Bristol, please. " * 1000
    await way.submit(text)
    await way.poll_until_outcome()
    page = (await client.get("/file", params={"name": "a.txt"})).text
    following = html.unescape(page.partition('hx-get="file/part')[2].partition('"')[0])
    assert "Blue Heron" in (await client.get(f"/file/part{following}")).text
    await way.submit(text + b"Once more.")
    await way.poll_until_outcome()
    await client.get("/file", params={"name": "a.txt"})
    for _ in range(5):
        # The older one has to be gone from memory, too.
        way.name = "b.txt"
        await way.submit()
        await way.poll_until_outcome()
        await client.get("/file", params={"name": "b.txt"})
    answer = (await client.get(f"/file/part{following}")).text
    assert "The file has a newer outcome" in answer
    assert "Blue Heron" not in answer


async def test_what_does_not_exist_is_said_in_a_sentence(client: httpx.AsyncClient) -> None:
    """No traceback, and no page of somebody else's."""
    for path in ("/file", "/file?name=none", "/file/part?name=none&part=x", "/file/outcome?name=none"):
        answer = await client.get(path)
        assert answer.status_code == 404
        assert "There is no" in answer.text
    assert (await client.put("/drop", content=b"x")).text == "No file can have this name: the name is empty."


async def test_what_is_too_large_is_refused_while_it_comes(client: httpx.AsyncClient, account: Account) -> None:
    """With the app's own words; and nothing is uploaded."""
    answer = await client.put("/drop?name=a.txt", content=bytes(account.settings.max_blob_bytes + 1))
    assert answer.status_code == 413
    assert "NER_MAX_BLOB_BYTES" in answer.text
    assert not list(account.listed(account.settings.input_container))


async def test_an_account_that_does_not_answer_is_said_so(
    client: httpx.AsyncClient, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the page, and to whoever drops a file."""

    def no_answer(*_: object, **__: object) -> None:
        raise ServiceRequestError("no route to host")

    monkeypatch.setattr(account.blobs, "get_container_client", no_answer)
    monkeypatch.setattr(account.blobs, "get_blob_client", no_answer)
    page = await client.get("/")
    assert page.status_code == 200
    assert "The storage account cannot be used: no route to host" in page.text
    assert (await client.put("/drop?name=a.txt", content=b"x")).status_code == 502


async def test_a_name_is_asked_for_in_a_sentence(client: httpx.AsyncClient) -> None:
    """The SDK knows no blob without one."""
    for path in ("/file/text?name=", "/file/outcome?name="):
        assert (await client.get(path)).status_code == 400


async def test_uploads_that_do_not_end_are_closed(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """After some time, and only so many at once: each takes memory and a connection."""

    async def stall() -> AsyncIterator[bytes]:
        yield b"the beginning"
        await asyncio.Event().wait()

    view = View(account)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(view.app), base_url="http://127.0.0.1") as client:
        monkeypatch.setattr("local.view.app.UPLOAD_SECONDS", 0.0)
        answer = await client.put("/drop?name=a.txt", content=stall())
        assert (answer.status_code, answer.headers["connection"]) == (408, "close")
        monkeypatch.setattr("local.view.app.UPLOAD_SECONDS", PATIENCE_SECONDS)
        stalled = [asyncio.create_task(client.put("/drop?name=a.txt", content=stall())) for _ in range(UPLOADS_AT_ONCE)]
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not view.uploads.locked():
                await asyncio.sleep(0.01)
        answer = await client.put("/drop?name=b.txt", content=b"x")
        assert (answer.status_code, answer.headers["connection"]) == (503, "close")
        for task in stalled:
            task.cancel()
        await asyncio.wait(stalled)
        assert (await client.put("/drop?name=c.txt", content=b"x")).status_code == 201
    assert [blob.name for blob in account.listed(account.settings.input_container)] == ["c.txt"]


async def test_thousands_of_overlapping_entities_make_no_large_page(
    client: httpx.AsyncClient, account: Account
) -> None:
    """Nor do very long names of categories, or many of them; and the page says that there is more."""
    text = "a b " * 4000
    nested = [Entity("x", f"category {n}" + "y" * 5000, n, len(text) - 2 * n, 0.5) for n in range(4000)]
    finished.succeed(account.blobs, account.settings, "a.txt", text, *nested)
    page = (await client.get("/file", params={"name": "a.txt"})).text
    assert len(page) < 16_000_000
    assert "Not all entities are shown here" in page
    assert page.count('name="category"') == MAX_CATEGORIES
    finished.succeed(account.blobs, account.settings, "b.txt", text, *nested)
    account.blobs.get_blob_client(account.settings.input_container, "b.txt").delete_blob()
    page = (await client.get("/file", params={"name": "b.txt"})).text
    assert page.count("<li>") == ENTITIES_A_PART
    assert "Not all entities are shown here" in page


async def test_problems_are_shortened(client: httpx.AsyncClient, account: Account) -> None:
    """A service can send as many and as long ones as it likes."""
    source = finished.upload(account.blobs, account.settings, "a.txt", b"x")
    problems = [Problem("Code", "m" * 100_000, str(n)) for n in range(300)]
    outcome = Outcome(OutcomeStatus.FAILED, source, {}, [], [], problems, Statistics(1, 0, 1, 0))
    finished.write(account.blobs, account.settings, outcome)
    page = (await client.get("/file", params={"name": "a.txt"})).text
    assert "200 more problems are in the outcome." in page
    assert len(page) < 500_000
    assert len(await arrived(client, "/files", "mmm")) < 50_000


async def test_a_large_outcome_is_not_read(
    client: httpx.AsyncClient, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can be downloaded, which holds little of it in memory."""
    finished.succeed(account.blobs, account.settings, "a.txt", "A table at Blue Heron.")
    monkeypatch.setattr("local.view.app.LARGEST_OUTCOME", 10)
    page = await client.get("/file", params={"name": "a.txt"})
    assert page.status_code == 200
    assert "The outcome is too large to show here." in page.text
    assert (await client.get("/file/part?name=a.txt&etag=x")).status_code == 404
    assert json.loads((await client.get("/file/outcome?name=a.txt")).content)["source"]["name"] == "a.txt"


async def test_the_list_has_a_longest_length(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the URL asks for."""
    for name in ("a.txt", "b.txt", "c.txt"):
        await client.put(f"/drop?name={name}", content=b"x")
    monkeypatch.setattr("local.view.app.MAX_ROWS", 2)
    page = await arrived(client, "/files?most=999999", "1 not shown: use Find")
    assert page.count("<tr>") == 3
    assert "Show more" not in page


async def test_messages_turn_no_words_around(client: httpx.AsyncClient, account: Account) -> None:
    """A message may hold a sign that reverses all that follows in its line."""
    problem = Problem("Odd\u202e", "turned \u202e around", None)
    finished.fail(account.blobs, account.settings, "a.txt", problem)
    page = (await client.get("/file", params={"name": "a.txt"})).text
    page += await arrived(client, "/files", "turned")
    outside = re.sub(r"<bdi>.*?</bdi>|<pre.*?</pre>", "", page, flags=re.DOTALL)
    assert page.count("\u202e") >= 4
    assert "\u202e" not in outside
