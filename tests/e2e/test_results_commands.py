"""`show`, `export` and `status` as a person and a program use them, in processes of their own, on one account."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from azure.storage.blob import BlobServiceClient

from local.install import ROOT
from local.stack import create_containers_and_queues
from shared.ner.model import Entity, Problem
from shared.settings import Settings
from tests.e2e.test_command_line import local
from tests.finished import fail, succeed, upload
from tests.waiting import PATIENCE_SECONDS

TEXT = "Ana flies to Zürich 🍷 on Friday."
ENTITIES = [
    *(Entity("Ana", "guest", 0, 3, 0.99), Entity("Zürich", "city", TEXT.index("Zürich"), 6, 0.8)),
    Entity("Friday", "time", TEXT.index("Friday"), 6, 0.3),
]


@pytest.fixture
def account(values: dict[str, str], blobs: BlobServiceClient) -> dict[str, str]:
    """App settings of an account with a file that succeeded, one that failed, and one that has just come."""
    settings = Settings.from_environ(values)
    create_containers_and_queues(settings)
    succeed(blobs, settings, "trips/ana.txt", TEXT, *ENTITIES)
    fail(blobs, settings, "scan.pdf", Problem("UnsupportedType", "It is not plain text."))
    upload(blobs, settings, "new.txt", b"x")
    return {**values, "NER_PRICE_PER_1000_TEXT_RECORDS": "5"}


def test_show_marks_the_entities(account: dict[str, str]) -> None:
    """Those that are asked for, with what the file cost."""
    result = local("show", "trips/ana.txt", environ=account)
    assert result.returncode == 0, result.stderr
    assert "[Ana|guest] flies to [Zürich|city] 🍷 on [Friday|time]." in result.stdout
    assert "3 entities, 1 text record, 0.005" in result.stdout
    result = local("show", "trips/ana.txt", "-c", "guest", "-c", "time", "--least-confidence", "0.5", environ=account)
    assert "[Ana|guest] flies to Zürich 🍷 on Friday." in result.stdout


def test_show_as_json_is_the_outcome_and_nothing_else(account: dict[str, str]) -> None:
    """For a program."""
    result = local("show", "trips/ana.txt", "--json", environ=account)
    assert json.loads(result.stdout)["documents"][0]["entities"][1]["text"] == "Zürich"


def test_show_says_why_there_is_nothing_to_show(account: dict[str, str]) -> None:
    """The exit code is 1 where there are no entities to be had."""
    for name, said in (
        ("scan.pdf", "UnsupportedType: It is not plain text."),
        ("new.txt", "There is no outcome new.txt.json. Run 'ner status' to see how far the file is."),
        ("nobody.txt", "There is no file 'nobody.txt' either: check the name."),
    ):
        result = local("show", name, environ=account)
        assert result.returncode == 1
        assert said in result.stdout + result.stderr
        assert "Traceback" not in result.stderr


def test_export_writes_a_table(account: dict[str, str], tmp_path: Path) -> None:
    """CSV with a head by default, JSON lines by the name's ending; counts go where they do not mix with the table."""
    result = local("export", environ=account)
    assert result.returncode == 0, result.stderr
    table = list(csv.DictReader(io.StringIO(result.stdout.removeprefix("\ufeff"))))
    assert [(row["file"], row["category"], row["text"]) for row in table] == [
        *(("trips/ana.txt", "guest", "Ana"), ("trips/ana.txt", "city", "Zürich"), ("trips/ana.txt", "time", "Friday")),
    ]
    assert "3 entities from 2 files (1 text record, 0.005)." in result.stderr
    path = tmp_path / "cities.jsonl"
    result = local("export", "trips/*", "-c", "city", "-o", str(path), environ=account)
    assert result.returncode == 0, result.stderr
    (row,) = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    assert (row["text"], row["offset"], row["confidenceScore"]) == ("Zürich", 13, 0.8)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["export", "nobody's/*"], "There is no matching outcome."),
        (["export", "-o", "nowhere/table.csv"], "nowhere/table.csv cannot be written: No such file or directory"),
    ],
)
def test_export_says_what_is_missing(account: dict[str, str], arguments: list[str], sentence: str) -> None:
    """And its exit code is 1."""
    result = local(*arguments, environ=account)
    assert result.returncode == 1
    assert sentence in result.stderr
    assert "Traceback" not in result.stderr


def test_status_as_json(account: dict[str, str]) -> None:
    """One object, with what a program wants to know."""
    result = local("status", "--json", environ=account)
    found = json.loads(result.stdout)
    assert found["files"] == {
        "waiting": 1,
        "in flight": 0,
        "succeeded": 1,
        "partiallySucceeded": 0,
        "failed": 1,
    }
    (failed,) = found["failed"]
    assert (failed["name"], failed["errors"][0]["code"], failed["textRecords"]) == ("scan.pdf", "UnsupportedType", 0)
    assert found["queues"][account["NER_QUEUE"]] == 0


def test_status_watches_until_nothing_is_on_its_way(account: dict[str, str], blobs: BlobServiceClient) -> None:
    """Outside of a terminal, with a line for each change."""
    command = [sys.executable, "-m", "local", "status", "--watch"]
    environ = {**os.environ, **account}
    with subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        first = watching.stdout.readline()
        assert first == "2 of 3 done: 1 succeeded, 0 partly succeeded, 1 failed; 0 in flight, 1 not started\n"
        blobs.get_blob_client(account["NER_INPUT_CONTAINER"], "new.txt").delete_blob()
        rest, _ = watching.communicate(timeout=PATIENCE_SECONDS)
    assert rest == "2 of 2 done: 1 succeeded, 0 partly succeeded, 1 failed; 0 in flight, 0 not started\n"
    assert watching.returncode == 0


def test_help_has_examples() -> None:
    """For each command that has options worth one."""
    for command in ("show", "export", "status", "view", "drop", "redrive"):
        assert "Examples:" in local(command, "--help").stdout


def test_the_shell_completes_commands_and_files(account: dict[str, str]) -> None:
    """As `--install-completion` sets it up for bash."""
    launcher = Path(sys.executable).with_name("ner")
    for words, expected in (("ner sh", "show"), ("ner show tri", "trips/ana.txt")):
        environ = {
            **account,
            "_NER_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(words.count(" ")),
        }
        result = subprocess.run(
            [str(launcher)], env={**os.environ, **environ}, capture_output=True, text=True, timeout=60, check=False
        )
        assert result.stdout.split() == [expected]
