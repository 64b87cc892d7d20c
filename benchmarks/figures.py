"""The figures of a run, and what the calls of the storage account are."""

import re
from dataclasses import dataclass
from typing import Final

from benchmarks import prices

QUEUES: Final = re.compile(r"azure-webjobs-blobtrigger-.*|ner-jobs.*|webjobs-.*")


@dataclass(frozen=True)
class Figures:
    """What a run gave. Times are in seconds."""

    files: int
    seconds: float
    calls: dict[str, int]
    """Of the service, by method and status."""
    operations: dict[str, int]
    """Of the storage account, by what they do; `host` before those that the host makes for any app."""
    processor_seconds: float
    waits: list[float]
    """From a job's end to its outcome, over the job's duration; one for each file."""
    executions: list[float]
    """How long each took."""
    peak_memory: int
    """The most that the host and its worker have had in memory, in bytes."""

    @property
    def files_per_second(self) -> float:
        """The worker's throughput."""
        return self.files / self.seconds

    @property
    def calls_per_file(self) -> float:
        """Calls of the service."""
        return sum(self.calls.values()) / self.files

    @property
    def operations_per_file(self) -> float:
        """Operations on the storage account, of app and host, without the looks for messages."""
        return sum(number for name, number in self.operations.items() if name != "host: receive") / self.files

    @property
    def processor_milliseconds(self) -> float:
        """Of host and worker, for each file."""
        return 1000 * self.processor_seconds / self.files

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
    if place == "incoming":
        # Files are written by those who drop them. The host reads each once, or leaves that to the app.
        return {"PUT": None, "GET": "read incoming"}.get(method, f"{verb} {place}")
    return f"host: {verb} {place}" if place == "azure-webjobs-hosts" else f"{verb} {place}"
