"""The liberal reading of the service's answers into the job model.

What the documentation shows and what the service was recorded to answer differ: `completed` and `succeeded`,
`tasks.tasks.customEntityRecognitionTasks` and `tasks.customEntityRecognitionTasks` and `tasks.items`, `status` and
`state`, `lastUpdateDateTime` and `lastUpdatedDateTime`. All of them end up in one model. A job was paid for, so what
cannot be read is waited for, or named in the outcome, but never loses what can be read.
`passing_on` keeps what this app does not know.
"""

import re
from typing import Any, Final, TypeVar
from urllib.parse import parse_qs

import msgspec

from shared.ner.errors import NerError, Remedy, decode, describe
from shared.ner.model import DocumentResult, Job, JobStatus, Page, Problem, Statistics
from shared.ner.passing_on import Omitted, complete, job_others, service_error

UNREADABLE: Final = "InvalidResponse"
"""Error code of what the app cannot read in a response."""
UNREADABLE_DOCUMENT: Final = (
    "The service returned this document's result in an unknown format. Ask the app's operator to check "
    "NER_API_VERSION, then upload the file again."
)
TIME: Final = re.compile(r"[0-9T:.Zz+-]{1,64}")
"""Characters of a time; what has others may be a quote."""
T = TypeVar("T")

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
FAILURES: Final = (JobStatus.FAILED, JobStatus.CANCELLED)


class TaskResults(msgspec.Struct, frozen=True):
    """`results` of a task: the documents that can be read, and the errors of the others."""

    documents: list[DocumentResult] = []
    problems: list[Problem] = []
    statistics: Statistics | None = None


def read_job(job_id: str, body: bytes, *, has_documents: bool = False) -> Job:
    """Return one page of a job, from an answer in any dialect.

    Args:
        job_id: of the job.
        body: of the answer.
        has_documents: whether documents of other pages could be read, so that the job is worth an outcome.

    Raises:
        NerError: the body is not a job, or not one with results that the app knows. Gateways answer for the service at
            times, and the operator may fix NER_API_VERSION, so a job that was paid for is not given up.
    """
    answer = decode(body)
    if not is_job(answer):
        raise NerError(UNREADABLE, "the service's response is not a job with a status", Remedy.WAIT)
    if (text_or_none(answer.get("jobId")) or job_id).lower() != job_id.lower():
        raise NerError(UNREADABLE, "the service's response is about another job", Remedy.WAIT)
    status = status_of(answer)
    job = Job(
        job_id=job_id,
        status=status,
        created=time_or_none(answer.get("createdDateTime")),
        last_update=time_or_none(answer.get("lastUpdatedDateTime") or answer.get("lastUpdateDateTime")),
        expiration=time_or_none(answer.get("expirationDateTime")),
    )
    if not status.is_final:
        return job
    problems = read_problems(answer.get("errors"))
    documents: list[DocumentResult] = []
    statistics: Statistics | None = None
    is_explained = has_failed = status in FAILURES
    tasks = find_tasks(answer.get("tasks"))
    for task in tasks:
        problems += read_problems(task.get("errors")) + read_problems([task.get("error")])
        try:
            results = read_results(task.get("results"), has_documents=has_documents)
        except NerError:
            if not has_failed:
                raise
            results = None
        if results is not None:
            documents += results.documents
            problems += results.problems
            statistics = results.statistics or statistics
        is_explained = is_explained or results is not None or status_of(task) in FAILURES
    if not is_explained and not problems:
        raise unreadable("a job that succeeded has no results")
    return msgspec.structs.replace(
        job,
        documents=documents,
        problems=problems,
        statistics=statistics,
        others=job_others(answer, tasks),
        next_page=read_next_page(answer.get("nextLink") or answer.get("@nextLink")),
    )


def is_job(answer: Any) -> bool:
    """Return whether an answer is a job: many services have a status, but not what all dialects of this one have."""
    is_named = isinstance(answer, dict) and (text_or_none(answer.get("jobId")) or isinstance(answer.get("tasks"), dict))
    return bool(is_named) and text_or_none(answer.get("status")) is not None


def unreadable(reason: str) -> NerError:
    """Return the error of results in a format that the app does not know; the reason quotes no value."""
    message = f"the service returned results in an unknown format ({reason}): check NER_API_VERSION"
    return NerError(UNREADABLE, message, Remedy.MEND_SETTINGS)


def find_tasks(tasks: Any) -> list[dict[str, Any]]:
    """Return the custom NER tasks of a job, wherever the dialect keeps them."""
    if not isinstance(tasks, dict):
        return []
    inner = tasks.get("tasks")
    places = [tasks.get("items"), tasks.get("customEntityRecognitionTasks")]
    if isinstance(inner, dict):
        places.append(inner.get("customEntityRecognitionTasks"))
    found = [task for place in places if isinstance(place, list) for task in place if isinstance(task, dict)]
    return [task for task in found if (text_or_none(task.get("kind")) or "CustomEntity").startswith("CustomEntity")]


