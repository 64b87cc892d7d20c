"""The report: `RESULTS.md` with a plot. `python -m benchmarks.report` writes it again from the figures that are kept.

A section, and a row of the table, is written from the figures of its part. If the part has not been measured on this
machine, they stay as the last report has them.
"""

import itertools
import re
import statistics
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks import bursts, exchange, large_uploads, one_file, summary, tables
from benchmarks.parts import PARTS, chosen, seconds_of
from benchmarks.tables import APPS, LIMIT_AT_CALLS, Results, kept_file, middle, percentile, read_kept
from shared.delays import WAIT_WEIGHT

TITLE: Final = "# Benchmark results"
IN_SHORT: Final = "In short"
RESULTS: Final = Path(__file__).parent / "RESULTS.md"


def is_prose(line: str) -> bool:
    """Return whether a line is part of a paragraph: no heading, no row of a table, and not empty."""
    return not re.match(r"$|#|\||\n", line)


def wrapped(lines: Iterable[str]) -> Iterator[str]:
    """Yield the lines with the paragraphs wrapped, but not within code."""
    for prose, group in itertools.groupby(lines, is_prose):
        if prose:
            text = re.sub(r"`[^`]+`", lambda code: code[0].replace(" ", "\0"), " ".join(group))
            yield textwrap.fill(text, 110, break_on_hyphens=False).replace("\0", " ")
        else:
            yield from group


def introduction() -> Iterator[str]:
    """Yield how to read the report."""
    minutes, hours = seconds_of(chosen([])) / 60, seconds_of(PARTS) / 3600
    yield TITLE
    yield ""
    yield f"`make bench` measures the table below, and the sections up to *Cold start*, in about {minutes:.0f} minutes"
    yield f"on two processors. `make bench PARTS=all` also measures the long runs below, in about {hours:.0f} hours."
    yield "`make bench PARTS=growth` measures one part. A section stays as it is until its part is measured again, and"
    yield "names its part and the machine. The packages have the versions of the requirements files."
    yield ""
    yield "Azurite, the NER emulator and the host emulator run on the same machine as the app. Times therefore"
    yield "mean little by themselves: compare them within a section, and rely on the ratios. Figures are the median of"
    yield "the runs, with the range in brackets. Job durations have a lognormal distribution with the given median and,"
    yield "unless stated otherwise, a sigma of 0.5. Seeds are fixed: 0 for these durations, 1 and up for simulations."


def delays(results: Results) -> Iterator[str]:
    """Yield the simulations."""
    yield "Service calls per file / median / 95th percentile of the wait. The wait is the time from a job's end to the"
    yield "poll that sees it, divided by the job's duration. Cost = polls + 5 x mean wait. The best schedule knows the"
    yield "distribution. The app learns its schedule from the jobs that it sees end, whose durations the service"
    yield "reports in whole seconds."
    yield ""
    yield from results.delays
    yield ""
    yield "The same schedule with the limits of a deployed app: delays of 2 to 60 s in whole seconds, jobs of 5 s, and"
    yield "a host that polls an idle queue at growing intervals, up to `maxPollingInterval`. Cost in brackets."
    yield ""
    yield from results.polling


def unhurried(results: Results) -> Iterator[str]:
    """Yield the cost of the polling schedule in an app."""
    ratios = [cost / results.simulated_cost for cost in results.measured_costs]
    yield f"{tables.counted(results.unhurried)}, {results.pace:g} a second, jobs of 5 s: the cost is"
    yield f"{middle(results.measured_costs)}. A simulation of the same arrivals gives {results.simulated_cost:.2f}"
    yield f"({results.simulated}). Ratio: {middle(ratios)}. Storage operations of the first run:"
    yield ""
    yield from tables.operations(results.unhurried[0])


def side_by_side(results: Results) -> Iterator[str]:
    """Yield the comparison of apps."""
    yield "All files are uploaded first, then announced at once by Event Grid events; one worker processes them. Per"
    yield "file: calls of the service, storage operations (host and app), dollars per 1,000 files for storage and"
    yield "executions (prices: `benchmarks/prices.py`), processor time of host and worker, and the wait from the job's"
    yield "end to the outcome, divided by the job's duration. *Peak MB* is the memory of host and worker together."
    yield "The samples do not handle duplicate events, crashes, throttling or newer uploads. This app does, and needs"
    yield "more storage operations for it."
    yield from tables.side_by_side(results)


def all_side_by_side(results: Results) -> Iterator[str]:
    """Yield the comparison of all apps at all durations."""
    yield "*Throughput and cost per file* above explains the columns. ![Throughput and waits](results.svg)"
    yield from tables.side_by_side(results)


