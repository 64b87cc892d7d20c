"""No name reads or writes outside of the app's containers, or a copy outside of its folder, by whatever entrance."""

import asyncio
import base64
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, Self
from urllib.parse import quote

import httpx
import pytest
from azure.core.credentials import AccessToken
from azure.storage.blob import BlobServiceClient
from azure.storage.blob.aio import BlobServiceClient as AsyncBlobServiceClient
from azure.storage.queue import QueueServiceClient
from typer.testing import CliRunner

from local.account import Account
from local.cli import app
from local.commands import running
from local.files import why_skipped
from local.listing import list_account
from local.poison import read_poisoned
from local.results import read_result
from local.storage_emulator import Azurite
from local.view.app import View
from local.watch import upload
from shared import outcome as outcomes
from shared.names import RefusedNameError, result_name
from shared.ner.model import Problem
from shared.outcome import OutcomeStatus
from shared.pipeline import services
from shared.pipeline.sweeping import VOID_TIMEOUTS
from shared.source import Source
from shared.state.batch import BATCHES
from shared.state.claim import CLAIMS, claim_name
from shared.state.learned import LEARNED_NAME
from shared.state.sweeping import SWEEP_NAME
from shared.storage.queue import BLOB_POISON_QUEUE, event_poison_queue
from tests.conftest import LOGS
from tests.e2e.test_identity import STORAGE, make_certificate, token_for
from tests.emulator import stats
from tests.hostile import (
    ACCEPTED,
    CONTROLS,
    LEADING_OUT,
    NAMES,
    PAYROLL,
    REFUSED,
    SECRET,
    UNLISTABLE,
    entrances,
    put_unfolded,
    sas_of,
)
from tests.integration.conftest import NOTICE, TEXT, ProxiedWay, Way
from tests.ports import free_ports
from tests.unit.test_messages import BATCH_MESSAGE, FILE_MESSAGE, changed

Blobs = dict[tuple[str, str], str]


def by_sas(connection_string: str) -> str:
    """Return a connection string with a signature in place of the key, so that storage notices no other path."""
    kept = [part for part in connection_string.split(";") if part.startswith(("BlobEndpoint=", "QueueEndpoint="))]
    return ";".join([*kept, f"SharedAccessSignature={sas_of(connection_string)}"])


def everything(blobs: BlobServiceClient, *containers: str) -> Blobs:
    """Return the ETags of all blobs of these containers, and which containers there are."""
    found = {(one.name, ""): "" for one in blobs.list_containers()}
    for container in containers:
        found |= {(container, blob.name): blob.etag for blob in blobs.get_container_client(container).list_blobs()}
    return found


@dataclass(frozen=True)
class World:
    """A way that works with a SAS, and an account with a container that is not the app's.

    Attributes:
        page: a browser that shows the account.
        blobs: the account by its key.
    """

    way: Way
    account: Account
    page: httpx.AsyncClient
    blobs: BlobServiceClient
    sas: str
    folder: Path

    def put(self, name: str) -> bool:
        """Upload a blob under exactly this name; return whether storage took it."""
        url = self.blobs.get_container_client(self.way.settings.input_container).url
        return put_unfolded(url, self.sas, name, TEXT)


