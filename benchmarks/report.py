"""The report: `RESULTS.md` with a plot."""

import os
import platform
import statistics
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from benchmarks import tables
from benchmarks.tables import APPS, LIMIT_AT_CALLS, Results, middle, percentile

VERSIONS: Final = ("azure-functions", "azure-storage-blob", "azure-storage-queue", "azure-ai-textanalytics", "httpx")


def introduction() -> Iterator[str]:
    """Yield what was measured with what."""
    yield "# What was measured\n"
    yield "`make bench` prints and writes this page (two hours and a half; `make bench PARTS=delays` a part of it)."
    versions = ", ".join(f"{name} {version(name)}" for name in VERSIONS)
    system = f"{platform.machine()}, {os.cpu_count()} processors, {platform.system()} {platform.release()}"
    yield f"{system}, Python {sys.version.split()[0]}, {versions}."
    yield "Azurite, the service's emulator and the host's stand-in run on the same machine, so times mean something"
    yield "beside each other only: read the ratios. Seeds: 0 for the jobs' durations, 1 and up for the simulations."


def delays(results: Results) -> Iterator[str]:
    """Yield the simulations."""
    yield "API calls per file / median / 95th percentile of the wait over the job's duration. Cost = looks + 5 x wait"
    yield "/ duration; the best schedule knows the distribution, the law learns it from jobs told in whole seconds.\n"
    yield from results.delays
    yield "\nThe same in an app as it is deployed: delays of 2 to 60 s in whole seconds, jobs of 5 s (sigma 0.5), and"
    yield "the host, which looks at an idle queue ever more rarely, up to `maxPollingInterval` (cost in brackets).\n"
    yield from results.polling


def unhurried(results: Results) -> Iterator[str]:
    """Yield what the delays come to the whole way."""
    ratios = [cost / results.simulated_cost for cost in results.measured_costs]
    yield f"Four files a second, jobs of 5 s (sigma 0.5), {results.unhurried[0].files} files: cost"
    yield f"{middle(results.measured_costs)}; its simulation {results.simulated_cost:.2f} ({results.simulated}). Ratio"
    yield f"{middle(ratios)}.\n"
    yield from tables.operations(results.unhurried[0])


def side_by_side(results: Results) -> Iterator[str]:
    """Yield the apps beside each other."""
    yield "Small files, dropped at once by Event Grid's events on one worker; jobs lognormal with sigma 0.5. Per file:"
    yield "calls of the service, operations on the storage account (host and app), dollars for these and the"
    yield "executions (`benchmarks/prices.py`), processor time of host and worker; the most that both had in memory;"
    yield "the wait from the job's end to the outcome over the job's duration. Median (range). The others do nothing"
    yield "about events that come twice, crashes, throttling or a newer upload; that is what this app's further"
    yield "operations are for. ![plot](results.svg)"
    yield from tables.side_by_side(results)


def bulk(results: Results) -> Iterator[str]:
    """Yield how long a bulk drop took."""
    if results.bulk is not None:
        calls = ", ".join(f"{number} {name}" for name, number in sorted(results.bulk.calls.items()))
        ratio = tables.bulk_ratio(results.bulk)
        yield f"{results.bulk.files} files in {results.bulk.seconds:.0f} s: {ratio:.2f} of the time that the"
        yield f"limit allows at {LIMIT_AT_CALLS} calls a file ({tables.bulk_seconds(results.bulk):.0f} s)."
        yield f"Calls: {calls}."


def sweep(results: Results) -> Iterator[str]:
    """Yield what other settings come to."""
    yield "1,000 files at once, jobs of 1 s, each call of the service takes 0.2 s more. The instance has to have room"
    yield "for `maxDegreeOfParallelism` files of `NER_MAX_BLOB_BYTES`, several times.\n"
    yield from tables.sweep(results)


def growth(results: Results) -> Iterator[str]:
    """Yield what more files come to."""
    yield "Ten files a second on a worker that has seen 100, jobs of 5 s. At one pace, since that matters more than"
    yield "how many they are: the fewer come a second, the more rarely the event loop finds two things to do at once,"
    yield "and the more each costs. (100 files are over before they are at that pace, so 1,000 and 10,000 compare best."
    yield "Dropped at once, 10,000 files keep Azurite busy for half an hour, not the app.)\n"
    yield from tables.growth(results)


def waiting(results: Results) -> Iterator[str]:
    """Yield what waiting files take."""
    ratio = results.bytes_per_waiting_file / results.bytes_per_blocked_file
    yield f"This app, 10,000 files waiting: {results.bytes_per_waiting_file / 1024:.1f} KiB; the blocking sample:"
    yield f"{results.bytes_per_blocked_file / 1024:.0f} KiB; ratio {ratio:.3f}."


def cold_start(results: Results) -> Iterator[str]:
    """Yield what is imported."""
    yield "Fresh processes that have only what is deployed, as ratios to one that imports `azure.functions` alone.\n"
    yield "| | ratio |"
    yield "| --- | --- |"
    for name, values in results.cold_start.items():
        yield f"| {name} | {middle(values)} |"


SECTIONS: Final[dict[str, tuple[Callable[[Results], Any], Callable[[Results], Iterator[str]]]]] = {
    "When to look: the law beside the best schedule (simulated)": (lambda results: results.delays, delays),
    "The same law, the whole way": (lambda results: results.unhurried, unhurried),
    "Side by side": (lambda results: results.side_by_side, side_by_side),
    "A bulk drop on a service that takes 1,000 calls a minute": (lambda results: results.bulk, bulk),
    "Other values in `host.json`": (lambda results: results.sweep, sweep),
    "Growth": (lambda results: results.growth, growth),
    "Memory of the worker per waiting file": (lambda results: results.bytes_per_waiting_file, waiting),
    "Cold start": (lambda results: results.cold_start, cold_start),
}
"""By title: what must have been measured for it, and the text."""


def lines(results: Results) -> Iterator[str]:
    """Yield the report of all that was measured."""
    yield from introduction()
    yield "\n## In short\n"
    yield from tables.promises(results)
    for title, (measured, text) in SECTIONS.items():
        if measured(results):
            yield f"\n## {title}\n"
            yield from text(results)


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
