"""What the outcome says, whatever happened."""

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from shared import outcome as outcomes
from shared.ner.errors import FORGOTTEN, Answer, from_answer
from shared.ner.model import (
    DocumentResult,
    Entity,
    Job,
    JobStatus,
    Problem,
    ServiceDocument,
    ServiceEntity,
    Statistics,
)
from shared.outcome import Outcome, OutcomeStatus
from shared.source import Source
from shared.state.batch import SubmittedJob

SOURCE = Source("incoming", "a/report.txt", "0x8D", datetime(2026, 1, 1, tzinfo=UTC), 1234)
API = {"version": "2023-04-01", "projectName": "p", "deploymentName": "d", "stringIndexType": "UnicodeCodePoint"}
ENTITY = Entity("Bristol", "city", 5, 7, 0.9)
FOUND = DocumentResult("report.txt", [ENTITY])
SUBMITTED = SubmittedJob("id", 1, 3)


def ended(status: JobStatus = JobStatus.SUCCEEDED, **parts: Any) -> Outcome:
    """Return the outcome of a file with one job that ended so."""
    return outcomes.from_job(SOURCE, API, SUBMITTED, Job("id", status, **parts))


def test_the_shape_is_the_contract() -> None:
    """Every name, in a blob that is one JSON document."""
    outcome = ended(
        documents=[FOUND],
        statistics=Statistics(1, 1, 0, 2),
        created="2026-01-01T00:00:00Z",
        last_update="2026-01-01T00:00:01Z",
        expiration="2026-01-02T00:00:00Z",
    )
    assert json.loads(outcomes.encode(outcome)) == {
        "status": "succeeded",
        "source": {
            "container": "incoming",
            "name": "a/report.txt",
            "etag": "0x8D",
            "lastModified": "2026-01-01T00:00:00Z",
            "length": 1234,
        },
        "api": API,
        "jobs": [
            {
                "jobId": "id",
                "status": "succeeded",
                "createdDateTime": "2026-01-01T00:00:00Z",
                "lastUpdateDateTime": "2026-01-01T00:00:01Z",
                "expirationDateTime": "2026-01-02T00:00:00Z",
            }
        ],
        "documents": [
            {
                "id": "report.txt",
                "entities": [{"text": "Bristol", "category": "city", "offset": 5, "length": 7, "confidenceScore": 0.9}],
                "warnings": [],
            }
        ],
        "errors": [],
        "statistics": {
            "documentsCount": 1,
            "validDocumentsCount": 1,
            "erroneousDocumentsCount": 0,
            "transactionsCount": 2,
        },
    }


def test_what_the_service_adds_has_its_place() -> None:
    """Beside the contract's names, none of which it changes; readers of outcomes pass over it."""
    entity = ServiceEntity("Bristol", "city", 5, 7, 0.9, others={"tags": [{"name": "City"}], "others": 1})
    document = ServiceDocument("report.txt", [entity, ENTITY], others={"detectedLanguage": {"name": "English"}})
    outcome = ended(
        documents=[document],
        problems=[Problem("c", "m", None, {"code": "c", "target": "t"})],
        others={"new": 2**70, "tasks": {"items": [{"new": 0.1}]}, "others": 1},
    )
    content = json.loads(outcomes.encode(outcome))
    bare = {"text": "Bristol", "category": "city", "offset": 5, "length": 7, "confidenceScore": 0.9}
    assert content["documents"] == [
        {
            "id": "report.txt",
            "entities": [{**bare, "tags": [{"name": "City"}], "others": 1}, bare],
            "warnings": [],
            "detectedLanguage": {"name": "English"},
        }
    ]
    (job,) = content["jobs"]
    assert job["jobId"] == "id"
    assert job | {"new": 2**70, "tasks": {"items": [{"new": 0.1}]}, "others": 1} == job
    assert content["errors"] == [{"code": "c", "message": "m", "serviceError": {"code": "c", "target": "t"}}]
    read = msgspec.json.decode(outcomes.encode(outcome), type=Outcome)
    assert read.documents == [DocumentResult("report.txt", [ENTITY, ENTITY])]
    assert read.jobs[0].job_id == "id"