def status_of(task: dict[str, Any]) -> JobStatus:
    """Return the state of a job or of a task."""
    word = text_or_none(task.get("status")) or text_or_none(task.get("state")) or ""
    return STATUSES.get(word.lower(), JobStatus.RUNNING)


def read_results(results: Any, *, has_documents: bool) -> TaskResults | None:
    """Read `results` of a task; a task that failed has none.

    Raises:
        NerError: their format is unknown.
    """
    if results is None:
        return None
    if not isinstance(results, dict):
        raise unreadable("results are not an object")
    problems = read_problems(results.get("errors"))
    if "documents" not in results and not problems:
        raise unreadable("results have no documents")
    raw = results.get("documents")
    if not isinstance(raw, list | None):
        raise unreadable("documents are not a list")
    try:
        known = msgspec.convert(raw or [], list[DocumentResult])
        documents = [complete(document, each) for document, each in zip(known, raw or [], strict=True)]
    except msgspec.ValidationError:
        documents, others = read_documents(raw or [], has_documents=has_documents)
        problems += others
    statistics = converted(results.get("statistics"), Statistics)
    return TaskResults(documents, problems, statistics)


def read_documents(raw: list[Any], *, has_documents: bool) -> tuple[list[DocumentResult], list[Problem]]:
    """Read documents one by one, without what an outcome can do without; return them and the errors of the others.

    Raises:
        NerError: not even one can be read, so the fault is hardly that of a document.
    """
    documents, problems, reason = [], [], ""
    for each in raw:
        try:
            omitted: Omitted = {}
            known = msgspec.convert(without_unknown_types(each, omitted), DocumentResult)
            documents.append(complete(known, each, omitted))
        except msgspec.ValidationError as error:
            # It names the place and the types, never a value.
            reason = reason or str(error)
            document_id = text_or_none(each.get("id")) if isinstance(each, dict) else None
            problems.append(Problem(UNREADABLE, UNREADABLE_DOCUMENT, document_id))
    if not documents and not has_documents:
        raise unreadable(reason)
    return documents, problems


def without_unknown_types(document: Any, omitted: Omitted) -> Any:
    """Return a document without optional values of an unknown type, and with null lists as empty ones.

    The names of the values are added to `omitted`.
    """
    if not isinstance(document, dict):
        return document
    entities, warnings, statistics = document.get("entities", ...), document.get("warnings"), document.get("statistics")
    if not isinstance(statistics, dict):
        omitted.update({"statistics": None} if statistics is not None else {})
        document = {name: value for name, value in document.items() if name != "statistics"}
    if isinstance(entities, list):
        entities = [entity_without_unknown_types(entity, omitted) for entity in entities]
    known = [each for each in warnings if isinstance(each, dict)] if isinstance(warnings, list) else []
    if warnings is not None and known != warnings:
        omitted["warnings"] = None
    return {**document, "entities": [] if entities is None else entities, "warnings": known}


def entity_without_unknown_types(entity: Any, omitted: Omitted) -> Any:
    """Return an entity without a score or a subcategory of an unknown type."""
    if not isinstance(entity, dict):
        return entity
    found = {
        "confidenceScore": converted(entity.get("confidenceScore"), float),
        "subcategory": text_or_none(entity.get("subcategory")),
    }
    omitted.update(
        (f"entities[].{name}", None) for name, value in found.items() if value is None and entity.get(name) is not None
    )
    return {**entity, **found}


def converted(value: Any, kind: type[T]) -> T | None:
    """Return a value as what it should be, or None if it is something else."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return None


def read_problems(errors: Any) -> list[Problem]:
    """Read a list of errors: the API's error objects, those of documents wrapped as `{"id", "error"}`."""
    problems = []
    for error in errors if isinstance(errors, list) else []:
        if not isinstance(error, dict):
            continue
        described = describe(error.get("error", error))
        if described is not None:
            problems.append(Problem(*described, text_or_none(error.get("id")), service_error(error)))
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
        if values[0].isascii() and values[0].isdigit() and len(values[0]) < 10
    }
    return Page(**numbers) if "skip" in numbers else None


def text_or_none(value: Any) -> str | None:
    """Return a string as it is and anything else as None."""
    return value if isinstance(value, str) else None


def time_or_none(value: Any) -> str | None:
    """Return a time as the service wrote it; None if it is none."""
    return value if isinstance(value, str) and TIME.fullmatch(value) else None
