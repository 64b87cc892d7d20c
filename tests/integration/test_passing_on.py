"""Nothing that the service says is dropped: fields that this app does not know come out of every kind of file."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient

from local.account import Account
from local.export import Format, rows, writer
from local.ner.generally_available import STABLE_VERSIONS
from local.ner.unknown_fields import ENTITY, NAME, new_field
from local.results import decode_outcome, read_result
from local.show_result import View as Chosen
from local.view.app import View
from shared.names import result_name
from shared.outcome import OutcomeStatus
from tests.calls import arriving_together
from tests.emulator import CLIENT
from tests.integration.conftest import TEXT, Way
from tests.integration.test_many_jobs import SENTENCE, bit_by_bit, lines

__all__ = ["bit_by_bit"]

VERSION = "2026-05-01"
JOB = {
    NAME: new_field("job"),
    "tasks": {NAME: new_field("tasks"), "items": [{NAME: new_field("items"), "results": {NAME: new_field("results")}}]},
}


@pytest.fixture
async def way(make_way: Callable[..., Way]) -> AsyncIterator[Way]:
    """A way to a service that says more than this app knows, and detects languages."""
    way = make_way(NER_API_VERSION=VERSION, NER_LANGUAGE="auto", NER_LOGGING_OPT_OUT="true")
    way.switch(jobSeconds=0, unknownFields=True)
    yield way
    await way.pipeline.aclose()


def content(way: Way, name: str) -> dict[str, Any]:
    """Return the outcome of a file as it is."""
    blob = way.blobs.get_blob_client(way.settings.results_container, result_name(name))
    found: dict[str, Any] = json.loads(blob.download_blob().readall())
    return found


def said(way: Way, outcome: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what the service says of the documents of an outcome's jobs, by their ids without the number."""
    found = {}
    for job in outcome["jobs"]:
        url = f"{way.ner_emulator}/language/analyze-text/jobs/{job['jobId']}"
        query = {"api-version": VERSION, "showStats": "true"}
        headers = {"Ocp-Apim-Subscription-Key": str(way.settings.key)}
        answer = CLIENT.get(url, params=query, headers=headers).raise_for_status().json()
        for document in answer["tasks"]["items"][0]["results"]["documents"]:
            number, colon, own = document["id"].partition(":")
            found[own if colon and len(number) == 2 else document["id"]] = document
    return found


def check(way: Way, outcome: dict[str, Any]) -> None:
    """Assert that an outcome has all that the service says, as it says it."""
    assert outcome["status"] == "succeeded"
    answers = said(way, outcome)
    for document in outcome["documents"]:
        answer = answers[document["id"]]
        assert document == {**answer, "id": document["id"]}
        assert document[NAME] == new_field("documents")
        assert document["detectedLanguage"]["iso6391Name"] == "en"
        assert document["statistics"]["transactionsCount"] == 1
        assert document["entities"]
        for entity in document["entities"]:
            assert {name: entity[name] for name in (NAME, *ENTITY)} == {NAME: new_field("entities"), **ENTITY}
    for job in outcome["jobs"]:
        assert set(job) == {*JOB, "jobId", "status", "createdDateTime", "lastUpdateDateTime", "expirationDateTime"}
        assert job[NAME] == JOB[NAME]
        (task,) = job["tasks"]["items"]
        assert task["results"].pop("statistics")[NAME] == new_field("statistics")
        assert job["tasks"] == JOB["tasks"]
    assert list(outcome) == ["status", "source", "api", "jobs", "documents", "errors", "statistics"]


@pytest.mark.parametrize("version", STABLE_VERSIONS)
async def test_every_stable_version_gives_an_outcome(version: str, make_way: Callable[..., Way]) -> None:
    """With all settings that it takes."""
    way = make_way(NER_API_VERSION=version, NER_LOGGING_OPT_OUT="true")
    way.switch(jobSeconds=0)
    await way.submit()
    outcome = await way.poll_until_outcome()
    assert (outcome.status, outcome.api["version"]) == (OutcomeStatus.SUCCEEDED, version)
    await way.pipeline.aclose()


