"""Documented and recorded answers of the service become one job model, whichever dialect they are written in."""

import json
import re
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import msgspec
import pytest

from shared.ner.errors import NerError, Remedy
from shared.ner.model import (
    DocumentResult,
    Entity,
    Job,
    JobStatus,
    Page,
    Problem,
    Statistics,
    flat,
    others_of,
)
from shared.ner.passing_on import log_omissions, with_page
from shared.ner.reading import UNREADABLE, read_job

RESPONSES = Path(__file__).parents[1] / "responses"
JOB_ID = "3fa85f64-5717-4562-b3fc-2c963f66afa6"
BAD = {"code": "Bad", "message": "It is bad."}
ODD_RESULTS: list[Any] = [None, [], "private", {}, {"errors": None}]
ODD_DOCUMENTS: list[Any] = [{}, "", 0, [None], [["private"]], [{"id": "1"}]]
DOCUMENTS = [
    DocumentResult("doc1", [Entity("Government", "restaurant_name", 23, 10, 0.0551877357)]),
    DocumentResult("doc2", [Entity("David Schmidt", "artist", 0, 13, 0.8022353)]),
]


def response(name: str) -> Job:
    """Read a stored answer."""
    return read_job(JOB_ID, (RESPONSES / f"{name}.json").read_bytes())


def read(**answer: Any) -> Job:
    """Read an answer made of these parts; without others, it has results of no documents."""
    answer = {"jobId": JOB_ID, "tasks": {"items": [{"results": {"documents": []}}]}} | answer
    return read_job(JOB_ID, json.dumps(answer).encode())


def results(*documents: Any, **parts: Any) -> Job:
    """Read a job that succeeded with these documents."""
    return read(status="succeeded", tasks={"items": [{"results": {"documents": documents, **parts}}]})


def found(**changes: Any) -> dict[str, Any]:
    """Return an entity as the service writes it, with changes."""
    return {"text": "Ana", "category": "guest", "offset": 0, "length": 3, "confidenceScore": 0.5} | changes


@pytest.mark.parametrize("name", ["v3.1-preview.ct.1-completed", "v3.2-preview.2-succeeded", "2023-04-01-succeeded"])
def test_every_dialect_gives_the_same_results(name: str) -> None:
    """Tasks within tasks, tasks by kind, items: the same documents, and the job has ended."""
    job = response(name)
    assert job.status is JobStatus.SUCCEEDED
    assert [msgspec.structs.replace(document, statistics=msgspec.UNSET) for document in job.documents] == DOCUMENTS
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
    (problem,) = job.problems
    assert (problem.code, problem.message, problem.document_id) == ("InternalServerError", "The job failed.", None)
    assert problem.service_error == {
        "code": "InternalServerError",
        "message": "The job failed.",
        "target": "#/tasks/items/0",
    }


def test_of_a_link_to_the_next_page_only_the_numbers_are_read() -> None:
    """A link can lead nowhere else."""
    assert response("2023-04-01-page").next_page == Page(20, 20)
    elsewhere = read(status="succeeded", nextLink="https://evil.example/steal?skip=5")
    assert elsewhere.next_page == Page(5, None)
    preview = {"status": "succeeded", "@nextLink": "https://x/jobs/1?$skip=20&$top=10"}
    assert read(**preview).next_page == Page(20, 10)
    huge = f"https://x/?skip={'9' * 5000}"
    for nonsense in ("https://x/?skip=-1", "https://x/", "", 7, None, "https://x/?skip=٣", "https://[", huge):
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


@pytest.mark.parametrize(
    "body",
    [
        *[b"", b"<html>", b"[]", b"{}", b"\xff", b"[" * 100_000, b'{"jobId": "1", "status": 1}'],
        b'{"status": "failed", "message": "The gateway is busy."}',
        b'{"jobId": "1", "status": "succeeded", "x": ' + b"[" * 100_000,
    ],
)
def test_what_is_no_job_is_worth_another_look(body: bytes) -> None:
    """A gateway may have answered in the service's place."""
    with pytest.raises(NerError) as caught:
        read_job(JOB_ID, body)
    assert caught.value.remedy is Remedy.WAIT


