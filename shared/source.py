"""One version of an uploaded file: the thing that has exactly one outcome."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import msgspec

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]
Instant = Annotated[datetime, msgspec.Meta(tz=True)]


class Source(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One version of an uploaded file.

    `etag` is without quotes, `length` in bytes. `data.decode(encoding, "replace")` is the text that offsets count;
    `encoding`, a Python codec, is None until the text was read, and for a file that is no text.
    """

    container: Name
    name: Name
    etag: Annotated[str, msgspec.Meta(pattern=r'^[^"\s]{1,128}$')]
    last_modified: Instant
    length: Annotated[int, msgspec.Meta(ge=0)]
    encoding: Annotated[str, msgspec.Meta(max_length=64)] | None = None


class Position(msgspec.Struct, frozen=True, omit_defaults=True):
    """A place in a file: the documents before it, and the characters of the next document that are before it."""

    document: Annotated[int, msgspec.Meta(ge=0)] = 0
    offset: Annotated[int, msgspec.Meta(ge=0)] = 0


def from_trigger(container: str, name: str, length: int, properties: Mapping[str, Any] | None) -> Source | None:
    """Return the version of the bytes that the host handed over; None where it does not say which they are.

    `properties` is the host's JSON of the SDK's BlobProperties. Its `ETag` is a string in some versions of the Storage
    extension and an empty object in others (the type has no public properties to serialise).
    """
    properties = properties or {}
    fields = {
        "container": container,
        "name": name,
        "etag": str(properties.get("ETag") or "").strip('"'),
        "lastModified": properties.get("LastModified"),
        "length": length,
    }
    try:
        return msgspec.convert(fields, Source)
    except msgspec.ValidationError:
        return None
