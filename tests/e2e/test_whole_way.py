"""The main job, the whole way over real HTTP: drop a file, get its entities, in every dialect of the API."""

import json
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from azure.core.exceptions import ResourceExistsError
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient

from local.children import Child
from local.files import SAMPLES
from local.watch import read_outcome
from shared.outcome import Outcome, OutcomeStatus
from shared.settings import Settings
from tests.conftest import LOGS, hosted
from tests.waiting import eventually

API_VERSIONS = ["v3.1-preview.ct.1", "v3.2-preview.2", "2022-05-01", "2023-04-01"]
SUBMITTED = b"Executed 'Functions.submit'"
"""In the host's log, once an upload has been taken care of. A host that is stopped before leaves the claim behind."""
EXPECTED = json.loads((Path(__file__).parent / "expected.json").read_text(encoding="utf-8"))


def drop(blobs: BlobServiceClient, settings: Settings, name: str, data: bytes) -> str:
    """Upload a file and return its version."""
    blob = blobs.get_blob_client(settings.input_container, name)
    return str(blob.upload_blob(data, overwrite=True)["etag"]).strip('"')


def outcome_of(blobs: BlobServiceClient, settings: Settings, name: str, etag: str) -> Outcome:
    """Wait for the outcome of a version of a file."""
    return eventually(lambda: read_outcome(blobs, settings, name, etag), f"the outcome of {name}")


def said(host: Child, words: bytes) -> bool:
    """Return whether the host's log holds these words."""
    return words in host.log.read_bytes()


