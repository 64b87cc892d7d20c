"""What can be seen of a run from outside: in an app's log, by the service's emulator, and by the kernel (Linux)."""

import re
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from local.children import Child

ENDED_WORDS = ": wrote the outcome"
"""After a file's name in the log of each app, once it has ended."""
ENDED = re.compile(rf"^(?P<time>\S+ \S+) INFO \w+: '(?P<name>[^']+)'{ENDED_WORDS}", re.MULTILINE)


def ended_in(log: Path) -> dict[str, datetime]:
    """Return when each file ended that has, by the log of an app."""
    return {match["name"]: instant_of(match["time"]) for match in ENDED.finditer(log.read_text(encoding="utf-8"))}


def calls_of(emulator: str) -> Counter[str]:
    """Return the calls of the service so far, by method and status."""
    answer = httpx.get(f"{emulator}/emulator/stats").raise_for_status().json()
    return Counter({name: int(number) for name, number in answer["calls"].items()})


def jobs_of(emulator: str) -> dict[str, tuple[datetime, float]]:
    """Return when the job of each file was created, and how long it took."""
    shown: list[dict[str, Any]] = httpx.get(f"{emulator}/emulator/jobs", timeout=60).raise_for_status().json()["jobs"]
    return {
        str(job["displayName"]): (datetime.fromisoformat(job["createdDateTime"]), float(job["seconds"]))
        for job in shown
    }


def switch(emulator: str, switches: Mapping[str, Any]) -> None:
    """Set how the service behaves from now on."""
    httpx.put(f"{emulator}/emulator/switches", json=dict(switches)).raise_for_status()


def processes_of(host: Child) -> list[int]:
    """Return the process IDs of the host and its worker (Linux)."""
    pid = host.process.pid
    return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split())]


def peak_of(pid: int) -> int:
    """Return the most memory that a process has had, in bytes (Linux)."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def instant_of(text: str) -> datetime:
    """Return the time of a log line, which is this machine's."""
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S,%f").astimezone(UTC)
