"""The liberal reading of the service's answers into the job model.

What the documentation shows and what the service was recorded to answer differ: `completed` and `succeeded`,
`tasks.tasks.customEntityRecognitionTasks` and `tasks.customEntityRecognitionTasks` and `tasks.items`, `status` and
`state`, `lastUpdateDateTime` and `lastUpdatedDateTime`. All of them end up in one model. A job was paid for, so what
cannot be read is waited for, or named in the outcome, but never loses what can be read.

Fields that this app does not know, of any type, are kept as they are: numbers of any size, and other values too, come
out of the outcome as the service wrote them.
"""

from typing import Any, Final, TypeVar
from urllib.parse import parse_qs

import msgspec

from shared.ner.errors import NerError, Remedy, decode, describe
from shared.ner.model import (
    DocumentResult,
    Entity,
    Job,
    JobStatus,
    Page,
    Problem,
    ServiceDocument,
    ServiceEntity,
    Statistics,
)

UNREADABLE: Final = "InvalidResponse"
"""Error code of what the app cannot read in a response."""
UNREADABLE_DOCUMENT: Final = (
    "The service returned this document's result in an unknown format. Ask the app's operator to check "
    "NER_API_VERSION, then upload the file again."
)
LONGEST_TIME: Final = 64
"""Characters of a time; what is longer is none."""
DEEPEST: Final = 32
"""Levels of a warning or an unknown field: what is nested more deeply, some programs can neither write nor read."""
LARGEST_JOB: Final = 64 * 1024
"""Bytes of the unknown fields of a job, without those of its documents. More are not kept, since a ledger has those of
all jobs of a file, of which there may be thousands."""
T = TypeVar("T")

ENTITY_FIELDS: Final = frozenset(Entity.__struct_encode_fields__)
DOCUMENT_FIELDS: Final = frozenset(DocumentResult.__struct_encode_fields__)
STATISTICS_FIELDS: Final = frozenset(Statistics.__struct_encode_fields__)
JOB_FIELDS: Final = frozenset(
    (
        *("jobId", "displayName", "status", "createdDateTime", "lastUpdateDateTime", "lastUpdatedDateTime"),
        *("expirationDateTime", "errors", "tasks", "nextLink", "@nextLink"),
    )
)
TASKS_FIELDS: Final = frozenset(
    ("completed", "failed", "inProgress", "total", "items", "tasks", "customEntityRecognitionTasks", "details")
)
TASK_FIELDS: Final = frozenset(
    ("kind", "taskName", "name", "lastUpdateDateTime", "status", "state", "results", "errors", "error")
)
RESULTS_FIELDS: Final = frozenset(("documents", "errors", "statistics", "projectName", "deploymentName"))
ERROR_FIELDS: Final = frozenset(("code", "message", "innererror", "innerError"))

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
    for task in find_tasks(answer.get("tasks")):
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
        others=job_others(answer),
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
            documents.append(complete(msgspec.convert(mended(each), DocumentResult), each))
        except msgspec.ValidationError as error:
            # It names the place and the types, never a value.
            reason = reason or str(error)
            document_id = text_or_none(each.get("id")) if isinstance(each, dict) else None
            problems.append(Problem(UNREADABLE, UNREADABLE_DOCUMENT, document_id))
    if not documents and not has_documents:
        raise unreadable(reason)
    return documents, problems


def mended(document: Any) -> Any:
    """Return a document with null lists as empty ones, and without scores, subcategories and warnings of odd types."""
    if not isinstance(document, dict):
        return document
    entities, warnings, statistics = document.get("entities", ...), document.get("warnings"), document.get("statistics")
    if not isinstance(statistics, dict):
        document = {name: value for name, value in document.items() if name != "statistics"}
    if isinstance(entities, list):
        entities = [mended_entity(entity) for entity in entities]
    return {
        **document,
        "entities": [] if entities is None else entities,
        "warnings": [each for each in warnings if isinstance(each, dict)] if isinstance(warnings, list) else [],
    }


def mended_entity(entity: Any) -> Any:
    """Return an entity without a score or a subcategory of an odd type."""
    if not isinstance(entity, dict):
        return entity
    score, subcategory = converted(entity.get("confidenceScore"), float), text_or_none(entity.get("subcategory"))
    return {**entity, "confidenceScore": score, "subcategory": subcategory}


