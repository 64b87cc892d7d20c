"""What can be tested of the benchmarks without measuring: which parts run, for how long, and what is reported."""

import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from benchmarks import __main__, exchange, one_file, prices, report, summary
from benchmarks.figures import Exchanged, Figures, operation_of, price_of
from benchmarks.hostile_files import Beside
from benchmarks.large_uploads import Grown
from benchmarks.observing import ENDED_WORDS, submitted_in
from benchmarks.one_file import Seconds
from benchmarks.parts import LONG_DROPS, PARTS, SHORT_DROPS, chosen, seconds_of
from benchmarks.tables import APPS, Results, read_kept
from local.install import ROOT

RESULTS = ROOT / "benchmarks" / "RESULTS.md"
FIGURES = Figures(
    files=1000,
    seconds=100.0,
    calls={"POST 202": 1000, "GET 200": 2000},
    operations={"write results": 1000, "host: receive": 500},
    processor_seconds=30.0,
    waits=[0.25] * 1000,
    executions=[0.1] * 3000,
    peak_memory=90_000_000,
)
HOST = "Linux, 2 processors."
SHORT = [name for name, part in PARTS.items() if not part.long]


@pytest.fixture
def short() -> Results:
    """Figures of all short parts, as promised."""
    ratios = "| 5 s, sigma 0.3 | 2.69 / 0.18 / 0.67 | 2.80 / 0.18 / 0.57 | 1.04 | 1.15 | 1.47 |"
    sample = replace(FIGURES, files=96, seconds=96.0)
    return Results(
        environments=dict.fromkeys(SHORT, HOST),
        delays=["| Durations |", "| --- |", ratios],
        polling=["| `maxPollingInterval` |", "| --- |"],
        cold_start={"`import azure.functions`": [1.0], "`import function_app`": [1.0, 1.1, 1.2]},
        side_by_side={
            "5": {"this app": [FIGURES, replace(FIGURES, seconds=50.0)], "blocking": [sample]},
            "1": {"this app": [FIGURES], "blocking, asyncio": [sample]},
        },
        unhurried=[FIGURES],
        pace=10.0,
        measured_costs=[3.9],
        simulated_cost=3.9,
        simulated="3.19 / 0.25 / 0.86",
        growth={"100": [replace(FIGURES, files=100, processor_seconds=3.0)], "1000": [FIGURES]},
        bulk=replace(FIGURES, seconds=48.0),
        large_uploads=Grown(4_000_000, 70_000_000),
        hostile_files={"entries": Beside(5.0, 30.0, 200_000_000), "marks": Beside(2.0, 9.0, 10_000_000)},
        waiting_files=1000,
        blocked_files=16,
        bytes_per_waiting_file=500.0,
        bytes_per_blocked_file=250_000.0,
    )


def written(short: Results, long: Results, before: str = "") -> str:
    """Return the report that follows another one."""
    return "\n".join(report.lines(short, long, report.read_report(before))) + "\n"


def test_chosen_without_names_returns_short_parts() -> None:
    """They give the whole table."""
    assert chosen([]) == SHORT
    assert {row.part for row in summary.ROWS} == set(SHORT)


def test_chosen_all_returns_every_part() -> None:
    """The short ones come first, so that they are done soon."""
    assert chosen(["all"]) == chosen(["all", "growth"]) == list(PARTS)
    assert list(PARTS)[: len(SHORT)] == SHORT


def test_chosen_names_returns_these_parts() -> None:
    """Whether they are short or long, each once."""
    assert chosen(["growth", "delays", "growth"]) == ["delays", "growth"]


def test_chosen_refuses_unknown_names() -> None:
    """The message says which names there are."""
    with pytest.raises(ValueError, match=r"unknown part: dealys\. Name all, or some of: delays, cold-start"):
        chosen(["dealys", "growth"])


def test_short_parts_take_less_than_fifteen_minutes() -> None:
    """The margin is for a machine that is not quite idle."""
    assert seconds_of(chosen([])) <= 0.9 * 15 * 60


