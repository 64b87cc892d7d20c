"""Keeps the fields of responses that this app does not know, and passes them on to the outcome unchanged.

This includes numbers of any size. A warning names the fields that are left out nevertheless.
"""

import logging
from collections.abc import Collection, Sequence
from itertools import islice
from typing import Any, Final

import msgspec

from shared.ner.errors import printable
from shared.ner.model import DocumentResult, Entity, Job, ServiceDocument, ServiceEntity, Statistics, loggable_job

log = logging.getLogger("ner")

DEEPEST: Final = 32
"""Levels of a warning or an unknown field. Values with more are left out: some programs cannot read or write them."""
LARGEST_JOB: Final = 64 * 1024
"""Bytes of the unknown fields of a job, without those of its documents. If there are more, the largest are left out,
because the ledger of a file contains those of all its jobs, which may be thousands."""
FIELDS_OMITTED: Final = "FieldsOmitted"
"""Code of the warning that names what the service said and the outcome does not contain."""
MAX_NAMES: Final = 10
"""Names in such a warning."""
LONGEST_NAME: Final = 64
UNUSUAL: Final = f"they have an unknown type or more than {DEEPEST} levels"

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


def quoted(name: str) -> str:
    """Return the name of a field as warnings have it."""
    return f"`{printable(name)[:LONGEST_NAME]}`"


def left_out(fields: Collection[str], why: str, count: int | None = None) -> dict[str, Any]:
    """Return the warning that fields are not in the outcome.

    Args:
        fields: the fields in words, at least the first MAX_NAMES.
        why: the reason.
        count: how many fields there are, if `fields` does not have all.
    """
    more = (len(fields) if count is None else count) - MAX_NAMES
    named = ", ".join(islice(fields, MAX_NAMES)) + (f" and {more:,} more" if more > 0 else "")
    return {
        "code": FIELDS_OMITTED,
        "message": f"The service returned fields that this outcome does not contain, because {why}: {named}. The "
        "other results are complete. Within 24 hours of the submission, the app's operator can get these fields from "
        "the service.",
    }


def trim(objects: Sequence[tuple[str, dict[str, Any]]], room: int) -> list[str]:
    """Delete the largest fields of objects until the others have at most `room` bytes in all.

    Returns:
        The names of the deleted fields, each after the prefix of its object.
    """
    sizes = [
        (len(msgspec.json.encode({name: value})), prefix, name, fields)
        for prefix, fields in objects
        for name, value in fields.items()
    ]
    sizes.sort(key=lambda field: field[0])
    total, names = sum(size for size, *_ in sizes), list[str]()
    while total > room and sizes:
        size, prefix, name, fields = sizes.pop()
        total -= size
        names.append(prefix + name)
        del fields[name]
    return names


Omitted = dict[str, None]
"""The fields of a response that are left out, in their order."""


def complete(document: DocumentResult, raw: dict[str, Any], omitted: Omitted | None = None) -> DocumentResult:
    """Return a document with the fields that this app does not know, and without values that are nested too deeply.

    Args:
        document: what the app knows of it.
        raw: the document as the service gave it.
        omitted: fields that are left out already.
    """
    omitted = {} if omitted is None else omitted
    if document.warnings or document.statistics:
        warnings = [each for each in document.warnings if not is_deeper(each, DEEPEST)]
        if len(warnings) < len(document.warnings):
            omitted["warnings"] = None
        statistics = document.statistics
        if is_deeper(statistics, DEEPEST):
            omitted["statistics"], statistics = None, msgspec.UNSET
        document = msgspec.structs.replace(document, warnings=warnings, statistics=statistics)
    entities = raw.get("entities") or []
    if not all(entity.keys() <= ENTITY_FIELDS for entity in entities):
        found = [complete_entity(*pair, omitted) for pair in zip(document.entities, entities, strict=True)]
        document = msgspec.structs.replace(document, entities=found)
    others = unknown(raw, DOCUMENT_FIELDS, omitted)
    if omitted:
        warning = left_out([quoted(name) for name in omitted], UNUSUAL)
        document = msgspec.structs.replace(document, warnings=[*document.warnings, warning])
    return ServiceDocument(**msgspec.structs.asdict(document), others=others) if others else document


def complete_entity(entity: Entity, raw: dict[str, Any], omitted: Omitted) -> Entity:
    """Return an entity with the fields that this app does not know."""
    others = unknown(raw, ENTITY_FIELDS, omitted, "entities[].")
    return ServiceEntity(**msgspec.structs.asdict(entity), others=others) if others else entity


