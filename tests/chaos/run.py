"""Runs plans against the whole app: real storage, the service's emulator, and the functions in processes that die.

`python -m tests.chaos.run --seeds 10` (or `make chaos`). A seed that fails is named; `--first SEED --seeds 1` runs the
same plan again. What holds at the end is in `tests/chaos/verdict.py`.
"""

import argparse
import base64
import json
import shutil
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from azure.core.exceptions import AzureError
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient
from rich.console import Console
from rich.table import Table

from local import stack
from local.app_settings import SAMPLE, read_values
from local.children import Child
from local.install import STATE
from local.storage_emulator import Azurite
from shared.packing import REQUEST_LIMITS
from shared.settings import Settings
from tests.chaos.plan import KINDS, SWITCHES, Action, make_plan
from tests.chaos.refusing import Refusing
from tests.chaos.verdict import Account, Books, Uploaded, claimed, wait_for_the_end, without_outcome
from tests.chaos.workers import Frozen, await_replacement, kill_worker, starts
from tests.emulator import set_switches, stats
from tests.locks import break_locks
from tests.ports import free_port, free_ports
from tests.proxy import Service, ports_of, proxies_in_thread, through

LOGS = STATE / "logs" / "tests" / "chaos"
ACTIONS = 60
REFUSING_SECONDS = 3.0
"""How long calls are refused, at least; the run goes on meanwhile."""
TIMES = {
    "NER_POLL_MIN_SECONDS": "1",
    "NER_POLL_MAX_SECONDS": "3",
    # A claim of a killed worker is taken over soon, yet no call takes half as long.
    "NER_SUBMIT_TIMEOUT_SECONDS": "10",
    # The shortest that the app accepts.
    "AzureFunctionsJobHost__functionTimeout": "00:00:20",
    "AzureFunctionsJobHost__extensions__queues__visibilityTimeout": "00:00:05",
}
KILLED, TIMED_OUT, HOST_ENDED = "workers killed", "workers killed by functionTimeout", "hosts ended by a third death"
"""What followed from actions, and is counted like them."""
HOST_OPTIONS = ("--lease-seconds", "3", "--restart-seconds", "1")


