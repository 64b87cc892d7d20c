"""How much hostile files delay small ones: `python -m benchmarks.hostile_files`.

- `entries`: four files of 20 MB with millions of tiny entries, and five small files;
- `marks`: one file of 0.6 MB, a space and a combining mark in turns, and ten small files.

The small files are uploaded last. Each gets its entities, and is submitted once.
"""

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

import msgspec
from azure.storage.blob import BlobServiceClient

from benchmarks.observing import UNLIMITED, peak_of, processes_of, submitted_in
from benchmarks.running import THIS_APP, letters, running
from local.app_settings import SAMPLE, read_values
from shared.names import result_name
from shared.outcome import Outcome, OutcomeStatus
from shared.settings import Settings

SWITCHES: Final = {"jobSeconds": 1.0, "callsPerMinute": UNLIMITED}
MARKS_BYTES: Final = 600_000
GOOD: Final = b'{"id": "1", "text": "Please book a table at the Blue Heron."}'


class Case(NamedTuple):
    """The files that are uploaded.

    Attributes:
        hostile: the files by name.
        small: the number of small files that follow.
    """

    hostile: Mapping[str, bytes]
    small: int


class Beside(NamedTuple):
    """The measurements of a case.

    Attributes:
        seconds: from the events to the last outcome of the small files.
        all_seconds: the same for all files.
        grown: bytes by which the worker's peak memory grew.
    """

    seconds: float
    all_seconds: float
    grown: int


def cases() -> dict[str, Case]:
    """Return the cases by name."""
    size = Settings.from_environ(read_values(SAMPLE)).max_blob_bytes
    room = size - len(GOOD) - 2
    entries = {
        "numbers.json": b"[" + b"1," * (room // 2) + GOOD + b"]",
        "objects.json": b"[" + b"{}," * (room // 3) + GOOD + b"]",
        "numbers.jsonl": b"1\n" * (room // 2) + GOOD,
        "braces.jsonl": b"{\n" * (room // 2) + GOOD,
    }
    marks = " \u0301".encode()
    return {
        "entries": Case(entries, 5),
        "marks": Case({"marks.txt": marks * (MARKS_BYTES // len(marks))}, 10),
    }


def measure() -> dict[str, Beside]:
    """Return the measurements of each case, each on its own app."""
    return {name: measure_case(case) for name, case in cases().items()}


def measure_case(case: Case) -> Beside:
    """Upload the files of a case to a warm app.

    Raises:
        RuntimeError: a small file did not succeed or was submitted twice, or the worker was replaced.
    """
    with running(THIS_APP, switches=SWITCHES) as run:
        run.measure(letters(1, "warm-up"))
        worker = processes_of(run.host)[-1]
        peak = peak_of(worker)
        small = letters(case.small, "small")
        run.upload({**case.hostile, **small})
        before = set(run.ended())
        begin = time.time()
        run.announce(list(case.hostile))
        run.announce(list(small))
        run.wait_for(len(case.hostile) + case.small, len(before))
        ended = {name: instant.timestamp() - begin for name, instant in run.ended().items() if name not in before}
        check(run.blobs, list(small))
        log = run.host.log.read_text(encoding="utf-8")
        submitted = Counter(name for names, _ in submitted_in(log) for name in names)
        if any(submitted[name] != 1 for name in small):
            raise RuntimeError("A small file was submitted more than once.")
        if processes_of(run.host)[-1] != worker:
            raise RuntimeError(f"The worker was replaced. {run.host.last_words()}")
        return Beside(max(ended[name] for name in small), max(ended.values()), peak_of(worker) - peak)


def check(blobs: BlobServiceClient, names: list[str]) -> None:
    """Raise RuntimeError unless each file has succeeded."""
    for name in names:
        data = blobs.get_blob_client("results", result_name(name)).download_blob().readall()
        outcome = msgspec.json.decode(data, type=Outcome)
        if outcome.status is not OutcomeStatus.SUCCEEDED:
            raise RuntimeError(f"{name} did not succeed: {outcome.errors}")


def table(cases: Mapping[str, Beside]) -> Iterator[str]:
    """Yield the table of the measurements."""
    yield "`entries`: four files of 20 MB with millions of tiny entries, and five small files. `marks`: 0.6 MB of a"
    yield "space and a combining mark in turns, and ten small files. Each small file got its entities and was submitted"
    yield "once. The time is from the events to the last outcome; jobs take about 1 s."
    yield ""
    yield "| | small files, s | all files, s | growth of the worker's peak memory, MB |"
    yield "| --- | --- | --- | --- |"
    for name, found in cases.items():
        yield f"| `{name}` | {found.seconds:.1f} | {found.all_seconds:.1f} | {found.grown / 1e6:.0f} |"


def main() -> None:
    """Print a line for each case."""
    for name, found in measure().items():
        print(
            f"{name}: small files ended after {found.seconds:.1f} s, all after {found.all_seconds:.1f} s; "
            f"the worker's peak grew by {found.grown / 1e6:.0f} MB"
        )


if __name__ == "__main__":
    main()