async def test_of_a_text(way: Way) -> None:
    """One document, one request."""
    await way.submit()
    await way.poll_until_outcome()
    check(way, content(way, way.name))


async def test_of_several_documents(way: Way) -> None:
    """One request."""
    way.name = "notes.jsonl"
    await way.submit(lines(12))
    await way.poll_until_outcome()
    outcome = content(way, way.name)
    check(way, outcome)
    assert (len(outcome["jobs"]), len(outcome["documents"])) == (1, 12)


async def test_of_files_that_share_a_job(way: Way) -> None:
    """Each has what the service says of its own document, and of the job."""
    names = [f"passing/{number}.txt" for number in range(5)]
    for way.name in names:
        way.upload(TEXT + b" " + way.name.encode())
    with arriving_together(way.pipeline, len(names)):
        await asyncio.gather(*(way.pipeline.submit(name) for name in names))
    await way.poll_until_empty()
    outcomes = [content(way, name) for name in names]
    assert len({outcome["jobs"][0]["jobId"] for outcome in outcomes}) == 1
    for outcome in outcomes:
        check(way, outcome)


@pytest.mark.usefixtures("bit_by_bit")
async def test_of_a_file_of_many_jobs(way: Way) -> None:
    """Also through the ledger, which another worker reads after each job."""
    await way.pipeline.sweep()
    way.name = "many.jsonl"
    await way.submit(lines(45))
    await way.poll_until_outcome()
    outcome = content(way, way.name)
    check(way, outcome)
    assert (len(outcome["jobs"]), len(outcome["documents"])) == (3, 45)


@pytest.mark.usefixtures("bit_by_bit")
async def test_of_a_long_text(way: Way) -> None:
    """What is counted is added up, and each later part is listed with its own fields."""
    text = SENTENCE * 1900 + "Bitte spielen Sie die Musik für mich und für die Familie. " * 1500
    await way.submit(text.encode())
    await way.poll_until_outcome()
    outcome = content(way, way.name)
    (document,) = outcome["documents"]
    assert document[NAME] == new_field("documents")
    assert document["detectedLanguage"]["iso6391Name"] == "en"
    assert document["statistics"]["charactersCount"] == len(text)
    (part,) = document["parts"]
    assert 0 < part["offset"] < len(text)
    assert part["fields"]["detectedLanguage"]["iso6391Name"] == "de"
    assert part["fields"][NAME] == new_field("documents")
    for entity in document["entities"]:
        assert text[entity["offset"] : entity["offset"] + entity["length"]] == entity["text"]
        assert entity[NAME] == new_field("entities")
    assert [job["tasks"]["items"][0][NAME] for job in outcome["jobs"]] == [new_field("items")] * 2


