"""What the tests ask and tell the running NER emulator besides the API."""

from typing import Any

import httpx

# One for all: each client reads the machine's certificates again, which takes longer than a call.
CLIENT = httpx.Client(timeout=60, limits=httpx.Limits(keepalive_expiry=1.0))


def set_switches(ner_emulator: str, **switches: Any) -> None:
    """Set the emulator's switches; what is left out goes back to its default."""
    CLIENT.put(f"{ner_emulator}/emulator/switches", json=switches).raise_for_status()


def end_jobs(ner_emulator: str) -> None:
    """Let all jobs end now: with a `jobSeconds` of hours they run until then, however slow the machine is."""
    CLIENT.post(f"{ner_emulator}/emulator/jobs/end").raise_for_status()


def move_clock(ner_emulator: str, seconds: float) -> None:
    """Let time pass for the service: what its jobs are recognising ends first, so that only their time counts."""
    CLIENT.post(f"{ner_emulator}/emulator/clock", json={"seconds": seconds}).raise_for_status()


def documents(ner_emulator: str) -> int:
    """Return how many documents the service has accepted so far, in all jobs."""
    return sum(int(count) * jobs for count, jobs in stats(ner_emulator)["documentsPerJob"].items())


def submissions(ner_emulator: str, name: str) -> int:
    """Return how many jobs it has accepted for a file, in all tests so far."""
    return int(stats(ner_emulator)["submissions"].get(name, 0))


def looks(ner_emulator: str) -> int:
    """Return how many times it has been asked for a job."""
    return sum(count for call, count in stats(ner_emulator)["calls"].items() if call.startswith("GET "))


def stats(ner_emulator: str) -> dict[str, dict[str, int]]:
    """Return its counts."""
    answer: dict[str, dict[str, int]] = CLIENT.get(f"{ner_emulator}/emulator/stats").raise_for_status().json()
    return answer
