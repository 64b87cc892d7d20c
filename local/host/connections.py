"""The storage account that a binding's `connection` names, found as the Storage extension does."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any, Final, NamedTuple
from urllib.request import getproxies

from azure.storage.blob.aio import BlobServiceClient
from azure.storage.queue.aio import QueueServiceClient

from local.host.configuration import HostError
from shared.settings import Reader, StorageConnection

# The listeners retry by themselves within seconds; the SDK's own retries would wait for 15 s and more.
NO_RETRY: Final[dict[str, Any]] = {"retry_total": 0, "use_env_settings": bool(getproxies())}


def find_connection(environ: Mapping[str, str], name: str) -> StorageConnection:
    """Return the account's connection: a connection string of that name, or an identity's settings that begin with it.

    Args:
        environ: the app settings.
        name: the binding's `connection`; empty for AzureWebJobsStorage.

    Raises:
        HostError: no setting names an account, or it is invalid.
    """
    name = name or "AzureWebJobsStorage"
    problems: list[str] = []
    for candidate in (name, f"AzureWebJobs{name}"):
        reader = Reader(environ)
        connection = reader.storage_connection(candidate)
        if not reader.problems:
            return connection
        problems = problems or reader.problems
    raise HostError("; ".join(problems))


class Account(NamedTuple):
    """The clients of one account. They close with the exit stack that opened them."""

    blobs: BlobServiceClient
    queues: QueueServiceClient


async def open_account(connection: StorageConnection, stack: AsyncExitStack) -> Account:
    """Return an account's clients."""
    if connection.connection_string:
        blobs = BlobServiceClient.from_connection_string(connection.connection_string, **NO_RETRY)
        queues = QueueServiceClient.from_connection_string(connection.connection_string, **NO_RETRY)
    else:
        from azure.identity.aio import DefaultAzureCredential

        # Without one, AZURE_CLIENT_ID counts, unless the option is given.
        options = {"managed_identity_client_id": connection.client_id} if connection.client_id else {}
        credential = await stack.enter_async_context(DefaultAzureCredential(**options))
        blobs = BlobServiceClient(connection.blob_service_uri, credential=credential, **NO_RETRY)
        queues = QueueServiceClient(connection.queue_service_uri, credential=credential, **NO_RETRY)
    return Account(await stack.enter_async_context(blobs), await stack.enter_async_context(queues))
