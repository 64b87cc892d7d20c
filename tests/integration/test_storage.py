"""The storage account as the app uses it, on a real Azurite."""

import base64
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient

from shared.settings import Settings
from shared.storage import OutcomeConflictError, Storage


@pytest.fixture
async def storage(values: dict[str, str], blobs: BlobServiceClient) -> AsyncIterator[Storage]:
    """The app's storage with an input container, and neither results container nor queue."""
    settings = Settings.from_environ(values)
    blobs.create_container(settings.input_container)
    storage = Storage(settings)
    yield storage
    await storage.aclose()


async def test_an_upload_is_read_with_its_version(storage: Storage, blobs: BlobServiceClient) -> None:
    """Bytes, etag, time and length come from one and the same read."""
    answer = blobs.get_blob_client(storage.settings.input_container, "a/ü #1%.txt").upload_blob(b"text")
    upload = await storage.read_upload("a/ü #1%.txt")
    assert upload is not None
    assert upload.data == b"text"
    assert upload.source.name == "a/ü #1%.txt"
    assert f'"{upload.source.etag}"' == answer["etag"]
    assert upload.source.last_modified == answer["last_modified"]
    assert upload.source.length == 4


async def test_a_replaced_or_deleted_version_is_not_read(storage: Storage, blobs: BlobServiceClient) -> None:
    """Given an etag, only that version is read."""
    blob = blobs.get_blob_client(storage.settings.input_container, "a.txt")
    old = str(blob.upload_blob(b"old")["etag"]).strip('"')
    new = str(blob.upload_blob(b"new", overwrite=True)["etag"]).strip('"')
    assert await storage.read_upload("a.txt", old) is None
    current = await storage.read_upload("a.txt", new)
    assert current is not None
    assert current.data == b"new"
    blob.delete_blob()
    assert await storage.read_upload("a.txt", new) is None
    assert await storage.read_upload("a.txt") is None


async def test_an_outcome_replaces_the_one_that_was_seen(storage: Storage, blobs: BlobServiceClient) -> None:
    """The results container is created when it is missing; only who knows what is there may replace it."""
    name = "a/b.txt.json"
    assert await storage.present_outcome(name) is None
    first = {"status": "failed", "source_etag": "1", "source_last_modified": "2026-01-02T03:04:05+00:00"}
    await storage.write_outcome(name, b"{}", first, None)
    present = await storage.present_outcome(name)
    assert present is not None
    assert (present.source_etag, present.source_last_modified) == ("1", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    with pytest.raises(OutcomeConflictError):
        await storage.write_outcome(name, b"[0]", {"source_etag": "2"}, None)
    await storage.write_outcome(name, b"[1]", {"status": "succeeded", "source_etag": "2"}, present)
    with pytest.raises(OutcomeConflictError):
        await storage.write_outcome(name, b"[2]", {"source_etag": "3"}, present)
    download = blobs.get_blob_client(storage.settings.results_container, name).download_blob()
    assert download.readall() == b"[1]"
    assert download.properties.metadata == {"status": "succeeded", "source_etag": "2"}
    assert download.properties.content_settings.content_type == "application/json; charset=utf-8"


async def test_a_message_can_be_changed_until_somebody_receives_it(
    storage: Storage, queues: QueueServiceClient
) -> None:
    """Its text and its time; afterwards it is another's, and neither changed nor deleted."""
    sent = await storage.send("first", 600)
    changed = await storage.change(sent, "second", 0)
    assert changed is not None
    queue = queues.get_queue_client(storage.settings.queue)
    (received,) = queue.receive_messages(visibility_timeout=30)
    assert base64.b64decode(received.content).decode() == "second"
    assert await storage.change(changed, "third", 0) is None
    await storage.take_back(changed)
    assert queue.get_queue_properties().approximate_message_count == 1
    queue.delete_message(received)
    assert await storage.change(changed, "third", 0) is None
    taken = await storage.send("fourth", 0)
    await storage.take_back(taken)
    await storage.take_back(taken)
    assert queue.get_queue_properties().approximate_message_count == 0


async def test_a_message_waits_and_never_expires(storage: Storage, queues: QueueServiceClient) -> None:
    """The queue is created when it is missing; a delayed message is there but not visible, in base64."""
    await storage.send('{"later": "ü"}', 600)
    await storage.send('{"now": "ü"}', 0)
    queue = queues.get_queue_client(storage.settings.queue)
    assert queue.get_queue_properties().approximate_message_count == 2
    (visible,) = queue.receive_messages(visibility_timeout=30)
    assert base64.b64decode(visible.content).decode() == '{"now": "ü"}'
    assert visible.expires_on is not None
    assert visible.expires_on.year > 9000


@pytest.mark.parametrize("size", [1, 10, 1024 * 1024, 2_500_000])
async def test_outcomes_of_any_size_are_written_whole_or_in_pieces(
    size: int, storage: Storage, blobs: BlobServiceClient
) -> None:
    """A blob appears once all of it has come."""
    body = b"0123456789" * (size // 10) + b"x" * (size % 10)

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, size, 70_000):
            yield body[start : start + 70_000]

    # The container does not exist yet: the writing has to begin again.
    await storage.write_outcome("pieces.json", pieces, {"status": "failed"}, None)
    await storage.write_outcome("whole.json", body, {"status": "succeeded"}, None)
    for name, status in (("whole.json", "succeeded"), ("pieces.json", "failed")):
        download = blobs.get_blob_client(storage.settings.results_container, name).download_blob()
        assert download.readall() == body
        assert download.properties.metadata == {"status": status}
        assert download.properties.content_settings.content_type == "application/json; charset=utf-8"


@pytest.mark.parametrize(("seen", "read_again"), [(b"new", False), (b"old", True)])
async def test_bytes_that_were_seen_are_read_again_only_if_they_are_old(
    storage: Storage, blobs: BlobServiceClient, *, seen: bytes, read_again: bool
) -> None:
    """The service's MD5 says whether the host's bytes are those of the version that is there now."""
    blob = blobs.get_blob_client(storage.settings.input_container, "a.txt")
    etag = str(blob.upload_blob(b"new")["etag"]).strip('"')
    upload = await storage.read_upload("a.txt", seen=seen)
    assert upload is not None
    assert (upload.data, upload.source.etag) == (b"new", etag)
    assert (upload.data is seen) is not read_again
    blob.delete_blob()
    assert await storage.read_upload("a.txt", seen=seen) is None
