"""The client against answers that no well-behaved service gives; what one gives is tested over HTTP."""

from collections.abc import Callable, Iterator
from typing import Self

import httpx
import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError

from shared.ner.client import TOKEN_SCOPE, NerClient
from shared.ner.errors import NerError, Remedy
from shared.ner.model import Document, JobStatus
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

Answer = Callable[[httpx.Request], httpx.Response]


def client(answer: Answer, **changes: str) -> NerClient:
    """Return a client whose service is a function."""
    return NerClient(Settings.from_environ(VALUES | changes), transport=httpx.MockTransport(answer))


def accepted(location: str) -> Answer:
    """Accept every job under a location."""
    return lambda _request: httpx.Response(202, headers={"operation-location": location})


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


@pytest.mark.parametrize("location", ["", "/", f"{ENDPOINT}/jobs/a b", f"{ENDPOINT}/jobs/{'x' * 129}", "https://[/"])
async def test_a_202_without_a_job_id_is_an_error(location: str) -> None:
    """There is nothing to follow; and since it may have been paid, it is not sent again."""
    with pytest.raises(NerError) as caught:
        await client(accepted(location)).submit(DOCUMENTS, "a.txt")
    assert caught.value.remedy is Remedy.NONE


async def test_a_200_for_a_submission_is_an_error() -> None:
    """Something other than the service answers at the endpoint."""
    with pytest.raises(NerError, match="NER_ENDPOINT"):
        await client(lambda _request: httpx.Response(200, html="<h1>Welcome</h1>")).submit(DOCUMENTS, "a.txt")


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
        return httpx.Response(200, json={"status": "succeeded", **more})

    await client(page).look(JOB_ID)
    assert len(asked) == 3
    assert {request.url.host for request in asked} == {"contoso.cognitiveservices.azure.com"}


async def test_a_page_that_leads_back_is_read_once() -> None:
    """Else the look would never end."""
    calls: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        calls.append(str(request.url))
        return httpx.Response(200, json={"status": "succeeded", "nextLink": f"{ENDPOINT}/?skip=20&top=20"})

    assert (await client(answer).look(JOB_ID)).status is JobStatus.SUCCEEDED
    assert len(calls) == 2


@pytest.mark.parametrize("error", [httpx.ReadTimeout("slow"), httpx.ConnectError("refused"), httpx.ReadError("cut")])
async def test_no_answer_is_worth_waiting(error: httpx.TransportError) -> None:
    """Time-outs and lost connections."""

    def answer(_request: httpx.Request) -> httpx.Response:
        raise error

    with pytest.raises(NerError) as caught:
        await client(answer).look(JOB_ID)
    assert caught.value.remedy is Remedy.WAIT


class Credential:
    """An identity that has tokens, or none."""

    def __init__(self, tokens: Iterator[str]) -> None:
        self.tokens = tokens
        self.closed = False

    async def get_token(self, *scopes: str, **_options: object) -> AccessToken:
        """Return the next token."""
        assert scopes == (TOKEN_SCOPE,)
        token = next(self.tokens, None)
        if token is None:
            raise ClientAuthenticationError("no identity here")
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