def texts_of(path: Path) -> dict[str, str]:
    """Return the documents of a sample file by their id: one in each line of a .jsonl file, else the file itself."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".jsonl":
        return {line["id"]: line["text"] for line in map(json.loads, text.splitlines())}
    return {path.name: text}


@pytest.mark.parametrize("api_version", API_VERSIONS)
def test_samples_come_back_with_their_entities(
    api_version: str, values: dict[str, str], ner_emulator: str, blobs: BlobServiceClient, queues: QueueServiceClient
) -> None:
    """Every sample file ends as succeeded, with the entities that are certain to be in it, at their places."""
    values |= {"NER_API_VERSION": api_version, "NER_ENDPOINT": ner_emulator}
    settings = Settings.from_environ(values)
    files: dict[str, Path] = {f"folder/{path.name}": path for path in sorted(SAMPLES.iterdir())}
    assert files
    with hosted(values, LOGS / f"host-{api_version}.log") as host:
        etags = {name: drop(blobs, settings, name, path.read_bytes()) for name, path in files.items()}
        outcomes = {name: outcome_of(blobs, settings, name, etag) for name, etag in etags.items()}
        queue = queues.get_queue_client(settings.queue)
        eventually(lambda: not queue.get_queue_properties().approximate_message_count, "the queue is empty")
        assert host.is_running
    for name, outcome in outcomes.items():
        texts = texts_of(files[name])
        assert outcome.status is OutcomeStatus.SUCCEEDED, outcome.errors
        assert [document.id for document in outcome.documents] == list(texts)
        found = {(entity.category, entity.text) for document in outcome.documents for entity in document.entities}
        wanted = {(entity["category"], entity["text"]) for entity in EXPECTED[files[name].name]}
        assert wanted <= found
        for document in outcome.documents:
            for entity in document.entities:
                assert texts[document.id][entity.offset : entity.offset + entity.length] == entity.text
        assert outcome.source.etag == etags[name]
        assert outcome.source.length == files[name].stat().st_size
        assert outcome.api["version"] == api_version
        assert outcome.statistics.transactions_count == sum(-(-len(text) // 1000) for text in texts.values())
    names = {queue.name for queue in queues.list_queues(settings.queue)}
    assert names == {settings.queue}, "nothing went to poison"


def test_outcome_blob_is_json_with_metadata(
    values: dict[str, str], ner_emulator: str, blobs: BlobServiceClient
) -> None:
    """The outcome is UTF-8 JSON by its content type, and a listing alone shows status and version."""
    values |= {"NER_ENDPOINT": ner_emulator}
    settings = Settings.from_environ(values)
    text = "We would like a table at Café Lumière 🍷 for four, and some jazz after that."
    with hosted(values, LOGS / "host-metadata.log"):
        etag = drop(blobs, settings, "notes/été 1.txt", text.encode())
        outcome = outcome_of(blobs, settings, "notes/été 1.txt", etag)
    (listed,) = blobs.get_container_client(settings.results_container).list_blobs(include=["metadata"])
    assert listed.name == "notes/été 1.txt.json"
    assert listed.content_settings.content_type == "application/json; charset=utf-8"
    modified = outcome.source.last_modified.isoformat()
    digest = listed.metadata.pop("digest")
    assert len(digest) == 64
    assert listed.metadata == {"status": "succeeded", "source_etag": etag, "source_last_modified": modified}
    body = blobs.get_blob_client(settings.results_container, listed.name).download_blob().readall()
    assert set(msgspec.json.decode(body)) == {"status", "source", "api", "jobs", "documents", "errors", "statistics"}


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [
        ("empty.txt", b"", "EmptyFile"),
        ("picture.txt", b"\x89PNG\x00\x01\x02", "BinaryFile"),
        ("lines.jsonl", b"no JSON", "InvalidDocument"),
        ("report.pdf", b"%PDF-1.7", "UnsupportedType"),
    ],
)
def test_a_bad_file_gets_a_failed_outcome(  # noqa: PLR0917
    name: str, data: bytes, code: str, values: dict[str, str], ner_emulator: str, blobs: BlobServiceClient
) -> None:
    """A file that is not text ends as failed with a reason, and costs no call."""
    values |= {"NER_ENDPOINT": ner_emulator}
    settings = Settings.from_environ(values)
    with hosted(values, LOGS / f"host-bad-{code}.log"):
        etag = drop(blobs, settings, name, data)
        outcome = outcome_of(blobs, settings, name, etag)
    assert outcome.status is OutcomeStatus.FAILED
    assert [problem.code for problem in outcome.errors] == [code]
    assert outcome.jobs == []


def test_text_waits_for_a_service_that_is_down(
    values: dict[str, str], ner_emulator: str, blobs: BlobServiceClient
) -> None:
    """A file dropped while the service cannot be reached is neither failed nor lost: it is submitted later."""
    settings = Settings.from_environ(values)
    with hosted({**values, "NER_ENDPOINT": "http://127.0.0.1:9"}, LOGS / "host-down.log") as host:
        etag = drop(blobs, settings, "patient.txt", b"A table for two at eight, please.")
        eventually(lambda: said(host, b"retrying later"), "the app notices the outage")
        eventually(lambda: said(host, SUBMITTED), "its message waits")
        assert read_outcome(blobs, settings, "patient.txt", etag) is None
    with hosted({**values, "NER_ENDPOINT": ner_emulator}, LOGS / "host-up.log"):
        assert outcome_of(blobs, settings, "patient.txt", etag).status is OutcomeStatus.SUCCEEDED


def test_a_wrong_key_keeps_the_file_and_says_so(
    values: dict[str, str], ner_emulator: str, blobs: BlobServiceClient
) -> None:
    """The operator reads of a wrong key in the log, without the key; after the mend the file is submitted."""
    settings = Settings.from_environ(values)
    wrong = {**values, "NER_ENDPOINT": ner_emulator, "NER_KEY": "not-the-right-key"}
    with hosted(wrong, LOGS / "host-wrong-key.log") as host:
        etag = drop(blobs, settings, "kept.txt", b"A table for two at eight, please.")
        eventually(lambda: said(host, b"until the app settings are fixed"), "the log line")
        eventually(lambda: said(host, SUBMITTED), "its message waits")
        assert b"not-the-right-key" not in host.log.read_bytes()
    with hosted({**values, "NER_ENDPOINT": ner_emulator}, LOGS / "host-right-key.log"):
        assert outcome_of(blobs, settings, "kept.txt", etag).status is OutcomeStatus.SUCCEEDED


def test_an_upload_that_no_trigger_reports_gets_its_outcome(
    values: dict[str, str], ner_emulator: str, blobs: BlobServiceClient
) -> None:
    """The host has a receipt of it, so it never fires; the sweep finds it."""
    values |= {"NER_ENDPOINT": ner_emulator}
    settings = Settings.from_environ(values)
    blobs.create_container(settings.input_container)
    etag = drop(blobs, settings, "unheard.txt", b"A table for two at eight, please.")
    receipt = f'blobreceipts/{values["AzureFunctionsWebHost__hostid"]}/Host.Functions.submit/"{etag}"'
    hosts = blobs.get_container_client("azure-webjobs-hosts")
    with suppress(ResourceExistsError):
        hosts.create_container()
    hosts.upload_blob(f"{receipt}/{settings.input_container}/unheard.txt", b"")
    with hosted(values, LOGS / "host-unheard.log") as host:
        assert outcome_of(blobs, settings, "unheard.txt", etag).status is OutcomeStatus.SUCCEEDED
        assert not said(host, b"Executing 'Functions.submit'")
