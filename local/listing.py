"""Where every file of an account stands, from listings of its containers alone: no blob is read."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from azure.storage.blob import BlobProperties
from shared.state_storage import SUBMISSION_SUFFIX, record_name

from local.account import Account
from shared.outcome import LONGEST_BLOB_NAME, OutcomeStatus, blob_name, utf16_length
from shared.source import Source
from shared.storage.blobs import source_of

STATUSES: Final = {status.value: status for status in OutcomeStatus}


@dataclass(frozen=True)
class Ended:
    """An outcome blob as a listing shows it.

    Attributes:
        blob: its name.
        status: of the outcome.
        modified: when it was written.
        size: of the outcome, in bytes.
        etag: of the outcome blob, without quotes.
        source_etag: of the version that it is the outcome of.
    """

    blob: str
    status: OutcomeStatus
    modified: datetime
    size: int
    etag: str = ""
    source_etag: str = ""

    @property
    def name(self) -> str | None:
        """The file's name; None where the blob's name may be a shortened one."""
        if utf16_length(self.blob) >= LONGEST_BLOB_NAME - 1:
            return None
        return self.blob.removesuffix(".json")


class State(StrEnum):
    """Where a file stands."""

    WAITING = "waiting"
    """Uploaded, and not begun."""
    IN_FLIGHT = "in flight"
    SUCCEEDED = "succeeded"
    PARTIALLY_SUCCEEDED = "partiallySucceeded"
    FAILED = "failed"

    @property
    def has_ended(self) -> bool:
        """Whether the newest version of the file has its outcome."""
        return self not in (State.WAITING, State.IN_FLIGHT)

    @property
    def words(self) -> str:
        """The same for a person."""
        return {"waiting": "not started", "partiallySucceeded": "partly succeeded"}.get(self.value, self.value)


def ended_count(states: Counter[State]) -> int:
    """Return how many files have ended."""
    return sum(count for state, count in states.items() if state.has_ended)


@dataclass(frozen=True)
class File:
    """A file, and where its newest version stands.

    Attributes:
        name: within the input container; of a file that was deleted there, what its outcome's name says.
        state: of it.
        since: when it was uploaded, or when its outcome was written.
        size: in bytes; None for a file that was deleted.
        record: name of its record in the state container, if it is in flight.
        outcome: of it; while a newer version is on its way, the older one's.
    """

    name: str
    state: State
    since: datetime
    size: int | None = None
    record: str | None = None
    outcome: Ended | None = None


@dataclass(frozen=True)
class Listing:
    """What the containers held.

    Attributes:
        uploads: the versions in the input container.
        records: when each record of the state container was written last, by its name.
        outcomes: by name of the blob.
    """

    uploads: list[Source]
    records: dict[str, datetime]
    outcomes: dict[str, Ended]

    def files(self) -> Iterator[File]:
        """Yield every file that is there, or was, and left an outcome."""
        left = dict(self.outcomes)
        for source in self.uploads:
            outcome = left.pop(blob_name(source.name), None)
            yield self.file_of(source, outcome)
        for outcome in left.values():
            yield File(outcome.name or outcome.blob, State(outcome.status.value), outcome.modified, outcome=outcome)

    def file_of(self, source: Source, outcome: Ended | None) -> File:
        """Return where an upload stands."""
        record = record_name(source)
        recorded = self.records.get(record)
        is_its_own = outcome is not None and outcome.source_etag == source.etag
        # A record goes after the outcome has come, and comes again when the outcome is to be replaced.
        if outcome is not None and is_its_own and (recorded is None or recorded <= outcome.modified):
            return File(source.name, State(outcome.status.value), outcome.modified, source.length, None, outcome)
        if recorded is not None:
            return File(source.name, State.IN_FLIGHT, source.last_modified, source.length, record, outcome)
        return File(source.name, State.WAITING, source.last_modified, source.length, None, outcome)

    def unheard(self, now: datetime, patience_seconds: float) -> list[Source]:
        """Return the uploads that have neither a record nor an outcome, although the app had time to hear of them.

        Args:
            now: when the listing began.
            patience_seconds: what the app may take to hear of an upload.
        """
        return [
            source
            for source in self.uploads
            if (now - source.last_modified).total_seconds() > patience_seconds
            and self.file_of(source, self.outcomes.get(blob_name(source.name))).state is State.WAITING
        ]


def list_account(account: Account) -> Listing:
    """List the containers, in the order in which files move: what moves on meanwhile is found in a later listing."""
    container = account.settings.input_container
    uploads = [source_of(container, blob.name, blob) for blob in account.listed(container)]
    records = list_records(account)
    return Listing(uploads, records, {outcome.blob: outcome for outcome in list_outcomes(account)})


def list_records(account: Account) -> dict[str, datetime]:
    """Return the names of all records, and when each was written last."""
    blobs = account.listed(account.settings.state_container)
    return {blob.name: blob.last_modified for blob in blobs if blob.name.endswith(SUBMISSION_SUFFIX)}


def list_outcomes(account: Account, since: datetime | None = None) -> Iterator[Ended]:
    """Yield all outcomes that were written since then."""
    for blob in account.listed(account.settings.results_container, include=["metadata"]):
        outcome = ended(blob)
        if outcome and (since is None or outcome.modified >= since):
            yield outcome


def ended(blob: BlobProperties) -> Ended | None:
    """Return what a blob of the results container shows; None if it is no outcome."""
    metadata = blob.metadata or {}
    status = STATUSES.get(metadata.get("status", ""))
    if status is None:
        return None
    source_etag = metadata.get("source_etag", "")
    return Ended(blob.name, status, blob.last_modified, blob.size, blob.etag.strip('"'), source_etag)


def list_file(account: Account, name: str) -> File | None:
    """Return where one file stands; None if nothing of it is there."""
    settings = account.settings
    source = account.newest(name)
    records: dict[str, datetime] = {}
    if source is not None:
        record = record_name(source)
        if (blob := account.properties(settings.state_container, record)) is not None:
            records[record] = blob.last_modified
    blob = account.properties(settings.results_container, blob_name(name))
    outcome = ended(blob) if blob else None
    listing = Listing([source] if source else [], records, {outcome.blob: outcome} if outcome else {})
    return next(listing.files(), None)
