"""One measured run: a fresh Azurite, the NER emulator, a host with an app, and files that are dropped together.

The emulator counts its calls. Azurite's access log gives the storage operations. The kernel gives the processor time
and the memory of the host and its worker. The host's log gives the executions and when each file ended.
"""

import os
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

import httpx
from azure.storage.blob import BlobServiceClient

from benchmarks import observing
from benchmarks.figures import Figures, operation_of
from local import stack
from local.app_settings import SAMPLE, read_values
from local.children import Child, free_port
from local.host import event_grid
from local.install import ROOT, STATE
from local.storage_emulator import Azurite
from shared.settings import Settings

APPS: Final = ROOT / "benchmarks" / "apps"
LOGS: Final = STATE / "logs" / "bench"
EVENTS_AT_ONCE: Final = 10
CLIENTS: Final = 8
"""Threads that upload files and post their events: a single one would be slower than some apps."""
PATIENCE_SECONDS: Final = 3600.0
PROGRESS_SECONDS: Final = 20.0
MEASURED: Final = {"NER_BLOB_TRIGGER_SOURCE": "EventGrid", "NER_SWEEP_SCHEDULE": "0 0 0 1 1 *"}
"""App settings that differ from the sample. All files are in the container before their events are posted, so a sweep,
which the sample runs every few seconds, would submit them. `benchmarks.sweeping` measures the sweep separately."""

ACCESS = re.compile(rb'"(?P<method>[A-Z]+) /devstoreaccount1/(?P<place>[^/?]+)(?P<rest>[^ ]*) HTTP')
EXECUTION = re.compile(
    r"^(?P<time>\S+ \S+) INFO host: (?P<what>Executing|Executed) '(?P<function>[^']+)' .*Id=(?P<id>[0-9a-f-]+)\)",
    re.MULTILINE,
)


@dataclass(frozen=True)
class App:
    """A function app to measure."""

    name: str
    root: Path
    values: Mapping[str, str] = field(default_factory=dict)
    checkout: Path = ROOT
    """The checkout whose host emulator runs the app, with the settings of its sample."""


THIS_APP: Final = App("this app", ROOT)
PEERS: Final = (
    App("blocking", APPS / "blocking"),
    App("blocking, asyncio", APPS / "blocking_async"),
    App("requeue every 5 s", APPS / "fixed_interval", {"POLL_SECONDS": "5"}),
    App("requeue every 30 s", APPS / "fixed_interval", {"POLL_SECONDS": "30"}),
)


