"""The client against answers that no well-behaved service gives; what one gives is tested over HTTP."""

import gzip
import json
import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import httpx
import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import AzureError, ClientAuthenticationError, ServiceRequestError

from shared.ner.client import TOKEN_SCOPE, YOUNG, NerClient
from shared.ner.errors import NerError, Remedy
from shared.ner.model import TIMED_OUT, Document, JobStatus, Problem
from shared.settings import Settings

ENDPOINT = "https://contoso.cognitiveservices.azure.com"
VALUES = {
    "NER_STORAGE": "UseDevelopmentStorage=true",
    "NER_ENDPOINT": ENDPOINT,
    "NER_KEY": "key",
    "NER_PROJECT_NAME": "p",
    "NER_DEPLOYMENT_NAME": "d",
}
DOCUMENTS = [Document("a.txt", "text", "en")]
JOB_ID = "3fa85f64-5717-4562-b3fc-2c963f66afa6"
SUCCEEDED = {"jobId": JOB_ID, "status": "succeeded", "tasks": {"items": [{"results": {"documents": []}}]}}
NOW = datetime(2026, 1, 1, tzinfo=UTC)
GZIP = gzip.compress(b"accepted", mtime=0)

Answer = Callable[[httpx.Request], httpx.Response]


def client(answer: Answer, **changes: str) -> NerClient:
    """Return a client whose service is a function."""
    return NerClient(Settings.from_environ(VALUES | changes), transport=httpx.MockTransport(answer))


def accepted(location: str, status: int = 202) -> Answer:
    """Accept every job under a location."""
    return lambda _request: httpx.Response(status, headers=[(b"operation-location", location.encode())])


@pytest.mark.parametrize(
    "location",
    [
        f"{ENDPOINT}/language/analyze-text/jobs/{JOB_ID}?api-version=2023-04-01",
        f"{ENDPOINT}//text/analytics/v3.2-preview.2/analyze/jobs/{JOB_ID}",
        f"{ENDPOINT}/text/analytics/v3.1-preview.ct.1/analyze/jobs/{JOB_ID}/",
        f"/analyze/jobs/{JOB_ID}",
    ],
)
async def test_the_job_id_is_read_from_every_location(location: str) -> None:
    """With a query, a doubled slash, one at the end, or without a host."""
    assert await client(accepted(location)).submit(DOCUMENTS, "a.txt") == JOB_ID


async def body_of(**changes: str) -> Any:
    """Return what a client sends with a submission."""
    sent: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request.content)
        return accepted(f"/jobs/{JOB_ID}")(request)

    await client(answer, **changes).submit(DOCUMENTS, "a.txt")
    return json.loads(sent[0])


@pytest.mark.parametrize("version", ["v3.1-preview.ct.1", "v3.2-preview.2", "2022-05-01", "2026-05-01"])
async def test_the_service_is_told_if_it_may_not_keep_the_text(version: str) -> None:
    """In the parameters of the task; else it does what is its own default."""
    for opt_out, expected in (("", [None]), ("false", [None]), ("true", [True])):
        body = await body_of(NER_API_VERSION=version, NER_MODEL_ID="m", NER_LOGGING_OPT_OUT=opt_out)
        tasks = body["tasks"] if isinstance(body["tasks"], list) else body["tasks"]["customEntityRecognitionTasks"]
        assert [task["parameters"].get("loggingOptOut") for task in tasks] == expected


@pytest.mark.parametrize(
    ("version", "limit", "expected"),
    [
        ("2026-05-01", "600", 600),
        ("2026-05-15-preview", "", 86400),
        ("2031-01-01", "604800", 86400),
        *[(version, "600", None) for version in ("v3.2-preview.2", "2023-04-01", "2025-11-01", "2025-11-15-preview")],
    ],
)
async def test_the_service_learns_how_long_the_job_may_take(version: str, limit: str, expected: int | None) -> None:
    """From the version on that asks for it; it forgets jobs after a day anyway."""
    body = await body_of(NER_API_VERSION=version, NER_JOB_TIMEOUT_SECONDS=limit)
    assert body.get("cancelAfter") == expected


@pytest.mark.parametrize(
    ("version", "seconds", "problems"),
    [("2026-05-01", "10", [TIMED_OUT]), ("2026-05-01", "09", []), ("2025-11-01", "10", [])],
)
async def test_a_job_that_the_service_cancels_for_its_duration_says_so(
    version: str, seconds: str, problems: list[Problem]
) -> None:
    """The service gives no reason. Before that time, somebody else has cancelled it."""
    times = {"createdDateTime": "2026-01-01T00:00:00Z", "lastUpdatedDateTime": f"2026-01-01T00:00:{seconds}Z"}
    body = {"jobId": JOB_ID, "status": "cancelled", "tasks": {}, **times}
    ner = client(lambda _request: httpx.Response(200, json=body), NER_API_VERSION=version, NER_JOB_TIMEOUT_SECONDS="10")
    assert (await ner.look(JOB_ID)).problems == problems