def test_short_drops_measure_what_the_table_compares() -> None:
    """Each sample has a run of this app with jobs of the same duration."""
    assert {(drop.app.name, drop.job_seconds) for drop in SHORT_DROPS} == {
        ("this app", 5),
        ("blocking", 5),
        ("this app", 1),
        ("blocking, asyncio", 1),
    }


def test_long_drops_measure_every_app_at_every_duration() -> None:
    """In three turns, of which the last one leaves the longest jobs out."""
    turns = [(drop.app.name, drop.job_seconds) for drop in LONG_DROPS]
    for name in APPS:
        assert [turns.count((name, seconds)) for seconds in (1, 5, 30)] == [3, 3, 2]


def test_table_has_every_row_with_its_runs(short: Results) -> None:
    """Median, range, promise and what it was measured with."""
    lines = list(summary.table(short, {}))
    assert len(lines) == len(summary.HEADER) + len(summary.ROWS)
    assert lines[2] == (
        "| Throughput relative to the sample *blocking*, jobs of 5 s | 15.0 (10.0 to 20.0) | at least 10 "
        "| 2 runs of 1,000 files and 1 run of 96 files |"
    )
    assert "| 1.10 (1.00 to 1.20) | at most 2.5 | 3 pairs of processes |" in "\n".join(lines)


def test_table_keeps_rows_of_parts_that_were_not_measured(short: Results) -> None:
    """One part can be measured again without losing the others."""
    before = report.read_report(written(short, Results()))
    del short.environments["short-growth"]
    short.bulk = replace(FIGURES, seconds=300.0)
    after = report.read_report("\n".join(report.lines(short, Results(), before)))
    changed = {label for label, row in after.rows.items() if row != before.rows[label]}
    assert list(after.rows) == list(before.rows)
    assert changed == {"Duration of a bulk upload relative to 0.8 calls per file at the service's limit"}


def test_broken_promises_names_the_rows(short: Results) -> None:
    """A figure at the bound is as promised."""
    assert summary.broken_promises(short) == []
    short.bulk = replace(FIGURES, seconds=1.3 * 150)
    short.measured_costs = [3.0]
    assert summary.broken_promises(short) == [
        "Cost of the learned polling schedule, end to end relative to simulated",
        "Duration of a bulk upload relative to 0.8 calls per file at the service's limit",
    ]


def test_report_replaces_only_sections_that_were_measured(short: Results) -> None:
    """The long runs take hours, so the short ones must not delete their sections."""
    long = Results(environments={"bulk": HOST}, bulk=replace(FIGURES, files=5000))
    first = written(short, long)
    assert report.SECTIONS["bulk"].title in report.read_report(first).sections
    short.waiting_files = 2000
    second = written(short, Results(), first)
    before, after = report.read_report(first).sections, report.read_report(second).sections
    changed = {title for title, text in after.items() if text != before[title]}
    assert list(after) == list(before)
    assert changed == {report.IN_SHORT, report.SECTIONS["short-waiting"].title}


def test_every_part_has_a_section() -> None:
    """With a title of its own, since sections are kept by title."""
    assert set(report.SECTIONS) == set(PARTS)
    assert len({section.title for section in report.SECTIONS.values()}) == len(PARTS)


def test_results_have_the_layout_that_the_report_writes() -> None:
    """Nothing is in RESULTS.md that the next measurement would drop or change without measuring it."""
    text = RESULTS.read_text(encoding="utf-8")
    assert written(Results(), Results(), text) == text
    titles = [report.IN_SHORT, *(section.title for section in report.SECTIONS.values())]
    found = list(report.read_report(text).sections)
    assert found == [title for title in titles if title in found]
    assert list(report.read_report(text).rows) == [row.label for row in summary.ROWS]


