"""Which outcome is kept: that of the newest version, written once.

Only the input container shows the order of versions: the version in it now is the newest. If the file has been
deleted, the claim decides: a newer version takes it over.
"""

from datetime import datetime
from enum import Enum

import msgspec

from shared.source import Source


class PresentOutcome(msgspec.Struct, frozen=True):
    """The existing outcome blob: its own ETag, and the version that it is the outcome of.

    `digest` is a hash of what was sent to the service and how; it is empty if nothing was, or the file failed.
    """

    etag: str
    source_etag: str
    source_last_modified: datetime | None = None
    digest: str = ""


class Present(Enum):
    """What the existing outcome of a file means for a version that was claimed."""

    NONE = "none"
    """There is none, or it is to be replaced anyway."""
    ENDED = "ended"
    """It belongs to this version."""
    OTHER = "other"
    """It is another version's; only the input container shows which is newer."""
    SAME_TEXT = "same text"
    """As OTHER, but of the same text, sent in the same way: its entities are those of this version."""


def look_at_outcome(source: Source, digest: str, present: PresentOutcome | None, replaces: str | None) -> Present:
    """Return what the existing outcome of a file means for a version that was claimed.

    Args:
        source: the version.
        digest: hash of its text and how it would be sent; empty if that is not known.
        present: the existing outcome.
        replaces: ETag of an outcome of this version that is to be replaced.
    """
    if present is None:
        return Present.NONE
    if present.source_etag == source.etag:
        return Present.NONE if present.etag == replaces else Present.ENDED
    return Present.SAME_TEXT if digest and present.digest == digest else Present.OTHER


class Verdict(Enum):
    """What happened to an outcome."""

    WRITTEN = "written"
    ENDED = "ended"
    """The version already has its outcome."""
    SUPERSEDED = "superseded"
    """A newer version was uploaded."""


def may_write(source: Source, newest: Source | None, *, holds_claim: bool) -> bool:
    """Return whether an outcome may replace the existing one.

    Valid only if the existing outcome was read before `newest`, and the outcome is written on the condition that it
    is still there: an outcome of a version newer than `newest` would have changed it.

    Args:
        source: the version that the outcome belongs to.
        newest: the version in the input container; None if the file was deleted.
        holds_claim: whether the version still has its file's claim; matters only if the file was deleted.
    """
    return holds_claim if newest is None else newest.etag == source.etag
