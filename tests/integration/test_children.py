"""Child processes end with the one that started them."""

import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from local import storage_emulator
from local.children import Child, ChildError, accepts_connections, free_port, on_free_port
from local.install import OWN_AZURITE, ROOT
from local.storage_emulator import Azurite, DataInUseError, azurite_program
from tests import ports
from tests.ports import free_ports
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
    listening = free_ports() if program is STARTS_AZURITE else (ports.free_port(),)
    command = [sys.executable, "-c", program, str(tmp_path / "log"), *map(str, listening)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"up\n"
        eventually(lambda: all(accepts_connections(port) for port in listening) or None, "the child listens")
        parent.send_signal(number)
        parent.wait()
        eventually(lambda: not any(accepts_connections(port) for port in listening) or None, "the child is gone")


def test_a_child_that_fails_shows_its_last_words(tmp_path: Path) -> None:
    """The error names the log and quotes its end."""
    command = [sys.executable, "-c", "raise SystemExit('no luck today')"]
    with (
        Child("Doomed", command, tmp_path / "doomed.log", environ={}) as child,
        pytest.raises(ChildError, match=r"(?s)Doomed ended with exit code 1.*doomed\.log.*no luck today"),
    ):
        child.wait_until(lambda: False)


def test_taken_ports_give_the_next_ones() -> None:
    """In order, so that addresses stay what they were as long as the same programs run."""
    first = ports.free_port(6)
    with socket.create_server(("127.0.0.1", first)):
        assert free_port(first) == first + 1
    with socket.create_server(("127.0.0.1", first + 1)):
        assert free_port(first) == first
        assert free_port(first, 3) == first + 3
    assert free_port(first, 3) == first


def test_a_port_that_is_taken_meanwhile_gives_the_next_one() -> None:
    """Between the look for a free port and the server's start, another process may take it."""
    first = ports.free_port(2)
    tried: list[int] = []
    with ExitStack() as servers:

        def start(port: int) -> int:
            tried.append(port)
            if len(tried) == 1:
                servers.enter_context(socket.create_server(("127.0.0.1", port)))
                raise ChildError("the port is taken")
            return port

        assert on_free_port(first, start) == first + 1
    assert tried == [first, first + 1]


def test_a_server_that_fails_for_another_reason_is_not_tried_again() -> None:
    """It would fail twenty times."""
    tried: list[int] = []

    def start(port: int) -> int:
        tried.append(port)
        raise ChildError("no luck today")

    with pytest.raises(ChildError, match="no luck today"):
        on_free_port(ports.free_port(), start)
    assert len(tried) == 1


def test_two_azurites_never_work_on_the_same_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second is refused; once the first has ended, however it did, the files are there for the next one."""
    monkeypatch.setattr(storage_emulator, "STOP_SECONDS", 0.0)
    data = tmp_path / "data"
    with Azurite(tmp_path / "1.log", data=data, ports=free_ports()) as first:
        with pytest.raises(DataInUseError, match="Another process works on the stored files"):
            Azurite(tmp_path / "2.log", data=data, ports=free_ports())
        assert not (tmp_path / "2.log").exists()
        first.kill()
        with Azurite(tmp_path / "3.log", data=data, ports=free_ports()):
            pass


def test_an_azurite_waits_for_one_that_is_ending(tmp_path: Path) -> None:
    """After `kill -9` of the app, its Azurite takes a moment to write its files and to end."""
    data = tmp_path / "data"
    with Azurite(tmp_path / "1.log", data=data, ports=free_ports()) as first:
        first.process.terminate()
        with Azurite(tmp_path / "2.log", data=data, ports=free_ports()):
            assert not first.is_running


def test_an_azurite_of_ones_own_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the link that npm makes for an installation; a wrong path is named."""
    own = tmp_path / "azurite"
    own.symlink_to(azurite_program())
    monkeypatch.setenv(OWN_AZURITE, str(own))
    with Azurite(tmp_path / "log", ports=free_ports()) as azurite:
        assert isinstance(azurite.process.args, list)
        assert str(azurite_program()) in azurite.process.args
    monkeypatch.setenv(OWN_AZURITE, str(tmp_path / "nowhere"))
    with pytest.raises(ChildError, match=r"NER_AZURITE names .*nowhere"):
        Azurite(tmp_path / "log", ports=free_ports())


def test_azurite_closes_when_it_is_asked_to(tmp_path: Path) -> None:
    """Being killed could cost what it holds, and ten seconds of everybody's time."""
    with Azurite(tmp_path / "azurite.log", data=tmp_path / "data", ports=free_ports()) as azurite:
        pass
    assert azurite.process.returncode != -signal.SIGKILL
