"""What the function app itself does: it checks its settings when it is loaded, and hands over what the host brings."""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from azure.functions.blob import BlobConverter
from azure.functions.meta import Datum
from azure.functions.queue import QueueMessageInConverter
from azure.storage.queue import QueueMessage

from local.host import trigger_data
from local.install import ROOT
from shared.outcome import OutcomeStatus
from shared.settings import BLOB_TRIGGER_SOURCES, EVENT_QUEUE
from shared.time_limits import FUNCTION_TIMEOUT_SETTING
from tests.integration.conftest import Way

CONTEXT = SimpleNamespace(invocation_id="00000000-0000-0000-0000-000000000001")
HOSTILE: tuple[dict[str, Any], ...] = (
    {"DequeueCount": 77},
    {"dequeuecount": 0, "Id": "mine", "PopReceipt": "", "QueueTrigger": {"a": 1}},
    {"DequeueCount": -1, "id": None},
)
"""Top-level properties of a foreign message, which the host takes for its own."""


@pytest.fixture
def function_app(values: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The app, loaded with the settings of the test."""
    monkeypatch.setattr(BlobConverter, "decode", BlobConverter.decode)
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.delitem(sys.modules, "function_app", raising=False)
    loaded = importlib.import_module("function_app")
    monkeypatch.delitem(sys.modules, "function_app")
    return loaded


def poll_of(function_app: ModuleType) -> Callable[..., Any]:
    """Return the function `poll`, as the worker calls it; the app tells its functions once."""
    (poll,) = [found for found in function_app.app.get_functions() if found.get_function_name() == "poll"]
    return poll.get_user_function()  # type: ignore[no-any-return]


def received(text: str, dequeue_count: int) -> Any:
    """Return what the worker makes of a message that the host hands over for the so many-th time."""
    message = QueueMessage()
    message.id, message.pop_receipt, message.dequeue_count = "853309dd", "AgAAAA", dequeue_count
    data, metadata = trigger_data.of_message(text, message)
    datums = {name: Datum(found.value, found.kind) for name, found in metadata.items()}
    return QueueMessageInConverter.decode(Datum(data.value, data.kind), trigger_metadata=datums)


@pytest.mark.parametrize("name", ["NER_SUBMIT_TIMEOUT_SECONDS", FUNCTION_TIMEOUT_SETTING])
def test_time_limits_that_do_not_fit_stop_the_app(name: str, values: dict[str, str]) -> None:
    """Invocations could not end themselves before the host ends their worker; the error says what to do."""
    changes = {"NER_SUBMIT_TIMEOUT_SECONDS": "151", FUNCTION_TIMEOUT_SETTING: "00:03:00"}
    environ = {**os.environ, **values, name: changes[name]}
    command = [sys.executable, "-c", "import function_app"]
    ended = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert ended.returncode != 0
    assert "SettingsError" in ended.stderr
    assert "must be at most half of functionTimeout in host.json" in ended.stderr


LIST_FUNCTIONS = """
import json, sys, function_app
functions = function_app.app.get_functions()
bindings = {found.get_function_name(): found.get_bindings_dict()["bindings"] for found in functions}
print(json.dumps([bindings, "shared.events" in sys.modules], default=str))
"""


@pytest.mark.parametrize("source", BLOB_TRIGGER_SOURCES)
def test_one_function_submits_uploads_whatever_their_source(source: str, values: dict[str, str]) -> None:
    """The blob trigger is the default; with a queue as the source it is not registered, and costs no cold start."""
    environ = {**os.environ, **values, "NER_BLOB_TRIGGER_SOURCE": source}
    command = [sys.executable, "-c", LIST_FUNCTIONS]
    ended = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=True)
    bindings, has_events = json.loads(ended.stdout)
    assert list(bindings) == ["submit", "poll", "sweep"]
    (submit,) = bindings["submit"]
    if source == EVENT_QUEUE:
        assert (submit["type"], submit["queueName"]) == ("queueTrigger", f"{values['NER_QUEUE']}-events")
    else:
        assert (submit["type"], submit["source"]) == ("blobTrigger", source)
    assert not has_events, "what reads events is imported when one comes"


@pytest.mark.parametrize(("dequeue_count", "comes_again"), [(1, False), (2, True), (5, True)])
async def test_poll_hands_over_the_body_and_whether_it_comes_again(
    dequeue_count: int, comes_again: bool, function_app: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker may have died of a message that was handed over before."""
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    async def poll(*arguments: Any, **named: Any) -> None:
        calls.append((arguments, named))

    monkeypatch.setattr(function_app, "pipeline", lambda: SimpleNamespace(poll=poll))
    text = '{"kind": "file", "file": "é.txt"}'
    await poll_of(function_app)(received(text, dequeue_count), CONTEXT)
    assert calls == [((text.encode(),), {"comes_again": comes_again})]


@pytest.mark.parametrize("hostile", HOSTILE, ids=["a count", "other cases", "odd values"])
@pytest.mark.parametrize("state", ["waiting", "job"])
async def test_properties_that_look_like_the_hosts_do_no_harm(
    state: str, hostile: dict[str, Any], way: Way, function_app: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At most a worker that never was counts as dead: the file is paid once, and succeeds."""
    monkeypatch.setattr(function_app, "pipeline", lambda: way.pipeline)
    way.name = f"hostile-{state}-{HOSTILE.index(hostile)}.txt"
    way.switch(jobSeconds=0, faults=[{"status": 503, "method": "POST", "times": 2}] if state == "waiting" else [])
    await way.submit()
    poll = poll_of(function_app)
    while way.outcome() is None:
        text = json.dumps(json.loads(str(way.message().content)) | hostile)
        await poll(received(text, 1), CONTEXT)
    outcome = await way.poll_until_outcome()
    assert outcome.status is OutcomeStatus.SUCCEEDED
    assert way.submissions() == 1
