"""Results of many jobs become documents again: in the order of the file, with offsets into the whole text."""

import json
import random
import re
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.merging import (
    Merger,
    MergeState,
    failed_as_a_whole,
    numbered,
    results_of,
    split,
    transactions_of,
)
from shared.ner.model import Document, DocumentResult, Entity, Job, JobStatus, Problem, Statistics
from shared.packing import Limits, Request, pack
from shared.source import Position
from shared.state.batch import SubmittedJob
from tests.unit.test_packing import limits
from tests.unit.test_text_elements import texts

files = st.lists(texts.filter(str.strip), min_size=1, max_size=8)
CHANCE = random.Random(0)  # noqa: S311
WARNING = {"code": "LongWords", "message": "m"}


def entity(text: str, offset: int) -> Entity:
    """Return an entity at a place."""
    return Entity(text, "word", offset, len(text), 0.5)


def words(text: str) -> list[Entity]:
    """Recognise each word."""
    return [entity(match[0], match.start()) for match in re.finditer(r"\S+", text)]


def submitted(request: Request) -> SubmittedJob:
    """Return the job that a request becomes."""
    return SubmittedJob("id", len(request.documents), request.transactions_count, request.start, request.end)


def answer(request: Request, chance: random.Random) -> Job:
    """Return the job as the service might show it: by the ids it was sent, in any order."""
    results = [DocumentResult(document.id, words(document.text), [WARNING]) for document in numbered(request.documents)]
    for result in results:
        chance.shuffle(result.entities)
    chance.shuffle(results)
    return Job("id", JobStatus.SUCCEEDED, documents=results)


def merged(state: MergeState, documents: bytes, errors: bytes) -> tuple[list[Any], list[Any], MergeState]:
    """Read what was merged."""
    return json.loads(b"[" + documents + b"]"), json.loads(b"[" + errors + b"]"), state


def merge(
    jobs: list[tuple[SubmittedJob, Job | None]], chance: random.Random
) -> tuple[list[Any], list[Any], MergeState]:
    """Merge jobs, None for a lost one, with an interruption now and then; return documents, errors and the counts."""
    merger, documents, errors = Merger(MergeState()), b"", b""
    for sent, job in jobs:
        if chance.random() < 0.5:
            documents += merger.documents
            errors += merger.errors
            merger = Merger(msgspec.json.decode(msgspec.json.encode(merger.state), type=MergeState))
        if job is None:
            merger.add_missing(sent.start, sent.end, sent.documents_count, Problem("Lost", "It is lost."))
        else:
            merger.add(sent, job)
    merger.close()
    return merged(merger.state, documents + merger.documents, errors + merger.errors)


@example(["aaaa bbbb" + " " * 80, " " * 80 + "cccc"], Limits(2, 10, 90), CHANCE)
@example(["first", " " * 40 + "second word " * 10], Limits(4, 30, 200), CHANCE)
@given(files, limits, st.randoms(use_true_random=False))
def test_merged_offsets_point_at_the_entities_text(texts: list[str], limits: Limits, chance: random.Random) -> None:
    """Of every part of every document, once, in order; whole words where the text was not cut."""
    requests = list(pack([Document(str(number), text, "en") for number, text in enumerate(texts)], limits=limits))
    documents, errors, state = merge([(submitted(request), answer(request, chance)) for request in requests], chance)
    assert [document["id"] for document in documents] == [str(number) for number in range(len(texts))]
    assert not errors
    for text, document in zip(texts, documents, strict=True):
        found = [(part["offset"], part["text"]) for part in document["entities"]]
        assert found == sorted(found)
        assert all(text[offset : offset + len(part)] == part for offset, part in found)
        assert "".join(part for _, part in found) == "".join(text.split())
        assert document["warnings"]
    assert state.valid_documents_count == state.documents_count == len(texts)
    assert state.transactions_count == sum(request.transactions_count for request in requests)


@given(files, limits, st.randoms(use_true_random=False))
def test_a_lost_job_costs_its_part_and_no_other(texts: list[str], limits: Limits, chance: random.Random) -> None:
    """What was found elsewhere stays; a document is valid only if nothing of it is lost."""
    requests = list(pack([Document(str(number), text, "en") for number, text in enumerate(texts)], limits=limits))
    lost = [chance.random() < 0.4 for _ in requests]
    jobs = [
        (submitted(request), None if gone else answer(request, chance))
        for request, gone in zip(requests, lost, strict=True)
    ]
    documents, errors, state = merge(jobs, chance)
    parts: dict[str, list[bool]] = {}
    for request, gone in zip(requests, lost, strict=True):
        for document in request.documents:
            parts.setdefault(document.id, []).append(gone)
    assert [document["id"] for document in documents] == [name for name, gone in parts.items() if not all(gone)]
    assert state.valid_documents_count == sum(not any(gone) for gone in parts.values())
    assert [error["code"] for error in errors] == ["Lost"] * sum(lost)
    for document in documents:
        text = texts[int(document["id"])]
        for part in document["entities"]:
            assert text[part["offset"] : part["offset"] + part["length"]] == part["text"]


