"""The storage account as the app uses it, on a real Azurite."""

import base64
from collections.abc import AsyncIterator

import pytest
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient

from shared.settings import Settings
from shared.storage import Storage


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


async def test_an_outcome_replaces_the_one_before(storage: Storage, blobs: BlobServiceClient) -> None:
    """The results container is created when it is missing; a second write wins."""
    await storage.write_outcome("a/b.txt.json", b"{}", {"status": "failed", "source_etag": "1"})
    await storage.write_outcome("a/b.txt.json", b"[1]", {"status": "succeeded", "source_etag": "2"})
    download = blobs.get_blob_client(storage.settings.results_container, "a/b.txt.json").download_blob()
    assert download.readall() == b"[1]"
    assert download.properties.metadata == {"status": "succeeded", "source_etag": "2"}
    assert download.properties.content_settings.content_type == "application/json; charset=utf-8"


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
    await storage.write_outcome("pieces.json", pieces, {"status": "failed"})
    await storage.write_outcome("whole.json", body, {"status": "succeeded"})
    for name, status in (("whole.json", "succeeded"), ("pieces.json", "failed")):
        download = blobs.get_blob_client(storage.settings.results_container, name).download_blob()
        assert download.readall() == body
        assert download.properties.metadata == {"status": status}
        assert download.properties.content_settings.content_type == "application/json; charset=utf-8"


async def test_an_outcome_is_known_by_its_version(storage: Storage) -> None:
    """Whether a version has ended, its outcome's metadata tells."""
    assert not await storage.has_outcome("a.json", "0x1")
    await storage.write_outcome("a.json", b"{}", {"status": "failed", "source_etag": "0x1"})
    assert await storage.has_outcome("a.json", "0x1")
    assert not await storage.has_outcome("a.json", "0x2")