def test_metadata_names_the_status_and_the_version() -> None:
    """A listing shows where everything stands; only a success names its text, so only its entities are used again."""
    described = {"source_etag": "0x8D", "source_last_modified": SOURCE.last_modified.isoformat()}
    digest = "ab" * 32
    for status in OutcomeStatus:
        expected = {"status": status.value, **described}
        assert outcomes.metadata(status, SOURCE) == expected
        is_success = status is OutcomeStatus.SUCCEEDED
        assert outcomes.metadata(status, SOURCE, digest) == expected | ({"digest": digest} if is_success else {})


def test_text_stands_as_it_is() -> None:
    """UTF-8, not escapes."""
    document = DocumentResult("é.txt", [Entity("Café 🍷", "restaurant_name", 0, 6, 0.5, "bar")])
    body = outcomes.encode(ended(documents=[document]))
    assert "Café 🍷".encode() in body
    assert json.loads(body)["documents"][0]["entities"][0]["subcategory"] == "bar"


def test_a_failure_has_every_part_too() -> None:
    """Nobody who reads outcomes needs to ask first which kind it is."""
    outcome = outcomes.failure(SOURCE, API, Problem("EmptyFile", "The file holds no text."))
    content = json.loads(outcomes.encode(outcome))
    assert list(content) == ["status", "source", "api", "jobs", "documents", "errors", "statistics"]
    assert content["status"] == "failed"
    assert content["errors"] == [{"code": "EmptyFile", "message": "The file holds no text."}]
    assert set(content["statistics"].values()) == {0}
    assert outcomes.metadata(outcome.status, outcome.source)["status"] == "failed"


def test_a_failure_after_submission_names_the_jobs() -> None:
    """The operator can ask the service about them, and sees what was charged."""
    outcome = outcomes.failure(SOURCE, API, Problem("JobTimeout", "Too late."), [SUBMITTED])
    assert [(job.job_id, job.status) for job in outcome.jobs] == [("id", "failed")]
    assert outcome.statistics == Statistics(1, 0, 1, 3)


def test_entities_come_in_reading_order() -> None:
    """The service does not keep it."""
    late, early = Entity("b", "c", 9, 1, 1.0), Entity("a", "c", 2, 1, 1.0)
    outcome = ended(documents=[DocumentResult("d", [late, early])])
    assert outcome.documents[0].entities == [early, late]


def test_no_entities_is_a_success() -> None:
    """There are none in many a text."""
    assert ended(documents=[DocumentResult("d", [])]).status is OutcomeStatus.SUCCEEDED


@pytest.mark.parametrize(
    ("status", "code"),
    [(JobStatus.FAILED, "JobFailed"), (JobStatus.CANCELLED, "JobFailed"), (JobStatus.SUCCEEDED, "MissingResults")],
)
def test_no_results_are_a_failure_even_where_the_service_gives_no_reason(status: JobStatus, code: str) -> None:
    """A job that lost a document is not a document without entities."""
    outcome = ended(status)
    assert outcome.status is OutcomeStatus.FAILED
    assert [problem.code for problem in outcome.errors] == [code]
    assert outcome.statistics == Statistics(1, 0, 1, 3)


def test_a_job_that_ended_in_part_says_that_there_is_no_reason() -> None:
    """The uploader must not look for one in vain; a reason of the service is enough."""
    outcome = ended(JobStatus.PARTIALLY_SUCCEEDED, documents=[FOUND])
    assert [(problem.code, problem.document_id) for problem in outcome.errors] == [("PartialResults", None)]
    assert "gave no reason" in outcome.errors[0].message
    reason = Problem("InternalServerError", "The disk is full.")
    assert ended(JobStatus.PARTIALLY_SUCCEEDED, documents=[FOUND], problems=[reason]).errors == [reason]
    outcome = ended(JobStatus.PARTIALLY_SUCCEEDED)
    assert [problem.code for problem in outcome.errors] == ["MissingResults"]
    assert "gave no reason" in outcome.errors[0].message


