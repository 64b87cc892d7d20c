"""The emulator keeps the service's rules: who may call, what a request holds, how a job goes on, what is forgotten."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from local.ner.generally_available import STABLE_VERSIONS
from local.ner.recogniser import Recogniser
from local.ner.requests import MOST_BYTES, digest_of
from local.ner.switches import Switches
from tests.unit.emulated import GA, TEXT, Service, submission


def reason(response: httpx.Response) -> tuple[int, str]:
    """Return the status and the most specific code of an error."""
    error = response.json()["error"]
    return response.status_code, error.get("innererror", error)["code"]


@pytest.fixture
async def service(recogniser: Recogniser) -> AsyncIterator[Service]:
    """A service of the test's own."""
    service = Service(recogniser)
    async with service.http:
        yield service
    service.emulator.jobs.close()


async def test_a_job_goes_on_with_time(service: Service) -> None:
    """From not started to its end, with counts of its tasks; results stand only at the end."""
    location = await service.submit(TEXT)
    assert location.startswith(f"http://localhost:1{GA}/")
    assert location.endswith("?api-version=2023-04-01")
    seen = []
    for seconds in (0, 1.9, 2, 9.9, 10):
        service.seconds = seconds
        job = await service.show(location)
        seen.append(job["status"])
        assert ("items" in job["tasks"]) == (job["status"] == "succeeded")
    assert seen == ["notStarted", "notStarted", "running", "running", "succeeded"]
    assert job["tasks"] | {"items": []} == {"completed": 1, "failed": 0, "inProgress": 0, "total": 1, "items": []}
    assert job["createdDateTime"] == "2026-01-01T00:00:00Z"
    assert job["lastUpdatedDateTime"] == "2026-01-01T00:00:10Z"
    assert job["expirationDateTime"] == "2026-01-02T00:00:00Z"
    (item,) = job["tasks"]["items"]
    assert (item["kind"], item["taskName"]) == ("CustomEntityRecognitionLROResults", "mine")
    assert item["results"]["projectName"] == "concierge"
    assert "statistics" not in item["results"]


@pytest.mark.parametrize(
    ("index_type", "text", "place"),
    [
        ("UnicodeCodePoint", "Zürich", (34, 6)),
        ("Utf16CodeUnit", "Zürich", (35, 6)),
        ("TextElements_v8", "Zürich", (34, 6)),
    ],
)
async def test_places_are_in_the_units_asked_for(
    index_type: str, text: str, place: tuple[int, int], service: Service
) -> None:
    """One character of this text is two in UTF-16."""
    location = await service.submit(TEXT, stringIndexType=index_type)
    service.seconds = 10
    job = await service.show(location)
    entities = job["tasks"]["items"][0]["results"]["documents"][0]["entities"]
    assert {(entity["text"], entity["offset"], entity["length"]) for entity in entities} >= {(text, *place)}


async def test_statistics_are_given_when_asked_for(service: Service) -> None:
    """A text record is 1,000 text elements; a begun one counts."""
    location = await service.submit(TEXT, "x" * 1001)
    service.seconds = 10
    job = await service.show(f"{location}&showStats=true")
    results = job["tasks"]["items"][0]["results"]
    assert results["statistics"] == {
        "documentsCount": 2,
        "validDocumentsCount": 2,
        "erroneousDocumentsCount": 0,
        "transactionsCount": 3,
    }
    assert results["documents"][1]["statistics"] == {"charactersCount": 1001, "transactionsCount": 2}


async def test_results_come_in_pages(service: Service) -> None:
    """Twenty documents a page; the link keeps the caller's other wishes, and the last page has none."""
    location = await service.submit(*["Play jazz."] * 25)
    service.seconds = 10
    first = await service.show(f"{location}&showStats=true")
    assert "showStats=true" in first["nextLink"]
    second = await service.show(first["nextLink"])
    assert "nextLink" not in second
    documents = [
        document["id"] for page in (first, second) for document in page["tasks"]["items"][0]["results"]["documents"]
    ]
    assert documents == [str(number) for number in range(25)]
    few = await service.show(f"{location}&skip=3&top=2")
    assert [document["id"] for document in few["tasks"]["items"][0]["results"]["documents"]] == ["3", "4"]
    assert reason(await service.http.get(f"{location}&skip=-1")) == (400, "InvalidParameterValue")