class Run:
    """One run: the app, and what is done to it."""

    def __init__(self, seed: int, emulator: str, processes: ExitStack) -> None:
        """Start storage and one instance of the app."""
        self.seed = seed
        self.emulator = emulator
        self.processes = processes
        self.data = STATE / "chaos" / str(seed)
        shutil.rmtree(self.data, ignore_errors=True)
        self.azurite = Azurite(LOGS / f"azurite-{seed}.log", data=self.data, ports=free_ports())
        processes.callback(self.stop_storage)
        direct = self.azurite.connection_string
        # What is done to the run goes past the proxies, and so does the verdict.
        values = {**read_values(SAMPLE), "AzureWebJobsStorage": direct, "NER_STORAGE": direct}
        settings = Settings.from_environ(values)
        self.refusing = Refusing(seed, settings)
        between = processes.enter_context(proxies_in_thread(ports_of(direct, emulator), self.refusing))
        connection = through(direct, between.ports)
        self.values = {
            **values,
            "AzureWebJobsStorage": connection,
            "NER_STORAGE": connection,
            "NER_ENDPOINT": f"http://127.0.0.1:{between.ports[Service.NER]}",
            "AzureFunctionsWebHost__hostid": f"chaos-{seed}",
            **TIMES,
        }
        self.account = Account(
            settings,
            processes.enter_context(BlobServiceClient.from_connection_string(direct)),
            processes.enter_context(QueueServiceClient.from_connection_string(direct)),
        )
        stack.create_containers_and_queues(settings)
        self.books = Books(stats(emulator))
        self.done: Counter[str] = Counter()
        self.hosts: list[Child] = []
        self.started = 0
        self.frozen: Frozen | None = None
        self.before_timeout: set[str] = set()
        self.start_host()

    def stop_storage(self) -> None:
        """Stop the storage that runs now."""
        self.azurite.stop()

    def start_host(self) -> Child:
        """Start an instance of the app; one that was killed before leaves its locks."""
        self.started += 1
        if not self.hosts:
            break_locks(self.account.blobs, f"chaos-{self.seed}")
        host = stack.start_host(self.values, LOGS / f"host-{self.seed}-{self.started}.log", HOST_OPTIONS)
        self.processes.callback(host.stop)
        self.hosts.append(host)
        return host

    def do(self, action: Action) -> None:
        """Do what the plan says."""
        match action.kind:
            case "upload" | "burst" | "overwrite":
                with ThreadPoolExecutor(4) as pool:
                    list(pool.map(self.upload, (action, *action.others)))
            case "duplicate events":
                self.repeat_event(action)
            case "redelivered message":
                self.repeat_message()
            case "host kill":
                self.await_timeout()
                self.kill(self.hosts[-1])
                self.start_host()
            case "worker kill":
                self.kill_workers(action.times)
            case "function timeout":
                self.freeze_worker()
            case "second instance":
                other = self.start_host()
                time.sleep(action.times)
                self.kill(other)
            case "storage restart":
                self.restart_storage()
            case "refusals" | "odd answers":
                self.refusing.begin(action.kind, REFUSING_SECONDS * action.times)
            case kind:
                set_switches(self.emulator, **({"jobSeconds": 0.5} | SWITCHES[kind]))
        self.done[action.kind] += 1
        time.sleep(action.pause)

    def upload(self, action: Action) -> None:
        """Upload a version of a file."""
        blob = self.account.blobs.get_blob_client(self.account.settings.input_container, action.name)
        etag = str(blob.upload_blob(action.data, overwrite=True)["etag"]).strip('"')
        self.books.uploads.setdefault(action.name, []).append(Uploaded(etag, action.data, action.documents))

    def repeat_event(self, action: Action) -> None:
        """Tell the app of a file that is there, as the host's blob listener does."""
        newest = self.books.uploads[action.name][-1]
        notice = {
            "Type": "BlobTrigger",
            "FunctionId": "Host.Functions.submit",
            "BlobType": "BlockBlob",
            "ContainerName": self.account.settings.input_container,
            "BlobName": action.name,
            "ETag": f'"{newest.etag}"',
        }
        queue = self.account.queues.get_queue_client(f"azure-webjobs-blobtrigger-chaos-{self.seed}")
        for _ in range(action.times):
            queue.send_message(base64.b64encode(json.dumps(notice).encode()).decode())

    def repeat_message(self) -> None:
        """Let a message that is visible now be received twice."""
        queue = self.account.queues.get_queue_client(self.account.settings.queue)
        for message in queue.peek_messages(max_messages=4):
            queue.send_message(message.content)

    def kill(self, host: Child) -> None:
        """End an instance as a crash would; the versions that it was submitting may be submitted once more."""
        host.kill()
        self.hosts.remove(host)
        self.note_death()

    def kill_workers(self, times: int) -> None:
        """End the worker again and again; the third death of an instance ends it, and it is started again."""
        self.await_timeout()
        for _ in range(times):
            host = self.hosts[-1]
            count = len(starts(host))
            kill_worker(host)
            self.note_death()
            self.done[KILLED] += 1
            if not await_replacement(host, count):
                self.done[HOST_ENDED] += 1
                self.hosts.remove(host)
                self.start_host()

    def freeze_worker(self) -> None:
        """Stop the worker for longer than functionTimeout; the run goes on meanwhile."""
        self.await_timeout()
        self.frozen = Frozen(self.hosts[-1])
        self.note_death()
        self.before_timeout = self.books.etags()

    def await_timeout(self) -> None:
        """Wait until the host has killed a worker that does not go on."""
        if self.frozen is not None:
            self.frozen.await_end()
            self.frozen = None
            self.done[TIMED_OUT] += 1
            # Until it was killed, the worker was given what was uploaded.
            self.books.deaths.update(self.books.etags() - self.before_timeout)

    def note_death(self) -> None:
        """Take note that a worker has died: what it was submitting may be submitted again, or given up one day."""
        self.books.allow(claimed(self.account, self.books), self.refusing.posted_lately())
        self.books.note_death(without_outcome(self.account, self.books))

    def restart_storage(self) -> None:
        """Stop the storage account for a moment; what the app could not record then may be submitted once more."""
        before = claimed(self.account, self.books)
        self.stop_storage()
        time.sleep(1.0)
        ports = self.azurite.ports
        self.azurite = Azurite(LOGS / f"azurite-{self.seed}-{self.started}.log", data=self.data, ports=ports)
        in_work = before | claimed(self.account, self.books)
        self.books.allow(in_work, in_work.total(), REQUEST_LIMITS.documents)

    def finish(self) -> None:
        """End all faults, and wait until everything has come to rest."""
        self.refusing.end()
        self.await_timeout()
        self.books.allow(Counter(), 0, self.refusing.forgotten)
        self.books.answered = self.refusing.answered
        set_switches(self.emulator, jobSeconds=0.2)
        wait_for_the_end(self.account, self.books, lambda: stats(self.emulator))
        self.books.shared_requests = self.refusing.shared
        assert [host.is_running for host in self.hosts] == [True], "one instance is up"


