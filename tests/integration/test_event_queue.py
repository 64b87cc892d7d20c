"""Events in a Storage queue as the source of uploads: each has the right end, and costs no more than its message."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from azure.storage.blob import BlobClient, BlobServiceClient
from azure.storage.queue import QueueClient, QueueServiceClient

from local import stack
from local.children import Child
from local.event_grid import EventGrid, blob_event, encoded
from local.watch import read_outcome
from shared.settings import EVENT_QUEUE, Settings
from tests.conftest import hosted
from tests.emulator import documents, stats
from tests.waiting import eventually

TEXT = b"Please book a table in Paris."
YEARLY = "0 0 0 1 1 *"


@pytest.fixture
def event_values(values: dict[str, str], ner_emulator: str) -> dict[str, str]:
    """App settings for events from a queue, without a sweep that would find the files anyway."""
    own = {"NER_BLOB_TRIGGER_SOURCE": EVENT_QUEUE, "NER_SWEEP_SCHEDULE": YEARLY}
    return {**values, **own, "NER_ENDPOINT": ner_emulator}


class Events:
    """A running app, its uploads, and its queue of events."""

    def __init__(self, values: dict[str, str], blobs: BlobServiceClient, queues: QueueServiceClient, log: Path) -> None:
        self.settings = Settings.from_environ(values)
        self.blobs = blobs
        self.queues = queues
        self.queue: QueueClient = queues.get_queue_client(self.settings.event_queue)
        self.log = log

    def upload(self, name: str) -> tuple[BlobClient, str]:
        """Upload a file; return its blob and its version."""
        blob = self.blobs.get_blob_client(self.settings.input_container, name)
        return blob, str(blob.upload_blob(TEXT, overwrite=True)["etag"]).strip('"')

    def send(self, event: dict[str, Any]) -> None:
        """Deliver an event."""
        self.queue.send_message(encoded(event))

    def wait_for_outcome(self, name: str, etag: str) -> None:
        """Wait until a version of a file has its outcome."""
        eventually(partial(read_outcome, self.blobs, self.settings, name, etag), f"the outcome of {name}")

    def count(self, queue: str) -> int:
        """Return the number of messages in a queue."""
        return self.queues.get_queue_client(queue).get_queue_properties().approximate_message_count or 0

    def wait_until_empty(self) -> None:
        """Wait until no event is left."""
        eventually(lambda: not self.count(self.settings.event_queue), "no event is left")

    def poison_queues(self) -> set[str]:
        """Return the names of the app's poison queues that exist."""
        names = {queue.name for queue in self.queues.list_queues(self.settings.queue)}
        return {name for name in names if name.endswith("-poison")}


@contextmanager
def running(
    values: dict[str, str], blobs: BlobServiceClient, queues: QueueServiceClient, log: Path
) -> Iterator[tuple[Events, Child]]:
    """Run the app until the block ends."""
    with hosted(values, log) as host:
        yield Events(values, blobs, queues, log), host


@pytest.fixture
def events(
    event_values: dict[str, str], blobs: BlobServiceClient, queues: QueueServiceClient, tmp_path: Path
) -> Iterator[Events]:
    """A running app that reads events from its queue."""
    with running(event_values, blobs, queues, tmp_path / "host.log") as (found, _):
        yield found


@pytest.mark.parametrize("is_cloud_event", [False, True], ids=["Event Grid", "CloudEvents"])
def test_an_event_in_the_queue_submits_its_file(is_cloud_event: bool, events: Events, ner_emulator: str) -> None:
    """In both schemas, whatever the name is; twice the same event is one submission."""
    kind = "cloud" if is_cloud_event else "grid"
    names = [f"{kind}/a b/ü#1?.txt", f"{kind}/100%25 %41.txt", f"{kind}/plain.txt"]
    etags, before = {}, documents(ner_emulator)
    for name in names:
        blob, etags[name] = events.upload(name)
        for _ in range(2):
            events.send(blob_event(blob, etags[name], is_cloud_event=is_cloud_event))
    events.upload("unheard.txt")
    for name in names:
        events.wait_for_outcome(name, etags[name])
    events.wait_until_empty()
    assert documents(ner_emulator) - before == len(names)
    assert not events.poison_queues()


def test_what_is_no_upload_is_ignored_and_harms_no_other(events: Events, ner_emulator: str) -> None:
    """Other containers, other types and garbage cost their own message; each has a line in the log."""
    before = documents(ner_emulator)
    blob, etag = events.upload("ignored.txt")
    foreign = events.blobs.get_blob_client(events.settings.results_container, "ignored.txt")
    foreign.upload_blob(TEXT)
    events.send(blob_event(foreign, etag))
    for kind in ("Microsoft.Storage.BlobDeleted", "Microsoft.Storage.BlobTierChanged", "x" * 5000):
        for is_cloud_event in (False, True):
            events.send(blob_event(blob, etag, kind=kind, is_cloud_event=is_cloud_event))
    garbage: list[bytes] = [
        b"",
        b"nonsense",
        b"7",
        b"[]",
        b"{}",
        b"[" * 40_000,
        json.dumps([blob_event(blob, etag)]).encode(),
        json.dumps({"eventType": "Microsoft.Storage.BlobCreated", "data": None}).encode(),
        json.dumps({"eventType": "Microsoft.Storage.BlobCreated", "data": {"url": 5}}).encode(),
        json.dumps({"eventType": "Microsoft.Storage.BlobCreated", "data": {"url": "http://[a/incoming/b"}}).encode(),
        json.dumps({"eventType": 5, "data": {"url": blob.url}}).encode(),
    ]
    for body in garbage:
        events.queue.send_message(base64.b64encode(body).decode())
    other, other_etag = events.upload("good.txt")
    events.send(blob_event(other, other_etag))
    events.wait_for_outcome("good.txt", other_etag)
    events.wait_until_empty()
    log = events.log.read_text()
    assert log.count("ignored an event from container") == 1
    assert log.count("ignored an event of type 'Microsoft.Storage.BlobDeleted'") == 2
    assert log.count("ignored an event of type 'x") == 2
    assert "x" * 200 not in log
    assert log.count("ignored a message that is no event about a blob") == len(garbage)
    assert documents(ner_emulator) - before == 1
    assert not events.poison_queues()


