"""What the operator's commands decide and show, without an account."""

import base64
import json
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from local import app_settings
from local.account import chosen_values
from local.app_settings import SAMPLE, AppSettingsError, read_values
from local.in_flight import InFlight, is_overdue, text_records, waits_for
from local.listing import Claimed, Ended, File, State
from local.poison import poison_queues, read_poisoned
from local.printable import printable
from local.redrive import line_of_flight, new_submission
from local.reports import read_source
from local.times import age_text
from shared import outcome as outcomes
from shared.merging import MergeState
from shared.message import BatchMessage, FileMessage, Message, encode_message
from shared.names import result_name
from shared.ner.model import Problem
from shared.outcome import OutcomeStatus
from shared.settings import Settings
from shared.source import Position, Source
from shared.state.batch import BatchKind, BatchRecord, Member, SubmittedJob
from shared.state.claim import claim_name
from shared.state.ledger import CollectedEntry, JobEntry, Ledger
from shared.storage.queue import BLOB_POISON_QUEUE

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SOURCE = Source("incoming", "a.txt", "0x1", NOW, 5, "utf-8")
BATCH = "0" * 32
CLAIM = Claimed(claim_name("a.txt"), BATCH, NOW, "0x1")
OUTCOME = Ended("a.txt.json", OutcomeStatus.FAILED, NOW, 1, "0x9", "0x1")
RECORD = BatchRecord(kind=BatchKind.WAITING, members=[Member(SOURCE, "0x5")], received_date_time=NOW, due=NOW)


OTHER = msgspec.structs.replace(SOURCE, name="b.txt")
SHARED = BatchRecord(
    kind=BatchKind.JOB,
    members=[Member(OTHER, "0x4", transactions_count=5), Member(SOURCE, "0x5", transactions_count=2)],
    job=SubmittedJob("j", 2, 7),
    received_date_time=NOW,
    submitted_date_time=NOW,
    due=NOW,
)


def record(kind: BatchKind, *, submitted: bool = True) -> BatchRecord:
    """Return a record of a batch."""
    job = SubmittedJob("j", 1, 7) if kind is BatchKind.JOB else None
    return msgspec.structs.replace(RECORD, kind=kind, job=job, submitted_date_time=NOW if submitted else None)


def in_flight(found: BatchRecord | None = None, ledger: Ledger | None = None, problem: str = "") -> InFlight:
    """Return a file in flight."""
    return InFlight(CLAIM, "a.txt", SOURCE, NOW, found, "0x7" if found else "", ledger, problem)


def ledger_of(jobs: int, collected: int = 0) -> Ledger:
    """Return the ledger of a file with so many jobs."""
    entry = JobEntry(job_id="j", documents_count=1, transactions_count=2, submitted_date_time=NOW, end=Position(1))
    entries = [CollectedEntry(collected, [], [], [], MergeState())] if collected else []
    return Ledger(BATCH, 1, None, [entry] * jobs, entries)


@pytest.fixture
def settings() -> Settings:
    """The sample's."""
    return Settings.from_environ({**read_values(SAMPLE), "NER_SWEEP_GRACE_SECONDS": "60"})


@pytest.mark.parametrize(
    ("state", "outcome", "replaces"),
    [
        (State.FAILED, OUTCOME, "0x9"),
        (State.SUCCEEDED, OUTCOME, "0x9"),
        (State.WAITING, None, None),
        # An outcome of an older version is replaced anyway.
        (State.WAITING, OUTCOME, None),
        (State.IN_FLIGHT, OUTCOME, None),
    ],
)
def test_a_file_is_submitted_again_by_its_name(state: State, outcome: Ended | None, replaces: str | None) -> None:
    """If the newest version has an outcome, the message names the one to be replaced."""
    file = File("a.txt", state, NOW, SOURCE, None, outcome)
    assert new_submission(file, NOW) == FileMessage(file="a.txt", replaces=replaces, due=NOW)


@pytest.mark.parametrize("kind", [BatchKind.WAITING, BatchKind.JOB, BatchKind.LEDGER])
def test_a_file_in_flight_gets_the_message_of_its_batch(kind: BatchKind) -> None:
    """With the baton: whichever of two such messages comes first goes on."""
    line = line_of_flight(File("a.txt", State.IN_FLIGHT, NOW, SOURCE, CLAIM), in_flight(record(kind)), NOW, 120)
    assert line.message == BatchMessage(batch=BATCH, etag="0x7", record=record(kind))
    assert line.delay_seconds == 0