async def test_a_document_may_fail_alone(service: Service) -> None:
    """An empty text and a language that is not the project's are errors of their documents."""
    body = submission(TEXT, " ", TEXT)
    body["analysisInput"]["documents"][2]["language"] = "tlh"
    location = str((await service.post(body)).headers["operation-location"])
    service.seconds = 10
    job = await service.show(location)
    results = job["tasks"]["items"][0]["results"]
    assert job["status"] == "succeeded"
    assert [document["id"] for document in results["documents"]] == ["0"]
    codes = {error["id"]: error["error"]["innererror"]["code"] for error in results["errors"]}
    assert codes == {"1": "InvalidDocument", "2": "UnsupportedLanguageCode"}


async def test_a_job_is_forgotten_after_a_day(service: Service) -> None:
    """Then it is as if it had never been."""
    location = await service.submit(TEXT)
    service.seconds = 24 * 3600 - 1
    assert (await service.http.get(location)).status_code == 200
    service.seconds = 24 * 3600
    assert reason(await service.http.get(location)) == (404, "OperationNotFound")


async def test_a_job_can_be_cancelled(service: Service) -> None:
    """It goes through cancelling to cancelled, without results; one that has ended stays as it is."""
    location = await service.submit(TEXT)
    cancelling = await service.http.post(location.replace("?", ":cancel?"))
    assert cancelling.status_code == 202
    assert (await service.show(location))["status"] == "cancelling"
    service.seconds = 1
    job = await service.show(location)
    assert job["status"] == "cancelled"
    assert "results" not in job["tasks"]["items"][0]
    ended = await service.submit(TEXT)
    service.seconds = 20
    await service.show(ended)
    await service.http.post(ended.replace("?", ":cancel?"))
    assert (await service.show(ended))["status"] == "succeeded"


@pytest.mark.parametrize("job_id", ["00000000-0000-0000-0000-000000000000", "nonsense"])
async def test_an_unknown_job_is_not_found(job_id: str, service: Service) -> None:
    """In any dialect."""
    for path in (
        f"{GA}/{job_id}?api-version=2023-04-01",
        f"/text/analytics/v3.1-preview.ct.1/analyze/jobs/{job_id}",
        f"/text/analytics/v3.2-preview.2/analyze/jobs/{job_id}",
    ):
        assert reason(await service.http.get(path)) == (404, "OperationNotFound")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"analysisInput": {"documents": []}}, (400, "MissingInputDocuments")),
        ({"analysisInput": {}}, (400, "MissingInputDocuments")),
        ({"analysisInput": None}, (400, "InvalidRequestBodyFormat")),
        ({"tasks": []}, (400, "InvalidRequest")),
        ({"tasks": [{"kind": "SentimentAnalysis", "parameters": {}}]}, (400, "InvalidRequestBodyFormat")),
        (submission(*["x"] * 26), (400, "InvalidDocumentBatch")),
        (submission("x" * 125_001), (400, "InvalidDocumentBatch")),
        (submission("x" * 100_000, "x" * 25_001), (400, "InvalidDocumentBatch")),
        (submission("é" * 1_000_000), (413, "RequestEntityTooLarge")),
        (submission("x", projectName="Concierge"), (404, "ProjectNotFound")),
        (submission("x", deploymentName="Production"), (404, "NotFound")),
        (submission("x", stringIndexType="Bytes"), (400, "InvalidRequestBodyFormat")),
        ({"analysisInput": {"documents": [{"id": "1", "text": "a"}] * 2}}, (400, "InvalidDocument")),
        ({"analysisInput": {"documents": [{"id": "", "text": "a"}]}}, (400, "InvalidDocument")),
        ({"analysisInput": {"documents": [{"id": "1"}]}}, (400, "InvalidRequestBodyFormat")),
    ],
)
async def test_a_request_that_breaks_a_rule_is_refused(
    changes: dict[str, Any], expected: tuple[int, str], service: Service
) -> None:
    """As a whole; no job is made of it."""
    response = await service.post(submission("x") | changes)
    assert reason(response) == expected
    assert response.headers["x-ms-error-code"]
    assert list(service.emulator.jobs.all()) == []


async def test_the_largest_request_is_taken(service: Service) -> None:
    """The limit counts text elements: a family is one, whatever it takes in bytes."""
    family = "👨‍👩‍👧‍👦"
    await service.submit("x" * 100_000, family * 25_000)


async def test_only_the_key_opens(service: Service) -> None:
    """A gateway answers, with the status as its code."""
    for headers in ({"Ocp-Apim-Subscription-Key": "other"}, {"Authorization": "Bearer token"}, {}):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(service.emulator.app)) as stranger:
            response = await stranger.get(f"http://localhost{GA}/x?api-version=2023-04-01", headers=headers)
        assert reason(response) == (401, "401")