@pytest.mark.parametrize(
    ("start", "end", "place"),
    [
        (Position(0), Position(25), "Documents 1 to 25"),
        (Position(25), Position(26), "Document 26"),
        (Position(0), Position(0, 125_000), "Document 1, characters 1 to 125,000"),
        (Position(0, 125_000), Position(1), "Document 1, from character 125,001 to its end"),
        (Position(0, 125_000), None, "Document 1, character 125,001, to the end of the file"),
        (Position(975), None, "Document 976 to the end of the file"),
        (Position(3), Position(5, 7), "Documents 4 to 6"),
    ],
)
def test_a_lost_job_is_named_by_its_place(start: Position, end: Position | None, place: str) -> None:
    """The uploader knows the file, not the jobs."""
    merger = Merger(MergeState())
    merger.add_missing(start, end, 1, Problem("Lost", "It is lost."))
    assert json.loads(merger.errors)["message"] == f"{place}: It is lost."


def test_errors_and_warnings_stay_with_their_document() -> None:
    """Under the uploader's ids, not those that were sent; what concerns the whole job is named by its place."""
    sent = SubmittedJob("id", 3, 3, Position(25), Position(28))
    job = Job(
        "id",
        JobStatus.PARTIALLY_SUCCEEDED,
        documents=[DocumentResult("02:c:1", [entity("x", 4)], [WARNING]), DocumentResult("00:a", [])],
        problems=[Problem("InvalidDocument", "Bad.", "01:b"), Problem("Internal", "Worse.")],
        statistics=Statistics(3, 2, 1, 7),
    )
    merger = Merger(MergeState())
    merger.add(sent, job)
    documents, errors, state = merged(merger.state, bytes(merger.documents), bytes(merger.errors))
    assert [(document["id"], document["warnings"]) for document in documents] == [("a", []), ("c:1", [WARNING])]
    assert errors == [
        {"code": "InvalidDocument", "message": "Bad.", "documentId": "b"},
        {"code": "Internal", "message": "Documents 26 to 28: Worse."},
    ]
    assert (state.valid_documents_count, state.transactions_count) == (2, 7)


def test_an_id_that_was_not_sent_is_left_aside() -> None:
    """And what was sent is missed."""
    sent = SubmittedJob("id", 2, 2)
    answers = [DocumentResult(name, []) for name in ("a", "02:b", "x:c", "00:good")]
    results, problems = results_of(sent, Job("id", JobStatus.SUCCEEDED, documents=answers))
    assert results == [DocumentResult("good", []), None]
    assert [problem.code for problem in problems] == ["MissingResults"]


def shared_job(
    counts: list[int], status: JobStatus = JobStatus.SUCCEEDED, *, without: frozenset[str] = frozenset()
) -> Job:
    """Return the job of several files with so many documents each, without the results of some ids as they are sent."""
    documents = [
        Document(f"{file}-{index}", "A table.", "en") for file, count in enumerate(counts) for index in range(count)
    ]
    results = [
        DocumentResult(document.id, words(document.text), statistics={"transactionsCount": 3})
        for document in numbered(documents)
        if document.id not in without
    ]
    return Job("id", status, documents=results[::-1])


def outcomes_of(job: Job, counts: list[int]) -> list[tuple[list[str | None], list[Problem], JobStatus]]:
    """Return what each file gets of a shared job: the ids of its results, its errors and how its part ended."""
    found = []
    for part, count in zip(split(job, counts), counts, strict=True):
        results, problems = results_of(SubmittedJob("id", count, count), part)
        found.append(([result and result.id for result in results], problems, part.status))
    return found


@given(counts=st.lists(st.integers(1, 5), min_size=1, max_size=6))
def test_each_file_gets_its_own_documents_of_a_shared_job(counts: list[int]) -> None:
    """In their order and under their own ids, whatever the order of the results."""
    parts = outcomes_of(shared_job(counts), counts)
    expected = [[f"{file}-{index}" for index in range(count)] for file, count in enumerate(counts)]
    assert parts == [(ids, [], JobStatus.SUCCEEDED) for ids in expected]


def test_a_file_pays_for_its_own_documents() -> None:
    """By the service's count of each, if it gives one; else by the app's own."""
    job = shared_job([1, 2])
    assert [transactions_of(SubmittedJob("id", 2, 9), part) for part in split(job, [1, 2])] == [3, 6]
    silent = msgspec.structs.replace(
        job, documents=[msgspec.structs.replace(each, statistics=msgspec.UNSET) for each in job.documents]
    )
    assert [transactions_of(SubmittedJob("id", 2, 9), part) for part in split(silent, [1, 2])] == [9, 9]


@pytest.mark.parametrize("status", [JobStatus.SUCCEEDED, JobStatus.PARTIALLY_SUCCEEDED, JobStatus.FAILED])
def test_an_error_of_a_document_is_its_files_own(status: JobStatus) -> None:
    """Its neighbours have succeeded, whatever the service says of the whole job."""
    job = msgspec.structs.replace(
        shared_job([1, 1, 2], status, without=frozenset({"01:1-0"})), problems=[Problem("Bad", "It is bad.", "01:1-0")]
    )
    first, second, third = outcomes_of(job, [1, 1, 2])
    assert first == (["0-0"], [], JobStatus.SUCCEEDED)
    assert second == ([None], [Problem("Bad", "It is bad.", "1-0")], status)
    assert third == (["2-0", "2-1"], [], JobStatus.SUCCEEDED)


def test_an_error_of_the_job_goes_to_files_without_results() -> None:
    """A file with all its results has nothing to do with it."""
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
    """As those of a file's own job are."""
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
    """Then it says nothing about single files."""
    assert failed_as_a_whole(Job("id", status, documents=documents, problems=problems), 2) is expected
