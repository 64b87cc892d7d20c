"""The storage account of an app, wherever it is: which one an operator means, and the calls that many need."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import BlobProperties, BlobServiceClient
from azure.storage.queue import QueueServiceClient

from local import stack
from local.app_settings import AppSettingsError, local_values, wants_storage_emulator
from local.children import accepts_connections
from local.storage_emulator import BLOB_PORT
from shared.settings import CONNECTION, Settings
from shared.source import Source
from shared.storage import source_of

T = TypeVar("T")
R = TypeVar("R")

AT_ONCE: Final = 8
"""Calls; a client of the SDK keeps ten connections."""


@dataclass(frozen=True)
class Account:
    """A storage account of the app."""

    settings: Settings
    blobs: BlobServiceClient
    queues: QueueServiceClient

    def newest(self, name: str) -> Source | None:
        """Return the version of a file that is in the input container now."""
        container = self.settings.input_container
        try:
            return source_of(container, name, self.blobs.get_blob_client(container, name).get_blob_properties())
        except ResourceNotFoundError:
            return None

    def listed(self, container: str, **options: Any) -> Iterator[BlobProperties]:
        """Yield the blobs of a container; none where it does not exist yet."""
        try:
            yield from self.blobs.get_container_client(container).list_blobs(**options)
        except ResourceNotFoundError:
            return

    def messages_count(self, queue: str) -> int | None:
        """Return about how many messages a queue has, those not visible yet among them; None where there is none."""
        try:
            return int(self.queues.get_queue_client(queue).get_queue_properties().approximate_message_count or 0)
        except ResourceNotFoundError:
            return None


def chosen_values(environ: Mapping[str, str], running: Mapping[str, str] | None) -> dict[str, str]:
    """Return the app settings that name the account.

    Args:
        environ: the environment; an account that it names is the one that is meant.
        running: the settings of what `start` keeps up on this machine, if it does.
    """
    named = [name for name in environ if name == CONNECTION or name.startswith(f"{CONNECTION}__")]
    if running is not None and not named:
        return dict(running)
    return local_values(environ)


@contextmanager
def opened(running: Mapping[str, str] | None) -> Iterator[Account]:
    """Open the account that the environment, `start` or local.settings.json names.

    Raises:
        AppSettingsError: NER_STORAGE is no connection string, or names an emulator that is not up.
        SettingsError: the app settings are not in order.
    """
    values = chosen_values(os.environ, running)
    settings = Settings.from_environ(values)
    if wants_storage_emulator(values) and not accepts_connections(BLOB_PORT):
        raise AppSettingsError(
            "There is no storage on this machine to look at: name the account in NER_STORAGE, or 'make start' first"
        )
    with ExitStack() as clients:
        try:
            blobs, queues = clients.enter_context(stack.storage_clients(settings))
        except ValueError as error:
            raise AppSettingsError(f"NER_STORAGE: {error}") from None
        yield Account(settings, blobs, queues)


def in_threads(call: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Yield the call's results in the order of the items, some calls at a time."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield from pool.map(call, items)