class Run:
    """A running app, to be measured."""

    def __init__(self, app: App, azurite: Azurite, emulator: str, host: Child, port: int) -> None:
        self.app = app
        self.azurite = azurite
        self.emulator = emulator
        self.host = host
        # Each request has its own connection: after a response of Microsoft's listeners, none can be used again.
        limits = httpx.Limits(max_keepalive_connections=0)
        self.webhook = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, limits=limits)
        self.blobs = BlobServiceClient.from_connection_string(azurite.connection_string)
        # In each app, the first function is the one with the blob trigger.
        self.function = re.findall(r"Functions: (\w+)", host.log.read_text(encoding="utf-8"))[0]

    def upload(self, texts: Mapping[str, bytes]) -> None:
        """Upload files without announcing them."""
        container = self.blobs.get_container_client("incoming")
        with ThreadPoolExecutor(CLIENTS) as clients:
            list(clients.map(lambda name: container.upload_blob(name, texts[name], overwrite=True), texts))

    def announce(self, names: Sequence[str], per_second: float | None = None) -> dict[str, float]:
        """Post the events of uploaded files, `per_second` a second or all immediately; return when each was posted."""
        posted: dict[str, float] = {}

        def post(some: Sequence[str]) -> None:
            posted.update(dict.fromkeys(some, time.time()))
            self.post(some)

        groups = [names[number : number + EVENTS_AT_ONCE] for number in range(0, len(names), EVENTS_AT_ONCE)]
        begin = time.monotonic()
        if per_second is None:
            with ThreadPoolExecutor(CLIENTS) as clients:
                list(clients.map(post, groups))
        else:
            for number, group in enumerate(groups, 1):
                post(group)
                time.sleep(max(begin + number * EVENTS_AT_ONCE / per_second - time.monotonic(), 0.0))
        return posted

    def post(self, names: Sequence[str]) -> None:
        """Post events as Event Grid does: again until they are accepted."""
        urls = [self.blobs.get_blob_client("incoming", name).url for name in names]
        delivered = False
        while not delivered:
            answer = self.webhook.post(
                event_grid.PATH,
                params={"functionName": f"Host.Functions.{self.function}"},
                headers={"aeg-event-type": "Notification"},
                json=[{"data": {"url": url, "eTag": "", "blobType": "BlockBlob"}} for url in urls],
            )
            delivered = not answer.is_server_error
        answer.raise_for_status()

    def ended(self) -> dict[str, datetime]:
        """Return, for each file that has ended, when it ended."""
        return observing.ended_in(self.host.log.read_text(encoding="utf-8"))

    def wait_for(self, count: int, before: int) -> None:
        """Wait until this many files have ended, not counting those before; print the number every PROGRESS_SECONDS."""
        begin = time.monotonic()
        deadline, next_line = begin + PATIENCE_SECONDS, begin + PROGRESS_SECONDS
        names: set[str] = set()
        position = 0
        while True:
            with self.host.log.open("rb") as log:
                log.seek(position)
                # Whole lines only: the last one may be incomplete.
                lines, newline, _ = log.read().rpartition(b"\n")
            names.update(observing.ended_in(lines.decode(errors="replace")))
            seen = len(names) - before
            position += len(lines) + len(newline)
            if seen >= count:
                return
            if not self.host.is_running or time.monotonic() > deadline:
                raise RuntimeError(f"{self.app.name}: {seen:,} of {count:,} files ended. {self.host.last_words()}")
            if time.monotonic() > next_line:
                print(f"      {seen:,} of {count:,} files ended", flush=True)
                next_line += PROGRESS_SECONDS
            time.sleep(0.25)

    def processor_seconds(self) -> float:
        """Return the processor time of the host and its worker so far."""
        return observing.processor_seconds_of(self.host)

    def memory(self) -> int:
        """Return the memory of the host and its worker, in bytes."""
        files = (Path(f"/proc/{pid}/statm") for pid in observing.processes_of(self.host))
        pages = sum(int(file.read_text(encoding="ascii").split()[1]) for file in files)
        return pages * os.sysconf("SC_PAGE_SIZE")

    def peak_memory(self) -> int:
        """Return the peak memory of the host and of its worker, added up, in bytes."""
        return sum(observing.peak_of(pid) for pid in observing.processes_of(self.host))

    def operations(self) -> Counter[str]:
        """Return the operations on the storage account so far."""
        found: Counter[str] = Counter()
        for match in ACCESS.finditer(self.azurite.log.read_bytes()):
            operation = operation_of(*(match[key].decode() for key in ("method", "place", "rest")))
            if operation is not None:
                found[operation] += 1
        return found

    def calls(self) -> Counter[str]:
        """Return the calls to the service so far."""
        return observing.calls_of(self.emulator)

    def jobs(self) -> dict[str, tuple[datetime, float]]:
        """Return when the job of each file was created, and how long it took."""
        return observing.jobs_of(self.emulator, self.host.log)

    def executions(self) -> Iterator[float]:
        """Yield the duration of each execution that has ended, in seconds."""
        begun: dict[str, datetime] = {}
        for match in EXECUTION.finditer(self.host.log.read_text(encoding="utf-8")):
            instant = observing.instant_of(match["time"])
            if match["what"] == "Executing":
                begun[match["id"]] = instant
            else:
                yield (instant - begun.pop(match["id"])).total_seconds()

    def measure(self, texts: Mapping[str, bytes], per_second: float | None = None) -> Figures:
        """Drop files, wait until all have ended, and return the figures.

        Args:
            texts: content of the files, by name.
            per_second: how many files a second are announced; None announces all immediately.
        """
        before = len(self.ended())
        self.upload(texts)
        processor = self.processor_seconds()
        operations, calls, executions = self.operations(), self.calls(), len(list(self.executions()))
        begin = time.monotonic()
        self.announce(list(texts), per_second)
        self.wait_for(len(texts), before)
        ended, jobs = self.ended(), self.jobs()
        seconds = time.monotonic() - begin
        time.sleep(1.0)  # after the last outcome, records and messages are deleted
        waits = []
        for name in texts:
            created, duration = jobs[name]
            job_end = created.timestamp() + duration
            waits.append(max(ended[name].timestamp() - job_end, 0.0) / duration)
        new_calls = self.calls() - calls
        return Figures(
            files=len(texts),
            seconds=seconds,
            calls=dict(new_calls),
            operations=dict(self.operations() - operations),
            processor_seconds=self.processor_seconds() - processor,
            waits=sorted(waits),
            executions=list(self.executions())[executions:],
            peak_memory=self.peak_memory(),
        )