@pytest.mark.parametrize("location", ["", "/", f"{ENDPOINT}/jobs/a b", f"{ENDPOINT}/jobs/{'x' * 129}", "https://[/"])
@pytest.mark.parametrize("status", [200, 202])
async def test_an_accepted_job_without_an_id_is_an_error(status: int, location: str) -> None:
    """There is nothing to follow; and since it may have been paid, it is not sent again."""
    with pytest.raises(NerError, match="returned no job id") as caught:
        await client(accepted(location, status)).submit(DOCUMENTS, "a.txt")
    assert caught.value.remedy is Remedy.NONE


@pytest.mark.parametrize("status", [200, 201, 202, 203, 204, 206, 299])
async def test_a_job_is_accepted_with_any_status_of_success(status: int) -> None:
    """A gateway may change the status; to send the text again would be to pay again."""
    assert await client(accepted(f"{ENDPOINT}/jobs/{JOB_ID}", status)).submit(DOCUMENTS, "a.txt") == JOB_ID


@pytest.mark.parametrize("status", [200, 202])
@pytest.mark.parametrize("body", [b"", b"no gzip", GZIP[:-9], GZIP])
async def test_the_body_of_an_accepted_job_does_not_matter(status: int, body: bytes) -> None:
    """The header names the job."""

    def answer(_request: httpx.Request) -> httpx.Response:
        headers = {"operation-location": f"/jobs/{JOB_ID}", "content-encoding": "gzip"}
        return httpx.Response(status, headers=headers, stream=httpx.ByteStream(body))

    assert await client(answer).submit(DOCUMENTS, "a.txt") == JOB_ID


@pytest.mark.parametrize("body", [b"", b"no gzip"])
async def test_a_202_without_a_header_is_not_sent_again(body: bytes) -> None:
    """Whatever its body is."""

    def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(202, headers={"content-encoding": "gzip"}, stream=httpx.ByteStream(body))

    with pytest.raises(NerError, match="returned no job id") as caught:
        await client(answer).submit(DOCUMENTS, "a.txt")
    assert caught.value.remedy is Remedy.NONE


async def test_a_page_in_answer_to_a_submission_is_an_error() -> None:
    """Something other than the service answers at the endpoint, and nothing was paid."""
    with pytest.raises(NerError, match="NER_ENDPOINT") as caught:
        await client(lambda _request: httpx.Response(200, html="<h1>Welcome</h1>")).submit(DOCUMENTS, "a.txt")
    assert caught.value.remedy is Remedy.MEND_SETTINGS


async def test_an_answer_that_means_to_name_a_job_may_have_been_paid() -> None:
    """Even if it has a body and no job id that the app can use."""
    headers = {"operation-location": "https://["}
    with pytest.raises(NerError) as caught:
        await client(lambda _request: httpx.Response(200, headers=headers, text="OK")).submit(DOCUMENTS, "a.txt")
    assert caught.value.remedy is Remedy.NONE


async def test_a_cookie_of_odd_characters_does_not_stay() -> None:
    """Else no later request could be made by this process."""
    answers = iter([{"set-cookie": "a=\x80"}, {"set-cookie": "b=1"}, {}])
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        headers = [(name.encode(), value.encode("latin-1")) for name, value in next(answers).items()]
        return httpx.Response(200, headers=headers, json={"jobId": JOB_ID, "status": "running"})

    ner = client(answer)
    for _ in range(3):
        assert (await ner.look(JOB_ID)).status is JobStatus.RUNNING
    assert not any("cookie" in request.headers for request in asked)


async def test_a_page_that_is_cut_says_nothing_of_a_submission() -> None:
    """As after any other lost connection, the text is sent again."""

    def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-encoding": "gzip"}, stream=httpx.ByteStream(b"no gzip"))

    with pytest.raises(NerError) as caught:
        await client(answer).submit(DOCUMENTS, "a.txt")
    assert caught.value.remedy is Remedy.WAIT


async def test_an_empty_success_may_have_been_paid() -> None:
    """A gateway that strips headers is not paid again and again."""
    with pytest.raises(NerError, match="NER_ENDPOINT") as caught:
        await client(lambda _request: httpx.Response(200)).submit(DOCUMENTS, "a.txt")
    assert caught.value.remedy is Remedy.NONE


