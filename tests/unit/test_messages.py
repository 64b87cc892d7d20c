"""The queue messages: what this app wrote comes back as it was; anything else is refused without being repeated."""

import json
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.message import (
    MAX_MESSAGE_BYTES,
    BatchMessage,
    FileMessage,
    Message,
    MessageError,
    decode_message,
    encode_message,
)
from shared.names import why_refused
from shared.source import Source
from shared.state.batch import BatchKind, BatchRecord, Member, SubmittedJob

NOW: Final = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
BATCH: Final = "0123456789abcdef" * 2
TRACE_PARENT: Final = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
METADATA: Final = {
    "QueueTrigger",
    "Id",
    "PopReceipt",
    "DequeueCount",
    "InsertionTime",
    "ExpirationTime",
    "NextVisibleTime",
    "sys",
}
"""The trigger metadata of a queue message."""
MEMBER: Final = Member(Source("incoming", "a/é 🍷.txt", "0x8D", NOW, 12, "utf-8"), "0x1", "0x2", "d1")
RECORD: Final = BatchRecord(
    kind=BatchKind.JOB,
    members=[MEMBER],
    job=SubmittedJob("3fa85f64-5717-4562-b3fc-2c963f66afa6", 1, 1),
    received_date_time=NOW,
    submitted_date_time=NOW,
    due=NOW,
    trace_parent=TRACE_PARENT,
)
FILE_MESSAGE: Final = FileMessage(
    file="a/é 🍷.txt", replaces="0x8E", dissolved=BATCH, due=NOW, etag="0x8D", trace_parent=TRACE_PARENT
)
BATCH_MESSAGE: Final = BatchMessage(batch=BATCH, etag="0x9", record=RECORD)
LONG_RECORD: Final = msgspec.structs.replace(RECORD, members=[MEMBER] * 300)
DEEP: Final = "[" * 100_000


def changed(message: Message, path: str, value: Any) -> str:
    """Return a message's JSON with one value changed; the path is written with dots."""
    content = json.loads(encode_message(message))
    *way, last = path.split(".")
    place = content
    for step in way:
        place = place[int(step)] if step.isdigit() else place[step]
    place[last] = value
    return json.dumps(content)


@pytest.mark.parametrize(
    "message",
    [
        FILE_MESSAGE,
        FileMessage(file="a.txt"),
        FileMessage(file="n" * 1024),
        BATCH_MESSAGE,
        BatchMessage(batch=BATCH, etag="0x9"),
        BatchMessage(batch=BATCH, etag=None, record=RECORD),
    ],
)
def test_a_message_is_read_as_it_was_written(message: Message) -> None:
    """As text or as bytes."""
    text = encode_message(message)
    assert decode_message(text) == message
    assert decode_message(text.encode()) == message


@given(
    name=st.text(st.characters(codec="utf-8"), min_size=1, max_size=60).filter(lambda name: not why_refused(name)),
    replaces=st.none() | st.text("0123456789ABCDEFx", min_size=1, max_size=40),
    due=st.none() | st.datetimes(timezones=st.just(UTC)),
)
def test_a_file_of_any_name_has_a_message(name: str, replaces: str | None, due: datetime | None) -> None:
    """If the app accepts it."""
    message = FileMessage(file=name, replaces=replaces, due=due)
    assert decode_message(encode_message(message)) == message


@pytest.mark.parametrize("message", [FILE_MESSAGE, BATCH_MESSAGE])
def test_no_property_is_one_that_the_host_takes_for_its_own(message: Message) -> None:
    """The host replaces the trigger metadata with a message's top-level properties of the same name, in any case."""
    ours = {name.lower() for name in json.loads(encode_message(message))}
    assert not ours & {name.lower() for name in METADATA | {"message", "context"}}


def test_the_properties_of_a_message_of_a_file_are_the_contract() -> None:
    """Messages of one deployment are read by the next one, so the names must stay."""
    assert json.loads(encode_message(FILE_MESSAGE)) == {
        "kind": "file",
        "version": 2,
        "file": "a/é 🍷.txt",
        "replaces": "0x8E",
        "dissolved": BATCH,
        "unsure": 0,
        "due": "2026-01-02T03:04:05.678000Z",
        "etag": "0x8D",
        "traceParent": TRACE_PARENT,
    }


