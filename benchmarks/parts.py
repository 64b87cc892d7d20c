"""The parts of `make bench`: what each one measures, and how long that takes.

Seven short parts give every figure of the table in `docs/scale.md`. They use fewer files and runs than the long parts,
but every figure is measured, and every ratio compares runs of the same part. What differs from the long parts:

- Of the samples, only the two that the table names are measured, each at the job duration that the table names, in
  one run. The long part has three runs, at durations of 1, 5 and 30 s.
- A bulk upload has 1,000 files instead of 5,000, at the same limit of 1,000 calls a minute.
- Growth is measured from 100 to 1,000 files, not to 10,000. The run of 1,000 files also gives the cost of the polling
  schedule end to end.
- Memory is measured with 1,000 files in flight instead of 10,000.

The simulations and the cold start take less than a minute, so they have no long form.
"""

import itertools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple

from benchmarks import bursts, cold_start, delays, exchange, hostile_files, large_uploads, one_file
from benchmarks.delays import Distribution
from benchmarks.figures import Figures
from benchmarks.observing import SPREAD, documents_of, switches
from benchmarks.running import PEERS, THIS_APP, App, letters, running
from benchmarks.tables import Results
from local.install import ROOT
from shared.delays import WAIT_WEIGHT

WARM_UP: Final = 5
PACE: Final = 10.0
"""Files a second: as many as the host and Azurite can process together on two processors."""
SLOW_PACE: Final = 4.0
ROUND_TRIP_SECONDS: Final = 0.2
"""Latency of a service call in the sweep; the other parts add none."""
QUEUES: Final = "AzureFunctionsJobHost__extensions__queues__"
BLOBS: Final = "AzureFunctionsJobHost__extensions__blobs__"
SWEEP: Final[dict[str, dict[str, str]]] = {
    "as shipped": {},
    **{f"`maxDegreeOfParallelism` {many}": {f"{BLOBS}maxDegreeOfParallelism": str(many)} for many in (8, 32, 128)},
    **{
        f"`batchSize` {size}, `newBatchThreshold` {threshold}": {
            f"{QUEUES}batchSize": str(size),
            f"{QUEUES}newBatchThreshold": str(threshold),
        }
        for size, threshold in ((16, 8), (32, 16), (32, 64))
    },
}
"""App settings that replace values of host.json."""


class Drop(NamedTuple):
    """One run: an app that gets this many files at once, with jobs of this median duration."""

    app: App
    job_seconds: int
    files: int


BLOCKING, ASYNCIO = PEERS[:2]
SHORT_DROPS: Final = (
    Drop(THIS_APP, 5, 1000),
    Drop(BLOCKING, 5, 96),
    Drop(THIS_APP, 1, 300),
    Drop(ASYNCIO, 1, 32),
)
"""The numbers of files keep app and sample busy for about the same time, so that start and end weigh alike."""
LONG_DROPS: Final = tuple(
    # The blocking samples would need an hour for the files that the other apps process in a minute.
    Drop(app, job_seconds, {1: 96, 5: 96, 30: 48}[job_seconds] if app in (BLOCKING, ASYNCIO) else 1000)
    for turn, job_seconds, app in itertools.product(range(3), (1, 5, 30), (THIS_APP, *PEERS))
    # A run with jobs of 30 s takes minutes, so there are only two turns of these.
    if not (job_seconds == 30 and turn == 2)
)


def say(text: str) -> None:
    """Print a line of progress immediately."""
    print(f"    {text}", flush=True)


def measure_app(app: App, told: Mapping[str, Any], files: int, values: Mapping[str, str] | None = None) -> Figures:
    """Drop files all at once on a warm app."""
    with running(app, switches=told, values=values) as run:
        run.measure(letters(WARM_UP, "warm"))
        return run.measure(letters(files))


