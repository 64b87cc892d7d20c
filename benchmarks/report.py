"""What was measured, and its telling: `RESULTS.md` with a plot."""

import os
import platform
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.figures import Figures

VERSIONS: Final = ("azure-functions", "azure-storage-blob", "azure-storage-queue", "azure-ai-textanalytics", "httpx")
APPS: Final = ("this app", "blocking", "blocking, asyncio", "requeue every 5 s", "requeue every 30 s")
LIMIT_AT_CALLS: Final = 2.5
"""Calls per file, by which the time for a bulk drop is judged."""


class Results(msgspec.Struct):
    """Everything that was measured; what was not, is empty."""

    delays: list[str] = []
    cold_start: dict[str, list[float]] = {}
    side_by_side: dict[str, dict[str, list[Figures]]] = {}
    unhurried: list[Figures] = []
    measured_costs: list[float] = []
    simulated_cost: float = 0.0
    simulated: str = ""
    growth: dict[str, Figures] = {}
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
        yield "| *the limit* | | 2 | 2 and the queue's own | | | 0 | 0 | | |"


def operations(figures: Figures) -> Iterator[str]:
    """Yield a table of the operations on the storage account."""
    yield "| Operation | per file |"
    yield "| --- | --- |"
    for name, number in sorted(figures.operations.items()):
        yield f"| {name} | {number / figures.files:.2f} |"


def growth(results: Results) -> Iterator[str]:
    """Yield a table of the growth."""
    yield "| Files | CPU ms per file | over 100 files | storage operations per file | over 100 files | files/s |"
    yield "| --- | --- | --- | --- | --- | --- |"
    base = results.growth["100"]
    for files, figures in results.growth.items():
        processor = figures.processor_milliseconds
        count = figures.operations_per_file
        yield (
            f"| {files} | {processor:.1f} | {processor / base.processor_milliseconds:.2f} | {count:.2f} | "
            f"{count / base.operations_per_file:.2f} | {figures.files_per_second:.1f} |"
        )


def lines(results: Results) -> Iterator[str]:
    """Yield the report."""
    yield "# What was measured\n"
    yield "`make bench` prints and writes this page (about two hours; `make bench PARTS=delays` a part of it)."
    versions = ", ".join(f"{name} {version(name)}" for name in VERSIONS)
    yield (
        f"{platform.machine()}, {os.cpu_count()} processors, {platform.system()} {platform.release()}, Python "
        f"{sys.version.split()[0]}, {versions}. Azurite, the service's emulator and the host's stand-in run on the same "
        "machine, so times mean something beside each other only: read the ratios. Seeds: 0 for the jobs' durations, 1 "
        "and up for the simulations."
    )
    if results.delays:
        yield "\n## When to look: the law beside the best schedule (simulated)\n"
        yield "API calls per file / median / 95th percentile of the wait over the job's duration. Cost = looks + 5 x wait"
        yield "/ duration; the best schedule knows the distribution, the law learns it from jobs told in whole seconds.\n"
        yield from results.delays
    if results.unhurried:
        ratios = [cost / results.simulated_cost for cost in results.measured_costs]
        yield "\n## The same law, the whole way\n"
        yield f"Four files a second, jobs of 5 s (sigma 0.5), {results.unhurried[0].files} files: cost"
        yield f"{middle(results.measured_costs)}; its simulation {results.simulated_cost:.2f} ({results.simulated}). Ratio"
        yield f"{middle(ratios)}.\n"
        yield from operations(results.unhurried[0])
    if results.side_by_side:
        yield "\n## Side by side\n"
        yield "Small files, dropped at once by Event Grid's events on one worker; jobs lognormal with sigma 0.5. Per file:"
        yield "calls of the service, operations on the storage account (host and app), dollars for these and the executions"
        yield "(`benchmarks/prices.py`), processor time of host and worker, wait from the job's end to the outcome over the"
        yield "job's duration. Median (range). ![plot](results.svg)"
        yield from side_by_side(results)
    if results.bulk:
        limit = LIMIT_AT_CALLS * results.bulk.files / 1000 * 60
        yield "\n## A bulk drop on a service that takes 1,000 calls a minute\n"
        yield f"{results.bulk.files} files in {results.bulk.seconds:.0f} s: {results.bulk.seconds / limit:.2f} of the time"
        yield f"that the limit allows at {LIMIT_AT_CALLS} calls a file ({limit:.0f} s). Calls: {results.bulk.calls}."
    if results.growth:
        yield "\n## Growth\n"
        yield from growth(results)
    if results.bytes_per_waiting_file:
        ratio = results.bytes_per_waiting_file / results.bytes_per_blocked_file
        yield "\n## Memory of the worker per waiting file\n"
        yield f"This app, 10,000 files waiting: {results.bytes_per_waiting_file / 1024:.1f} KiB; the blocking sample:"
        yield f"{results.bytes_per_blocked_file / 1024:.0f} KiB; ratio {ratio:.3f}."
    if results.cold_start:
        yield "\n## Cold start\n"
        yield "Fresh processes, as ratios to one that imports `azure.functions` alone.\n"
        yield "| | ratio |"
        yield "| --- | --- |"
        for name, values in results.cold_start.items():
            yield f"| {name} | {middle(values)} |"


def plot(results: Results, path: Path) -> None:
    """Draw what each app's wait and its calls are, and how much it gets through."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "ner"
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(11, 4))
    width = 0.16
    for number, name in enumerate(APPS):
        runs = [apps[name] for apps in results.side_by_side.values()]
        throughput = [statistics.median(one.files_per_second for one in some) for some in runs]
        axes[0].bar([place + (number - 2) * width for place in range(len(runs))], throughput, width, label=name)
        calls = [statistics.median(one.calls_per_file for one in some) for some in runs]
        waits = [statistics.median(percentile(one, 0.5) for one in some) for some in runs]
        axes[1].plot(calls, waits, "o-", label=name)
    axes[0].set_xticks(range(len(results.side_by_side)), [f"jobs of {seconds} s" for seconds in results.side_by_side])
    axes[0].set_yscale("log")
    axes[0].set_ylabel("files per second and worker")
    axes[1].set_yscale("log")
    axes[1].set_xlabel("API calls per file")
    axes[1].set_ylabel("median wait / job's duration")
    axes[1].legend()
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def write_report(results: Results, path: Path, picture: Path) -> str:
    """Write the report and its plot; return the report."""
    if results.side_by_side:
        plot(results, picture)
    text = "\n".join(lines(results)) + "\n"
    path.write_text(text, encoding="utf-8")
    return text
