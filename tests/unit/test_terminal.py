"""Nothing that would steer a terminal reaches it, whatever a name, a text or a message contains."""

import ast
import errno
import io
import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.progress import Progress, TextColumn
from rich.table import Table
from rich.text import Text

from local import terminal
from local.commands.common import sentences_for_errors
from local.install import ROOT
from local.printable import harmless, harmless_json
from local.show_way import FileProgress
from local.terminal import Terminal
from local.watch import Dropped

HOSTILE = "a\x1b]0;PWNED\x07\x9b31mb\u202ec\u2028d\x08e"
STEERING = ("\x1b]", "\x07", "\x9b", "\u202e", "\u2028", "\x08")
OTHER_OUTPUT = {
    "local/terminal.py",  # the writer
    "local/install.py",  # runs before the packages are installed
}
WRITERS = {"print", "typer.echo", "typer.secho", "Console", "rich.print", "get_console", "os.write"}
STREAMS = {"sys.stdout", "sys.stderr", "sys.__stdout__", "sys.__stderr__"}
NEED_CONSOLE = {"track", "Progress", "Live", "Status", "Prompt.ask"}


def other_ways(path: Path) -> list[str]:
    """Return the lines of a module that write to the terminal past the writer."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and ast.unparse(node) in STREAMS:
            found.append(ast.unparse(node))
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            options = {keyword.arg for keyword in node.keywords}
            if name in WRITERS and not (name == "print" and "file" in options):
                found.append(ast.unparse(node))
            if name in NEED_CONSOLE and "console" not in options:
                found.append(ast.unparse(node))
    return found


@pytest.mark.parametrize(
    "path",
    [
        path
        for path in sorted((ROOT / "local").rglob("*.py"))
        # What these two print goes into a log.
        if not {"host", "ner"} & set(path.relative_to(ROOT / "local").parts[:-1])
        and path.relative_to(ROOT).as_posix() not in OTHER_OUTPUT
    ],
    ids=lambda path: path.relative_to(ROOT).as_posix(),
)
def test_only_one_module_writes_to_the_terminal(path: Path) -> None:
    """So that a new command cannot forget what its texts may contain."""
    assert other_ways(path) == []


@pytest.mark.parametrize(
    "line", ["print('x')", "typer.echo('x')", "Console().print('x')", "sys.stdout.write('x')", "track([])"]
)
def test_another_way_to_the_terminal_is_found(line: str, tmp_path: Path) -> None:
    """Whatever it is called."""
    (tmp_path / "new.py").write_text(line)
    assert other_ways(tmp_path / "new.py")


def on_terminal() -> Terminal:
    """Return a terminal that keeps what it shows."""
    return Terminal(file=io.StringIO(), width=200, force_terminal=True, color_system=None)


def shown(console: Terminal) -> str:
    """Return what a terminal has shown."""
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("kind", ["text", "line", "table", "progress"])
def test_a_terminal_shows_no_control_character(kind: str) -> None:
    """In whatever it is."""
    console = on_terminal()
    table = Table("x")
    table.add_row(Text(HOSTILE))
    if kind == "progress":
        with Progress(TextColumn("{task.fields[file]}"), console=console, auto_refresh=False) as bars:
            bars.add_task("", file=HOSTILE)
    else:
        console.print({"text": Text(HOSTILE), "line": HOSTILE, "table": table}[kind])
    said = shown(console)
    assert "PWNED" in said
    assert not [one for one in STEERING if one in said]


@pytest.mark.parametrize("is_terminal", [True, False])
def test_the_progress_of_a_file_is_a_line_of_its_own(*, is_terminal: bool) -> None:
    """A line end in its name begins no other line."""
    console = Terminal(file=io.StringIO(), width=200, force_terminal=is_terminal, color_system=None)
    dropped = [Dropped(f"{HOSTILE}\nforged line", "0x1", 1)]
    with FileProgress(console, dropped) as progress:
        progress.update(dropped)
    said = shown(console)
    assert "\\nforged line" in said
    assert not [one for one in STEERING if one in said]


def test_an_error_forges_no_other_styles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own lines are kept."""
    console = on_terminal()
    monkeypatch.setattr(terminal, "errors", console)
    terminal.complain(f"[bold]{HOSTILE}\nsecond :bomb: \udcff")
    assert shown(console) == ("[bold]a\\x1b]0;PWNED\\x07\\x9b31mb\\u202ec\\u2028d\\x08e\nsecond :bomb: \\udcff\n")


