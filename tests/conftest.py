"""What the tests share: a real Azurite, a real NER emulator, both on free ports and gone when the tests end.

Several processes share the tests (pytest-xdist). Each has an Azurite, an NER emulator, ports and folders of its own.
"""

import itertools
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient
from hypothesis import settings as hypothesis_settings
from xdist.scheduler import LoadScopeScheduling

from local import stack
from local.app_settings import SAMPLE, read_values
from local.children import Child
from local.install import STATE
from local.ner.__main__ import SAMPLE_LABELS
from local.ner.labels import load_project
from local.ner.recogniser import Recogniser
from local.storage_emulator import Azurite
from shared.settings import Settings
from tests.emulator import set_switches
from tests.ports import free_port, free_ports

# As the app does. OpenTelemetry reads it once in a process, so the first test to make a client decides for all others.
os.environ.setdefault("OTEL_SEMCONV_STABILITY_OPT_IN", "http")

WORKER = os.environ.get("PYTEST_XDIST_WORKER")
"""Which of the processes that share the tests this is; None for the one that starts the others, or has no others."""
ALL_LOGS = STATE / "logs" / "tests"
LOGS = ALL_LOGS / (WORKER or "main")
ONE_PROCESS = (
    "test_page",
    "test_scans",
    "test_command_line",
    "test_infra",
    "test_infra_compiled",
    "test_infra_queries",
)
"""Modules that share a browser, an environment, the usual ports of a local run, or the output of a slow tool."""
WORKERS_PER_PROCESSOR, MAX_WORKERS = 3, 12
"""Most tests wait for other processes most of the time."""
counter = itertools.count()

# Time must not decide what passes. CI runs the same examples each time, so that no change is blamed for an old fault.
hypothesis_settings.register_profile("patient", deadline=None, derandomize="CI" in os.environ)
hypothesis_settings.load_profile("patient")


@pytest.fixture(scope="session", autouse=True)
def _app_log() -> Iterator[None]:
    """Keep what the app logs within the tests' own process, as a host would."""
    LOGS.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(LOGS / "app.log", "a", encoding="utf-8")
    logging.getLogger("ner").setLevel(logging.INFO)
    logging.getLogger().addHandler(handler)
    yield
    logging.getLogger().removeHandler(handler)
    handler.close()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what `make screenshot` and the last step of `make test` ask for."""
    parser.addoption("--screenshot", action="store_true", help="put pictures of the page into docs/")
    parser.addoption("--keep-logs", action="store_true", help="keep the logs of the last run, to search them")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Return how many processes `-n auto` starts; `-n logical` is left to pytest-xdist: one for each processor."""
    if config.option.numprocesses != "auto":
        return None
    return min(WORKERS_PER_PROCESSOR * (os.cpu_count() or 1), MAX_WORKERS)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Delete old logs, and train the sample project's recogniser once for all processes."""
    if WORKER is not None:
        return
    if not session.config.option.keep_logs:
        shutil.rmtree(ALL_LOGS, ignore_errors=True)
    if session.config.option.numprocesses:
        Recogniser.load_or_train(load_project(SAMPLE_LABELS), stack.MODELS)


class Groups(LoadScopeScheduling):  # type: ignore[misc]  # the base class has no types
    """Gives the tests of some modules to one process, and all others to whichever is free.

    pytest-xdist's own groups do nothing with pytest 9.2, whose node IDs no longer change.
    """

    def _split_scope(self, nodeid: str) -> str:
        module = PurePosixPath(nodeid.partition("::")[0]).stem
        return module if module in ONE_PROCESS else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Groups | None:
    """Return the scheduler for `--dist loadgroup`; other ones are left to pytest-xdist."""
    return Groups(config, log) if config.getvalue("dist") == "loadgroup" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, end with what reads all logs."""
    items.sort(key=rank)


def rank(item: pytest.Item) -> int:
    """Return a test's place in the order."""
    if item.path.name == "test_logs.py":
        return 4
    if item.get_closest_marker("slow"):
        return 0
    return {"e2e": 1, "unit": 3}.get(item.path.parent.name, 2)


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
    # Reading the environment takes a third of a call.
    with BlobServiceClient.from_connection_string(azurite.connection_string, use_env_settings=False) as client:
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
