"""Event Grid for the storage emulator, which sends no events: new blobs are reported by messages in a queue.

It lists the container again and again, so it misses a version that is replaced or deleted before the next listing. The
blobs that are there when it starts are not reported, as a new subscription does not report them.
"""

import base64
import json
import logging
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

from azure.core.exceptions import AzureError
from azure.storage.blob import BlobClient, ContainerClient
from azure.storage.queue import QueueClient

from local.account import storage_clients
from shared.settings import Settings

log = logging.getLogger("event_grid")

LISTING_SECONDS: Final = 1.0
CREATED: Final = "Microsoft.Storage.BlobCreated"
ACCOUNT: Final = "/subscriptions/0/resourceGroups/group/providers/Microsoft.Storage/storageAccounts/account"


def blob_event(blob: BlobClient, etag: str, *, kind: str = CREATED, is_cloud_event: bool = False) -> dict[str, Any]:
    """Return an event as Event Grid delivers it.

    Its form is that of https://learn.microsoft.com/azure/event-grid/event-schema-blob-storage.

    Args:
        blob: the blob.
        etag: its version.
        kind: type of the event.
        is_cloud_event: whether it is in the schema of CloudEvents 1.0, not in that of Event Grid.
    """
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    request = str(uuid.uuid4())
    common = {
        "id": str(uuid.uuid4()),
        "subject": f"/blobServices/default/containers/{blob.container_name}/blobs/{blob.blob_name}",
        "data": {
            "api": "PutBlob",
            "clientRequestId": request,
            "requestId": request,
            "eTag": etag,
            "contentType": "application/octet-stream",
            "contentLength": 29,
            "blobType": "BlockBlob",
            "url": blob.url,
            "sequencer": "00000000000004420000000000028963",
            "storageDiagnostics": {"batchId": request},
        },
    }
    if is_cloud_event:
        return {"specversion": "1.0", "type": kind, "source": ACCOUNT, "time": now, **common}
    versions = {"dataVersion": "", "metadataVersion": "1"}
    return {"topic": ACCOUNT, "eventType": kind, "eventTime": now, **versions, **common}


def encoded(event: dict[str, Any]) -> str:
    """Return an event as Event Grid puts it into a queue: one in a message, in base64."""
    return base64.b64encode(json.dumps(event).encode()).decode()


class EventGrid:
    """Reports the new blobs of a container to a queue."""

    def __init__(self, container: ContainerClient, queue: QueueClient) -> None:
        """Take what the container holds now for known."""
        self.container = container
        self.queue = queue
        self.known = self.listed()
        self.stopped = threading.Event()

    def listed(self) -> dict[str, str]:
        """Return the version of each blob."""
        return {blob.name: str(blob.etag).strip('"') for blob in self.container.list_blobs()}

    def run(self) -> None:
        """Report until stopped, and try again if storage does not respond."""
        while not self.stopped.wait(LISTING_SECONDS):
            try:
                self.report()
            except AzureError as error:
                log.warning("New blobs could not be reported: %s", type(error).__name__)

    def report(self) -> None:
        """Send an event for each version that is new."""
        listed = self.listed()
        self.known = {name: etag for name, etag in self.known.items() if name in listed}
        for name, etag in listed.items():
            if self.known.get(name) != etag:
                event = blob_event(self.container.get_blob_client(name), etag)
                self.queue.send_message(encoded(event), time_to_live=-1)
                self.known[name] = etag


@contextmanager
def delivering(settings: Settings) -> Iterator[None]:
    """Report new uploads until the block ends."""
    with storage_clients(settings) as (blobs, queues):
        container = blobs.get_container_client(settings.input_container)
        grid = EventGrid(container, queues.get_queue_client(settings.event_queue))
        thread = threading.Thread(target=grid.run, name="Event Grid", daemon=True)
        thread.start()
        try:
            yield
        finally:
            grid.stopped.set()
            thread.join()