def test_what_no_command_expects_is_harmless() -> None:
    """A traceback, and what libraries log, quote names as they are."""
    code = (
        "import logging, sys; from local import terminal; terminal.prepare();"
        "logging.getLogger('library').warning('logged %s', sys.argv[1]); raise ValueError(sys.argv[1])"
    )
    command = [sys.executable, "-c", code, HOSTILE]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60, check=False)
    logged, *_, last = result.stderr.decode().splitlines()
    assert result.returncode == 1
    assert logged.startswith("logged a\\x1b]0;PWNED")
    assert last.startswith("ValueError: a\\x1b]0;PWNED")
    assert not [one for one in STEERING if one in result.stderr.decode()]


def test_texts_keep_what_their_languages_need() -> None:
    """Joined letters, spaces that do not break, lines and tabs."""
    text = "👩\u200d🚀 می\u200cخواهم 12\u00a0km\tx\r\ny\n"
    assert harmless(text) == text


def test_json_stays_the_same_value() -> None:
    """Only its notation changes."""
    written = json.dumps({"text": HOSTILE}, ensure_ascii=False)
    assert json.loads(harmless_json(written)) == {"text": HOSTILE}
    assert not [one for one in STEERING if one in harmless_json(written)]


PROGRAM = """
import json, sys
from local import terminal
text = sys.argv[2]
if sys.argv[1] == "tell":
    terminal.tell(text)
elif sys.argv[1] == "json":
    terminal.tell(json.dumps({"text": text}, ensure_ascii=False))
elif sys.argv[1] == "usage":
    from local.cli import main
    sys.argv[1:] = ["show", "--" + text]
    main("ner")
else:
    with terminal.data_output(is_json=sys.argv[1] == "jsonl") as output:
        output.write(text + "\\r\\n")
"""


def run_on_terminal(*arguments: str) -> str:
    """Return what a program shows on a terminal."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", PROGRAM, *arguments]
    environ: dict[str, Any] = {**os.environ, "TERM": "dumb", "COLUMNS": "200"}
    with subprocess.Popen(command, cwd=ROOT, env=environ, stdout=theirs, stderr=theirs, stdin=theirs) as process:
        os.close(theirs)
        data = b""
        try:
            while part := os.read(ours, 65536):
                data += part
        except OSError:  # the program has ended
            pass
        process.wait()
    os.close(ours)
    return data.decode()


@pytest.mark.parametrize("kind", ["tell", "json", "csv", "jsonl", "usage"])
def test_data_on_a_terminal_is_harmless(kind: str) -> None:
    """So are the errors of Typer, which quote arguments."""
    said = run_on_terminal(kind, HOSTILE)
    assert "PWNED" in said
    assert not [one for one in STEERING if one in said]


@pytest.mark.parametrize("kind", ["tell", "csv"])
def test_data_for_a_program_is_unchanged(kind: str) -> None:
    """A pipe steers nothing."""
    command = [sys.executable, "-c", PROGRAM, kind, HOSTILE]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60, check=True)
    assert result.stdout.decode().rstrip("\r\n") == HOSTILE


def test_a_file_that_cannot_be_written_gives_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its name; the exit code is 1."""
    console = on_terminal()
    monkeypatch.setattr(terminal, "errors", console)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises(typer.Exit) as ended, sentences_for_errors():
        raise OSError(errno.ENOSPC, "No space left on device", "table.csv")
    assert ended.value.exit_code == 1
    assert shown(console).startswith("table.csv cannot be used: No space left on device.")
