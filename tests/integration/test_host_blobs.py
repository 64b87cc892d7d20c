"""The host emulator finds blobs, and hands them to functions, as the Storage Blobs extension was recorded to do."""

import asyncio
import base64
import itertools
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from azure.storage.blob import ContentSettings
from azure.storage.blob.aio import BlobServiceClient, ContainerClient
from azure.storage.queue import QueueMessage, TextBase64DecodePolicy
from azure.storage.queue.aio import QueueClient, QueueServiceClient

from local.host.blobs import HOSTS_CONTAINER, POISON_QUEUE, BlobListener, BlobTrigger, parse_path
from local.host.configuration import BlobOptions, HostError
from local.host.functions import Function, InvocationError
from local.host.protocol import FunctionDescription, TypedData
from local.storage_emulator import Azurite
from tests.hostile import LEADING_OUT, put_unfolded, sas_of
from tests.unit.test_trigger_data import RECORDED
from tests.waiting import PATIENCE_SECONDS

numbers = itertools.count()


class Recorder:
    """Runs no functions, but remembers what they were called with."""

    def __init__(self) -> None:
        self.calls: list[tuple[TypedData, dict[str, TypedData]]] = []
        self.rejected: list[str] = []
        self.reasons: list[str] = []
        self.is_failing = False

    async def invoke(self, function: Function, data: TypedData, metadata: dict[str, TypedData], reason: str) -> None:
        """Be called for a blob."""
        self.calls.append((data, metadata))
        if self.is_failing:
            raise InvocationError(f"{function.name}: {reason}")
        self.reasons.append(reason)

    def reject(self, function: Function, reason: str, why: str) -> InvocationError:
        """Be told of a blob that cannot be read."""
        self.rejected.append(why)
        return InvocationError(f"{function.name}: {reason}")

    @property
    def names(self) -> list[str]:
        """The paths of the blobs."""
        return [metadata["BlobTrigger"].text for _, metadata in self.calls]


class Rig:
    """A blob listener of one function, on a container and a host ID of its own."""

    def __init__(self, azurite: Azurite) -> None:
        self.blobs = BlobServiceClient.from_connection_string(azurite.connection_string)
        self.queues = QueueServiceClient.from_connection_string(azurite.connection_string)
        self.number = next(numbers)
        self.recorder = Recorder()
        self.container: ContainerClient = self.blobs.get_container_client(f"scanned-{self.number}")
        name = f"azure-webjobs-blobtrigger-blobs-{self.number}"
        self.internal: QueueClient = self.queues.get_queue_client(name, message_decode_policy=TextBase64DecodePolicy())

    def listener(self, *, is_lossless: bool = True, by_events: bool = False) -> BlobListener:
        """Return a listener that has seen nothing yet."""
        function = Function(FunctionDescription("submit", {"type": "blobTrigger", "name": "blob"}))
        return BlobListener(
            self.blobs,
            self.queues,
            [BlobTrigger(function, *parse_path(f"{self.container.container_name}/{{name}}"), by_events)],
            options=BlobOptions(),
            workers=self.recorder,
            host_id=f"blobs-{self.number}",
            lease_seconds=600,
            is_lossless=is_lossless,
        )

    async def etag(self, name: str, data: bytes = b"text") -> str:
        """Upload a blob; return its ETag, with its quotes."""
        await self.container.upload_blob(name, data, overwrite=True)
        return str((await self.container.get_blob_client(name).get_blob_properties()).etag)

    async def notices(self) -> list[str]:
        """Return the texts of the messages in the internal queue."""
        return [str(found.content) for found in await self.internal.peek_messages(max_messages=32)]

    async def names(self) -> list[str]:
        """Return the names of the blobs that the internal queue tells of."""
        return sorted(json.loads(text)["BlobName"] for text in await self.notices())

    def notice(
        self, name: str, etag: str, container: str | None = None, function: str = "Host.Functions.submit"
    ) -> bytes:
        """Return a message of the internal queue."""
        body = {"FunctionId": function, "ContainerName": container or self.container.container_name}
        return json.dumps({**body, "BlobName": name, "ETag": etag}).encode()


@pytest.fixture
async def rig(azurite: Azurite) -> AsyncIterator[Rig]:
    """A blob listener with what it needs."""
    made = Rig(azurite)
    async with made.blobs, made.queues:
        await made.container.create_container()
        await made.internal.create_queue()
        hosts = made.blobs.get_container_client(HOSTS_CONTAINER)
        if not await hosts.exists():
            await hosts.create_container()
        yield made


async def scan(listener: BlobListener) -> None:
    """Let a listener list its container once."""
    await listener.scan(listener.triggers[0])


