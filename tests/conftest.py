"""What the tests share: a real Azurite, a real NER emulator, both on free ports and gone when the tests end."""

import itertools
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient
from hypothesis import settings as hypothesis_settings

from local import stack
from local.app_settings import SAMPLE, read_values
from local.children import Child, free_port
from local.install import STATE
from local.storage_emulator import Azurite
from shared.settings import Settings
from tests.emulator import set_switches

WORKER = os.environ.get("PYTEST_XDIST_WORKER", "alone")
"""Which of the processes that share the tests this is; each has its own storage, emulators, ports and folders."""
ALL_LOGS = STATE / "logs" / "tests"
LOGS = ALL_LOGS / WORKER
counter = itertools.count()

# Time must not decide what passes.
hypothesis_settings.register_profile("patient", deadline=None)
hypothesis_settings.load_profile("patient")


@pytest.fixture(scope="session", autouse=True)
def session_started() -> Iterator[float]:
    """When the tests began; what the app logs within their own process is kept from then on, as a host would."""
    started = time.time()
    LOGS.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(LOGS / "app.log", "w", encoding="utf-8")
    logging.getLogger("ner").setLevel(logging.INFO)
    logging.getLogger().addHandler(handler)
    yield started
    logging.getLogger().removeHandler(handler)
    handler.close()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what `make screenshot` asks for."""
    parser.addoption("--screenshot", action="store_true", help="put pictures of the page into docs/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the test that reads all logs come last, and what shares something stay in one process."""
    items.sort(key=lambda item: item.path.name == "test_logs.py")
    for item in items:
        if item.path.parent.name == "browser":
            item.add_marker(pytest.mark.xdist_group("browser"))
        if item.path.name == "test_command_line.py":
            item.add_marker(pytest.mark.xdist_group("commands"))
        if item.path.name == "test_scans.py":
            item.add_marker(pytest.mark.xdist_group("scans"))


def free_ports() -> tuple[int, int, int]:
    """Return three free ports: the usual ones may belong to the developer's own Azurite."""
    return free_port(), free_port(), free_port()


@pytest.fixture(scope="session")
def azurite() -> Iterator[Azurite]:
    """Storage for the whole run, in memory."""
    with Azurite(LOGS / "azurite.log", ports=free_ports()) as running:
        yield running


@pytest.fixture(scope="session")
def sample_values() -> dict[str, str]:
    """The app settings of local.settings.sample.json."""
    return read_values(SAMPLE)


@pytest.fixture(scope="session")
def ner_emulator(sample_values: dict[str, str]) -> Iterator[str]:
    """The address of an NER emulator for the whole run, with the sample project's recogniser."""
    port = free_port()
    with stack.start_ner_emulator(sample_values, port, None, LOGS / "ner-emulator.log"):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def switches(ner_emulator: str) -> Iterator[Callable[..., None]]:
    """Call it to set the emulator's switches; they go back to their defaults after the test."""
    yield partial(set_switches, ner_emulator)
    set_switches(ner_emulator)


@pytest.fixture
def values(azurite: Azurite, sample_values: dict[str, str]) -> dict[str, str]:
    """App settings with containers and a queue of the test's own, in the running Azurite."""
    number = next(counter)
    return {
        **sample_values,
        "AzureWebJobsStorage": azurite.connection_string,
        "NER_STORAGE": azurite.connection_string,
        "NER_INPUT_CONTAINER": f"incoming-{number}",
        "NER_RESULTS_CONTAINER": f"results-{number}",
        "NER_STATE_CONTAINER": f"ner-state-{number}",
        "NER_QUEUE": f"ner-jobs-{number}",
        "NER_POLL_MIN_SECONDS": "1",
        "AzureFunctionsWebHost__hostid": f"test-{number}",
    }


@pytest.fixture
def blobs(azurite: Azurite) -> Iterator[BlobServiceClient]:
    """A blob client of the running Azurite."""
    with BlobServiceClient.from_connection_string(azurite.connection_string) as client:
        yield client


@pytest.fixture
def queues(azurite: Azurite) -> Iterator[QueueServiceClient]:
    """A queue client of the running Azurite."""
    with QueueServiceClient.from_connection_string(azurite.connection_string) as client:
        yield client


@contextmanager
def hosted(values: Mapping[str, str], log: Path, *options: str) -> Iterator[Child]:
    """Run the function app with these settings until the block ends."""
    stack.create_containers_and_queues(Settings.from_environ(values))
    with stack.start_host(values, log, options) as host:
        yield host
