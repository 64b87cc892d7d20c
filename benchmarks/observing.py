"""Observe a run from outside: through the log of the app, the NER emulator and the kernel (Linux)."""

import os
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx

from local.children import Child

UNLIMITED: Final = 10**9
"""Calls to the service per minute."""
SPREAD: Final = 0.5
"""Sigma of the lognormal distribution of the jobs' durations."""
ENDED_WORDS = ": wrote the outcome"
"""After a file's name in the log of each app, once it has ended."""
REPEATED_WORDS = ": wrote no outcome, because this version already has one"
"""The same in this app's log, if the response of storage came too late: the second try finds the outcome."""
ENDED = re.compile(rf"^(?P<time>\S+ \S+) INFO \w+: '(?P<name>[^']+)'(?:{ENDED_WORDS}|{REPEATED_WORDS})", re.MULTILINE)

SUBMITTED = re.compile(r"^\S+ \S+ INFO ner: (?P<names>'.*'): submitted as job (?P<job>\S+) of batch \S+$", re.MULTILINE)
NAME = re.compile(r"'([^']+)'")


def ended_in(log: str) -> dict[str, datetime]:
    """Return, for each file that has ended, when it ended, from the log of an app."""
    return {match["name"]: instant_of(match["time"]) for match in ENDED.finditer(log)}


def calls_of(emulator: str) -> Counter[str]:
    """Return the calls to the service so far, by method and status."""
    answer = httpx.get(f"{emulator}/emulator/stats").raise_for_status().json()
    return Counter({name: int(number) for name, number in answer["calls"].items()})


def jobs_of(emulator: str, *logs: Path) -> dict[str, tuple[datetime, float]]:
    """Return when the job of each file was created, and how long it took.

    Args:
        emulator: URL of the service.
        logs: logs of the apps. They name all files of a job; the service lists it under the name of one.
    """
    shown: list[dict[str, Any]] = httpx.get(f"{emulator}/emulator/jobs", timeout=60).raise_for_status().json()["jobs"]
    times = {job["jobId"]: (datetime.fromisoformat(job["createdDateTime"]), float(job["seconds"])) for job in shown}
    found = {str(job["displayName"]): times[job["jobId"]] for job in shown}
    for log in logs:
        for names, job_id in submitted_in(log.read_text(encoding="utf-8")):
            found |= dict.fromkeys(names, times[job_id])
    return found


def submitted_in(log: str) -> Iterator[tuple[list[str], str]]:
    """Yield, for each job in the log of this app, the names of its files and its ID."""
    for match in SUBMITTED.finditer(log):
        yield NAME.findall(match["names"]), match["job"]


def documents_of(emulator: str) -> Counter[int]:
    """Return the number of the service's jobs, by their number of documents."""
    answer = httpx.get(f"{emulator}/emulator/stats").raise_for_status().json()
    return Counter({int(documents): int(jobs) for documents, jobs in answer["documentsPerJob"].items()})


def switches(job_seconds: float, calls_per_minute: int = UNLIMITED, latency: float = 0.0) -> dict[str, Any]:
    """Return the emulator's switches for jobs of a lognormal duration with this median."""
    told = {"jobSeconds": job_seconds, "jobSpread": SPREAD, "callsPerMinute": calls_per_minute}
    return {**told, "latencySeconds": latency}


def switch(emulator: str, switches: Mapping[str, Any]) -> None:
    """Set the switches of the NER emulator."""
    httpx.put(f"{emulator}/emulator/switches", json=dict(switches)).raise_for_status()


def processes_of(host: Child) -> list[int]:
    """Return the process IDs of a child, such as the host, and of its own children, such as the worker (Linux)."""
    pid = host.process.pid
    return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split())]


def processor_seconds_of(child: Child) -> float:
    """Return the processor time of a child and its own children so far, in seconds (Linux)."""
    ticks = 0
    for pid in processes_of(child):
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def peak_of(pid: int) -> int:
    """Return the peak memory of a process, in bytes (Linux)."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def instant_of(text: str) -> datetime:
    """Parse the time of a log line, which is in the time zone of this machine."""
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S,%f").astimezone(UTC)


class OtherPrograms:
    """The load of this machine from now on, without that of this process and its children (Linux)."""

    def __init__(self) -> None:
        self.begin, self.busy, self.own = time.monotonic(), busy_seconds(), own_seconds()

    def share(self) -> float:
        """Return the share of the processors that other programs used. Children count once they have ended."""
        others = busy_seconds() - self.busy - (own_seconds() - self.own)
        return max(others, 0.0) / ((time.monotonic() - self.begin) * (os.cpu_count() or 1))


def own_seconds() -> float:
    """Return the processor time of this process and of its children that have ended."""
    return sum(os.times()[:4])


def busy_seconds() -> float:
    """Return for how many seconds, added up, the processors of this machine have been busy so far (Linux)."""
    user, nice, system, _, _, *interrupts = Path("/proc/stat").read_text(encoding="ascii").split("\n")[0].split()[1:9]
    return sum(int(ticks) for ticks in (user, nice, system, *interrupts)) / os.sysconf("SC_CLK_TCK")
