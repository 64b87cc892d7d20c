"""The app's own key reaches no log, outcome, command line or proxy; what holds texts, its owner alone reads."""

import gzip
import json
import os
import stat
import sys
import webbrowser
import zlib
from collections.abc import Awaitable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from azure.core.credentials import AccessToken

from local import stack
from local.children import Child
from local.install import keep_state_private
from local.private_files import open_private
from local.view.opening import open_in_browser
from shared.ner import receiving
from shared.ner.client import NerClient
from shared.ner.errors import NerError, Remedy
from shared.ner.model import loggable_job
from shared.ner.receiving import mask_for
from shared.settings import Settings, SettingsError
from tests.unit.test_ner_client import DOCUMENTS, ENDPOINT, JOB_ID, VALUES, client
from tests.unit.test_odd_answers import request, serving

KEY = "0f3aB6c9D2e5F8a1b4C7d0E3f6A9b2c5"
TEXT = "A table at the Blue Heron in Bristol"
QUOTE = f"{KEY} {TEXT}"


def escaped(text: str) -> str:
    """Return a text as JSON may have it: each character as an escape."""
    return "".join(f"\\u{ord(character):04x}" for character in text)


@pytest.mark.parametrize("secret", [KEY, 'odd/"key"\\with+{such}.characters'])
def test_a_key_is_masked_however_json_has_it(secret: str) -> None:
    """As it is, with the escapes that JSON needs, with those that some writers add, and with escapes alone."""
    mask = mask_for(secret)
    encoded = json.dumps(secret)[1:-1]
    for form in (encoded, encoded.replace("/", "\\/"), encoded.replace("+", "\\u002B"), escaped(secret)):
        assert mask(f'"before {form} after"'.encode()) == b'"before *** after"'
    assert mask(secret.encode()) == b"***"
    assert mask(b'"\\u00e9 other \\" words"') == b'"\\u00e9 other \\" words"'


def test_a_key_that_is_a_word_is_not_masked() -> None:
    """Answers would lose the names of their fields."""
    assert mask_for("documents")(b'{"documents": []}') == b'{"documents": []}'
    assert mask_for("")(b"abc") == b"abc"


def quoting(status: int, body: str) -> httpx.Response:
    """Return an answer that has the key in its status line and in all headers that the app reads."""
    headers = {"operation-location": f"{ENDPOINT}/jobs/{KEY}", "retry-after": KEY, "location": f"{ENDPOINT}/{KEY}"}
    return httpx.Response(status, headers=headers, content=body.encode(), extensions={"reason_phrase": QUOTE.encode()})


async def result_of(call: Awaitable[Any]) -> Any:
    """Return what a call gives, or its NerError."""
    try:
        return await call
    except NerError as error:
        return error


@pytest.mark.parametrize("code", ["Forbidden", "InvalidRequest", KEY, QUOTE])
@pytest.mark.parametrize("status", [200, 202, 301, 400, 401, 403, 404, 408, 413, 429, 500, 503])
@pytest.mark.parametrize("form", [QUOTE, f"{escaped(KEY)} {TEXT}"])
async def test_no_error_has_the_key(status: int, code: str, form: str, caplog: pytest.LogCaptureFixture) -> None:
    """In any status, in any field; and the log has no text either."""
    body = f'{{"error": {{"code": "{code}", "message": "{form}", "innererror": {{"message": "{form}"}}}}}}'
    ner = client(lambda _request: quoting(status, body), NER_KEY=KEY)
    for call in (ner.submit(DOCUMENTS, "a.txt"), ner.look(JOB_ID), ner.cancel(JOB_ID)):
        made = await result_of(call)
        if isinstance(made, NerError):
            assert TEXT not in made.for_log + str(made)
            assert made.remedy is Remedy.NONE or TEXT not in made.message
            assert KEY not in made.for_log + made.message + made.code
        assert KEY not in str(made)
    assert KEY not in caplog.text
    assert TEXT not in caplog.text


