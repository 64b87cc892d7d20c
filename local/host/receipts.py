"""Receipts for the versions of blobs that the host has enqueued, so that each version is enqueued once."""

from collections.abc import Awaitable, Callable
from typing import Final

from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.storage.blob.aio import BlobClient, BlobLeaseClient

INCOMPLETE: Final = "Incomplete"
"""The metadata of a receipt until its version is enqueued."""
LEASE_SECONDS: Final = 30


async def enqueue_once(receipt: BlobClient, enqueue: Callable[[], Awaitable[None]]) -> bool:
    """Call `enqueue`, unless the receipt says that this was done.

    The receipt is complete once the version is enqueued, whether or not the function succeeds.

    Returns:
        Whether the version is enqueued; if not, another host holds the receipt.
    """
    is_complete = await is_completed(receipt)
    if is_complete:
        return True
    lease = BlobLeaseClient(receipt)
    try:
        if is_complete is None:
            await receipt.upload_blob(b"", metadata={INCOMPLETE: "true"})
        await lease.acquire(LEASE_SECONDS)
    except ResourceExistsError:
        return False
    try:
        if not await is_completed(receipt):
            await enqueue()
            metadata = (await receipt.get_blob_properties()).metadata
            metadata.pop(INCOMPLETE, None)
            await receipt.set_blob_metadata(metadata, lease=lease)
    finally:
        await lease.release()
    return True


async def is_completed(receipt: BlobClient) -> bool | None:
    """Return whether the version of a receipt was enqueued; None if there is no receipt."""
    try:
        return INCOMPLETE not in (await receipt.get_blob_properties()).metadata
    except ResourceNotFoundError:
        return None
