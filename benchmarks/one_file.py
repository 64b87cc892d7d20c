"""One file on an idle app: seconds from the end of its upload to its submission, and to its outcome.

`python -m benchmarks.one_file` measures this app as `make start` runs it: with the sample's settings, and the host
emulator that scans the container. The arguments are folders of other checkouts, whose apps and host emulators take
turns with this one: `python -m benchmarks.one_file ../before`.
"""

import argparse
import os
import random
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from azure.storage.blob import BlobClient, BlobServiceClient

from benchmarks.observing import jobs_of
from benchmarks.running import LOGS, Emulators, emulators
from local.app_settings import read_values
from local.children import Child
from local.install import ROOT
from shared.names import result_name

FILES: Final = 24
WARM_UP: Final = 3
"""Files that are not measured: after them, all modules are imported and the schedule is learned."""
SWITCHES: Final = {"jobSeconds": 2.0}
IDLE_SECONDS: Final = (6.0, 9.0)
"""Range of the random pause after an outcome. After it, the host polls the empty queue at the longest interval. No two
files are written in the same second: a scan would miss one of them."""
STEP_SECONDS: Final = 0.05
LONGEST_SECONDS: Final = 120.0


@dataclass(frozen=True)
class Seconds:
    """Times of a file, in seconds from the end of its upload."""

    submitted: float
    ended: float


@contextmanager
def hosted(folder: Path) -> Iterator[Emulators]:
    """Run the app of a checkout with its own settings and its own host emulator until the block ends."""
    values = read_values(folder / "local.settings.sample.json")
    command = [sys.executable, "-m", "local.host", "--exit-with-stdin", "--root", str(folder)]
    logs = LOGS / folder.name
    with emulators(values, SWITCHES, logs) as around:
        log, environ = logs / "host.log", {**os.environ, **around.settings}
        with Child("The Functions host", command, log, environ=environ, cwd=folder) as host:
            host.wait_until(lambda: b"Functions:" in log.read_bytes())
            yield around


def drop(around: Emulators, blobs: BlobServiceClient, name: str) -> Seconds:
    """Upload a file and wait for its outcome."""
    blobs.get_blob_client("incoming", name).upload_blob(b"Please book a table at the Blue Heron.")
    uploaded = time.time()
    ended = time_of(blobs.get_blob_client("results", result_name(name))) - uploaded
    return Seconds(jobs_of(around.service)[name][0].timestamp() - uploaded, ended)


def time_of(outcome: BlobClient) -> float:
    """Wait until an outcome exists; return the time.

    Raises:
        TimeoutError: there is none after LONGEST_SECONDS.
    """
    end = time.time() + LONGEST_SECONDS
    while not outcome.exists():
        if time.time() > end:
            raise TimeoutError(f"There is no {outcome.blob_name}")
        time.sleep(STEP_SECONDS)
    return time.time()


def measure(folders: Sequence[Path]) -> dict[Path, list[Seconds]]:
    """Drop files one after another, on the app of each checkout in turn."""
    found: dict[Path, list[Seconds]] = {folder: [] for folder in folders}
    chance = random.Random(0)
    with ExitStack() as opened:
        apps = {folder: opened.enter_context(hosted(folder)) for folder in folders}
        accounts = {
            folder: opened.enter_context(BlobServiceClient.from_connection_string(app.azurite.connection_string))
            for folder, app in apps.items()
        }
        for number in range(-WARM_UP, FILES):
            for folder in folders:
                seconds = drop(apps[folder], accounts[folder], f"letter{number}.txt")
                if number >= 0:
                    found[folder].append(seconds)
                time.sleep(chance.uniform(*IDLE_SECONDS))
    return found


def table(found: Mapping[str, Sequence[Seconds]]) -> Iterator[str]:
    """Yield a row for each app."""
    yield "| | upload to submission, median | p95 | upload to outcome, median | p95 |"
    yield "| --- | --- | --- | --- | --- |"
    for name, files in found.items():
        cells = []
        for values in (sorted(one.submitted for one in files), sorted(one.ended for one in files)):
            cells += [f"{statistics.median(values):.1f} s", f"{values[int(0.95 * len(values))]:.1f} s"]
        yield f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    """Measure this app, and those of the checkouts that are named."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.one_file", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER", help="another checkout")
    found = measure([ROOT, *(folder.resolve() for folder in parser.parse_args().folders)])
    print("\n".join(table({folder.name: files for folder, files in found.items()})))


if __name__ == "__main__":
    main()
