"""The outcome: one JSON document per file, always of the same shape.

It passes on the fields of the service that this app does not know, under their own names: those of an entity or a
document next to the known ones, those of a job next to the known ones of its entry in `jobs`, and those of its task in
`tasks` there, at the same places as in a response of the generally available API. A job of several files has the same
entry in the outcome of each. An error with more than codes and messages is in `serviceError`, unchanged.
"""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Any

import msgspec

from shared.merging import MergeState, in_line, results_of, transactions_of
from shared.ner.errors import NerError, Remedy, loggable
from shared.ner.model import DocumentResult, Job, JobStatus, Problem, Statistics, flat
from shared.source import Source
from shared.state.batch import SubmittedJob


class OutcomeStatus(StrEnum):
    """How a file ended."""

    SUCCEEDED = "succeeded"
    PARTIALLY_SUCCEEDED = "partiallySucceeded"
    FAILED = "failed"


class JobSummary(msgspec.Struct, frozen=True, rename="camel"):
    """A job of the file. The times are as the service wrote them; None if it gave none."""

    job_id: str
    status: str
    created_date_time: str | None = None
    last_update_date_time: str | None = None
    expiration_date_time: str | None = None


class ServiceJob(JobSummary, frozen=True):
    """A job of the file with its unknown fields, in the form of `Job.others`."""

    others: dict[str, Any] = {}


class Outcome(msgspec.Struct, frozen=True, rename="camel"):
    """What the outcome blob holds (the README shows one)."""

    status: OutcomeStatus
    source: Source
    api: dict[str, str]
    jobs: list[JobSummary]
    documents: list[DocumentResult]
    errors: list[Problem]
    statistics: Statistics


def metadata(status: OutcomeStatus, source: Source, digest: str = "") -> dict[str, str]:
    """Return the blob's metadata, so that a listing shows the state of each file.

    Args:
        status: of the outcome.
        source: the version that it is the outcome of.
        digest: the hash of the text and how it was sent, so that the same text is not sent again. It is stored only
            if the file succeeded.
    """
    modified = source.last_modified.isoformat()
    described = {"status": status.value, "source_etag": source.etag, "source_last_modified": modified}
    return described | ({"digest": digest} if digest and status is OutcomeStatus.SUCCEEDED else {})


def encode(outcome: Outcome) -> bytes:
    """Return the outcome as indented JSON in UTF-8."""
    jobs, documents = [flat(job) for job in outcome.jobs], [flat(document) for document in outcome.documents]
    written = msgspec.structs.replace(outcome, jobs=jobs, documents=documents)
    return msgspec.json.format(msgspec.json.encode(written), indent=2)


def failure(source: Source, api: dict[str, str], problem: Problem, submitted: Sequence[SubmittedJob] = ()) -> Outcome:
    """Return the outcome of a file without results; `submitted` are its jobs, if there are any."""
    jobs = [JobSummary(job.job_id, JobStatus.FAILED.value) for job in submitted]
    count = sum(job.documents_count for job in submitted)
    transactions = sum(job.transactions_count for job in submitted)
    statistics = Statistics(count, 0, count, transactions)
    return Outcome(OutcomeStatus.FAILED, source, api, jobs, [], [problem], statistics)


def explain(error: NerError, *, overdue: bool) -> str:
    """Return the message to the uploader if a call failed permanently."""
    if error.remedy is Remedy.NONE:
        return error.message
    until = " within NER_JOB_TIMEOUT_SECONDS" if overdue else ""
    reason = error.message.rstrip(".")
    return (
        f"The service could not process the file{until}: {reason}. Ask the app's operator to check the log, then "
        "upload the file again."
    )


def from_job(source: Source, api: dict[str, str], submitted: SubmittedJob, job: Job) -> Outcome:
    """Return the outcome of a file whose only job has ended."""
    results = results_of(submitted, job)
    documents = [result for result in results.documents if result is not None]
    all_is_well = not results.problems and job.status is JobStatus.SUCCEEDED
    count, valid = len(results.documents), results.valid_count
    statistics = Statistics(count, valid, count - valid, transactions_of(submitted, job))
    status = status_of(len(documents), all_is_well=all_is_well)
    return Outcome(status, source, api, [summarise(job)], documents, results.problems, statistics)


def summarise(job: Job) -> ServiceJob:
    """Return the entry of a job in the outcome."""
    return ServiceJob(job.job_id, job.status.value, job.created, job.last_update, job.expiration, job.others)


def status_of(documents_count: int, *, all_is_well: bool) -> OutcomeStatus:
    """Return the status of a file with results for that many documents."""
    if not documents_count:
        return OutcomeStatus.FAILED
    return OutcomeStatus.SUCCEEDED if all_is_well else OutcomeStatus.PARTIALLY_SUCCEEDED


def invalid(source: Source, api: dict[str, str], documents_count: int, problems: list[Problem]) -> Outcome:
    """Return the outcome of a file without a valid document."""
    statistics = Statistics(documents_count, 0, documents_count, 0)
    return Outcome(OutcomeStatus.FAILED, source, api, [], [], problems, statistics)


class MergedOutcome(msgspec.Struct, frozen=True):
    """The outcome of a file of many jobs, except documents and errors, which are JSON text already."""

    source: Source
    api: dict[str, str]
    jobs: list[ServiceJob]
    problems: list[Problem]
    documents_count: int
    state: MergeState

    @property
    def status(self) -> OutcomeStatus:
        """How the file ended."""
        jobs_succeeded = all(job.status == JobStatus.SUCCEEDED.value for job in self.jobs)
        return status_of(self.state.documents_count, all_is_well=jobs_succeeded and not self.state.errors_count)

    def describe(self) -> dict[str, Any]:
        """Return the numbers for a log line; no text of the document is among them."""
        return {
            "status": self.status.value,
            "jobs": len(self.jobs),
            "documents": self.state.documents_count,
            "entities": self.state.entities_count,
            "errors": self.state.errors_count,
        }

    def head(self) -> Iterator[bytes]:
        """Yield the JSON text before the documents."""
        encode = msgspec.json.encode
        yield b'{\n  "status": ' + encode(self.status) + b',\n  "source": ' + encode(self.source)
        yield b',\n  "api": ' + encode(self.api) + b',\n  "jobs": ['
        for number, job in enumerate(self.jobs):
            yield in_line(encode(flat(job)), is_first=number == 0)
        yield b'\n  ],\n  "documents": ['

    def middle(self) -> Iterator[bytes]:
        """Yield the JSON text between the documents and the errors of the jobs, and the errors of the file."""
        yield b'\n  ],\n  "errors": ['
        for number, problem in enumerate(self.problems):
            yield in_line(msgspec.json.encode(problem), is_first=number == 0)

    def tail(self) -> Iterator[bytes]:
        """Yield the JSON text after the errors."""
        valid = self.state.valid_documents_count
        statistics = Statistics(
            self.documents_count, valid, self.documents_count - valid, self.state.transactions_count
        )
        yield b'\n  ],\n  "statistics": ' + msgspec.json.encode(statistics) + b"\n}"


def describe(outcome: Outcome) -> dict[str, Any]:
    """Return the numbers for a log line; no text of the document is among them."""
    return {
        "status": outcome.status.value,
        "documents": len(outcome.documents),
        "entities": sum(len(document.entities) for document in outcome.documents),
        "errors": [loggable(problem.code) for problem in outcome.errors],
    }
