"""The locks that let one host at a time scan containers and run a timer: leases of blobs, as in the Functions host."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from azure.core.exceptions import AzureError, HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.storage.blob.aio import BlobLeaseClient, ContainerClient

log = logging.getLogger("host")

LOCK_SECONDS: Final = 60
"""The duration of the lease."""
RENEWAL_SECONDS: Final = 30.0
POLL_SECONDS: Final = 60.0
"""How often a host that does not hold the lock tries to acquire it."""
RETRY_SECONDS: Final = 2.0
"""After an error of the account."""


async def pause(seconds: float, stopped: asyncio.Event) -> None:
    """Wait that long, or until the listener is stopped."""
    with suppress(TimeoutError):
        async with asyncio.timeout(max(seconds, 0.0)):
            await stopped.wait()


class ListenerLock:
    """The lock of one listener. If a host is killed, its lock expires after a minute."""

    def __init__(self, container: ContainerClient, name: str) -> None:
        """Acquire nothing yet.

        Args:
            container: for the host's own blobs.
            name: the host ID and the listener, separated by a slash.
        """
        self.container = container
        self.name = name
        self.blob = container.get_blob_client(f"locks/{name}")
        self.lease = BlobLeaseClient(self.blob)

    async def run_alone(self, listen: Callable[[], Awaitable[None]], stopped: asyncio.Event) -> None:
        """Wait for the lock, then call `listen` while this host holds the lock, until the listener is stopped."""
        is_waiting = False
        while True:
            try:
                if is_acquired := await self.acquire():
                    await self.hold(listen)
                elif not is_waiting:
                    log.warning("Another host, or one that was killed in the last minute, holds the lock %s", self.name)
                is_waiting = not is_acquired
                seconds = POLL_SECONDS
            except AzureError as error:
                log.warning("The lock %s cannot be acquired: %s", self.name, type(error).__name__)
                seconds = RETRY_SECONDS
            if stopped.is_set():
                return
            await pause(seconds, stopped)

    async def acquire(self) -> bool:
        """Return whether this host now holds the lock.

        Raises:
            AzureError: the account does not respond as expected.
        """
        try:
            properties = await self.blob.get_blob_properties()
            if properties.lease.state in ("leased", "breaking"):
                return False
        except ResourceNotFoundError:
            await self.create()
        self.lease = BlobLeaseClient(self.blob)
        try:
            await self.lease.acquire(LOCK_SECONDS)
        except ResourceExistsError:  # another host was faster
            return False
        return True

    async def create(self) -> None:
        """Create the blob, and its container if necessary."""
        with suppress(ResourceExistsError):
            try:
                await self.blob.upload_blob(b"")
            except ResourceNotFoundError:
                with suppress(ResourceExistsError):
                    await self.container.create_container()
                await self.blob.upload_blob(b"")

    async def hold(self, listen: Callable[[], Awaitable[None]]) -> None:
        """Call `listen`, and renew the lock until it returns; cancel it if the lock is lost."""
        listening, renewing = asyncio.ensure_future(listen()), asyncio.ensure_future(self.renew())
        try:
            await asyncio.wait({listening, renewing}, return_when=asyncio.FIRST_COMPLETED)
            if listening.done():
                listening.result()
        finally:
            for task in (listening, renewing):
                task.cancel()
            await asyncio.gather(listening, renewing, return_exceptions=True)
            with suppress(AzureError):
                await self.lease.release()

    async def renew(self) -> None:
        """Renew the lock until it is lost."""
        while True:
            await asyncio.sleep(RENEWAL_SECONDS)
            try:
                await self.lease.renew()
            except AzureError as error:
                log.warning("The lock %s was not renewed: %s", self.name, type(error).__name__)
                if isinstance(error, HttpResponseError) and error.status_code in (404, 409, 412):
                    return
