"""The proxies before storage and the service: what they pass on is what came, and what they answer is what was said."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

import httpx
import pytest
from azure.core import MatchConditions
from azure.core.exceptions import AzureError, ResourceExistsError
from azure.storage.blob import BlobBlock, BlobServiceClient
from azure.storage.blob.aio import BlobServiceClient as AsyncBlobServiceClient
from azure.storage.blob.aio import ContainerClient
from azure.storage.queue.aio import QueueServiceClient as AsyncQueueServiceClient

from local.storage_emulator import Azurite
from shared.outcome import OutcomeStatus
from tests.azure_answers import ANSWERS, BY_NAME, AzureAnswer
from tests.integration.conftest import ProxiedWay
from tests.ports import free_port
from tests.proxy import (
    Answer,
    Call,
    Proxies,
    Service,
    no_pauses,
    passing,
    ports_of,
    proxies,
    proxies_in_thread,
    through,
)

NAMES = [
    "a.txt",
    "folder/Café Lumière.txt",
    "100 % & more?#[x]+y=z;'\".txt",
    "%20 as text",
    "a//b",
    "日本語/🍣.txt",
    "~tilde!*()",
]


@pytest.mark.parametrize("name", NAMES)
async def test_signed_calls_arrive_as_they_were_sent(name: str, azurite: Azurite, blobs: BlobServiceClient) -> None:
    """Storage checks each signature, which covers path, query and headers: what was changed on the way is refused."""
    async with (
        proxies(ports_of(azurite.connection_string)) as between,
        AsyncBlobServiceClient.from_connection_string(through(azurite.connection_string, between.ports)) as client,
    ):
        container = client.get_container_client("proxied")
        try:
            await container.create_container()
        except ResourceExistsError:
            assert between.calls[-1].operation == "Create Container"
        blob = container.get_blob_client(name)
        await blob.upload_blob(b"text", overwrite=True, metadata={"name": "value with spaces"})
        assert (between.calls[-1].operation, between.calls[-1].blob) == ("Put Blob", name)
        assert await (await blob.download_blob()).readall() == b"text"
        properties = await blob.get_blob_properties()
        assert between.calls[-1].operation == "Get Blob Properties"
        assert properties.size == 4, "of a HEAD, the length comes without a body"
        assert [item.name async for item in container.list_blobs(name_starts_with=name[:1])] == [name]
        await blob.delete_blob()
        assert not blobs.get_blob_client("proxied", name).exists()


def test_large_bodies_pass_in_both_directions(azurite: Azurite) -> None:
    """In blocks and whole; the proxies in a thread serve clients that hold theirs."""
    data = bytes(range(256)) * 20_000
    operations = []

    def note(call: Call) -> None:
        operations.append(call.operation)

    with proxies_in_thread(ports_of(azurite.connection_string), note) as between:
        connection = through(azurite.connection_string, between.ports)
        options: dict[str, Any] = {"max_single_put_size": 1024 * 1024, "max_block_size": 1024 * 1024}
        with BlobServiceClient.from_connection_string(connection, **options) as client:
            container = client.get_container_client("proxied-large")
            container.create_container()
            blob = container.get_blob_client("large")
            blob.upload_blob(data)
            assert blob.download_blob().readall() == data
            container.delete_container()
    assert operations.count("Put Block") == 5
    assert "Put Block List" in operations


async def test_chunks_pass_as_they_are(ner_emulator: str, sample_values: dict[str, str]) -> None:
    """Of a body whose length nobody knows before."""

    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b'{"displayName": "x",', b' "analysisInput": {"documents": []}', b"}"):
            yield piece

    async with (
        proxies(ports_of("BlobEndpoint=http://127.0.0.1:1;QueueEndpoint=http://127.0.0.1:1", ner_emulator)) as between,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{between.ports[Service.NER]}") as client,
    ):
        answer = await client.post(
            "/language/analyze-text/jobs?api-version=2023-04-01",
            content=pieces(),
            headers={"Ocp-Apim-Subscription-Key": sample_values["NER_KEY"]},
        )
        assert answer.status_code == 400
        assert "`tasks`" in answer.text, "the service has read the body"
        assert between.calls[-1].headers["transfer-encoding"] == "chunked"


def sdk_calls(blobs: AsyncBlobServiceClient, queues: AsyncQueueServiceClient) -> list[Callable[[], Awaitable[object]]]:
    """Return a call of each operation that the app uses, with each condition."""
    blob = blobs.get_blob_client("proxied-answers", "blob")
    queue = queues.get_queue_client("proxied-answers")
    version: dict[str, Any] = {"etag": '"0x1"', "match_condition": MatchConditions.IfNotModified}

    async def download() -> bytes:
        return await (await blob.download_blob()).readall()

    return [
        download,
        blob.get_blob_properties,
        partial(blob.upload_blob, b"new"),
        partial(blob.upload_blob, b"new", overwrite=True, **version),
        partial(blob.stage_block, "AAAA", b"new"),
        partial(blob.commit_block_list, [BlobBlock("AAAA")], **version),
        partial(blob.append_block, b"new", appendpos_condition=0),
        partial(blob.delete_blob, **version),
        blobs.get_container_client("proxied-answers").create_container,
        queue.create_queue,
        queue.get_queue_properties,
        partial(queue.send_message, "text"),
        partial(queue.update_message, "id", "receipt"),
        partial(queue.delete_message, "id", "receipt"),
    ]


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.name)
async def test_each_answer_is_what_the_sdk_reports(answer: AzureAnswer, azurite: Azurite) -> None:
    """Status and code of all operations that can get it, those of a HEAD by its headers alone."""
    reported = []
    async with (
        proxies(ports_of(azurite.connection_string), hurry=True) as between,
        AsyncBlobServiceClient.from_connection_string(
            connection := through(azurite.connection_string, between.ports)
        ) as blobs,
        AsyncQueueServiceClient.from_connection_string(connection) as queues,
    ):
        with suppress(ResourceExistsError):
            await blobs.create_container("proxied-answers")
        await blobs.get_blob_client("proxied-answers", "blob").upload_blob(b"text", overwrite=True)
        between.rule = lambda call: answer.to(call) if answer.fits(call) else None
        with no_pauses():
            for call in sdk_calls(blobs, queues):
                before = len(between.calls)
                error = await caught(call())
                if answer.fits(between.calls[before]):
                    reported.append((getattr(error, "status_code", None), getattr(error, "error_code", None) or ""))
    assert reported
    assert set(reported) == {(answer.status, answer.code)}


async def caught(call: Awaitable[object]) -> AzureError | None:
    """Return what the SDK raises."""
    try:
        await call
    except AzureError as error:
        return error
    return None


@pytest.fixture
async def between(azurite: Azurite) -> AsyncIterator[Proxies]:
    """Proxies before storage."""
    async with proxies(ports_of(azurite.connection_string)) as running:
        yield running


@pytest.fixture
async def proxied(azurite: Azurite, between: Proxies) -> AsyncIterator[ContainerClient]:
    """A container that is reached through the proxies, which repeats nothing."""
    connection = through(azurite.connection_string, between.ports)
    async with AsyncBlobServiceClient.from_connection_string(connection, retry_total=0) as client:
        container = client.get_container_client("proxied")
        with suppress(ResourceExistsError):
            await container.create_container()
        yield container


async def test_a_refused_call_is_not_carried_out_and_a_lost_one_is(
    between: Proxies, proxied: ContainerClient, blobs: BlobServiceClient
) -> None:
    """So that tests may rely on what is there afterwards."""
    for name, row, is_there in (
        ("refused", "reset", False),
        ("lost", "answer lost", True),
        ("late", "timed out, but done", True),
    ):
        between.rule = BY_NAME[row].to
        with pytest.raises(AzureError):
            await proxied.upload_blob(name, b"text", overwrite=True)
        assert blobs.get_blob_client("proxied", name).exists() is is_there


async def test_an_answer_that_never_comes_holds_one_call_alone(between: Proxies, proxied: ContainerClient) -> None:
    """The caller gives up; others go on meanwhile."""
    between.rule = lambda call: Answer(never=True) if call.blob == "silent" else None
    with pytest.raises(AzureError):
        await proxied.upload_blob("silent", b"text", overwrite=True, read_timeout=0.2)
    await proxied.upload_blob("quick", b"text", overwrite=True)
    silent = asyncio.ensure_future(proxied.upload_blob("silent", b"text", overwrite=True))
    await proxied.upload_blob("quick", b"text", overwrite=True)
    assert not silent.done()
    silent.cancel()
    with pytest.raises(asyncio.CancelledError):
        await silent


async def test_half_an_answer_ends_before_its_length(between: Proxies, proxied: ContainerClient) -> None:
    """As where the connection breaks down in the middle."""
    await proxied.upload_blob("whole", b"text" * 1000, overwrite=True)
    port = between.ports[Service.BLOB]
    between.rule = lambda _call: Answer(cut=True)
    async with httpx.AsyncClient() as client:
        with pytest.raises(httpx.RemoteProtocolError, match=r"without sending complete message body|disconnected"):
            await client.get(f"http://127.0.0.1:{port}/devstoreaccount1/proxied/whole")


async def test_a_server_that_went_away_is_a_reset_and_one_that_came_back_answers(
    between: Proxies, proxied: ContainerClient
) -> None:
    """The connections of the app's clients outlive a restart of storage, as those of a load balancer do."""
    there, gone = between.targets[Service.BLOB], free_port()
    await proxied.upload_blob("file", b"text", overwrite=True)
    between.targets = {Service.BLOB: gone}
    for connection in between.connections:
        connection.cancel()
    with pytest.raises(AzureError):
        await proxied.get_blob_client("file").get_blob_properties()
    between.targets = {Service.BLOB: there}
    await proxied.get_blob_client("file").get_blob_properties()


async def test_a_file_goes_its_way_through_the_proxies(
    make_proxied_way: Callable[..., Awaitable[ProxiedWay]],
) -> None:
    """All calls of the app are seen, none of the test's own; a pause of the SDK passes on the test's clock."""
    way = await make_proxied_way()
    way.name = "proxied.txt"
    way.upload()
    begun = way.now()
    passing.set(way.pass_time)
    way.proxies.rule = lambda call: BY_NAME["busy"].to(call) if call.number == 1 else None
    await way.pipeline.submit(way.name)
    assert way.now() > begun
    assert (await way.poll_until_outcome()).status is OutcomeStatus.SUCCEEDED
    assert way.submissions() == 1
    operations = {call.operation for call in way.proxies.calls}
    assert operations >= {"Get Blob", "Put Blob", "Put Message", "Submit Job", "Get Job"}
    assert not operations & {"Get Messages", "Create Queue", "List Blobs"}
    await way.pipeline.aclose()