async def test_a_thousand_calls_a_minute_and_no_more(service: Service) -> None:
    """Looks count as submissions do; the answer says when to come back."""
    service.emulator.switches = Switches(calls_per_minute=3)
    location = await service.submit("x")
    service.seconds = 30
    for _ in range(2):
        assert (await service.http.get(location)).status_code == 200
    refused = await service.http.get(location)
    assert reason(refused) == (429, "429")
    service.seconds += float(refused.headers["retry-after"])
    assert (await service.http.get(location)).status_code == 200
    assert (await service.http.get(location)).status_code == 429


@pytest.mark.parametrize("version", [*STABLE_VERSIONS, "2025-05-15-preview", "2026-05-15-preview"])
async def test_all_stable_versions_are_spoken(version: str, service: Service) -> None:
    """A job that was submitted in one of them is found in it."""
    response = await service.post(submission(TEXT), version)
    location = response.headers["operation-location"]
    assert location.endswith(f"?api-version={version}")
    assert (await service.show(location))["status"] == "notStarted"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (TEXT, ("English", "en")),
        ("Bitte buchen Sie einen Tisch für zwei Personen im Blue Heron.", ("German", "de")),
        ("Je voudrais réserver une table pour deux dans un restaurant à Paris.", ("French", "fr")),
        ("Забронируйте столик на двоих", ("Russian", "ru")),
        ("二人のテーブルを予約してください", ("Japanese", "ja")),
        ("请预订两人桌", ("Chinese_Simplified", "zh")),
        ("12 345", ("English", "en")),
    ],
)
async def test_languages_are_detected(text: str, expected: tuple[str, str], service: Service) -> None:
    """Of documents that ask for it, and only in these."""
    body = submission(text, text)
    body["analysisInput"]["documents"][0]["language"] = "auto"
    location = (await service.post(body, "2025-11-01")).headers["operation-location"]
    service.seconds = 10
    job = await service.show(location)
    first, second = job["tasks"]["items"][0]["results"]["documents"]
    detected = first["detectedLanguage"]
    assert (detected["name"], detected["iso6391Name"]) == expected
    assert 0 <= detected["confidenceScore"] <= 1
    assert "detectedLanguage" not in second


async def test_older_versions_detect_no_language(service: Service) -> None:
    """To them it is a language like any other, which no project has."""
    body = submission(TEXT)
    body["analysisInput"]["documents"][0]["language"] = "auto"
    location = (await service.post(body, "2024-11-01")).headers["operation-location"]
    service.seconds = 10
    (error,) = (await service.show(location))["tasks"]["items"][0]["results"]["errors"]
    assert error["error"]["innererror"]["code"] == "UnsupportedLanguageCode"


@pytest.mark.parametrize(
    ("version", "cancel_after", "expected"),
    [("2026-05-01", 4, "cancelled"), ("2026-05-01", 11.5, "succeeded"), ("2025-11-01", 4, "succeeded")],
)
async def test_a_job_may_take_only_so_long(version: str, cancel_after: float, expected: str, service: Service) -> None:
    """From the version on that knows of it. It takes ten seconds."""
    location = (await service.post(submission(TEXT) | {"cancelAfter": cancel_after}, version)).headers[
        "operation-location"
    ]
    service.seconds = 3.9
    assert (await service.show(location))["status"] == "running"
    service.seconds = 4.1
    assert (await service.show(location))["status"] == ("cancelling" if expected == "cancelled" else "running")
    service.seconds = 12
    job = await service.show(location)
    assert job["status"] == expected
    assert job["lastUpdatedDateTime"] == f"2026-01-01T00:00:{'04' if expected == 'cancelled' else '10'}Z"


async def test_a_job_that_never_ends_is_cancelled(service: Service) -> None:
    """If its submission says when."""
    service.emulator.switches = Switches(job_end="never")
    response = await service.post(submission(TEXT) | {"cancelAfter": 60}, "2026-05-01")
    service.seconds = 61
    assert (await service.show(response.headers["operation-location"]))["status"] == "cancelled"


@pytest.mark.parametrize("odd", [0, -1, "soon"])
async def test_an_odd_time_limit_is_refused(odd: object, service: Service) -> None:
    """It must be a number of seconds."""
    response = await service.post(submission(TEXT) | {"cancelAfter": odd}, "2026-05-01")
    assert reason(response) == (400, "InvalidRequestBodyFormat")