def test_the_properties_of_a_message_of_a_batch_are_the_contract() -> None:
    """As above; what the record has by default is left out."""
    instant = "2026-01-02T03:04:05.678000Z"
    source = {"container": "incoming", "name": "a/é 🍷.txt", "etag": "0x8D", "lastModified": instant, "length": 12}
    assert json.loads(encode_message(BATCH_MESSAGE)) == {
        "kind": "batch",
        "version": 2,
        "batch": BATCH,
        "etag": "0x9",
        "record": {
            "kind": "job",
            "members": [
                {"source": {**source, "encoding": "utf-8"}, "claimEtag": "0x1", "outcomeEtag": "0x2", "digest": "d1"}
            ],
            "job": {"jobId": "3fa85f64-5717-4562-b3fc-2c963f66afa6", "documentsCount": 1, "transactionsCount": 1},
            "receivedDateTime": instant,
            "submittedDateTime": instant,
            "due": instant,
            "traceParent": TRACE_PARENT,
        },
    }


def test_a_record_that_is_too_long_for_a_message_is_left_out() -> None:
    """The queue takes 64 KiB, base64 included; the record is read from its blob instead."""
    text = encode_message(BatchMessage(batch=BATCH, etag="0x9", record=LONG_RECORD))
    assert len(msgspec.json.encode(LONG_RECORD)) > MAX_MESSAGE_BYTES
    assert decode_message(text) == BatchMessage(batch=BATCH, etag="0x9")


def test_the_record_of_one_file_is_never_too_long() -> None:
    """However long its name is: a job that could not be recorded is in its message alone."""
    source = Source("c" * 63, "\u0800" * 1024, "e" * 128, NOW, 10**12, "e" * 64)
    record = msgspec.structs.replace(RECORD, members=[Member(source, "e" * 128, "e" * 128, "d" * 64)])
    message = BatchMessage(batch=BATCH, etag=None, record=record)
    text = encode_message(message)
    assert len(text.encode()) <= MAX_MESSAGE_BYTES
    assert decode_message(text) == message


@pytest.mark.parametrize("length", [MAX_MESSAGE_BYTES, MAX_MESSAGE_BYTES + 1])
def test_a_message_may_have_exactly_the_longest_length(length: int) -> None:
    """A message of 48 KiB becomes 64 KiB in base64."""
    members = [msgspec.structs.replace(MEMBER, digest="")] * 150
    spare = length - len(encode_message(BatchMessage(batch=BATCH, etag="0x9", record=with_members(members))).encode())
    members = [msgspec.structs.replace(members[0], digest="d" * (spare - len(',"digest":""'))), *members[1:]]
    text = encode_message(BatchMessage(batch=BATCH, etag="0x9", record=with_members(members)))
    assert (len(text.encode()) == length) == (length <= MAX_MESSAGE_BYTES)
    assert ('"record":null' in text) == (length > MAX_MESSAGE_BYTES)


def with_members(members: list[Member]) -> BatchRecord:
    """Return a record of these members."""
    return msgspec.structs.replace(RECORD, members=members)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "null",
        "true",
        "7",
        '"batch"',
        "[]",
        "{}",
        "{broken",
        "a.txt",
        b"\xff\xfe",
        b'{"kind": "file", "version": 2, "file": "\xff"}',
        DEEP,
        '{"a":' * 100_000,
        '{"kind": "file", "version": 2, "file": "a.txt", "more": ' + DEEP,
        encode_message(FILE_MESSAGE) + "{}",
        changed(FILE_MESSAGE, "kind", "job"),
        changed(FILE_MESSAGE, "kind", None),
        changed(FILE_MESSAGE, "kind", "batch"),
        changed(FILE_MESSAGE, "version", 1),
        changed(FILE_MESSAGE, "version", 3),
        changed(FILE_MESSAGE, "version", "2"),
        changed(FILE_MESSAGE, "file", ""),
        changed(FILE_MESSAGE, "file", "n" * 1025),
        changed(FILE_MESSAGE, "file", 7),
        changed(FILE_MESSAGE, "file", None),
        changed(FILE_MESSAGE, "replaces", 7),
        changed(FILE_MESSAGE, "due", "yesterday"),
        changed(FILE_MESSAGE, "due", "2026-01-02T03:04:05"),
        changed(FILE_MESSAGE, "traceParent", "a b\n"),
        changed(BATCH_MESSAGE, "kind", "file"),
        changed(BATCH_MESSAGE, "version", 1),
        changed(BATCH_MESSAGE, "batch", "../../other"),
        changed(BATCH_MESSAGE, "batch", "0" * 31),
        changed(BATCH_MESSAGE, "batch", "0" * 33),
        changed(BATCH_MESSAGE, "batch", "0" * 32 + "\n"),
        changed(BATCH_MESSAGE, "batch", None),
        changed(BATCH_MESSAGE, "etag", 7),
        changed(BATCH_MESSAGE, "etag", "e" * 129),
        changed(BATCH_MESSAGE, "record", "none"),
        changed(BATCH_MESSAGE, "record.kind", "other"),
        changed(BATCH_MESSAGE, "record.members", "none"),
        changed(BATCH_MESSAGE, "record.members.0.source.name", ""),
        changed(BATCH_MESSAGE, "record.members.0.source.etag", "a b"),
        changed(BATCH_MESSAGE, "record.members.0.source.length", -1),
        changed(BATCH_MESSAGE, "record.members.0.source.lastModified", "yesterday"),
        changed(BATCH_MESSAGE, "record.job.jobId", "../../other"),
        changed(BATCH_MESSAGE, "record.job.jobId", "https://evil.example/jobs/1"),
        changed(BATCH_MESSAGE, "record.job.jobId", ""),
        changed(BATCH_MESSAGE, "record.job.jobId", "job\n"),
        changed(BATCH_MESSAGE, "record.job.documentsCount", 0),
        changed(BATCH_MESSAGE, "record.receivedDateTime", "2026-01-02T03:04:05"),
        changed(BATCH_MESSAGE, "record.due", None),
    ],
    ids=lambda body: repr(body[-60:]),
)
def test_anything_else_is_refused(body: bytes | str) -> None:
    """A job id or a batch that could leave its place in a path is none."""
    with pytest.raises(MessageError):
        decode_message(body, "incoming")