@pytest.mark.parametrize(("age", "delay"), [(0, 121), (100, 21), (121, 0), (1000, 0)])
def test_a_claim_without_a_record_is_taken_over_once_it_is_old(age: int, delay: int) -> None:
    """A message that came before would be dropped."""
    now = NOW + timedelta(seconds=age)
    line = line_of_flight(File("a.txt", State.IN_FLIGHT, NOW, SOURCE, CLAIM), in_flight(), now, 120)
    assert line.message == FileMessage(file="a.txt", due=now + timedelta(seconds=delay))
    assert line.delay_seconds == delay


@pytest.mark.parametrize("found", [in_flight(), in_flight(record(BatchKind.JOB))])
def test_the_newest_version_takes_the_place_of_an_older_one(found: InFlight) -> None:
    """Whatever that waits for."""
    newest = msgspec.structs.replace(SOURCE, etag="0x2")
    line = line_of_flight(File("a.txt", State.IN_FLIGHT, NOW, newest, CLAIM), found, NOW, 120)
    assert (line.message, line.delay_seconds) == (FileMessage(file="a.txt", due=NOW), 0)


@pytest.mark.parametrize(
    ("source", "found", "why"),
    [
        (None, in_flight(), "deleted from the input container"),
        (SOURCE, in_flight(problem="cannot be read"), "claims/a.txt.json cannot be read"),
    ],
)
def test_what_no_message_helps_says_why(source: Source | None, found: InFlight, why: str) -> None:
    """Nothing is sent."""
    line = line_of_flight(File("a.txt", State.IN_FLIGHT, NOW, source, CLAIM), found, NOW, 120)
    assert line.message is None
    assert why in line.why


@pytest.mark.parametrize("name", ["a.txt", 'q"\\}{', "💥" * 511])
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


@pytest.mark.parametrize(
    ("message", "names"),
    [
        (FileMessage(file="a.txt", replaces="0x9"), ("a.txt",)),
        (BatchMessage(batch=BATCH, etag="0x7", record=RECORD), ("a.txt",)),
        (BatchMessage(batch=BATCH, etag="0x7", record=SHARED), ("b.txt", "a.txt")),
        # The record was too long for a message.
        (BatchMessage(batch=BATCH, etag="0x7"), ()),
    ],
)
def test_a_poison_message_of_the_app_is_read(message: Message, names: tuple[str, ...], settings: Settings) -> None:
    """With the files that it is about, if it names them."""
    content = base64.b64encode(encode_message(message).encode()).decode()
    found = read_poisoned(settings, settings.poison_queue, content, NOW)
    assert (found.is_ours, found.names, found.message, found.inserted) == (True, names, message, NOW)


def test_a_notice_of_the_host_is_read(settings: Settings) -> None:
    """It names the file, and no version. Those of other functions, apps and containers are somebody else's."""
    notice = {"FunctionId": "Host.Functions.submit", "ContainerName": "incoming", "BlobName": "a.txt"}
    content = base64.b64encode(json.dumps(notice).encode()).decode()
    found = read_poisoned(settings, BLOB_POISON_QUEUE, content, NOW)
    assert (found.is_ours, found.names, found.message) == (True, ("a.txt",), None)
    for changes in ({"FunctionId": "Host.Functions.other"}, {"ContainerName": "elsewhere"}, {"BlobName": ""}):
        content = base64.b64encode(json.dumps({**notice, **changes}).encode()).decode()
        assert not read_poisoned(settings, BLOB_POISON_QUEUE, content, NOW).is_ours


@pytest.mark.parametrize("is_base64", [True, False])
def test_an_event_of_an_upload_is_read(is_base64: bool, settings: Settings) -> None:
    """The host moves an event that is not in base64 to the poison queue as it is. Those of others are not ours."""
    queue = f"{settings.event_queue}-poison"
    for container, names in (("incoming", ("a b.txt",)), ("elsewhere", ())):
        url = f"https://account.blob.core.windows.net/{container}/a%20b.txt"
        text = json.dumps({"eventType": "Microsoft.Storage.BlobCreated", "data": {"url": url}})
        content = base64.b64encode(text.encode()).decode() if is_base64 else text
        found = read_poisoned(settings, queue, content, NOW)
        assert (found.queue, found.is_ours, found.names, found.message) == (queue, bool(names), names, None)


