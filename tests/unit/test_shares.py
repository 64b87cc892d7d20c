"""The part of a shared job that each file gets: its own results and errors, and none of the other files'."""

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.merging import numbered, results_of, transactions_of
from shared.ner.model import Document, DocumentResult, Job, JobStatus, Problem, ServiceDocument
from shared.shares import failed_as_a_whole, split
from shared.source import Source
from shared.state.batch import Member, SubmittedJob

SOURCE = Source("incoming", "a.txt", "0x1", datetime(2026, 1, 2, tzinfo=UTC), 1)


def shared_job(
    counts: list[int], status: JobStatus = JobStatus.SUCCEEDED, *, without: frozenset[str] = frozenset()
) -> Job:
    """Return a job of files with these numbers of documents; `without` lists the sent ids that have no result."""
    documents = [
        Document(f"{file}-{index}", "A table.", "en") for file, count in enumerate(counts) for index in range(count)
    ]
    results = [
        DocumentResult(document.id, [], statistics={"transactionsCount": 3})
        for document in numbered(documents)
        if document.id not in without
    ]
    return Job("id", status, documents=results[::-1])


def parts_of(job: Job, counts: list[int]) -> list[Job]:
    """Return the parts of files with these numbers of documents."""
    firsts = [sum(counts[:file]) for file in range(len(counts))]
    members = [
        Member(SOURCE, "claim", documents_count=count, first_document=first)
        for count, first in zip(counts, firsts, strict=True)
    ]
    return split(job, members, sum(counts))


def outcomes_of(job: Job, counts: list[int]) -> list[tuple[list[str | None], list[Problem], JobStatus]]:
    """Return each file's part of a shared job: the ids of its results, its errors and its status."""
    found = []
    for part, count in zip(parts_of(job, counts), counts, strict=True):
        results, problems, _ = results_of(SubmittedJob("id", count, count), part)
        found.append(([result.id if result else None for result in results], problems, part.status))
    return found


@given(counts=st.lists(st.integers(1, 5), min_size=1, max_size=6))
def test_each_file_gets_its_own_documents_of_a_shared_job(counts: list[int]) -> None:
    """In their order and under their own ids, whatever the order of the results."""
    parts = outcomes_of(shared_job(counts), counts)
    expected = [[f"{file}-{index}" for index in range(count)] for file, count in enumerate(counts)]
    assert parts == [(ids, [], JobStatus.SUCCEEDED) for ids in expected]


def test_a_file_pays_for_its_own_documents() -> None:
    """According to the service's counts if it gives them, else to the app's own."""
    job = shared_job([1, 2])
    assert [transactions_of(SubmittedJob("id", 2, 9), part) for part in parts_of(job, [1, 2])] == [3, 6]
    silent = msgspec.structs.replace(
        job, documents=[msgspec.structs.replace(each, statistics=msgspec.UNSET) for each in job.documents]
    )
    assert [transactions_of(SubmittedJob("id", 2, 9), part) for part in parts_of(silent, [1, 2])] == [9, 9]


@pytest.mark.parametrize("status", [JobStatus.SUCCEEDED, JobStatus.PARTIALLY_SUCCEEDED, JobStatus.FAILED])
def test_an_error_of_a_document_is_its_files_own(status: JobStatus) -> None:
    """The other files have succeeded, whatever the status of the whole job is."""
    job = msgspec.structs.replace(
        shared_job([1, 1, 2], status, without=frozenset({"01:1-0"})), problems=[Problem("Bad", "It is bad.", "01:1-0")]
    )
    first, second, third = outcomes_of(job, [1, 1, 2])
    assert first == (["0-0"], [], JobStatus.SUCCEEDED)
    assert second == ([None], [Problem("Bad", "It is bad.", "1-0")], status)
    assert third == (["2-0", "2-1"], [], JobStatus.SUCCEEDED)


