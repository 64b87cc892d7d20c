"""Hostile texts, responses and messages end in an outcome or in a line of the log, and do no harm where they appear."""

import base64
import csv
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Final
from urllib.parse import quote

import httpx
import pytest
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient
from typer.testing import CliRunner

from local.account import Account
from local.checks.finding import Clock
from local.checks.service import ask
from local.cli import app
from local.commands.checking import show
from local.export import FORMULA
from local.printable import STEERING
from local.results import read_raw_outcome
from local.view.app import View
from local.watch import upload
from shared.names import result_name
from tests.hostile import ANSWERS, CONTENT, MESSAGES, QUEUED, TAGS, TEXTS, answers, entrances, with_job
from tests.integration.conftest import ProxiedWay
from tests.proxy import Answer, Call
from tests.serving import QuietHandler, serving

ALLOWED_SCRIPTS: Final = ("static/", "libraries/", "/static/", "/libraries/")


@dataclass(frozen=True)
class World:
    """A way behind proxies, and all that shows its account.

    Attributes:
        called: the paths that were asked of a server to which hostile responses lead.
    """

    way: ProxiedWay
    account: Account
    page: httpx.AsyncClient
    elsewhere: str
    called: list[str]
    folder: Path


@pytest.fixture
def elsewhere() -> Iterator[tuple[str, list[str]]]:
    """A server to which nothing may go: its URL, and what it was asked for."""
    called: list[str] = []

    class Handler(QuietHandler):
        def do_GET(self) -> None:  # noqa: N802  # the name is looked up
            called.append(self.path)
            self.send_error(500)

        do_POST = do_GET  # noqa: N815

    with serving(Handler) as url:
        yield url, called


