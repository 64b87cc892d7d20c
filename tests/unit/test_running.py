"""What `start` leaves for other commands, and what these do while nothing runs: never work on another's storage."""

import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from local import app_settings, paths
from local.account import PRICE
from local.cli import app
from local.commands import common, running
from local.commands.common import RunningApp, announced, read_running, running_app
from local.install import ROOT

VALUES = {"NER_STORAGE": "UseDevelopmentStorage=true", "NER_KEY": "a-key"}


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The place of running.json, which is not written yet; the developer's own settings and account do not count."""
    path = tmp_path / "state" / "running.json"
    path.parent.mkdir()
    monkeypatch.setattr(common, "RUNNING", path)
    monkeypatch.setattr(app_settings, "OWN", tmp_path / "nowhere.json")
    for name in [name for name in os.environ if name.startswith("NER_")]:
        monkeypatch.delenv(name)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield path
    # Commands that ran within this process have set their own.
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def page() -> Iterator[str]:
    """The address of something that takes connections."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/?token=t"


@pytest.fixture
def ended() -> int:
    """The number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def this(page: str, pid: int | None = None) -> RunningApp:
    """Return an app that this process has started."""
    return RunningApp(VALUES, None, page, pid or os.getpid())


def test_commands_find_the_app_that_start_announces(file: Path, page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its settings hold keys, so nobody else may read them; the price is that of the one who asks."""
    monkeypatch.setenv(PRICE, "5")
    with announced(this(page)):
        found = running_app()
        assert found is not None
        assert found.values == {**VALUES, PRICE: "5"}
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert list(file.parent.iterdir()) == [file]
    assert not file.exists()
    assert running_app() is None


@pytest.mark.parametrize("content", [b"", b'{"values": {"NER_ST', b"\xff", b"[]", b'{"values": {}, "pid": 1}'])
def test_a_file_that_cannot_be_read_counts_as_none(content: bytes, file: Path) -> None:
    """A power cut may leave half of it, and another version may have written it."""
    file.write_bytes(content)
    assert running_app() is None


def test_what_a_killed_start_left_counts_as_none(file: Path, page: str, ended: int) -> None:
    """Its process is gone, or its number is another process's by now, which has no page."""
    file.write_bytes(msgspec.json.encode(this(page, ended)))
    assert running_app() is None
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = f"http://127.0.0.1:{server.getsockname()[1]}"
    file.write_bytes(msgspec.json.encode(this(closed)))
    assert running_app() is None


@pytest.mark.parametrize(("pid", "port"), [(10**12, "80"), (1, "99999"), (1, "x")])
def test_impossible_numbers_count_as_none(pid: int, port: str, file: Path) -> None:
    """A damaged file may still be JSON."""
    file.write_bytes(msgspec.json.encode(this(f"http://127.0.0.1:{port}", pid)))
    assert running_app() is None


def test_a_process_of_another_user_counts_as_none(file: Path, page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking for it is forbidden then."""

    def forbid(*_: int) -> None:
        raise PermissionError

    file.write_bytes(msgspec.json.encode(this(page)))
    monkeypatch.setattr(os, "kill", forbid)
    assert running_app() is None


@pytest.mark.parametrize("is_there", [True, False])
def test_start_removes_its_own_file_only(is_there: bool, file: Path, page: str) -> None:
    """Another `start` may have written it since, or a user has deleted it."""
    other = this(page, 1)
    with announced(this(page)):
        file.unlink()
        if is_there:
            file.write_bytes(msgspec.json.encode(other))
    assert read_running() == (other if is_there else None)


@pytest.mark.usefixtures("file")
@pytest.mark.parametrize(
    "command", ["status", "show a.txt", "export", "view --port 0", "drop README.md", "redrive --failed"]
)
def test_without_an_app_commands_refuse(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever listens on the storage emulator's port may be another program's."""
    monkeypatch.chdir(ROOT)
    result = CliRunner().invoke(app, command.split())
    assert result.exit_code == 1
    assert "Run 'make start' in another terminal, or set NER_STORAGE" in result.stderr
    assert "NER_STORAGE=UseDevelopmentStorage=true" in result.stderr


@pytest.mark.usefixtures("file")
def test_an_emulator_that_is_named_must_be_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's own is taken if the environment names it; if it is not there, that is said."""
    monkeypatch.setenv("NER_STORAGE", "UseDevelopmentStorage=true")
    monkeypatch.setattr("local.account.accepts_connections", lambda _: False)
    result = CliRunner().invoke(app, ["status"])
    assert result.exit_code == 1
    assert "nothing listens on port 10000" in result.stderr


def test_a_second_start_names_the_page(file: Path, page: str) -> None:
    """Two apps on the same files would overwrite each other's; other labels cannot be had beside it."""
    file.write_bytes(msgspec.json.encode(this(page)))
    result = CliRunner().invoke(app, ["start"])
    assert (result.exit_code, result.output) == (0, f"Already running at {page}\n")
    result = CliRunner().invoke(app, ["start", "--labels", "labels.json"])
    assert result.exit_code == 1
    assert f"already running at {page}: stop it" in result.stderr


@pytest.mark.parametrize("blob", [f"{'ö' * 130}.txt.json", "folder/a.txt.json"])
def test_an_outcome_that_cannot_be_copied_is_shown_all_the_same(
    blob: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The copy is a convenience: a name may be too long for a file, or a file may be in the place of a folder."""
    (tmp_path / "folder").touch()
    account: Any = SimpleNamespace(settings=SimpleNamespace(results_container="results"))
    monkeypatch.setattr(running, "RESULTS", tmp_path)
    monkeypatch.setattr(running, "read_result", lambda *_: SimpleNamespace(blob=blob, raw=b"{}"))
    monkeypatch.setattr(running, "show_result", lambda *_: None)
    running.show_dropped(account, "a.txt")
    said = capsys.readouterr().out
    assert f"outcome: results/{blob}" in said
    assert "copy:    none (" in said


def test_the_folder_of_a_run_can_be_named() -> None:
    """From the clone on, if it is relative; messages name a path as short as they can."""
    program = "from local import paths; print(paths.RUNNING, paths.AZURITE_DATA)"
    environ = {**os.environ, paths.OVERRIDE: ".local/other"}
    command = [sys.executable, "-c", program]
    result = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=True)
    folder = ROOT / ".local" / "other"
    assert result.stdout == f"{folder / 'running.json'} {folder / 'azurite'}\n"
    assert paths.shown(folder) == ".local/other"
    assert paths.shown(Path("/elsewhere")) == "/elsewhere"


def test_output_whose_encoding_lacks_a_letter_is_no_error() -> None:
    """A pipe on an old system, or a terminal of another country."""
    program = "run = lambda **_: print('Zürich 🍷'); import local.cli as cli; "
    program += "cli.typer.main.get_command = lambda _: run; cli.main('ner')"
    environ = {**os.environ, "PYTHONIOENCODING": "ascii"}
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )
    assert (result.stdout, result.stderr) == ("Z?rich ?\n", "")
