"""One host at a time scans containers and runs a timer: each listener has its lock, as in the Functions host."""

import asyncio
import itertools
from collections.abc import AsyncIterator

import pytest
from azure.storage.blob.aio import BlobLeaseClient, BlobServiceClient, ContainerClient

from local.host import locks
from local.host.blobs import HOSTS_CONTAINER
from local.host.locks import ListenerLock
from local.host.receipts import enqueue_once
from local.storage_emulator import Azurite
from tests.waiting import PATIENCE_SECONDS

numbers = itertools.count()


class Listener:
    """A listener with a lock, which notes whether it listens."""

    def __init__(self, container: ContainerClient, name: str) -> None:
        self.lock = ListenerLock(container, name)
        self.begun, self.ended, self.stopped = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def listen(self) -> None:
        """Listen until stopped."""
        self.begun.set()
        try:
            await self.stopped.wait()
        finally:
            self.ended.set()

    async def run(self) -> None:
        """Run alone."""
        await self.lock.run_alone(self.listen, self.stopped)


@pytest.fixture
async def container(azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ContainerClient]:
    """The container of the locks; hosts that wait for one try again soon."""
    monkeypatch.setattr(locks, "POLL_SECONDS", 0.05)
    async with BlobServiceClient.from_connection_string(azurite.connection_string) as blobs:
        yield blobs.get_container_client(HOSTS_CONTAINER)


async def test_the_second_host_listens_once_the_first_has_stopped(
    container: ContainerClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Until then it waits, and says so once."""
    name = f"locks-{next(numbers)}/listener"
    first, second = Listener(container, name), Listener(container, name)
    async with asyncio.timeout(PATIENCE_SECONDS), asyncio.TaskGroup() as group:
        group.create_task(first.run())
        await first.begun.wait()
        group.create_task(second.run())
        while "Another host" not in caplog.text:
            await asyncio.sleep(0.01)
        assert not second.begun.is_set()
        first.stopped.set()
        await second.begun.wait()
        assert first.ended.is_set()
        second.stopped.set()
    assert caplog.text.count("Another host") == 1
    properties = await container.get_blob_client(f"locks/{name}").get_blob_properties()
    assert properties.lease.state == "available"


async def test_a_lock_is_renewed_until_it_is_lost(container: ContainerClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that has lost its lock no longer listens, and waits for the lock again."""
    renewals: list[float] = []
    renewed = BlobLeaseClient.renew

    async def renew(lease: BlobLeaseClient) -> None:
        renewals.append(0.0)
        await renewed(lease)

    monkeypatch.setattr(BlobLeaseClient, "renew", renew)
    monkeypatch.setattr(locks, "RENEWAL_SECONDS", 0.02)
    name = f"locks-{next(numbers)}/listener"
    listener = Listener(container, name)
    async with asyncio.timeout(PATIENCE_SECONDS), asyncio.TaskGroup() as group:
        group.create_task(listener.run())
        while len(renewals) < 3:
            await asyncio.sleep(0.01)
        assert not listener.ended.is_set()
        listener.begun.clear()
        await BlobLeaseClient(container.get_blob_client(f"locks/{name}")).break_lease(0)
        await listener.ended.wait()
        await listener.begun.wait()
        listener.stopped.set()


async def test_a_receipt_that_another_host_holds_is_left_to_it(container: ContainerClient) -> None:
    """It is looked at again; once the other host is gone, the version is enqueued, and then never again."""
    enqueued: list[int] = []

    async def enqueue() -> None:
        enqueued.append(1)

    if not await container.exists():
        await container.create_container()
    receipt = container.get_blob_client(f"blobreceipts/locks-{next(numbers)}/a.txt")
    await receipt.upload_blob(b"", metadata={"Incomplete": "true"})
    lease = BlobLeaseClient(receipt)
    await lease.acquire(60)
    assert not await enqueue_once(receipt, enqueue)
    assert enqueued == []
    await lease.release()
    assert await enqueue_once(receipt, enqueue)
    assert await enqueue_once(receipt, enqueue)
    assert enqueued == [1]
    assert (await receipt.get_blob_properties()).metadata == {}
