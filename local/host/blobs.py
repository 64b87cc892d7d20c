"""The blob listener, as the Storage Blobs extension has it: scan, receipts, an internal queue, then the function."""

import asyncio
import json
import logging
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from azure.core import MatchConditions
from azure.core.exceptions import AzureError, ResourceExistsError, ResourceModifiedError, ResourceNotFoundError
from azure.functions.meta import Datum
from azure.storage.blob.aio import BlobServiceClient, StorageStreamDownloader
from azure.storage.queue import QueueMessage, TextBase64EncodePolicy
from azure.storage.queue.aio import QueueServiceClient

from local.host.configuration import BlobOptions, HostError
from local.host.functions import Function, InvocationError, Worker
from local.host.queues import QueueListener

if TYPE_CHECKING:
    from datetime import datetime

log = logging.getLogger("host")

SCAN_SECONDS: Final = 2.0
"""The host lists a container of the storage emulator this often."""
HOSTS_CONTAINER: Final = "azure-webjobs-hosts"
POISON_QUEUE: Final = "webjobs-blobtrigger-poison"
INCOMPLETE: Final = {"Incomplete": "true"}


class BlobTrigger(NamedTuple):
    """A function with its container and the pattern that blob names must match."""

    function: Function
    container: str
    pattern: re.Pattern[str]
    by_events: bool = False
    """Whether Event Grid tells of new blobs, in place of the listener's own looking."""


def parse_path(path: str) -> tuple[str, re.Pattern[str]]:
    """Split `container/pattern`; `{name}` matches any characters, slashes too.

    Raises:
        HostError: the container part holds an expression.
    """
    container, _, pattern = path.partition("/")
    if "{" in container:
        raise HostError(f"blob trigger path {path!r}: the container must not be an expression")
    pieces = re.split(r"\{(\w+)\}", pattern or "{name}")
    expression = "".join(f"(?P<{piece}>.*)" if index % 2 else re.escape(piece) for index, piece in enumerate(pieces))
    return container, re.compile(expression, re.DOTALL)


