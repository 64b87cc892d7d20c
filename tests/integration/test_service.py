"""The app's client and the emulator of the service over real HTTP, in every dialect."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from shared.ner.client import NerClient
from shared.ner.errors import NerError, Remedy
from shared.ner.model import Document, Job, JobStatus
from shared.settings import Settings
from tests.waiting import PATIENCE_SECONDS

API_VERSIONS = ["v3.1-preview.ct.1", "v3.2-preview.2", "2022-05-01", "2023-04-01", "2026-05-01"]
TEXT = "Book a table at Café Lumière 🍷 in Zürich 👨‍👩‍👧‍👦 for four people. Play Paper Boats by Nadia Verlaine."


@pytest.fixture(params=API_VERSIONS)
async def client(
    request: pytest.FixtureRequest, ner_emulator: str, sample_values: dict[str, str]
) -> AsyncIterator[NerClient]:
    """The app's client, in each dialect."""
    values = {**sample_values, "NER_ENDPOINT": ner_emulator, "NER_API_VERSION": request.param}
    client = NerClient(Settings.from_environ(values))
    yield client
    await client.aclose()


@pytest.fixture
async def general_client(ner_emulator: str, sample_values: dict[str, str]) -> AsyncIterator[NerClient]:
    """The app's client in the usual dialect."""
    client = NerClient(Settings.from_environ({**sample_values, "NER_ENDPOINT": ner_emulator}))
    yield client
    await client.aclose()


async def ended(client: NerClient, job_id: str) -> Job:
    """Look at a job until it has ended."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not (job := await client.look(job_id)).status.is_final:
            await asyncio.sleep(0.1)
    return job


async def test_entities_come_back_at_their_places(client: NerClient) -> None:
    """Whatever emoji stand before them."""
    job_id = await client.submit([Document("a.txt", TEXT, "en")], "a.txt")
    assert (await client.look(job_id)).status is JobStatus.RUNNING
    job = await ended(client, job_id)
    assert job.status is JobStatus.SUCCEEDED
    (document,) = job.documents
    found = {(entity.category, entity.text) for entity in document.entities}
    assert {("restaurant_name", "Café Lumière"), ("city", "Zürich"), ("artist", "Nadia Verlaine")} <= found
    for entity in document.entities:
        assert TEXT[entity.offset : entity.offset + entity.length] == entity.text
    assert job.created
    assert job.last_update
    assert job.expiration


async def test_all_pages_are_collected(client: NerClient) -> None:
    """Twenty-five documents are two pages of results."""
    documents = [Document(str(number), f"A table for two in Bristol. {number}", "en") for number in range(25)]
    job = await ended(client, await client.submit(documents, "many"))
    assert [document.id for document in job.documents] == [str(number) for number in range(25)]
    assert all(document.entities for document in job.documents)


async def test_a_document_in_another_language_fails_alone(client: NerClient) -> None:
    """The job succeeds, and the document's error says why."""
    job = await ended(client, await client.submit([Document("1", TEXT, "en"), Document("2", TEXT, "ja")], "two"))
    assert job.status is JobStatus.SUCCEEDED
    assert [document.id for document in job.documents] == ["1"]
    assert [(problem.code, problem.document_id) for problem in job.problems] == [("UnsupportedLanguageCode", "2")]


async def test_one_document_makes_its_whole_request_refused(client: NerClient, switches: Callable[..., None]) -> None:
    """Sending the same documents again would not help; sending the others does."""
    switches(jobSeconds=0, refusedMarker="poison")
    with pytest.raises(NerError) as caught:
        await client.submit([Document("1", TEXT, "en"), Document("2", "A poison for two.", "en")], "two")
    assert (caught.value.code, caught.value.remedy) == ("InvalidDocument", Remedy.NONE)
    assert await client.submit([Document("1", TEXT, "en")], "one")