async def test_answers_may_have_unknown_fields(service: Service) -> None:
    """In every object, if it is switched on."""
    service.emulator.switches = Switches(job_seconds=10, unknown_fields=True)
    location = await service.submit(TEXT, " ")
    service.seconds = 10
    job = await service.show(location)
    task = job["tasks"]["items"][0]
    document, error = task["results"]["documents"][0], task["results"]["errors"][0]
    for part in (job, job["tasks"], task, task["results"], document, document["entities"][0], error, error["error"]):
        assert part["newField"]["inner"]
    assert document["entities"][0]["tags"]


@pytest.mark.parametrize("version", ["", "2021-01-01", "2023-04-02", "2031-01-01", "2026-05-01-preview", "v3.1"])
async def test_an_unknown_version_is_refused(version: str, service: Service) -> None:
    """In the query as in the path."""
    response = await service.http.post(f"{GA}?api-version={version}", json=submission("x"))
    code = "UnsupportedApiVersionValue" if version else "MissingApiVersionParameter"
    assert reason(response) == (400, code)
    assert response.headers["x-ms-error-code"] == code
    assert (await service.http.post("/text/analytics/v3.0/analyze", json=submission("x"))).status_code == 404


async def test_a_job_belongs_to_its_dialect(service: Service) -> None:
    """The previews do not show a job of the generally available API."""
    location = await service.submit(TEXT)
    job_id = location.partition("?")[0].rpartition("/")[2]
    preview = await service.http.get(f"/text/analytics/v3.2-preview.2/analyze/jobs/{job_id}")
    assert reason(preview) == (404, "OperationNotFound")


async def test_jobs_can_be_made_to_end_now(service: Service) -> None:
    """At any time of theirs, without a change to those that come later or have ended."""
    ended = await service.submit(TEXT)
    service.seconds = 5
    running = await service.submit(TEXT)
    service.seconds = 10
    new = await service.submit(TEXT)
    service.seconds = 11
    assert (await service.http.post("/emulator/jobs/end")).status_code == 204
    service.seconds = 12
    later = await service.submit(TEXT)
    jobs = [await service.show(location) for location in (ended, running, new, later)]
    assert [job["status"] for job in jobs] == ["succeeded", "succeeded", "succeeded", "notStarted"]
    assert [job["lastUpdatedDateTime"][-3:] for job in jobs] == ["10Z", "11Z", "11Z", "12Z"]


async def test_the_clock_can_be_moved(service: Service) -> None:
    """Forward: a job ends as if its time had passed, once its text has been recognised."""
    location = await service.submit(TEXT)
    assert (await service.show(location))["status"] == "notStarted"
    assert (await service.http.post("/emulator/clock", json={"seconds": 10})).status_code == 204
    response = await service.http.get(location)
    assert response.json()["status"] == "succeeded"
    assert response.json()["lastUpdatedDateTime"].endswith("10Z")
    steps: list[object] = [{"seconds": -1}, {"seconds": 1e9}, {"minutes": 1}, []]
    for step in steps:
        assert (await service.http.post("/emulator/clock", json=step)).status_code == 400


@pytest.mark.parametrize(
    ("end", "completed", "failed"), [("failed", 0, 1), ("cancelled", 0, 0), ("partiallyCompleted", 1, 0)]
)
async def test_jobs_can_be_made_to_end_otherwise(end: str, completed: int, failed: int, service: Service) -> None:
    """By a switch."""
    answer = await service.http.put("/emulator/switches", json={"jobEnd": end})
    assert answer.json()["jobEnd"] == end
    location = await service.submit(TEXT)
    service.seconds = 10
    job = await service.show(location)
    assert (job["status"], job["tasks"]["completed"], job["tasks"]["failed"]) == (end, completed, failed)
    assert bool(job["errors"]) == (end == "failed")


