"""The figures of a run, and what the calls of the storage account are."""

import re
from collections import Counter
from dataclasses import dataclass
from typing import Final

from benchmarks import prices

QUEUES: Final = re.compile(r"azure-webjobs-blobtrigger-.*|ner-jobs.*|webjobs-.*")

THROUGHPUT_SHARE: Final = 0.99
"""Share of the files of a burst whose time determines the throughput."""


@dataclass(frozen=True)
class Load:
    """The cost of processing files. Times are in seconds."""

    files: int
    seconds: float
    calls: dict[str, int]
    """Calls to the service, by method and status."""
    operations: dict[str, int]
    """Operations on the storage account, by kind. Those that the host makes for any app begin with `host`."""
    processor_seconds: float

    @property
    def files_per_second(self) -> float:
        """The worker's throughput."""
        return self.files / self.seconds

    @property
    def calls_per_file(self) -> float:
        """Calls to the service, for each file."""
        return sum(self.calls.values()) / self.files

    @property
    def operations_per_file(self) -> float:
        """Operations of the app and the host on the storage account, for each file, without polls of the queues."""
        return sum(number for name, number in self.operations.items() if name != "host: receive") / self.files

    @property
    def processor_milliseconds(self) -> float:
        """Processor time of host and worker, for each file."""
        return 1000 * self.processor_seconds / self.files


@dataclass(frozen=True)
class Figures(Load):
    """The figures of a run."""

    waits: list[float]
    """From a job's end to its outcome, over the job's duration; one for each file."""
    executions: list[float]
    """Duration of each execution, in seconds."""
    peak_memory: int
    """Peak memory of the host and of its worker, added up, in bytes."""

    @property
    def dollars(self) -> float:
        """What storage and executions of a thousand files cost."""
        storage = sum(number * price_of(name) for name, number in self.operations.items() if name != "host: receive")
        # Executions share the worker's memory; each is billed for a step at least, by its own time.
        gigabyte_seconds = prices.MEMORY_STEP_GIGABYTES * sum(
            max(seconds, prices.SHORTEST_EXECUTION_SECONDS) for seconds in self.executions
        )
        executions = len(self.executions) * prices.EXECUTION + gigabyte_seconds * prices.GIGABYTE_SECOND
        return 1000 * (storage + executions) / self.files


@dataclass(frozen=True)
class Burst(Load):
    """The figures of a run whose files may share jobs."""

    throughput_seconds: float
    """Time until all but the last hundredth of the files had an outcome."""
    storage_seconds: float
    """Processor time of the storage emulator."""
    delays: list[float]
    """Times from a file's event to its outcome, in ascending order."""
    jobs: dict[int, int]
    """Number of jobs, by their number of documents; each file is one document."""

    @property
    def files_per_second(self) -> float:
        """The worker's throughput without the last files, of which one may wait for a minute until it is polled."""
        return THROUGHPUT_SHARE * self.files / self.throughput_seconds

    @property
    def storage_milliseconds(self) -> float:
        """Processor time of the storage emulator, for each file."""
        return 1000 * self.storage_seconds / self.files

    @property
    def refused_calls(self) -> int:
        """Calls that the service answered with status 429."""
        return sum(number for name, number in self.calls.items() if name.endswith(" 429"))

    @property
    def documents_per_job(self) -> float:
        """Mean number of documents in a job."""
        return sum(documents * number for documents, number in self.jobs.items()) / Counter(self.jobs).total()

    def delay(self, share: float) -> float:
        """Return the delay that this share of the files does not exceed."""
        return self.delays[min(int(share * len(self.delays)), len(self.delays) - 1)]

    def share_within(self, seconds: float) -> float:
        """Return the share of the files whose delay is at most this."""
        return sum(delay <= seconds for delay in self.delays) / len(self.delays)


@dataclass(frozen=True)
class Exchanged:
    """The figures of a run of several processes. Delays are from a job's end to its outcome, in seconds."""

    gets_per_job: float
    mean_delay: float
    p95_delay: float
    cost: float
    """What the polling schedule minimises: GETs, and the mean delay relative to the job's duration."""
    refused_calls: float


def price_of(operation: str) -> float:
    """Return the price of a storage operation."""
    if "message" in operation:
        return prices.QUEUE
    if "delete" in operation:
        return prices.DELETE
    return prices.BLOB_WRITE if "write" in operation else prices.BLOB_OTHER


def operation_of(method: str, place: str, rest: str) -> str | None:
    """Return what a call of the storage account did; None if it was none of the app's or the host's."""
    if "restype=" in rest or "comp=list" in rest or not rest.startswith("/"):
        return None
    if QUEUES.fullmatch(place):
        by_host = place != "ner-jobs" or method in ("GET", "DELETE")
        verb = {"GET": "receive", "DELETE": "delete message", "POST": "put message", "PUT": "update message"}[method]
        return f"host: {verb}" if by_host else verb
    verb = {"PUT": "write", "GET": "read", "HEAD": "head", "DELETE": "delete"}[method]
    # These cost less than a write.
    verb = "lease" if "comp=lease" in rest else "set metadata of" if "comp=metadata" in rest else verb
    if place == "incoming":
        # Files are written by those who drop them. The host reads each once, or leaves that to the app.
        return {"PUT": None, "GET": "read incoming"}.get(method, f"{verb} {place}")
    return f"host: {verb} {place}" if place == "azure-webjobs-hosts" else f"{verb} {place}"
