"""What can be tested of the benchmark of small files that arrive together, without measuring."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from benchmarks import bursts, listeners
from benchmarks.bursts import CASES, COLUMNS, Case, Options, apps_of
from benchmarks.figures import Burst
from benchmarks.running import App
from local.host.protocol import FunctionDescription, TypedData
from local.install import ROOT

RECORDED = json.loads((ROOT / "tests" / "recordings" / "host-invocations.json").read_text(encoding="utf-8"))
BURST = Burst(
    files=100,
    seconds=70.0,
    throughput_seconds=10.0,
    calls={"POST 202": 6, "GET 200": 9, "GET 429": 4, "POST 429": 1},
    operations={"write results": 100, "put message": 900, "host: receive": 500},
    processor_seconds=1.0,
    storage_seconds=2.0,
    delays=[float(number) for number in range(1, 101)],
    jobs={20: 4, 10: 2},
)
BLOB = FunctionDescription("submit", {"type": "blobTrigger", "properties": {"SupportsDeferredBinding": True}})
QUEUE = FunctionDescription("look", {"type": "queueTrigger"})


def cells(line: str) -> dict[str, str]:
    """Return the cells of a row by the names of their columns."""
    return dict(zip(COLUMNS, line.removesuffix(" |").split(" | ")[1:], strict=True))


def test_table_has_costs_per_file_and_delays() -> None:
    """The polls for messages do not count as operations, as in the other tables."""
    line = list(bursts.table({"this app": [BURST]}))[2]
    assert cells(line) == {
        "seconds": "70",
        "files/s": "9.9",
        "calls": "0.20",
        "status 429": "5",
        "documents per job": "16.7",
        "storage operations": "10.0",
        "CPU ms": "10.0",
        "Azurite's CPU ms": "20.0",
        "delay in s, median": "51.0",
        "p95": "96.0",
        "within 20 s": "20%",
    }


def test_table_has_medians_and_compares_runs_pair_by_pair() -> None:
    """A ratio of medians would compare runs that other programs disturbed differently; 0 has no ratio."""
    own = [replace(BURST, seconds=seconds) for seconds in (10.0, 20.0, 60.0)]
    other = [replace(BURST, seconds=seconds, calls={"POST 202": 20}) for seconds in (20.0, 40.0, 40.0)]
    _, _, first, _, ratio = bursts.table({"this app": own, "before": other})
    assert cells(first)["seconds"] == "20"
    assert ratio.startswith("| *this app* relative to *before* |")
    assert cells(ratio)["seconds"] == "0.50"
    assert (cells(ratio)["calls"], cells(ratio)["status 429"]) == ("1.00", "")


def test_table_compares_each_setting_of_this_app_with_the_others() -> None:
    """But not the settings with each other: their rows are next to each other."""
    names = ("this app, 8", "this app, 64", "before", "requeue every 5 s")
    lines = list(bursts.table({name: [BURST] for name in names}))
    assert [line.split(" | ")[0] for line in lines[6:]] == [
        "| *this app, 8* relative to *before*",
        "| *this app, 8* relative to *requeue every 5 s*",
        "| *this app, 64* relative to *before*",
        "| *this app, 64* relative to *requeue every 5 s*",
    ]


def test_kept_bursts_can_be_read_again() -> None:
    """The number of documents is a key of JSON, which is text."""
    assert msgspec.json.decode(msgspec.json.encode(BURST), type=Burst) == BURST


def test_apps_are_this_one_with_its_settings_then_others_then_the_requeue() -> None:
    """Another checkout brings its own settings and host emulator."""
    apps = apps_of(CASES["at-once-5s"], Options(folders=[Path("/before")], parallel=[8, 64]))
    assert [app.name for app in apps] == ["this app, 8", "this app, 64", "before", "requeue every 5 s"]
    assert [app.checkout for app in apps] == [ROOT, ROOT, Path("/before"), ROOT]
    assert apps[1].values == {"AzureFunctionsJobHost__extensions__blobs__maxDegreeOfParallelism": "64"}


def test_requeue_is_left_out_where_calls_are_refused() -> None:
    """It would lose files, and the measurement would wait for them."""
    assert [app.name for app in apps_of(CASES["limit"], Options())] == ["this app"]


def test_every_case_has_a_title_of_its_own() -> None:
    """The runs are kept by title."""
    assert len({case.title for case in CASES.values()}) == len(CASES)
    assert CASES["stream"].title == "840 files, 12 a second, jobs of 5 s, 1,000 calls per minute"
    assert CASES["listeners"].title == "300 files at once, jobs of 1 s, Microsoft's listeners"


def test_listeners_are_skipped_without_their_folder(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line says so; the other cases are measured."""
    measured: list[Case] = []

    def measure(_app: App, case: Case, _options: Options) -> Burst:
        measured.append(case)
        return BURST

    monkeypatch.delenv(bursts.LISTENERS, raising=False)
    monkeypatch.setattr(bursts, "measure", measure)
    monkeypatch.setattr(sys, "argv", ["bursts", "--case", "listeners", "--case", "at-once-1s", "--files", "7"])
    bursts.main()
    assert {(case.files, case.on_listeners) for case in measured} == {(7, False)}
    assert "name their folder with --listeners or NER_LISTENERS" in capsys.readouterr().out


def test_trigger_of_a_message_becomes_what_the_host_sends() -> None:
    """Names, kinds and texts as recorded from the host."""
    recorded = RECORDED["messages"][0]
    metadata = recorded["triggerMetadata"]
    posted = {
        name: next(json.loads(text) if kind == "json" else text for kind, text in value.items())
        for name, value in metadata.items()
        if name in ("QueueTrigger", "Id", "PopReceipt", "DequeueCount", "InsertionTime")
    }
    data, typed = listeners.typed(listeners.Trigger("poll", posted, text=recorded["text"]))
    assert data == TypedData("string", recorded["text"])
    assert {name: {value.kind: value.text} for name, value in typed.items()} == {
        name: value for name, value in metadata.items() if name in typed
    }


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (
            None,
            TypedData(
                "model_binding_data",
                '{"Connection":"NER_STORAGE","ContainerName":"incoming","BlobName":"folder/a.txt"}',
            ),
        ),
        ("w6Q=", TypedData("bytes", content="ä".encode())),
    ],
)
def test_trigger_of_a_blob_becomes_a_reference_or_bytes(data: str | None, expected: TypedData) -> None:
    """Whichever the program was asked for."""
    posted = {"BlobTrigger": "incoming/folder/a.txt", "Properties": {"ContentLength": 2}}
    found, metadata = listeners.typed(listeners.Trigger("submit", posted, data=data))
    assert found == expected
    assert metadata == {
        "BlobTrigger": TypedData("string", "incoming/folder/a.txt"),
        "Properties": TypedData("json", '{"ContentLength":2}'),
    }


def test_listeners_read_host_json_with_the_overriding_settings(tmp_path: Path) -> None:
    """The program itself reads no such settings."""
    path = tmp_path / "host.json"
    path.write_text('{"version": "2.0", "extensions": {"blobs": {"maxDegreeOfParallelism": 8}}}')
    document = json.loads(listeners.host_json(path, {bursts.PARALLEL: "64"}))
    assert document["extensions"]["blobs"] == {"maxDegreeOfParallelism": "64"}


def test_only_apps_that_ask_for_references_get_them() -> None:
    """The bare requeue reads the bytes that the host sends."""
    assert listeners.is_by_reference([BLOB, QUEUE])
    assert not listeners.is_by_reference([QUEUE, FunctionDescription("submit", {"type": "blobTrigger"})])
