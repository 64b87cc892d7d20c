"""`make run`, `make start` and `drop` as a person uses them, in processes of their own."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from azure.core.exceptions import AzureError
from azure.storage.blob import BlobServiceClient

from local.install import ROOT
from local.paths import OVERRIDE
from local.stack import CORE_TOOLS, create_containers_and_queues
from local.storage_emulator import BLOB_PORT
from shared.settings import Settings
from shared.source import Source
from shared.state.batch import BatchKind, BatchRecord, Member, batch_name, encode_batch
from shared.state.claim import Claim, claim_name, encode_claim, new_batch_id
from tests.waiting import PATIENCE_SECONDS, eventually


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for what the commands of a test write: they never see another test's app, nor the developer's."""
    folder = tmp_path / "state"
    monkeypatch.setenv(OVERRIDE, str(folder))
    return folder


def local(*arguments: str, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run `python -m local` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "local", *arguments],
        cwd=ROOT,
        env={**os.environ, "NER_POLL_MIN_SECONDS": "1", "COLUMNS": "120", **(environ or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE_SECONDS,
        check=False,
    )


def test_run_shows_the_entities_of_a_file(tmp_path: Path, state: Path) -> None:
    """It ends with exit code 0, tells each step, shows a table and where the outcome is."""
    (tmp_path / "note of mine.txt").write_text(
        "Please book a table for six at eight. Then play something by Nadia Verlaine."
    )
    result = local("run", str(tmp_path / "note of mine.txt"))
    assert result.returncode == 0, result.stdout + result.stderr
    for step in ("uploaded", "done: succeeded"):
        assert f"note of mine.txt: {step}" in result.stdout
    assert "play something by [Nadia Verlaine|artist]" in result.stdout
    assert "1 text record" in result.stdout
    assert "outcome: results/note of mine.txt.json" in result.stdout
    copy = state / "results" / "note of mine.txt.json"
    assert json.loads(copy.read_text())["source"]["name"] == "note of mine.txt"


@pytest.mark.usefixtures("state")
def test_run_with_events_from_a_queue(tmp_path: Path) -> None:
    """An emulation of Event Grid reports the file; no sweep would find it."""
    (tmp_path / "reported.txt").write_text("Please book a table for six at eight.")
    environ = {"NER_BLOB_TRIGGER_SOURCE": "EventGridQueue", "NER_SWEEP_SCHEDULE": "0 0 0 1 1 *"}
    result = local("run", str(tmp_path / "reported.txt"), environ=environ)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "reported.txt: done: succeeded" in result.stdout


@pytest.mark.usefixtures("state")
def test_run_says_why_a_file_failed(tmp_path: Path) -> None:
    """A bad file makes the exit code 1 and shows the reason, not a traceback."""
    (tmp_path / "scan.pdf").write_bytes(b"%PDF")
    result = local("run", str(tmp_path / "scan.pdf"))
    assert result.returncode == 1
    assert "UnsupportedType" in result.stdout
    assert "Not succeeded: scan.pdf" in result.stderr
    assert "Traceback" not in result.stdout + result.stderr


@pytest.mark.parametrize(
    ("arguments", "environ", "sentence"),
    [
        (["run", "nowhere.txt"], {}, "nowhere.txt does not exist"),
        (["run"], {"NER_POLL_MIN_SECONDS": "often"}, "NER_POLL_MIN_SECONDS must be a whole number"),
        (["run", "--labels", "nowhere.json"], {}, "nowhere.json"),
    ],
)
def test_a_users_mistake_gives_a_sentence(arguments: list[str], environ: dict[str, str], sentence: str) -> None:
    """No traceback of ours, and exit code 1."""
    result = local(*arguments, environ=environ)
    assert result.returncode == 1
    assert sentence in result.stderr
    assert "Traceback" not in result.stderr


def serves(page: str, connection: str, name: str) -> bool:
    """Return whether the page or the storage of this app still answers; another program may have the ports by now."""
    with suppress(httpx.TransportError):
        if name in httpx.get(page).text:
            return True
    with BlobServiceClient.from_connection_string(connection, retry_total=0) as blobs, suppress(AzureError):
        return blobs.get_blob_client("incoming", name).exists()
    return False


@pytest.fixture
def _ctrl_c() -> Iterator[None]:
    """Let child processes end on Ctrl-C, also in tests that a shell runs in the background, where it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.slow
@pytest.mark.usefixtures("_ctrl_c")
def test_start_takes_drops_until_it_is_stopped(tmp_path: Path, state: Path) -> None:
    """While `start` is up, `drop` uploads to it; Ctrl-C leaves nothing running."""
    (tmp_path / "dropped.md").write_text("A table for two in Lisbon tomorrow at seven, please.")
    command = [sys.executable, "-m", "local", "start"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as started:
        eventually(lambda: (state / "running.json").exists() or started.poll() is not None, "the app is up")
        result = local("drop", str(tmp_path / "dropped.md"))
        assert result.returncode == 0, result.stdout + result.stderr
        page = json.loads((state / "logs" / "start" / "page.log").read_text().splitlines()[0])["url"]
        assert "dropped.md" in httpx.get(page).text
        assert "[Lisbon|city]" in local("show", "dropped.md").stdout
        again = local("start")
        assert again.returncode == 0, again.stderr
        assert again.stdout == f"Already running at {page}\n"
        assert local("view").stdout == f"The page is at {page}\n'make start' serves it.\n"
        started.send_signal(signal.SIGINT)
        said = started.communicate(timeout=PATIENCE_SECONDS)[0]
    assert "or into the container 'incoming'" in said
    (connection,) = re.findall(r"DefaultEndpointsProtocol=\S+", said)
    assert f"The page: {page}" in said
    assert not serves(page, connection, "dropped.md")
    assert not (state / "running.json").exists()
    assert started.returncode == 0


def occupy(port: int, servers: ExitStack) -> None:
    """Take a port, or leave it to a program that keeps it: not to another test, which gives it back at any time."""
    for _ in range(600):
        try:
            servers.enter_context(socket.create_server(("127.0.0.1", port)))
        except OSError:
            time.sleep(0.1)
        else:
            return


@pytest.mark.usefixtures("state")
def test_run_works_beside_other_programs(tmp_path: Path) -> None:
    """Behind a proxy that leads nowhere, and with the usual ports taken, which it says."""
    (tmp_path / f"{'long ' * 49}ö.txt").write_text("A table for two in Lisbon tomorrow at seven, please.")
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9") | {"NO_PROXY": "", "no_proxy": ""}
    with ExitStack() as servers:
        for port in (BLOB_PORT, 10100):
            occupy(port, servers)
        result = local("run", str(next(tmp_path.glob("*.txt"))), environ=proxies)
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.search(r"Storage is on port \d+, because port 10000 is taken\.", result.stdout)
    assert re.search(r"The NER emulator is on port \d+, because port 10100 is taken\.", result.stdout)
    assert "[Lisbon|city]" in result.stdout
    assert re.search(r"copy:    none \(.+\)", result.stdout)


@pytest.mark.usefixtures("state")
def test_core_tools_are_used_where_they_are_installed(tmp_path: Path) -> None:
    """With `func` on PATH it hosts the app; here it is a script that notes how it was called, then ends."""
    func = tmp_path / "func"
    func.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo 4.0.7030 && exit\n'
        'here=$(dirname "$0")\necho "$@" > "$here/call"\nenv > "$here/environment"\nexit 3\n'
    )
    func.chmod(0o755)
    (tmp_path / "a.txt").write_text("a")
    environ = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", CORE_TOOLS: ""}
    result = local("run", str(tmp_path / "a.txt"), environ=environ)
    assert result.returncode == 1
    assert "The Functions host ended with exit code 3" in result.stderr
    assert (tmp_path / "call").read_text().split()[:2] == ["start", "--port"]
    environment = (tmp_path / "environment").read_text()
    assert "FUNCTIONS_WORKER_RUNTIME=python" in environment
    assert "NER_STORAGE=DefaultEndpointsProtocol=http;AccountName=devstoreaccount1" in environment


def test_an_operator_looks_at_any_account(values: dict[str, str], blobs: BlobServiceClient) -> None:
    """`status` and `redrive --dry-run` on the account that the environment names; a wrong option gives a sentence."""
    settings = Settings.from_environ(values)
    create_containers_and_queues(settings)
    before = datetime.now(UTC) - timedelta(hours=1)
    source = Source(settings.input_container, "lost\u2028[red].txt", "0x1", before, 9)
    claim = Claim(source=source, batch=new_batch_id(), claimed_date_time=before, received_date_time=before)
    state = blobs.create_container(settings.state_container)
    claimed = state.upload_blob(claim_name(source.name), encode_claim(claim), metadata=claim.metadata())
    member = Member(source, claim_etag=claimed.get_blob_properties().etag.strip('"'))
    record = BatchRecord(kind=BatchKind.WAITING, members=[member], received_date_time=before, due=before)
    state.upload_blob(batch_name(claim.batch), encode_batch(record), metadata=record.metadata())
    result = local("status", environ=values)
    assert result.returncode == 0, result.stderr
    assert "lost\\u2028[red].txt" in result.stdout
    assert "retrying submission, overdue" in result.stdout
    assert "1 message of files in flight must be lost" in result.stdout
    assert "No sweep has run yet" in result.stdout
    result = local("redrive", "--in-flight", "--dry-run", environ=values)
    assert result.returncode == 0, result.stderr
    assert "would be sent with the message from its record" in result.stdout
    assert local("redrive", "nobody's.txt", environ=values).returncode == 1
    for arguments in (["redrive"], ["redrive", "--failed", "--since", "soon"]):
        result = local(*arguments, environ=values)
        assert result.returncode != 0
        assert "Traceback" not in result.stderr


def test_files_that_cannot_be_uploaded_hold_up_no_others(
    tmp_path: Path, values: dict[str, str], blobs: BlobServiceClient
) -> None:
    """A name that is not UTF-8 gets a sentence, and exit code 1; a marker only the sentence."""
    settings = Settings.from_environ(values)
    folder = tmp_path / "letters"
    folder.mkdir()
    for name in (b"a.txt", b"caf\xe9.txt", b"z.txt"):
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_text("A letter.")
    (folder / ".keep").touch()
    result = local("drop", str(folder), "--no-wait", environ=values)
    assert "Traceback" not in result.stderr
    assert (result.returncode, result.stderr.count("Not uploaded")) == (1, 2)
    assert "their names are not UTF-8, as the name of a blob must be. Rename them: " in result.stderr
    assert "caf\\udce9.txt" in result.stderr
    container = blobs.get_container_client(settings.input_container)
    assert sorted(blob.name for blob in container.list_blobs()) == ["letters/a.txt", "letters/z.txt"]
    (folder / os.fsdecode(b"caf\xe9.txt")).unlink()
    assert local("drop", str(folder), "--no-wait", environ=values).returncode == 0
    result = local("drop", str(folder / ".keep"), "--no-wait", environ=values)
    assert (result.returncode, "There is nothing to upload." in result.stderr) == (1, True)


@pytest.mark.parametrize("command", ["show", "redrive", "export"])
def test_a_name_that_no_blob_can_have_gives_a_sentence(command: str, values: dict[str, str]) -> None:
    """Shells complete the names of files on this machine, which need not be UTF-8."""
    result = local(command, os.fsdecode(b"caf\xe9.txt"), environ=values)
    assert result.returncode == 2
    assert "is not UTF-8" in result.stderr
    assert "Traceback" not in result.stderr
