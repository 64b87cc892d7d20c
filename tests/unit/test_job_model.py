"""Documented and recorded answers of the service become one job model, whichever dialect they are written in."""

import json
from pathlib import Path
from typing import Any

import pytest

from shared.ner.errors import NerError, Remedy
from shared.ner.model import DocumentResult, Entity, Job, JobStatus, Page, Problem, Statistics, read_job

RESPONSES = Path(__file__).parents[1] / "responses"
JOB_ID = "3fa85f64-5717-4562-b3fc-2c963f66afa6"
DOCUMENTS = [
    DocumentResult("doc1", [Entity("Government", "restaurant_name", 23, 10, 0.0551877357)]),
    DocumentResult("doc2", [Entity("David Schmidt", "artist", 0, 13, 0.8022353)]),
]


def response(name: str) -> Job:
    """Read a stored answer."""
    return read_job(JOB_ID, (RESPONSES / f"{name}.json").read_bytes())


def read(**answer: Any) -> Job:
    """Read an answer made of these parts."""
    return read_job(JOB_ID, json.dumps(answer).encode())


@pytest.mark.parametrize("name", ["v3.1-preview.ct.1-completed", "v3.2-preview.2-succeeded", "2023-04-01-succeeded"])
def test_every_dialect_gives_the_same_results(name: str) -> None:
    """Tasks within tasks, tasks by kind, items: the same documents, and the job has ended."""
    job = response(name)
    assert job.status is JobStatus.SUCCEEDED
    assert job.documents == DOCUMENTS
    assert job.problems == []
    assert job.next_page is None
    assert (job.created or "").startswith("2021-05-19T14:32:25")
    assert (job.last_update or "").startswith("2021-05-19T14:32:25")
    assert (job.expiration or "").startswith("2021-05-")


def test_statistics_are_read_where_there_are_any() -> None:
    """v3.1 documents zeros, v3.2 gives none."""
    assert response("2023-04-01-succeeded").statistics == Statistics(2, 2, 0, 2)
    assert response("v3.1-preview.ct.1-completed").statistics == Statistics()
    assert response("v3.2-preview.2-succeeded").statistics is None


@pytest.mark.parametrize("name", ["v3.2-preview.2-notStarted", "2023-04-01-running"])
def test_a_job_in_flight_has_not_ended(name: str) -> None:
    """And has no results yet."""
    job = response(name)
    assert not job.status.is_final
    assert job.documents == []


def test_a_document_may_fail_in_a_job_that_succeeded() -> None:
    """The innermost error is the one that says what is wrong."""
    job = response("2023-04-01-succeeded-with-document-error")
    assert job.documents == DOCUMENTS[:1]
    assert job.problems == [Problem("UnsupportedLanguageCode", "The language is not supported.", "doc2")]


def test_a_failed_job_says_why() -> None:
    """Its own errors have no document."""
    job = response("2023-04-01-failed")
    assert job.status is JobStatus.FAILED
    assert job.problems == [Problem("InternalServerError", "The job failed.")]


def test_of_a_link_to_the_next_page_only_the_numbers_are_read() -> None:
    """A link can lead nowhere else."""
    assert response("2023-04-01-page").next_page == Page(20, 20)
    elsewhere = read(status="succeeded", nextLink="https://evil.example/steal?skip=5")
    assert elsewhere.next_page == Page(5, None)
    preview = {"status": "succeeded", "@nextLink": "https://x/jobs/1?$skip=20&$top=10"}
    assert read(**preview).next_page == Page(20, 10)
    for nonsense in ("https://x/?skip=-1", "https://x/", "", 7, None, "https://x/?skip=٣", "https://["):
        assert read(status="succeeded", nextLink=nonsense).next_page is None


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("notStarted", JobStatus.RUNNING),
        ("running", JobStatus.RUNNING),
        ("cancelling", JobStatus.RUNNING),
        ("validating", JobStatus.RUNNING),
        ("succeeded", JobStatus.SUCCEEDED),
        ("completed", JobStatus.SUCCEEDED),
        ("partiallyCompleted", JobStatus.PARTIALLY_SUCCEEDED),
        ("partiallySucceeded", JobStatus.PARTIALLY_SUCCEEDED),
        ("failed", JobStatus.FAILED),
        ("cancelled", JobStatus.CANCELLED),
    ],
)
def test_words_for_a_status(word: str, status: JobStatus) -> None:
    """A word that a later version adds does not end a job."""
    assert read(status=word).status is status


def test_tasks_of_another_kind_are_passed_over() -> None:
    """Someone else's job may hold several."""
    items = [
        {"kind": "SentimentAnalysisLROResults", "results": {"documents": [{"id": "doc1", "sentiment": "mixed"}]}},
        {"kind": "CustomEntityRecognitionLROResults", "results": {"documents": [{"id": "doc2", "entities": []}]}},
    ]
    assert read(status="succeeded", tasks={"items": items}).documents == [DocumentResult("doc2", [])]


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"status": 1}', b"\xff"])
def test_what_is_no_job_is_worth_another_look(body: bytes) -> None:
    """A gateway may have answered in the service's place."""
    with pytest.raises(NerError) as caught:
        read_job(JOB_ID, body)
    assert caught.value.remedy is Remedy.WAIT


def test_results_of_an_unknown_shape_are_an_error_without_their_values() -> None:
    """Entities that cannot be read must not become no entities; the message may be logged."""
    documents = [{"id": "1", "entities": [{"text": "private", "category": "c", "offset": "private"}]}]
    with pytest.raises(NerError) as caught:
        read(status="succeeded", tasks={"items": [{"results": {"documents": documents}}]})
    assert caught.value.remedy is Remedy.NONE
    assert "private" not in str(caught.value)