@pytest.mark.parametrize("about", ["00:a", "07:odd", "odd"])
def test_a_document_is_missed_whatever_the_errors_of_others(about: str) -> None:
    """An error explains its own document, even if that has a result, too."""
    problem = Problem("InvalidDocument", "Bad.", about)
    job = Job("id", JobStatus.SUCCEEDED, documents=[DocumentResult("00:a", [ENTITY])], problems=[problem])
    outcome = outcomes.from_job(SOURCE, API, SubmittedJob("id", 2, 2), job)
    assert [error.code for error in outcome.errors] == ["InvalidDocument", "MissingResults"]
    assert "1 of 2 documents" in outcome.errors[1].message
    assert outcome.statistics.valid_documents_count == (0 if about == "00:a" else 1)


def test_an_entity_without_a_score_has_none_in_the_outcome() -> None:
    """Zero would be a lie, and null a surprise."""
    bare = Entity("Bristol", "city", 5, 7)
    body = outcomes.encode(ended(documents=[DocumentResult("report.txt", [bare])]))
    assert json.loads(body)["documents"][0]["entities"] == [
        {"text": "Bristol", "category": "city", "offset": 5, "length": 7}
    ]
    assert msgspec.json.decode(body, type=Outcome).documents[0].entities == [bare]


def test_a_job_that_was_forgotten_is_explained_in_the_words_of_the_app() -> None:
    """The service says only that there is no such job; that it was paid is no fault of the operator."""
    forgotten = from_answer(Answer(404, {}, b'{"error": {"code": "NotFound", "message": "m"}}'), submitting=False)
    assert outcomes.explain(forgotten, overdue=False) == FORGOTTEN == outcomes.explain(forgotten, overdue=True)


def test_an_error_of_a_document_is_named_once() -> None:
    """The service's own words suffice."""
    problem = Problem("UnsupportedLanguageCode", "Not supported.", "report.txt")
    outcome = ended(problems=[problem])
    assert outcome.errors == [problem]
    assert outcome.status is OutcomeStatus.FAILED
    assert json.loads(outcomes.encode(outcome))["errors"][0]["documentId"] == "report.txt"


def test_part_of_the_documents_is_a_part_of_a_success() -> None:
    """What came is kept, what failed is named."""
    problem = Problem("UnsupportedLanguageCode", "Not supported.", "01:b")
    job = Job("id", JobStatus.SUCCEEDED, documents=[DocumentResult("00:a", [ENTITY])], problems=[problem])
    outcome = outcomes.from_job(SOURCE, API, SubmittedJob("id", 2, 2), job)
    assert outcome.status is OutcomeStatus.PARTIALLY_SUCCEEDED
    assert [document.id for document in outcome.documents] == ["a"]
    assert [error.document_id for error in outcome.errors] == ["b"]
    assert outcome.statistics == Statistics(2, 1, 1, 2)
    assert ended(JobStatus.PARTIALLY_SUCCEEDED, documents=[FOUND]).status is OutcomeStatus.PARTIALLY_SUCCEEDED


@pytest.mark.parametrize("statistics", [None, Statistics()])
def test_transactions_are_counted_where_the_service_does_not(statistics: Statistics | None) -> None:
    """v3.2 gives none, v3.1 zeros."""
    assert ended(documents=[FOUND], statistics=statistics).statistics.transactions_count == 3


def test_a_log_line_holds_numbers_and_codes_only() -> None:
    """No text of the document."""
    problems = [Problem("InvalidDocument", "Bristol", "x"), Problem("Bristol", "It is all of the text.", "y")]
    described = str(outcomes.describe(ended(documents=[FOUND], problems=problems)))
    assert "Bristol" not in described
    assert "InvalidDocument" in described
