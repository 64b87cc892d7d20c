"""One job model for every dialect of the API: the documents to send, the job, and its results.

What the service says is passed on even if this app does not know it. Entities and documents with such fields are of the
classes `ServiceEntity` and `ServiceDocument`; `flat` returns them as the outcome has them, with those fields beside the
known ones. They are classes of their own, so that no field of the service can be taken for `others`, and readers of
outcomes ignore what they do not know.
"""

import re
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Final

import msgspec

Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
"""A whole number that any JSON reader takes."""
USUAL_JOB_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(_[0-9]{18})?", re.IGNORECASE)
"""The two forms that the API has used. The app accepts others, because the job has been charged."""


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


class ServiceEntity(Entity, frozen=True):
    """An entity with fields that this app does not know."""

    others: dict[str, Any] = {}


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


class ServiceDocument(DocumentResult, frozen=True):
    """A result with fields that this app does not know."""

    others: dict[str, Any] = {}


class Problem(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """An error for the uploader: of a whole job, or of one document.

    `service_error` is the error as the service gave it, without the document's id, if it says more than codes and
    messages.
    """

    code: str
    message: str
    document_id: str | None = None
    service_error: dict[str, Any] | None = None


TIMED_OUT: Final = Problem("JobTimeout", "The job did not end within NER_JOB_TIMEOUT_SECONDS. Upload the file again.")


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
    """A job as the service last described it; `documents` and `problems` are complete once it has ended.

    `others` are fields of the job that this app does not know. Those of its tasks are in them too, at the same places
    as in a response of the generally available API: `{"tasks": {"items": [{"results": {}}]}}`.
    """

    job_id: str
    status: JobStatus
    created: str | None = None
    last_update: str | None = None
    expiration: str | None = None
    documents: list[DocumentResult] = []
    problems: list[Problem] = []
    statistics: Statistics | None = None
    next_page: Page | None = None
    others: dict[str, Any] = {}

    @property
    def seconds(self) -> float | None:
        """How long the job took, by the service's own clock; None where it does not say, or says nonsense."""
        try:
            taken = datetime.fromisoformat(self.last_update or "") - datetime.fromisoformat(self.created or "")
        except (ValueError, TypeError, OverflowError):  # no time, or only one of them has a time zone
            return None
        return taken.total_seconds() if taken >= timedelta() else None

    @property
    def working_seconds(self) -> float | None:
        """How long the service worked on the job; None also if it was cancelled, which says nothing of others."""
        return None if self.status is JobStatus.CANCELLED else self.seconds


def others_of(value: Any) -> dict[str, Any]:
    """Return the fields that this app does not know."""
    others: dict[str, Any] = getattr(value, "others", {})
    return others


def flat(value: Any) -> Any:
    """Return a value as the outcome has it, with the fields that this app does not know beside the others."""
    if isinstance(value, DocumentResult) and any(type(entity) is not Entity for entity in value.entities):
        value = msgspec.structs.replace(value, entities=[flat(entity) for entity in value.entities])
    if not hasattr(value, "others"):
        return value
    known = msgspec.to_builtins(value)
    known.pop("others", None)
    return known | value.others


def loggable_job(job_id: str) -> str:
    """Return a job's ID for logs and traces; `***` if its form is unusual, since it may be a word of the text."""
    return job_id if USUAL_JOB_ID.fullmatch(job_id) else "***"