async def test_the_results_of_a_job_have_no_key() -> None:
    """In no field: those that the app does not know are passed on."""
    entity = {"text": KEY, "category": KEY, "offset": 0, "length": 1, "confidenceScore": 1.0, "new": KEY}
    document = {"id": "1", "entities": [entity], "warnings": [{"code": "c", "message": KEY}], KEY: KEY}
    error = {"code": "c", "message": KEY, "details": [KEY], "innererror": {"target": KEY}}
    results = {"documents": [document], "errors": [{"id": "2", "error": error}], "new": KEY}
    times = dict.fromkeys(("createdDateTime", "lastUpdatedDateTime", "expirationDateTime"), KEY)
    answer = {"jobId": JOB_ID, "status": "succeeded", "errors": [error], "new": [KEY], **times}
    body = json.dumps(answer | {"tasks": {"items": [{"status": "succeeded", "results": results, "new": KEY}]}})
    job = await client(lambda _request: quoting(200, body), NER_KEY=KEY).look(JOB_ID)
    assert job.documents
    assert len(job.problems) == 2
    assert KEY not in str(job)
    assert job.created is None, "it is no time"


class Credential:
    """Gives tokens."""

    async def get_token(self, *_scopes: str, **_options: Any) -> AccessToken:
        """Return one."""
        return AccessToken(KEY, 2**40)


async def test_a_token_is_masked_as_a_key_is() -> None:
    """An identity has no key."""
    settings = Settings.from_environ(VALUES | {"NER_KEY": ""})
    transport = httpx.MockTransport(lambda _request: quoting(400, f'{{"error": {{"code": "c", "message": "{KEY}"}}}}'))
    ner = NerClient(settings, credential=Credential(), transport=transport)  # type: ignore[arg-type]
    with pytest.raises(NerError) as caught:
        await ner.submit(DOCUMENTS, "a.txt")
    assert caught.value.message == "***"


@pytest.mark.parametrize(
    "lines",
    [f"{QUOTE}\r\n\r\n", f"HTTP/1.1 200 OK\r\n{QUOTE}\r\n\r\n", f"HTTP/1.1 200 OK\r\nContent-Length: {QUOTE}\r\n\r\n"],
)
async def test_what_is_not_http_is_not_quoted(lines: str) -> None:
    """The HTTP library says what came instead."""

    async def answer(reader: Any, writer: Any) -> None:
        await request(reader)
        writer.write(lines.encode())

    async with serving(answer) as (ner, _server):
        with pytest.raises(NerError) as caught:
            await ner.look(JOB_ID)
    error = caught.value
    assert (error.code, error.remedy) == ("RemoteProtocolError", Remedy.WAIT)
    for text in (error.message, error.for_log, str(error)):
        assert TEXT not in text
        assert KEY not in text
    assert error.__suppress_context__, "a traceback would have it"
    assert error.__cause__ is None


@pytest.mark.parametrize("times", [1, 2])
async def test_what_is_unpacked_has_a_bound(times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some kilobytes would fill the memory, the more so if they are packed twice."""
    monkeypatch.setattr(receiving, "LARGEST_ANSWER", 100_000)
    packed = b" " * 50_000_000
    for _ in range(times):
        packed = gzip.compress(packed)
    headers = {"content-encoding": ", ".join(["gzip"] * times)}

    def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers=headers, stream=httpx.ByteStream(packed))

    inflated: list[int] = []
    decompressobj = zlib.decompressobj

    class Watched:
        def __init__(self, bits: int) -> None:
            self.real = decompressobj(bits)

        def decompress(self, data: bytes, most: int = 0) -> bytes:
            piece: bytes = self.real.decompress(data, most)
            inflated.append(len(piece))
            return piece

    monkeypatch.setattr(zlib, "decompressobj", Watched)
    with pytest.raises(NerError) as caught:
        await client(answer).look(JOB_ID)
    assert caught.value.remedy is Remedy.WAIT
    assert sum(inflated) <= 100_001


async def test_the_app_asks_for_no_other_compression() -> None:
    """Libraries that are installed by chance would add theirs."""
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers["accept-encoding"])
        return httpx.Response(503)

    with pytest.raises(NerError):
        await client(answer).look(JOB_ID)
    assert asked == ["gzip"]


@pytest.mark.parametrize("name", ["HTTP_PROXY", "ALL_PROXY"])
async def test_this_machine_is_called_around_a_proxy(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would get the key and the text in clear."""
    for other in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, "http://127.0.0.1:9")

    async def answer(reader: Any, writer: Any) -> None:
        await request(reader)
        writer.write(b'HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{"jobId": "1", "status": "running"}')

    async with serving(answer) as (ner, server):
        assert (await ner.look("1")).job_id == "1"
    assert server.connections == 1


