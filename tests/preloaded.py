"""The command line, loaded once: to start Python and import all takes most of the time of a short command.

Each call is a fork of one server, with the caller's arguments, environment, folder and standard streams.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

CALLER: Final = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    socket.send_fds(server, [b"."], [0, 1, 2, os.open(".", os.O_RDONLY)])
    server.sendall(json.dumps([sys.argv[1:], dict(os.environ)]).encode() + b"\\n")
    sys.exit(int(server.recv(3) or b"1"))
"""


@contextmanager
def preloaded_command(folder: Path) -> Iterator[None]:
    """Have the command `ner` in a folder until the block ends."""
    # Not in the folder of a test: the address of a socket has at most about 100 characters.
    with TemporaryDirectory() as place, socket.socket(socket.AF_UNIX) as listener:
        address = f"{place}/calls"
        listener.bind(address)
        listener.listen(16)
        command = folder / "ner"
        command.write_text(CALLER.format(python=sys.executable, address=address))
        command.chmod(0o700)
        number = listener.fileno()
        with subprocess.Popen([sys.executable, "-m", "tests.preloaded", str(number)], pass_fds=[number]) as server:
            try:
                yield
            finally:
                server.kill()


def serve(listener: socket.socket) -> None:
    """Serve one call after the other until this process is killed."""
    import azure.storage.blob
    import azure.storage.queue

    import local.cli

    del azure, local
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        caller, _ = listener.accept()
        with caller:
            if os.fork() == 0:
                run(caller)


def run(caller: socket.socket) -> None:
    """Run the command of a caller in this process, and end it."""
    from local.cli import main

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    code = 1
    try:
        _, (*streams, folder), _, _ = socket.recv_fds(caller, 1, 4)
        arguments, environ = json.loads(caller.makefile("rb").readline())
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        # Those of the server know what kind of file they once wrote to.
        sys.stdout, sys.stderr = (os.fdopen(number, "w", encoding="utf-8", closefd=False) for number in (1, 2))
        os.fchdir(folder)
        os.environ.clear()
        os.environ.update(environ)
        sys.argv = ["ner", *arguments]
        main("ner")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except Exception:  # noqa: BLE001  # as Python does
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        caller.sendall(str(code).encode())
        os._exit(code)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
