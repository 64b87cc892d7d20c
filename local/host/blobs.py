"""The blob listener, as in the Storage Blobs extension: scan, receipts, an internal queue, then the function."""

import asyncio
import json
import logging
import re
from functools import partial
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

import msgspec
from azure.core import MatchConditions
from azure.core.exceptions import AzureError, ResourceNotFoundError
from azure.storage.blob.aio import BlobClient, BlobServiceClient
from azure.storage.queue import QueueMessage, TextBase64EncodePolicy
from azure.storage.queue.aio import QueueServiceClient

from local.host import trigger_data
from local.host.configuration import BlobOptions, HostError
from local.host.functions import Function, Invoker
from local.host.locks import ListenerLock, pause
from local.host.queues import QueueListener, Wake, send, wake_none
from local.host.receipts import enqueue_once
from local.json_errors import JSON_ERRORS
from local.printable import printable
from shared.names import DOTS

if TYPE_CHECKING:
    from datetime import datetime

log = logging.getLogger("host")

SCAN_SECONDS: Final = 2.0
"""The host lists a container of the storage emulator this often."""
HOSTS_CONTAINER: Final = "azure-webjobs-hosts"
POISON_QUEUE: Final = "webjobs-blobtrigger-poison"
LOCK: Final = "WebJobs.Internal.Blobs.Listener"
"""The host that holds this lock scans."""
MAX_BLOB_NAME: Final = 1024
"""The maximum length of a blob's name, and so of a receipt's."""

Text = Annotated[str, msgspec.Meta(min_length=1)]


class BlobTrigger(NamedTuple):
    """A function with its container and the pattern that blob names must match."""

    function: Function
    container: str
    pattern: re.Pattern[str]
    by_events: bool = False
    """Whether Event Grid reports new blobs, so that the listener does not scan."""
    is_by_reference: bool = False
    """Whether the function gets a reference to the blob, not its bytes."""
    connection: str = ""


class Notice(msgspec.Struct, rename="pascal"):
    """A message of the internal queue: a blob version for which a function is to run."""

    function_id: Text
    container_name: Text
    blob_name: Text
    etag: str = msgspec.field(name="ETag", default="")


def parse_path(path: str) -> tuple[str, re.Pattern[str]]:
    """Return the container and the pattern of a path; `{name}` matches any characters.

    Raises:
        HostError: the container part contains an expression.
    """
    container, _, pattern = path.partition("/")
    if "{" in container:
        raise HostError(f"blob trigger path {path!r}: the container must not be an expression")
    pieces = re.split(r"\{(\w+)\}", pattern or "{name}")
    expression = "".join(f"(?P<{piece}>.*)" if index % 2 else re.escape(piece) for index, piece in enumerate(pieces))
    return container, re.compile(expression, re.DOTALL)