@pytest.mark.parametrize(
    "tasks",
    [
        *[None, [], {}, {"items": None}, {"items": []}, {"items": [None]}, {"items": [{}]}],
        *[{"items": [{"results": odd}]} for odd in ODD_RESULTS],
        *[{"items": [{"results": {"documents": odd}}]} for odd in ODD_DOCUMENTS],
        {"items": [{"results": {"documents": [{"id": "1", "entities": [found(offset="private")]}]}}]},
        {"items": [{"results": {"documents": [{"id": "1", "entities": [found(offset=-1)]}]}}]},
        {"items": [{"results": {"documents": [{"id": "1", "entities": [found(length=10**400)]}]}}]},
        {"items": [{"results": {"documents": [{"id": "1", "entities": [found(text=None)]}]}}]},
        {"items": [{"results": {"documents": [{"id": "1", "entities": [["private"]]}]}}]},
        {"items": [{"results": {"documents": [{"id": 1, "entities": []}]}}]},
    ],
)
@pytest.mark.parametrize("status", ["succeeded", "partiallyCompleted"])
def test_results_of_an_unknown_shape_are_waited_for(status: str, tasks: object) -> None:
    """They are there and paid for; the operator learns of it without their values."""
    with pytest.raises(NerError) as caught:
        read(status=status, tasks=tasks)
    assert caught.value.remedy is Remedy.MEND_SETTINGS
    assert "NER_API_VERSION" in caught.value.for_log
    assert "private" not in caught.value.message


@pytest.mark.parametrize("odd", [None, [], "text", {}, {"documents": "x"}, {"documents": [None]}])
@pytest.mark.parametrize("status", [JobStatus.FAILED, JobStatus.CANCELLED])
def test_a_job_that_failed_is_not_waited_for(status: JobStatus, odd: object) -> None:
    """Its results have no shape."""
    job = read(status=status, tasks={"items": [{"results": odd}]})
    assert (job.status, job.documents) == (status, [])


@pytest.mark.parametrize(
    "task", [{"status": "failed"}, {"state": "cancelled"}, {"error": {"code": "c", "message": "m"}}]
)
def test_a_task_may_fail_in_a_job_that_succeeded(task: dict[str, Any]) -> None:
    """Then there will never be results."""
    assert read(status="partiallyCompleted", tasks={"items": [task]}).documents == []


def test_null_lists_are_empty() -> None:
    """Some serialisers write null for what is not there."""
    document = {"id": "1", "entities": None, "warnings": None, "statistics": None}
    job = results(document, errors=None, statistics=None)
    assert job.documents == [DocumentResult("1", [])]
    assert (job.problems, job.statistics) == ([], None)
    tasks = {"items": [{"kind": None, "results": {"documents": None}, "errors": None, "error": None}]}
    job = read(status="succeeded", errors=None, nextLink=None, createdDateTime=None, tasks=tasks)
    assert (job.documents, job.problems) == ([], [])


@pytest.mark.parametrize("score", [None, "high", True, [], {}, 10**400])
def test_an_entity_without_a_score_is_an_entity(score: object) -> None:
    """The outcome then has no score for it."""
    without = found()
    del without["confidenceScore"]
    job = results({"id": "1", "entities": [without, found(confidenceScore=score), found(subcategory=score)]})
    bare = Entity("Ana", "guest", 0, 3)
    assert job.documents[0].entities[:2] == [bare, bare]
    assert job.documents[0].entities[2].subcategory == (score if isinstance(score, str) else None)


