"""Any text that people drop, the whole way: odd files, long texts, files of many documents, names of every kind."""

import json
import signal
from collections.abc import Callable

import pytest
from azure.storage.blob import BlobServiceClient

from shared.names import result_name
from shared.outcome import Outcome, OutcomeStatus
from shared.settings import Settings
from tests.conftest import LOGS, hosted
from tests.e2e.test_whole_way import drop, outcome_of
from tests.emulator import end_jobs, looks, submissions
from tests.locks import break_locks
from tests.unit.test_documents import ODD_FAILURES, ODD_TEXTS
from tests.waiting import eventually

NAMES = [
    "spaces in  a name.txt",
    "folder/deeper/and deeper/ünïcödé 🍷.txt",
    "名前/ファイル.txt",
    "100%.txt",
    "%41%20%2F.txt",
    "a#b?c&d=e+f;g,h.txt",
    "[1]{2}(3)'4'\"5\"<6>|7.txt",
    "no ending",
    "ends in a dot.",
    # The host's scan finds no longer ones, because its receipts have longer names than the files.
    "x" * 896 + ".txt",
    "d" * 400 + "/" + "é" * 499,
]
SENTENCE = "Please book a table at Blue Heron in Bristol for four people at eight."
FILLER = "The weather was fine, and nobody had anything to say about it."


def test_odd_files_come_back_right_or_with_the_reason(
    values: dict[str, str], ner_emulator: str, blobs: BlobServiceClient, switches: Callable[..., None]
) -> None:
    """Every kind of text with its encoding, every kind of other file with a sentence; none stops another."""
    switches(jobSeconds=0)
    values |= {"NER_ENDPOINT": ner_emulator, "NER_MAX_BLOB_BYTES": "1024"}
    settings = Settings.from_environ(values)
    texts = {f"odd/{number} {odd.name[:40]}": odd for number, odd in enumerate(ODD_TEXTS)}
    failures = {f"bad/{number} {failure[0]}": failure for number, failure in enumerate(ODD_FAILURES)}
    assert len(texts) + len(failures) >= 30
    data = {name: odd.data for name, odd in texts.items()} | {name: failure[1] for name, failure in failures.items()}
    with hosted(values, LOGS / "host-odd-files.log"):
        etags = {name: drop(blobs, settings, name, content) for name, content in data.items()}
        outcomes = {name: outcome_of(blobs, settings, name, etag) for name, etag in etags.items()}
    for name, odd in texts.items():
        outcome = outcomes[name]
        assert outcome.status is OutcomeStatus.SUCCEEDED, (name, outcome.errors)
        assert outcome.source.encoding == odd.encoding
        for entity in outcome.documents[0].entities:
            assert odd.text[entity.offset : entity.offset + entity.length] == entity.text
    for name, (_, _, code, words) in failures.items():
        (problem,) = outcomes[name].errors
        assert outcomes[name].status is OutcomeStatus.FAILED
        assert outcomes[name].jobs == []
        assert (problem.code, words in problem.message) == (code, True), name


def test_names_of_every_kind_survive(
    values: dict[str, str], ner_emulator: str, blobs: BlobServiceClient, switches: Callable[..., None]
) -> None:
    """From the upload through URLs, JSON, queue and logs to the outcome's name."""
    switches(jobSeconds=0)
    values |= {"NER_ENDPOINT": ner_emulator}
    settings = Settings.from_environ(values)
    with hosted(values, LOGS / "host-names.log"):
        etags = {name: drop(blobs, settings, name, SENTENCE.encode()) for name in NAMES}
        outcomes = {name: outcome_of(blobs, settings, name, etag) for name, etag in etags.items()}
    listed = {blob.name for blob in blobs.get_container_client(settings.results_container).list_blobs()}
    assert listed == {result_name(name) for name in NAMES}
    for name, outcome in outcomes.items():
        assert outcome.source.name == name
        assert outcome.documents[0].id == name.rpartition("/")[2]
        assert "Blue Heron" in {entity.text for entity in outcome.documents[0].entities}


def planted_text(length: int) -> str:
    """Return a text of so many characters with entities beside all places where requests may end."""
    parts: list[str] = []
    size = number = 0
    while size < length - 200:
        number += 1
        # Dense around each multiple of the limit, sparse elsewhere: the cuts come a little before those.
        near = (size % 125_000) > 90_000 or (size % 125_000) < 5_000
        sentence = SENTENCE if near or number % 20 == 0 else FILLER
        parts.append(sentence + ("\r\n\r\n" if number % 37 == 0 else "\n" if number % 5 == 0 else " "))
        size += len(parts[-1])
    text = "".join(parts)
    return text + "x" * (length - len(text) - 1) + "."