@pytest.fixture
async def world(  # noqa: PLR0917  # fixtures
    make_proxied_way: Callable[..., Awaitable[ProxiedWay]],
    values: dict[str, str],
    elsewhere: tuple[str, list[str]],
    queues: QueueServiceClient,
    blobs: BlobServiceClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[World]:
    """The world; commands find its account in the environment."""
    way = await make_proxied_way()
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    account = Account(way.settings, blobs, queues)
    transport = httpx.ASGITransport(View(account).app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as page:
        yield World(way, account, page, *elsewhere, tmp_path)
    await way.aclose()


class Elements(HTMLParser):
    """Collects what a page would run."""

    def __init__(self) -> None:
        super().__init__()
        self.harmful: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Find images, scripts of others, handlers of events, and links that run."""
        found = {name: value or "" for name, value in attrs}
        is_own_script = tag == "script" and found.get("src", "").startswith(ALLOWED_SCRIPTS)
        links = [found.get(name, "") for name in ("href", "src")]
        if (tag in ("img", "script", "iframe", "object", "style") and not is_own_script) or (
            any(name.startswith("on") for name in found) or any(link.startswith("javascript:") for link in links)
        ):
            self.harmful.append(self.get_starttag_text() or tag)


async def page_of(world: World, path: str, **query: str) -> httpx.Response:
    """Return a response of the page."""
    response = await world.page.get(path, params=query)
    assert response.status_code == 200, (path, response.text[:200])
    return response


async def check_html(world: World, path: str, **query: str) -> None:
    """Assert that a page of the service has no element that a text brought in."""
    parser = Elements()
    parser.feed((await page_of(world, path, **query)).text)
    assert parser.harmful == []


def check_command(*command: str) -> str:
    """Return the output of a command, which has nothing that steers a terminal, and no traceback."""
    result = CliRunner().invoke(app, command)
    assert result.exception is None or isinstance(result.exception, SystemExit), command
    assert result.exit_code in (0, 1), result.output
    assert not STEERING.search(result.output), command
    assert not any(line.startswith("\tERROR") for line in result.output.splitlines())
    return result.output


async def read_list(world: World, _name: str) -> None:
    """The list, as a whole."""
    await check_html(world, "/")


async def read_update(world: World, _name: str) -> None:
    """The list, as it changes."""
    await check_html(world, "/files")


async def read_file(world: World, name: str) -> None:
    """A file's page."""
    await check_html(world, "/file", name=name)


async def read_part(world: World, name: str) -> None:
    """The first part of its text, which exists if there is any text."""
    _, etag = read_raw_outcome(world.account, result_name(name))
    await check_html(world, "/file/part", name=name, etag=etag, part="0")


async def read_outcome(world: World, name: str) -> None:
    """Its outcome, as a download."""
    response = await page_of(world, "/file/outcome", name=name)
    assert response.headers["content-disposition"].startswith("attachment")
    assert response.json()["source"]["name"] == name


async def read_text(world: World, name: str) -> None:
    """Its text, as a download that is no page."""
    response = await page_of(world, "/file/text", name=name)
    assert response.headers["content-disposition"].startswith("attachment")
    assert response.headers["content-type"] == "application/octet-stream"


async def by_show(world: World, name: str) -> None:
    """The terminal; and the outcome as it is."""
    check_command("show", "--", name)
    raw = CliRunner().invoke(app, ["show", "--json", "--", name]).stdout_bytes
    assert json.loads(raw)["source"]["name"] == name
    del world


async def by_export(world: World, name: str) -> None:
    """One valid object in each line; and no cell that a spreadsheet runs."""
    lines, table = world.folder / "entities.jsonl", world.folder / "entities.csv"
    check_command("export", "-o", str(lines), "--", name)
    for line in lines.read_text().split("\n")[:-1]:
        assert json.loads(line)["file"] == name
    check_command("export", "-o", str(table), "--", name)
    with table.open(newline="") as file:
        for row in csv.reader(file):
            assert not any(FORMULA.search(cell) for cell in row)


async def by_status(_world: World, _name: str) -> None:
    """For people and for programs."""
    check_command("status")
    json.loads(CliRunner().invoke(app, ["status", "--json"]).stdout_bytes)


async def by_redrive(_world: World, _name: str) -> None:
    """All that could be sent again."""
    check_command("redrive", "--failed", "--poison", "--dry-run")


Reader = Callable[[World, str], Awaitable[None]]
READERS: Final[dict[str, Reader]] = {
    "page /": read_list,
    "page /files": read_update,
    "page /file": read_file,
    "page /file/part": read_part,
    "page /file/outcome": read_outcome,
    "page /file/text": read_text,
    "ner show": by_show,
    "ner export": by_export,
    "ner status": by_status,
    "ner redrive": by_redrive,
}


async def by_trigger(world: World, name: str, data: bytes) -> None:
    """Upload a text to storage, as others do."""
    world.way.name = name
    world.way.upload(data)


async def by_page(world: World, name: str, data: bytes) -> None:
    """Drop a text on the page."""
    response = await world.page.put(f"/drop?name={quote(name, safe='')}", content=data)
    assert response.status_code == 201


async def by_drop(world: World, name: str, data: bytes) -> None:
    """Drop a text from a folder, as `drop` and `run` do."""
    path = world.folder / "text"
    path.write_bytes(data)
    (dropped,) = upload(world.account.blobs, world.way.settings, {name: path}, {})
    assert dropped.length == len(data)


WAYS_IN: Final[dict[str, Callable[[World, str, bytes], Awaitable[None]]]] = {
    "trigger submit": by_trigger,
    "page /drop": by_page,
    "ner drop": by_drop,
    "ner run": by_drop,
}


def once(response: Answer, operation: str) -> Callable[[Call], Answer | None]:
    """Return the rule that gives a response once; then the service marks the texts in its jobs."""
    left = [response]

    def rule(call: Call) -> Answer | None:
        if call.operation == operation and left:
            return left.pop()
        return Answer(edit=with_job()) if call.operation == "Get Job" else None

    return rule


def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Log as the app does."""
    caplog.set_level(logging.INFO)
    for chatty in ("azure", "httpx"):
        caplog.set_level(logging.WARNING, chatty)


def check_log(caplog: pytest.LogCaptureFixture) -> None:
    """Assert that each record of the app is one line, without an exception."""
    records = [record for record in caplog.records if record.name == "ner"]
    assert [record.getMessage() for record in records if not record.getMessage().isprintable()] == []
    assert not any(record.exc_info for record in records)


async def read_all(world: World, kind: str) -> None:
    """Let everything show the file that is there."""
    for entrance in sorted(entrances(kind) & READERS.keys()):
        await READERS[entrance](world, world.way.name)


def test_each_entrance_has_its_attempts() -> None:
    """With texts, responses and messages; those with names are in another module."""
    assert entrances(CONTENT) == (READERS.keys() | WAYS_IN.keys()) - {"ner redrive"}
    assert entrances(ANSWERS) == (READERS.keys() | {"trigger poll", "ner check"}) - {"page /file/text"}
    assert entrances(QUEUED) == {"trigger submit_event", "trigger poll", "trigger sweep", "ner status", "ner redrive"}


@pytest.mark.parametrize("entrance", sorted(WAYS_IN))
async def test_a_hostile_text_gets_an_outcome_and_does_no_harm(
    entrance: str, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """By whatever way it comes in, and wherever it is read."""
    quiet(caplog)
    for number, data in enumerate(TEXTS.values()):
        world.way.name = f"{number}.txt"
        await WAYS_IN[entrance](world, world.way.name, data)
        blob = world.account.blob(world.way.settings.input_container, world.way.name)
        assert blob.download_blob().readall() == data
        world.way.etag = blob.get_blob_properties().etag.strip('"')
        if entrance == "trigger submit":
            await world.way.pipeline.submit(world.way.name)
            await world.way.poll_until_outcome()
            await read_all(world, CONTENT)
    check_log(caplog)


@pytest.mark.parametrize("answer", list(answers("")))
async def test_a_hostile_response_leads_nowhere_and_does_no_harm(
    answer: str, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """The file gets its outcome, and the other server no call."""
    quiet(caplog)
    operation, response = dict(zip(answers(""), answers(world.elsewhere).values(), strict=True))[answer]
    world.way.proxies.rule = once(response, operation)
    await world.way.submit(f"{TAGS} A table at Blue Heron in Bristol.".encode())
    await world.way.poll_until_outcome()
    await read_all(world, ANSWERS)
    assert world.called == []
    assert world.way.submissions() <= 2
    check_log(caplog)


@pytest.mark.parametrize("answer", [*(f"error {status} of Submit Job" for status in (400, 401, 404)), "marks"])
async def test_a_hostile_response_to_a_check_does_no_harm(
    answer: str, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command prints what the service says."""
    operation, response = answers(world.elsewhere)[answer]
    world.way.proxies.rule = once(response, operation)
    show(await ask(world.way.app_settings, Clock()))
    output = capsys.readouterr().out
    assert "refused a small job" in output or "the job ended as" in output
    assert not STEERING.search(output)
    assert "\n\tERROR" not in output
    assert world.called == []


@pytest.mark.parametrize("message", MESSAGES)
async def test_a_hostile_message_does_nothing(message: str, world: World, caplog: pytest.LogCaptureFixture) -> None:
    """In the queue and in the poison queue, of which the tools show what there is."""
    quiet(caplog)
    container = world.way.settings.input_container
    body = MESSAGES[message].replace(b'"incoming"', f'"{container}"'.encode())
    await world.way.pipeline.poll(body)
    await world.way.pipeline.submit_event(body)
    queues = world.account.queues
    poison = queues.get_queue_client(world.way.settings.poison_queue)
    poison.create_queue()
    # The app encodes its messages; those of others may be anything.
    for content in (base64.b64encode(body).decode(), "no base64", f"{TAGS}\u202e\x9b31m"):
        poison.send_message(content)
        queues.get_queue_client(world.way.settings.queue).send_message(content)
    await world.way.pipeline.sweep()
    for entrance in sorted(entrances(QUEUED) & READERS.keys()):
        await READERS[entrance](world, "")
    assert world.way.submissions() == 0
    check_log(caplog)
