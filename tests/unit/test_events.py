"""Events in a queue: which file one reports, and what is said about any other message."""

import json
from typing import Any, Final
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.events import BLOB_CREATED, EventError, read_upload

AZURE: Final = "https://account.blob.core.windows.net/incoming/"
LOCAL: Final = "http://127.0.0.1:10000/devstoreaccount1/incoming/"
GRID: Final = {
    "topic": "/subscriptions/0/resourceGroups/group/providers/Microsoft.Storage/storageAccounts/account",
    "subject": "/blobServices/default/containers/incoming/blobs/a.txt",
    "eventType": BLOB_CREATED,
    "eventTime": "2026-01-02T03:04:05.6789Z",
    "id": "831e1650-001e-001b-66ab-eeb76e069631",
    "data": {"api": "PutBlob", "eTag": "0x8D4BCC2E4835CD0", "contentLength": 29, "blobType": "BlockBlob"},
    "dataVersion": "",
    "metadataVersion": "1",
}
CLOUD: Final = {
    "specversion": "1.0",
    "type": BLOB_CREATED,
    "source": GRID["topic"],
    "id": GRID["id"],
    "time": GRID["eventTime"],
    "subject": "blobServices/default/containers/incoming/blobs/a.txt",
    "data": GRID["data"],
}


def body(event: dict[str, Any], url: str = AZURE + "a.txt", **changes: Any) -> bytes:
    """Return an event about the blob with this URL."""
    return json.dumps({**event, "data": {**event["data"], "url": url}, **changes}).encode()


@pytest.mark.parametrize("event", [GRID, CLOUD], ids=["Event Grid", "CloudEvents"])
@pytest.mark.parametrize("base", [AZURE, LOCAL, "https://account.dfs.core.windows.net/incoming/"])
@given(name=st.text(st.characters(codec="utf-8"), min_size=1, max_size=40))
def test_an_upload_is_read_whatever_its_name(event: dict[str, Any], base: str, name: str) -> None:
    """In both schemas, in Azure and on this machine."""
    assert read_upload(body(event, base + quote(name)), "incoming") == name


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a%20b%2Bc+d.txt", "a b+c+d.txt"),
        ("100%2525.txt", "100%25.txt"),
        ("incoming/a.txt", "incoming/a.txt"),
        ("%2Fa//b/", "/a//b/"),
        ("a.txt?sv=1#b", "a.txt"),
    ],
)
def test_a_name_is_decoded_once(path: str, name: str) -> None:
    """As the listener of the blob trigger does."""
    assert read_upload(body(GRID, AZURE + path), "incoming") == name


@pytest.mark.parametrize("event", [GRID, CLOUD], ids=["Event Grid", "CloudEvents"])
def test_an_event_of_another_container_says_how_to_filter(event: dict[str, Any]) -> None:
    """Also if the name of the container begins like that for uploads."""
    for url in ("https://account.blob.core.windows.net/results/incoming/a.txt", AZURE.replace("incoming", "incoming2")):
        with pytest.raises(EventError, match=r"^an event from container .*/containers/incoming/$"):
            read_upload(body(event, url), "incoming")


def test_an_event_of_another_type_says_how_to_filter() -> None:
    """Whatever its data is."""
    for event, key in ((GRID, "eventType"), (CLOUD, "type")):
        for data in ('{"url": "a"}', "null", '"text"', "[]"):
            changed = {**event, "data": json.loads(data), key: "Microsoft.Storage.BlobDeleted"}
            with pytest.raises(EventError, match=r"^an event of type 'Microsoft.Storage.BlobDeleted': filter"):
                read_upload(json.dumps(changed), "incoming")


@pytest.mark.parametrize(
    "found",
    [
        b"",
        b"nonsense",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"{}",
        b"[" * 40_000,
        b'{"data": ' * 40_000,
        b"[" + body(GRID) + b"]",
        body(GRID, eventType=5),
        body(GRID, data=None),
        body(GRID, data={"url": None}),
        body(GRID, "https://[broken/incoming/a.txt"),
        body(GRID, AZURE),
    ],
)
def test_anything_else_is_named_without_being_quoted(found: bytes) -> None:
    """No other error is raised, which would bring the message back."""
    with pytest.raises(EventError, match=r"no event about a blob|about no blob"):
        read_upload(found, "incoming")


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_no_message_raises_anything_else(found: bytes | str) -> None:
    """Nothing random is an event."""
    with pytest.raises(EventError):
        read_upload(found, "incoming")


def test_foreign_texts_are_cut_short_and_in_one_line() -> None:
    """They go to the log."""
    with pytest.raises(EventError) as raised:
        read_upload(body(GRID, eventType="a\nb" * 5000), "incoming")
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 400
