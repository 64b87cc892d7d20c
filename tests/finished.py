"""Files with outcomes that a test wrote itself, as no model would give them: for whatever shows or exports results."""

from azure.storage.blob import BlobServiceClient

from local.times import utc_now
from shared.names import result_name
from shared.ner.model import DocumentResult, Entity, Problem, Statistics
from shared.outcome import Outcome, OutcomeStatus, encode, metadata
from shared.settings import Settings
from shared.source import Source


def upload(blobs: BlobServiceClient, settings: Settings, name: str, data: bytes) -> Source:
    """Upload a file; return its version."""
    blob = blobs.get_blob_client(settings.input_container, name)
    etag = str(blob.upload_blob(data, overwrite=True)["etag"]).strip('"')
    return Source(settings.input_container, name, etag, utc_now(), len(data), "utf-8")


def succeed(blobs: BlobServiceClient, settings: Settings, name: str, text: str, *entities: Entity) -> None:
    """Upload a text of one document, with an outcome that holds these entities."""
    source = upload(blobs, settings, name, text.encode())
    found = [DocumentResult(name.rpartition("/")[2], list(entities))]
    statistics = Statistics(1, 1, 0, -(-len(text) // 1000))
    write(blobs, settings, Outcome(OutcomeStatus.SUCCEEDED, source, {}, [], found, [], statistics))


def fail(blobs: BlobServiceClient, settings: Settings, name: str, problem: Problem) -> None:
    """Upload a file with an outcome that says what is wrong with it."""
    source = upload(blobs, settings, name, b"%PDF")
    statistics = Statistics(1, 1, 0, 0)
    write(blobs, settings, Outcome(OutcomeStatus.FAILED, source, {}, [], [], [problem], statistics))


def write(blobs: BlobServiceClient, settings: Settings, outcome: Outcome) -> None:
    """Write an outcome as the app does."""
    blob = blobs.get_blob_client(settings.results_container, result_name(outcome.source.name))
    blob.upload_blob(encode(outcome), overwrite=True, metadata=metadata(outcome.status, outcome.source))
