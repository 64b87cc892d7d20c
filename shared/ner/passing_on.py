"""Keeps the fields of responses that this app does not know, and passes them on to the outcome unchanged.

This includes numbers of any size.
"""

from typing import Any, Final

import msgspec

from shared.ner.model import DocumentResult, Entity, ServiceDocument, ServiceEntity, Statistics

DEEPEST: Final = 32
"""Levels of a warning or an unknown field. Values with more are left out: some programs cannot read or write them."""
LARGEST_JOB: Final = 64 * 1024
"""Bytes of the unknown fields of a job, without those of its documents. If there are more, none is kept, because the
ledger of a file contains those of all its jobs, which may be thousands."""

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


def complete(document: DocumentResult, raw: dict[str, Any]) -> DocumentResult:
    """Return a document with the fields that this app does not know, and without values that are nested too deeply."""
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
    """Return the fields of an object that are not among the known ones, except values that are nested too deeply."""
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


def job_others(answer: dict[str, Any], tasks: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the unknown fields of a job and of its tasks, in the form of `Job.others`."""
    others, of_tasks = unknown(answer, JOB_FIELDS), unknown(answer.get("tasks"), TASKS_FIELDS)
    items = [task_others(task) for task in tasks]
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
    """Return whether lists and objects are nested in more than `levels` levels."""
    if not isinstance(value, dict | list):
        return levels < 0
    inner = value.values() if isinstance(value, dict) else value
    return levels < 0 or any(is_deeper(each, levels - 1) for each in inner)


def service_error(given: dict[str, Any]) -> dict[str, Any] | None:
    """Return an error as the service gave it, without the document's id; None if it has only codes and messages."""
    error = {name: value for name, value in given.items() if name != "id"}
    inner = error.get("error") if "error" in error else error
    says_more = "error" in error and len(error) > 1
    while isinstance(inner, dict):
        says_more = says_more or any(value for name, value in inner.items() if name not in ERROR_FIELDS)
        inner = inner.get("innererror") or inner.get("innerError")
    return error if says_more and not is_deeper(error, DEEPEST) else None