class BlobListener:
    """Finds new blobs for all blob triggers of a connection and runs the functions, until it is stopped."""

    def __init__(
        self,
        blobs: BlobServiceClient,
        queues: QueueServiceClient,
        triggers: list[BlobTrigger],
        *,
        options: BlobOptions,
        workers: Invoker,
        host_id: str,
        lease_seconds: int,
        is_lossless: bool = True,
        wake: Wake = wake_none,
    ) -> None:
        """Prepare a listener; `run` starts it.

        Args:
            blobs: blob client of the account.
            queues: queue client of the account.
            triggers: the functions' triggers.
            options: how to read the internal queue.
            workers: runs the functions.
            host_id: the name under which receipts are stored.
            lease_seconds: visibility timeout of the internal queue's messages.
            is_lossless: whether a scan finds a blob as old as the newest of the last scan, which the host misses.
            wake: called with the name of the poison queue when a message was moved there.
        """
        self.blobs = blobs
        self.triggers = triggers
        self.scanned = [trigger for trigger in triggers if not trigger.by_events]
        self.workers = workers
        self.host_id = host_id
        self.is_lossless = is_lossless
        self.receipts = blobs.get_container_client(HOSTS_CONTAINER)
        self.lock = ListenerLock(self.receipts, f"{host_id}/{LOCK}")
        self.newest: dict[str, datetime] = {}
        self.unfinished: dict[str, set[str]] = {}
        self.ignored: set[str] = set()
        self.stopped = asyncio.Event()
        name = f"azure-webjobs-blobtrigger-{host_id}"
        self.internal = queues.get_queue_client(name, message_encode_policy=TextBase64EncodePolicy())
        self.listener = QueueListener(
            queues,
            name,
            options.internal_queue,
            self.execute,
            POISON_QUEUE,
            lease_seconds=lease_seconds,
            is_internal=True,
            wake=wake,
        )

    def stop(self) -> None:
        """Stop scanning and receiving; `run` returns as soon as the running invocations have ended."""
        self.stopped.set()
        self.listener.stop()

    async def run(self) -> None:
        """Scan and run functions."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.listener.run())
            if self.scanned:
                group.create_task(self.lock.run_alone(self.scan_all, self.stopped))

    async def scan_all(self) -> None:
        """List the containers every two seconds, and retry if the account does not respond."""
        while not self.stopped.is_set():
            for trigger in self.scanned:
                try:
                    await self.scan(trigger)
                except ResourceNotFoundError:
                    log.debug("Container %s does not exist yet", trigger.container)
                except AzureError as error:
                    log.warning("Container %s cannot be listed: %s", trigger.container, type(error).__name__)
            await pause(SCAN_SECONDS, self.stopped)

    async def scan(self, trigger: BlobTrigger) -> None:
        """Report every blob newer than the newest of the last scan; receipts limit each version to one run.

        The storage emulator's times have whole seconds, so the real host misses a blob written in the same second as
        the newest one that it has seen. A lossless scan finds it.
        """
        last = newest = self.newest.get(trigger.function.name)
        unfinished = self.unfinished.setdefault(trigger.function.name, set())
        async for blob in self.blobs.get_container_client(trigger.container).list_blobs():
            if self.stopped.is_set():
                return
            modified = blob.last_modified
            is_new = last is None or modified > last or (self.is_lossless and modified == last)
            if is_new or blob.name in unfinished:
                newest = max(newest or modified, modified)
                if await self.notify(trigger, blob.name):
                    unfinished.discard(blob.name)
                else:
                    unfinished.add(blob.name)
        if newest is not None:
            self.newest[trigger.function.name] = newest

    async def notify(self, trigger: BlobTrigger, name: str) -> bool:
        """Enqueue the current version of a blob, unless its receipt says that it was enqueued before.

        Returns:
            Whether nothing is left to do; if not, another host holds the receipt.
        """
        if not trigger.pattern.fullmatch(name) or self.is_odd(name):
            return True
        # The host requests a name that ends in a slash without the slash, and finds nothing.
        blob = self.blobs.get_blob_client(trigger.container, name.removesuffix("/") or name)
        try:
            etag = str((await blob.get_blob_properties()).etag).strip('"')
        except ResourceNotFoundError:
            return True
        function_id = trigger.function.function_id
        path = f'blobreceipts/{self.host_id}/{function_id}/"{etag}"/{trigger.container}/{name}'
        if len(path) > MAX_BLOB_NAME and name not in self.ignored:
            log.error("%r is ignored: its receipt's name would have %d characters", name, len(path))
            self.ignored.add(name)
        if len(path) > MAX_BLOB_NAME or name.endswith("/"):
            return True
        enqueue = partial(self.enqueue, function_id, trigger.container, name, etag)
        return await enqueue_once(self.receipts.get_blob_client(path), enqueue)

    def is_odd(self, name: str) -> bool:
        """Return whether a blob is ignored, because the SDK would call the URL of another one; log it once."""
        if not DOTS.search(name):
            return False
        if name not in self.ignored:
            log.error("%r is ignored: no URL leads to this blob", name)
        self.ignored.add(name)
        return True

    async def enqueue(self, function_id: str | None, container: str, name: str, etag: str) -> None:
        """Put a version of a blob into the internal queue."""
        body = {
            "Type": "BlobTrigger",
            "FunctionId": function_id,
            "BlobType": "BlockBlob",
            "ContainerName": container,
            "BlobName": name,
            "ETag": f'"{etag}"',
        }
        await send(self.internal, json.dumps(body, indent=2, ensure_ascii=False))
        self.listener.notify()

    async def execute(self, body: bytes, message: QueueMessage) -> None:
        """Run the function for an internal message; discard it if its version is gone.

        Raises:
            HostError: the host did not write the message; the real host ends, too.
            InvocationError: the function failed.
        """
        try:
            notice = msgspec.json.decode(body, type=Notice)
        except JSON_ERRORS as error:
            raise HostError(f"Message {message.id} of {self.internal.queue_name}: {error}. Shutting down") from None
        trigger = next((t for t in self.triggers if t.function.function_id == notice.function_id), None)
        if trigger is None:
            log.warning("Discarded message %s: there is no function %s", message.id, notice.function_id)
            return
        if notice.blob_name.endswith("/") or self.is_odd(notice.blob_name):
            return
        blob = self.blobs.get_blob_client(notice.container_name, notice.blob_name)
        reason = f"New blob detected: {notice.container_name}/{printable(notice.blob_name)}"
        try:
            try:
                etag = str((await blob.get_blob_properties()).etag).strip('"')
            except ResourceNotFoundError:
                return
            # After an event, the host takes the current version.
            is_stale = etag != notice.etag.strip('"') and not trigger.by_events
            if not is_stale:
                # Once for the blob, and once for the metadata.
                for _ in range(2):
                    properties = await blob.get_blob_properties()
                content = None if trigger.is_by_reference else await read(blob)
        except AzureError as error:
            why = f"{notice.blob_name!r} cannot be read: {type(error).__name__}"
            raise self.workers.reject(trigger.function, reason, why) from error
        if is_stale:
            await self.notify(trigger, notice.blob_name)
            return
        account = self.blobs.url.partition("?")[0]
        data, metadata = trigger_data.of_blob(account, properties, content, trigger.pattern, trigger.connection)
        await self.workers.invoke(trigger.function, data, metadata, reason)


async def read(blob: BlobClient) -> bytes:
    """Return the content of the current version of a blob."""
    properties = await blob.get_blob_properties()
    if not properties.size:
        return b""
    download = await blob.download_blob(etag=properties.etag, match_condition=MatchConditions.IfNotModified)
    return await download.readall()