@pytest.mark.parametrize("content", [None, "", "not base64", "e30=", "/w==", "é", "eyJhIjogIv8ifQ==", "W1td" * 9000])
def test_what_others_put_into_poison_queues_is_not_ours(content: str | None, settings: Settings) -> None:
    """Whatever it is."""
    for queue in poison_queues(settings):
        found = read_poisoned(settings, queue, content, None)
        assert (found.is_ours, found.said) == (False, "not this app's message")


def test_a_message_about_another_container_is_not_ours(settings: Settings) -> None:
    """As if two apps had one queue."""
    elsewhere = msgspec.structs.replace(RECORD, members=[Member(msgspec.structs.replace(SOURCE, container="x"), "0x5")])
    text = encode_message(BatchMessage(batch=BATCH, etag="0x7", record=elsewhere))
    found = read_poisoned(settings, settings.poison_queue, base64.b64encode(text.encode()).decode(), NOW)
    assert not found.is_ours


def test_a_shortened_name_is_not_taken_for_the_files() -> None:
    """Neither of an outcome nor of a claim."""
    assert Ended("a/b.txt.json", OutcomeStatus.FAILED, NOW, 1).name == "a/b.txt"
    assert Claimed("claims/a/b.txt.json", BATCH, NOW).name == "a/b.txt"
    for name in ("n" * 1024, "💥" * 512, "n" * 1020):
        assert Ended(result_name(name), OutcomeStatus.FAILED, NOW, 1).name is None
        assert Claimed(claim_name(name), BATCH, NOW).name is None


@pytest.mark.parametrize(
    ("flight", "text", "records"),
    [
        (in_flight(), "submitting", 0),
        (in_flight(record(BatchKind.WAITING, submitted=False)), "retrying submission", 0),
        (in_flight(record(BatchKind.JOB)), "job running", 7),
        (in_flight(SHARED), "job running", 2),
        (in_flight(record(BatchKind.LEDGER, submitted=False)), "submitting", 0),
        (in_flight(record(BatchKind.LEDGER, submitted=False), ledger_of(0)), "submitting", 0),
        (in_flight(record(BatchKind.LEDGER, submitted=False), ledger_of(1)), "submitting, 1 job so far", 2),
        (in_flight(record(BatchKind.LEDGER), ledger_of(3)), "3 jobs running", 6),
        (in_flight(record(BatchKind.LEDGER), ledger_of(3, 1)), "1 of 3 jobs collected", 6),
        (in_flight(record(BatchKind.LEDGER)), "jobs running", 0),
        (in_flight(problem="cannot be read"), "cannot be read", 0),
    ],
)
def test_what_a_file_waits_for(flight: InFlight, text: str, records: int) -> None:
    """In the operator's words, with what it costs."""
    assert (waits_for(flight), text_records(flight)) == (text, records)


@pytest.mark.parametrize(
    ("flight", "seconds", "expected"),
    [
        (in_flight(), 119, False),
        (in_flight(), 120, True),
        (in_flight(record(BatchKind.JOB)), 119, False),
        (in_flight(record(BatchKind.JOB)), 120, True),
    ],
)
def test_overdue_is_what_the_sweep_sends_again(
    flight: InFlight, seconds: int, expected: bool, settings: Settings
) -> None:
    """A batch after its due time and the grace, a claim without a record once it is old."""
    assert is_overdue(flight, NOW + timedelta(seconds=seconds), settings) is expected


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
    emulated = {"NER_STORAGE": "AccountName=a;BlobEndpoint=http://127.0.0.1:10000/a;"}
    assert chosen_values({"NER_STORAGE": "UseDevelopmentStorage=true"}, emulated) == emulated
    by_identity = chosen_values({"NER_STORAGE__accountName": "mine"}, running)
    assert Settings.from_environ(by_identity).storage.blob_service_uri == "https://mine.blob.core.windows.net"
