"""Measures this app beside what a user would otherwise write, and writes `benchmarks/RESULTS.md` with its plot.

`make bench` measures everything, which takes two hours and a half; `make bench PARTS="delays growth"` only these parts.
What was measured before stays in `.local/bench` and is told again.
"""

import argparse
import itertools
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from benchmarks import cold_start, delays
from benchmarks.delays import Distribution, Part
from benchmarks.figures import Figures
from benchmarks.report import write_report
from benchmarks.running import PEERS, THIS_APP, App, letters, running
from benchmarks.tables import Results
from local.install import STATE
from shared.delays import WAIT_WEIGHT

MEASURED: Final = STATE / "bench"
SPREAD: Final = 0.5
UNLIMITED: Final = 10**9
WARM_UP: Final = 5
REPETITIONS: Final = 3
PACE: Final = 10.0
"""Files a second where as many come as the host and Azurite can do side by side on two processors."""
ROUND_TRIP_SECONDS: Final = 0.2
"""What a call of the service has been seen to take at least, for the sweep; elsewhere it takes none."""
QUEUES: Final = "AzureFunctionsJobHost__extensions__queues__"
BLOBS: Final = "AzureFunctionsJobHost__extensions__blobs__"
SWEEP: Final[dict[str, dict[str, str]]] = {
    "as shipped": {},
    **{f"`maxDegreeOfParallelism` {many}": {f"{BLOBS}maxDegreeOfParallelism": str(many)} for many in (4, 16, 32)},
    **{
        f"`batchSize` {size}, `newBatchThreshold` {threshold}": {
            f"{QUEUES}batchSize": str(size),
            f"{QUEUES}newBatchThreshold": str(threshold),
        }
        for size, threshold in ((16, 8), (32, 16), (32, 64))
    },
}
"""App settings that stand for values of host.json."""


def switches(job_seconds: float, calls_per_minute: int = UNLIMITED, latency: float = 0.0) -> dict[str, Any]:
    """Return what the service is told: jobs of a lognormal duration with this median."""
    told = {"jobSeconds": job_seconds, "jobSpread": SPREAD, "callsPerMinute": calls_per_minute}
    return {**told, "latencySeconds": latency}


def measure_app(app: App, told: Mapping[str, Any], files: int, values: Mapping[str, str] | None = None) -> Figures:
    """Drop files all at once on a warm app."""
    with running(app, switches=told, values=values) as run:
        run.measure(letters(WARM_UP, "warm"))
        return run.measure(letters(files))


def side_by_side(results: Results) -> None:
    """Measure all apps at all durations, in turns."""
    results.side_by_side = {}
    for repetition, job_seconds, app in itertools.product(range(REPETITIONS), (1, 5, 30), (THIS_APP, *PEERS)):
        if job_seconds == 30 and repetition == REPETITIONS - 1:
            continue  # these take minutes each
        # As many as keep an app busy; the blocking ones would take an hour for those that the others take in a minute.
        files = {1: 96, 5: 96, 30: 48}[job_seconds] if app.name.startswith("blocking") else 1000
        figures = measure_app(app, switches(job_seconds), files)
        results.side_by_side.setdefault(str(job_seconds), {}).setdefault(app.name, []).append(figures)


def sweep(results: Results) -> None:
    """Measure this app with other values in its host.json, in turns, at a service that is further away."""
    results.sweep = {}
    for _, (name, values) in itertools.product(range(2), SWEEP.items()):
        figures = measure_app(THIS_APP, switches(1.0, latency=ROUND_TRIP_SECONDS), 1000, values)
        results.sweep.setdefault(name, []).append(figures)


def unhurried(results: Results) -> None:
    """Drop files one after another, so that nothing but the delays decides how long they wait; simulate the same."""
    files, per_second = 400, 4.0
    results.unhurried = []
    for _ in range(3):
        with running(THIS_APP, switches=switches(5.0)) as run:
            results.unhurried.append(run.measure(letters(files), per_second))
    seen = delays.as_deployed(files, per_second, Distribution("", (Part(1.0, 5.0, SPREAD),)))
    results.simulated_cost, results.simulated = seen.cost, seen.describe()
    results.measured_costs = [
        figures.calls_per_file - 1 + WAIT_WEIGHT * sum(figures.waits) / figures.files for figures in results.unhurried
    ]


def growth(results: Results) -> None:
    """Drop 100, 1,000 and 10,000 files at one pace; the fewer the more often, before and after the many."""
    results.growth = {}
    for files in (100, 1_000, 100, 10_000, 100, 1_000, 100):
        with running(THIS_APP, switches=switches(5.0)) as run:
            run.measure(letters(100, "warm"), PACE)
            results.growth.setdefault(str(files), []).append(run.measure(letters(files), PACE))


def waiting(results: Results) -> None:
    """Let 10,000 files wait; and as many as the blocking sample takes at once."""
    files = 10_000
    values = {"NER_POLL_MIN_SECONDS": "3600", "NER_POLL_MAX_SECONDS": "3600"}
    with running(THIS_APP, switches=switches(7200.0), values=values) as run:
        texts = letters(files)
        run.upload(texts)
        names = list(texts)
        run.announce(names[:WARM_UP])
        time.sleep(5)
        before = run.memory()
        run.announce(names[WARM_UP:])
        while run.calls()["POST 202"] < files:
            time.sleep(1)
        results.bytes_per_waiting_file = (run.memory() - before) / files
    with running(PEERS[0], switches=switches(60.0)) as run:
        run.upload(letters(200))
        run.announce(list(letters(1)))
        time.sleep(5)
        before = run.memory()
        run.announce(list(letters(200)))
        time.sleep(20)
        at_once = run.calls()["POST 202"]
        results.bytes_per_blocked_file = (run.memory() - before) / max(at_once - 1, 1)


def bulk(results: Results) -> None:
    """Drop 5,000 small files on a service that takes 1,000 calls a minute."""
    with running(THIS_APP, switches=switches(5.0, 1000)) as run:
        results.bulk = run.measure(letters(5_000))


def cold(results: Results) -> None:
    """Start cold."""
    results.cold_start = cold_start.ratios()


def law(results: Results) -> None:
    """Simulate the delays."""
    results.delays, results.polling = list(delays.table()), list(delays.polling_table())


PARTS: Final[dict[str, Callable[[Results], None]]] = {
    "delays": law,
    "cold-start": cold,
    "unhurried": unhurried,
    "side-by-side": side_by_side,
    "sweep": sweep,
    "bulk": bulk,
    "growth": growth,
    "waiting": waiting,
}


def main() -> None:
    """Measure what is asked for and write the report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} (default: all)")
    arguments = parser.parse_args()
    unknown = set(arguments.parts) - set(PARTS)
    if unknown:
        parser.error(f"there is no part {', '.join(sorted(unknown))}: the parts are {', '.join(PARTS)}")
    kept = MEASURED / "results.json"
    results = msgspec.json.decode(kept.read_bytes(), type=Results) if kept.exists() else Results()
    for name in arguments.parts or PARTS:
        print(f"Measuring: {name}", flush=True)
        begin = time.monotonic()
        PARTS[name](results)
        print(f"  {time.monotonic() - begin:.0f} s", flush=True)
        MEASURED.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(msgspec.json.encode(results))
    folder = Path(__file__).parent
    print(write_report(results, folder / "RESULTS.md", folder / "results.svg"))


if __name__ == "__main__":
    main()