@pytest.mark.usefixtures("bit_by_bit")
async def test_of_a_long_text_with_more_than_can_be_kept(
    way: Way, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The outcome names the fields that it lacks, and the log says that there are some."""
    monkeypatch.setattr("shared.cut_document.LARGEST_OPEN", 100)
    await way.submit((SENTENCE * 3400).encode())
    outcome = await way.poll_until_outcome()
    assert outcome.status is OutcomeStatus.SUCCEEDED
    (document,) = content(way, way.name)["documents"]
    (warning,) = document["warnings"]
    assert warning["code"] == "FieldsOmitted"
    second = document["parts"][0]["offset"]
    for offset in ("0", f"{second:,}"):
        assert f"`{NAME}` at offset {offset}" in warning["message"]
    assert "Within 24 hours" in warning["message"]
    (line,) = [line for line in caplog.messages if "FieldsOmitted" in line]
    assert "fields of long documents are left out" in line
    assert NAME not in line


@pytest.mark.parametrize("name", ["blank.txt", "blank.jsonl"])
async def test_of_a_text_whose_beginning_is_blank(name: str, make_way: Callable[..., Way]) -> None:
    """The blank text is not sent, but offsets count from its beginning."""
    way = make_way()
    way.switch(jobSeconds=0)
    way.name = name
    text = " " * 250_000 + TEXT.decode()
    await way.submit(json.dumps({"text": text}).encode() if name.endswith("l") else text.encode())
    outcome = await way.poll_until_outcome()
    assert outcome.status is OutcomeStatus.SUCCEEDED
    (document,) = outcome.documents
    assert document.entities
    for entity in document.entities:
        assert text[entity.offset : entity.offset + entity.length] == entity.text
    await way.pipeline.aclose()


async def test_of_documents_that_failed(way: Way) -> None:
    """The error is there as a whole."""
    way.name = "bad.jsonl"
    documents = [{"id": "good", "text": "Play jazz."}, {"id": "bad", "text": "Play jazz.", "language": "xx"}]
    await way.submit("\n".join(json.dumps(each) for each in documents).encode())
    outcome = await way.poll_until_outcome()
    assert outcome.status is OutcomeStatus.PARTIALLY_SUCCEEDED
    (error,) = content(way, way.name)["errors"]
    assert (error["code"], error["documentId"]) == ("UnsupportedLanguageCode", "bad")
    inner = error["serviceError"]["error"]["innererror"]
    assert (inner["code"], inner[NAME]) == ("UnsupportedLanguageCode", new_field("innererror"))


async def test_people_and_programs_read_it_as_ever(
    way: Way, blobs: BlobServiceClient, queues: QueueServiceClient
) -> None:
    """`ner show`, `ner export`, the page and its download."""
    await way.submit()
    await way.poll_until_outcome()
    account = Account(way.settings, blobs, queues)
    result = read_result(account, way.name)
    (shown,) = result.documents
    assert shown.text == TEXT.decode()
    output = io.StringIO()
    write = writer(output, Format.JSONL)
    for row in rows(decode_outcome(result.blob, result.raw), Chosen()):
        write(row)
    exported = [json.loads(line) for line in output.getvalue().splitlines()]
    assert [row["text"] for row in exported] == [entity.text for entity in shown.entities]
    transport = httpx.ASGITransport(View(account).app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        page = await client.get("/file", params={"name": way.name})
        assert ">Blue Heron</mark>" in page.text
        raw = await client.get("/file/outcome", params={"name": way.name})
        assert raw.json() == content(way, way.name)


@pytest.mark.parametrize("ends", ["never", "succeeded"])
async def test_a_job_that_the_service_cancels_is_a_failure(ends: str, make_way: Callable[..., Way]) -> None:
    """It has been told how long the app waits; the uploader reads the same as if the app had given up."""
    way = make_way(NER_API_VERSION=VERSION, NER_JOB_TIMEOUT_SECONDS="600")
    way.switch(jobSeconds=3600, jobEnd=ends)
    await way.submit()
    message = way.message()
    way.pass_time(601)
    # This worker's clock is behind, so it has not given the job up yet.
    late = way.another_pipeline(-(way.now() - way.begun))
    await late.poll(message.content.encode())
    await late.aclose()
    outcome = way.outcome()
    assert outcome is not None
    assert outcome.status is OutcomeStatus.FAILED
    assert [(job.status, problem.code) for job, problem in zip(outcome.jobs, outcome.errors, strict=True)] == [
        ("cancelled", "JobTimeout")
    ]
    assert way.in_flight() == 0
    await way.pipeline.aclose()


async def test_languages_cannot_be_detected_by_older_versions(make_way: Callable[..., Way]) -> None:
    """The document that asks for it is named; the others have their entities."""
    way = make_way(NER_API_VERSION="2023-04-01")
    way.switch(jobSeconds=0)
    way.name = "auto.jsonl"
    documents = [{"id": "good", "text": "Play jazz."}, {"id": "auto", "text": "Play jazz.", "language": "auto"}]
    await way.submit("\n".join(json.dumps(each) for each in documents).encode())
    outcome = await way.poll_until_outcome()
    assert outcome.status is OutcomeStatus.PARTIALLY_SUCCEEDED
    assert [(problem.code, problem.document_id) for problem in outcome.errors] == [("UnsupportedLanguageCode", "auto")]
    await way.pipeline.aclose()
