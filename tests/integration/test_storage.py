"""Uploads, outcomes, messages and listings, on a real Azurite."""

import base64
import gzip
import os
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from azure.storage.blob import BlobServiceClient, ContentSettings
from azure.storage.queue import QueueServiceClient

from local.watch import upload
from shared.content import Content
from shared.message import FileMessage, decode_message
from shared.names import ALWAYS_KEPT, result_name
from shared.settings import Settings
from shared.storage.account import Account
from shared.storage.blobs import Blobs, OutcomeConflictError
from shared.storage.listings import Follower, Listing, order, reordered
from shared.storage.queue import Queue

Pieces = Callable[[], AsyncIterator[bytes]]


@pytest.fixture
def settings(values: dict[str, str], blobs: BlobServiceClient) -> Settings:
    """Settings with an input container, and neither results container nor queue."""
    settings = Settings.from_environ(values)
    blobs.create_container(settings.input_container)
    return settings


@pytest.fixture
async def account(settings: Settings) -> AsyncIterator[Account]:
    """The app's clients of the storage account."""
    account = Account(settings.storage, settings.submit_timeout_seconds)
    yield account
    await account.aclose()


@pytest.fixture
def storage(account: Account, settings: Settings) -> Blobs:
    """The app's storage of uploads and outcomes."""
    return Blobs(account, settings)


@pytest.fixture
def queue(account: Account, settings: Settings) -> Queue:
    """The app's queue."""
    return Queue(account, settings)


def in_pieces(body: bytes, length: int = 70_000) -> Pieces:
    """Return what yields a body piece by piece."""

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), length):
            yield body[start : start + length]

    return pieces


@pytest.mark.parametrize("name", ["a/ü #1%.txt", "a\\b\u2028🍷.txt", "n" * 1024])
async def test_an_upload_is_read_with_its_version(name: str, storage: Blobs, blobs: BlobServiceClient) -> None:
    """Bytes, etag, time and length come from one and the same read."""
    answer = blobs.get_blob_client(storage.inputs, name).upload_blob(b"text")
    upload = await storage.open_upload(name)
    assert upload is not None
    assert await upload.read() == b"text"
    source = upload.source
    assert (source.container, source.name, source.length) == (storage.inputs, name, 4)
    assert f'"{source.etag}"' == answer["etag"]
    assert source.last_modified == answer["last_modified"]
    assert await storage.newest(name) == source


async def test_a_replaced_or_deleted_version_is_not_read(storage: Blobs, blobs: BlobServiceClient) -> None:
    """Given an etag, only that version is read."""
    blob = blobs.get_blob_client(storage.inputs, "a.txt")
    old = str(blob.upload_blob(b"old")["etag"]).strip('"')
    new = str(blob.upload_blob(b"new", overwrite=True)["etag"]).strip('"')
    assert await storage.open_upload("a.txt", old) is None
    current = await storage.open_upload("a.txt", new)
    assert current is not None
    assert await current.read() == b"new"
    blob.delete_blob()
    assert await storage.open_upload("a.txt", new) is None
    assert await storage.open_upload("a.txt") is None
    assert await storage.newest("a.txt") is None


async def test_an_outcome_replaces_the_one_that_was_seen(storage: Blobs, blobs: BlobServiceClient) -> None:
    """The results container is created when it is missing; only a caller that knows the present one may replace it."""
    name = "a/b.txt"
    assert await storage.present_outcome(name) is None
    first = {"source_etag": "1", "source_last_modified": "2026-01-02T03:04:05+00:00", "digest": "ab"}
    await storage.write_outcome(name, b"{}", first, None)
    present = await storage.present_outcome(name)
    assert present is not None
    assert (present.source_etag, present.digest) == ("1", "ab")
    assert present.source_last_modified == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert b"".join([piece async for piece in storage.read_outcome(name, present.etag)]) == b"{}"
    with pytest.raises(OutcomeConflictError):
        await storage.write_outcome(name, b"[0]", {"source_etag": "2"}, None)
    await storage.write_outcome(name, b"[1]", {"status": "succeeded", "source_etag": "2"}, present.etag)
    for body in (b"[2]", in_pieces(b"[3]" * 1_000_000)):
        with pytest.raises(OutcomeConflictError):
            await storage.write_outcome(name, body, {"source_etag": "3"}, present.etag)
    with pytest.raises(OutcomeConflictError):
        assert [piece async for piece in storage.read_outcome(name, present.etag)] == []
    download = blobs.get_blob_client(storage.results, f"{name}.json").download_blob()
    assert download.readall() == b"[1]"
    assert download.properties.metadata == {"status": "succeeded", "source_etag": "2"}
    assert download.properties.content_settings.content_type == "application/json; charset=utf-8"


