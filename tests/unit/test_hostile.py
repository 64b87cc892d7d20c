"""Answers and messages that somebody made to do harm: they reach neither a path, nor a log, nor another host."""

import json
from itertools import count

import httpx
import pytest

from shared.ner.errors import REFUSALS, NerError, loggable
from tests.unit.test_ner_client import DOCUMENTS, ENDPOINT, JOB_ID, accepted, client

HOSTILE = "first\nERROR forged line\x1b[2J \u202e\u2028 end"


@pytest.mark.parametrize(
    "location",
    [
        f"https://evil.example/language/analyze-text/jobs/{JOB_ID}",
        f"http://contoso.cognitiveservices.azure.com.evil.example/jobs/{JOB_ID}",
        f"//evil.example/jobs/{JOB_ID}",
        f"https://contoso.cognitiveservices.azure.com@evil.example/jobs/{JOB_ID}",
    ],
)
async def test_a_job_of_another_host_is_looked_for_at_the_endpoint(
    location: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A gateway names the host that it calls; the key goes to NER_ENDPOINT all the same, and one line says so."""
    asked: list[httpx.URL] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url)
        if request.method == "POST":
            return accepted(f"{location}?secret=1")(request)
        return httpx.Response(200, json={"jobId": JOB_ID, "status": "running"})

    ner = client(answer)
    for _ in range(2):
        await ner.look(await ner.submit(DOCUMENTS, "a.txt"))
    assert {url.host for url in asked} == {"contoso.cognitiveservices.azure.com"}
    assert asked[1].path.endswith(f"/{JOB_ID}")
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "another host" in record.getMessage()
    assert "evil.example" not in record.getMessage()


async def test_one_line_is_enough_for_hosts_without_end(caplog: pytest.LogCaptureFixture) -> None:
    """Nor is a line forged by the name of one."""
    numbers = count()

    def answer(request: httpx.Request) -> httpx.Response:
        return accepted(f"https://evil{next(numbers)}\x1b\u202eexample/{JOB_ID}")(request)

    ner = client(answer)
    for _ in range(100):
        assert await ner.submit(DOCUMENTS, "a.txt") == JOB_ID
    assert len(caplog.records) == 1


@pytest.mark.parametrize("location", [f"{ENDPOINT.upper()}/JOBS/{JOB_ID}", f"{ENDPOINT}:443/jobs/{JOB_ID}"])
async def test_the_same_host_in_other_words_is_taken(location: str) -> None:
    """Names of hosts have no case, and a port may be said."""
    assert await client(accepted(location)).submit(DOCUMENTS, "a.txt") == JOB_ID


@pytest.mark.parametrize(
    "location", [f"{ENDPOINT}/jobs/..%2f..", f"{ENDPOINT}/jobs/{JOB_ID}%0a", f"{ENDPOINT}/jobs/..;"]
)
async def test_an_odd_location_gives_no_job_id(location: str) -> None:
    """Whatever would be taken apart in a path."""
    with pytest.raises(NerError):
        await client(accepted(location)).submit(DOCUMENTS, "a.txt")


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503])
async def test_what_the_service_says_makes_one_line_of_the_log_at_most(status: int) -> None:
    """Its code only if it is one, its message only where it cannot quote a text, without what moves a terminal."""

    def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, json={"error": {"code": HOSTILE, "message": HOSTILE * 50}})

    with pytest.raises(NerError) as caught:
        await client(answer).submit(DOCUMENTS, "a.txt")
    assert caught.value.code == "UnknownError"
    for text in (caught.value.for_log, str(caught.value)):
        assert text.isprintable()
        assert len(text) < 400


@pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 413, 429, 500, 503])
async def test_a_quoted_text_does_not_reach_the_log(status: int) -> None:
    """A service that repeats a text that it refuses tells the uploader; all other messages are ours."""

    def echo(request: httpx.Request) -> httpx.Response:
        sent = json.loads(request.content)["analysisInput"]["documents"][0]["text"]
        return httpx.Response(status, json={"error": {"code": "InvalidDocument", "message": f"Bad text: {sent}"}})

    documents = [document.__class__("1", "the secret text", "en") for document in DOCUMENTS]
    with pytest.raises(NerError) as caught:
        await client(echo).submit(documents, "a.txt")
    assert ("secret" in caught.value.message) is (status in REFUSALS)
    assert "secret" not in caught.value.for_log
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("word", ["Bristol", "secret", "4111111111111111", "07700-900123", "x.y_z"])
@pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 413, 429, 500, 503])
async def test_a_text_of_one_word_does_not_reach_the_log_as_a_code(status: int, word: str) -> None:
    """The outcome has the code as it is; the log has only codes that look like those of the API."""
    ner = client(lambda _request: httpx.Response(status, json={"error": {"code": word, "message": word}}))
    with pytest.raises(NerError) as caught:
        await ner.submit(DOCUMENTS, "a.txt")
    assert caught.value.code == word
    assert word not in caught.value.for_log + str(caught.value)
    assert caught.value.for_log.startswith("UnknownError: ")


@pytest.mark.parametrize(
    "code", ["InvalidDocument", "Forbidden", "404", "HTTP999", "DNSNameWrong", "AuthenticationTypeDisabled"]
)
def test_the_log_has_codes_as_the_service_gives_them(code: str) -> None:
    """An operator searches for them."""
    assert loggable(code) == code


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_cancellation_follows_no_redirect(status: int) -> None:
    """Nor does any other call: the key would go with it."""
    asked: list[str] = []

    def redirect(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        return httpx.Response(status, headers={"location": "https://evil.example/"})

    with pytest.raises(NerError):
        await client(redirect).cancel(JOB_ID)
    assert asked == ["contoso.cognitiveservices.azure.com"]


async def test_an_odd_job_id_is_not_cancelled() -> None:
    """It would enter a path."""
    assert not await client(accepted("")).cancel("../../other")


@pytest.mark.parametrize("version", ["v3.1-preview.ct.1", "v3.2-preview.2"])
async def test_the_previews_cannot_cancel(version: str) -> None:
    """No call is made."""

    def answer(_request: httpx.Request) -> httpx.Response:
        raise AssertionError("a call was made")

    assert not await client(answer, NER_API_VERSION=version, NER_MODEL_ID="m").cancel(JOB_ID)
