"""The parts of an answer that the dialects share: entities, errors and statistics of a page of documents."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from local.ner.errors import error_object
from local.ner.jobs import DocumentAnswer, Job, JobStatus
from local.ner.recogniser import Entity
from local.ner.requests import Deployment, JobRequest, TaskRequest, count_text_records
from local.ner.string_index import StringIndex, StringIndexType, count_text_elements


@dataclass(frozen=True, slots=True)
class Page:
    """Which documents to show: `top` of them after the first `skip`."""

    skip: int
    top: int


@dataclass(frozen=True, slots=True)
class View:
    """A job as it is to be shown: now, this page of it, under the address that the caller used."""

    job: Job
    now: datetime
    page: Page
    show_stats: bool
    endpoint: str
    query: dict[str, str]

    @property
    def status(self) -> JobStatus:
        """How the job stands."""
        return self.job.status(self.now)

    @property
    def task_status(self) -> JobStatus:
        """How the tasks stand, which are never partially done."""
        return JobStatus.SUCCEEDED if self.status.has_results else self.status

    @property
    def answers(self) -> Sequence[DocumentAnswer]:
        """What the page shows; nothing before the job's end."""
        if not self.status.has_results:
            return []
        return self.job.answers.result()[self.page.skip : self.page.skip + self.page.top]

    @property
    def next_page(self) -> Page | None:
        """The page that follows, or None."""
        following = self.page.skip + self.page.top
        more = self.status.has_results and following < len(self.job.answers.result())
        return Page(following, self.page.top) if more else None


class Dialect(Protocol):
    """One version of the API as the service speaks it."""

    name: str
    """Jobs are found only through the dialect that they were submitted in."""
    get_status: int
    """HTTP status of an answer that shows a job."""

    def read(self, body: bytes, deployment: Deployment) -> JobRequest:
        """Read a submission; raises ApiError."""
        ...

    def location(self, job_id: str, query: dict[str, str]) -> str:
        """Return path and query of a job."""
        ...

    def show(self, view: View) -> dict[str, Any]:
        """Return the JSON of a job."""
        ...


def instant(when: datetime) -> str:
    """Return a time as most answers write it."""
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def by_offset(entity: Entity) -> int:
    """Order entities as they stand in the text."""
    return entity.offset


def counts(view: View) -> dict[str, int]:
    """Return how many of the job's tasks stand how."""
    total = len(view.job.request.tasks)
    completed = total if view.status.has_results else 0
    failed = total if view.status is JobStatus.FAILED else 0
    open_tasks = 0 if view.status.has_ended else total
    return {"completed": completed, "failed": failed, "inProgress": open_tasks, "total": total}


def job_errors(view: View) -> list[dict[str, Any]]:
    """Return the errors of the job as a whole."""
    if view.status is not JobStatus.FAILED:
        return []
    return [error_object("InternalServerError", "The job failed. Submit it again.")]


def documents_of(
    view: View, task: TaskRequest, order: Callable[[Entity], Any], *, statistics: bool = False
) -> list[dict[str, Any]]:
    """Return the documents of the page that were looked at, their entities in an order of the dialect's."""
    return [
        {
            "id": answer.document.id,
            "entities": entities_of(answer, task.string_index_type, order),
            "warnings": [],
            **({"statistics": document_statistics(answer.document.text)} if statistics else {}),
            **({"detectedLanguage": answer.language.describe()} if answer.language else {}),
        }
        for answer in view.answers
        if answer.problem is None
    ]


def entities_of(
    answer: DocumentAnswer, index_type: StringIndexType, order: Callable[[Entity], Any]
) -> list[dict[str, Any]]:
    """Return the entities of a document, their places in units of the index type."""
    text = answer.document.text
    index = StringIndex(text, index_type)
    shown = []
    for entity in sorted(answer.entities, key=order):
        offset, length = index.from_code_points(entity.offset, entity.length)
        start, size = index.to_code_points(offset, length)
        shown.append(
            {
                "text": text[start : start + size],
                "category": entity.category,
                "offset": offset,
                "length": length,
                "confidenceScore": round(entity.confidence_score, 4),
            }
        )
    return shown


def document_errors_of(view: View) -> list[dict[str, Any]]:
    """Return the documents of the page that could not be looked at."""
    return [
        {"id": answer.document.id, "error": error_object("InvalidArgument", answer.problem[1], answer.problem[0])}
        for answer in view.answers
        if answer.problem is not None
    ]


def document_statistics(text: str) -> dict[str, int]:
    """Return a document's statistics."""
    return {"charactersCount": count_text_elements(text), "transactionsCount": count_text_records(text)}


def statistics_of(view: View) -> dict[str, int]:
    """Return the statistics of all documents, whichever page is shown."""
    answers = view.job.answers.result()
    valid = [answer for answer in answers if answer.problem is None]
    return {
        "documentsCount": len(answers),
        "validDocumentsCount": len(valid),
        "erroneousDocumentsCount": len(answers) - len(valid),
        "transactionsCount": sum(count_text_records(answer.document.text) for answer in valid),
    }
