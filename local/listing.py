"""The state of every file of an account, from listings of its containers alone: no blob is read."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from azure.storage.blob import BlobProperties

from local.account import Account
from shared.names import LONGEST_RESULT_NAME, result_name, utf16_length
from shared.outcome import OutcomeStatus
from shared.settings import Settings
from shared.source import Source, read_instant
from shared.state.batch import BATCHES, BatchKind, is_overdue, listed_claims
from shared.state.claim import CLAIMS, claim_name, is_old
from shared.storage.blobs import source_of
from shared.storage.listings import is_marker

STATUSES: Final = {status.value: status for status in OutcomeStatus}
ENDING: Final = ".json"


def named_by(blob: str, prefix: str = "") -> str | None:
    """Return the file that a blob belongs to; None if the blob's name may be a shortened one."""
    name = blob.removeprefix(prefix)
    # Shortening cuts whole characters, so it may leave a name shorter than it need be.
    return name.removesuffix(ENDING) if utf16_length(name) < LONGEST_RESULT_NAME - 1 else None


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
        """The file's name; None if the blob's name may be a shortened one."""
        return named_by(self.blob)


@dataclass(frozen=True)
class Claimed:
    """The claim of a file as a listing shows it.

    Attributes:
        blob: its name.
        batch: that the claimed version is in, or is about to be in; empty if the claim does not say.
        claimed: when a worker claimed the file.
        source_etag: of the claimed version.
        etag: of the claim, without quotes.
    """

    blob: str
    batch: str
    claimed: datetime
    source_etag: str = ""
    etag: str = ""

    @property
    def name(self) -> str | None:
        """The file's name; None if the blob's name may be a shortened one."""
        return named_by(self.blob, CLAIMS)


@dataclass(frozen=True)
class Batch:
    """The record of a batch as a listing shows it; `due` is None if the record does not say.

    `claims` are the etags of the claims that are in it.
    """

    kind: str
    due: datetime | None
    claims: frozenset[str] = frozenset()

    @property
    def is_void(self) -> bool:
        """Whether other workers have claimed its files."""
        return self.kind == BatchKind.VOID.value


class State(StrEnum):
    """The state of a file."""

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
    """A file, and the state of its newest version.

    Attributes:
        name: within the input container; of a file that was deleted there, what its claim's or outcome's name says.
        state: of it.
        since: when it was uploaded, or when its outcome was written.
        source: its newest version; None if it was deleted.
        claim: of it, if it is in flight.
        outcome: of it; while a newer version is in flight, the older one's.
    """

    name: str
    state: State
    since: datetime
    source: Source | None = None
    claim: Claimed | None = None
    outcome: Ended | None = None

    @property
    def size(self) -> int | None:
        """Its length in bytes; None if it was deleted."""
        return self.source.length if self.source else None

    @property
    def is_old_version(self) -> bool:
        """Whether the version in flight is not the newest one."""
        return bool(self.source and self.claim and self.claim.source_etag not in ("", self.source.etag))


@dataclass(frozen=True)
class Listing:
    """What the containers held.

    Attributes:
        uploads: the versions in the input container.
        claims: by name of the blob.
        batches: records, by the ids of their batches.
        outcomes: by name of the blob.
    """

    uploads: list[Source] = field(default_factory=list)
    claims: dict[str, Claimed] = field(default_factory=dict)
    batches: dict[str, Batch] = field(default_factory=dict)
    outcomes: dict[str, Ended] = field(default_factory=dict)

    def files(self) -> Iterator[File]:
        """Yield every file that is there, and those that were deleted but are in flight or have an outcome."""
        claims, outcomes = dict(self.claims), dict(self.outcomes)
        for source in self.uploads:
            claim, outcome = claims.pop(claim_name(source.name), None), outcomes.pop(result_name(source.name), None)
            yield file_of(source, claim, outcome)
        for claim in claims.values():
            outcome = outcomes.pop(result_name(claim.name), None) if claim.name else None
            yield File(claim.name or claim.blob, State.IN_FLIGHT, claim.claimed, claim=claim, outcome=outcome)
        for outcome in outcomes.values():
            yield File(outcome.name or outcome.blob, State(outcome.status.value), outcome.modified, outcome=outcome)

    def overdue_batches(self, now: datetime, settings: Settings) -> set[str]:
        """Return the batches for which the next sweep will send a message, because theirs must be lost."""
        grace = settings.overdue_seconds
        return {
            batch
            for batch, record in self.batches.items()
            if not record.is_void and (record.due is None or is_overdue(record.due, now, grace))
        }

    def orphans(self, now: datetime, settings: Settings) -> list[Claimed]:
        """Return the claims that no record names, although their workers must have ended."""
        live = {etag for record in self.batches.values() for etag in record.claims}
        patience = settings.submit_timeout_seconds
        return [
            claim for claim in self.claims.values() if claim.etag not in live and is_old(claim.claimed, now, patience)
        ]

    def left_batches(self, now: datetime, settings: Settings) -> list[str]:
        """Return the overdue batches whose claims are all gone: their files have ended."""
        claims = {claim.etag for claim in self.claims.values()}
        overdue = self.overdue_batches(now, settings)
        return sorted(batch for batch in overdue if not self.batches[batch].claims & claims)


