"""The storage account: the uploaded file, the outcome blob and the queue, over one connection pool per process."""

import hashlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, TypeVar
from urllib.request import getproxies

from azure.core import MatchConditions
from azure.core.exceptions import AzureError, HttpResponseError
from azure.storage.blob import BlobProperties, ContentSettings
from azure.storage.blob.aio import BlobServiceClient
from azure.storage.queue import TextBase64DecodePolicy, TextBase64EncodePolicy
from azure.storage.queue.aio import QueueClient, QueueServiceClient

from shared.precedence import PresentOutcome
from shared.settings import BLOB_POISON_QUEUE, Settings
from shared.source import Source
from shared.storage_errors import error_code, exists_already, is_lost_race, is_missing

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential

log = logging.getLogger("ner")

T = TypeVar("T")

NEVER_EXPIRES: Final = -1
PATIENCE: Final[dict[str, Any]] = {
    "connection_timeout": 10,
    "read_timeout": 20,
    "retry_total": 3,
    "initial_backoff": 1,
    "increment_base": 2,
    "random_jitter_range": 1,
}
"""Of one call, in seconds. The SDK's own would hold an invocation for minutes where the account does not answer; a
message can wait for that without one."""
LONGEST_BODY: Final = 1024 * 1024
"""Bytes in one call to blob storage; aiohttp warns of larger ones, which keep the event loop busy."""
JSON_CONTENT: Final = "application/json; charset=utf-8"


Body: TypeAlias = bytes | Callable[[], AsyncIterator[bytes]]
"""What stands in a blob: whole, or what yields it piece by piece."""


class Upload(NamedTuple):
    """A file as it was read: its version and its bytes belong together."""

    source: Source
    data: bytes


class SentMessage(NamedTuple):
    """A message in the queue that its sender may still change."""

    message_id: str
    pop_receipt: str


class OutcomeConflictError(Exception):
    """The outcome blob is not the one that was seen: somebody else has written it."""