def unknown(raw: Any, known: frozenset[str], omitted: Omitted, prefix: str = "") -> dict[str, Any]:
    """Return the fields of an object that are not among the known ones, except values that are nested too deeply.

    The names of these are added to `omitted`, after the prefix.
    """
    if not isinstance(raw, dict) or raw.keys() <= known:
        return {}
    others = {name: value for name, value in raw.items() if name not in known}
    if has_few_brackets(others):
        return others
    kept = {name: value for name, value in others.items() if not is_deeper(value, DEEPEST)}
    omitted.update((prefix + name, None) for name in others if name not in kept)
    return kept


def has_few_brackets(value: Any) -> bool:
    """Return whether the JSON of a value has so few brackets that it cannot be too deep; faster than `is_deeper`."""
    try:
        encoded = msgspec.json.encode(value)
    except RecursionError:
        return False
    return encoded.count(b"[") + encoded.count(b"{") <= DEEPEST


def job_others(answer: dict[str, Any], tasks: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the unknown fields of a job and of its tasks, in the form of `Job.others`.

    If some are left out, `warnings` of the job says so.
    """
    omitted: Omitted = {}
    others = unknown(answer, JOB_FIELDS, omitted)
    of_tasks = unknown(answer.get("tasks"), TASKS_FIELDS, omitted, "tasks.")
    items = [unknown(task, TASK_FIELDS, omitted, "tasks.items[].") for task in tasks]
    results = [results_others(task.get("results"), omitted) for task in tasks]
    objects = [("", others), ("tasks.", of_tasks), *(("tasks.items[].", item) for item in items)]
    objects += [("tasks.items[].results.", each) for each in results]
    large = trim(objects, LARGEST_JOB - len(tasks) * len("{},"))
    items = [item | ({"results": each} if each else {}) for item, each in zip(items, results, strict=True)]
    if any(items):
        of_tasks["items"] = items
    if of_tasks:
        others["tasks"] = of_tasks
    why = f"the unknown fields of a job may have {LARGEST_JOB:,} bytes"
    warnings = [
        left_out([quoted(name) for name in names], reason)
        for names, reason in ((omitted, UNUSUAL), (large, why))
        if names
    ]
    return with_warnings(others, warnings)


def with_warnings(others: dict[str, Any], warnings: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the unknown fields of a job with warnings, after its own if it has a field of this name."""
    own = others.get("warnings", [])
    return others | {"warnings": [*(own if isinstance(own, list) else [own]), *warnings]} if warnings else others


def with_page(others: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """Return the unknown fields of a job with those of a later page of its results."""
    encode = msgspec.json.encode
    differing = [quoted(name) for name in more if name in others and encode(more[name]) != encode(others[name])]
    warnings = [left_out(differing, "each page of the results has other values")] if differing else []
    return with_warnings(more | others, warnings)


def results_others(results: Any, omitted: Omitted) -> dict[str, Any]:
    """Return the fields of a task's results that this app does not know.

    Statistics with such fields, or of an unknown type, are returned as a whole.
    """
    prefix = "tasks.items[].results."
    others = unknown(results, RESULTS_FIELDS, omitted, prefix)
    statistics = results.get("statistics") if isinstance(results, dict) else None
    if statistics is not None and (not is_statistics(statistics) or statistics.keys() - STATISTICS_FIELDS):
        if is_deeper(statistics, DEEPEST):
            omitted[prefix + "statistics"] = None
        else:
            others["statistics"] = statistics
    return others


def is_statistics(value: Any) -> bool:
    """Return whether the app can read a value as statistics."""
    try:
        msgspec.convert(value, Statistics)
    except msgspec.ValidationError:
        return False
    return True


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
    if not says_more:
        return None
    return {"warnings": [left_out(["`error`"], UNUSUAL)]} if is_deeper(error, DEEPEST) else error


def log_omissions(job: Job) -> None:
    """Log that fields of a job or of its documents are left out; their names are in the outcome."""
    own = job.others.get("warnings")
    warnings = [*(own if isinstance(own, list) else []), *(each for found in job.documents for each in found.warnings)]
    count = sum(isinstance(each, dict) and each.get("code") == FIELDS_OMITTED for each in warnings)
    if count:
        log.warning(
            "job %s: some fields of the response are left out, see warnings %s in the outcome (%d in all)",
            *(loggable_job(job.job_id), FIELDS_OMITTED, count),
        )