def test_a_document_that_cannot_be_read_does_not_lose_the_others() -> None:
    """It is named, and must not look like one without entities."""
    good, bad = {"id": "1", "entities": [found()]}, {"id": "2", "entities": [found(offset=None)]}
    job = results(good, bad, "odd", {"id": "3", "entities": []})
    assert [document.id for document in job.documents] == ["1", "3"]
    assert [(problem.code, problem.document_id) for problem in job.problems] == [(UNREADABLE, "2"), (UNREADABLE, None)]
    page = json.dumps({"jobId": JOB_ID, "status": "succeeded", "tasks": {"items": [{"results": {"documents": [bad]}}]}})
    job = read_job(JOB_ID, page.encode(), has_documents=True)
    assert [problem.document_id for problem in job.problems] == ["2"]


NEW: dict[str, Any] = {"big": 2**70, "tenth": 0.1, "text": "é 🍷", "none": None, "inner": [[{}], [{"offset": 1}]]}


def everywhere(value: Any) -> Any:
    """Return a response with a new field in every object."""
    if isinstance(value, list):
        return [everywhere(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {name: everywhere(each) for name, each in value.items()} | {"new": NEW}


@pytest.mark.parametrize("name", ["v3.1-preview.ct.1-completed", "v3.2-preview.2-succeeded", "2023-04-01-succeeded"])
def test_what_the_app_does_not_know_is_kept(name: str) -> None:
    """In every dialect, at every level, as it is; what it knows is read as ever."""
    answer = everywhere(json.loads((RESPONSES / f"{name}.json").read_text()))
    job, known = read_job(JOB_ID, json.dumps(answer).encode()), response(name)
    for document, plain in zip(job.documents, known.documents, strict=True):
        assert others_of(document) == {"new": NEW}
        assert document.id == plain.id
        for entity, bare in zip(document.entities, plain.entities, strict=True):
            assert flat(entity) == {**msgspec.to_builtins(bare), "new": NEW}
        if plain.statistics:
            assert document.statistics == {**plain.statistics, "new": NEW}
    of_results = {"new": NEW} | ({"statistics": ANY} if known.statistics else {})
    assert job.others == {"new": NEW, "tasks": {"new": NEW, "items": [{"new": NEW, "results": of_results}]}}
    assert (job.status, job.problems, job.statistics) == (known.status, known.problems, known.statistics)
    assert known.others == {}


def test_values_are_kept_to_the_last_digit() -> None:
    """Numbers of any size, characters of any kind."""
    value = '{"a":123456789012345678901234567890,"b":0.1,"c":5e-324,"d":"\\u0000🍷\u2028","e":[[],{}],"f":-0.0}'
    document = f'{{"id":"1","entities":[],"x":{value}}}'
    body = f'{{"jobId":"1","status":"succeeded","tasks":{{"items":[{{"results":{{"documents":[{document}]}}}}]}}}}'
    (found,) = read_job("1", body.encode()).documents
    assert msgspec.json.encode(flat(found)) == f'{{"id":"1","entities":[],"warnings":[],"x":{value}}}'.encode()


@pytest.mark.parametrize("name", ["others", "offset ", "parts", ""])
def test_a_new_field_may_have_any_name(name: str) -> None:
    """Also one that the app uses for something of its own."""
    job = results({"id": "1", "entities": [found(**{name: 1})], name: [2]})
    assert flat(job.documents[0])["entities"] == [found(**{name: 1})]
    assert flat(job.documents[0])[name] == [2]


def test_a_document_with_oddities_keeps_what_is_new() -> None:
    """Only what is odd is left out."""
    job = results({"id": "1", "entities": [found(confidenceScore="high", new=1), found()], "warnings": None, "new": 2})
    assert [others_of(entity) for entity in job.documents[0].entities] == [{"new": 1}, {}]
    assert others_of(job.documents[0]) == {"new": 2}


def test_a_field_that_is_nested_too_deeply_is_left_out() -> None:
    """Some programs could not read the outcome."""
    deep: Any = "x"
    for _ in range(100):
        deep = [deep]
    wide = [[number] for number in range(100)]
    entity = found(deep=deep, wide=wide)
    job = results({"id": "1", "entities": [entity], "deep": deep, "statistics": {"deep": deep}}, deep=deep)
    (document,) = job.documents
    assert (others_of(document), others_of(document.entities[0])) == ({}, {"wide": wide})
    assert document.statistics is msgspec.UNSET
    assert omitted(document.warnings) == "`statistics`, `entities[].deep`, `deep`"
    assert job.others.keys() == {"warnings"}
    assert omitted(job.others["warnings"]) == "`tasks.items[].results.deep`"
    (problem,) = results(errors=[{"id": "1", "error": {"code": "c", "message": "m", "deep": deep}}]).problems
    assert problem.service_error is not None
    assert omitted(problem.service_error["warnings"]) == "`error`"


def omitted(warnings: list[dict[str, Any]]) -> str:
    """Return the fields that the last warning names as left out."""
    assert warnings[-1]["code"] == "FieldsOmitted"
    message: str = warnings[-1]["message"]
    return message.partition(": ")[2].partition(". The other")[0]


def test_values_of_an_unknown_type_are_named() -> None:
    """The outcome has another type for them; null is no value."""
    odd = [found(confidenceScore="high", subcategory=1), found(subcategory=None), found(confidenceScore=[])]
    job = results({"id": "1", "entities": odd, "warnings": ["odd"], "statistics": "many"})
    names = "`entities[].confidenceScore`, `entities[].subcategory`, `statistics`, `warnings`"
    assert sorted(omitted(job.documents[0].warnings).split(", ")) == names.split(", ")
    assert results({"id": "1", "entities": None, "warnings": None, "statistics": None}).documents[0].warnings == []
    for statistics in ("many", {"documentsCount": "two"}, [1]):
        others = results({"id": "1", "entities": []}, statistics=statistics).others
        assert others == {"tasks": {"items": [{"results": {"statistics": statistics}}]}}


def test_a_job_keeps_new_fields_up_to_a_size() -> None:
    """Since a file may have thousands of jobs. The largest are left out, and a warning names them."""
    most = {"tasks": {"items": [{"results": {"new": "x" * 65_000}}]}}
    assert results(new="x" * 65_000).others == most
    others = results(new="x" * 65_536, small="y").others
    assert omitted(others.pop("warnings")) == "`tasks.items[].results.new`"
    assert others == {"tasks": {"items": [{"results": {"small": "y"}}]}}
    others = read(status="succeeded", tasks={"items": [], "large": "x" * 40_000}, errors=[BAD], new="x" * 50_000).others
    assert omitted(others.pop("warnings")) == "`new`"
    assert others == {"tasks": {"large": "x" * 40_000}}
    own = read(status="succeeded", tasks={}, errors=[BAD], new="x" * 65_536, warnings="own").others
    assert own["warnings"][0] == "own"
    assert omitted(own["warnings"]) == "`new`"
    names = {f"{number:03}" + "n" * 100: "x" * 65_536 for number in range(30)}
    message = omitted(read(status="succeeded", tasks={}, errors=[BAD], **names).others["warnings"])
    assert message.endswith("and 20 more")
    assert len(message) < 1000


def test_what_only_a_later_page_says_of_the_job_is_kept() -> None:
    """What another page says otherwise is named."""
    assert with_page({"a": 1}, {"a": 1, "b": 2}) == {"a": 1, "b": 2}
    others = with_page({"a": 1, "b": 2}, {"a": True, "b": 2})
    assert omitted(others.pop("warnings")) == "`a`"
    assert others == {"a": 1, "b": 2}


def test_what_is_left_out_is_logged_without_names(caplog: pytest.LogCaptureFixture) -> None:
    """The names are in the outcome."""
    log_omissions(results({"id": "1", "entities": [found()]}, new=1))
    assert not caplog.messages
    log_omissions(results({"id": "1", "entities": [found(confidenceScore="high")]}, secret="x" * 65_536))
    assert "FieldsOmitted in the outcome (2 in all)" in caplog.messages[0]
    assert not {"secret", "high", "confidenceScore"} & set(re.findall(r"\w+", caplog.messages[0]))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({"code": "c", "message": "m"}, None),
        ({"code": "c", "message": "m", "target": None, "details": []}, None),
        ({"code": "o", "message": "o", "innererror": {"code": "c", "message": "m"}}, None),
        ({"code": "c", "message": "m", "target": "t"}, ...),
        ({"code": "o", "message": "o", "innererror": {"code": "c", "message": "m", "details": {"a": "b"}}}, ...),
    ],
)
def test_an_error_that_says_more_is_kept_as_a_whole(error: dict[str, Any], expected: object) -> None:
    """As the service gave it, without the id of its document, which may be the app's own."""
    (problem,) = results(errors=[{"id": "1", "error": error}]).problems
    assert problem == Problem("c", "m", "1", None if expected is None else {"error": error})
    (problem,) = read(status="failed", errors=[error]).problems
    assert problem == Problem("c", "m", None, None if expected is None else error)