class Storage:
    """Reads uploads, writes outcomes, sends messages. Safe to share between concurrent invocations."""

    def __init__(self, settings: Settings) -> None:
        """Make the clients; nothing is connected yet."""
        self.settings = settings
        connection = settings.storage
        self.credential: AsyncTokenCredential | None = None
        # Else aiohttp looks through the whole environment at each call, which is two fifths of a call's processor time.
        options: dict[str, Any] = {"use_env_settings": bool(getproxies()), **PATIENCE}
        blob_options = {**options, "max_single_put_size": LONGEST_BODY, "max_block_size": LONGEST_BODY}
        if connection.connection_string:
            self.blobs = BlobServiceClient.from_connection_string(connection.connection_string, **blob_options)
            self.queues = QueueServiceClient.from_connection_string(connection.connection_string, **options)
        else:
            from azure.identity.aio import DefaultAzureCredential

            self.credential = DefaultAzureCredential(managed_identity_client_id=connection.client_id)
            self.blobs = BlobServiceClient(connection.blob_service_uri, credential=self.credential, **blob_options)
            self.queues = QueueServiceClient(connection.queue_service_uri, credential=self.credential, **options)
        self.queue: QueueClient = self.queues.get_queue_client(
            settings.queue,
            # The host's default (messageEncoding in host.json); without it every message goes straight to poison.
            message_encode_policy=TextBase64EncodePolicy(),
            message_decode_policy=TextBase64DecodePolicy(),
        )

    @property
    def blob_poison_queue(self) -> QueueClient:
        """Where the host puts uploads on which the blob trigger failed; all apps of the account share it."""
        return self.queues.get_queue_client(BLOB_POISON_QUEUE, message_encode_policy=TextBase64EncodePolicy())

    async def put_back(self, text: str, delay_seconds: float, lives_seconds: float) -> None:
        """Put a message of somebody else back into that queue."""
        await self.blob_poison_queue.send_message(
            text, visibility_timeout=round(delay_seconds), time_to_live=round(lives_seconds)
        )

    async def properties(self, container: str, name: str) -> BlobProperties | None:
        """Return the properties of a blob; None if it is not there."""
        try:
            return await self.blobs.get_blob_client(container, name).get_blob_properties()
        except HttpResponseError as error:
            if not is_missing(error):
                raise
            return None

    async def newest_source(self, name: str) -> Source | None:
        """Return the version of a file of the input container that is there now, without reading it."""
        properties = await self.properties(self.settings.input_container, name)
        return None if properties is None else source_of(self.settings.input_container, name, properties)

    async def read_upload(self, name: str, etag: str | None = None, seen: bytes | None = None) -> Upload | None:
        """Return a file of the input container.

        Args:
            name: of the blob.
            etag: the only version that is wanted; None is the newest.
            seen: bytes of some version; they are not read again where they are those of the newest.

        Returns:
            None if the file is gone, or no longer that version.
        """
        blob = self.blobs.get_blob_client(self.settings.input_container, name)
        if seen is not None and etag is None:
            properties = await self.properties(self.settings.input_container, name)
            if properties is None:
                return None
            digest = properties.content_settings.content_md5  # none where the blob was uploaded in blocks
            if digest and bytes(digest) == hashlib.md5(seen, usedforsecurity=False).digest():
                return Upload(source_of(self.settings.input_container, name, properties), seen)
        condition = {} if etag is None else only_if(etag)
        try:
            download = await blob.download_blob(**condition)
            data = await download.readall()
        except HttpResponseError as error:
            if not is_missing(error) and not is_lost_race(error):
                raise
            return None
        return Upload(source_of(self.settings.input_container, name, download.properties), data)

    async def present_outcome(self, name: str) -> PresentOutcome | None:
        """Return which outcome is there; None if there is none."""
        properties = await self.properties(self.settings.results_container, name)
        if properties is None:
            return None
        metadata = properties.metadata or {}
        return PresentOutcome(
            properties.etag.strip('"'),
            metadata.get("source_etag", ""),
            read_instant(metadata.get("source_last_modified", "")),
        )

    async def write_outcome(
        self, name: str, body: Body, metadata: dict[str, str], present: PresentOutcome | None
    ) -> None:
        """Write a blob of the results container, in place of the one that is there.

        What comes in pieces is sent in blocks of LONGEST_BODY, of which few are in memory; the blob is there once all
        of them are. It is asked for anew where the writing has to begin again.

        Raises:
            OutcomeConflictError: another outcome than `present` is there.
        """
        container = self.blobs.get_container_client(self.settings.results_container)
        condition = in_place_of(present.etag if present else None)

        async def write() -> object:
            return await container.upload_blob(
                name,
                body if isinstance(body, bytes) else body(),
                metadata=metadata,
                content_settings=ContentSettings(JSON_CONTENT),
                **condition,
            )

        try:
            await creating_if_missing(container.create_container, write)
        except HttpResponseError as error:
            if not is_lost_race(error):
                raise
            raise OutcomeConflictError from None

    async def send(self, text: str, delay_seconds: float) -> SentMessage:
        """Put a message into the queue that becomes visible after the delay and never expires."""

        async def send() -> SentMessage:
            message = await self.queue.send_message(
                text, visibility_timeout=round(delay_seconds), time_to_live=NEVER_EXPIRES
            )
            return SentMessage(str(message.id), str(message.pop_receipt))

        return await creating_if_missing(self.queue.create_queue, send)

    async def change(self, sent: SentMessage, text: str, delay_seconds: float) -> SentMessage | None:
        """Change a message and when it becomes visible; None if somebody has received it meanwhile."""
        try:
            message = await self.queue.update_message(
                sent.message_id, sent.pop_receipt, content=text, visibility_timeout=round(delay_seconds)
            )
        except HttpResponseError as error:
            if not was_received(error):
                raise
            return None
        return SentMessage(str(message.id), str(message.pop_receipt))

    async def take_back(self, sent: SentMessage) -> None:
        """Delete a message, unless somebody has received it meanwhile."""
        try:
            await self.queue.delete_message(sent.message_id, sent.pop_receipt)
        except HttpResponseError as error:
            if not was_received(error):
                raise

    async def queue_length(self) -> int | None:
        """Return how many messages are in the queue, visible or not; None if that cannot be known now."""
        try:
            return (await self.queue.get_queue_properties()).approximate_message_count
        except AzureError as error:
            # It is for watching only, and nothing that comes after it must fail for it.
            log.warning("the queue length cannot be read now: %s", type(error).__name__)
            return None

    async def aclose(self) -> None:
        """Close the connections."""
        for client in (self.blobs, self.queues, self.credential):
            if client is not None:
                await client.close()


async def creating_if_missing(create: Callable[[], Awaitable[object]], write: Callable[[], Awaitable[T]]) -> T:
    """Write; where the place to write to is missing, create it and write again. No call is spent where it exists."""
    try:
        return await write()
    except HttpResponseError as error:
        if not is_missing(error):
            raise
    try:
        await create()
    except HttpResponseError as error:
        if not exists_already(error):  # as where another invocation was faster
            raise
    return await write()


def only_if(etag: str) -> dict[str, Any]:
    """Return the options of a call that works on this version of a blob alone."""
    return {"etag": f'"{etag}"', "match_condition": MatchConditions.IfNotModified}


def in_place_of(etag: str | None) -> dict[str, Any]:
    """Return the options of an upload that replaces this version of a blob alone, or, without one, none at all."""
    return {"overwrite": False} if etag is None else {"overwrite": True, **only_if(etag)}


def source_of(container: str, name: str, properties: BlobProperties) -> Source:
    """Return the version that a blob's properties describe."""
    return Source(
        container=container,
        name=name,
        etag=properties.etag.strip('"'),
        last_modified=properties.last_modified.astimezone(UTC),
        length=properties.size,
    )


def was_received(error: HttpResponseError) -> bool:
    """Tell whether a message could not be changed since it has been received, or is gone."""
    return is_missing(error) or error_code(error) == "PopReceiptMismatch"


def read_instant(text: str) -> datetime | None:
    """Return the time that a blob's metadata names; None where it names none."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return None
    return instant if instant.tzinfo else None
