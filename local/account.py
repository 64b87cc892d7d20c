"""The storage account of an app, wherever it is: which one an operator means, and the calls that many need."""

import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import BlobClient, BlobProperties, BlobServiceClient
from azure.storage.queue import QueueServiceClient

from local.app_settings import AppSettingsError, local_values, wants_storage_emulator
from local.children import accepts_connections
from local.storage_emulator import BLOB_PORT
from shared.names import check_name, why_refused
from shared.settings import CONNECTION, Settings
from shared.source import Source
from shared.storage.blobs import source_of

T = TypeVar("T")
R = TypeVar("R")

PRICE: Final = "NER_PRICE_PER_1000_TEXT_RECORDS"
"""A setting of the command line and the page alone; the service's price page has it."""
AT_ONCE: Final = 8
"""Calls; a client of the SDK keeps ten connections."""
MOST_AHEAD: Final = 4 * AT_ONCE
"""Results that wait for whoever reads them: an outcome may be large."""


@dataclass(frozen=True)
class Account:
    """A storage account of the app.

    Attributes:
        settings: of the app that works on it.
        blobs: its blobs.
        queues: its queues.
        price: of 1,000 text records, in whatever currency; None where nobody has told.
    """

    settings: Settings
    blobs: BlobServiceClient
    queues: QueueServiceClient
    price: float | None = None

    def cost_text(self, text_records: int) -> str:
        """Return what so many text records (of up to 1,000 characters each) are, and cost if the price is known."""
        counted = f"{text_records:,} text record{'s' * (text_records != 1)}"
        if self.price is None:
            return counted
        return f"{counted}, {text_records * self.price / 1000:,.4f}".rstrip("0").rstrip(".")

    def newest(self, name: str) -> Source | None:
        """Return the version of a file that is in the input container now."""
        container = self.settings.input_container
        properties = self.properties(container, name)
        return source_of(container, name, properties) if properties else None

    def blob(self, container: str, name: str) -> BlobClient:
        """Return the client of a blob. Raises RefusedNameError if its URL might lead to another one."""
        return self.blobs.get_blob_client(container, check_name(name))

    def properties(self, container: str, name: str) -> BlobProperties | None:
        """Return what is known of a blob without reading it; None if it does not exist."""
        try:
            return self.blob(container, name).get_blob_properties()
        except ResourceNotFoundError:
            return None

    def listed(self, container: str, **options: Any) -> Iterator[BlobProperties]:
        """Yield the blobs of a container whose names the app accepts; none where it does not exist yet."""
        try:
            for blob in self.blobs.get_container_client(container).list_blobs(**options):
                if not why_refused(blob.name):
                    yield blob
        except ResourceNotFoundError:
            return

    def messages_count(self, queue: str) -> int | None:
        """Return about how many messages a queue has, those not visible yet among them; None where there is none."""
        try:
            return int(self.queues.get_queue_client(queue).get_queue_properties().approximate_message_count or 0)
        except ResourceNotFoundError:
            return None


@contextmanager
def storage_clients(settings: Settings, **options: Any) -> Iterator[tuple[BlobServiceClient, QueueServiceClient]]:
    """Open the storage account of the settings; the options are those of the clients."""
    connection = settings.storage
    if connection.connection_string:
        blobs = BlobServiceClient.from_connection_string(connection.connection_string, **options)
        queues = QueueServiceClient.from_connection_string(connection.connection_string, **options)
    else:
        from azure.identity import DefaultAzureCredential

        credential = DefaultAzureCredential(managed_identity_client_id=connection.client_id)
        blobs = BlobServiceClient(connection.blob_service_uri, credential=credential, **options)
        queues = QueueServiceClient(connection.queue_service_uri, credential=credential, **options)
    with blobs, queues:
        yield blobs, queues


def chosen_values(environ: Mapping[str, str], running: Mapping[str, str] | None) -> dict[str, str]:
    """Return the app settings that name the account.

    Args:
        environ: the environment; an account that it names is the one that is meant.
        running: the settings of what `start` keeps up on this machine, if it does. Its storage emulator has a key of
            its own, so it is also meant by an environment that names the emulator on the usual port.

    Raises:
        AppSettingsError: only a storage emulator could be meant, and none is running.
    """
    is_named = any(name == CONNECTION or name.startswith(f"{CONNECTION}__") for name in environ)
    if running is not None and not is_named:
        return dict(running)
    values = local_values(environ)
    if wants_storage_emulator(values):
        if running is not None and f"BlobEndpoint=http://127.0.0.1:{BLOB_PORT}/" in running.get(CONNECTION, ""):
            return dict(running)
        # Another program's emulator may be on the usual ports: only a user who names it may mean that one.
        if not is_named:
            raise AppSettingsError(
                "The local app is not running. Run 'make start' in another terminal, or set NER_STORAGE to a storage "
                f"account. For a storage emulator of your own on port {BLOB_PORT}, set "
                "NER_STORAGE=UseDevelopmentStorage=true."
            )
        if not accepts_connections(BLOB_PORT):
            raise AppSettingsError(
                f"NER_STORAGE names the storage emulator, but nothing listens on port {BLOB_PORT}. Start the emulator, "
                "or set NER_STORAGE to a storage account."
            )
    return values


@contextmanager
def opened(running: Mapping[str, str] | None) -> Iterator[Account]:
    """Open the account that the environment, `start` or local.settings.json names.

    Raises:
        AppSettingsError: NER_STORAGE is no connection string, or names an emulator that is not up.
        SettingsError: the app settings are not in order.
    """
    with open_account(chosen_values(os.environ, running)) as account:
        yield account


@contextmanager
def open_account(values: Mapping[str, str], **options: Any) -> Iterator[Account]:
    """Open the account that app settings name; the options are those of the storage clients.

    Raises:
        AppSettingsError: NER_STORAGE is no connection string, or the price is no number.
        SettingsError: the app settings are not in order.
    """
    settings = Settings.from_environ(values)
    with ExitStack() as clients:
        try:
            blobs, queues = clients.enter_context(storage_clients(settings, **options))
        except ValueError as error:
            raise AppSettingsError(f"NER_STORAGE is not a valid connection string: {error}") from None
        yield Account(settings, blobs, queues, price_of(values))


def price_of(values: Mapping[str, str]) -> float | None:
    """Return what 1,000 text records cost, if the settings say so. Raises AppSettingsError if that is no number."""
    text = values.get(PRICE, "")
    try:
        price = float(text) if text else None
    except ValueError:
        price = math.nan
    if price is not None and not 0 <= price < math.inf:
        raise AppSettingsError(f"{PRICE} must be the price of 1,000 text records, such as 5, not {text!r}")
    return price


def in_threads(call: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Yield the call's results in the order of the items, some calls at a time, and few of them ahead."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        ahead: deque[Future[R]] = deque()
        for item in items:
            ahead.append(pool.submit(call, item))
            if len(ahead) > MOST_AHEAD:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