async def test_a_result_may_be_missing(client: NerClient, switches: Callable[..., None]) -> None:
    """Without an error for its document; the job succeeds with the others."""
    switches(jobSeconds=0, missingMarker="lost")
    documents = [Document("1", TEXT, "en"), Document("2", "A lost table for two.", "en")]
    job = await ended(client, await client.submit(documents, "two"))
    assert job.status is JobStatus.SUCCEEDED
    assert ([document.id for document in job.documents], job.problems) == (["1"], [])


async def test_a_job_that_the_service_does_not_know_is_lost(client: NerClient) -> None:
    """As one is after a day; waiting would not bring it back."""
    with pytest.raises(NerError) as caught:
        await client.look("00000000-0000-0000-0000-000000000000")
    assert (caught.value.code, caught.value.remedy) == ("OperationNotFound", Remedy.NONE)


@pytest.mark.parametrize("status", [400, 404, 409, 421, 502])
async def test_the_answer_of_a_gateway_does_not_end_a_job(
    status: int, switches: Callable[..., None], general_client: NerClient
) -> None:
    """The next call goes through, to results that were paid for."""
    job_id = await general_client.submit([Document("1", TEXT, "en")], "x")
    switches(faults=[{"status": status, "method": "GET", "page": True, "times": 1}])
    with pytest.raises(NerError) as caught:
        await general_client.look(job_id)
    assert (caught.value.code, caught.value.remedy) == (f"HTTP{status}", Remedy.WAIT)
    assert (await ended(general_client, job_id)).documents


async def test_a_job_may_not_be_there_yet(client: NerClient) -> None:
    """The service answers as for one that it has forgotten."""
    with pytest.raises(NerError) as caught:
        await client.look("00000000-0000-0000-0000-000000000000", client.now())
    assert (caught.value.code, caught.value.remedy) == ("OperationNotFound", Remedy.WAIT)


async def test_too_much_text_is_refused_for_good(client: NerClient) -> None:
    """The app never sends it; if the service counted otherwise, the uploader would learn of it."""
    with pytest.raises(NerError) as caught:
        await client.submit([Document("1", "x" * 125_001, "en")], "long")
    assert caught.value.remedy is Remedy.NONE


@pytest.mark.parametrize(
    "changes",
    [
        {"NER_KEY": "wrong"},
        {"NER_PROJECT_NAME": "wrong"},
        {"NER_DEPLOYMENT_NAME": "wrong"},
        {"NER_API_VERSION": "v3.1-preview.ct.1", "NER_MODEL_ID": "wrong"},
        {"NER_API_VERSION": "v3.2-preview.2", "NER_PROJECT_NAME": "wrong"},
    ],
    ids=" ".join,
)
async def test_a_wrong_setting_is_the_operators_to_mend(
    changes: dict[str, str], ner_emulator: str, sample_values: dict[str, str]
) -> None:
    """The file is not at fault."""
    client = NerClient(Settings.from_environ({**sample_values, "NER_ENDPOINT": ner_emulator, **changes}))
    with pytest.raises(NerError) as caught:
        await client.submit([Document("1", "x", "en")], "x")
    assert caught.value.remedy is Remedy.MEND_SETTINGS
    await client.aclose()


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_busy_service_is_worth_waiting_for(
    status: int, switches: Callable[..., None], general_client: NerClient
) -> None:
    """And it says how long."""
    switches(faults=[{"status": status, "retryAfter": 9, "times": 1}])
    with pytest.raises(NerError) as caught:
        await general_client.submit([Document("1", "x", "en")], "x")
    assert (caught.value.remedy, caught.value.retry_after) == (Remedy.WAIT, 9)


async def test_a_connection_that_is_cut_is_worth_waiting_for(
    switches: Callable[..., None], general_client: NerClient
) -> None:
    """In the middle of an answer; the next call goes through."""
    switches(faults=[{"times": 1}])
    with pytest.raises(NerError) as caught:
        await general_client.submit([Document("1", "x", "en")], "x")
    assert caught.value.remedy is Remedy.WAIT
    assert await general_client.submit([Document("1", "x", "en")], "x")
