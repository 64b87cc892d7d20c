"""The stand-in treats messages and blobs as the Functions host does (Storage extensions 5.x)."""

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Literal

import msgspec
import pytest
from azure.storage.queue import QueueMessage
from azure.storage.queue.aio import QueueServiceClient

from local.host.configuration import QueueOptions
from local.host.functions import Function, InvocationError
from local.host.listening import queue_handler
from local.host.protocol import FunctionDescription, TypedData
from local.host.queues import QueueListener, poison_queue_for
from local.storage_emulator import Azurite
from tests.waiting import PATIENCE_SECONDS

OPTIONS = QueueOptions(batch_size=4, new_batch_threshold=0, max_polling_interval="00:00:01", max_dequeue_count=3)


def encoded(text: str) -> str:
    """Return a text as the host stores it in a queue."""
    return base64.b64encode(text.encode()).decode()


class Recorder:
    """A function that fails for texts that say so, and remembers its calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []
        self.rejected: list[str] = []
        self.most_at_once = 0
        self.now = 0

    async def invoke(self, function: Function, data: TypedData, metadata: dict[str, TypedData], reason: str) -> None:
        """Be called for a message by the host."""
        assert (function.name, reason) == ("poll", "New queue message detected")
        self.calls.append((data.text, int(metadata["DequeueCount"].text)))

    def reject(self, function: Function, reason: str, why: str) -> InvocationError:
        """Be told of a message that cannot be read."""
        self.rejected.append(why)
        return InvocationError(f"{function.name}: {reason}")

    async def handle(self, body: bytes, message: QueueMessage) -> None:
        """Be called for a message by a listener."""
        text = body.decode()
        self.calls.append((text, message.dequeue_count or 0))
        self.now += 1
        self.most_at_once = max(self.most_at_once, self.now)
        await asyncio.sleep(0.01)
        self.now -= 1
        if "fail" in text:
            raise InvocationError(text)


@pytest.fixture
async def service(azurite: Azurite) -> AsyncIterator[QueueServiceClient]:
    """An async queue client of the running Azurite."""
    async with QueueServiceClient.from_connection_string(azurite.connection_string) as client:
        yield client


async def messages_in(service: QueueServiceClient, queue: str) -> list[str]:
    """Return the contents of the visible messages of a queue; none if it does not exist."""
    existing = [item.name async for item in service.list_queues()]
    if queue not in existing:
        return []
    return [str(message.content) for message in await service.get_queue_client(queue).peek_messages(max_messages=32)]


async def listen_until_quiet(listener: QueueListener, service: QueueServiceClient, queue: str) -> None:
    """Run the listener until its queue is empty."""
    running = asyncio.create_task(listener.run())
    client = service.get_queue_client(queue)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (await client.get_queue_properties()).approximate_message_count:
            await asyncio.sleep(0.05)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_message_is_deleted_after_success(service: QueueServiceClient) -> None:
    """Success deletes, and the function sees the decoded text once."""
    recorder = Recorder()
    await service.create_queue("good")
    await service.get_queue_client("good").send_message(encoded("fine ✓"))
    listener = QueueListener(service, "good", OPTIONS, recorder.handle, poison_queue_for("good"))
    await listen_until_quiet(listener, service, "good")
    assert recorder.calls == [("fine ✓", 1)]
    assert await messages_in(service, "good-poison") == []


async def test_a_failing_message_goes_to_poison_after_max_dequeue_count(service: QueueServiceClient) -> None:
    """It is tried maxDequeueCount times, then its body stands unchanged in the poison queue."""
    recorder = Recorder()
    await service.create_queue("bad")
    await service.get_queue_client("bad").send_message(encoded("fail"))
    listener = QueueListener(service, "bad", OPTIONS, recorder.handle, poison_queue_for("bad"))
    await listen_until_quiet(listener, service, "bad")
    assert recorder.calls == [("fail", 1), ("fail", 2), ("fail", 3)]
    assert await messages_in(service, "bad-poison") == [encoded("fail")]


async def test_a_message_that_is_not_base64_is_never_shown_to_the_function(service: QueueServiceClient) -> None:
    """It goes straight to poison, as it is."""
    recorder = Recorder()
    await service.create_queue("odd")
    await service.get_queue_client("odd").send_message("{not base64}")
    listener = QueueListener(service, "odd", OPTIONS, recorder.handle, poison_queue_for("odd"))
    await listen_until_quiet(listener, service, "odd")
    assert recorder.calls == []
    assert await messages_in(service, "odd-poison") == ["{not base64}"]


async def test_base64_of_bytes_that_are_no_utf_8_fails_before_the_function(service: QueueServiceClient) -> None:
    """As if the function had failed: tried again, then poison. Spaces in base64 do no harm."""
    recorder = Recorder()
    poll = Function(FunctionDescription("poll", {"type": "queueTrigger", "name": "message"}))
    client = await service.create_queue("bytes")
    for content in ("//4AYmFk", " aGVs\r\nbG8= "):
        await client.send_message(content)
    listener = QueueListener(service, "bytes", OPTIONS, queue_handler(poll, recorder), poison_queue_for("bytes"))
    await listen_until_quiet(listener, service, "bytes")
    assert len(recorder.rejected) == 3
    assert "is not UTF-8" in recorder.rejected[0]
    assert recorder.calls == [("hello", 1)]
    assert await messages_in(service, "bytes-poison") == ["//4AYmFk"]


@pytest.mark.parametrize("encoding", ["base64", "none"])
async def test_an_empty_message_runs(encoding: Literal["base64", "none"], service: QueueServiceClient) -> None:
    """With an empty text."""
    recorder = Recorder()
    queue = f"empty-{encoding}"
    await (await service.create_queue(queue)).send_message("")
    options = msgspec.structs.replace(OPTIONS, message_encoding=encoding)
    listener = QueueListener(service, queue, options, recorder.handle, poison_queue_for(queue))
    await listen_until_quiet(listener, service, queue)
    assert recorder.calls == [("", 1)]
    assert await messages_in(service, f"{queue}-poison") == []


async def test_a_poison_queues_message_on_which_its_function_fails_stays_where_it_is(
    service: QueueServiceClient,
) -> None:
    """Neither tried again nor moved: it is invisible for the rest of its lease, whatever visibilityTimeout says."""
    recorder = Recorder()
    client = await service.create_queue("late-poison")
    await client.send_message(encoded("fail"))
    await client.send_message(encoded("fine"))
    listener = QueueListener(service, "late-poison", OPTIONS, recorder.handle, poison_queue_for("late-poison"))
    running = asyncio.create_task(listener.run())
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (await client.get_queue_properties()).approximate_message_count != 1 or len(recorder.calls) != 2:
            await asyncio.sleep(0.05)
    listener.stop()
    await running
    assert sorted(recorder.calls) == [("fail", 1), ("fine", 1)]
    assert await messages_in(service, "late-poison") == []
    assert await messages_in(service, "late-poison-poison") == []


async def test_a_listener_that_is_stopped_ends_what_it_has_begun(service: QueueServiceClient) -> None:
    """And receives nothing more."""
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def handle(body: bytes, message: QueueMessage) -> None:
        assert (body, message.dequeue_count) == (b"first", 1)
        begun.set()
        await may_end.wait()

    client = await service.create_queue("stopped")
    await client.send_message(encoded("first"))
    options = msgspec.structs.replace(OPTIONS, batch_size=1)
    listener = QueueListener(service, "stopped", options, handle, poison_queue_for("stopped"))
    running = asyncio.create_task(listener.run())
    await begun.wait()
    listener.stop()
    await client.send_message(encoded("second"))
    assert not running.done()
    may_end.set()
    await running
    assert await messages_in(service, "stopped") == [encoded("second")]


async def test_no_more_run_at_once_than_batch_and_threshold_allow(service: QueueServiceClient) -> None:
    """With a threshold of 0 a new batch waits until the last one is done."""
    recorder = Recorder()
    await service.create_queue("many")
    for number in range(12):
        await service.get_queue_client("many").send_message(encoded(str(number)))
    listener = QueueListener(service, "many", OPTIONS, recorder.handle, poison_queue_for("many"))
    await listen_until_quiet(listener, service, "many")
    assert sorted(int(text) for text, _ in recorder.calls) == list(range(12))
    assert 1 < recorder.most_at_once <= 4


def test_a_poison_queue_has_no_poison_queue() -> None:
    """Nor has a queue whose name would become too long."""
    assert poison_queue_for("ner-jobs") == "ner-jobs-poison"
    assert poison_queue_for("ner-jobs-poison") is None
    assert poison_queue_for("q" * 60) is None