@given(st.binary() | st.text(st.characters(codec="utf-8")))
def test_any_body_is_refused_with_one_error(body: bytes | str) -> None:
    """Whatever a queue holds: an exception of another kind would make the host try it again and again."""
    with pytest.raises(MessageError):
        decode_message(body)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=10,
    ),
    st.sampled_from(["version", "batch", "etag", "record", "record.members", "record.job", "record.due"]),
)
def test_any_value_in_place_of_another_one_is_read_or_refused(value: Any, path: str) -> None:
    """Nothing but a MessageError."""
    try:
        found = decode_message(changed(BATCH_MESSAGE, path, value), "incoming")
    except MessageError:
        return
    assert isinstance(found, BatchMessage)


def test_a_message_about_another_container_is_refused() -> None:
    """Access to the queue must not be enough to choose what is read and sent to the service."""
    assert decode_message(encode_message(BATCH_MESSAGE), "incoming") == BATCH_MESSAGE
    with pytest.raises(MessageError, match="NER_INPUT_CONTAINER"):
        decode_message(encode_message(BATCH_MESSAGE), "elsewhere")


def test_each_member_of_a_batch_must_be_of_the_container() -> None:
    """Not only the first one."""
    other = msgspec.structs.replace(MEMBER, source=msgspec.structs.replace(MEMBER.source, container="elsewhere"))
    message = BatchMessage(batch=BATCH, etag="0x9", record=with_members([MEMBER, other]))
    with pytest.raises(MessageError, match="NER_INPUT_CONTAINER"):
        decode_message(encode_message(message), "incoming")


def test_a_message_without_a_container_of_its_own_is_read() -> None:
    """A file is looked up in NER_INPUT_CONTAINER, a record in NER_STATE_CONTAINER, whatever the message says."""
    for message in (FILE_MESSAGE, BatchMessage(batch=BATCH, etag="0x9")):
        assert decode_message(encode_message(message), "elsewhere") == message
        assert decode_message(changed(message, "container", "other"), "elsewhere") == message


@pytest.mark.parametrize(
    "body",
    [
        changed(BATCH_MESSAGE, "record.job.jobId", "a secret"),
        changed(BATCH_MESSAGE, "kind", "a secret"),
        changed(BATCH_MESSAGE, "kind", "'quoted' - at\na secret"),
        changed(BATCH_MESSAGE, "record.kind", "a secret"),
        changed(FILE_MESSAGE, "due", "a secret"),
        "a secret",
    ],
)
def test_an_error_does_not_repeat_the_message(body: str) -> None:
    """It goes to the log, and a message may be anything."""
    with pytest.raises(MessageError) as caught:
        decode_message(body)
    assert "secret" not in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_batch_without_files_is_refused() -> None:
    """Nothing could be done about it."""
    text = encode_message(BatchMessage(batch="0" * 32, etag="0x1", record=msgspec.structs.replace(RECORD, members=[])))
    with pytest.raises(MessageError, match="no file"):
        decode_message(text)