def test_what_the_app_does_not_know_stays_with_its_file() -> None:
    """Fields of a document are its file's; those of the job are of all files."""
    documents: list[DocumentResult] = [
        ServiceDocument(f"0{number}:{number}", [], others={"new": number}) for number in (1, 0)
    ]
    problems = [Problem("Bad", "It is bad.", "02:2", {"error": {"target": "t"}})]
    job = Job("id", JobStatus.SUCCEEDED, documents=documents, problems=problems, others={"new": 1})
    parts = parts_of(job, [1, 1, 1])
    assert [part.documents for part in parts[:2]] == [
        [ServiceDocument(str(number), [], others={"new": number})] for number in (0, 1)
    ]
    assert [part.problems for part in parts] == [[], [], [msgspec.structs.replace(problems[0], document_id="2")]]
    assert [part.others for part in parts] == [{"new": 1}] * 3


@pytest.mark.parametrize("is_same", [True, False])
def test_a_result_that_came_twice_is_an_error_of_its_file_if_it_differs(*, is_same: bool) -> None:
    """It is charged once, and the other files have succeeded."""
    job = shared_job([1, 2])
    again = job.documents[-1]
    if not is_same:
        again = msgspec.structs.replace(again, warnings=[{"code": "new"}])
    twice = msgspec.structs.replace(job, documents=[*job.documents, again])
    (ids, problems, _), other = outcomes_of(twice, [1, 2])
    assert ids == ["0-0"]
    assert [(problem.code, problem.document_id) for problem in problems] == [("InvalidResponse", "0-0")] * (not is_same)
    assert other == (["1-0", "1-1"], [], JobStatus.SUCCEEDED)
    assert [transactions_of(SubmittedJob("id", 2, 9), part) for part in parts_of(twice, [1, 2])] == [3, 6]


def test_an_error_of_the_job_goes_to_files_without_results() -> None:
    """A file with all its results does not get the error."""
    job = msgspec.structs.replace(
        shared_job([1, 1, 1], JobStatus.FAILED, without=frozenset({"02:2-0"})),
        problems=[Problem("Internal", "It failed.")],
    )
    assert [problems for _, problems, _ in outcomes_of(job, [1, 1, 1])] == [[], [], [Problem("Internal", "It failed.")]]


def test_a_missing_result_is_an_error_of_its_file() -> None:
    """The service gives no reason, so the app gives one."""
    job = shared_job([1, 2], without=frozenset({"02:1-1"}))
    (_, first, _), (ids, second, _) = outcomes_of(job, [1, 2])
    assert (first, ids) == ([], ["1-0", None])
    assert [problem.code for problem in second] == ["MissingResults"]


def test_results_that_nobody_asked_for_are_left_out() -> None:
    """As in a job of one file."""
    job = shared_job([1, 1])
    odd = [DocumentResult(wire_id, []) for wire_id in ("07:x", "x", ":x", "00", "-1:x")]
    job = msgspec.structs.replace(job, documents=[*job.documents, *odd])
    assert [ids for ids, _, _ in outcomes_of(job, [1, 1])] == [["0-0"], ["1-0"]]


@pytest.mark.parametrize(
    ("status", "documents", "problems", "expected"),
    [
        (JobStatus.FAILED, [], [], True),
        (JobStatus.CANCELLED, [], [Problem("c", "m")], True),
        (JobStatus.FAILED, [], [Problem("c", "m", "00:a")], True),
        (JobStatus.FAILED, [], [Problem("c", "m", "00:a"), Problem("c", "m", "01:b")], False),
        (JobStatus.FAILED, [DocumentResult("00:a", [])], [], False),
        (JobStatus.SUCCEEDED, [], [], False),
        (JobStatus.PARTIALLY_SUCCEEDED, [], [], False),
    ],
)
def test_a_job_has_failed_as_a_whole_if_it_gives_no_result_and_no_reasons(
    status: JobStatus, documents: list[DocumentResult], problems: list[Problem], *, expected: bool
) -> None:
    """Such a job says nothing about single files."""
    assert failed_as_a_whole(Job("id", status, documents=documents, problems=problems), 2) is expected
