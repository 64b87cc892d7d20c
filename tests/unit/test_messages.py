"""The queue message: what this app wrote comes back as it was; anything else is refused without being repeated."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from shared.jobs import JobMessage, MessageError, SubmittedJob, decode_message, encode_message

from shared.source import Source

NOW = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
MESSAGE = JobMessage(
    source=Source("incoming", "a/é 🍷.txt", "0x8D", NOW, 12),
    received_date_time=NOW,
    submitted_date_time=NOW,
    jobs=[SubmittedJob("3fa85f64-5717-4562-b3fc-2c963f66afa6", 1, 1)],
    claim_id="0123456789abcdef" * 2,
)


def changed(path: str, value: Any) -> str:
    """Return the message's JSON with one value changed; the path is written with dots."""
    message = json.loads(encode_message(MESSAGE))
    *way, last = path.split(".")
    place = message
    for step in way:
        place = place[int(step)] if step.isdigit() else place[step]
    place[last] = value
    return json.dumps(message)


def test_what_was_written_is_read() -> None:
    """As text or as bytes."""
    text = encode_message(MESSAGE)
    assert decode_message(text) == MESSAGE
    assert decode_message(text.encode()) == MESSAGE


def test_no_property_is_one_that_the_host_takes_for_its_own() -> None:
    """It replaces the trigger metadata with a message's top-level properties of the same name, letter case aside."""
    ours = {name.lower() for name in json.loads(encode_message(MESSAGE))}
    metadata = {
        "QueueTrigger",
        "Id",
        "PopReceipt",
        "DequeueCount",
        "InsertionTime",
        "ExpirationTime",
        "NextVisibleTime",
    }
    assert not ours & {name.lower() for name in metadata | {"sys", "message", "context"}}


def test_the_names_are_the_contract() -> None:
    """Messages of one deployment are read by the next, so the names must stay."""
    assert json.loads(encode_message(MESSAGE)) == {
        "version": 1,
        "source": {
            "container": "incoming",
            "name": "a/é 🍷.txt",
            "etag": "0x8D",
            "lastModified": "2026-01-02T03:04:05.678000Z",
            "length": 12,
        },
        "receivedDateTime": "2026-01-02T03:04:05.678000Z",
        "submittedDateTime": "2026-01-02T03:04:05.678000Z",
        "jobs": [{"jobId": "3fa85f64-5717-4562-b3fc-2c963f66afa6", "documentsCount": 1, "transactionsCount": 1}],
        "hasLedger": False,
        "claimId": "0123456789abcdef0123456789abcdef",
        "replaces": None,
        "recordEtag": None,
        "isFirst": False,
        "traceParent": None,
    }


@pytest.mark.parametrize(
    "body",
    [
        "",
        "null",
        "[]",
        "{}",
        "{broken",
        b"\xff\xfe",
        changed("version", 2),
        changed("source.name", ""),
        changed("source.name", 7),
        changed("source.etag", "a b"),
        changed("source.length", -1),
        changed("source.lastModified", "yesterday"),
        changed("receivedDateTime", "2026-01-02T03:04:05"),
        changed("jobs.0.jobId", "../../other"),
        changed("jobs.0.jobId", "https://evil.example/jobs/1"),
        changed("jobs.0.jobId", ""),
        changed("jobs.0.documentsCount", 0),
        changed("jobs", "none"),
        changed("claimId", "../../other"),
    ],
)
def test_anything_else_is_refused(body: bytes | str) -> None:
    """A job id that could leave its place in a path is no job id."""
    with pytest.raises(MessageError):
        decode_message(body)


def test_a_message_about_another_container_is_refused() -> None:
    """Whoever can write to the queue must not choose what is read and sent to the service."""
    assert decode_message(encode_message(MESSAGE), "incoming") == MESSAGE
    with pytest.raises(MessageError, match="NER_INPUT_CONTAINER"):
        decode_message(encode_message(MESSAGE), "elsewhere")


def test_a_message_of_an_older_version_of_the_app_is_read() -> None:
    """It has no claim; what is in the queue when the app is updated goes on."""
    message = json.loads(encode_message(MESSAGE))
    del message["claimId"], message["replaces"]
    assert decode_message(json.dumps(message)).claim_id is None


def test_an_error_does_not_repeat_the_message() -> None:
    """It goes to the log, and a message may be anything."""
    with pytest.raises(MessageError) as caught:
        decode_message(changed("jobs.0.jobId", "a secret"))
    assert "secret" not in str(caught.value)
