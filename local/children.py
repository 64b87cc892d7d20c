"""Child processes that end with the process that started them, even when that one is killed.

Each child holds the read end of a pipe as its standard input and stops when the pipe closes, which the operating system
sees to however its parent ends.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

GRACE_SECONDS: Final = 10.0


class ChildError(Exception):
    """A child process did not come up; the message says where its log is and how that ends."""


def stop_with_parent() -> None:
    """Within a child: send SIGTERM to this process once its standard input ends."""

    def wait() -> None:
        while os.read(sys.stdin.fileno(), 4096):
            continue
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="stop-with-parent", daemon=True).start()


class Child:
    """A running process with its log file. A context manager: leaving it stops the process."""

    def __init__(
        self, name: str, command: Sequence[str], log: Path, *, environ: Mapping[str, str], cwd: Path | None = None
    ) -> None:
        """Start the process; what it prints goes to the log file."""
        self.name = name
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environ),
                cwd=cwd,
                # Ctrl-C goes to the parent alone, which then stops its children in order.
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        """Return the running child."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop the process."""
        self.stop()

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended."""
        return self.process.poll() is None

    def wait_until(self, is_ready: Callable[[], bool], seconds: float = 60.0) -> None:
        """Wait until the process is ready.

        Raises:
            ChildError: it ended, or was not ready in time.
        """
        deadline = time.monotonic() + seconds
        while not is_ready():
            if not self.is_running:
                raise ChildError(f"{self.name} ended with exit code {self.process.returncode}. {self.last_words()}")
            if time.monotonic() > deadline:
                raise ChildError(f"{self.name} was not ready after {seconds:.0f} seconds. {self.last_words()}")
            time.sleep(0.05)

    def last_words(self) -> str:
        """Return the end of the log, for an error message."""
        tail = self.log.read_text(errors="replace").strip().splitlines()[-15:]
        return "\n".join([f"The end of its log ({self.log}):", *(f"    {line}" for line in tail)])

    def stop(self) -> None:
        """End the process: ask, wait, then kill."""
        if self.is_running:
            self.process.terminate()
            try:
                self.process.wait(GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
        if self.process.stdin is not None:
            self.process.stdin.close()

    def kill(self) -> None:
        """End the process without warning, as a crash would."""
        self.process.kill()
        self.process.wait()


def free_port(preferred: int = 0) -> int:
    """Return a port of the loopback interface that nobody listens on: the preferred one if it is free."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            # As servers do, so that a connection of the last run that lingers does not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise ChildError("this machine has no free port on 127.0.0.1")


def accepts_connections(port: int) -> bool:
    """Tell whether somebody listens on a port of the loopback interface."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0
