"""The ledger of a file of many jobs: what was submitted, and which results were collected, entry by entry.

It only grows at its end, and only if no other worker has added an entry meanwhile. A worker that reads it therefore
knows where the work stopped, and continues there. Entries are lines of JSON.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, TypeAlias

import msgspec

from shared.merging import MergeState
from shared.ner.model import Problem
from shared.outcome import ServiceJob
from shared.source import Instant, Position, Source
from shared.state.batch import SubmittedJob


class Extent(msgspec.Struct, frozen=True):
    """A range, in bytes, of the blob that stores collected results."""

    offset: Annotated[int, msgspec.Meta(ge=0)]
    length: Annotated[int, msgspec.Meta(ge=0)]


class FileEntry(msgspec.Struct, frozen=True, rename="camel", tag="file", tag_field="record"):
    """The first entry: the file, and what was wrong with it before anything was sent."""

    source: Source
    documents_count: int
    errors: list[Problem]


class JobEntry(SubmittedJob, frozen=True, kw_only=True, rename="camel", tag="job", tag_field="record"):
    """A request that the service accepted, and when."""

    submitted_date_time: Instant


class RefusalEntry(msgspec.Struct, frozen=True, rename="camel", tag="refusal", tag_field="record"):
    """A request that the service refused for its content: its documents have no job and no entities."""

    documents_count: int
    start: Position
    end: Position | None
    error: Problem
    submitted_date_time: Instant


class CollectedEntry(msgspec.Struct, frozen=True, rename="camel", tag="collected", tag_field="record"):
    """The merged results of the next `requests_count` requests: where they are, and how merging continues."""

    requests_count: Annotated[int, msgspec.Meta(ge=1)]
    jobs: list[ServiceJob]
    documents: list[Extent]
    errors: list[Extent]
    state: MergeState


RequestEntry: TypeAlias = JobEntry | RefusalEntry
Entry: TypeAlias = FileEntry | JobEntry | RefusalEntry | CollectedEntry


@dataclass(slots=True)
class Ledger:
    """The contents of a ledger, and its size in bytes, where the next entry must begin.

    Attributes:
        name: ID of the batch, after which its blobs are named.
        file: the first entry.
        requests: all requests, in the order of the file.
        collected: results, in the order of the requests.
    """

    name: str
    size: int = 0
    file: FileEntry | None = None
    requests: list[RequestEntry] = field(default_factory=list)
    collected: list[CollectedEntry] = field(default_factory=list)

    def add(self, entry: Entry) -> None:
        """Add the next entry."""
        match entry:
            case FileEntry():
                self.file = entry
            case CollectedEntry():
                self.collected.append(entry)
            case _:
                self.requests.append(entry)

    @property
    def next_start(self) -> Position | None:
        """Where the next request begins; None once the whole file has been submitted."""
        return self.requests[-1].end if self.requests else Position()

    @property
    def collected_count(self) -> int:
        """How many requests have been collected."""
        return sum(record.requests_count for record in self.collected)

    @property
    def has_results(self) -> bool:
        """Whether an entry refers to stored results."""
        return any(record.documents or record.errors for record in self.collected)

    @property
    def merge_state(self) -> MergeState:
        """State of merging after the last entry."""
        if self.collected:
            return self.collected[-1].state
        return MergeState(errors_count=len(self.file.errors) if self.file else 0)

    @property
    def active(self) -> datetime | None:
        """When the last request was recorded."""
        return self.requests[-1].submitted_date_time if self.requests else None

    @property
    def jobs(self) -> list[JobEntry]:
        """The jobs that the service accepted."""
        return [record for record in self.requests if isinstance(record, JobEntry)]


def encode_entry(entry: Entry) -> bytes:
    """Return an entry as a line of JSON."""
    return msgspec.json.encode(entry) + b"\n"


def decode_ledger(name: str, lines: bytes) -> Ledger:
    """Decode a ledger.

    Raises:
        msgspec.ValidationError: it was written by another version of this app.
    """
    ledger = Ledger(name, len(lines))
    decoder = msgspec.json.Decoder(Entry)
    for line in lines.splitlines():
        ledger.add(decoder.decode(line))
    return ledger
