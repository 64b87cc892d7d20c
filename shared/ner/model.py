"""One job model for every dialect of the API, and the liberal reading of the answers that fill it.

What the documentation shows and what the service was recorded to answer differ: `completed` and `succeeded`,
`tasks.tasks.customEntityRecognitionTasks` and `tasks.customEntityRecognitionTasks` and `tasks.items`, `status` and
`state`, `lastUpdateDateTime` and `lastUpdatedDateTime`. All of them end up here.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec

from shared.ner.errors import NerError, Remedy, describe


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


# A word that is not here counts as running: a status that a later version adds must not end a job.
STATUSES: Final = {
    "completed": JobStatus.SUCCEEDED,
    "succeeded": JobStatus.SUCCEEDED,
    "partiallycompleted": JobStatus.PARTIALLY_SUCCEEDED,
    "partiallysucceeded": JobStatus.PARTIALLY_SUCCEEDED,
    "failed": JobStatus.FAILED,
    "rejected": JobStatus.FAILED,
    "cancelled": JobStatus.CANCELLED,
    "canceled": JobStatus.CANCELLED,
}


class Document(msgspec.Struct, frozen=True):
    """One text to send. `id` is unique within its request, `language` a BCP-47 tag."""

    id: str
    text: str
    language: str


class Entity(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A span of a document's text; `offset` and `length` count Unicode code points."""

    text: str
    category: str
    offset: int
    length: int
    confidence_score: float
    subcategory: str | None = None


class DocumentResult(msgspec.Struct, frozen=True):
    """What the service found in one document."""

    id: str
    entities: list[Entity]
    warnings: list[dict[str, Any]] = []


class Problem(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """An error for the uploader: of a whole job, or of one document."""

    code: str
    message: str
    document_id: str | None = None


class Statistics(msgspec.Struct, frozen=True, rename="camel"):
    """Counts as the service gives them; a transaction is a text record of up to 1,000 characters."""

    documents_count: int = 0
    valid_documents_count: int = 0
    erroneous_documents_count: int = 0
    transactions_count: int = 0


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
        except (ValueError, TypeError):  # no time, or only one of them has a time zone
            return None
        return taken.total_seconds() if taken >= timedelta() else None


class TaskResults(msgspec.Struct):
    """`results` of a task, as all dialects write it."""

    documents: list[DocumentResult] = []
    errors: list[dict[str, Any]] = []
    statistics: Statistics | None = None


def read_job(job_id: str, body: bytes) -> Job:
    """Read one page of a job from an answer of any dialect.

    Raises:
        NerError: the body is not a job (waiting may help: gateways answer for the service at times), or the results of
            a job that ended have a shape that is not the API's (nothing helps).
    """
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        answer = None
    if not isinstance(answer, dict) or not isinstance(answer.get("status"), str):
        raise NerError("InvalidResponse", "the service's response is not a job with a status", Remedy.WAIT)
    status = STATUSES.get(answer["status"].lower(), JobStatus.RUNNING)
    job = Job(
        job_id=job_id,
        status=status,
        created=text_or_none(answer.get("createdDateTime")),
        last_update=text_or_none(answer.get("lastUpdatedDateTime") or answer.get("lastUpdateDateTime")),
        expiration=text_or_none(answer.get("expirationDateTime")),
    )
    if not status.is_final:
        return job
    problems = read_problems(answer.get("errors"))
    documents: list[DocumentResult] = []
    statistics: Statistics | None = None
    for task in find_tasks(answer.get("tasks")):
        results = read_results(task.get("results"))
        documents += results.documents
        problems += (
            read_problems(task.get("errors")) + read_problems([task.get("error")]) + read_problems(results.errors)
        )
        statistics = results.statistics or statistics
    return msgspec.structs.replace(
        job,
        documents=documents,
        problems=problems,
        statistics=statistics,
        next_page=read_next_page(answer.get("nextLink") or answer.get("@nextLink")),
    )


def find_tasks(tasks: Any) -> list[dict[str, Any]]:
    """Return the custom NER tasks of a job, wherever the dialect keeps them."""
    if not isinstance(tasks, dict):
        return []
    inner = tasks.get("tasks")
    places = [tasks.get("items"), tasks.get("customEntityRecognitionTasks")]
    if isinstance(inner, dict):
        places.append(inner.get("customEntityRecognitionTasks"))
    found = [task for place in places if isinstance(place, list) for task in place if isinstance(task, dict)]
    return [task for task in found if task.get("kind", "CustomEntityRecognitionLROResults").startswith("CustomEntity")]


def read_results(results: Any) -> TaskResults:
    """Read `results` of a task; a task that failed has none."""
    if results is None:
        return TaskResults()
    try:
        return msgspec.convert(results, TaskResults)
    except msgspec.ValidationError as error:
        # The message names the place and the types, never a value.
        raise NerError(
            "InvalidResponse",
            f"The service returned results in an unknown format: {error}. Ask the app's operator to check "
            "NER_API_VERSION, then upload the file again.",
            Remedy.NONE,
        ) from None


def read_problems(errors: Any) -> list[Problem]:
    """Read a list of errors: the API's error objects, those of documents wrapped as `{"id", "error"}`."""
    problems = []
    for error in errors if isinstance(errors, list) else []:
        if not isinstance(error, dict):
            continue
        described = describe(error.get("error", error))
        if described is not None:
            problems.append(Problem(*described, document_id=text_or_none(error.get("id"))))
    return problems


def read_next_page(link: Any) -> Page | None:
    """Read `skip` and `top` (`$skip` and `$top` in the previews) from a link to the next page of results."""
    if not isinstance(link, str):
        return None
    query = parse_qs(link.partition("?")[2])
    numbers = {
        name: int(values[0])
        for name in ("skip", "top")
        for values in [query.get(name) or query.get(f"${name}") or [""]]
        if values[0].isascii() and values[0].isdigit()
    }
    return Page(**numbers) if "skip" in numbers else None


def text_or_none(value: Any) -> str | None:
    """Return a string as it is and anything else as None."""
    return value if isinstance(value, str) else None
