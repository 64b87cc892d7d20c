"""The table in short, which `docs/scale.md` quotes: a row for each promise and each cost of a file."""

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks import cold_start, large_uploads, prices
from benchmarks.tables import COLUMNS, LIMIT_AT_CALLS, Results, bulk_ratio, counted, growth_ratio, middle, relative

HEADER: Final = ("| | result | promise, or minimum | measured with |", "| --- | --- | --- | --- |")


@dataclass(frozen=True)
class Row:
    """A row: its values come from one of the parts, and their median is judged by the bounds."""

    label: str
    part: str
    values: Callable[[Results], Sequence[float]]
    measured_with: Callable[[Results], str]
    wanted: str
    lowest: float = -math.inf
    highest: float = math.inf
    form: str = ".2f"

    def kept_promise(self, results: Results) -> bool:
        """Return whether the median is within the bounds."""
        return self.lowest <= statistics.median(self.values(results)) <= self.highest

    def line(self, results: Results) -> str:
        """Return the row as Markdown."""
        cells = (self.label, middle(self.values(results), self.form), self.wanted, self.measured_with(results))
        return f"| {' | '.join(cells)} |"


def throughput_row(job_seconds: int, sample: str, lowest: int) -> Row:
    """Return the row that compares the throughput with a sample's."""
    key = str(job_seconds)
    return Row(
        f"Throughput relative to the sample *{sample}*, jobs of {key} s",
        "short-side-by-side",
        lambda results: relative(results.side_by_side[key]["this app"], results.side_by_side[key][sample]),
        lambda results: " and ".join(counted(results.side_by_side[key][name]) for name in ("this app", sample)),
        f"at least {lowest}",
        lowest=lowest,
        form=".1f",
    )


def cost_row(label: str, column: str, minimum: str) -> Row:
    """Return the row of a cost per file, which has a minimum but no promise."""
    value, form = COLUMNS[column]
    return Row(
        f"{label}, jobs of 5 s",
        "short-side-by-side",
        lambda results: [value(figures) for figures in results.side_by_side["5"]["this app"]],
        lambda results: counted(results.side_by_side["5"]["this app"]),
        f"minimum: {minimum}",
        form=form,
    )


def growth_row(label: str, column: str) -> Row:
    """Return the row that shows whether a cost per file grows."""
    return Row(
        f"{label} per file, 1,000 files relative to 100",
        "short-growth",
        lambda results: [growth_ratio(results, "1000", column)],
        lambda results: " and ".join(counted(results.growth[files]) for files in ("1000", "100")),
        "at most 1.1",
        highest=1.1,
    )


def worst_delays(results: Results) -> list[float]:
    """Return the highest cost ratio of all distributions, from the table of the simulations."""
    return [max(float(line.split("|")[4]) for line in results.delays[2:])]


def bulk_ratios(results: Results) -> list[float]:
    """Return how long the bulk upload took, relative to what the limit allows."""
    return [bulk_ratio(results.bulk)] if results.bulk else []


ROWS: Final = (
    throughput_row(5, "blocking", 10),
    throughput_row(1, "blocking, asyncio", 1),
    cost_row("Service calls per file", "calls", "0.1"),
    cost_row("Storage operations per file", "storage operations", str(prices.LEAST_OPERATIONS)),
    cost_row("Dollars per 1,000 files for storage and executions", "$ per 1,000", f"{prices.LEAST:.3f}"),
    Row(
        "Memory per file in flight relative to the sample *blocking*",
        "short-waiting",
        lambda results: [results.bytes_per_waiting_file / results.bytes_per_blocked_file],
        lambda results: f"{results.waiting_files:,} files and {results.blocked_files}",
        "at most 0.25",
        highest=0.25,
        form=".3f",
    ),
    Row(
        f"Growth of the worker's memory by uploads of {large_uploads.MEGABYTES} MB, in MB",
        "large-uploads",
        lambda results: [results.large_uploads.grown / 1e6] if results.large_uploads else [],
        lambda _: "1 new file and 1 over a file in flight",
        "at most 15",
        highest=15,
        form=".1f",
    ),
    Row(
        "Seconds until small files beside hostile ones have their outcomes",
        "hostile-files",
        lambda results: [max(case.seconds for case in results.hostile_files.values())],
        lambda results: f"the slower of {len(results.hostile_files)} cases",
        "at most 20",
        highest=20,
        form=".1f",
    ),
    Row(
        "Growth of the worker's memory by 80 MB of tiny entries, in MB",
        "hostile-files",
        lambda results: [results.hostile_files["entries"].grown / 1e6],
        lambda _: "4 files and 5 small ones",
        "at most 400",
        highest=400,
        form=".0f",
    ),
    Row(
        "Cost of the learned polling schedule relative to the best one, after 200 jobs",
        "delays",
        worst_delays,
        lambda results: f"highest of {len(results.delays) - 2} simulations",
        "at most 1.15",
        highest=1.15,
    ),
    Row(
        "Cost of the learned polling schedule, end to end relative to simulated",
        "short-growth",
        lambda results: [cost / results.simulated_cost for cost in results.measured_costs],
        lambda results: counted(results.unhurried),
        "0.85 to 1.15",
        lowest=0.85,
        highest=1.15,
    ),
    Row(
        f"Duration of a bulk upload relative to {LIMIT_AT_CALLS} calls per file at the service's limit",
        "short-bulk",
        bulk_ratios,
        lambda results: counted([results.bulk]) if results.bulk else "",
        "at most 1.2",
        highest=1.2,
    ),
    Row(
        "`import function_app` relative to `import azure.functions`",
        "cold-start",
        lambda results: results.cold_start[cold_start.OWN],
        lambda results: f"{len(results.cold_start[cold_start.OWN])} pairs of processes",
        "at most 2.5",
        highest=2.5,
    ),
    growth_row("Processor time", "CPU ms"),
    growth_row("Storage operations", "storage operations"),
)


def table(results: Results, before: Mapping[str, str]) -> Iterator[str]:
    """Yield the table.

    Args:
        results: of the short parts.
        before: the rows of the last report, by label; they stay if their part has not been measured.
    """
    yield from HEADER
    for row in ROWS:
        if row.part in results.environments:
            yield row.line(results)
        elif row.label in before:
            yield before[row.label]


def broken_promises(results: Results) -> list[str]:
    """Return the labels of the rows whose figure is not as promised."""
    return [row.label for row in ROWS if row.part in results.environments and not row.kept_promise(results)]
