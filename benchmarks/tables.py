"""The figures of a measurement, and the tables that show them."""

import statistics
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from benchmarks import prices
from benchmarks.figures import Burst, Exchanged, Figures
from benchmarks.hostile_files import Beside
from benchmarks.large_uploads import Grown
from benchmarks.one_file import Seconds
from local.install import STATE

BLOCKING: Final = ("blocking", "blocking, asyncio")
APPS: Final = ("this app", *BLOCKING, "requeue every 5 s", "requeue every 30 s")
LIMIT_AT_CALLS: Final = 0.8
"""Calls per file from which the expected duration of a bulk upload follows."""


class Results(msgspec.Struct):
    """The figures of the short parts, or of the long ones; empty if not measured."""

    environments: dict[str, str] = {}
    """By part: the machine and versions that measured it."""

    delays: list[str] = []
    polling: list[str] = []
    cold_start: dict[str, list[float]] = {}
    side_by_side: dict[str, dict[str, list[Figures]]] = {}
    sweep: dict[str, list[Figures]] = {}
    unhurried: list[Figures] = []
    """The runs whose cost is compared with a simulation, and their pace in files a second."""
    pace: float = 0.0
    measured_costs: list[float] = []
    simulated_cost: float = 0.0
    simulated: str = ""
    growth: dict[str, list[Figures]] = {}
    bulk: Figures | None = None
    large_uploads: Grown | None = None
    hostile_files: dict[str, Beside] = {}
    exchange: dict[str, dict[str, list[Exchanged]]] = {}
    one_file: list[Seconds] = []
    bursts: dict[str, dict[str, list[Burst]]] = {}
    waiting_files: int = 0
    blocked_files: int = 0
    bytes_per_waiting_file: float = 0.0
    bytes_per_blocked_file: float = 0.0


def kept_file(long: bool) -> Path:
    """Return the file for the figures of the short parts, or of the long ones."""
    return STATE / "bench" / ("long.json" if long else "short.json")


def read_kept(path: Path) -> Results:
    """Return the figures kept in a file; none if it does not exist or has another layout."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Results)
    except (FileNotFoundError, msgspec.DecodeError):
        return Results()


def middle(values: Sequence[float], form: str = ".2f") -> str:
    """Return a median with its range."""
    text = f"{statistics.median(values):{form}}"
    return text if len(values) < 2 else f"{text} ({min(values):{form}} to {max(values):{form}})"


def percentile(figures: Figures, share: float) -> float:
    """Return a percentile of the waits."""
    return figures.waits[min(int(share * len(figures.waits)), len(figures.waits) - 1)]


COLUMNS: Final[dict[str, tuple[Callable[[Figures], float], str]]] = {
    "files/s": (lambda figures: figures.files_per_second, ".1f"),
    "calls": (lambda figures: figures.calls_per_file, ".2f"),
    "storage operations": (lambda figures: figures.operations_per_file, ".1f"),
    "$ per 1,000": (lambda figures: figures.dollars, ".3f"),
    "CPU ms": (lambda figures: figures.processor_milliseconds, ".0f"),
    "peak MB": (lambda figures: figures.peak_memory / 1e6, ".0f"),
    "wait, median": (lambda figures: percentile(figures, 0.5), ".2f"),
    "wait, p95": (lambda figures: percentile(figures, 0.95), ".2f"),
}


def relative(runs: Sequence[Figures], base: Sequence[Figures]) -> list[float]:
    """Return the throughput of each run, relative to the median of the base's."""
    median = statistics.median(figures.files_per_second for figures in base)
    return [figures.files_per_second / median for figures in runs]


def counted(runs: Sequence[Figures]) -> str:
    """Return the number of runs and of the files in each."""
    return f"{len(runs)} run{'s'[: len(runs) > 1]} of {runs[0].files:,} files"


def side_by_side(results: Results) -> Iterator[str]:
    """Yield a table for each duration of jobs."""
    for seconds, apps in results.side_by_side.items():
        base = next(name for name in BLOCKING if name in apps)
        yield f"\n### Jobs of {seconds} s\n"
        yield f"| | {' | '.join(COLUMNS)} | files/s relative to *{base}* | measured with |"
        yield "| --- |" + " --- |" * (len(COLUMNS) + 2)
        for name in APPS:
            if name in apps:
                runs = apps[name]
                cells = [middle([value(figures) for figures in runs], form) for value, form in COLUMNS.values()]
                ratio = middle(relative(runs, apps[base]), ".1f")
                yield f"| {name} | {' | '.join(cells)} | {ratio} | {counted(runs)} |"
        yield f"| *minimum* | | 0.1 | {prices.LEAST_OPERATIONS} | {prices.LEAST:.3f} | | | 0 | 0 | | |"


def sweep(results: Results) -> Iterator[str]:
    """Yield the table of other values in host.json."""
    columns = ("files/s", "CPU ms", "peak MB", "wait, median", "wait, p95")
    yield f"| `host.json` | {' | '.join(columns)} | files/s relative to *as shipped* |"
    yield "| --- |" + " --- |" * (len(columns) + 1)
    shipped = results.sweep["as shipped"]
    for name, runs in results.sweep.items():
        cells = [middle([COLUMNS[column][0](figures) for figures in runs], COLUMNS[column][1]) for column in columns]
        pairs = zip(runs, shipped, strict=True)
        ratio = middle([one.files_per_second / base.files_per_second for one, base in pairs])
        yield f"| {name} | {' | '.join(cells)} | {ratio} |"


def operations(figures: Figures) -> Iterator[str]:
    """Yield a table of the operations on the storage account."""
    yield "| Operation | per file |"
    yield "| --- | --- |"
    for name, number in sorted(figures.operations.items()):
        yield f"| {name} | {number / figures.files:.2f} |"


def growth(results: Results) -> Iterator[str]:
    """Yield a table of the growth."""
    yield "| Files | runs | files/s | CPU ms | relative to 100 | storage operations | relative to 100 | peak MB |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    for files, runs in sorted(results.growth.items(), key=lambda item: int(item[0])):
        cells = [
            middle([figures.files_per_second for figures in runs], ".1f"),
            middle([figures.processor_milliseconds for figures in runs], ".1f"),
            f"{growth_ratio(results, files, 'CPU ms'):.2f}",
            middle([figures.operations_per_file for figures in runs]),
            f"{growth_ratio(results, files, 'storage operations'):.2f}",
            middle([figures.peak_memory / 1e6 for figures in runs], ".0f"),
        ]
        yield f"| {int(files):,} | {len(runs)} | {' | '.join(cells)} |"


def growth_ratio(results: Results, files: str, column: str) -> float:
    """Return a figure per file, relative to that of 100 files."""
    medians = [statistics.median(COLUMNS[column][0](run) for run in results.growth[key]) for key in (files, "100")]
    return medians[0] / medians[1]


def bulk_seconds(figures: Figures) -> float:
    """Return how long the service's limit makes a bulk upload take."""
    return LIMIT_AT_CALLS * figures.files / 1000 * 60


def bulk_ratio(figures: Figures) -> float:
    """Return how long a bulk upload took, relative to that."""
    return figures.seconds / bulk_seconds(figures)