def converted(value: Any, kind: type[T]) -> T | None:
    """Return a value as what it should be, or None if it is something else."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return None


def complete(document: DocumentResult, raw: dict[str, Any]) -> DocumentResult:
    """Return a document with the fields that this app does not know, and without what is nested too deeply."""
    if document.warnings or document.statistics:
        warnings = [each for each in document.warnings if not is_deeper(each, DEEPEST)]
        statistics = msgspec.UNSET if is_deeper(document.statistics, DEEPEST) else document.statistics
        document = msgspec.structs.replace(document, warnings=warnings, statistics=statistics)
    entities = raw.get("entities") or []
    if not all(entity.keys() <= ENTITY_FIELDS for entity in entities):
        found = [complete_entity(*pair) for pair in zip(document.entities, entities, strict=True)]
        document = msgspec.structs.replace(document, entities=found)
    others = unknown(raw, DOCUMENT_FIELDS)
    return ServiceDocument(**msgspec.structs.asdict(document), others=others) if others else document


def complete_entity(entity: Entity, raw: dict[str, Any]) -> Entity:
    """Return an entity with the fields that this app does not know."""
    others = unknown(raw, ENTITY_FIELDS)
    return ServiceEntity(**msgspec.structs.asdict(entity), others=others) if others else entity


def unknown(raw: Any, known: frozenset[str]) -> dict[str, Any]:
    """Return the fields of an object that are not among the known ones, except what is nested too deeply."""
    if not isinstance(raw, dict) or raw.keys() <= known:
        return {}
    others = {name: value for name, value in raw.items() if name not in known}
    if has_few_brackets(others):
        return others
    return {name: value for name, value in others.items() if not is_deeper(value, DEEPEST)}


def has_few_brackets(value: Any) -> bool:
    """Return whether the JSON of a value has so few brackets that it cannot be too deep; faster than `is_deeper`."""
    try:
        encoded = msgspec.json.encode(value)
    except RecursionError:
        return False
    return encoded.count(b"[") + encoded.count(b"{") <= DEEPEST


def job_others(answer: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a job and of its tasks that this app does not know, as `Job` has them."""
    others, tasks = unknown(answer, JOB_FIELDS), answer.get("tasks")
    of_tasks = unknown(tasks, TASKS_FIELDS)
    items = [task_others(task) for task in find_tasks(tasks)]
    if any(items):
        of_tasks["items"] = items
    if of_tasks:
        others["tasks"] = of_tasks
    return others if len(msgspec.json.encode(others)) <= LARGEST_JOB else {}


def task_others(task: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a task and of its results that this app does not know.

    Statistics with such fields are returned as a whole.
    """
    results = task.get("results")
    of_results = unknown(results, RESULTS_FIELDS)
    statistics = results.get("statistics") if isinstance(results, dict) else None
    if unknown(statistics, STATISTICS_FIELDS) and not is_deeper(statistics, DEEPEST):
        of_results["statistics"] = statistics
    return unknown(task, TASK_FIELDS) | ({"results": of_results} if of_results else {})


def is_deeper(value: Any, levels: int) -> bool:
    """Return whether lists and objects are nested in more levels."""
    if not isinstance(value, dict | list):
        return levels < 0
    inner = value.values() if isinstance(value, dict) else value
    return levels < 0 or any(is_deeper(each, levels - 1) for each in inner)


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


def service_error(given: dict[str, Any]) -> dict[str, Any] | None:
    """Return an error as the service gave it, without the document's id; None if it has only codes and messages."""
    error = {name: value for name, value in given.items() if name != "id"}
    inner = error.get("error") if "error" in error else error
    says_more = "error" in error and len(error) > 1
    while isinstance(inner, dict):
        says_more = says_more or any(value for name, value in inner.items() if name not in ERROR_FIELDS)
        inner = inner.get("innererror") or inner.get("innerError")
    return error if says_more and not is_deeper(error, DEEPEST) else None


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
    return value if isinstance(value, str) and len(value) <= LONGEST_TIME else None
