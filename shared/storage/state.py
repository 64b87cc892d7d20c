"""The blobs of NER_STATE_CONTAINER: claims of files and records of batches."""

from functools import partial
from typing import Final, NamedTuple
from uuid import uuid4

import msgspec
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import ContentSettings
from azure.storage.blob.aio import BlobClient

from shared.message import why_unreadable
from shared.names import RefusedNameError
from shared.settings import Settings
from shared.state.batch import BatchRecord, batch_name, decode_batch, encode_batch
from shared.state.claim import CLAIMS, BatchId, Claim, claim_name, decode_claim, encode_claim
from shared.state.learned import LEARNED_NAME, Learned, decode_learned
from shared.state.sweeping import SWEEP_NAME, SweepState, decode_sweep
from shared.storage.account import Account
from shared.storage.blobs import JSON_CONTENT
from shared.storage.conditions import creating_if_missing, delete_version, in_place_of, properties_of
from shared.storage.errors import is_lost_race, is_missing

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
WRITE_MARK: Final = "write"
"""Metadata by which a call recognises what it has written."""


class StateError(Exception):
    """A blob of NER_STATE_CONTAINER cannot be read: another version of this app has written it."""


class RefusedBatchError(StateError):
    """The record of a batch names a file whose name the app does not accept; an earlier version of it did.

    Attributes:
        etag: the ETag of the record.
    """

    def __init__(self, message: str, etag: str) -> None:
        """Name the record."""
        super().__init__(message)
        self.etag = etag


class StoredClaim(NamedTuple):
    """A claim, and the ETag that the next one must replace."""

    claim: Claim
    etag: str


class StoredBatch(NamedTuple):
    """The record of a batch, and its baton."""

    record: BatchRecord
    etag: str


class StoredLearned(NamedTuple):
    """What all processes have learned, and the ETag that the next write must replace."""

    learned: Learned
    etag: str


class State:
    """Reads and writes the blobs of NER_STATE_CONTAINER. Safe for concurrent use."""

    def __init__(self, account: Account, settings: Settings) -> None:
        """Use an account; the container is created when it is needed."""
        self.container = account.blobs.get_container_client(settings.state_container)

    def claim_blob(self, name: str) -> BlobClient:
        """Return the blob of a file's claim."""
        return self.container.get_blob_client(claim_name(name))

    def batch_blob(self, batch: BatchId) -> BlobClient:
        """Return the blob of a batch's record."""
        return self.container.get_blob_client(batch_name(batch))

    async def write_claim(self, claim: Claim, known: str | None) -> str | None:
        """Claim a file in place of the claim with the ETag `known`, or as the first one.

        Returns:
            The claim's own ETag; None if another worker was faster.
        """
        blob = self.claim_blob(claim.source.name)
        return await self.put(blob, encode_claim(claim), claim.metadata(), known)

    async def read_claim(self, name: str) -> StoredClaim | None:
        """Return a file's claim; None if it has none. Raises StateError."""
        found = await self.read(self.claim_blob(name))
        try:
            return None if found is None else StoredClaim(decode_claim(found[0]), found[1])
        except UNREADABLE as error:
            raise StateError(f"the claim of this file cannot be read: {why_unreadable(error)}") from None

    async def release_claim(self, name: str, etag: str) -> bool:
        """Delete a claim, unless another worker has taken it over; return whether it was deleted."""
        return await delete_version(self.claim_blob(name), etag)

    async def write_batch(self, batch: BatchId, record: BatchRecord, known: str | None) -> str | None:
        """Write a record in place of the one with the ETag `known`, or as the first one.

        Returns:
            The baton: the record's own ETag; None if another worker was faster.
        """
        return await self.put(self.batch_blob(batch), encode_batch(record), record.metadata(), known)

    async def read_batch(self, batch: BatchId) -> StoredBatch | None:
        """Return a batch's record; None if it has none. Raises StateError, RefusedBatchError."""
        found = await self.read(self.batch_blob(batch))
        try:
            return None if found is None else StoredBatch(decode_batch(found[0]), found[1])
        except UNREADABLE as error:
            why = f"the record of batch {batch} cannot be read: {why_unreadable(error)}"
            if found is not None and isinstance(error.__cause__, RefusedNameError):
                raise RefusedBatchError(why, found[1]) from None
            raise StateError(why) from None

    async def delete_batch(self, batch: BatchId, etag: str | None) -> bool:
        """Delete a record, or only this version of it if an ETag is given; return whether it did."""
        return await delete_version(self.batch_blob(batch), etag)

    async def release_listed_claim(self, listed: str, etag: str) -> bool:
        """Delete a claim by its name in a listing, unless another worker has taken it over."""
        return await delete_version(self.container.get_blob_client(CLAIMS + listed), etag)

    async def read_sweep(self) -> SweepState | None:
        """Return what the last sweep stored; None if there is nothing that this version of the app can read."""
        found = await self.read(self.container.get_blob_client(SWEEP_NAME))
        try:
            return decode_sweep(found[0]) if found else None
        except UNREADABLE:
            return None

    async def write_sweep(self, state: SweepState) -> None:
        """Store the state for the next sweep. The last writer wins, as any state is valid."""
        blob = self.container.get_blob_client(SWEEP_NAME)
        body, content = msgspec.json.encode(state), ContentSettings(JSON_CONTENT)
        write = partial(blob.upload_blob, body, content_settings=content, overwrite=True)
        await creating_if_missing(self.container.create_container, write)

    async def read_learned(self) -> StoredLearned | None:
        """Return what all processes have learned; None if there is nothing that this version of the app can read."""
        found = await self.read(self.container.get_blob_client(LEARNED_NAME))
        try:
            return StoredLearned(decode_learned(found[0]), found[1]) if found else None
        except UNREADABLE:
            return StoredLearned(Learned([]), found[1]) if found else None

    async def write_learned(self, body: bytes, known: str | None) -> bool:
        """Write what all processes have learned, in place of the ETag `known`; False if another process was faster."""
        return await self.put(self.container.get_blob_client(LEARNED_NAME), body, {}, known) is not None

    async def put(self, blob: BlobClient, body: bytes, metadata: dict[str, str], known: str | None) -> str | None:
        """Write a blob in place of the ETag `known`; return its ETag, None if another was faster."""
        mark = uuid4().hex
        write = partial(
            blob.upload_blob,
            body,
            metadata={**metadata, WRITE_MARK: mark},
            content_settings=ContentSettings(JSON_CONTENT),
            **in_place_of(known),
        )
        try:
            answer = await creating_if_missing(self.container.create_container, write)
        except HttpResponseError as error:
            if not is_lost_race(error) and not (known and is_missing(error)):
                raise
            # The SDK repeats a call whose response was lost, which then finds what it has written itself.
            found = await properties_of(blob)
            return found.etag.strip('"') if found and found.metadata.get(WRITE_MARK) == mark else None
        return str(answer["etag"]).strip('"')

    async def read(self, blob: BlobClient) -> tuple[bytes, str] | None:
        """Return the content of a blob and its ETag; None if it does not exist."""
        try:
            download = await blob.download_blob()
            return await download.readall(), download.properties.etag.strip('"')
        except HttpResponseError as error:
            if not is_missing(error):
                raise
            return None
