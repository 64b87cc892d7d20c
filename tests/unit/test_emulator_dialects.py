"""The emulator writes each dialect as the service does: the names are those of the documented and recorded answers."""

import json
from pathlib import Path
from typing import Any

import pytest

from local.ner.recogniser import Recogniser
from tests.unit.emulated import GA, TEXT, Service, submission

RESPONSES = Path(__file__).parents[1] / "responses"
PREVIEWS = "/text/analytics"


def names(value: Any) -> Any:
    """Return the structure of an answer: its names, lists by their first item, no values."""
    if isinstance(value, dict):
        return {name: names(part) for name, part in value.items()}
    if isinstance(value, list):
        return [names(value[0])] if value else []
    return None


def preview_submission(parameters: dict[str, str]) -> dict[str, Any]:
    """Return a body of the previews."""
    return {
        "displayName": "name",
        "analysisInput": {"documents": [{"id": "doc1", "text": TEXT}]},
        "tasks": {"customEntityRecognitionTasks": [{"parameters": parameters}]},
    }


async def job_of(recogniser: Recogniser, path: str, body: dict[str, Any], query: str = "") -> tuple[int, Any]:
    """Submit, let time pass, and return status and body of the answer."""
    service = Service(recogniser)
    async with service.http:
        response = await service.http.post(path, json=body)
        assert (response.status_code, response.content) == (202, b"")
        service.seconds = 10.5
        for job in service.emulator.jobs.all():
            await job.answers
        answer = await service.http.get(response.headers["operation-location"] + query)
    return answer.status_code, answer.json()


@pytest.mark.parametrize(
    ("name", "path", "body", "query", "status"),
    [
        (
            "v3.1-preview.ct.1-completed",
            f"{PREVIEWS}/v3.1-preview.ct.1/analyze",
            preview_submission({"modelId": "model", "stringIndexType": "TextElements_v8"}),
            "",
            202,
        ),
        (
            "v3.2-preview.2-succeeded",
            f"{PREVIEWS}/v3.2-preview.2/analyze",
            preview_submission({"project-name": "concierge", "deployment-name": "production"}),
            "",
            200,
        ),
        ("2023-04-01-succeeded", f"{GA}?api-version=2023-04-01", submission(TEXT), "&showStats=true", 200),
    ],
)
async def test_an_answer_has_the_names_of_the_services(  # noqa: PLR0917
    name: str, path: str, body: dict[str, Any], query: str, status: int, recogniser: Recogniser
) -> None:
    """All of them, at their places, and the status word too."""
    got, answer = await job_of(recogniser, path, body, query)
    documented = json.loads((RESPONSES / f"{name}.json").read_text())
    expected = names(documented)
    if name.startswith("v3.2"):
        expected["displayName"] = None  # not in the recorded job, which had none
    assert names(answer) == expected
    assert answer["status"] == documented["status"]
    assert got == status


async def test_v3_2_times_have_seven_decimals_and_entities_no_order(recogniser: Recogniser) -> None:
    """As they were recorded."""
    body = preview_submission({"project-name": "concierge", "deployment-name": "production"})
    _, answer = await job_of(recogniser, f"{PREVIEWS}/v3.2-preview.2/analyze", body)
    (task,) = answer["tasks"]["customEntityRecognitionTasks"]
    assert task["lastUpdateDateTime"] == "2026-01-01T00:00:10.0000000Z"
    offsets = [entity["offset"] for entity in task["results"]["documents"][0]["entities"]]
    assert offsets != sorted(offsets)


@pytest.mark.parametrize(
    ("version", "parameters", "status"),
    [
        ("v3.1-preview.ct.1", {"modelId": "other"}, 400),
        ("v3.1-preview.ct.1", {"project-name": "concierge", "deployment-name": "production"}, 400),
        ("v3.2-preview.2", {"modelId": "model"}, 400),
        ("v3.2-preview.2", {"projectName": "concierge", "deploymentName": "production"}, 400),
        ("v3.2-preview.2", {"project-name": "other", "deployment-name": "production"}, 404),
    ],
)
async def test_each_dialect_takes_only_its_own_parameters(
    version: str, parameters: dict[str, str], status: int, recogniser: Recogniser
) -> None:
    """A client of the wrong dialect is found out here."""
    service = Service(recogniser)
    async with service.http:
        response = await service.http.post(f"{PREVIEWS}/{version}/analyze", json=preview_submission(parameters))
    assert response.status_code == status


async def test_pages_of_the_previews(recogniser: Recogniser) -> None:
    """Their link and its numbers have a sign before the name."""
    service = Service(recogniser)
    body = preview_submission({"modelId": "model"})
    body["analysisInput"]["documents"] = [{"id": str(number), "text": "Play jazz."} for number in range(25)]
    async with service.http:
        posted = await service.http.post(f"{PREVIEWS}/v3.1-preview.ct.1/analyze", json=body)
        service.seconds = 10
        for job in service.emulator.jobs.all():
            await job.answers
        first = (await service.http.get(posted.headers["operation-location"])).json()
        assert first["@nextLink"].endswith("?$skip=20&$top=20")
        second = (await service.http.get(first["@nextLink"])).json()
    assert "@nextLink" not in second
    (task,) = second["tasks"]["tasks"]["customEntityRecognitionTasks"]
    assert [document["id"] for document in task["results"]["documents"]] == ["20", "21", "22", "23", "24"]