def run_seed(seed: int, actions: int, emulator: str) -> Run:
    """Run a plan; raises AssertionError if something does not hold."""
    with ExitStack() as processes:
        processes.callback(set_switches, emulator)
        run = Run(seed, emulator, processes)
        for action in make_plan(seed, actions):
            run.do(action)
        run.finish()
    return run


@contextmanager
def ner_emulator() -> Iterator[str]:
    """Start the service's emulator."""
    port = free_port()
    with stack.start_ner_emulator(read_values(SAMPLE), port, None, LOGS / "ner-emulator.log"):
        yield f"http://127.0.0.1:{port}"


def show(runs: list[Run], console: Console) -> None:
    """Print what was done and what came of it."""
    table = Table(title="Faults injected and survived", title_justify="left")
    table.add_column("seed", no_wrap=True)
    for run in runs:
        table.add_column(str(run.seed), justify="right", no_wrap=True)
    for kind in [*(kind for kind, _ in KINDS if kind != "calm"), KILLED, TIMED_OUT, HOST_ENDED]:
        table.add_row(kind, *(str(run.done[kind]) for run in runs))
    table.add_section()
    for line in runs[0].books.totals():
        table.add_row(line, *(str(run.books.totals()[line]) for run in runs))
    console.print(table)


def main() -> int:
    """Run the seeds that are asked for; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.run", description=__doc__)
    parser.add_argument("--seeds", type=int, default=10, help="how many runs")
    parser.add_argument("--first", type=int, default=1, help="the seed of the first")
    parser.add_argument("--actions", type=int, default=ACTIONS, help="how many actions a run has")
    arguments = parser.parse_args()
    # Whatever the terminal's width, a log keeps the figures whole.
    console = Console(width=max(Console().width, 40 + 8 * arguments.seeds))
    runs, failed = [], []
    with ner_emulator() as emulator:
        for seed in range(arguments.first, arguments.first + arguments.seeds):
            try:
                runs.append(run_seed(seed, arguments.actions, emulator))
                console.print(f"seed {seed}: all holds")
            except (AssertionError, AzureError):
                failed.append(seed)
                console.print(f"seed {seed} FAILED", style="red")
                traceback.print_exc()
                console.print(f"Again: make chaos FIRST={seed} SEEDS=1   Logs: {LOGS.relative_to(Path.cwd())}")
    if runs:
        show(runs, console)
    have_shared = any(run.books.shared_requests for run in runs)
    if not have_shared:
        console.print("No files shared a request, so the bursts have tested nothing.", style="red")
    return 1 if failed or not have_shared else 0


if __name__ == "__main__":
    sys.exit(main())