@pytest.mark.parametrize("endpoint", [f"https://:{KEY}@host", f"https://{KEY}@host", "https://@host"])
def test_an_endpoint_has_no_credentials(endpoint: str) -> None:
    """They would be sent, and shown with the endpoint."""
    with pytest.raises(SettingsError) as caught:
        Settings.from_environ(VALUES | {"NER_ENDPOINT": endpoint})
    assert "NER_ENDPOINT" in str(caught.value)
    assert KEY not in str(caught.value)


def test_no_problem_with_a_setting_shows_a_secret() -> None:
    """The URL of a storage service may hold a signature; some people leave the brackets of a placeholder."""
    values = {
        **VALUES,
        "NER_STORAGE": "",
        "NER_STORAGE__blobServiceUri": f"http://account.blob.core.windows.net/?sig={KEY}",
        "NER_STORAGE__queueServiceUri": f"http://account.queue.core.windows.net/?sig={KEY}",
        "NER_KEY": f"<{KEY}>",
    }
    with pytest.raises(SettingsError) as caught:
        Settings.from_environ(values)
    assert "must begin with https://" in str(caught.value)
    assert "NER_KEY" in str(caught.value)
    assert KEY not in str(caught.value)


def test_the_emulator_has_its_key_from_the_environment(
    sample_values: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Every user of the machine can read command lines. That it has the key, other tests show."""
    started: list[tuple[Any, Mapping[str, str]]] = []

    def start(_name: str, command: Any, _log: Path, environ: Mapping[str, str], **_options: Any) -> None:
        started.append((command, environ))

    monkeypatch.setattr(stack, "start_child", start)
    stack.start_ner_emulator({**sample_values, "NER_KEY": KEY}, 1, None, tmp_path / "log")
    ((command, environ),) = started
    assert KEY not in " ".join(command)
    assert KEY in environ.values()


def mode(path: Path) -> int:
    """Return the permissions of a file or a folder."""
    return stat.S_IMODE(path.stat().st_mode)


def test_logs_and_what_a_child_writes_are_for_their_owner_alone(tmp_path: Path) -> None:
    """Whatever the umask is, and if the log is there already."""
    log, made = tmp_path / "child.log", tmp_path / "made"
    log.touch(0o644)
    code = "import pathlib, sys; pathlib.Path(sys.argv[1]).touch(); print('done')"
    before = os.umask(0)
    try:
        with Child("A child", [sys.executable, "-c", code, str(made)], log, environ=os.environ) as child:
            assert child.process.wait(60) == 0
    finally:
        os.umask(before)
    assert (mode(log), mode(made)) == (0o600, 0o600)
    assert log.read_text() == "done\n"


def test_copies_are_for_their_owner_alone(tmp_path: Path) -> None:
    """An older copy, that all can read, too."""
    copy = tmp_path / "copy.json"
    copy.touch(0o644)
    with open_private(copy) as file:
        file.write(b"{}")
    assert (mode(copy), copy.read_bytes()) == (0o600, b"{}")


def test_the_folder_of_all_that_is_local_is_for_its_owner_alone(tmp_path: Path) -> None:
    """One that is there already, too."""
    for state in (tmp_path / "new", tmp_path):
        state.mkdir(exist_ok=True)
        state.chmod(0o755)
        keep_state_private(state)
        assert mode(state) == 0o700
    keep_state_private(tmp_path / "missing")
    assert mode(tmp_path / "missing") == 0o700


def test_the_browser_gets_the_token_by_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its command line has a path only."""
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    open_in_browser(f"http://127.0.0.1:10300/?token={KEY}&x=1", tmp_path)
    (url,) = opened
    path = Path(url.removeprefix("file://"))
    assert KEY not in url
    assert mode(path) == 0o600
    assert f"url=http://127.0.0.1:10300/?token={KEY}&amp;x=1" in path.read_text()


@pytest.mark.parametrize(
    ("job_id", "is_logged"),
    [
        (JOB_ID, True),
        (JOB_ID.upper(), True),
        (f"{JOB_ID}_637448832000000000", True),  # as previews gave them
        (f"{JOB_ID}_Bristol", False),
        (f"Bristol-{JOB_ID}", False),
        ("Bristol", False),
        ("07700900123", False),
    ],
)
def test_only_the_usual_job_ids_are_logged(job_id: str, *, is_logged: bool) -> None:
    """Another one may be a word of the text."""
    assert loggable_job(job_id) == (job_id if is_logged else "***")