async def test_a_name_that_leads_out_holds_up_no_other_blob(
    rig: Rig, azurite: Azurite, caplog: pytest.LogCaptureFixture
) -> None:
    """No receipt can be written for it; one line says so, however many scans there are."""
    url, sas = rig.container.url, sas_of(azurite.connection_string)
    stored = [name for name in LEADING_OUT if put_unfolded(url, sas, name, b"text")]
    assert LEADING_OUT[0] in stored
    await rig.etag("z.txt")
    listener = rig.listener()
    for _ in range(2):
        await scan(listener)
    assert await rig.names() == ["z.txt"]
    listed = [blob.name async for blob in rig.container.list_blobs() if blob.name != "z.txt"]
    for name in listed:
        await listener.execute(rig.notice(name, '"0x1"'), QueueMessage())
    assert not rig.recorder.calls
    assert not rig.recorder.rejected
    assert len([record for record in caplog.records if "is ignored" in record.getMessage()]) == len(listed)


async def two_in_a_second(rig: Rig, listener: BlobListener) -> str:
    """Upload a blob, let it be found, and upload another one within the same second; return the name of that."""
    while True:
        number = next(numbers)
        names = (f"{number}-first.txt", f"{number}-second.txt")
        times = []
        for name in names:
            await rig.etag(name)
            times.append((await rig.container.get_blob_client(name).get_blob_properties()).last_modified)
            if name == names[0]:
                await scan(listener)
        if times[0] == times[1]:
            return names[1]
        await rig.container.delete_blob(names[1])


async def test_a_lossless_scan_finds_a_blob_of_the_same_second(rig: Rig) -> None:
    """And each version once."""
    listener = rig.listener()
    name = await two_in_a_second(rig, listener)
    for _ in range(2):
        await scan(listener)
    assert (await rig.names()).count(name) == 1


async def test_the_scan_as_recorded_misses_a_blob_of_the_same_second(rig: Rig) -> None:
    """Until the host starts again, or somebody writes it again."""
    listener = rig.listener(is_lossless=False)
    name = await two_in_a_second(rig, listener)
    for _ in range(2):
        await scan(listener)
    assert name not in await rig.names()
    await scan(rig.listener(is_lossless=False))
    assert (await rig.names()).count(name) == 1


