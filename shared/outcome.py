"""The outcome: one JSON document per file, always of the same shape, whatever happened."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import msgspec

from shared.jobs import SubmittedJob
from shared.ner.model import DocumentResult, Job, JobStatus, Problem, Statistics
from shared.source import Source


class OutcomeStatus(StrEnum):
    """How a file ended."""

    SUCCEEDED = "succeeded"
    PARTIALLY_SUCCEEDED = "partiallySucceeded"
    FAILED = "failed"


class JobSummary(msgspec.Struct, frozen=True, rename="camel"):
    """A job of the file, with the times as the service wrote them; None where it said nothing."""

    job_id: str
    status: str
    created_date_time: str | None = None
    last_update_date_time: str | None = None
    expiration_date_time: str | None = None


class Outcome(msgspec.Struct, frozen=True, rename="camel"):
    """What the outcome blob holds (the README shows one)."""

    status: OutcomeStatus
    source: Source
    api: dict[str, str]
    jobs: list[JobSummary]
    documents: list[DocumentResult]
    errors: list[Problem]
    statistics: Statistics


def blob_name(source_name: str) -> str:
    """Return the outcome's name: `a/report.txt` gives `a/report.txt.json`."""
    return f"{source_name}.json"


def metadata(outcome: Outcome) -> dict[str, str]:
    """Return the blob's metadata, which lets a listing show where everything stands."""
    return {"status": outcome.status.value, "source_etag": outcome.source.etag}


def encode(outcome: Outcome) -> bytes:
    """Return the outcome as indented JSON in UTF-8."""
    return msgspec.json.format(msgspec.json.encode(outcome), indent=2)


def failure(source: Source, api: dict[str, str], problem: Problem, submitted: Sequence[SubmittedJob] = ()) -> Outcome:
    """Return the outcome of a file that gave no entities; `submitted` are its jobs, if it came so far."""
    jobs = [JobSummary(job.job_id, JobStatus.FAILED.value) for job in submitted]
    count = sum(job.documents_count for job in submitted)
    transactions = sum(job.transactions_count for job in submitted)
    statistics = Statistics(count, 0, count, transactions)
    return Outcome(OutcomeStatus.FAILED, source, api, jobs, [], [problem], statistics)


def from_jobs(source: Source, api: dict[str, str], ended: Sequence[tuple[SubmittedJob, Job]]) -> Outcome:
    """Return the outcome of a file all of whose jobs have ended.

    A job counts by what it brought, not by its status alone: a job may be called succeeded and still lack documents.
    """
    documents = [sorted_by_offset(document) for _, job in ended for document in job.documents]
    problems = [problem for submitted, job in ended for problem in problems_of(submitted, job)]
    if not documents:
        status = OutcomeStatus.FAILED
    elif problems or any(job.status is not JobStatus.SUCCEEDED for _, job in ended):
        status = OutcomeStatus.PARTIALLY_SUCCEEDED
    else:
        status = OutcomeStatus.SUCCEEDED
    summaries = [
        JobSummary(job.job_id, job.status.value, job.created, job.last_update, job.expiration) for _, job in ended
    ]
    count = sum(submitted.documents_count for submitted, _ in ended)
    transactions = sum(transactions_of(submitted, job) for submitted, job in ended)
    statistics = Statistics(count, len(documents), count - len(documents), transactions)
    return Outcome(status, source, api, summaries, documents, problems, statistics)


def problems_of(submitted: SubmittedJob, job: Job) -> list[Problem]:
    """Return what the service says went wrong, and what it does not say: documents that it left out."""
    problems = list(job.problems)
    explained = len({problem.document_id for problem in problems if problem.document_id is not None})
    missing = submitted.documents_count - len(job.documents) - explained
    about_the_job = any(problem.document_id is None for problem in problems)
    if job.status in (JobStatus.FAILED, JobStatus.CANCELLED) and not problems:
        word = "was cancelled" if job.status is JobStatus.CANCELLED else "failed"
        problems.append(Problem("JobFailed", f"The job {word} and the service gave no reason. Upload the file again."))
    elif missing > 0 and not about_the_job:
        problems.append(
            Problem(
                "MissingResults",
                f"The service gave no result for {missing} of {submitted.documents_count} documents. "
                "Upload the file again.",
            )
        )
    return problems


def transactions_of(submitted: SubmittedJob, job: Job) -> int:
    """Return the service's count of text records; some dialects give none, or zero."""
    return (job.statistics and job.statistics.transactions_count) or submitted.transactions_count


def sorted_by_offset(document: DocumentResult) -> DocumentResult:
    """Return the document with its entities in reading order, which the service does not keep."""
    entities = sorted(document.entities, key=lambda entity: (entity.offset, entity.length))
    return msgspec.structs.replace(document, entities=entities)


def describe(outcome: Outcome) -> dict[str, Any]:
    """Return the numbers for a log line; no text of the document is among them."""
    return {
        "status": outcome.status.value,
        "documents": len(outcome.documents),
        "entities": sum(len(document.entities) for document in outcome.documents),
        "errors": [problem.code for problem in outcome.errors],
    }
