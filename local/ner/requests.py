"""What a request must hold, and the limits of the service; all dialects share both."""

import hashlib
import re
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import msgspec

from local.json_errors import JSON_ERRORS
from local.ner.errors import ApiError, bad_request
from local.ner.string_index import StringIndexType, count_text_elements

MOST_DOCUMENTS: Final = 25
MOST_TEXT_ELEMENTS: Final = 125_000
MOST_BYTES: Final = 1024 * 1024
TEXT_RECORD: Final = 1000
"""Text elements; the unit of price."""
MINUTE: Final = 60.0
LANGUAGE_TAG: Final = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")

Body = TypeVar("Body")


class InputDocument(msgspec.Struct, frozen=True):
    """A text to recognise entities in."""

    id: str
    text: str
    language: str | None = None


class AnalysisInput(msgspec.Struct, frozen=True):
    """`analysisInput` of a request."""

    documents: list[InputDocument] = []


@dataclass(frozen=True, slots=True)
class TaskRequest:
    """A task of a job; `model` is what the dialect names it by, echoed in the results."""

    name: str
    string_index_type: StringIndexType
    model: dict[str, str]


@dataclass(frozen=True, slots=True)
class JobRequest:
    """A job to be, in any dialect.

    Attributes:
        display_name: of the job.
        documents: to recognise entities in.
        tasks: of the job.
        detects_languages: whether the version of the API takes the language `auto`.
        cancel_after: after how many seconds the job is cancelled; None if it is not.
    """

    display_name: str | None
    documents: list[InputDocument]
    tasks: list[TaskRequest]
    detects_languages: bool = False
    cancel_after: float | None = None


def digest_of(text: str) -> str:
    """Return what stands for a text in the emulator's counts."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def digests_of(asked: JobRequest) -> list[str]:
    """Return what stands for the texts of a request, whatever their IDs are."""
    return [digest_of(document.text) for document in asked.documents]


@dataclass(frozen=True, slots=True)
class Deployment:
    """What the emulator serves, by the names that requests must give; names are case-sensitive."""

    project_name: str
    deployment_name: str
    model_id: str
    language: str
    multilingual: bool

    def check(self, project_name: str, deployment_name: str) -> None:
        """Raise ApiError if a request names another project or deployment."""
        if not project_name or project_name != self.project_name:
            raise ApiError(404, "NotFound", f"There is no project {project_name!r}.", inner_code="ProjectNotFound")
        if not deployment_name or deployment_name != self.deployment_name:
            raise ApiError(404, "NotFound", f"Project {project_name!r} has no deployment {deployment_name!r}.")

    def check_model_id(self, model_id: str) -> None:
        """Raise ApiError if a request names another model."""
        if not model_id or model_id != self.model_id:
            raise bad_request("ModelVersionIncorrect", f"There is no model {model_id!r}.")

    def speaks(self, language: str | None) -> bool:
        """Return whether documents of a language can be given; the project's own is the default."""
        if language is None:
            return True
        if not LANGUAGE_TAG.fullmatch(language):
            return False
        return self.multilingual or primary(language) == primary(self.language)


def primary(tag: str) -> str:
    """Return the language of a BCP-47 tag without its region or script."""
    return tag.partition("-")[0].lower()


def decode(body: bytes, kind: type[Body]) -> Body:
    """Read the JSON of a request.

    Raises:
        ApiError: it is not of the dialect's shape.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except JSON_ERRORS as error:
        raise bad_request("InvalidRequestBodyFormat", f"The body is invalid: {error}.") from None


def check_documents(
    documents: Sequence[InputDocument], refused_marker: str = "", most_text_elements: int = MOST_TEXT_ELEMENTS
) -> None:
    """Raise ApiError if the documents break a limit, or if one contains the marker; the whole request is refused."""
    if not documents:
        raise bad_request("MissingInputDocuments", "The request contains no documents.")
    if len(documents) > MOST_DOCUMENTS:
        raise bad_request(
            "InvalidDocumentBatch",
            f"The request contains {len(documents)} documents, but at most {MOST_DOCUMENTS} are allowed.",
        )
    if any(not document.id for document in documents):
        raise bad_request("InvalidDocument", "A document has no id.")
    if len({document.id for document in documents}) < len(documents):
        raise bad_request("InvalidDocument", "Two documents have the same id.")
    size = sum(count_text_elements(document.text) for document in documents)
    if size > most_text_elements:
        raise bad_request(
            "InvalidDocumentBatch",
            f"The documents contain {size} text elements, but at most {most_text_elements} are allowed.",
        )
    for document in documents:
        if refused_marker and refused_marker in document.text:
            raise bad_request("InvalidDocument", f"The document {document.id!r} is invalid.")


def count_text_records(text: str) -> int:
    """Return how many text records are charged for a document."""
    return max(1, -(-count_text_elements(text) // TEXT_RECORD))


class RateLimit:
    """So many calls in any minute, whichever they are."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Begin to count; `clock` gives seconds."""
        self._clock = clock
        self._calls: deque[float] = deque()

    def take(self, calls_per_minute: int) -> None:
        """Count a call.

        Raises:
            ApiError: there were too many; it says after how many seconds there is room.
        """
        now = self._clock()
        while self._calls and self._calls[0] <= now - MINUTE:
            self._calls.popleft()
        if len(self._calls) >= calls_per_minute:
            oldest = self._calls[-calls_per_minute] if calls_per_minute else now
            wait = max(1, round(oldest + MINUTE - now + 0.5))
            # A gateway before the service answers this, with the status as the code.
            raise ApiError(429, "429", f"Too many requests. Try again in {wait} seconds.", retry_after=wait)
        self._calls.append(now)