@pytest.mark.parametrize(
    "metadata", [{}, {"source_last_modified": "yesterday"}, {"source_last_modified": "2026-01-02"}]
)
async def test_an_outcome_that_is_not_the_apps_is_of_no_version(
    metadata: dict[str, str], storage: Blobs, blobs: BlobServiceClient
) -> None:
    """Somebody has put it there: it is replaced like one of another version."""
    blobs.create_container(storage.results)
    blobs.get_blob_client(storage.results, "a.txt.json").upload_blob(b"mine", metadata=metadata)
    present = await storage.present_outcome("a.txt")
    assert present is not None
    assert (present.source_etag, present.source_last_modified, present.digest) == ("", None, "")


@pytest.mark.parametrize("size", [1, 10, 1024 * 1024, 2_500_000])
async def test_outcomes_of_any_size_are_written_whole_or_in_pieces(
    size: int, storage: Blobs, blobs: BlobServiceClient
) -> None:
    """A blob appears once all of it has come."""
    body = b"0123456789" * (size // 10) + b"x" * (size % 10)
    # The container does not exist yet: the writing has to begin again.
    await storage.write_outcome("pieces", in_pieces(body), {"status": "failed"}, None)
    await storage.write_outcome("whole", body, {"status": "succeeded"}, None)
    for name, status in (("whole", "succeeded"), ("pieces", "failed")):
        download = blobs.get_blob_client(storage.results, f"{name}.json").download_blob()
        assert download.readall() == body
        assert download.properties.metadata == {"status": status}
        assert download.properties.content_settings.content_type == "application/json; charset=utf-8"


async def test_a_message_waits_and_never_expires(queue: Queue, queues: QueueServiceClient, settings: Settings) -> None:
    """The queue is created when it is missing; a delayed message is there but not visible, in base64."""
    assert await queue.peek() is None
    await queue.send(FileMessage(file="later ü"), 600)
    assert await queue.peek() is None
    await queue.send(FileMessage(file="now ü"))
    assert await queue.length() == 2
    client = queues.get_queue_client(settings.queue)
    peeked = await queue.peek()
    (visible,) = client.receive_messages(visibility_timeout=30)
    assert base64.b64decode(visible.content) == peeked
    assert decode_message(peeked or b"") == FileMessage(file="now ü")
    assert visible.expires_on is not None
    assert visible.expires_on.year > 9000


async def test_a_message_that_is_not_base64_is_no_message(
    queue: Queue, queues: QueueServiceClient, settings: Settings
) -> None:
    """Somebody has put it there by hand; the host moves it to the poison queue."""
    queues.create_queue(settings.queue).send_message("{}")
    assert await queue.peek() is None


NAMES = [
    "",
    "!",
    "-b",
    ".json",
    ".txt",
    ".txt.json",
    "/",
    "/a",
    "~",
    "é",
    "🍷",
    "\r",
    "\n&<",
    "\ufb01",
    "\uffee",
    " b",
    "0",
    "\x7f",
]
"""What may come after a name: by UTF-8 an emoji is after U+FFEE, by UTF-16 it is before."""


@pytest.mark.parametrize("page_size", [1, 3, 5000])
async def test_a_listing_has_every_blob_in_order_from_any_page_on(
    page_size: int, account: Account, blobs: BlobServiceClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With metadata, a prefix cut off, and as many calls as there are pages."""
    monkeypatch.setattr("shared.storage.listings.PAGE_SIZE", page_size)
    container = blobs.get_container_client(settings.input_container)
    names = sorted((f"a{ending}" for ending in NAMES), key=order)
    for name in names:
        container.upload_blob(f"p/{name}", b"1234", metadata={"number": str(names.index(name))})
    container.upload_blob("q", b"")
    client = account.blobs.get_container_client(settings.input_container)
    listing = Listing(client, "p/")
    places: list[tuple[str | None, str]] = []
    async for blob in listing.blobs():
        assert blob.metadata == {"number": str(len(places))}
        assert blob.length == 4
        places.append((listing.page, blob.name))
    assert [name for _, name in places] == names
    assert listing.calls == -(-len(names) // page_size)
    for page in {page for page, _ in places}:
        rest = [blob.name async for blob in Listing(client, "p/", page).blobs()]
        assert rest == [name for place, name in places[[place for place, _ in places].index(page) :]]


async def test_a_container_that_is_missing_has_no_blobs(account: Account, settings: Settings) -> None:
    """Nobody has uploaded anything, or there is no outcome yet."""
    listing = Listing(account.blobs.get_container_client(settings.results_container))
    assert [blob async for blob in listing.blobs()] == []


async def test_files_and_outcomes_are_walked_together(
    account: Account, blobs: BlobServiceClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one pass, page by page, although the ending of an outcome's name puts it elsewhere in the order."""
    monkeypatch.setattr("shared.storage.listings.PAGE_SIZE", 4)
    inputs = blobs.get_container_client(settings.input_container)
    results = blobs.create_container(settings.results_container)
    long = ("a" * 1015, "a" * 990 + "é" * 25, "a" * 990)
    names = list(dict.fromkeys(f"{begin}{ending}" for begin in ("a", *long, "b/a", "a.json") for ending in NAMES))
    for number, name in enumerate(names):
        inputs.upload_blob(name, b"")
        if number % 3:
            results.upload_blob(result_name(name), b"", metadata={"number": str(number)})
    results.upload_blob("0.json", b"")
    listed: Any = Listing(account.blobs.get_container_client(settings.input_container)).blobs()
    outcomes = Follower(Listing(account.blobs.get_container_client(settings.results_container)).blobs())
    found: dict[str, str | None] = {}
    alone: list[str] = []
    async for key, file in reordered(listed, result_name, ALWAYS_KEPT):
        passed, outcome = await outcomes.up_to(key)
        alone += [blob.name for blob in passed]
        found[file.name] = outcome.metadata["number"] if outcome else None
    alone += [blob.name for blob in (await outcomes.up_to(None))[0]]
    assert found == {name: str(number) if number % 3 else None for number, name in enumerate(names)}
    assert alone == ["0.json"]


@pytest.mark.parametrize("length", [100, 3_000_000], ids=["one call", "several calls"])
async def test_a_compressed_upload_is_read_as_it_is_stored(
    length: int, storage: Blobs, blobs: BlobServiceClient
) -> None:
    """The SDK would decompress each range alone; the length stays that of the blob."""
    packed = gzip.compress(os.urandom(length))
    settings = ContentSettings(content_type="text/plain", content_encoding="gzip")
    blobs.get_blob_client(storage.inputs, "a.txt").upload_blob(packed, content_settings=settings)
    opened = await storage.open_upload("a.txt")
    assert opened is not None
    found = await opened.read()
    assert (found, opened.source.length) == (packed, len(packed))
    assert isinstance(found, Content)
    assert found.compression == "gzip"


def test_a_file_that_cannot_be_read_is_left_out_of_an_upload(
    settings: Settings, blobs: BlobServiceClient, tmp_path: Path
) -> None:
    """For instance, it was deleted since its folder was listed; the others are uploaded."""
    (tmp_path / "b.txt").write_text("text")
    skipped: dict[str, list[Path]] = {}
    files = {"a.txt": tmp_path / "a.txt", "b.txt": tmp_path / "b.txt"}
    assert [file.name for file in upload(blobs, settings, files, skipped)] == ["b.txt"]
    assert skipped == {"they cannot be read (No such file or directory)": [tmp_path / "a.txt"]}