@pytest.mark.slow
def test_every_entity_of_two_million_characters_is_found_once(
    values: dict[str, str], ner_emulator: str, blobs: BlobServiceClient, switches: Callable[..., None]
) -> None:
    """At its exact offset, wherever the text was cut, in hardly more requests than the length asks for."""
    switches(jobSeconds=0.5)
    values |= {"NER_ENDPOINT": ner_emulator}
    settings = Settings.from_environ(values)
    text = planted_text(2_000_000)
    assert len(text) == 2_000_000
    places = [place for place in range(len(text)) if text.startswith("Blue Heron", place)]
    assert len(places) > 2000
    with hosted(values, LOGS / "host-two-million.log"):
        etag = drop(blobs, settings, "long report.txt", text.encode("utf-16"))
        outcome = outcome_of(blobs, settings, "long report.txt", etag)
    assert outcome.status is OutcomeStatus.SUCCEEDED, outcome.errors
    (document,) = outcome.documents
    assert [entity.offset for entity in document.entities if entity.text == "Blue Heron"] == places
    cities = [place for place in range(len(text)) if text.startswith("Bristol", place)]
    assert [entity.offset for entity in document.entities if entity.text == "Bristol"] == cities
    assert all(text[entity.offset : entity.offset + entity.length] == entity.text for entity in document.entities)
    assert len(outcome.jobs) <= -(-len(text) // 125_000) + 2
    assert submissions(ner_emulator, "long report.txt") == len(outcome.jobs)
    assert outcome.statistics.transactions_count <= 2000 + len(outcome.jobs)


def thousand() -> tuple[list[dict[str, str]], bytes]:
    """Return a thousand documents, and their file."""
    documents = [
        {"id": f"note {number}", "text": f"Booking {number}: a table at Blue Heron in Bristol."}
        for number in range(1000)
    ]
    return documents, "\n".join(json.dumps(document) for document in documents).encode()


def check_thousand(outcome: Outcome, documents: list[dict[str, str]]) -> None:
    """Assert that all are there, in order, each with its own entities."""
    assert outcome.status is OutcomeStatus.SUCCEEDED, outcome.errors
    assert len(outcome.jobs) == 50
    assert [document.id for document in outcome.documents] == [document["id"] for document in documents]
    for result, document in zip(outcome.documents, documents, strict=True):
        found = {entity.text: entity.offset for entity in result.entities}
        assert found["Bristol"] == document["text"].index("Bristol")
    assert outcome.statistics.documents_count == outcome.statistics.transactions_count == 1000


def test_a_thousand_documents_come_back_in_order(
    values: dict[str, str], ner_emulator: str, blobs: BlobServiceClient, switches: Callable[..., None]
) -> None:
    """In forty jobs."""
    switches(jobSeconds=1)
    values |= {"NER_ENDPOINT": ner_emulator}
    settings = Settings.from_environ(values)
    documents, data = thousand()
    before = submissions(ner_emulator, "notes.jsonl")
    with hosted(values, LOGS / "host-thousand.log"):
        etag = drop(blobs, settings, "notes.jsonl", data)
        outcome = outcome_of(blobs, settings, "notes.jsonl", etag)
    check_thousand(outcome, documents)
    assert submissions(ner_emulator, "notes.jsonl") - before == 50


@pytest.mark.slow
def test_a_thousand_documents_survive_throttling_and_a_killed_worker(
    values: dict[str, str], ner_emulator: str, blobs: BlobServiceClient, switches: Callable[..., None]
) -> None:
    """Killed once while it submits and once while it collects: no job more than the one that was on its way."""
    throttled = {"status": 429, "retryAfter": 1, "share": 0.05}
    switches(jobSeconds=1000, latencySeconds=0.05, faults=[throttled])
    # So soon a killed worker's claim is taken over; a call may take half of it, however busy the machine is.
    values |= {"NER_ENDPOINT": ner_emulator, "NER_SUBMIT_TIMEOUT_SECONDS": "12"}
    settings = Settings.from_environ(values)
    documents, data = thousand()
    before = submissions(ner_emulator, "killed.jsonl")
    lease = ("--lease-seconds", "2")
    with hosted(values, LOGS / "host-killed-1.log", *lease) as host:
        first_log = host.log
        etag = drop(blobs, settings, "killed.jsonl", data)
        eventually(lambda: submissions(ner_emulator, "killed.jsonl") - before >= 15, "half of the submissions")
        host.process.send_signal(signal.SIGKILL)
        host.process.wait()
    break_locks(blobs, values["AzureFunctionsWebHost__hostid"])
    with hosted(values, LOGS / "host-killed-2.log", *lease) as host:
        # By the first worker, if that was faster than the look at it.
        said = b"submitted as 50 jobs"
        eventually(lambda: said in first_log.read_bytes() + host.log.read_bytes(), "the end of the submission")
        begun = looks(ner_emulator)
        end_jobs(ner_emulator)
        eventually(lambda: looks(ner_emulator) - begun >= 10, "some of the results")
        host.process.send_signal(signal.SIGKILL)
        host.process.wait()
    break_locks(blobs, values["AzureFunctionsWebHost__hostid"])
    with hosted(values, LOGS / "host-killed-3.log", *lease):
        outcome = outcome_of(blobs, settings, "killed.jsonl", etag)
    check_thousand(outcome, documents)
    assert submissions(ner_emulator, "killed.jsonl") - before <= 51