def side_by_side(results: Results, drops: Sequence[Drop]) -> None:
    """Measure apps in turns."""
    results.side_by_side = {}
    for app, job_seconds, files in drops:
        say(f"{app.name}: {files:,} files, jobs of {job_seconds} s")
        figures = measure_app(app, switches(job_seconds), files)
        say(f"  {figures.files_per_second:.1f} files a second")
        results.side_by_side.setdefault(str(job_seconds), {}).setdefault(app.name, []).append(figures)


def sweep(results: Results) -> None:
    """Measure this app with other values in its host.json, in turns, at a service that is further away."""
    results.sweep = {}
    for _, (name, values) in itertools.product(range(2), SWEEP.items()):
        say(f"{name}: 1,000 files")
        figures = measure_app(THIS_APP, switches(1.0, latency=ROUND_TRIP_SECONDS), 1000, values)
        results.sweep.setdefault(name, []).append(figures)


def unhurried(results: Results) -> None:
    """Drop files at a low pace, so that only the delays determine how long they wait."""
    runs = []
    for number in range(3):
        say(f"run {number + 1} of 3: 400 files, {SLOW_PACE:g} a second")
        with running(THIS_APP, switches=switches(5.0)) as run:
            runs.append(run.measure(letters(400), SLOW_PACE))
    compare_with_simulation(results, runs, SLOW_PACE)


def compare_with_simulation(results: Results, runs: list[Figures], pace: float) -> None:
    """Keep the cost of the polling schedule in these runs, for each job, and in a simulation of as many jobs."""
    jobs = [figures.calls["POST 202"] for figures in runs]
    share = jobs[0] / runs[0].files
    seen = delays.as_deployed(jobs[0], pace * share, Distribution("", (delays.Part(1.0, 5.0, SPREAD),)))
    results.unhurried, results.pace = runs, pace
    results.simulated_cost, results.simulated = seen.cost, seen.describe()
    results.measured_costs = [
        sum(figures.calls.values()) / count - 1 + WAIT_WEIGHT * sum(figures.waits) / figures.files
        for figures, count in zip(runs, jobs, strict=True)
    ]


def growth(results: Results, workers: Iterable[Sequence[int]], warm_up: int) -> None:
    """Drop different numbers of files at one pace.

    Args:
        results: gets the figures.
        workers: for each fresh worker, the numbers of files that it gets, one after another.
        warm_up: how many files each worker gets before.
    """
    results.growth = {}
    for numbers in workers:
        with running(THIS_APP, switches=switches(5.0)) as run:
            run.measure(letters(warm_up, "warm"), PACE)
            for number, files in enumerate(numbers):
                say(f"{files:,} files, {PACE:g} a second")
                results.growth.setdefault(str(files), []).append(run.measure(letters(files, f"drop-{number}"), PACE))


def short_growth(results: Results) -> None:
    """Drop 100, 1,000 and again 100 files on one worker; compare the cost for the 1,000 with its simulation."""
    growth(results, [(100, 1000, 100)], warm_up=20)
    compare_with_simulation(results, results.growth["1000"], PACE)


def waiting(results: Results, files: int) -> None:
    """Measure the memory for files in flight, and for as many as the blocking sample processes at once."""
    values = {"NER_POLL_MIN_SECONDS": "3600", "NER_POLL_MAX_SECONDS": "3600"}
    say(f"this app: {files:,} files in flight")
    with running(THIS_APP, switches=switches(7200.0), values=values) as run:
        texts = letters(files)
        run.upload(texts)
        names = list(texts)
        run.announce(names[:WARM_UP])
        time.sleep(5)
        before = run.memory()
        run.announce(names[WARM_UP:])
        while sum(documents * jobs for documents, jobs in documents_of(run.emulator).items()) < files:
            time.sleep(1)
        results.waiting_files = files
        results.bytes_per_waiting_file = (run.memory() - before) / files
    say("blocking: as many files as it processes at once")
    with running(BLOCKING, switches=switches(60.0)) as run:
        run.upload(letters(200))
        run.announce(list(letters(1)))
        time.sleep(5)
        before = run.memory()
        run.announce(list(letters(200)))
        time.sleep(10)
        results.blocked_files = run.calls()["POST 202"]
        results.bytes_per_blocked_file = (run.memory() - before) / max(results.blocked_files - 1, 1)


