"""Child processes end with the one that started them."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from local.children import Child, ChildError, accepts_connections, free_port
from local.install import ROOT
from local.storage_emulator import Azurite
from tests.conftest import free_ports
from tests.waiting import eventually

STARTS_AZURITE = """
import sys, time
from pathlib import Path
from local.storage_emulator import Azurite
with Azurite(Path(sys.argv[1]), ports=tuple(map(int, sys.argv[2:]))):
    print("up", flush=True)
    time.sleep(600)
"""
STARTS_PYTHON = """
import os, sys, time
from pathlib import Path
from local.children import Child
served = "from local.children import stop_with_parent; stop_with_parent(); import http.server, sys; " \\
    "http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), http.server.BaseHTTPRequestHandler).serve_forever()"
with Child("server", [sys.executable, "-c", served, sys.argv[2]], Path(sys.argv[1]), environ=os.environ):
    print("up", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("program", [STARTS_AZURITE, STARTS_PYTHON], ids=["azurite", "python"])
def test_a_child_ends_with_its_parent(program: str, number: signal.Signals, tmp_path: Path) -> None:
    """However the parent ends, nobody listens on the child's ports afterwards."""
    ports = free_ports() if program is STARTS_AZURITE else (free_port(),)
    command = [sys.executable, "-c", program, str(tmp_path / "log"), *map(str, ports)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"up\n"
        eventually(lambda: all(accepts_connections(port) for port in ports) or None, "the child listens")
        parent.send_signal(number)
        parent.wait()
        eventually(lambda: not any(accepts_connections(port) for port in ports) or None, "the child is gone")


def test_a_child_that_fails_shows_its_last_words(tmp_path: Path) -> None:
    """The error names the log and quotes its end."""
    command = [sys.executable, "-c", "raise SystemExit('no luck today')"]
    with (
        Child("Doomed", command, tmp_path / "doomed.log", environ={}) as child,
        pytest.raises(ChildError, match=r"(?s)Doomed ended with exit code 1.*doomed\.log.*no luck today"),
    ):
        child.wait_until(lambda: False)


def test_a_taken_port_gives_another() -> None:
    """A preferred port that somebody listens on is passed over."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        assert free_port(taken) not in (0, taken)


def test_azurite_closes_when_it_is_asked_to(tmp_path: Path) -> None:
    """Being killed could cost what it holds, and ten seconds of everybody's time."""
    with Azurite(tmp_path / "azurite.log", data=tmp_path / "data", ports=free_ports()) as azurite:
        pass
    assert azurite.process.returncode != -signal.SIGKILL
