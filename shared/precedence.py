"""Which outcome stands: that of the newest version, once.

The order of versions is known from the input container alone: whatever is there now is the newest. Where the file has
been deleted, the claim decides: a newer version takes it over.
"""

from datetime import datetime
from enum import Enum

import msgspec

from shared.source import Source


class PresentOutcome(msgspec.Struct, frozen=True):
    """The outcome blob that is there: its own etag, and the version that it is the outcome of.

    `digest` stands for what was sent to the service for it, and how; it is empty where nothing was, or it failed.
    """

    etag: str
    source_etag: str
    source_last_modified: datetime | None = None
    digest: str = ""


class Present(Enum):
    """What the outcome that a file has already means for a version that was claimed."""

    NONE = "none"
    """There is none, or it is to be replaced in any case."""
    ENDED = "ended"
    """The version has its outcome."""
    OTHER = "other"
    """Another version has; only the input container tells which one is newer."""
    SAME_TEXT = "same text"
    """As OTHER, and of the same text, sent in the same way: its entities are those of this version."""


def look_at_outcome(source: Source, digest: str, present: PresentOutcome | None, replaces: str | None) -> Present:
    """Decide what the present outcome of a file means for a version that was claimed.

    Args:
        source: the version.
        digest: what stands for its text and the way in which it would be sent; empty where that is not known.
        present: the outcome that is there.
        replaces: etag of an outcome of this version that is to be replaced.
    """
    if present is None:
        return Present.NONE
    if present.source_etag == source.etag:
        return Present.NONE if present.etag == replaces else Present.ENDED
    return Present.SAME_TEXT if digest and present.digest == digest else Present.OTHER


class Verdict(Enum):
    """What became of an outcome."""

    WRITTEN = "written"
    ENDED = "ended"
    """The version has its outcome already."""
    SUPERSEDED = "superseded"
    """A newer version was uploaded."""


def may_write(source: Source, newest: Source | None, *, holds_claim: bool) -> bool:
    """Tell whether an outcome may be written in place of the present one.

    Sound only if the present outcome was read before `newest`, and the outcome is written on the condition that it is
    still there: an outcome of a version that is newer than `newest` would have changed it.

    Args:
        source: the version that the outcome is of.
        newest: what is in the input container; None if the file was deleted.
        holds_claim: whether the version still has its file's claim; matters only where the file was deleted.
    """
    return holds_claim if newest is None else newest.etag == source.etag