def bulk(results: Results, files: int) -> None:
    """Drop small files at once on a service that accepts 1,000 calls a minute."""
    say(f"{files:,} files")
    with running(THIS_APP, switches=switches(5.0, 1000)) as run:
        results.bulk = run.measure(letters(files))


def cold(results: Results) -> None:
    """Measure the cold start."""
    results.cold_start = cold_start.ratios()


def hostile(results: Results) -> None:
    """Measure what hostile files cost small ones."""
    results.hostile_files = hostile_files.measure()


def large(results: Results) -> None:
    """Measure what uploads cost that are too large."""
    results.large_uploads = large_uploads.measure()


def exchanging(results: Results) -> None:
    """Measure what the exchange between processes is worth."""
    results.exchange = exchange.rounds()


def single(results: Results) -> None:
    """Drop files one after another on an idle app."""
    results.one_file = one_file.measure([ROOT])[ROOT]


def together(results: Results) -> None:
    """Drop small files that arrive together, on this app and on a bare requeue."""
    cases = [bursts.CASES[name] for name in ("at-once-1s", "at-once-5s", "stream")]
    results.bursts = bursts.rounds(cases, bursts.Options(rounds=1))


def law(results: Results) -> None:
    """Simulate the delays."""
    results.delays, results.polling = list(delays.table()), list(delays.polling_table())


@dataclass(frozen=True)
class Part:
    """A part that can be named on the command line."""

    measure: Callable[[Results], None]
    seconds: int
    """Duration on two processors that do nothing else."""
    long: bool = False
    """Whether only `PARTS=all` or its name measures it."""


PARTS: Final[dict[str, Part]] = {
    "delays": Part(law, 6),
    "cold-start": Part(cold, 45),
    "short-side-by-side": Part(partial(side_by_side, drops=SHORT_DROPS), 250),
    "short-growth": Part(short_growth, 200),
    "short-bulk": Part(partial(bulk, files=1000), 80),
    "short-waiting": Part(partial(waiting, files=1000), 70),
    "large-uploads": Part(large, 40),
    "hostile-files": Part(hostile, 35),
    "exchange": Part(exchanging, 1800, long=True),
    "one-file": Part(single, 250, long=True),
    "bursts": Part(together, 300, long=True),
    "unhurried": Part(unhurried, 400, long=True),
    "side-by-side": Part(partial(side_by_side, drops=LONG_DROPS), 5000, long=True),
    "sweep": Part(sweep, 1100, long=True),
    "bulk": Part(partial(bulk, files=5000), 710, long=True),
    "growth": Part(
        # The fewer the files, the more runs, before and after the largest.
        partial(growth, workers=[(100,), (1000,), (100,), (10_000,), (100,), (1000,), (100,)], warm_up=100),
        1800,
        long=True,
    ),
    "waiting": Part(partial(waiting, files=10_000), 450, long=True),
}


def chosen(names: Sequence[str]) -> list[str]:
    """Return the names of the parts to measure: the short ones if none is named, every part for `all`.

    Raises:
        ValueError: a name is unknown; the message lists the names.
    """
    unknown = sorted(set(names) - set(PARTS) - {"all"})
    if unknown:
        raise ValueError(f"unknown part: {', '.join(unknown)}. Name all, or some of: {', '.join(PARTS)}")
    if not names:
        return [name for name, part in PARTS.items() if not part.long]
    return [name for name in PARTS if name in names or "all" in names]


def seconds_of(names: Iterable[str]) -> int:
    """Return how many seconds these parts take."""
    return sum(PARTS[name].seconds for name in names)