def test_events_that_are_not_base64_go_to_the_poison_queue_alone(events: Events) -> None:
    """The host does not call the function, since host.json asks for base64."""
    blob, etag = events.upload("plain.txt")
    events.queue.send_message(json.dumps(blob_event(blob, etag)))
    other, other_etag = events.upload("encoded.txt")
    events.send(blob_event(other, other_etag))
    events.wait_for_outcome("encoded.txt", other_etag)
    eventually(lambda: bool(events.poison_queues()), "the poison queue")
    assert events.poison_queues() == {f"{events.settings.event_queue}-poison"}


@pytest.mark.parametrize(
    "hostile",
    [
        {"id": 5, "PopReceipt": None, "QueueTrigger": "mine"},
        {"DequeueCount": 77, "dequeuecount": 3},
        {"sys": {"a": 1}, "name": "other.txt", "BlobTrigger": "incoming/other.txt"},
    ],
    ids=["ids", "counts", "other"],
)
def test_properties_that_replace_the_hosts_metadata_change_nothing(
    hostile: dict[str, Any], events: Events, ner_emulator: str
) -> None:
    """The function reads the body alone."""
    before = documents(ner_emulator)
    blob, etag = events.upload("replaced.txt")
    events.send(blob_event(blob, etag) | hostile)
    events.wait_for_outcome("replaced.txt", etag)
    events.wait_until_empty()
    assert documents(ner_emulator) - before == 1


def test_an_event_that_no_worker_can_read_ends_as_poison(
    event_values: dict[str, str], blobs: BlobServiceClient, queues: QueueServiceClient, tmp_path: Path
) -> None:
    """Its properties have types that the worker refuses: it fails five times before the function; others go on."""
    values = event_values | {"AzureFunctionsJobHost__extensions__queues__visibilityTimeout": "00:00:00"}
    with running(values, blobs, queues, tmp_path / "host.log") as (events, host):
        blob, etag = events.upload("unreadable.txt")
        events.send(blob_event(blob, etag) | {"InsertionTime": 5})
        other, other_etag = events.upload("readable.txt")
        events.send(blob_event(other, other_etag))
        events.wait_for_outcome("readable.txt", other_etag)
        poison = f"{events.settings.event_queue}-poison"
        eventually(lambda: poison in events.poison_queues() and events.count(poison) == 1, "poison")
        events.wait_until_empty()
        assert host.is_running
    assert events.poison_queues() == {poison}


def test_events_wait_while_the_app_is_down_and_then_share_batches(
    event_values: dict[str, str],
    blobs: BlobServiceClient,
    queues: QueueServiceClient,
    ner_emulator: str,
    tmp_path: Path,
) -> None:
    """Files whose events are received together leave together, as with the blob trigger."""
    stack.create_containers_and_queues(Settings.from_environ(event_values))
    stopped = Events(event_values, blobs, queues, tmp_path / "host.log")
    etags = {}
    for number in range(64):
        name = f"waiting-{number}.txt"
        blob, etags[name] = stopped.upload(name)
        stopped.send(blob_event(blob, etags[name]))
    posted, sent = posts(ner_emulator), documents(ner_emulator)
    with running(event_values, blobs, queues, tmp_path / "host.log") as (events, _):
        for name, etag in etags.items():
            events.wait_for_outcome(name, etag)
    assert documents(ner_emulator) - sent == len(etags)
    assert posts(ner_emulator) - posted <= len(etags) / 2


def posts(ner_emulator: str) -> int:
    """Return how many submissions the service was sent."""
    return sum(count for call, count in stats(ner_emulator)["calls"].items() if call.startswith("POST "))


def test_the_blob_trigger_is_not_registered_as_well(events: Events, event_values: dict[str, str]) -> None:
    """With both, each upload would be reported twice."""
    assert "Functions: submit, poll, sweep\n" in events.log.read_text()
    internal = f"azure-webjobs-blobtrigger-{event_values['AzureFunctionsWebHost__hostid']}"
    assert internal not in {queue.name for queue in events.queues.list_queues()}


def test_new_blobs_are_reported_once(
    event_values: dict[str, str], blobs: BlobServiceClient, queues: QueueServiceClient
) -> None:
    """By the emulation of Event Grid: not those from before, each version once, and a replaced one again."""
    settings = Settings.from_environ(event_values)
    container = blobs.create_container(settings.input_container)
    queue = queues.create_queue(settings.event_queue)
    container.upload_blob("before.txt", TEXT)
    grid = EventGrid(container, queue)
    grid.report()
    container.upload_blob("new é.txt", TEXT)
    grid.report()
    grid.report()
    container.upload_blob("before.txt", TEXT, overwrite=True)
    container.delete_blob("new é.txt")
    grid.report()
    container.upload_blob("new é.txt", TEXT)
    grid.report()
    received = [json.loads(base64.b64decode(message.content)) for message in queue.receive_messages()]
    names = [event["subject"].rpartition("/blobs/")[2] for event in received]
    assert names == ["new é.txt", "before.txt", "new é.txt"]
    assert received[0]["data"]["url"].endswith("/new%20%C3%A9.txt")
