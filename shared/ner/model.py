"""One job model for every dialect of the API: the documents to send, the job, and its results."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any

import msgspec

Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
"""A whole number that any JSON reader takes."""


class JobStatus(StrEnum):
    """Where a job stands, in the words of the outcome."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    PARTIALLY_SUCCEEDED = "partiallySucceeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether the job has ended, however it did."""
        return self is not JobStatus.RUNNING


class Document(msgspec.Struct, frozen=True):
    """One text to send. `id` is unique within its request, `language` a BCP-47 tag."""

    id: str
    text: str
    language: str


class Entity(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A span of a document's text; `offset` and `length` count Unicode code points.

    `confidence_score` is None, and left out of the outcome, if the service gave none.
    """

    text: str
    category: str
    offset: Count
    length: Count
    confidence_score: float | None = None
    subcategory: str | None = None


class DocumentResult(msgspec.Struct, frozen=True):
    """What the service found in one document. `statistics` are the document's own, as the service gives them."""

    id: str
    entities: list[Entity]
    warnings: list[dict[str, Any]] = []
    statistics: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET

    @property
    def transactions_count(self) -> int | None:
        """What the service charged for the document, in transactions; None if it does not say."""
        count = None if self.statistics is msgspec.UNSET else self.statistics.get("transactionsCount")
        return count if type(count) is int and 0 <= count <= 2**53 else None


class Problem(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """An error for the uploader: of a whole job, or of one document."""

    code: str
    message: str
    document_id: str | None = None


class Statistics(msgspec.Struct, frozen=True, rename="camel"):
    """Counts as the service gives them; a transaction is a text record of up to 1,000 characters."""

    documents_count: Count = 0
    valid_documents_count: Count = 0
    erroneous_documents_count: Count = 0
    transactions_count: Count = 0


class Page(msgspec.Struct, frozen=True):
    """The part of the results to ask for next; numbers only, so that a link can lead nowhere else."""

    skip: int
    top: int | None = None


class Job(msgspec.Struct, frozen=True):
    """A job as the service last described it; `documents` and `problems` are complete once it has ended."""

    job_id: str
    status: JobStatus
    created: str | None = None
    last_update: str | None = None
    expiration: str | None = None
    documents: list[DocumentResult] = []
    problems: list[Problem] = []
    statistics: Statistics | None = None
    next_page: Page | None = None

    @property
    def seconds(self) -> float | None:
        """How long the job took, by the service's own clock; None where it does not say, or says nonsense."""
        try:
            taken = datetime.fromisoformat(self.last_update or "") - datetime.fromisoformat(self.created or "")
        except (ValueError, TypeError, OverflowError):  # no time, or only one of them has a time zone
            return None
        return taken.total_seconds() if taken >= timedelta() else None
