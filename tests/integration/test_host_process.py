"""The host emulator as a process: how it reports an app that it cannot host, stops, and ends with its worker."""

import base64
import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from azure.storage.queue import QueueClient, QueueServiceClient

from local import stack
from local.children import Child, ChildError
from tests.waiting import PATIENCE_SECONDS, eventually

APP = """
import asyncio
import os
import azure.functions as func

app = func.FunctionApp()
print("the app was imported", flush=True)


@app.queue_trigger(arg_name="message", queue_name="%QUEUE%", connection="")
async def work(message: func.QueueMessage) -> None:
    match message.get_body().decode():
        case "wait":
            while not os.path.exists(os.environ["MAY_END"]):
                await asyncio.sleep(0.02)
        case "die":
            os.kill(os.getpid(), 9)
        case setting:
            print(os.environ[setting], flush=True)
"""
HOST_JSON = {"version": "2.0", "extensions": {"queues": {"maxPollingInterval": "00:00:01"}}}


class Rig:
    """A small app with a queue of its own."""

    def __init__(self, folder: Path, values: dict[str, str], queues: QueueServiceClient) -> None:
        self.folder = folder
        self.log = folder / "host.log"
        self.may_end = folder / "may-end"
        self.queue: QueueClient = queues.create_queue(values["NER_QUEUE"])
        self.values = {**values, "QUEUE": values["NER_QUEUE"], "MAY_END": str(self.may_end)}
        (folder / "function_app.py").write_text(APP)
        (folder / "host.json").write_text(json.dumps(HOST_JSON))

    def start(self, *options: str) -> Child:
        """Start the host."""
        return stack.start_stand_in(self.values, self.log, self.folder, options)

    def send(self, text: str) -> None:
        """Send a message to the function."""
        self.queue.send_message(base64.b64encode(text.encode()).decode())

    def logged(self, words: str, times: int = 1) -> None:
        """Wait until the log has some words so many times."""
        eventually(lambda: self.log.read_text().count(words) >= times, words)

    def worker(self) -> int:
        """Return the process ID of the newest worker."""
        return int(re.findall(r"Worker process started and initialized\. Pid=(\d+)", self.log.read_text())[-1])


@pytest.fixture
def rig(tmp_path: Path, values: dict[str, str], queues: QueueServiceClient) -> Iterator[Rig]:
    """A small app with a queue of its own."""
    made = Rig(tmp_path, values, queues)
    yield made
    queues.delete_queue(made.queue.queue_name)


def has_ended(pid: int) -> bool:
    """Return whether a process is no more."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_app_settings_reach_the_worker_and_its_output_is_in_the_log(rig: Rig) -> None:
    """The environment of the host is that of the app."""
    rig.values["SOME_SETTING"] = "some value ü"
    with rig.start():
        rig.send("SOME_SETTING")
        rig.logged("Executed 'Functions.work' (Succeeded")
    lines = rig.log.read_text().splitlines()
    assert {"the app was imported", "some value ü"} <= set(lines)
    assert any(line.endswith("INFO host: Functions: work") for line in lines)


def test_the_host_says_why_it_cannot_host_an_app(rig: Rig) -> None:
    """In a line of its log, and ends with exit code 1."""
    app = rig.folder / "function_app.py"
    faults = {
        "from shared.settings import Settings; Settings.from_environ({})": "NER_ENDPOINT is missing",
        "import nothing_of_this_name": "No module named 'nothing_of_this_name'",
        "import os; os._exit(7)": "exited with code 7",
        "": "must have exactly one FunctionApp, but has 0",
        APP.replace("%QUEUE%", "%NOTHING%"): "names the app setting NOTHING, which is missing",
    }
    for source, said in faults.items():
        app.write_text(source)
        with pytest.raises(ChildError, match="exit code 1") as caught:
            rig.start()
        assert said in str(caught.value)
    app.unlink()
    with pytest.raises(ChildError, match=r"function_app\.py is missing"):
        rig.start()
    (rig.folder / "host.json").write_text("{}")
    with pytest.raises(ChildError, match=r"host\.json is invalid"):
        rig.start()


def test_a_host_that_stops_lets_what_runs_end(rig: Rig) -> None:
    """It receives nothing more, and its worker ends with it."""
    with rig.start("--stop-seconds", str(PATIENCE_SECONDS)) as host:
        rig.send("wait")
        rig.logged("Executing 'Functions.work'")
        host.process.send_signal(signal.SIGTERM)
        worker = rig.worker()
        rig.may_end.touch()
        assert host.process.wait(PATIENCE_SECONDS) == 0
    log = rig.log.read_text()
    assert log.index("Executed 'Functions.work' (Succeeded") < log.index("INFO host: Stopped")
    assert has_ended(worker)
    assert rig.queue.get_queue_properties().approximate_message_count == 0


def test_a_host_that_stops_does_not_wait_for_ever(rig: Rig) -> None:
    """What had not ended keeps its message, which another host receives after its lease."""
    with rig.start("--stop-seconds", "0.1", "--lease-seconds", "5") as host:
        rig.send("wait")
        rig.logged("Executing 'Functions.work'")
        worker = rig.worker()
        host.process.send_signal(signal.SIGTERM)
        assert host.process.wait(PATIENCE_SECONDS) == 0
    assert "Executed" not in rig.log.read_text()
    assert has_ended(worker)
    rig.may_end.touch()
    with rig.start():
        rig.logged("Executed 'Functions.work' (Succeeded")


def test_a_second_signal_stops_a_host_at_once(rig: Rig) -> None:
    """Whoever presses Ctrl-C twice means it."""
    with rig.start("--stop-seconds", str(10 * PATIENCE_SECONDS)) as host:
        rig.send("wait")
        rig.logged("Executing 'Functions.work'")
        host.process.send_signal(signal.SIGINT)
        host.process.send_signal(signal.SIGTERM)
        assert host.process.wait(PATIENCE_SECONDS) == 0


def test_a_worker_ends_with_a_host_that_is_killed(rig: Rig) -> None:
    """As with the real host, nothing goes on behind its back."""
    with rig.start() as host:
        rig.send("wait")
        rig.logged("Executing 'Functions.work'")
        worker = rig.worker()
        host.kill()
        eventually(lambda: has_ended(worker), "the end of the worker")


def test_a_message_that_kills_its_worker_three_times_ends_the_host(rig: Rig) -> None:
    """Each death costs the message one of its tries."""
    with rig.start("--restart-seconds", "0") as host:
        rig.send("die")
        assert host.process.wait(PATIENCE_SECONDS) == 1
    log = rig.log.read_text()
    assert log.count("Executed 'Functions.work' (Failed") == 3
    assert "exited with code -9" in log
    assert "Exceeded language worker restart retry count" in log
