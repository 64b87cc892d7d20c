"""What was measured, and the tables that tell it."""

import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import msgspec

from benchmarks import prices
from benchmarks.figures import Figures

APPS: Final = ("this app", "blocking", "blocking, asyncio", "requeue every 5 s", "requeue every 30 s")
LIMIT_AT_CALLS: Final = 2.5
"""Calls per file, by which the time for a bulk drop is judged."""


class Results(msgspec.Struct):
    """Everything that was measured; what was not, is empty."""

    delays: list[str] = []
    polling: list[str] = []
    cold_start: dict[str, list[float]] = {}
    side_by_side: dict[str, dict[str, list[Figures]]] = {}
    sweep: dict[str, list[Figures]] = {}
    unhurried: list[Figures] = []
    measured_costs: list[float] = []
    simulated_cost: float = 0.0
    simulated: str = ""
    growth: dict[str, list[Figures]] = {}
    bulk: Figures | None = None
    bytes_per_waiting_file: float = 0.0
    bytes_per_blocked_file: float = 0.0


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


def side_by_side(results: Results) -> Iterator[str]:
    """Yield the tables of all apps."""
    for seconds, apps in results.side_by_side.items():
        yield f"\n### Jobs of {seconds} s\n"
        yield f"| | {' | '.join(COLUMNS)} | files/s over blocking | runs |"
        yield "| --- |" + " --- |" * (len(COLUMNS) + 2)
        base = statistics.median(figures.files_per_second for figures in apps["blocking"])
        for name in APPS:
            runs = apps[name]
            cells = [middle([value(figures) for figures in runs], form) for value, form in COLUMNS.values()]
            ratio = middle([figures.files_per_second / base for figures in runs], ".1f")
            yield f"| {name} | {' | '.join(cells)} | {ratio} | {len(runs)} x {runs[0].files} files |"
        yield f"| *the limit* | | 2 | {prices.LEAST_OPERATIONS} | {prices.LEAST:.3f} | | | 0 | 0 | | |"


def sweep(results: Results) -> Iterator[str]:
    """Yield the table of other values in host.json."""
    columns = ("files/s", "CPU ms", "peak MB", "wait, median", "wait, p95")
    yield f"| `host.json` | {' | '.join(columns)} | files/s over as shipped |"
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
    yield "| Files | runs | files/s | CPU ms each | over 100 files | storage operations | over 100 files | peak MB |"
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
        yield f"| {files} | {len(runs)} | {' | '.join(cells)} |"


def growth_ratio(results: Results, files: str, column: str) -> float:
    """Return how much a figure per file has grown over that of 100 files."""
    medians = [statistics.median(COLUMNS[column][0](run) for run in results.growth[key]) for key in (files, "100")]
    return medians[0] / medians[1]


def promises(results: Results) -> Iterator[str]:
    """Yield the table of what is promised, as far as it was measured, and of what a file costs."""
    yield "| | measured | promised, or the least |"
    yield "| --- | --- | --- |"
    yield from promised_beside_others(results)
    if results.delays:
        worst = max(float(line.split("|")[4]) for line in results.delays[2:])
        yield f"| the delays' cost over the best schedule's, after 200 jobs | {worst:.2f} or less | at most 1.15 |"
    if results.measured_costs:
        ratio = middle([cost / results.simulated_cost for cost in results.measured_costs])
        yield f"| the delays' cost, the whole way over simulated | {ratio} | 0.85 to 1.15 |"
    if results.bulk:
        ratio = f"{bulk_ratio(results.bulk):.2f}"
        yield f"| time of a bulk drop over what the service's limit allows | {ratio} | at most 1.2 |"
    if results.cold_start:
        ratio = middle(results.cold_start["`import function_app`"])
        yield f"| `import function_app` over `import azure.functions` | {ratio} | at most 2.5 |"
    if results.growth:
        ratios = [growth_ratio(results, "10000", column) for column in ("CPU ms", "storage operations")]
        text = " and ".join(f"{ratio:.2f}" for ratio in ratios)
        yield f"| processor time and storage operations per file, 10,000 files over 100 | {text} | at most 1.1 |"


def promised_beside_others(results: Results) -> Iterator[str]:
    """Yield the rows that come from measuring all apps."""
    for seconds, peer, wanted in (("5", "blocking", 10), ("1", "blocking, asyncio", 1)):
        if seconds in results.side_by_side:
            apps = results.side_by_side[seconds]
            pairs = zip(apps["this app"], apps[peer], strict=True)
            ratio = middle([one.files_per_second / other.files_per_second for one, other in pairs], ".1f")
            yield f"| files/s over the sample that is {peer}, jobs of {seconds} s | {ratio} | at least {wanted} |"
    if "5" in results.side_by_side:
        least = {"calls": "2", "storage operations": str(prices.LEAST_OPERATIONS), "$ per 1,000": f"{prices.LEAST:.3f}"}
        runs = results.side_by_side["5"]["this app"]
        for column, limit in least.items():
            value, form = COLUMNS[column]
            text = middle([value(figures) for figures in runs], form)
            files = "files" if column.endswith("1,000") else "for each file"
            yield f"| {column} {files}, jobs of 5 s | {text} | least: {limit} |"
    if results.bytes_per_waiting_file:
        ratio = f"{results.bytes_per_waiting_file / results.bytes_per_blocked_file:.3f}"
        yield f"| memory per waiting file over the blocking sample's | {ratio} | at most 0.25 |"


def bulk_seconds(figures: Figures) -> float:
    """Return how long a bulk drop takes at the service's limit."""
    return LIMIT_AT_CALLS * figures.files / 1000 * 60


def bulk_ratio(figures: Figures) -> float:
    """Return how long a bulk drop took over that."""
    return figures.seconds / bulk_seconds(figures)
