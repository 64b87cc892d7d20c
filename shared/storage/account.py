"""The clients of the storage account, over one connection pool per process."""

from typing import TYPE_CHECKING, Any, Final
from urllib.request import getproxies

from azure.storage.blob.aio import BlobServiceClient
from azure.storage.queue.aio import QueueServiceClient

from shared.settings import StorageConnection

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential

LONGEST_BODY: Final = 1024 * 1024
"""Bytes in one call to blob storage; aiohttp warns of larger ones, which block the event loop."""
RETRIES: Final = 2
READ_SHARE: Final = 1 / 12
"""The part of NER_SUBMIT_TIMEOUT_SECONDS for which a call waits for its response."""
LEAST_READ_SECONDS: Final = 5.0


def patience(submit_timeout_seconds: float) -> dict[str, Any]:
    """Return timeouts and retries with which a call without a response fails after a third of that time.

    The SDK's defaults take minutes. This leaves the invocation time before its deadline to record what it knows.
    """
    read_timeout = max(submit_timeout_seconds * READ_SHARE, LEAST_READ_SECONDS)
    return {
        "connection_timeout": read_timeout / 2,
        "read_timeout": read_timeout,
        "retry_total": RETRIES,
        # The first retry comes after 1 to 3 seconds, the second one after 3 to 5.
        "initial_backoff": 0,
        "increment_base": 2,
        "random_jitter_range": 1,
    }


class Account:
    """The clients of one account. Safe for concurrent use."""

    def __init__(self, connection: StorageConnection, submit_timeout_seconds: float) -> None:
        """Create the clients, without connecting yet."""
        self.credential: AsyncTokenCredential | None = None
        # Otherwise aiohttp searches the environment at each call, which takes two fifths of the call's processor time.
        options: dict[str, Any] = {"use_env_settings": bool(getproxies()), **patience(submit_timeout_seconds)}
        bodies = ("max_single_put_size", "max_block_size", "max_single_get_size")
        blob_options = {**options, **dict.fromkeys(bodies, LONGEST_BODY)}
        if connection.connection_string:
            self.blobs = BlobServiceClient.from_connection_string(connection.connection_string, **blob_options)
            self.queues = QueueServiceClient.from_connection_string(connection.connection_string, **options)
        else:
            from azure.identity.aio import DefaultAzureCredential

            self.credential = DefaultAzureCredential(managed_identity_client_id=connection.client_id)
            self.blobs = BlobServiceClient(connection.blob_service_uri, credential=self.credential, **blob_options)
            self.queues = QueueServiceClient(connection.queue_service_uri, credential=self.credential, **options)

    async def aclose(self) -> None:
        """Close the connections."""
        for client in (self.blobs, self.queues, self.credential):
            if client is not None:
                await client.close()
