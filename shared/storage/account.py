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
PATIENCE: Final[dict[str, Any]] = {
    "connection_timeout": 10,
    "read_timeout": 20,
    "retry_total": 3,
    "initial_backoff": 1,
    "increment_base": 2,
    "random_jitter_range": 1,
}
"""Timeouts and retries of one call, in seconds. The SDK's defaults would keep an invocation for minutes if the account
does not respond; a message can wait without an invocation."""


class Account:
    """The clients of one account. Safe for concurrent use."""

    def __init__(self, connection: StorageConnection) -> None:
        """Create the clients, without connecting yet."""
        self.credential: AsyncTokenCredential | None = None
        # Otherwise aiohttp searches the environment at each call, which takes two fifths of the call's processor time.
        options: dict[str, Any] = {"use_env_settings": bool(getproxies()), **PATIENCE}
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