@pytest.mark.parametrize(
    ("age", "remedy"), [(None, Remedy.NONE), (-YOUNG, Remedy.WAIT), (YOUNG / 2, Remedy.WAIT), (YOUNG, Remedy.NONE)]
)
async def test_a_young_job_is_not_given_up(age: timedelta | None, remedy: Remedy) -> None:
    """The service may not show it yet."""
    body = {"error": {"code": "NotFound", "message": "There is no such job."}}
    ner = client(lambda _request: httpx.Response(404, json=body))
    ner.now = lambda: NOW
    with pytest.raises(NerError) as caught:
        await ner.look(JOB_ID, None if age is None else NOW - age)
    assert caught.value.remedy is remedy


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(404, html="<h1>Web Site not found</h1>"),
        httpx.Response(404),
        httpx.Response(404, json={"error": {"code": "404", "message": "Resource not found"}}),
        *[httpx.Response(status, html="<h1>No</h1>") for status in (400, 405, 408, 409, 410, 421, 429, 500, 503, 599)],
        httpx.Response(400, json={"error": {"code": "InvalidRequest", "message": "m"}}),
        *[httpx.Response(status) for status in (204, 301, 307, 401, 403)],
        httpx.Response(200, html="<h1>Welcome</h1>"),
        httpx.Response(200, json={"jobId": JOB_ID, "status": "succeeded", "tasks": {"items": "x"}}),
        httpx.Response(200, headers={"content-encoding": "gzip"}, stream=httpx.ByteStream(b"no gzip")),
        httpx.Response(503, headers={"content-encoding": "gzip"}, stream=httpx.ByteStream(b"no gzip")),
    ],
    ids=lambda answer: f"{answer.status_code}",
)
async def test_no_odd_answer_ends_a_job(answer: httpx.Response) -> None:
    """Only the service itself can, of a job that it must know."""
    with pytest.raises(NerError) as caught:
        await client(lambda _request: answer).look(JOB_ID)
    assert caught.value.remedy is not Remedy.NONE


@pytest.mark.parametrize("job_id", ["", "../jobs", "a/b", "a?b", "https:", "x" * 129])
async def test_an_odd_job_id_never_enters_a_path(job_id: str) -> None:
    """No call is made."""

    def answer(_request: httpx.Request) -> httpx.Response:
        raise AssertionError("a call was made")

    with pytest.raises(NerError) as caught:
        await client(answer).look(job_id)
    assert caught.value.remedy is Remedy.NONE


