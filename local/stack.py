"""Everything that a local run needs, started in order and stopped in reverse: Azurite, the NER emulator, the host."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from azure.core.exceptions import ResourceExistsError

from local.account import storage_clients
from local.app_settings import EMULATOR_KEY, wants_ner_emulator, wants_storage_emulator
from local.children import Child, ChildError, on_free_port
from local.event_grid import delivering
from local.install import ROOT, STATE
from local.proxies import exempt_loopback
from local.storage_emulator import BLOB_PORT, PORTS_COUNT, Azurite
from shared.settings import EVENT_QUEUE, Settings

MODELS: Final = STATE / "models"
FIRST_TRAINING_SECONDS: Final = 300.0
PAGE_PORT: Final = 10300
HOST_PORT: Final = 7071
CORE_TOOLS: Final = "NER_CORE_TOOLS"
"""The environment variable that names Core Tools; OFF makes the stand-in host the app even if they are installed."""
OFF: Final = "off"
ACCEPTS_CONNECTIONS: Final = b'"url"'
"""In a log: what the NER emulator and the page print their addresses under."""


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
    notes: tuple[str, ...] = ()
    """What differs from the README on this machine, a sentence each."""

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
        notes: list[str] = []
        if emulates_storage := wants_storage_emulator(values):
            azurite = stack.enter_context(start_azurite(logs / "azurite.log", data))
            children.append(azurite)
            notes += moved("Storage", BLOB_PORT, azurite.ports[0])
            for name in ("AzureWebJobsStorage", "NER_STORAGE"):
                values[name] = azurite.connection_string
        emulator: str | None = None
        if wants_ner_emulator(values):
            usual = urlsplit(values["NER_ENDPOINT"]).port or 0
            log = logs / "ner-emulator.log"
            port, child = on_free_port(usual, lambda port: (port, start_ner_emulator(values, port, labels, log)))
            children.append(stack.enter_context(child))
            emulator = values["NER_ENDPOINT"] = f"http://127.0.0.1:{port}"
            notes += moved("The NER emulator", usual, port)
        settings = Settings.from_environ(values)
        create_containers_and_queues(settings)
        if emulates_storage and settings.blob_trigger_source == EVENT_QUEUE:
            stack.enter_context(delivering(settings))
        host = stack.enter_context(start_host(values, logs / "host.log"))
        children.append(host)
        address: str | None = None
        if with_page:
            page, address = start_page(values, logs / "page.log")
            children.append(stack.enter_context(page))
            notes += moved("The page", PAGE_PORT, urlsplit(address).port or 0)
        yield Stack(values, settings, host, tuple(children), emulator, address, tuple(notes))


def moved(name: str, usual: int, port: int) -> list[str]:
    """Return a sentence if a server is not on its usual port."""
    return [f"{name} is on port {port}, because port {usual} is taken."] if usual not in (0, port) else []


def start_azurite(log: Path, data: Path | None) -> Azurite:
    """Start Azurite on its usual ports, or on the next ones if one of those is taken."""
    return on_free_port(BLOB_PORT, lambda port: Azurite(log, data=data, ports=(port, port + 1, port + 2)), PORTS_COUNT)


def start_ner_emulator(values: Mapping[str, str], port: int, labels: Path | None, log: Path) -> Child:
    """Start the NER emulator for the project that the settings name; training its model may take a while at first."""
    exempt_loopback()
    options = {
        **({"--labels": str(labels.resolve())} if labels else {}),
        "--project": values.get("NER_PROJECT_NAME", ""),
        "--deployment": values.get("NER_DEPLOYMENT_NAME", ""),
        "--model-id": values.get("NER_MODEL_ID", ""),
    }
    command = [sys.executable, "-m", "local.ner", "--exit-with-stdin", "--port", str(port), "--cache", str(MODELS)]
    command += [part for option in options.items() for part in option]
    # Every user of the machine can read command lines, so the key is not in this one.
    environ = {**os.environ, EMULATOR_KEY: values.get("NER_KEY", "")}
    return start_child(
        "The NER emulator", command, log, environ, ready=ACCEPTS_CONNECTIONS, seconds=FIRST_TRAINING_SECONDS
    )


def start_host(values: Mapping[str, str], log: Path, options: Sequence[str] = ()) -> Child:
    """Start the Functions host: Azure Functions Core Tools where they are installed, else the stand-in with options."""
    core_tools = find_core_tools()
    if core_tools is None:
        return start_stand_in(values, log, ROOT, options)
    return on_free_port(HOST_PORT, lambda port: start_core_tools(core_tools, values, log, port))


def start_core_tools(command: str, values: Mapping[str, str], log: Path, port: int) -> Child:
    """Start Azure Functions Core Tools with the function app of this clone."""
    environ = {**os.environ, **values}
    # Core Tools runs the worker with the first Python on PATH.
    environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environ.get("PATH", "")])
    return start_listening([command, "start", "--port", str(port)], log, environ, 180.0)


def start_stand_in(values: Mapping[str, str], log: Path, root: Path, options: Sequence[str] = ()) -> Child:
    """Start the stand-in for the host with the function app of a folder."""
    command = [sys.executable, "-m", "local.host", "--exit-with-stdin", "--root", str(root), *options]
    return start_listening(command, log, {**os.environ, **values}, 60.0)


def start_listening(command: Sequence[str], log: Path, environ: Mapping[str, str], seconds: float) -> Child:
    """Start a host and wait until it has read its functions, which both list then."""
    return start_child("The Functions host", command, log, environ, ready=b"Functions:", seconds=seconds)


def start_page(values: Mapping[str, str], log: Path, port: int = PAGE_PORT) -> tuple[Child, str]:
    """Start the page for the account of the settings, on the port or a later one; return it with its address."""
    command = [sys.executable, "-m", "local", "view", "--exit-with-stdin", "--port"]
    environ = {**os.environ, **values}
    # It begins with the address, which may hold a token.
    log.parent.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    log.touch(mode=0o600)
    child = on_free_port(
        port,
        lambda port: start_child(
            "The page", [*command, str(port)], log, environ, ready=ACCEPTS_CONNECTIONS, seconds=60.0
        ),
    )
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


def find_core_tools() -> str | None:
    """Return the path of Azure Functions Core Tools; None if they are not installed or are switched off.

    Raises:
        ChildError: NER_CORE_TOOLS names something else.
    """
    named = os.environ.get(CORE_TOOLS)
    if named == OFF:
        return None
    found = shutil.which(named or "func")
    if found and is_core_tools(found):
        return found
    if named:
        raise ChildError(
            f"{CORE_TOOLS} names {named}, which is not Azure Functions Core Tools 4: set it to the path of 'func', "
            f"or to '{OFF}' for the host emulator"
        )
    return None


@cache
def is_core_tools(command: str) -> bool:
    """Return whether a command called `func` is Core Tools 4, not a Windows one seen from WSL or another program."""
    try:
        said = subprocess.run([command, "--version"], capture_output=True, text=True, timeout=60.0, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return said.returncode == 0 and re.search(r"^4\.\d+", said.stdout, re.MULTILINE) is not None


def create_containers_and_queues(settings: Settings) -> None:
    """Create what a deployment would have created: the two containers and the queues."""
    with storage_clients(settings) as (blobs, queues):
        for container in (settings.input_container, settings.results_container):
            with suppress(ResourceExistsError):
                blobs.create_container(container)
        events = [settings.event_queue] * (settings.blob_trigger_source == EVENT_QUEUE)
        for queue in (settings.queue, *events):
            with suppress(ResourceExistsError):
                queues.create_queue(queue)
