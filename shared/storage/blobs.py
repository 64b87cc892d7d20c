"""The uploads and the outcomes."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC
from typing import Final, TypeAlias

from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobProperties, BlobType, ContentSettings
from azure.storage.blob.aio import StorageStreamDownloader

from shared.names import result_name
from shared.precedence import PresentOutcome
from shared.settings import Settings
from shared.source import Source, read_instant
from shared.storage.account import Account
from shared.storage.conditions import creating_if_missing, in_place_of, only_if, properties_of
from shared.storage.errors import is_archived, is_lost_race, is_missing
from shared.storage.listings import ARCHIVE, is_marker

JSON_CONTENT: Final = "application/json; charset=utf-8"

Body: TypeAlias = bytes | Callable[[], AsyncIterator[bytes]]
"""The content of a blob: whole, or a function that yields it in pieces."""


class OutcomeConflictError(Exception):
    """The outcome blob is not the one that was seen: another worker has written it."""


@dataclass(frozen=True)
class Upload:
    """A version of a file that is being read: no more of it is in memory than one call returns.

    Attributes:
        source: the version.
        download: its bytes; None if it is in the archive tier, where it cannot be read.
        is_marker: whether it is a folder or another blob that never has any text.
        may_grow: whether its text may still be on the way: it is empty, or an append blob.
    """

    source: Source
    download: StorageStreamDownloader[bytes] | None
    is_marker: bool = False
    may_grow: bool = False

    @property
    def is_archived(self) -> bool:
        """Whether it is in the archive tier, as it also is while it is being rehydrated."""
        return self.download is None

    async def read(self) -> bytes:
        """Return all its bytes; none if it is archived.

        Raises:
            AzureError: storage refused a call; 412 ConditionNotMet if the file was replaced meanwhile.
        """
        return await self.download.readall() if self.download else b""


class Blobs:
    """Reads uploads and writes outcomes. Safe for concurrent use."""

    def __init__(self, account: Account, settings: Settings) -> None:
        """Use an account, without connecting yet."""
        self.blobs = account.blobs
        self.inputs = settings.input_container
        self.results = settings.results_container

    async def newest(self, name: str) -> Source | None:
        """Return the version of a file that is in the input container now; None if there is none."""
        properties = await properties_of(self.blobs.get_blob_client(self.inputs, name))
        return None if properties is None else source_of(self.inputs, name, properties)

    async def open_upload(self, name: str, etag: str | None = None) -> Upload | None:
        """Begin to read a file in the input container, with one call, which reads a small file completely.

        Args:
            name: name of the blob.
            etag: the only version to read; None for the newest.

        Returns:
            None if the file is gone, or is no longer that version.
        """
        blob = self.blobs.get_blob_client(self.inputs, name)
        condition = {} if etag is None else only_if(etag)
        download = None
        try:
            download = await blob.download_blob(**condition)
        except HttpResponseError as error:
            if not is_missing(error) and not is_lost_race(error) and not is_archived(error):
                raise
            properties = await properties_of(blob) if is_archived(error) else None
            if properties is not None and properties.blob_tier != ARCHIVE:
                raise  # it has just been rehydrated
        else:
            properties = download.properties
        if properties is None or etag not in (None, properties.etag.strip('"')):
            return None
        source = source_of(self.inputs, name, properties)
        is_growing = not source.length or properties.blob_type == BlobType.APPENDBLOB
        return Upload(source, download, is_marker(name, source.length, properties.metadata or {}), is_growing)

    async def present_outcome(self, name: str) -> PresentOutcome | None:
        """Return the existing outcome of a file; None if it has none."""
        properties = await properties_of(self.blobs.get_blob_client(self.results, result_name(name)))
        if properties is None:
            return None
        metadata = properties.metadata or {}
        return PresentOutcome(
            properties.etag.strip('"'),
            metadata.get("source_etag", ""),
            read_instant(metadata.get("source_last_modified", "")),
            metadata.get("digest", ""),
        )

    async def read_outcome(self, name: str, etag: str) -> AsyncIterator[bytes]:
        """Yield the content of a file's outcome, piece by piece.

        Raises:
            OutcomeConflictError: the outcome is no longer the one with this ETag.
        """
        blob = self.blobs.get_blob_client(self.results, result_name(name))
        try:
            download = await blob.download_blob(**only_if(etag))
            async for piece in download.chunks():
                yield piece
        except HttpResponseError as error:
            if not is_missing(error) and not is_lost_race(error):
                raise
            raise OutcomeConflictError from None

    async def write_outcome(self, name: str, body: Body, metadata: dict[str, str], replaced: str | None) -> None:
        """Write the outcome of a file, in place of the one with the ETag `replaced`, or as the first one if it is None.

        Pieces are sent in blocks of LONGEST_BODY, few of which are in memory; the blob exists once all are sent. If
        the write has to start again, `body` is called again.

        Raises:
            OutcomeConflictError: another outcome exists.
        """
        container = self.blobs.get_container_client(self.results)

        async def write() -> object:
            return await container.upload_blob(
                result_name(name),
                body if isinstance(body, bytes) else body(),
                metadata=metadata,
                content_settings=ContentSettings(JSON_CONTENT),
                **in_place_of(replaced),
            )

        try:
            await creating_if_missing(container.create_container, write)
        except HttpResponseError as error:
            if not is_lost_race(error):
                raise
            raise OutcomeConflictError from None


def source_of(container: str, name: str, properties: BlobProperties) -> Source:
    """Return the version that a blob's properties describe."""
    return Source(
        container=container,
        name=name,
        etag=properties.etag.strip('"'),
        last_modified=properties.last_modified.astimezone(UTC),
        length=properties.size,
    )
