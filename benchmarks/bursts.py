"""Many small files that arrive together: their cost with this app, the apps of other checkouts, and a bare requeue.

`python -m benchmarks.bursts ../before` measures the cases below, each on every app in turn. The arguments are folders
of other checkouts; each runs with its own host emulator and the settings of its sample. The bare requeue polls at a
fixed interval and does nothing else. All times depend on the machine, so rely on the ratios.

- `at-once-1s`, `at-once-5s`: 1,000 files at once, with jobs of 1 s or 5 s;
- `limit`: 5,000 files at once on a service that accepts 1,000 calls per minute (`--files 1000` is the short form);
- `stream`: 12 files a second for 70 s, at the same limit;
- `listeners`: 300 files at once, with Microsoft's own storage listeners in place of the host emulator's. This case is
  skipped unless `--listeners`, or the environment variable NER_LISTENERS, names the folder of that program
  (`benchmarks/listeners.py`). Its jobs take exactly 1 s, and the bare requeue polls after 1 s.

A bare requeue cannot handle status 429, so it is left out of `limit` and `stream`.
"""

import argparse
import itertools
import json
import math
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from benchmarks.figures import THROUGHPUT_SHARE, Burst
from benchmarks.observing import SPREAD, UNLIMITED, OtherPrograms, documents_of, processor_seconds_of, switch, switches
from benchmarks.running import APPS, CLIENTS, THIS_APP, App, Run, letters, running
from local.install import ROOT

ROUNDS: Final = 3
WARM_UP: Final = 5
LONG_WARM_UP: Final = 100
"""The number of files after which .NET has compiled Microsoft's listeners."""
LIMIT: Final = 1000
"""Calls of the service per minute, as documented."""
PROMPT_SECONDS: Final = 20.0
PARALLEL: Final = "AzureFunctionsJobHost__extensions__blobs__maxDegreeOfParallelism"
LISTENERS: Final = "NER_LISTENERS"
PROGRAM: Final = "listeners"
"""Name of the program in the folder of the listeners."""

Found = dict[str, dict[str, list[Burst]]]
"""The runs of each case, by the title of the case and the name of the app."""

COLUMNS: Final[dict[str, tuple[Callable[[Burst], float], str]]] = {
    "seconds": (lambda burst: burst.seconds, ".0f"),
    "files/s": (lambda burst: burst.files_per_second, ".1f"),
    "calls": (lambda burst: burst.calls_per_file, ".2f"),
    "status 429": (lambda burst: burst.refused_calls, ".0f"),
    "documents per job": (lambda burst: burst.documents_per_job, ".1f"),
    "storage operations": (lambda burst: burst.operations_per_file, ".1f"),
    "CPU ms": (lambda burst: burst.processor_milliseconds, ".1f"),
    "Azurite's CPU ms": (lambda burst: burst.storage_milliseconds, ".1f"),
    "delay in s, median": (lambda burst: burst.delay(0.5), ".1f"),
    "p95": (lambda burst: burst.delay(0.95), ".1f"),
    f"within {PROMPT_SECONDS:g} s": (lambda burst: burst.share_within(PROMPT_SECONDS), ".0%"),
}
"""Calls, operations and processor time are per file. The delay is from the event to the outcome. `seconds` is the time
until all files have an outcome; files/s does not count the last hundredth of them."""


@dataclass(frozen=True)
class Case:
    """How files arrive, and what processes them."""

    files: int
    job_seconds: int
    spread: float = SPREAD
    calls_per_minute: int = UNLIMITED
    pace: float | None = None
    """Files per second; None means all at the same time."""
    on_listeners: bool = False
    poll_seconds: int = 5
    """The interval of the bare requeue."""

    @property
    def title(self) -> str:
        """The heading of the table."""
        pace = "at once" if self.pace is None else f", {self.pace:g} a second"
        limit = "" if self.has_requeue else f", {self.calls_per_minute:,} calls per minute"
        listeners = ", Microsoft's listeners" if self.on_listeners else ""
        return f"{self.files:,} files {pace}, jobs of {self.job_seconds} s{limit}{listeners}".replace(" ,", ",")

    @property
    def has_requeue(self) -> bool:
        """Whether the bare requeue is measured too."""
        return self.calls_per_minute == UNLIMITED

    @property
    def switches(self) -> dict[str, Any]:
        """The switches of the NER emulator."""
        return {**switches(self.job_seconds, self.calls_per_minute), "jobSpread": self.spread}