class BlobListener:
    """Finds new blobs for all blob triggers of a connection and runs the functions; runs until it is cancelled."""

    def __init__(
        self,
        blobs: BlobServiceClient,
        queues: QueueServiceClient,
        triggers: list[BlobTrigger],
        *,
        options: BlobOptions,
        worker: Worker,
        host_id: str,
        lease_seconds: int,
    ) -> None:
        self.blobs = blobs
        self.triggers = triggers
        self.scanned = [trigger for trigger in triggers if not trigger.by_events]
        self.worker = worker
        self.host_id = host_id
        self.receipts = blobs.get_container_client(HOSTS_CONTAINER)
        self.seen: dict[str, datetime] = {}
        name = f"azure-webjobs-blobtrigger-{host_id}"
        self.internal = queues.get_queue_client(name, message_encode_policy=TextBase64EncodePolicy())
        self.listener = QueueListener(
            queues, name, options.internal_queue, self.execute, POISON_QUEUE, lease_seconds=lease_seconds
        )

    async def run(self) -> None:
        """Scan and execute for ever."""
        for create in (self.receipts.create_container, self.internal.create_queue):
            try:
                await create()
            except ResourceExistsError:
                continue
        async with asyncio.TaskGroup() as group:
            group.create_task(self.listener.run())
            if self.scanned:
                group.create_task(self.scan_for_ever())

    async def scan_for_ever(self) -> None:
        """List the containers every two seconds; an account that does not answer is tried again."""
        while True:
            for trigger in self.scanned:
                try:
                    await self.scan(trigger)
                except ResourceNotFoundError:
                    log.debug("Container %s does not exist yet", trigger.container)
                except AzureError as error:
                    log.warning("Container %s cannot be listed: %s", trigger.container, type(error).__name__)
            await asyncio.sleep(SCAN_SECONDS)

    async def scan(self, trigger: BlobTrigger) -> None:
        """Notify of every blob not older than the newest of the last scan; receipts keep each version to one run.

        The real host compares with `later than` and misses a blob written in the same second as the newest one seen
        (the emulator's times have whole seconds); not losing uploads on a laptop matters more than that likeness.
        """
        last = self.seen.get(trigger.container)
        newest = last
        async for blob in self.blobs.get_container_client(trigger.container).list_blobs():
            if last is None or blob.last_modified >= last:
                newest = max(newest or blob.last_modified, blob.last_modified)
                await self.notify(trigger, blob.name, str(blob.etag))
        if newest is not None:
            self.seen[trigger.container] = newest

    async def notify(self, trigger: BlobTrigger, name: str, etag: str) -> None:
        """Enqueue a version of a blob, unless its receipt says that it was enqueued before."""
        if not trigger.pattern.fullmatch(name):
            return
        etag = etag.strip('"')
        path = f"blobreceipts/{self.host_id}/{trigger.function.function_id}/{etag}/{trigger.container}/{name}"
        receipt = self.receipts.get_blob_client(path)
        try:
            await receipt.upload_blob(b"", metadata=INCOMPLETE, overwrite=False)
        except ResourceExistsError:
            known = await receipt.get_blob_properties()
            if "Incomplete" not in known.metadata:
                return
        await self.enqueue(trigger, trigger.container, name, etag)
        # Complete once it is enqueued, whatever becomes of the function.
        await receipt.set_blob_metadata({})

    async def enqueue(self, trigger: BlobTrigger, container: str, name: str, etag: str) -> None:
        """Put a version of a blob into the internal queue."""
        body = {
            "Type": "BlobTrigger",
            "FunctionId": trigger.function.function_id,
            "BlobType": "BlockBlob",
            "ContainerName": container,
            "BlobName": name,
            "ETag": f'"{etag}"',
        }
        await self.internal.send_message(json.dumps(body))
        self.listener.notify()

    async def execute(self, text: str, message: QueueMessage) -> None:
        """Run the function for an internal message; one about a version that is gone is dropped."""
        notice = json.loads(text)
        trigger = next((t for t in self.triggers if t.function.function_id == notice["FunctionId"]), None)
        if trigger is None:
            log.warning("Discarded message %s: there is no function %s", message.id, notice["FunctionId"])
            return
        try:
            download, content = await self.read(notice, any_version=trigger.by_events)
        except ResourceNotFoundError:
            return
        except ResourceModifiedError:
            await self.notify_of_newer(trigger, notice["BlobName"])
            return
        except AzureError as error:
            raise InvocationError(f"{notice['BlobName']!r} cannot be read") from error
        path = f"{notice['ContainerName']}/{notice['BlobName']}"
        data, metadata = trigger_data(path, download, content, trigger.pattern)
        await self.worker.invoke(trigger.function, data, metadata, f"New blob detected: {path}")

    async def read(self, notice: dict[str, str], *, any_version: bool) -> tuple[StorageStreamDownloader[bytes], bytes]:
        """Return the version of a blob that a message is about; after an event, the host takes whichever is there."""
        blob = self.blobs.get_blob_client(notice["ContainerName"], notice["BlobName"])
        condition: dict[str, Any] = (
            {} if any_version else {"etag": notice["ETag"], "match_condition": MatchConditions.IfNotModified}
        )
        download = await blob.download_blob(**condition)
        return download, await download.readall()

    async def notify_of_newer(self, trigger: BlobTrigger, name: str) -> None:
        """Enqueue the version that replaced one while its message waited."""
        with suppress(ResourceNotFoundError):
            now = await self.blobs.get_blob_client(trigger.container, name).get_blob_properties()
            await self.notify(trigger, name, str(now.etag))


def trigger_data(
    path: str, download: StorageStreamDownloader[bytes], content: bytes, pattern: re.Pattern[str]
) -> tuple[Datum, dict[str, Datum]]:
    """Return a blob as the host sends it to the worker."""
    properties = download.properties
    match = pattern.fullmatch(path.partition("/")[2])
    described: dict[str, Any] = {
        "LastModified": properties.last_modified.isoformat(),
        "ContentLength": len(content),
        "ContentType": properties.content_settings.content_type,
        # The host's serialiser finds no public property in the SDK's ETag type.
        "ETag": {},
    }
    metadata = {
        "BlobTrigger": Datum(path, "string"),
        "Uri": Datum(json.dumps(f"{download.container}/{download.name}"), "json"),
        "Properties": Datum(json.dumps(described), "json"),
        "Metadata": Datum(json.dumps(properties.metadata or {}), "json"),
        **{name: Datum(value, "string") for name, value in (match.groupdict() if match else {}).items()},
    }
    return Datum(content, "bytes"), metadata
