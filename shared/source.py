"""One version of an uploaded file: the thing that has exactly one outcome."""

from datetime import datetime
from typing import Annotated

import msgspec

from shared.names import check_name

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]
ETag = Annotated[str, msgspec.Meta(pattern=r"^[!#-~]{1,128}\Z")]
"""Without its quotes. It gets into the headers of calls to storage."""
Digest = Annotated[str, msgspec.Meta(pattern=r"^[!-~]{0,128}\Z")]
"""It gets into the metadata of an outcome."""
Instant = Annotated[datetime, msgspec.Meta(tz=True)]
JobId = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,128}\Z")]
TraceParent = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}\Z")]
"""W3C Trace Context, https://www.w3.org/TR/trace-context/."""


class Source(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One version of an uploaded file.

    `etag` is without quotes, `length` in bytes. `data.decode(encoding, "replace")` is the text that offsets count;
    `encoding`, a Python codec, is None until the text was read, and for a file that is no text.
    """

    container: Name
    name: Name
    etag: ETag
    last_modified: Instant
    length: Annotated[int, msgspec.Meta(ge=0)]
    encoding: Annotated[str, msgspec.Meta(max_length=64)] | None = None

    def __post_init__(self) -> None:
        """Refuse a name that may lead to another blob, wherever it comes from. Raises RefusedNameError."""
        check_name(self.name)


class Position(msgspec.Struct, frozen=True, omit_defaults=True):
    """A place in a file: the documents before it, and the characters of the next document that are before it."""

    document: Annotated[int, msgspec.Meta(ge=0)] = 0
    offset: Annotated[int, msgspec.Meta(ge=0)] = 0


def read_instant(text: str) -> datetime | None:
    """Return the time that a blob's metadata names; None where it names none."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return None
    return instant if instant.tzinfo else None