def test_warnings_are_kept_as_far_as_any_program_can_read_them() -> None:
    """They are the service's own, of any shape."""
    deep: Any = []
    for _ in range(100):
        deep = [deep]
    warning = {"code": "LongWords", "message": "m", "targetRef": {"a": [1, {"b": None}]}}
    for odd in ({"deep": deep}, "odd"):
        (document,) = results({"id": "1", "entities": [], "warnings": [warning, odd]}).documents
        assert document.warnings[:-1] == [warning]
        assert omitted(document.warnings) == "`warnings`"


@pytest.mark.parametrize("kind", [None, 7, [], "CustomEntityRecognitionLROResults"])
def test_a_kind_of_an_odd_type_is_none(kind: object) -> None:
    """The results are those of the only task that was asked for."""
    tasks = {"items": [{"kind": kind, "results": {"documents": [{"id": "1", "entities": []}]}}]}
    assert read(status="succeeded", tasks=tasks).documents == [DocumentResult("1", [])]


@pytest.mark.parametrize(("status", "expected"), [("succeeded", 60.0), ("failed", 60.0), ("cancelled", None)])
def test_a_cancelled_job_says_nothing_of_how_long_jobs_take(status: str, expected: float | None) -> None:
    """The service may have cancelled it because it did not end."""
    times = {"createdDateTime": "2026-01-01T00:00:00Z", "lastUpdatedDateTime": "2026-01-01T00:01:00Z"}
    job = read(status=status, **times)
    assert (job.seconds, job.working_seconds) == (60.0, expected)


@pytest.mark.parametrize("odd", [7, [], {}, "x" * 100_000])
def test_a_time_of_an_odd_type_is_none(odd: object) -> None:
    """The outcome passes on what the service wrote, but only times."""
    job = read(status="succeeded", createdDateTime=odd, lastUpdatedDateTime=odd, expirationDateTime=odd)
    assert (job.created, job.last_update, job.expiration, job.seconds) == (None, None, None, None)


@pytest.mark.parametrize(
    "statistics", [7, [], {"transactionsCount": None}, {"transactionsCount": -1}, {"transactionsCount": 10**400}]
)
def test_odd_statistics_are_none(statistics: object) -> None:
    """The app counts what it sent."""
    assert results({"id": "1", "entities": []}, statistics=statistics).statistics is None


def test_an_answer_about_another_job_is_none_about_this_one() -> None:
    """As of a confused cache: nobody gets the entities of another file."""
    body = json.dumps({"jobId": "another", "status": "succeeded", "tasks": {}}).encode()
    with pytest.raises(NerError, match="another job") as caught:
        read_job(JOB_ID, body)
    assert caught.value.remedy is Remedy.WAIT
