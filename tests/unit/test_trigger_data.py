"""The host emulator sends the worker what the Functions host was recorded to send."""

import json
import re
from datetime import datetime
from typing import Any

import pytest
from azure.functions.meta import Datum
from azure.functions.queue import QueueMessageInConverter
from azure.storage.blob import BlobProperties
from azure.storage.queue import QueueMessage

from local.host import trigger_data
from local.host.protocol import FROM_HOST, HEADER_BYTES, Invocation, TypedData, frame
from local.install import ROOT

RECORDED = json.loads((ROOT / "tests" / "recordings" / "host-invocations.json").read_text(encoding="utf-8"))
ACCOUNT = "http://127.0.0.1:10000/devstoreaccount1/"
ANY_NAME = re.compile("(?P<name>.*)", re.DOTALL)


def as_recorded(metadata: dict[str, TypedData]) -> dict[str, dict[str, str]]:
    """Return metadata in the form of the recordings."""
    return {name: {data.kind: data.text} for name, data in metadata.items()}


def message_of(metadata: dict[str, Any]) -> QueueMessage:
    """Return the message that recorded metadata is about."""
    message = QueueMessage()
    message.id, message.pop_receipt = metadata["Id"]["string"], metadata["PopReceipt"]["string"]
    message.dequeue_count = 1
    message.inserted_on, message.expires_on, message.next_visible_on = (
        datetime.fromisoformat(json.loads(metadata[name]["json"]))
        for name in ("InsertionTime", "ExpirationTime", "NextVisibleTime")
    )
    return message


def decoded(text: str) -> Any:
    """Return what a function gets for a message."""
    data, metadata = trigger_data.of_message(text, message_of(RECORDED["messages"][0]["triggerMetadata"]))
    datums = {name: Datum(found.value, found.kind) for name, found in metadata.items()}
    return QueueMessageInConverter.decode(Datum(data.value, data.kind), trigger_metadata=datums)


@pytest.mark.parametrize("recorded", RECORDED["messages"], ids=lambda recorded: recorded["text"])
def test_a_message_has_the_metadata_that_was_recorded(recorded: dict[str, Any]) -> None:
    """The properties of a JSON object are part of it, and replace what has their names in whatever case."""
    message = message_of(recorded["triggerMetadata"])
    data, metadata = trigger_data.of_message(recorded["text"], message)
    assert data == TypedData("string", recorded["text"])
    assert as_recorded(metadata) == recorded["triggerMetadata"]


def test_properties_of_a_message_are_what_the_function_sees() -> None:
    """So neither its ID nor its count is to be trusted."""
    message = decoded('{"id": "mine", "DequeueCount": 77, "queuetrigger": "other"}')
    assert (message.id, message.dequeue_count) == ("mine", 77)
    assert json.loads(message.get_body())["id"] == "mine"


@pytest.mark.parametrize("text", ['{"DequeueCount": "x"}', '{"InsertionTime": 5}', '{"ExpirationTime": "never"}'])
def test_some_properties_fail_before_the_function(text: str) -> None:
    """The worker cannot convert them."""
    with pytest.raises(ValueError, match=r"x|5|never"):
        decoded(text)


@pytest.mark.parametrize("text", ["", "{", "[]", '["DequeueCount"]', '{"a": }', "{" * 5000 + "}" * 5000, '"id"', "7"])
def test_no_object_has_no_properties(text: str) -> None:
    """Whatever it looks like."""
    assert decoded(text).id == "853309dd-b6b7-49e7-bde9-0b1661f09312"


def test_properties_are_written_as_dotnet_writes_them() -> None:
    """Lists are left out; the text of a message is as it was."""
    text = (
        ' {"list": [1], "true": true, "null": null, "one": 1.0, "half": 0.5, "tiny": 1e-7, "time": '
        '"2026-01-02T03:04:05.1234567+02:00", "local": "2026-01-02T03:04:05", "no time": "2026-99-02T03:04:05Z", '
        '"half a character": "\\ud83d", "nested": {"ü": "\\ud83d"}} \n'
    )
    assert trigger_data.properties_of(text) == {
        "true": TypedData("string", "True"),
        "null": TypedData("string", ""),
        "one": TypedData("string", "1"),
        "half": TypedData("string", "0.5"),
        "tiny": TypedData("string", "1E-07"),
        "time": TypedData("string", "01/02/2026 01:04:05"),
        "local": TypedData("string", "01/02/2026 03:04:05"),
        "no time": TypedData("string", "2026-99-02T03:04:05Z"),
        "half a character": TypedData("string", "?"),
        "nested": TypedData("json", '{"ü":"?"}'),
    }


@pytest.mark.parametrize("recorded", RECORDED["addresses"], ids=lambda recorded: recorded["name"])
def test_a_blob_has_the_name_and_the_url_that_were_recorded(recorded: dict[str, str]) -> None:
    """The URL is escaped, the name is not."""
    container, _, name = recorded["BlobTrigger"].partition("/")
    _, metadata = trigger_data.of_blob(ACCOUNT, properties_of_blob(container, name), b"", ANY_NAME)
    assert metadata["name"] == TypedData("string", recorded["name"])
    assert metadata["BlobTrigger"] == TypedData("string", recorded["BlobTrigger"])
    assert metadata["Uri"] == TypedData("json", recorded["Uri"])


def properties_of_blob(container: str, name: str) -> BlobProperties:
    """Return the properties of a blob of which not much is known."""
    now = datetime.fromisoformat("2026-11-25T10:28:35+00:00")
    properties = BlobProperties(name=name)
    properties.container, properties.last_modified, properties.creation_time = container, now, now
    return properties


def test_messages_to_the_worker_keep_bytes_and_texts() -> None:
    """Whatever is in them."""
    metadata = {"a": TypedData("string", "ü\0"), "b": TypedData("json", "{}")}
    sent = Invocation("id", "submit", TypedData("bytes", content=bytes(range(256)) * 1000), metadata)
    framed = frame(sent)
    assert int.from_bytes(framed[:HEADER_BYTES], "big") == len(framed) - HEADER_BYTES
    assert FROM_HOST.decode(framed[HEADER_BYTES:]) == sent
