"""What the operator's commands decide and show, without an account."""

import base64
import json
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from shared.jobs import JobMessage, SubmittedJob, encode_message
from shared.submissions import Submission

from local import app_settings
from local.account import chosen_values
from local.app_settings import SAMPLE, AppSettingsError, read_values
from local.in_flight import Record, Report, read_poisoned, read_source
from local.listing import Ended
from local.redrive import new_submission
from local.show_state import age_text, printable
from local.survey import waits_for
from shared import outcome as outcomes
from shared.ner.model import Problem
from shared.outcome import OutcomeStatus
from shared.settings import BLOB_POISON_QUEUE, Settings
from shared.source import Source

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SOURCE = Source("incoming", "a.txt", "0x1", NOW, 5, "utf-8")
MESSAGE = JobMessage(source=SOURCE, received_date_time=NOW, claim_id="0" * 32)
REPORT = Report("0x9", "failed", SOURCE, [])


@pytest.fixture
def settings() -> Settings:
    """The sample's."""
    return Settings.from_environ(read_values(SAMPLE))


def test_a_failed_outcome_is_made_anew() -> None:
    """The message names the version, a claim of its own, and the outcome that it replaces."""
    message = new_submission(REPORT, "0x1", None, NOW)
    assert isinstance(message, JobMessage)
    assert message.claim_id is not None
    assert message.claim_id != MESSAGE.claim_id
    assert message == JobMessage(source=SOURCE, received_date_time=NOW, claim_id=message.claim_id, replaces="0x9")


@pytest.mark.parametrize(
    ("report", "newest", "known", "why"),
    [
        (REPORT, None, None, "deleted from the input container"),
        (REPORT, "0x2", None, "replaced by a newer version"),
        (REPORT, "0x1", Record("r.json", Submission(MESSAGE)), "already in flight"),
        (REPORT, "0x1", Record("r.json", None, "cannot be read"), "its record r.json cannot be read"),
        (Report("0x9", "succeeded", SOURCE, []), "0x1", None, "its outcome has since been replaced"),
        (Report("0x9", "failed", None, []), "0x1", None, "its outcome cannot be read"),
    ],
)
def test_what_is_not_made_anew_says_why(report: Report, newest: str | None, known: Record | None, why: str) -> None:
    """No submission is paid for that could not become the file's outcome."""
    assert new_submission(report, newest, known, NOW) == why


@pytest.mark.parametrize("name", ["a.txt", 'q"\\\n}{', "💥" * 511])
def test_the_source_stands_at_the_beginning_of_every_outcome(name: str) -> None:
    """Also of one that is too long to be read, or was written piece by piece."""
    source = msgspec.structs.replace(SOURCE, name=name)
    whole = outcomes.encode(outcomes.failure(source, {"version": "2023-04-01"}, Problem("Code", "text")))
    merged = b'{\n  "status": "failed",\n  "source": ' + msgspec.json.encode(source) + b',\n  "api": {"ver'
    for data in (whole, merged, whole[: whole.index(b'"api"')] + "ü".encode()[:1]):
        assert read_source(data) == source


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"[]",
        b'{"status": "failed"}',
        b'{"status": "failed", "source": {"name": "a',
        b'{"status": "failed", "source": 1}',
    ],
)
def test_what_is_no_outcome_has_no_source(data: bytes) -> None:
    """Nor does it raise."""
    assert read_source(data) is None


def test_a_poison_message_of_the_app_is_read(settings: Settings) -> None:
    """Exactly as it was written, for it is sent again so."""
    text = encode_message(MESSAGE)
    found = read_poisoned(settings, settings.poison_queue, base64.b64encode(text.encode()).decode(), NOW)
    assert (found.name, found.message, found.text, found.inserted) == ("a.txt", MESSAGE, text, NOW)


