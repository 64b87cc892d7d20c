"""The storage account: the uploaded file, the outcome blob and the queue, over one connection pool per process."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, TypeVar

from azure.core import MatchConditions
from azure.core.exceptions import ResourceExistsError, ResourceModifiedError, ResourceNotFoundError
from azure.storage.blob import ContentSettings
from azure.storage.blob.aio import BlobServiceClient
from azure.storage.queue import TextBase64DecodePolicy, TextBase64EncodePolicy
from azure.storage.queue.aio import QueueClient, QueueServiceClient

from shared.settings import Settings
from shared.source import Source

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential

T = TypeVar("T")

NEVER_EXPIRES: Final = -1
LONGEST_BODY: Final = 1024 * 1024
"""Bytes in one call to blob storage; aiohttp warns of larger ones, which keep the event loop busy."""
JSON_CONTENT: Final = "application/json; charset=utf-8"


Body: TypeAlias = bytes | Callable[[], AsyncIterator[bytes]]
"""What stands in a blob: whole, or what yields it piece by piece."""


class Upload(NamedTuple):
    """A file as it was read: its version and its bytes belong together."""

    source: Source
    data: bytes


class Storage:
    """Reads uploads, writes outcomes, sends messages. Safe to share between concurrent invocations."""

    def __init__(self, settings: Settings) -> None:
        """Make the clients; nothing is connected yet."""
        self.settings = settings
        connection = settings.storage
        self.credential: AsyncTokenCredential | None = None
        sizes: dict[str, Any] = {"max_single_put_size": LONGEST_BODY, "max_block_size": LONGEST_BODY}
        if connection.connection_string:
            self.blobs = BlobServiceClient.from_connection_string(connection.connection_string, **sizes)
            self.queues = QueueServiceClient.from_connection_string(connection.connection_string)
        else:
            from azure.identity.aio import DefaultAzureCredential

            self.credential = DefaultAzureCredential(managed_identity_client_id=connection.client_id)
            self.blobs = BlobServiceClient(connection.blob_service_uri, credential=self.credential, **sizes)
            self.queues = QueueServiceClient(connection.queue_service_uri, credential=self.credential)
        self.queue: QueueClient = self.queues.get_queue_client(
            settings.queue,
            # The host's default (messageEncoding in host.json); without it every message goes straight to poison.
            message_encode_policy=TextBase64EncodePolicy(),
            message_decode_policy=TextBase64DecodePolicy(),
        )

    async def read_upload(self, name: str, etag: str | None = None) -> Upload | None:
        """Return a file of the input container; None if it is gone, or (given an etag) is no longer that version."""
        blob = self.blobs.get_blob_client(self.settings.input_container, name)
        condition: dict[str, Any] = {}
        if etag is not None:
            condition = {"etag": f'"{etag}"', "match_condition": MatchConditions.IfNotModified}
        try:
            download = await blob.download_blob(**condition)
            data = await download.readall()
        except (ResourceNotFoundError, ResourceModifiedError):
            return None
        properties = download.properties
        source = Source(
            container=self.settings.input_container,
            name=name,
            etag=properties.etag.strip('"'),
            last_modified=properties.last_modified.astimezone(UTC),
            length=len(data),
        )
        return Upload(source, data)

    async def write_outcome(self, name: str, body: Body, metadata: dict[str, str]) -> None:
        """Write a blob of the results container, in place of the one before.

        What comes in pieces is sent in blocks of LONGEST_BODY, of which few are in memory; the blob is there once all
        of them are. It is asked for anew where the writing has to begin again.
        """
        container = self.blobs.get_container_client(self.settings.results_container)

        async def write() -> object:
            return await container.upload_blob(
                name,
                body if isinstance(body, bytes) else body(),
                overwrite=True,
                metadata=metadata,
                content_settings=ContentSettings(JSON_CONTENT),
            )

        await creating_if_missing(container.create_container, write)

    async def has_outcome(self, name: str, etag: str) -> bool:
        """Tell whether a version of a file has its outcome."""
        blob = self.blobs.get_blob_client(self.settings.results_container, name)
        try:
            properties = await blob.get_blob_properties()
        except ResourceNotFoundError:
            return False
        return (properties.metadata or {}).get("source_etag") == etag

    async def send(self, text: str, delay_seconds: float) -> None:
        """Put a message into the queue that becomes visible after the delay and never expires."""

        async def send() -> object:
            return await self.queue.send_message(
                text, visibility_timeout=round(delay_seconds), time_to_live=NEVER_EXPIRES
            )

        await creating_if_missing(self.queue.create_queue, send)

    async def aclose(self) -> None:
        """Close the connections."""
        for client in (self.blobs, self.queues, self.credential):
            if client is not None:
                await client.close()


async def creating_if_missing(create: Callable[[], Awaitable[object]], write: Callable[[], Awaitable[T]]) -> T:
    """Write; where the place to write to is missing, create it and write again. No call is spent where it exists."""
    try:
        return await write()
    except ResourceNotFoundError:
        with suppress(ResourceExistsError):  # another invocation was faster
            await create()
        return await write()