CASES: Final = {
    "at-once-1s": Case(1000, 1),
    "at-once-5s": Case(1000, 5),
    "limit": Case(5000, 5, calls_per_minute=LIMIT),
    "stream": Case(840, 5, calls_per_minute=LIMIT, pace=12.0),
    "listeners": Case(300, 1, spread=0.0, on_listeners=True, poll_seconds=1),
}


@dataclass(frozen=True)
class Options:
    """The options that are the same for all cases."""

    folders: Sequence[Path] = ()
    """Other checkouts."""
    parallel: Sequence[int] = ()
    """Values of `maxDegreeOfParallelism` for the app of this checkout; if empty, the value in its host.json."""
    rounds: int = ROUNDS
    listeners: Path | None = None
    """The folder of Microsoft's listeners."""
    switches: dict[str, Any] = field(default_factory=dict)
    """Further switches of the NER emulator."""


def apps_of(case: Case, options: Options) -> list[App]:
    """Return the apps to measure: first this one, with each of the settings."""
    apps = [THIS_APP]
    if options.parallel:
        apps = [replace(THIS_APP, name=f"this app, {many}", values={PARALLEL: str(many)}) for many in options.parallel]
    apps += [App(folder.name, folder, checkout=folder) for folder in options.folders]
    if case.has_requeue:
        seconds = case.poll_seconds
        apps.append(App(f"requeue every {seconds} s", APPS / "fixed_interval", {"POLL_SECONDS": str(seconds)}))
    return apps


def measure(app: App, case: Case, options: Options) -> Burst:
    """Drop the files on a warm app with its own storage account and service; return the cost."""
    wanted = case.switches | options.switches
    program = options.listeners / PROGRAM if options.listeners and case.on_listeners else None
    with running(app, switches=wanted | {"callsPerMinute": UNLIMITED}, listeners=program) as run:
        drop(run, letters(LONG_WARM_UP if case.on_listeners else WARM_UP, "warm"), None)
        switch(run.emulator, wanted)
        return drop(run, letters(case.files), case.pace)


def drop(run: Run, texts: Mapping[str, bytes], pace: float | None) -> Burst:
    """Drop files, wait until all have ended, and return the cost.

    Args:
        run: the app.
        texts: content of the files, by name.
        pace: how many files a second are uploaded and announced. None uploads all, then announces all.
    """
    if pace is None:
        run.upload(texts)
    before = len(run.ended())
    processor, storage = run.processor_seconds(), processor_seconds_of(run.azurite)
    operations, calls, jobs = run.operations(), run.calls(), documents_of(run.emulator)
    posted = run.announce(list(texts)) if pace is None else stream(run, texts, pace)
    run.wait_for(len(texts), before)
    time.sleep(1.0)  # after the last outcome, records and messages are deleted
    ended = {name: instant.timestamp() for name, instant in run.ended().items()}
    seconds = sorted(ended[name] - min(posted.values()) for name in texts)
    return Burst(
        files=len(texts),
        seconds=seconds[-1],
        throughput_seconds=seconds[math.ceil(THROUGHPUT_SHARE * len(texts)) - 1],
        calls=dict(run.calls() - calls),
        operations=dict(run.operations() - operations),
        processor_seconds=run.processor_seconds() - processor,
        storage_seconds=processor_seconds_of(run.azurite) - storage,
        delays=sorted(ended[name] - posted[name] for name in texts),
        jobs=dict(documents_of(run.emulator) - jobs),
    )


def stream(run: Run, texts: Mapping[str, bytes], pace: float) -> dict[str, float]:
    """Upload and announce files one by one, `pace` a second; return when the event of each was posted."""
    posted: dict[str, float] = {}

    def arrive(name: str) -> None:
        run.blobs.get_blob_client("incoming", name).upload_blob(texts[name])
        posted[name] = time.time()
        run.post([name])

    begin = time.monotonic()
    with ThreadPoolExecutor(CLIENTS) as clients:
        arriving = []
        for number, name in enumerate(texts):
            time.sleep(max(begin + number / pace - time.monotonic(), 0.0))
            arriving.append(clients.submit(arrive, name))
    for one in arriving:
        one.result()
    return posted


