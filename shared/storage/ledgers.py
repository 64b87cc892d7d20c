"""The blobs of files of many jobs: a ledger of what was submitted, and the results collected so far.

Both are append blobs next to the batch's record, with similar names.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import TypeVar

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError
from azure.storage.blob.aio import BlobClient

from shared.settings import Settings
from shared.state.batch import BATCHES
from shared.state.claim import BatchId
from shared.state.ledger import Entry, Extent, Ledger, decode_ledger, encode_entry
from shared.storage.account import LONGEST_BODY, Account
from shared.storage.conditions import creating_if_missing, delete_version
from shared.storage.errors import exists_already, is_lost_race, is_missing
from shared.storage.state import UNREADABLE, StateError

T = TypeVar("T")

LEDGER_SUFFIX = ".ledger.jsonl"
RESULTS_SUFFIX = ".results"


class LedgerConflictError(Exception):
    """Another worker has written to the ledger since it was read."""


class ResultsGoneError(Exception):
    """The blob of the collected results is gone."""


async def only_if_there(write: Callable[[], Awaitable[T]]) -> T:
    """Write to a blob that must exist. Raises ResultsGoneError if it does not."""
    try:
        return await write()
    except HttpResponseError as error:
        if not is_missing(error):
            raise
        raise ResultsGoneError from None


class Ledgers:
    """Reads and writes ledgers. Safe for concurrent use."""

    def __init__(self, account: Account, settings: Settings) -> None:
        """Use an account; the container is created when it is needed."""
        self.container = account.blobs.get_container_client(settings.state_container)

    def ledger_blob(self, batch: BatchId) -> BlobClient:
        """Return the blob of a ledger."""
        return self.container.get_blob_client(f"{BATCHES}{batch}{LEDGER_SUFFIX}")

    def results_blob(self, batch: BatchId) -> BlobClient:
        """Return the blob of the results that a ledger refers to."""
        return self.container.get_blob_client(f"{BATCHES}{batch}{RESULTS_SUFFIX}")

    async def read_ledger(self, name: str) -> Ledger:
        """Return a ledger; an empty one if there is none. Raises StateError."""
        try:
            download = await self.ledger_blob(name).download_blob()
            return decode_ledger(name, await download.readall())
        except HttpResponseError as error:
            if not is_missing(error):
                raise
            return Ledger(name)
        except UNREADABLE as error:
            raise StateError(f"the ledger of batch {name} cannot be read: {error}") from None

    async def append(self, ledger: Ledger, entry: Entry) -> None:
        """Write the next entry of a ledger.

        Raises:
            LedgerConflictError: another worker has written to it since it was read.
        """
        line = encode_entry(entry)
        blob = self.ledger_blob(ledger.name)
        if ledger.size == 0:
            await self.create(blob)
        try:
            await blob.append_block(line, appendpos_condition=ledger.size)
        except HttpResponseError as error:
            if is_missing(error):
                raise LedgerConflictError from None  # the file has ended
            if not is_lost_race(error):
                raise
            # The SDK repeats a call whose response was lost, which then finds its own entry.
            written = await (await blob.download_blob(offset=ledger.size, length=len(line))).readall()
            if written != line:
                raise LedgerConflictError from None
        ledger.size += len(line)
        ledger.add(entry)

    async def create(self, blob: BlobClient) -> None:
        """Create an append blob unless it exists."""

        async def create() -> None:
            try:
                await blob.create_append_blob(match_condition=MatchConditions.IfMissing)
            except HttpResponseError as error:
                if not exists_already(error):
                    raise

        await creating_if_missing(self.container.create_container, create)

    async def append_results(self, ledger: Ledger, data: bytes) -> list[Extent]:
        """Store collected results and return their extents; only those that a ledger entry refers to count.

        Raises:
            ResultsGoneError: earlier results are gone; in a new blob, the ledger's extents would mean other bytes.
        """
        blob = self.results_blob(ledger.name)
        extents: list[Extent] = []
        for start in range(0, len(data), LONGEST_BODY):
            piece = data[start : start + LONGEST_BODY]
            write = partial(blob.append_block, piece)
            if extents or ledger.has_results:
                answer = await only_if_there(write)
            else:
                answer = await creating_if_missing(partial(self.create, blob), write)
            extents.append(Extent(int(str(answer["blob_append_offset"])), len(piece)))
        return extents

    async def read_results(self, name: str, extents: list[Extent]) -> AsyncIterator[bytes]:
        """Yield stored results, piece by piece. Raises ResultsGoneError."""
        blob = self.results_blob(name)
        for extent in extents:
            try:
                download = await blob.download_blob(offset=extent.offset, length=extent.length)
                async for piece in download.chunks():
                    yield piece
            except HttpResponseError as error:
                if not is_missing(error):
                    raise
                raise ResultsGoneError from None

    async def delete(self, name: str) -> None:
        """Delete a ledger and its results, the ledger first: without it, the results mean nothing."""
        for blob in (self.ledger_blob(name), self.results_blob(name)):
            await delete_version(blob, None)
