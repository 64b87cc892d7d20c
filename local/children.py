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
from typing import Final, Self, TypeVar

from local.private_files import PRIVATE_UMASK, open_private

T = TypeVar("T")

GRACE_SECONDS: Final = 10.0
NEXT_PORTS: Final = 20
"""How many ports are tried in order, so that addresses change little if one of them is taken."""


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
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        *,
        environ: Mapping[str, str],
        cwd: Path | None = None,
        keep_open: Sequence[int] = (),
    ) -> None:
        """Start the process; what it prints goes to the log file. It inherits the descriptors to keep open.

        Only the owner can read the log, and the files that the process makes: these may hold texts.
        """
        self.name = name
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with open_private(log) as output:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environ),
                cwd=cwd,
                # Ctrl-C goes to the parent alone, which then stops its children in order.
                start_new_session=True,
                pass_fds=keep_open,
                umask=PRIVATE_UMASK,
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


def is_free(port: int) -> bool:
    """Return whether a server could listen on a port of the loopback interface."""
    with socket.socket() as probe:
        # As servers do, so that a connection of the last run that lingers does not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    # On macOS, another program's server on all interfaces does not show in the binding.
    return not accepts_connections(port)


def free_port(preferred: int = 0, count: int = 1) -> int:
    """Return a free port of the loopback interface: the preferred one, else the next one, else any.

    Args:
        preferred: port to try first; 0 for any.
        count: how many adjacent ports must be free.
    """
    if preferred:
        for port in range(preferred, min(preferred + NEXT_PORTS * count, 65536 - count), count):
            if all(is_free(port + number) for number in range(count)):
                return port
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if all(port + number < 65536 and is_free(port + number) for number in range(count)):
            return port


def on_free_port(preferred: int, start: Callable[[int], T], count: int = 1) -> T:
    """Start a server on free ports, and again on the next ones if another process takes these meanwhile.

    Args:
        preferred: port to try first.
        start: starts the server on a port, and the ports after it.
        count: how many adjacent ports the server needs.

    Raises:
        ChildError: the server did not come up.
    """
    for _ in range(NEXT_PORTS):
        port = free_port(preferred, count)
        try:
            return start(port)
        except ChildError:
            if not any(accepts_connections(port + number) for number in range(count)):
                raise
    return start(free_port(0, count))


def accepts_connections(port: int) -> bool:
    """Tell whether somebody listens on a port of the loopback interface."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0