async def test_faults_happen_as_often_as_they_are_set(service: Service) -> None:
    """To the calls they are set for; `after` means that the service has done its work."""
    faults = [
        {"status": 503, "method": "POST", "times": 1, "retryAfter": 7},
        {"status": 500, "method": "POST", "times": 1, "after": True},
    ]
    await service.http.put("/emulator/switches", json={"faults": faults})
    first = await service.post(submission(TEXT))
    assert (first.status_code, first.headers["retry-after"]) == (503, "7")
    assert list(service.emulator.jobs.all()) == []
    assert (await service.post(submission(TEXT))).status_code == 500
    assert len(list(service.emulator.jobs.all())) == 1
    assert (await service.post(submission(TEXT))).status_code == 202
    stats = (await service.http.get("/emulator/stats")).json()
    assert stats == {
        "calls": {"POST 503": 1, "POST 500": 1, "POST 202": 1},
        "submissions": {"name": 2},
        "lost": {"name": 1},
        "documentsPerJob": {"1": 2},
        "documents": {digest_of(TEXT): 2},
        "lostDocuments": {digest_of(TEXT): 1},
    }


async def test_a_job_takes_longer_for_each_further_document(service: Service) -> None:
    """If that is set; how long the real service takes is not known."""
    await service.http.put("/emulator/switches", json={"jobSeconds": 3, "secondsPerDocument": 0.5})
    locations = [await service.submit(TEXT), await service.submit(TEXT, TEXT, TEXT)]
    jobs = (await service.http.get("/emulator/jobs")).json()["jobs"]
    assert [job["seconds"] for job in jobs] == [3, 4]
    seen = []
    for service.seconds in (2.9, 3, 3.9, 4):
        seen.append([(await service.show(location))["status"] for location in locations])
    running, ended = "running", "succeeded"
    assert seen == [[running, running], [ended, running], [ended, running], [ended, ended]]


async def test_documents_are_counted_when_a_job_is_accepted(service: Service) -> None:
    """By job, so that jobs and documents can be computed; a request that is refused counts as neither."""
    for count in (1, 3, 25, 3, 26, 0):
        await service.post(submission(*["Play jazz."] * count))
    stats = (await service.http.get("/emulator/stats")).json()
    assert stats["documentsPerJob"] == {"1": 1, "3": 2, "25": 1}
    assert stats["calls"] == {"POST 202": 4, "POST 400": 2}


async def test_one_document_can_make_its_request_refused(service: Service) -> None:
    """As a whole, with 400; requests without such a document are accepted."""
    await service.http.put("/emulator/switches", json={"refusedMarker": "poison"})
    refused = await service.post(submission(TEXT, "A poison for two.", TEXT))
    assert reason(refused) == (400, "InvalidDocument")
    assert list(service.emulator.jobs.all()) == []
    await service.submit(TEXT, TEXT)


@pytest.mark.parametrize("count", [3, 21])
async def test_a_document_can_lack_its_result(count: int, service: Service) -> None:
    """It has no error either, and the others have theirs; the last page is not an empty one."""
    await service.http.put("/emulator/switches", json={"missingMarker": "lost"})
    location = await service.submit(TEXT, "A lost table for two.", *[TEXT] * (count - 2))
    service.seconds = 10
    job = await service.show(f"{location}&showStats=true")
    results = job["tasks"]["items"][0]["results"]
    assert job["status"] == "succeeded"
    assert [document["id"] for document in results["documents"]] == [str(n) for n in range(count) if n != 1]
    assert results["errors"] == []
    assert results["statistics"]["documentsCount"] == count - 1
    assert "nextLink" not in job


async def test_a_gateway_answers_in_its_own_shape(service: Service) -> None:
    """A page, without an error of the API."""
    fault = {"status": 404, "method": "GET", "page": True, "times": 1}
    location = await service.submit(TEXT)
    await service.http.put("/emulator/switches", json={"faults": [fault]})
    answer = await service.http.get(location)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert (await service.http.get(location)).status_code == 200


@pytest.mark.parametrize("switches", [{"jobSecond": 1}, {"jobSeconds": -1}, {"faults": [{"status": 200}]}, []])
async def test_switches_that_do_not_exist_are_refused(switches: object, service: Service) -> None:
    """A test that misspelt one would test nothing."""
    assert (await service.http.put("/emulator/switches", json=switches)).status_code == 400
    assert (await service.http.get("/emulator/switches")).json()["jobSeconds"] == 10


async def test_the_emulators_own_calls_have_bounds_too(service: Service) -> None:
    """A body of any size would fill the memory, and Python reads no number of thousands of digits."""
    for method, path in (("PUT", "/emulator/switches"), ("POST", "/emulator/clock")):
        answer = await service.http.request(method, path, content=b" " * (MOST_BYTES + 1))
        assert reason(answer) == (413, "RequestEntityTooLarge")
    location = await service.submit(TEXT)
    assert reason(await service.http.get(f"{location}&skip={'9' * 6000}")) == (400, "InvalidParameterValue")
