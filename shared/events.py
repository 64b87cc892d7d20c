"""The events that Event Grid delivers into a Storage queue, one in each message: which upload an event reports.

The schema of Event Grid and that of CloudEvents 1.0 name the type of an event differently; `data` is the same in both.
"""

from typing import Final
from urllib.parse import unquote, urlsplit

import msgspec

from shared.message import why_unreadable
from shared.settings import LOOPBACK

BLOB_CREATED: Final = "Microsoft.Storage.BlobCreated"
MAX_QUOTED: Final = 100
"""How many characters of a foreign text a log line quotes."""


class EventError(Exception):
    """A message reports no upload to this app; the text says what it is instead, and what to do."""


class Event(msgspec.Struct, rename="camel"):
    """What tells of what kind an event is."""

    data: msgspec.Raw
    event_type: str = ""
    """In the schema of Event Grid."""
    type: str = ""
    """In CloudEvents."""


class BlobData(msgspec.Struct):
    """`data` of an event about a blob; its URL is percent-encoded."""

    url: str


def read_upload(body: bytes | str, container: str) -> str:
    """Return the name of the blob whose upload an event reports.

    Args:
        body: body of the message.
        container: the only container whose uploads count.

    Raises:
        EventError: the message is no event, or an event of something else.
    """
    try:
        event = msgspec.json.decode(body, type=Event)
        kind = event.event_type or event.type
        if kind != BLOB_CREATED:
            raise EventError(
                f"an event of type {kind[:MAX_QUOTED]!r}: filter the Event Grid subscription to the type {BLOB_CREATED}"
            )
        url = urlsplit(msgspec.json.decode(event.data, type=BlobData).url)
        in_container, _, name = blob_path(url.hostname or "", url.path).partition("/")
    except (ValueError, RecursionError) as error:  # of JSON, UTF-8 or the URL
        raise EventError(f"a message that is no event about a blob: {why_unreadable(error)}") from None
    if in_container != container:
        raise EventError(event_from(in_container, container))
    if not name:
        raise EventError("an event about no blob")
    return name


def blob_path(host: str, path: str) -> str:
    """Return container and name as one path; on this machine, the path of a URL begins with the account."""
    decoded = unquote(path).removeprefix("/")
    return decoded.partition("/")[2] if host in LOOPBACK else decoded


def event_from(found: str, container: str) -> str:
    """Return what to say about an event from another container than the one for uploads."""
    return (
        f"an event from container {found[:MAX_QUOTED]!r}, which is not NER_INPUT_CONTAINER: filter the Event Grid "
        f"subscription to subjects that begin with /blobServices/default/containers/{container}/"
    )
