"""Completion in real shells: a file's name never runs as a command."""

import os
import pty
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from azure.storage.blob import BlobServiceClient

from local.stack import create_containers_and_queues
from shared.settings import Settings
from tests.preloaded import preloaded_command
from tests.waiting import PATIENCE_SECONDS

SHELLS = {
    "bash": ("bash", "--noprofile", "--norc", "-i"),
    "zsh": ("zsh", "-f", "-i"),
    "fish": ("fish", "--no-config", "-i"),
}
SETUP = {
    "bash": "set +H; eval \"$(ner --show-completion bash)\"; PS1='<''ready>' PS2='<''more>'\n",
    "zsh": "bindkey -e; autoload -Uz compinit && compinit -u; "
    "eval \"$(ner --show-completion zsh)\"; PS1='<''ready>' PS2='<''more>'\n",
    "fish": "ner --show-completion fish | source; function fish_prompt; echo '<''ready>'; end\n",
}
LEAVE = {"bash": "\x03", "zsh": "\x07", "fish": "\x03"}
"""The keys that leave a line that goes on. In zsh, Ctrl-C between the prompt and the read may
give no new prompt."""
ON_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execvp(sys.argv[1], sys.argv[1:])"
)
"""A shell must have the terminal for itself; fish does not start otherwise."""
NAMES = (
    "semicolon;touch PWNED;.txt",
    "dollar$(touch PWNED).txt",
    "backtick`touch PWNED`.txt",
    'double"$(touch PWNED)".txt',
    "single';touch PWNED;'.txt",
    "pipe|touch PWNED|.txt",
    "line\ntouch PWNED\n.txt",
    "star;touch PWNED;*.txt",
    "group@(;touch PWNED;).txt",
)


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the command `ner`."""
    folder = tmp_path_factory.mktemp("command")
    with preloaded_command(folder):
        yield folder


@pytest.fixture
def account(values: dict[str, str], blobs: BlobServiceClient) -> dict[str, str]:
    """App settings of an account whose files have hostile names."""
    settings = Settings.from_environ(values)
    create_containers_and_queues(settings)
    for name in NAMES:
        # Other tools may upload names that the app refuses.
        blobs.get_blob_client(settings.input_container, name).upload_blob(b"x")
    return values


class Typing:
    """A shell on a terminal."""

    def __init__(self, terminal: int, leave: str) -> None:
        self.terminal = terminal
        self.leave = leave
        self.shown = ""

    def type(self, keys: str) -> None:
        """Type keys, wait for a prompt, and leave a line that goes on."""
        for typed in (keys, self.leave):
            begin = len(self.shown)
            os.write(self.terminal, typed.encode())
            ends = "<ready>", "<more>"
            while not any(end in self.shown[begin:] for end in ends):
                assert select.select([self.terminal], [], [], PATIENCE_SECONDS)[0], self.shown
                self.shown += os.read(self.terminal, 65536).decode(errors="replace")
            if "<more>" not in self.shown[begin:]:
                return


@contextmanager
def opened_shell(shell: str, command: Path, folder: Path, account: dict[str, str]) -> Iterator[Typing]:
    """Start a shell that completes the words of `ner`."""
    environ = {
        **os.environ,
        **account,
        "PATH": f"{command}:{os.environ['PATH']}",
        "TERM": "xterm",
        "HOME": str(folder),
        "COLUMNS": "200",
        # With this, the option takes the name of the shell.
        "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1",
    }
    ours, theirs = pty.openpty()
    start = (sys.executable, "-c", ON_TERMINAL, *SHELLS[shell])
    with subprocess.Popen(
        start, cwd=folder, env=environ, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    ) as process:
        os.close(theirs)
        try:
            typing = Typing(ours, LEAVE[shell])
            typing.type(SETUP[shell])
            yield typing
        finally:
            process.kill()
            os.close(ours)


@pytest.mark.parametrize("shell", SHELLS)
def test_completing_a_hostile_name_runs_nothing(
    shell: str, command: Path, account: dict[str, str], tmp_path: Path
) -> None:
    """Neither does a name whose quotes were opened by hand, nor one that a file of the folder has, too."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    for name in NAMES:
        (tmp_path / name).touch()
    with opened_shell(shell, command, tmp_path, account) as typing:
        for quote in ("", "'", '"'):
            begin = len(typing.shown)
            for name in NAMES:
                typing.type(f"ner show {quote}{name[:4]}\t\n")
            assert not (tmp_path / "PWNED").exists(), typing.shown
            assert "semicolon;touch PWNED;.txt.json" in typing.shown[begin:], typing.shown
