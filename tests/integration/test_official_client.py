"""The emulator judged by a client that this project did not write: azure-ai-textanalytics."""

import asyncio
from collections.abc import Iterator

import pytest
from azure.ai.textanalytics import RecognizeCustomEntitiesResult, TextAnalyticsClient
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError

from shared.ner.client import NerClient
from shared.ner.model import Document
from shared.settings import Settings
from tests.waiting import PATIENCE_SECONDS

TEXTS = [
    "Book a table at Café Lumière 🍷 in Zürich 👨‍👩‍👧‍👦 for four people at eight.",
    "Play Paper Boats by Nadia Verlaine.\r\nAdd it to my playlist Road Trip.",
    *(f"A table for two in Bristol, number {number}." for number in range(22)),
]


@pytest.fixture
def official(ner_emulator: str, sample_values: dict[str, str]) -> Iterator[TextAnalyticsClient]:
    """The official client with the right key."""
    credential = AzureKeyCredential(sample_values["NER_KEY"])
    with TextAnalyticsClient(ner_emulator, credential) as client:
        yield client


def recognise(client: TextAnalyticsClient, texts: list[str], project: str = "concierge") -> list[object]:
    """Return what the official client gets for texts."""
    documents = [{"id": str(number), "language": "en", "text": text} for number, text in enumerate(texts)]
    # Unless told otherwise it looks every 5 s.
    poller = client.begin_recognize_custom_entities(documents, project, "production", polling_interval=1)
    return list(poller.result())


async def own_entities(ner_emulator: str, sample_values: dict[str, str]) -> list[list[tuple[str, str, int, int]]]:
    """Return what the app's client gets for the same texts."""
    client = NerClient(Settings.from_environ({**sample_values, "NER_ENDPOINT": ner_emulator}))
    documents = [Document(str(number), text, "en") for number, text in enumerate(TEXTS)]
    job_id = await client.submit(documents, "own")
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not (job := await client.look(job_id)).status.is_final:
            await asyncio.sleep(0.1)
    await client.aclose()
    return [
        [(entity.text, entity.category, entity.offset, entity.length) for entity in document.entities]
        for document in job.documents
    ]


async def test_it_gets_the_same_entities(
    official: TextAnalyticsClient, ner_emulator: str, sample_values: dict[str, str]
) -> None:
    """Of all pages, at the same places."""
    results = await asyncio.to_thread(recognise, official, TEXTS)
    assert len(results) == len(TEXTS)
    found = []
    for text, result in zip(TEXTS, results, strict=True):
        assert isinstance(result, RecognizeCustomEntitiesResult)
        for entity in result.entities:
            assert text[entity.offset : entity.offset + entity.length] == entity.text
            assert 0 <= entity.confidence_score <= 1
        found.append([(entity.text, entity.category, entity.offset, entity.length) for entity in result.entities])
    assert ("Zürich", "city", TEXTS[0].index("Zürich"), 6) in found[0]
    assert found == await own_entities(ner_emulator, sample_values)


def test_it_understands_an_error_of_a_document(official: TextAnalyticsClient) -> None:
    """An empty document among others."""
    good, bad = recognise(official, ["Play jazz.", " "])
    assert isinstance(good, RecognizeCustomEntitiesResult)
    assert getattr(bad, "is_error", False)
    assert getattr(bad, "id", "") == "1"
    assert getattr(bad, "error").code == "InvalidDocument"  # noqa: B009  # the kinds of result share no type


def test_it_understands_a_refusal(official: TextAnalyticsClient, ner_emulator: str) -> None:
    """A wrong project, a wrong key, too many documents."""
    with pytest.raises(HttpResponseError, match="no project") as caught:
        recognise(official, ["x"], project="other")
    assert caught.value.status_code == 404
    with pytest.raises(HttpResponseError, match="26 documents"):
        recognise(official, ["x"] * 26)
    with (
        TextAnalyticsClient(ner_emulator, AzureKeyCredential("wrong")) as stranger,
        pytest.raises(ClientAuthenticationError),
    ):
        recognise(stranger, ["x"])
