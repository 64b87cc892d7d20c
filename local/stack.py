"""Everything that a local run needs, started in order and stopped in reverse: Azurite, the NER emulator, the host."""

import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from azure.core.exceptions import ResourceExistsError

from local.account import storage_clients
from local.app_settings import wants_ner_emulator, wants_storage_emulator
from local.children import Child, ChildError, free_port
from local.install import ROOT, STATE
from local.storage_emulator import Azurite, is_azurite
from shared.settings import Settings

MODELS: Final = STATE / "models"
FIRST_TRAINING_SECONDS: Final = 300.0
PAGE_PORT: Final = 10300
ACCEPTS_CONNECTIONS: Final = b'"url"'
"""In a log: what the NER emulator and the page print their addresses under."""
SCAN_PAUSE_SECONDS: Final = 1.1
"""On Azurite, whose times are whole seconds, the Functions host passes over a blob as old as the last one it saw."""


@dataclass(frozen=True)
class Stack:
    """A running local app."""

    values: Mapping[str, str]
    """The app settings that the functions run with."""
    settings: Settings
    host: Child
    children: tuple[Child, ...]
    ner_emulator: str | None
    """The address of the NER emulator; None where NER_ENDPOINT names a Language resource."""
    page: str | None = None
    """The address of the page; None where nobody asked for it."""

    def check(self) -> None:
        """Raise ChildError if anything has ended by itself."""
        for child in self.children:
            if not child.is_running:
                code = child.process.returncode
                raise ChildError(f"{child.name} ended by itself with exit code {code}. {child.last_words()}")


@contextmanager
def running(
    values: Mapping[str, str], *, data: Path | None, labels: Path | None = None, logs: Path, with_page: bool = False
) -> Iterator[Stack]:
    """Start what the settings ask for, and stop it in the end.

    Args:
        values: app settings. Azurite and the NER emulator are started only where these name them.
        data: folder for Azurite's data; None keeps it in memory.
        labels: project file that the NER emulator learns from; None takes the sample project.
        logs: folder for a log file of each process.
        with_page: whether to serve the page too.

    Raises:
        ChildError: a process did not come up.
        SettingsError: the app settings are not in order.
    """
    values = dict(values)
    # Check first: a sentence now is better than a log to read later.
    Settings.from_environ(values)
    with ExitStack() as stack:
        children: list[Child] = []
        if wants_storage_emulator(values):
            azurite = stack.enter_context(Azurite(logs / "azurite.log", data=data))
            children.append(azurite)
            for name in ("AzureWebJobsStorage", "NER_STORAGE"):
                values[name] = azurite.connection_string
        emulator: str | None = None
        if wants_ner_emulator(values):
            port = free_port(urlsplit(values["NER_ENDPOINT"]).port or 0)
            emulator = values["NER_ENDPOINT"] = f"http://127.0.0.1:{port}"
            children.append(stack.enter_context(start_ner_emulator(values, port, labels, logs / "ner-emulator.log")))
        settings = Settings.from_environ(values)
        create_containers_and_queues(settings)
        host = stack.enter_context(start_host(values, logs / "host.log"))
        children.append(host)
        address: str | None = None
        if with_page:
            page, address = start_page(values, logs / "page.log")
            children.append(stack.enter_context(page))
        yield Stack(values, settings, host, tuple(children), emulator, address)


def start_ner_emulator(values: Mapping[str, str], port: int, labels: Path | None, log: Path) -> Child:
    """Start the NER emulator for the project that the settings name; training its model may take a while at first."""
    options = {
        **({"--labels": str(labels.resolve())} if labels else {}),
        "--key": values.get("NER_KEY", ""),
        "--project": values.get("NER_PROJECT_NAME", ""),
        "--deployment": values.get("NER_DEPLOYMENT_NAME", ""),
        "--model-id": values.get("NER_MODEL_ID", ""),
    }
    command = [sys.executable, "-m", "local.ner", "--exit-with-stdin", "--port", str(port), "--cache", str(MODELS)]
    command += [part for option in options.items() for part in option]
    return start_child(
        "The NER emulator", command, log, os.environ, ready=ACCEPTS_CONNECTIONS, seconds=FIRST_TRAINING_SECONDS
    )


def start_host(values: Mapping[str, str], log: Path, options: Sequence[str] = ()) -> Child:
    """Start the Functions host: Azure Functions Core Tools where they are installed, else the stand-in with options."""
    core_tools = find_core_tools()
    if core_tools is None:
        return start_stand_in(values, log, ROOT, options)
    environ = {**os.environ, **values}
    # Core Tools runs the worker with the first Python on PATH.
    environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environ.get("PATH", "")])
    command = [core_tools, "start", "--port", str(free_port(7071))]
    return start_listening(command, log, environ, 180.0)


def start_stand_in(values: Mapping[str, str], log: Path, root: Path, options: Sequence[str] = ()) -> Child:
    """Start the stand-in for the host with the function app of a folder."""
    command = [sys.executable, "-m", "local.host", "--exit-with-stdin", "--root", str(root), *options]
    return start_listening(command, log, {**os.environ, **values}, 60.0)


def start_listening(command: Sequence[str], log: Path, environ: Mapping[str, str], seconds: float) -> Child:
    """Start a host and wait until it has read its functions, which both list then."""
    return start_child("The Functions host", command, log, environ, ready=b"Functions:", seconds=seconds)


def start_page(values: Mapping[str, str], log: Path) -> tuple[Child, str]:
    """Start the page for the account of the settings; return it with its address."""
    command = [sys.executable, "-m", "local", "view", "--exit-with-stdin", "--port", str(free_port(PAGE_PORT))]
    # It begins with the address, which may hold a token.
    log.parent.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    log.touch(mode=0o600)
    child = start_child("The page", command, log, {**os.environ, **values}, ready=ACCEPTS_CONNECTIONS, seconds=60.0)
    return child, json.loads(log.read_text(encoding="utf-8").splitlines()[0])["url"]


def start_child(
    name: str, command: Sequence[str], log: Path, environ: Mapping[str, str], *, ready: bytes, seconds: float
) -> Child:
    """Start a process and wait until its log says that it is ready; one that is not in time does not stay."""
    child = Child(name, command, log, environ=environ, cwd=ROOT)
    try:
        child.wait_until(lambda: ready in log.read_bytes(), seconds)
    except BaseException:
        child.stop()
        raise
    return child


def scan_pause_seconds(settings: Settings) -> float:
    """Return how long to wait after each upload, so that the host sees the next one."""
    return SCAN_PAUSE_SECONDS if find_core_tools() and is_azurite(settings.storage.connection_string) else 0.0


def find_core_tools() -> str | None:
    """Return where Azure Functions Core Tools are, or None."""
    return shutil.which("func")


def create_containers_and_queues(settings: Settings) -> None:
    """Create what a deployment would have created: the two containers and the queue."""
    with storage_clients(settings) as (blobs, queues):
        for container in (settings.input_container, settings.results_container):
            with suppress(ResourceExistsError):
                blobs.create_container(container)
        with suppress(ResourceExistsError):
            queues.create_queue(settings.queue)