async def test_the_key_follows_no_redirect_and_no_link() -> None:
    """It goes to the endpoint only, whatever an answer says."""
    asked: list[httpx.Request] = []

    def redirect(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(307, headers={"location": "https://evil.example/"})

    with pytest.raises(NerError) as caught:
        await client(redirect).submit(DOCUMENTS, "a.txt")
    assert caught.value.remedy is Remedy.MEND_SETTINGS

    def page(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        more = {} if "skip" in request.url.params else {"nextLink": "https://evil.example/?skip=20"}
        return httpx.Response(200, json={**SUCCEEDED, **more})

    await client(page).look(JOB_ID)
    assert len(asked) == 3
    assert {request.url.host for request in asked} == {"contoso.cognitiveservices.azure.com"}


async def test_a_page_that_leads_back_is_read_once() -> None:
    """Else the look would never end."""
    calls: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        calls.append(str(request.url))
        return httpx.Response(200, json={**SUCCEEDED, "nextLink": f"{ENDPOINT}/?skip=20&top=20"})

    assert (await client(answer).look(JOB_ID)).status is JobStatus.SUCCEEDED
    assert len(calls) == 2


async def test_pages_without_end_are_not_read() -> None:
    """A request has no more documents than that."""
    calls: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        calls.append(str(request.url))
        return httpx.Response(200, json={**SUCCEEDED, "nextLink": f"{ENDPOINT}/?skip={len(calls)}"})

    assert (await client(answer).look(JOB_ID)).status is JobStatus.SUCCEEDED
    assert len(calls) == 1 + 25


async def test_what_the_pages_of_a_job_say_of_it_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    """What contradicts the first page is named in the outcome, and the log says so."""

    def answer(request: httpx.Request) -> httpx.Response:
        is_first = "skip" not in request.url.params
        more = {"nextLink": f"{ENDPOINT}/?skip=20", "first": 1} if is_first else {"second": 2}
        return httpx.Response(200, json={**SUCCEEDED, **more, "both": is_first})

    others = (await client(answer).look(JOB_ID)).others
    (warning,) = others.pop("warnings")
    assert others == {"first": 1, "second": 2, "both": True}
    assert "`both`" in warning["message"]
    assert [line for line in caplog.messages if "FieldsOmitted" in line] == [
        f"job {JOB_ID}: some fields of the response are left out, see warnings FieldsOmitted in the outcome (1 in all)"
    ]


async def test_a_page_that_cannot_be_read_does_not_lose_the_others() -> None:
    """Its documents are named."""

    def answer(request: httpx.Request) -> httpx.Response:
        is_first = "skip" not in request.url.params
        documents = [{"id": "01:a" if is_first else "02:b", "entities": [] if is_first else "odd"}]
        link = {"nextLink": f"{ENDPOINT}/?skip=20"} if is_first else {}
        return httpx.Response(
            200, json={**SUCCEEDED, **link, "tasks": {"items": [{"results": {"documents": documents}}]}}
        )

    job = await client(answer).look(JOB_ID)
    assert [document.id for document in job.documents] == ["01:a"]
    assert [(problem.code, problem.document_id) for problem in job.problems] == [("InvalidResponse", "02:b")]


async def test_a_page_of_a_running_job_is_not_the_end_of_an_ended_one() -> None:
    """What another replica does not know yet is not missing."""

    def answer(request: httpx.Request) -> httpx.Response:
        if "skip" in request.url.params:
            return httpx.Response(200, json={"jobId": JOB_ID, "status": "running"})
        return httpx.Response(200, json={**SUCCEEDED, "nextLink": f"{ENDPOINT}/?skip=20"})

    with pytest.raises(NerError) as caught:
        await client(answer).look(JOB_ID)
    assert caught.value.remedy is Remedy.WAIT


@pytest.mark.parametrize(
    "error",
    [
        *[httpx.ReadTimeout("slow"), httpx.ConnectError("refused"), httpx.ReadError("cut"), ssl.SSLError("bad record")],
        *[httpx.TooManyRedirects("x"), httpx.InvalidURL("x"), httpx.StreamClosed(), httpx.CookieConflict("x")],
    ],
)
async def test_no_answer_is_worth_waiting(error: Exception) -> None:
    """Time-outs, lost connections, and whatever else the HTTP client says."""

    def answer(_request: httpx.Request) -> httpx.Response:
        raise error

    for call in (client(answer).look(JOB_ID), client(answer).submit(DOCUMENTS, "a.txt"), client(answer).cancel(JOB_ID)):
        with pytest.raises(NerError) as caught:
            await call
        assert caught.value.remedy is Remedy.WAIT


class Credential:
    """An identity that has tokens, or none."""

    def __init__(self, tokens: Iterator[str], error: AzureError | None = None) -> None:
        self.tokens = tokens
        self.error = error or ClientAuthenticationError("no identity here")
        self.closed = False

    async def get_token(self, *scopes: str, **_options: object) -> AccessToken:
        """Return the next token."""
        assert scopes == (TOKEN_SCOPE,)
        token = next(self.tokens, None)
        if token is None:
            raise self.error
        return AccessToken(token, 0)

    async def close(self) -> None:
        """Remember it."""
        self.closed = True

    async def __aenter__(self) -> Self:
        """Be a context manager, as credentials are."""
        return self

    async def __aexit__(self, *_error: object) -> None:
        """Close."""
        await self.close()


async def test_without_a_key_a_token_is_sent() -> None:
    """As a bearer token; an identity without one is a matter of the settings."""
    asked: list[httpx.Headers] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers)
        return httpx.Response(202, headers={"operation-location": f"/jobs/{JOB_ID}"})

    credential = Credential(iter(["token-1"]))
    ner = NerClient(
        Settings.from_environ(VALUES | {"NER_KEY": ""}),
        credential=credential,
        transport=httpx.MockTransport(answer),
    )
    await ner.submit(DOCUMENTS, "a.txt")
    assert asked[0]["authorization"] == "Bearer token-1"
    assert "ocp-apim-subscription-key" not in asked[0]
    with pytest.raises(NerError, match="no identity here") as caught:
        await ner.submit(DOCUMENTS, "a.txt")
    assert caught.value.remedy is Remedy.MEND_SETTINGS
    await ner.aclose()
    assert credential.closed


async def test_an_identity_that_is_out_of_reach_is_worth_waiting() -> None:
    """Its endpoint may fail like any other."""
    ner = NerClient(
        Settings.from_environ(VALUES | {"NER_KEY": ""}),
        credential=Credential(iter([]), ServiceRequestError("no route")),
    )
    with pytest.raises(NerError, match="no route") as caught:
        await ner.look(JOB_ID)
    assert caught.value.remedy is Remedy.WAIT