def bulk(results: Results) -> Iterator[str]:
    """Yield how long a bulk upload took."""
    if results.bulk is not None:
        calls = ", ".join(f"{number:,} {name}" for name, number in sorted(results.bulk.calls.items()))
        ratio, allowed = tables.bulk_ratio(results.bulk), tables.bulk_seconds(results.bulk)
        yield "The service accepts 1,000 calls a minute and refuses any others with status 429. It received"
        yield f"{results.bulk.files:,} files at once, with jobs of 5 s. They took {results.bulk.seconds:.0f} s:"
        yield f"{ratio:.2f} of the {allowed:.0f} s that the limit allows for {LIMIT_AT_CALLS} calls a file."
        yield f"Calls: {calls}."


def sweep(results: Results) -> Iterator[str]:
    """Yield the effect of other settings."""
    yield "1,000 files at once, jobs of 1 s, and 0.2 s of latency for each service call. An instance needs up to 1 MB"
    yield "of memory for each upload that it submits concurrently, and for up to four larger files."
    yield ""
    yield from tables.sweep(results)


def growth(results: Results) -> Iterator[str]:
    """Yield the cost per file for different numbers of files."""
    yield "Ten files a second on a warm worker, jobs of 5 s. All runs have the same pace, because the cost per file"
    yield "depends on it: if fewer files arrive a second, the event loop finds less to do at a time. A run of 100 files"
    yield "ends before it reaches this pace, so the larger runs compare better with each other. (If 10,000 files arrive"
    yield "at once, Azurite is the bottleneck for half an hour, not the app.)"
    yield ""
    yield from tables.growth(results)


def growth_and_cost(results: Results) -> Iterator[str]:
    """Yield the cost per file for different numbers of files, and the cost of the polling schedule."""
    yield from growth(results)
    yield "\n### The learned schedule, end to end\n"
    yield from unhurried(results)


def waiting(results: Results) -> Iterator[str]:
    """Yield the memory of files in flight."""
    ratio = results.bytes_per_waiting_file / results.bytes_per_blocked_file
    yield f"This app: {results.bytes_per_waiting_file / 1024:.1f} KiB a file, with {results.waiting_files:,} files in"
    yield f"flight. The blocking sample: {results.bytes_per_blocked_file / 1024:.0f} KiB a file, with as many files as"
    yield f"it processed at once ({results.blocked_files}). Ratio: {ratio:.3f}."


def hostile(results: Results) -> Iterator[str]:
    """Yield what hostile files cost small ones."""
    yield "`entries`: four files of 20 MB with millions of tiny entries, and five small files. `marks`: 0.6 MB of a"
    yield "space and a combining mark in turns, and ten small files. Each small file got its entities and was submitted"
    yield "once. The time is from the events to the last outcome; jobs take about 1 s."
    yield ""
    yield "| | small files, s | all files, s | growth of the worker's peak memory, MB |"
    yield "| --- | --- | --- | --- |"
    for name, found in results.hostile_files.items():
        yield f"| `{name}` | {found.seconds:.1f} | {found.all_seconds:.1f} | {found.grown / 1e6:.0f} |"


def large(results: Results) -> Iterator[str]:
    """Yield the memory that large uploads cost."""
    if results.large_uploads is not None:
        grown, before = results.large_uploads.grown / 1e6, results.large_uploads.before / 1e6
        yield f"Two files of {large_uploads.MEGABYTES} MB: a new one, and one that replaces a file in flight. Both get"
        yield "a failed outcome, because they have more bytes than `NER_MAX_BLOB_BYTES`. The app does not read them:"
        yield f"the peak memory of the worker grows by {grown:.1f} MB. After a small file, it was {before:.0f} MB."


def exchanging(results: Results) -> Iterator[str]:
    """Yield what the exchange between processes is worth."""
    yield "As on Flex Consumption, `submit` runs in one process and `poll` in two others. They exchange how long jobs"
    yield f"take, and until when the service refuses calls. Each run has {exchange.FILES} files,"
    yield f"{exchange.PER_SECOND} a second, after {exchange.WARM_UP} that do not count. All jobs take equally long. The"
    yield "delay is the time from a job's end to its outcome; up to 2 s of it pass until the host sees the message."
    yield f"Cost = GETs + {WAIT_WEIGHT:g} x mean delay / duration of a job. In the last case, the service refuses every"
    yield f"call for {exchange.REFUSED_UNTIL - exchange.REFUSED_FROM} s, with a `Retry-After` of"
    yield f"{exchange.RETRY_AFTER} s. Each case has {exchange.ROUNDS} runs with the exchange and as many"
    yield "without it, in turns; the ratios are those of such pairs."
    yield ""
    yield from exchange.table(results.exchange)