def rounds(cases: Sequence[Case], options: Options) -> Found:
    """Measure the cases, each on all apps in turn; every other round begins with the last app."""
    found: Found = {case.title: {app.name: [] for app in apps_of(case, options)} for case in cases}
    for number, case in itertools.product(range(options.rounds), cases):
        apps = apps_of(case, options)
        for app in reversed(apps) if number % 2 else apps:
            others = OtherPrograms()
            burst = measure(app, case, options)
            found[case.title][app.name].append(burst)
            figures = [f"{column} {median([burst], column)}" for column in COLUMNS]
            figures.append(f"other programs used {others.share():.0%} of the processors")
            print(f"    {case.title}: {app.name}: {', '.join(figures)}", flush=True)
    return found


def table(runs: Mapping[str, Sequence[Burst]]) -> Iterator[str]:
    """Yield a row for each app, and the ratios of this app to the others, computed run by run."""
    yield f"| | {' | '.join(COLUMNS)} |"
    yield f"| --- |{' --- |' * len(COLUMNS)}"
    for name, bursts in runs.items():
        cells = (median(bursts, column) for column in COLUMNS)
        yield f"| {name} | {' | '.join(cells)} |"
    own = [name for name in runs if name.startswith(THIS_APP.name)]
    for name, other in itertools.product(own, (name for name in runs if name not in own)):
        cells = (ratio(runs[name], runs[other], column) for column in COLUMNS)
        yield f"| *{name}* relative to *{other}* | {' | '.join(cells)} |"


def median(bursts: Sequence[Burst], column: str) -> str:
    """Return the median of a column."""
    value, form = COLUMNS[column]
    return format(statistics.median(map(value, bursts)), form)


def ratio(bursts: Sequence[Burst], others: Sequence[Burst], column: str) -> str:
    """Return the median of the ratios of a column, run by run; an empty text if a figure of the others is zero."""
    value, _ = COLUMNS[column]
    pairs = [(value(burst), value(other)) for burst, other in zip(bursts, others, strict=True)]
    return f"{statistics.median(one / other for one, other in pairs):.2f}" if all(other for _, other in pairs) else ""


def lines(found: Found) -> Iterator[str]:
    """Yield the table of each case."""
    for title, runs in found.items():
        yield f"\n### {title}\n"
        yield from table(runs)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.bursts", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("folders", nargs="*", type=Path, metavar="FOLDER", help="another checkout")
    made.add_argument(
        "--case",
        dest="cases",
        action="append",
        choices=CASES,
        help="measure this case; repeat it for more (default: all)",
    )
    made.add_argument("--files", type=int, help="number of files in each case (default: as above)")
    made.add_argument("--rounds", type=int, default=ROUNDS, help=f"runs of each case and app (default: {ROUNDS})")
    made.add_argument(
        "--parallel",
        type=int,
        action="append",
        default=[],
        metavar="N",
        help=f"measure this app with this maxDegreeOfParallelism; repeat it for more (default: {ROOT.name}/host.json)",
    )
    made.add_argument("--listeners", type=Path, metavar="FOLDER", help=f"folder of the program (default: {LISTENERS})")
    made.add_argument(
        "--switches", type=json.loads, default={}, metavar="JSON", help="further switches of the NER emulator"
    )
    return made


def main() -> None:
    """Measure the chosen cases, and print their tables."""
    arguments = parser().parse_args()
    named = arguments.listeners or (Path(os.environ[LISTENERS]) if os.environ.get(LISTENERS) else None)
    cases = [CASES[name] for name in arguments.cases or CASES]
    if named is None and any(case.on_listeners for case in cases):
        print(f"Skipped the case on Microsoft's listeners: name their folder with --listeners or {LISTENERS}.")
        cases = [case for case in cases if not case.on_listeners]
    options = Options(
        folders=[folder.resolve() for folder in arguments.folders],
        parallel=arguments.parallel,
        rounds=arguments.rounds,
        listeners=named and named.resolve(),
        switches=arguments.switches,
    )
    if arguments.files:
        cases = [replace(case, files=arguments.files) for case in cases]
    print("\n".join(lines(rounds(cases, options))))


if __name__ == "__main__":
    main()
