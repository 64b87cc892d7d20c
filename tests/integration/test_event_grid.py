"""The stand-in takes Event Grid's events as the host's webhook does, and the app goes its whole way from them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from azure.storage.blob import BlobServiceClient

from local import stack
from local.children import Child
from local.host.event_grid import PATH, BlobPath, blob_path
from local.watch import read_outcome
from shared.settings import Settings
from tests.conftest import LOGS, hosted
from tests.emulator import submissions
from tests.ports import free_port
from tests.waiting import PATIENCE_SECONDS, eventually

NOTIFICATION = {"aeg-event-type": "Notification"}


@contextmanager
def listening(values: Mapping[str, str], *options: str) -> Iterator[tuple[httpx.Client, Child]]:
    """Run the app until the block ends, waiting for events; give a client of its webhook and the host."""
    port = free_port()
    with (
        hosted(values, LOGS / "event-grid.log", "--port", str(port), *options) as host,
        httpx.Client(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        eventually(lambda: answers(client, host), "the webhook")
        client.params = httpx.QueryParams(functionName="Host.Functions.submit")
        yield client, host


@pytest.fixture
def event_values(values: dict[str, str], ner_emulator: str) -> dict[str, str]:
    """App settings for events."""
    return {**values, "NER_ENDPOINT": ner_emulator, "NER_BLOB_TRIGGER_SOURCE": "EventGrid"}


@pytest.fixture
def webhook(event_values: dict[str, str]) -> Iterator[tuple[httpx.Client, Settings]]:
    """A client of the webhook of a running app that waits for events."""
    with listening(event_values) as (client, _):
        yield client, Settings.from_environ(event_values)


def answers(client: httpx.Client, host: Child) -> bool:
    """Return whether the webhook is there."""
    assert host.is_running, host.last_words()
    try:
        return client.post(PATH).status_code in (400, 401)
    except httpx.TransportError:
        return False


def event(url: str) -> dict[str, object]:
    """Return an event as Event Grid posts it (https://learn.microsoft.com/azure/event-grid/event-schema-blob-storage)."""
    container, _, name = urlsplit(url).path.removeprefix("/devstoreaccount1/").partition("/")
    account = "/subscriptions/0/resourceGroups/group/providers/Microsoft.Storage/storageAccounts/account"
    return {
        "topic": account,
        "subject": f"/blobServices/default/containers/{container}/blobs/{name}",
        "eventType": "Microsoft.Storage.BlobCreated",
        "id": "831e1650-001e-001b-66ab-eeb76e069631",
        "data": {
            "api": "PutBlob",
            "clientRequestId": "6d79dbfb-0e37-4fc4-981f-442c9ca65760",
            "requestId": "831e1650-001e-001b-66ab-eeb76e000000",
            "eTag": "0x8D4BCC2E4835CD0",
            "contentType": "text/plain",
            "contentLength": 29,
            "blobType": "BlockBlob",
            "url": url,
            "sequencer": "00000000000004420000000000028963",
            "storageDiagnostics": {"batchId": "b68529f3-68cd-4744-baa4-3c0498ec19f0"},
        },
        "dataVersion": "",
        "metadataVersion": "1",
        "eventTime": "2026-01-02T03:04:05.6789Z",
    }


def test_an_event_brings_a_file_to_its_outcome(
    webhook: tuple[httpx.Client, Settings], blobs: BlobServiceClient
) -> None:
    """One event or a list, twice the same: one outcome. A blob of which no event tells is left alone."""
    client, settings = webhook
    etags = {}
    for name in ("a b/ü.txt", "second.txt", "unheard.txt"):
        blob = blobs.get_blob_client(settings.input_container, name)
        etags[name] = str(blob.upload_blob(b"Please book a table in Paris.")["etag"]).strip('"')
    urls = [blobs.get_blob_client(settings.input_container, name).url for name in etags]
    assert client.post(PATH, headers=NOTIFICATION, json=event(urls[0])).status_code == 202
    assert client.post(PATH, headers=NOTIFICATION, json=[event(urls[0]), event(urls[1])]).status_code == 202
    for name in ("a b/ü.txt", "second.txt"):
        eventually(partial(read_outcome, blobs, settings, name, etags[name]), "an outcome")
    assert read_outcome(blobs, settings, "unheard.txt", etags["unheard.txt"]) is None


def test_duplicates_cost_nothing_and_events_of_other_containers_do_nothing(
    webhook: tuple[httpx.Client, Settings], blobs: BlobServiceClient, ner_emulator: str
) -> None:
    """Event Grid delivers at least once; a subscription without its filter tells of outcomes, too."""
    client, settings = webhook
    blob = blobs.get_blob_client(settings.input_container, "often-told.txt")
    etag = str(blob.upload_blob(b"Please book a table in Paris.")["etag"]).strip('"')
    foreign = blobs.get_blob_client(settings.results_container, "foreign.txt")
    foreign.upload_blob(b"Please book no table at all.")
    events = [event(blob.url), event(foreign.url)]
    for _ in range(10):
        assert client.post(PATH, headers=NOTIFICATION, json=events).status_code == 202
    eventually(partial(read_outcome, blobs, settings, "often-told.txt", etag), "an outcome")
    log = LOGS / "event-grid.log"
    eventually(lambda: log.read_text().count("ignored an event from container") == 10, "the others were told of")
    assert submissions(ner_emulator, "often-told.txt") == 1
    assert submissions(ner_emulator, "foreign.txt") == 0
    names = {found.name for found in blobs.get_container_client(settings.results_container).list_blobs()}
    assert names == {"often-told.txt.json", "foreign.txt"}


def test_the_webhook_answers_as_the_host_does(webhook: tuple[httpx.Client, Settings]) -> None:
    """A handshake for any function, and refusals that depend on nothing but the form of the request."""
    client, _ = webhook
    validation = [{"data": {"validationCode": "512d38b6"}}]
    for name in ("Host.Functions.submit", "Host.Functions.nobody"):
        answer = client.post(
            PATH,
            params={"functionName": name},
            headers={"aeg-event-type": "SubscriptionValidation"},
            json=validation,
        )
        assert (answer.status_code, answer.json()) == (200, {"validationResponse": "512d38b6"})
    assert client.post(PATH, headers={"aeg-event-type": "Unsubscribe"}, json=[]).status_code == 202
    assert client.post(PATH, json=[event("http://127.0.0.1:1/account/incoming/a")]).status_code == 400
    for garbage in (
        b"{nonsense",
        b"",
        b"7",
        b'[{"data": {}}]',
        b'[{"data": {"url": "a.txt", "blobType": "BlockBlob"}}]',
    ):
        assert client.post(PATH, headers=NOTIFICATION, content=garbage).status_code == 500, garbage
    container = event("http://127.0.0.1:1/account/incoming")
    assert client.post(PATH, headers=NOTIFICATION, json=container).status_code == 500


def test_good_events_before_a_bad_one_count(webhook: tuple[httpx.Client, Settings], blobs: BlobServiceClient) -> None:
    """Event Grid then sends all of them again."""
    client, settings = webhook
    blob = blobs.get_blob_client(settings.input_container, "before-a-bad-one.txt")
    etag = str(blob.upload_blob(b"Please book a table in Paris.")["etag"]).strip('"')
    assert client.post(PATH, headers=NOTIFICATION, json=[event(blob.url), {"data": None}]).status_code == 500
    eventually(partial(read_outcome, blobs, settings, "before-a-bad-one.txt", etag), "an outcome")


@pytest.mark.parametrize("name", ["Host.Functions.nobody", "Host.Functions.poll"])
def test_an_event_for_another_function_is_accepted_and_lost(
    name: str, event_values: dict[str, str], blobs: BlobServiceClient, ner_emulator: str
) -> None:
    """Neither the subscription nor the function hears of it."""
    settings = Settings.from_environ(event_values)
    with listening(event_values) as (client, host):
        blob = blobs.get_blob_client(settings.input_container, f"lost-{name}.txt")
        blob.upload_blob(b"Please book a table in Paris.")
        answer = client.post(PATH, params={"functionName": name}, headers=NOTIFICATION, json=event(blob.url))
        assert answer.status_code == 202
        eventually(lambda: f"there is no function {name}" in host.log.read_text(), "the message is dropped")
        assert host.is_running
    assert submissions(ner_emulator, f"lost-{name}.txt") == 0
    assert not list(blobs.get_container_client(settings.results_container).list_blobs())


def test_an_event_without_a_function_ends_the_host(event_values: dict[str, str], blobs: BlobServiceClient) -> None:
    """It is accepted; its message then ends the host, and ends the next host as soon as it is received again."""
    settings = Settings.from_environ(event_values)
    with listening(event_values, "--lease-seconds", "1") as (client, host):
        blob = blobs.get_blob_client(settings.input_container, "nameless.txt")
        blob.upload_blob(b"Please book a table in Paris.")
        client.params = httpx.QueryParams()
        assert client.post(PATH, headers=NOTIFICATION, json=event(blob.url)).status_code == 202
        assert host.process.wait(PATIENCE_SECONDS) == 1
        assert "FunctionId" in host.log.read_text()
    with stack.start_host(event_values, LOGS / "event-grid-again.log", ("--port", str(free_port()))) as host:
        assert host.process.wait(PATIENCE_SECONDS) == 1
        assert "FunctionId" in host.log.read_text()


def test_a_key_is_asked_for_where_one_is_set(event_values: dict[str, str]) -> None:
    """As the host asks for the extension's system key."""
    with listening(event_values, "--webhook-key", "secret") as (client, _):
        unsubscribe = {"aeg-event-type": "Unsubscribe"}
        assert client.post(PATH, headers=unsubscribe).status_code == 401
        assert client.post(PATH, params={"code": "sécret"}, headers=unsubscribe).status_code == 401
        assert client.post(PATH, params={"code": "secret"}, headers=unsubscribe).status_code == 202


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("https://account.blob.core.windows.net/incoming/a/b%20c.txt", BlobPath("incoming", "a/b c.txt")),
        ("http://127.0.0.1:10000/devstoreaccount1/incoming/a%231.txt", BlobPath("incoming", "a#1.txt")),
    ],
)
def test_where_a_blob_is(url: str, path: BlobPath) -> None:
    """The account is in the path on an emulator only."""
    assert blob_path(url) == path


def test_without_a_webhook_an_app_that_waits_for_events_does_not_start(values: dict[str, str], tmp_path: Path) -> None:
    """It would wait for ever."""
    with (
        pytest.raises(Exception, match="start this host emulator with --port"),
        hosted({**values, "NER_BLOB_TRIGGER_SOURCE": "EventGrid"}, tmp_path / "host.log"),
    ):
        pass