def test_exchange_table_compares_runs_pair_by_pair() -> None:
    """A ratio of medians would hide how much the runs differ; without refused calls there is no ratio."""
    with_it = [Exchanged(1.0, 1.0, 2.0, 2.0, 0), Exchanged(1.5, 1.0, 2.0, 2.0, 0)]
    without = [Exchanged(2.0, 1.0, 2.0, 4.0, 0), Exchanged(2.0, 1.0, 2.0, 4.0, 0)]
    lines = list(exchange.table({"jobs of 8 s": {exchange.WITH: with_it, exchange.WITHOUT: without}}))
    assert lines[2].startswith("| jobs of 8 s | with the exchange | 1.25 (1.00 to 1.50) |")
    assert lines[4].startswith("| | ratio | 0.62 (0.50 to 0.75) | 1.00 (1.00 to 1.00) |")
    assert lines[4].endswith("| 0.50 (0.50 to 0.50) |  |")


def test_one_file_table_has_median_and_percentile() -> None:
    """Of the times to submission and to the outcome."""
    files = [Seconds(number / 10, float(number)) for number in range(1, 21)]
    assert list(one_file.table({"this app": files}))[2] == "| this app | 1.1 s | 2.0 s | 10.5 s | 20.0 s |"


def test_kept_figures_of_another_layout_are_ignored(tmp_path: Path, short: Results) -> None:
    """Then the parts have to be measured again; the report keeps their sections."""
    path = tmp_path / "short.json"
    assert read_kept(path) == Results()
    path.write_bytes(b'{"growth": []}')
    assert read_kept(path) == Results()
    path.write_bytes(msgspec.json.encode(short))
    assert read_kept(path) == short


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "1 s"), (59, "59 s"), (200, "3 min"), (5000, "83 min"), (9400, "2.6 hours")]
)
def test_duration_is_rough(seconds: float, words: str) -> None:
    """An estimate in minutes needs no seconds."""
    assert __main__.duration(seconds) == words


def test_benchmarks_name_the_parts_if_one_is_unknown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is measured."""
    monkeypatch.setattr(sys, "argv", ["benchmarks", "grwoth"])
    with pytest.raises(SystemExit):
        __main__.main()
    assert "unknown part: grwoth" in capsys.readouterr().err


def test_files_that_ended_are_counted_by_the_words_of_each_app() -> None:
    """Otherwise a measurement would wait for them to its time limit."""
    apps = [ROOT / "shared" / "pipeline" / "finishing.py", *(ROOT / "benchmarks" / "apps").glob("*/function_app.py")]
    assert len(apps) == 4
    for app in apps:
        assert f'log.info("%r{ENDED_WORDS}' in app.read_text(encoding="utf-8"), app


def test_files_of_a_job_are_found_in_the_log() -> None:
    """The service lists a job under the name of one of its files."""
    log = (
        "2026-11-26 03:00:00,000 INFO ner: 'a.txt', 'b 2.txt': submitted as job 11-aa of batch 1\n"
        "2026-11-26 03:00:00,100 INFO ner: 'c.txt': submitted as job 22-bb of batch 2\n"
        "2026-11-26 03:00:00,200 INFO ner: 'c.txt': wrote the outcome: 1 document\n"
    )
    assert list(submitted_in(log)) == [(["a.txt", "b 2.txt"], "11-aa"), (["c.txt"], "22-bb")]


@pytest.mark.parametrize(
    ("method", "rest", "operation", "price"),
    [
        ("PUT", "/blobreceipts/host/a.txt", "host: write azure-webjobs-hosts", prices.BLOB_WRITE),
        ("PUT", "/blobreceipts/host/a.txt?comp=lease", "host: lease azure-webjobs-hosts", prices.BLOB_OTHER),
        ("PUT", "/blobreceipts/a?comp=metadata", "host: set metadata of azure-webjobs-hosts", prices.BLOB_OTHER),
        ("HEAD", "/blobreceipts/host/a.txt", "host: head azure-webjobs-hosts", prices.BLOB_OTHER),
    ],
)
def test_calls_on_a_receipt_have_their_prices(method: str, rest: str, operation: str, price: float) -> None:
    """Only the first one is a write."""
    assert operation_of(method, "azure-webjobs-hosts", rest) == operation
    assert price_of(operation) == price