def letters(count: int, prefix: str = "letter") -> dict[str, bytes]:
    """Return small files by name."""
    return {
        f"{prefix}-{number:05}.txt": f"Please book a table at the Blue Heron in Zürich for {number} people.".encode()
        for number in range(count)
    }


class Emulators(NamedTuple):
    """A storage account and a service, each in its own process, and the app settings that name them."""

    azurite: Azurite
    service: str
    settings: dict[str, str]


@contextmanager
def emulators(values: Mapping[str, str], switches: Mapping[str, Any], logs: Path = LOGS) -> Iterator[Emulators]:
    """Run a storage account, with the containers and queues of a deployment, and a service until the block ends.

    Args:
        values: app settings.
        switches: switches of the NER emulator.
        logs: folder for their logs.
    """
    settings = dict(values)
    with ExitStack() as opened:
        ports = (free_port(), free_port(), free_port())
        # With its data in memory, Azurite stops for half a minute to search through thousands of messages.
        data = Path(opened.enter_context(TemporaryDirectory(dir=STATE)))
        azurite = opened.enter_context(Azurite(logs / "azurite.log", data=data, ports=ports, access_log=True))
        settings |= dict.fromkeys(("AzureWebJobsStorage", "NER_STORAGE"), azurite.connection_string)
        port = free_port()
        opened.enter_context(stack.start_ner_emulator(settings, port, None, logs / "ner-emulator.log"))
        settings["NER_ENDPOINT"] = service = f"http://127.0.0.1:{port}"
        observing.switch(service, switches)
        stack.create_containers_and_queues(Settings.from_environ(settings))
        yield Emulators(azurite, service, settings)


@contextmanager
def running(
    app: App, *, switches: Mapping[str, Any], values: Mapping[str, str] | None = None, listeners: Path | None = None
) -> Iterator[Run]:
    """Run an app with its own storage account and service until the block ends.

    Args:
        app: the app.
        switches: switches of the NER emulator.
        values: app settings that differ from the sample.
        listeners: the program that replaces the listeners of the host emulator (`benchmarks.listeners`).
    """
    sample = read_values(app.checkout / SAMPLE.name)
    with emulators({**sample, **app.values, **MEASURED, **(values or {})}, switches) as around:
        webhook, log = free_port(), LOGS / "host.log"
        options = ["--root", str(app.root), "--port", str(webhook)]
        if listeners is None:
            command, folder = ["local.host", "--exit-with-stdin", *options], app.checkout
        else:
            named = ["--program", str(listeners), "--checkout", str(app.checkout)]
            command, folder = ["benchmarks.listeners", *named, *options], ROOT
        environ = {**os.environ, **around.settings}
        with Child("The host", [sys.executable, "-m", *command], log, environ=environ, cwd=folder) as host:
            host.wait_until(lambda: b"Functions:" in log.read_bytes())
            run = Run(app, around.azurite, around.service, host, webhook)
            with run.webhook, run.blobs:
                yield run