async def test_some_names_never_fire(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """One that ends in a slash, and one whose receipt would have a name that is too long."""
    listener = rig.listener()
    etag = await rig.etag("usual.txt")
    receipt = f"blobreceipts/blobs-{rig.number}/Host.Functions.submit/{etag}/{rig.container.container_name}/"
    longest, too_long = ("n" * (1024 - len(receipt) + more) for more in (0, 1))
    for name in ("folder/", longest, too_long):
        await rig.etag(name)
    for _ in range(2):
        await scan(listener)
    assert await rig.names() == sorted(["usual.txt", longest])
    assert caplog.text.count("its receipt's name would have 1025 characters") == 1
    by_event = rig.listener(by_events=True)
    await by_event.execute(rig.notice("folder/", ""), QueueMessage())
    assert rig.recorder.calls == []


async def test_a_notice_and_its_receipt_are_as_recorded(rig: Rig) -> None:
    """Indented by two; the ETag has its quotes in both."""
    etag = await rig.etag("café/a b.txt")
    await scan(rig.listener())
    assert etag.startswith('"')
    assert await rig.notices() == [
        f"""{{
  "Type": "BlobTrigger",
  "FunctionId": "Host.Functions.submit",
  "BlobType": "BlockBlob",
  "ContainerName": "{rig.container.container_name}",
  "BlobName": "café/a b.txt",
  "ETag": "{etag.replace('"', chr(92) + '"')}"
}}"""
    ]
    path = f"blobreceipts/blobs-{rig.number}/Host.Functions.submit/{etag}/{rig.container.container_name}/café/a b.txt"
    receipt = await rig.blobs.get_blob_client(HOSTS_CONTAINER, path).get_blob_properties()
    assert receipt.metadata == {}


@pytest.mark.parametrize("recorded", RECORDED["blobs"], ids=lambda recorded: recorded["name"]["string"])
async def test_a_blob_arrives_with_the_metadata_that_was_recorded(recorded: dict[str, Any], rig: Rig) -> None:
    """All of its properties, but for its times and its container."""
    expected = json.loads(recorded["Properties"]["json"])
    name, content = recorded["name"]["string"], "hëllo".encode() if expected["ContentLength"] else b""
    await rig.container.upload_blob(
        name,
        content,
        metadata=json.loads(recorded["Metadata"]["json"]),
        content_settings=ContentSettings(content_type=expected["ContentType"]),
    )
    properties = await rig.container.get_blob_client(name).get_blob_properties()
    await rig.listener().execute(rig.notice(name, str(properties.etag)), QueueMessage())
    [(data, metadata)] = rig.recorder.calls
    assert data == TypedData("bytes", content=content)
    assert set(metadata) == set(recorded)
    assert {name: {found.kind for found in [data]} for name, data in metadata.items()} == {
        name: set(value) for name, value in recorded.items()
    }
    now = properties.last_modified.isoformat()
    times = dict.fromkeys(("LastModified", "CreatedOn", "AccessTierChangedOn"), now)
    assert list(json.loads(metadata["Properties"].text).items()) == list((expected | times).items())
    assert metadata["Metadata"].text == recorded["Metadata"]["json"]
    assert json.loads(metadata["Uri"].text).startswith(f"{rig.blobs.url}{rig.container.container_name}/")


async def test_of_the_scan_only_the_version_of_the_notice_runs(rig: Rig) -> None:
    """One that was replaced is looked for again; one that was deleted is forgotten."""
    listener = rig.listener()
    old = await rig.etag("replaced.txt")
    new = await rig.etag("replaced.txt", b"newer text")
    await listener.execute(rig.notice("replaced.txt", old), QueueMessage())
    await listener.execute(rig.notice("gone.txt", old), QueueMessage())
    assert rig.recorder.calls == []
    [found] = await rig.notices()
    assert json.loads(found)["ETag"] == new
    await listener.execute(found.encode(), QueueMessage())
    assert rig.recorder.calls[0][0].content == b"newer text"


async def test_a_line_end_in_a_name_forges_no_line_of_the_log(rig: Rig) -> None:
    """The reason of a call, which the log shows, has the name in one line."""
    listener = rig.listener()
    name = "a\nforged line.txt"
    await listener.execute(rig.notice(name, await rig.etag(name)), QueueMessage())
    assert rig.recorder.reasons == [f"New blob detected: {rig.container.container_name}/a\\nforged line.txt"]


async def test_after_an_event_any_version_of_any_container_runs(rig: Rig) -> None:
    """Neither the ETag nor the path of the trigger is looked at."""
    listener = rig.listener(by_events=True)
    await rig.etag("some.txt")
    other = rig.blobs.get_container_client(f"other-{rig.number}")
    await other.create_container()
    await other.upload_blob("result.json", b"{}")
    for container, name in ((None, "some.txt"), (None, "gone.txt"), (other.container_name, "result.json")):
        await listener.execute(rig.notice(name, '""', container), QueueMessage())
    assert rig.recorder.names == [f"{rig.container.container_name}/some.txt", f"other-{rig.number}/result.json"]


async def test_a_notice_for_an_unknown_function_is_dropped(rig: Rig) -> None:
    """Nobody hears of it."""
    await rig.listener().execute(rig.notice("a.txt", "", function="Host.Functions.nobody"), QueueMessage())
    assert rig.recorder.calls == []


@pytest.mark.parametrize(
    "body",
    [b"", b"no JSON", b"\xff\xfe", b"[]", b"{}", b'{"FunctionId": null, "ContainerName": "a", "BlobName": "b"}'],
)
async def test_an_internal_message_that_is_none_ends_the_host(body: bytes, rig: Rig) -> None:
    """And again whenever it is received."""
    with pytest.raises(HostError, match=f"azure-webjobs-blobtrigger-blobs-{rig.number}"):
        await rig.listener().execute(body, QueueMessage())


async def test_an_internal_message_that_is_not_base64_ends_the_host(rig: Rig) -> None:
    """Of a function's own queue, such a message goes to poison."""
    await rig.internal.send_message("not base64!")
    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await rig.listener().run()
    assert caught.group_contains(HostError, match="not base64")


async def test_a_blob_on_which_the_function_fails_becomes_poison(rig: Rig) -> None:
    """After five tries at once; the notice is as it was."""
    rig.recorder.is_failing = True
    await rig.etag("bad.txt")
    listener = rig.listener()
    poison = rig.queues.get_queue_client(POISON_QUEUE)
    await scan(listener)
    [notice] = await rig.notices()
    await run_until(listener, lambda: len(rig.recorder.calls) >= 5)
    assert len(rig.recorder.calls) == 5
    assert await rig.notices() == []
    text = base64.b64encode(notice.encode()).decode()
    moved = [found async for found in poison.receive_messages(visibility_timeout=1) if found.content == text]
    assert len(moved) == 1
    await poison.delete_message(moved[0])


async def run_until(listener: BlobListener, condition: Callable[[], object]) -> None:
    """Run a listener until something holds, and then stop it."""
    async with asyncio.timeout(PATIENCE_SECONDS), asyncio.TaskGroup() as group:
        group.create_task(listener.run())
        while not condition():
            await asyncio.sleep(0.02)
        listener.stop()
