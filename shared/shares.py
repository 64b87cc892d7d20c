"""Dividing the results of a job among the files that share it."""

from collections.abc import Sequence

import msgspec

from shared.merging import place_of
from shared.ner.model import DocumentResult, Job, JobStatus, Problem, Statistics
from shared.state.batch import Member


def failed_as_a_whole(job: Job, documents_count: int) -> bool:
    """Return whether a job failed or was cancelled without any result, and without an error for each document."""
    explained = {problem.document_id for problem in job.problems if problem.document_id is not None}
    is_failed = job.status in (JobStatus.FAILED, JobStatus.CANCELLED)
    return is_failed and not job.documents and len(explained) < documents_count


def split(job: Job, members: Sequence[Member], documents_count: int) -> list[Job]:
    """Return a job that ended as one job for each of its files, as if the service had processed each alone.

    Errors of the job itself go to each file with a document that has neither a result nor an error. If there is no such
    file, and no document has an error, they go to all files.

    Args:
        job: the job; its documents have the ids that `numbered` gives them.
        members: the files whose parts are wanted.
        documents_count: how many documents the request had.
    """
    if len(members) == 1 and members[0].documents_count >= documents_count:
        return [job]
    counts = [member.documents_count for member in members]
    places = {
        member.first_document + index: (file, index)
        for file, member in enumerate(members)
        for index in range(member.documents_count)
    }
    documents: list[list[DocumentResult]] = [[] for _ in counts]
    problems: list[list[Problem]] = [[] for _ in counts]
    missing = [set(range(count)) for count in counts]
    general: list[Problem] = []

    def own(wire_id: str) -> tuple[int, int, str] | None:
        place, document_id = place_of(wire_id, documents_count)
        if place not in places:
            return None
        file, index = places[place]
        return file, index, document_id if counts[file] == 1 else f"{index:02}:{document_id}"

    for document in job.documents:
        if (found := own(document.id)) is not None:
            file, index, document_id = found
            documents[file].append(msgspec.structs.replace(document, id=document_id))
            missing[file].discard(index)
    for problem in job.problems:
        if problem.document_id is None or place_of(problem.document_id, documents_count)[0] is None:
            general.append(problem)
        elif (found := own(problem.document_id)) is not None:
            file, index, document_id = found
            problems[file].append(msgspec.structs.replace(problem, document_id=document_id))
            missing[file].discard(index)
    # If the job did not succeed and nothing says why, any file may be concerned.
    is_unexplained = job.status is not JobStatus.SUCCEEDED and not any(missing) and not any(problems)
    return [
        msgspec.structs.replace(
            job,
            status=job.status if own_problems or lacking or is_unexplained else JobStatus.SUCCEEDED,
            documents=results,
            problems=own_problems + (general if lacking or is_unexplained else []),
            statistics=statistics_of(results),
        )
        for results, own_problems, lacking in zip(documents, problems, missing, strict=True)
    ]


def statistics_of(results: Sequence[DocumentResult]) -> Statistics | None:
    """Return what the service charged for some of a job's documents; None if it does not report it for each of them.

    A document that the service returned twice counts once.
    """
    counts = [result.transactions_count for result in {result.id: result for result in reversed(results)}.values()]
    known = [count for count in counts if count is not None]
    return Statistics(transactions_count=sum(known)) if len(known) == len(counts) else None
