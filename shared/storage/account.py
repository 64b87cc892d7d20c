"""The clients of the storage account, over one connection pool per process."""

from typing import TYPE_CHECKING, Any, Final
from urllib.request import getproxies

from azure.storage.blob.aio import BlobServiceClient
from azure.storage.queue.aio import QueueServiceClient

from shared.settings import StorageConnection

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential

LONGEST_BODY: Final = 1024 * 1024
"""Bytes in one call to blob storage; aiohttp warns of larger ones, which keep the event loop busy."""
RETRIES: Final = 2
READ_SHARE: Final = 1 / 12
"""Of NER_SUBMIT_TIMEOUT_SECONDS, how long an answer is waited for."""
LEAST_READ_SECONDS: Final = 5.0


def patience(submit_timeout_seconds: float) -> dict[str, Any]:
    """Return the options by which a call that is never answered fails after a third of NER_SUBMIT_TIMEOUT_SECONDS.

    The SDK's own take minutes. This way, the invocation has time to record what it knows before its deadline.
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
    """The clients of one account. Safe to share between concurrent invocations."""

    def __init__(self, connection: StorageConnection, submit_timeout_seconds: float) -> None:
        """Make the clients; nothing is connected yet."""
        self.credential: AsyncTokenCredential | None = None
        # Else aiohttp looks through the whole environment at each call, which is two fifths of a call's processor time.
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