@pytest.fixture
async def world(
    make_way: Callable[..., Way],
    azurite: Azurite,
    blobs: BlobServiceClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[World]:
    """The world, with a secret in another container."""
    connection = by_sas(azurite.connection_string)
    way = make_way(NER_STORAGE=connection, AzureWebJobsStorage=connection)
    way.switch(jobSeconds=0)
    blobs.create_container(way.settings.state_container)
    payroll = blobs.get_container_client(PAYROLL)
    if not payroll.exists():
        payroll.create_container()
        payroll.upload_blob("salaries.txt", SECRET)
    monkeypatch.setattr(running, "RESULTS", tmp_path / "results")
    environ = {"NER_STORAGE": connection, "NER_INPUT_CONTAINER": way.settings.input_container}
    for name, value in {**environ, "NER_ENDPOINT": "http://127.0.0.1:9", "NER_KEY": "k"}.items():
        monkeypatch.setenv(name, value)
    with (
        BlobServiceClient.from_connection_string(connection) as own,
        QueueServiceClient.from_connection_string(connection) as queues,
    ):
        account = Account(way.settings, own, queues)
        transport = httpx.ASGITransport(View(account).app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as page:
            yield World(way, account, page, blobs, sas_of(azurite.connection_string), tmp_path)
    await way.pipeline.aclose()


Attempt = Callable[[World, str], Awaitable[None]]


async def by_trigger(world: World, name: str) -> None:
    """Report an upload of this name."""
    await world.way.pipeline.submit(name)


def event_of(container: str, name: str) -> bytes:
    """Return an event of the upload of a blob."""
    url = f"https://account.blob.core.windows.net/{container}/{quote(name, safe='')}"
    return json.dumps({"eventType": "Microsoft.Storage.BlobCreated", "data": {"url": url}}).encode()


async def by_event(world: World, name: str) -> None:
    """Report an upload of this name by an event in a queue."""
    await world.way.pipeline.submit_event(event_of(world.way.settings.input_container, name))


async def by_message(world: World, name: str) -> None:
    """Send messages about a file, and about a batch."""
    container = world.way.settings.input_container
    batch = json.loads(changed(BATCH_MESSAGE, "record.members.0.source.name", name))
    batch["record"]["members"][0]["source"]["container"] = container
    for body in (changed(FILE_MESSAGE, "file", name), json.dumps({**batch, "etag": None})):
        await world.way.pipeline.poll(body.encode())


async def by_sweep(world: World, name: str) -> None:
    """Let the sweep find an upload of this name, if storage takes it."""
    if name in UNLISTABLE or not name or not world.put(name):
        return
    assert not (await world.way.sweep()).sent
    # The other tools list the account too, and do not show it.
    assert not list_account(world.account).uploads


def by_page(path: str) -> Attempt:
    """Return the attempt to get a file's page."""

    async def attempt(world: World, name: str) -> None:
        response = await world.page.get(path, params={"name": name, "etag": "0x1", "part": "0"})
        assert response.status_code in (400, 404), (response.status_code, name)
        assert SECRET not in response.content

    return attempt


async def by_page_drop(world: World, name: str) -> None:
    """Drop a file on the page."""
    assert (await world.page.put("/drop", params={"name": name}, content=b"x")).status_code == 400


def by_command(*command: str) -> Attempt:
    """Return the attempt to call a command with the name."""

    async def attempt(_world: World, name: str) -> None:
        result = CliRunner().invoke(app, [*command, "--", name])
        assert result.exit_code == 2, result.output
        assert SECRET.decode() not in result.output

    return attempt


async def by_redrive(world: World, name: str) -> None:
    """Send it again, by its name and from both poison queues."""
    await by_command("redrive", "--failed")(world, name)
    settings = world.way.settings
    notice = {**NOTICE, "ContainerName": settings.input_container, "BlobName": name}
    for queue, text in (
        (BLOB_POISON_QUEUE, json.dumps(notice)),
        (event_poison_queue(settings), event_of(settings.input_container, name).decode()),
        (settings.poison_queue, changed(FILE_MESSAGE, "file", name)),
    ):
        found = read_poisoned(settings, queue, base64.b64encode(text.encode()).decode(), None)
        assert (found.is_ours, found.names) == (False, ())


async def by_drop(world: World, name: str) -> None:
    """Drop a file of this name, and show its outcome, of which a copy is kept."""
    assert why_skipped(name, world.folder)
    (world.folder / "a.txt").write_text("x")
    with pytest.raises(RefusedNameError):
        upload(world.account.blobs, world.way.settings, {name: world.folder / "a.txt"}, {})
    with pytest.raises(RefusedNameError):
        running.show_dropped(world.account, name)
    assert {path.name for path in world.folder.rglob("*")} <= {"a.txt", "results"}


ATTEMPTS: Final[dict[str, Attempt]] = {
    "trigger submit": by_trigger,
    "trigger submit_event": by_event,
    "trigger poll": by_message,
    "trigger sweep": by_sweep,
    **{f"page {path}": by_page(path) for path in ("/file", "/file/part", "/file/outcome", "/file/text")},
    "page /drop": by_page_drop,
    "ner show": by_command("show"),
    "ner export": by_command("export"),
    "ner redrive": by_redrive,
    "ner drop": by_drop,
    "ner run": by_drop,
}


@pytest.mark.parametrize("entrance", sorted(entrances(NAMES)))
async def test_no_entrance_lets_a_hostile_name_in(entrance: str, world: World) -> None:
    """Nothing is read, written or submitted, and the other container stays as it is."""
    before, paid = everything(world.blobs, PAYROLL), stats(world.way.ner_emulator)["submissions"]
    for name in REFUSED:
        await ATTEMPTS[entrance](world, name)
        assert everything(world.blobs, PAYROLL) == before, name
    assert stats(world.way.ner_emulator)["submissions"] == paid
    assert not world.way.queue.get_queue_properties().approximate_message_count


async def test_a_refused_upload_costs_one_line_and_no_other_file(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Its neighbours are found, submitted and get their outcomes; no sweep repeats the line."""
    caplog.set_level(logging.INFO, "ner")
    stored = {name for name in (*LEADING_OUT, *CONTROLS) if world.put(name)}
    stored &= names_in(world.blobs, world.way.settings.input_container)  # storage takes a backslash for a slash
    assert stored >= {LEADING_OUT[0], *CONTROLS}
    for name in stored:
        await world.way.pipeline.submit(name)
    assert len(caplog.records) == len(stored)
    assert all(record.getMessage().isprintable() for record in caplog.records)
    world.way.name = "b.txt"
    world.way.upload()
    await world.way.pipeline.sweep()
    assert (await world.way.sweep()).sent == 1
    assert (await world.way.poll_until_outcome()).source.name == "b.txt"
    ignored = len(names_in(world.blobs, world.way.settings.input_container)) - 1
    assert f"; {ignored} more have names that the app does not accept" in caplog.text
    assert sum("ignored the upload" in line for line in caplog.messages) == ignored
    assert [source.name for source in list_account(world.account).uploads] == ["b.txt"]


async def test_a_refused_upload_without_an_event_costs_one_line(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first sweep of a process says which it is, up to a number of them."""
    monkeypatch.setattr(services, "MAX_ODD_NAMES", 2)
    stored = [name for name in CONTROLS if world.put(name)]
    for _ in range(3):
        await world.way.pipeline.sweep()
    assert sum("ignored the upload" in line for line in caplog.messages) == 2 < len(stored)


@pytest.mark.parametrize("name", ["../b.txt", "b\n.txt"])
async def test_what_was_in_flight_before_the_rule_ends_in_the_log(
    name: str, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """An earlier version has submitted it, together with another file, which gets its outcome."""
    way = world.way
    way.switch(jobSeconds=1000)
    for file in ("b.txt", "a.txt"):
        way.name = file
        way.upload()
    await asyncio.gather(*(way.pipeline.submit(file) for file in ("a.txt", "b.txt")))
    body = way.message().content.encode()
    written, quoted = b'"name":"b.txt"', f'"name":{json.dumps(name)}'.encode()
    assert written in body
    state = way.blobs.get_container_client(way.settings.state_container)
    for found in list(state.list_blobs(include=["metadata"])):
        data = state.download_blob(found.name).readall()
        if found.name.startswith(BATCHES):
            assert written in data
            metadata = dict(found.metadata or {})
            state.upload_blob(found.name, data.replace(written, quoted), metadata=metadata, overwrite=True)
    way.blobs.get_blob_client(way.settings.input_container, "b.txt").delete_blob()
    assert world.put(name)
    way.switch(jobSeconds=0)
    way.end_jobs()
    message = json.dumps({"kind": "file", "version": 2, "file": name}).encode()
    for lost in (body.replace(written, quoted), message):
        await way.pipeline.poll(lost)
    assert sum("discarded a message" in line for line in caplog.messages) == 2
    assert (await way.sweep()).sent == 0
    assert sum("was ended" in line for line in caplog.messages) == 1
    assert (await way.sweep()).sent == 1
    assert (await way.poll_until_there()).status is OutcomeStatus.SUCCEEDED
    count = len([record for record in caplog.records if record.levelno >= logging.WARNING])
    way.pass_time(2 * VOID_TIMEOUTS * way.settings.submit_timeout_seconds)
    assert (await way.sweep()).sent == 0
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == count
    assert way.in_flight() == 0


async def test_a_sweep_calls_no_blob_of_a_hostile_name(
    make_proxied_way: Callable[..., Awaitable[ProxiedWay]], azurite: Azurite, blobs: BlobServiceClient
) -> None:
    """In any of its containers, of which others may write one: neither that blob nor the one where its URL leads."""
    way = await make_proxied_way()
    settings = way.settings
    blobs.create_container(settings.state_container)
    query = sas_of(azurite.connection_string)
    places = [(settings.input_container, ""), (settings.results_container, "")]
    places += [(settings.state_container, prefix) for prefix in (CLAIMS, BATCHES)]
    for container, prefix in places:
        url = blobs.get_container_client(container).url
        for name in LEADING_OUT:
            for hostile in {name, f"{name}/a.json"}:
                assert put_unfolded(url, query, f"{prefix}{hostile}", b"{}")
    await way.sweep()
    await way.pipeline.aclose()
    called = {(call.container, call.blob) for call in way.proxies.calls if call.blob}
    assert called <= {(settings.state_container, name) for name in (SWEEP_NAME, LEARNED_NAME)}


async def test_an_outcome_about_another_container_opens_nothing(world: World) -> None:
    """Its writer must not choose what the rights of its reader open."""
    source = Source(PAYROLL, "salaries.txt", "0x1", datetime(2026, 1, 2, tzinfo=UTC), len(SECRET), "utf-8")
    properties = world.blobs.get_blob_client(PAYROLL, "salaries.txt").get_blob_properties()
    version = Source(PAYROLL, source.name, properties.etag.strip('"'), properties.last_modified, len(SECRET), "utf-8")
    body = outcomes.encode(outcomes.failure(version, {}, Problem("Code", "text")))
    results = world.blobs.get_container_client(world.way.settings.results_container)
    results.upload_blob(result_name("a.txt"), body)
    result = read_result(world.account, "a.txt")
    assert not result.documents
    assert "not NER_INPUT_CONTAINER" in result.missing


@pytest.mark.parametrize("blob", ["../a.txt.json", "out/a.txt.json", "out/../../a.txt.json"])
def test_no_copy_is_written_outside_of_its_folder(
    blob: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not even by a link within it."""
    folder, outside = tmp_path / "results", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    (folder / "out").symlink_to(outside)
    account: Any = SimpleNamespace(settings=SimpleNamespace(results_container="results"))
    monkeypatch.setattr(running, "RESULTS", folder)
    monkeypatch.setattr(running, "read_result", lambda *_: SimpleNamespace(blob=blob, raw=b"{}"))
    monkeypatch.setattr(running, "show_result", lambda *_: None)
    running.show_dropped(account, "a.txt")
    assert "copy:    none (" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["out", "outside", "results"]


class Identity:
    """A managed identity, for both kinds of clients."""

    def get_token(self, *_scopes: str, **_options: Any) -> AccessToken:
        """Return a token for storage."""
        return AccessToken(token_for(STORAGE), int(datetime.now(UTC).timestamp()) + 3600)


class AsyncIdentity:
    """The same for clients that await it."""

    async def get_token(self, *_scopes: str, **_options: Any) -> AccessToken:
        """Return a token for storage."""
        return Identity().get_token()

    async def close(self) -> None:
        """Close nothing."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()


@contextmanager
def clients_by(
    how: str, azurite: Azurite, folder: Path
) -> Iterator[tuple[BlobServiceClient, BlobServiceClient, AsyncBlobServiceClient]]:
    """Yield an account by its key, and the app's two kinds of clients (requests, aiohttp) by a credential."""
    with ExitStack() as stack:
        options: dict[str, Any] = {}
        key = azurite.connection_string
        if how == "identity":
            certificate, private = make_certificate(folder)
            options = {"connection_verify": str(certificate)}
            needed = ["--oauth", "basic", "--cert", str(certificate), "--key", str(private)]
            own = Azurite(LOGS / "azurite-names.log", ports=free_ports(), options=needed)
            key = stack.enter_context(own).connection_string.replace("http:", "https:")
        owner = stack.enter_context(BlobServiceClient.from_connection_string(key, **options))
        if how == "identity":
            client = BlobServiceClient(owner.url, credential=Identity(), **options)
            async_client = AsyncBlobServiceClient(owner.url, credential=AsyncIdentity(), **options)
        else:
            connection = by_sas(key) if how == "sas" else key
            client = BlobServiceClient.from_connection_string(connection)
            async_client = AsyncBlobServiceClient.from_connection_string(connection)
        yield owner, stack.enter_context(client), async_client


def names_in(blobs: BlobServiceClient, container: str) -> set[str]:
    """Return the names of the blobs of a container."""
    return {blob.name for blob in blobs.get_container_client(container).list_blobs()}


@pytest.mark.parametrize("how", ["sas", "key", "identity"])
async def test_an_accepted_name_is_that_of_one_blob_for_each_library(
    how: str, azurite: Azurite, tmp_path: Path
) -> None:
    """And so are those of its outcome and its claim: each library reads what the other one has written."""
    inside, other = f"inside-{how}", f"other-{how}"
    with clients_by(how, azurite, tmp_path) as (owner, client, async_client):
        async with async_client:
            for container in (inside, other):
                owner.create_container(container)
            blobs = [blob for name in ACCEPTED for blob in (name, result_name(name), claim_name(name))]
            for number, blob in enumerate(blobs):
                if number % 2:
                    client.get_blob_client(inside, blob).upload_blob(blob.encode())
                else:
                    await async_client.get_blob_client(inside, blob).upload_blob(blob.encode())
            for blob in blobs:
                assert client.get_blob_client(inside, blob).download_blob().readall() == blob.encode()
                download = await async_client.get_blob_client(inside, blob).download_blob()
                assert await download.readall() == blob.encode()
            # Storage takes a backslash for a slash.
            assert names_in(owner, inside) == {blob.replace("\\", "/") for blob in blobs}
            assert not names_in(owner, other)
            if how != "key":  # its signature covers the path, so that storage refuses another one
                # The reason for the rule.
                client.get_blob_client(inside, f"../{other}/sync").upload_blob(b"")
                await async_client.get_blob_client(inside, f"../{other}/async").upload_blob(b"")
                assert names_in(owner, other) == {"sync", "async"}