def single(results: Results) -> Iterator[str]:
    """Yield how long one file takes on an idle app."""
    yield f"{len(results.one_file)} files, one after another, with jobs of {one_file.SWITCHES['jobSeconds']:g} s and"
    yield "the settings of the sample: the host emulator scans the container every two seconds, and polls an idle"
    yield "queue as often. Times are from the end of the upload."
    yield ""
    yield from one_file.table({"this app": results.one_file})


def together(results: Results) -> Iterator[str]:
    """Yield the cost of small files that arrive together."""
    yield "Calls of the service, storage operations (host and app) and processor time (host and worker) are per file."
    yield "The delay is the time from a file's event to its outcome; files/s do not count the last hundredth of the"
    yield "files. The requeue polls at a fixed interval and does nothing else. `python -m benchmarks.bursts` compares"
    yield "other checkouts, too."
    yield from bursts.lines(results.bursts)


def cold_start(results: Results) -> Iterator[str]:
    """Yield the ratios of import times."""
    yield "Import time of fresh processes with only the deployed packages, relative to a process that imports"
    yield "`azure.functions` alone."
    yield ""
    yield "| | ratio |"
    yield "| --- | --- |"
    for name, values in results.cold_start.items():
        yield f"| {name} | {middle(values)} |"


class Section(NamedTuple):
    """A section of the report."""

    title: str
    text: Callable[[Results], Iterator[str]]


SECTIONS: Final[dict[str, Section]] = {
    "delays": Section("When to poll: learned schedule and best schedule compared (simulated)", delays),
    "short-side-by-side": Section("Throughput and cost per file", side_by_side),
    "short-bulk": Section("A bulk upload to a service that accepts 1,000 calls a minute", bulk),
    "short-growth": Section("From 100 to 1,000 files", growth_and_cost),
    "short-waiting": Section("Memory per file in flight", waiting),
    "large-uploads": Section(f"Memory for uploads of {large_uploads.MEGABYTES} MB", large),
    "hostile-files": Section("Small files beside hostile ones", hostile),
    "cold-start": Section("Cold start", cold_start),
    "exchange": Section("Long run: what processes learn from each other", exchanging),
    "one-file": Section("Long run: one file on an idle app", single),
    "bursts": Section("Long run: small files that arrive together", together),
    "unhurried": Section("Long run: the learned schedule, end to end", unhurried),
    "side-by-side": Section("Long run: all apps and job durations compared", all_side_by_side),
    "sweep": Section("Long run: other values in `host.json`", sweep),
    "bulk": Section("Long run: a bulk upload of 5,000 files", bulk),
    "growth": Section("Long run: from 100 to 10,000 files", growth),
    "waiting": Section("Long run: memory per file with 10,000 in flight", waiting),
}
"""By part, in the order of the report."""


class Report(NamedTuple):
    """The sections of a report by title, each without its heading, and the rows of its table by label."""

    sections: Mapping[str, str]
    rows: Mapping[str, str]


def read_report(text: str) -> Report:
    """Return what a report has."""
    sections = {}
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        title, _, body = section.partition("\n")
        sections[title] = body.strip()
    rows = [line for line in sections.get(IN_SHORT, "").splitlines() if line.startswith("| ")]
    return Report(sections, {row.split(" | ")[0].removeprefix("| "): row for row in rows[2:]})


def lines(short: Results, long: Results, before: Report) -> Iterator[str]:
    """Yield the lines of the report.

    Args:
        short: the figures of the short parts.
        long: the figures of the long parts.
        before: the last report.
    """
    yield from wrapped(introduction())
    yield f"\n## {IN_SHORT}\n"
    yield from summary.table(short, before.rows)
    for part, (title, text) in SECTIONS.items():
        results = next((results for results in (short, long) if part in results.environments), None)
        if results is not None:
            yield f"\n## {title}\n"
            yield from wrapped(text(results))
            yield f"\nPart `{part}`, measured on {results.environments[part]}"
        elif title in before.sections:
            yield f"\n## {title}\n\n{before.sections[title]}"


def plot(results: Results, path: Path) -> None:
    """Draw each app's throughput, and its wait against its calls."""
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


def write_report(short: Results, long: Results, path: Path) -> str:
    """Write the report, and next to it the plot if all apps were measured; return the table in short."""
    if long.side_by_side:
        plot(long, path.with_name("results.svg"))
    before = read_report(path.read_text(encoding="utf-8") if path.exists() else "")
    text = "\n".join(lines(short, long, before)) + "\n"
    path.write_text(text, encoding="utf-8")
    return read_report(text).sections[IN_SHORT]


if __name__ == "__main__":
    print(write_report(read_kept(kept_file(long=False)), read_kept(kept_file(long=True)), RESULTS))
