"""The blobs of NER_STATE_CONTAINER: for each version in flight the record of its submission.

For a file of many jobs also its ledger and what has been collected of its results, both append blobs. All are gone once
the version has its outcome.
"""

from collections.abc import AsyncIterator
from functools import partial
from typing import Final, NamedTuple

import msgspec
from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import ContentSettings
from azure.storage.blob.aio import BlobClient, BlobServiceClient

from shared.ledger import Extent, Ledger, Record, decode_ledger, encode_record, ledger_name
from shared.source import Source
from shared.storage import JSON_CONTENT, LONGEST_BODY, creating_if_missing, in_place_of, only_if
from shared.storage_errors import exists_already, is_lost_race, is_missing
from shared.submissions import Submission, decode_submission, encode_submission

SUBMISSION_SUFFIX: Final = ".json"
UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError)


def record_name(source: Source) -> str:
    """Return the name of the blob with the record of a version's submission."""
    return ledger_name(source) + SUBMISSION_SUFFIX


class LedgerConflictError(Exception):
    """Somebody else has written to the ledger since it was read: what it says has to be read anew."""


class StateError(Exception):
    """A blob of NER_STATE_CONTAINER cannot be read: another version of this app has written it."""


class ClaimConflictError(Exception):
    """Somebody else has written the record of the submission since it was read."""


class ResultsGoneError(Exception):
    """The blob of what was collected is gone, most likely since another invocation has just written the outcome."""


class StoredSubmission(NamedTuple):
    """A record of a submission, and the etag that the next one must replace."""

    submission: Submission
    etag: str


class StateStorage:
    """Reads and writes records of submissions and ledgers. Safe to share between concurrent invocations."""

    def __init__(self, blobs: BlobServiceClient, container: str) -> None:
        """Use a container, which is created once it is needed."""
        self.container = blobs.get_container_client(container)

    def ledger_blob(self, name: str) -> BlobClient:
        """Return the blob of a ledger."""
        return self.container.get_blob_client(f"{name}.ledger.jsonl")

    def results_blob(self, name: str) -> BlobClient:
        """Return the blob of the results that a ledger refers to."""
        return self.container.get_blob_client(f"{name}.results")

    def submission_blob(self, source: Source) -> BlobClient:
        """Return the blob of the record of a version's submission."""
        return self.container.get_blob_client(record_name(source))

    async def read_submission(self, source: Source) -> StoredSubmission | None:
        """Return the record of a version's submission; None if there is none. Raises StateError."""
        try:
            download = await self.submission_blob(source).download_blob()
            data = await download.readall()
        except HttpResponseError as error:
            if not is_missing(error):
                raise
            return None
        try:
            submission = decode_submission(data)
        except UNREADABLE as error:
            raise StateError(f"the record of this version cannot be read: {error}") from None
        return StoredSubmission(submission, download.properties.etag.strip('"'))

    async def write_submission(self, submission: Submission, known: str | None) -> str:
        """Write a record in place of the one with the etag `known`, or as the first one; return its own etag.

        Raises:
            ClaimConflictError: somebody else was faster.
        """
        blob = self.submission_blob(submission.message.source)
        write = partial(
            blob.upload_blob,
            encode_submission(submission),
            content_settings=ContentSettings(JSON_CONTENT),
            **in_place_of(known),
        )
        try:
            answer = await creating_if_missing(self.container.create_container, write)
        except HttpResponseError as error:
            if not is_lost_race(error):
                raise
            # A call that was repeated since its answer was lost finds its own record.
            found = await self.read_submission(submission.message.source)
            if found is None or found.submission != submission:
                raise ClaimConflictError from None
            return found.etag
        return str(answer["etag"]).strip('"')

    async def delete_submission(self, source: Source, etag: str) -> bool:
        """Delete the record of a version's submission; False if it is gone or has changed."""
        try:
            await self.submission_blob(source).delete_blob(**only_if(etag))
        except HttpResponseError as error:
            if not is_missing(error) and not is_lost_race(error):
                raise
            return False
        return True

    async def delete_unreadable(self, source: Source) -> None:
        """Delete a record that cannot be read."""
        await delete_if_there(self.submission_blob(source))

    async def read_ledger(self, source: Source) -> Ledger:
        """Return the ledger of a version of a file; an empty one where there is none. Raises StateError."""
        name = ledger_name(source)
        try:
            download = await self.ledger_blob(name).download_blob()
            return decode_ledger(name, await download.readall())
        except HttpResponseError as error:
            if not is_missing(error):
                raise
            return Ledger(name)
        except UNREADABLE as error:
            raise StateError(f"the ledger of this version cannot be read: {error}") from None

    async def append(self, ledger: Ledger, record: Record) -> None:
        """Write the next record of a ledger.

        Raises:
            LedgerConflictError: the ledger has other records than was thought.
        """
        line = encode_record(record)
        blob = self.ledger_blob(ledger.name)
        if ledger.size == 0:
            await self.create(blob)
        try:
            await blob.append_block(line, appendpos_condition=ledger.size)
        except HttpResponseError as error:
            if is_missing(error):
                # The file has ended; what was kept for the ledger meanwhile belongs to nothing.
                await self.delete(ledger.name)
                raise LedgerConflictError from None
            if not is_lost_race(error):
                raise
            # A call that was repeated since its answer was lost finds its own record.
            written = await (await blob.download_blob(offset=ledger.size, length=len(line))).readall()
            if written != line:
                raise LedgerConflictError from None
        ledger.size += len(line)
        ledger.add(record)

    async def create(self, blob: BlobClient) -> None:
        """Create an append blob unless it is there."""

        async def create() -> None:
            try:
                await blob.create_append_blob(match_condition=MatchConditions.IfMissing)
            except HttpResponseError as error:
                if not exists_already(error):
                    raise

        await creating_if_missing(self.container.create_container, create)

    async def append_results(self, name: str, data: bytes) -> list[Extent]:
        """Keep what was collected, and return where; only what a record of the ledger refers to counts."""
        blob = self.results_blob(name)
        extents = []
        for start in range(0, len(data), LONGEST_BODY):
            piece = data[start : start + LONGEST_BODY]
            answer = await creating_if_missing(partial(self.create, blob), partial(blob.append_block, piece))
            extents.append(Extent(int(str(answer["blob_append_offset"])), len(piece)))
        return extents

    async def read_results(self, name: str, extents: list[Extent]) -> AsyncIterator[bytes]:
        """Yield what was kept, piece by piece. Raises ResultsGoneError."""
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
        """Delete a ledger and its results, the ledger first: without it the rest means nothing."""
        for blob in (self.ledger_blob(name), self.results_blob(name)):
            await delete_if_there(blob)


async def delete_if_there(blob: BlobClient) -> None:
    """Delete a blob that may be gone."""
    try:
        await blob.delete_blob()
    except HttpResponseError as error:
        if not is_missing(error):
            raise