def test_a_notice_of_the_host_is_read(settings: Settings) -> None:
    """It names the file, and no version."""
    notice = {"FunctionId": "Host.Functions.submit", "ContainerName": "incoming", "BlobName": "a.txt"}
    content = base64.b64encode(json.dumps(notice).encode()).decode()
    found = read_poisoned(settings, BLOB_POISON_QUEUE, content, NOW)
    assert (found.name, found.message) == ("a.txt", None)
    for changes in ({"FunctionId": "Host.Functions.other"}, {"ContainerName": "elsewhere"}, {"BlobName": ""}):
        content = base64.b64encode(json.dumps({**notice, **changes}).encode()).decode()
        assert read_poisoned(settings, BLOB_POISON_QUEUE, content, NOW).name is None


@pytest.mark.parametrize("content", [None, "", "not base64", "e30=", "/w==", "é", "eyJhIjogIv8ifQ=="])
def test_what_others_put_into_poison_queues_is_nobodys(content: str | None, settings: Settings) -> None:
    """Whatever it is."""
    for queue in (settings.poison_queue, BLOB_POISON_QUEUE):
        assert read_poisoned(settings, queue, content, None).name is None


def test_a_shortened_name_is_not_taken_for_the_files() -> None:
    """The outcome has to be read then."""
    assert Ended("a/b.txt.json", OutcomeStatus.FAILED, NOW, 1).name == "a/b.txt"
    for name in ("n" * 1024, "💥" * 512, "n" * 1020):
        assert Ended(outcomes.blob_name(name), OutcomeStatus.FAILED, NOW, 1).name is None


@pytest.mark.parametrize(
    ("submission", "jobs_count", "text"),
    [
        (Submission(MESSAGE, NOW), 0, "submitting"),
        (Submission(MESSAGE), 0, "retrying submission"),
        (
            Submission(
                msgspec.structs.replace(MESSAGE, submitted_date_time=NOW, jobs=[SubmittedJob("j", 1, 1)]),
            ),
            1,
            "job running",
        ),
        (Submission(msgspec.structs.replace(MESSAGE, submitted_date_time=NOW, has_ledger=True)), 3, "3 jobs running"),
        (Submission(msgspec.structs.replace(MESSAGE, submitted_date_time=NOW, has_ledger=True)), None, "jobs running"),
    ],
)
def test_what_a_file_waits_for(submission: Submission, jobs_count: int | None, text: str) -> None:
    """In the operator's words."""
    assert waits_for(submission, jobs_count) == text


def test_a_name_cannot_steer_the_terminal() -> None:
    """Nor look like another one: what is not plainly visible is written out."""
    assert printable("a b/ü 💥 日本.txt") == "a b/ü 💥 日本.txt"
    hostile = "\x1b[2J\n\x9b\u202e\u2028\ud800"
    assert printable(hostile) == r"\x1b[2J\n\x9b\u202e\u2028\ud800"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0 s ago"),
        (59, "59 s ago"),
        (61, "1 min ago"),
        (3 * 3600 + 61, "3 h 1 min ago"),
        (50 * 3600, "2 d 2 h ago"),
    ],
)
def test_ages_are_short(seconds: int, text: str) -> None:
    """Two units at most; a clock that is behind counts as no time."""
    assert age_text(timedelta(seconds=seconds)) == text


def test_the_environment_names_the_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before what runs on this machine, and that before the files; an identity replaces a connection string."""
    monkeypatch.setattr(app_settings, "OWN", SAMPLE.parent / "nowhere.json")
    running = {"NER_STORAGE": "running", "NER_QUEUE": "its-queue"}
    assert chosen_values({}, running) == running
    with pytest.raises(AppSettingsError, match="make start"):
        chosen_values({"NER_QUEUE": "q"}, None)
    assert chosen_values({"NER_STORAGE": "named"}, running)["NER_STORAGE"] == "named"
    assert chosen_values({"NER_STORAGE": "named"}, running)["NER_QUEUE"] == "ner-jobs"
    by_identity = chosen_values({"NER_STORAGE__accountName": "mine"}, running)
    assert Settings.from_environ(by_identity).storage.blob_service_uri == "https://mine.blob.core.windows.net"