def file_of(source: Source, claim: Claimed | None, outcome: Ended | None) -> File:
    """Return the state of an upload."""
    if claim is not None:
        return File(source.name, State.IN_FLIGHT, source.last_modified, source, claim, outcome)
    if outcome is not None and outcome.source_etag == source.etag:
        return File(source.name, State(outcome.status.value), outcome.modified, source, None, outcome)
    return File(source.name, State.WAITING, source.last_modified, source, None, outcome)


def list_account(account: Account) -> Listing:
    """List the containers, in the order in which files move: what moves on meanwhile is found in a later listing."""
    container = account.settings.input_container
    uploads, markers = [], set()
    for blob in account.listed(container, include=["metadata"]):
        if is_marker(blob.name, blob.size, blob.metadata or {}):
            markers.add(result_name(blob.name))
        else:
            uploads.append(source_of(container, blob.name, blob))
    claims, batches = list_state(account)
    outcomes = {outcome.blob: outcome for outcome in list_outcomes(account) if outcome.blob not in markers}
    return Listing(uploads, claims, batches, outcomes)


def list_state(account: Account) -> tuple[dict[str, Claimed], dict[str, Batch]]:
    """Return what is listed of claims, and of records of batches by their ids."""
    claims: dict[str, Claimed] = {}
    batches: dict[str, Batch] = {}
    for blob in account.listed(account.settings.state_container, include=["metadata"]):
        metadata = blob.metadata or {}
        if blob.name.startswith(CLAIMS):
            claims[blob.name] = claimed(blob)
        elif blob.name.startswith(BATCHES):
            batch, _, ending = blob.name.removeprefix(BATCHES).partition(".")
            if ending == "json":
                due = read_instant(metadata.get("due", ""))
                batches[batch] = Batch(metadata.get("kind", ""), due, frozenset(listed_claims(metadata)))
    return claims, batches


def claimed(blob: BlobProperties) -> Claimed:
    """Return what a listing shows of a claim; one without its metadata is as old as its blob."""
    metadata = blob.metadata or {}
    since = read_instant(metadata.get("claimed_date_time", "")) or blob.last_modified
    etag = blob.etag.strip('"')
    return Claimed(blob.name, metadata.get("batch", ""), since, metadata.get("source_etag", ""), etag)


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
    """Return the state of one file; None if nothing of it is there, or it is a folder or another marker."""
    settings = account.settings
    upload = account.properties(settings.input_container, name)
    if upload is not None and is_marker(name, upload.size, upload.metadata or {}):
        return None
    source = source_of(settings.input_container, name, upload) if upload else None
    held = account.properties(settings.state_container, claim_name(name))
    blob = account.properties(settings.results_container, result_name(name))
    claim, outcome = claimed(held) if held else None, ended(blob) if blob else None
    if source is not None:
        return file_of(source, claim, outcome)
    if claim is not None:
        return File(name, State.IN_FLIGHT, claim.claimed, claim=claim, outcome=outcome)
    return File(name, State(outcome.status.value), outcome.modified, outcome=outcome) if outcome else None
