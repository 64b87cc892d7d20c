"""Which outcome stands: that of the newest version, once.

The order of versions is known from the input container alone: whatever is there now is the newest. Times of upload
decide only where the file has been deleted, since storage keeps them to the second.
"""

from datetime import datetime
from enum import Enum

import msgspec

from shared.source import Source


class PresentOutcome(msgspec.Struct, frozen=True):
    """The outcome blob that is there: its own etag, and the version that it is the outcome of."""

    etag: str
    source_etag: str
    source_last_modified: datetime | None = None


class Verdict(Enum):
    """What to do with an outcome."""

    WRITE = "write"
    ENDED = "ended"
    """The version has its outcome already."""
    SUPERSEDED = "superseded"
    """A newer version was uploaded."""


def verdict(source: Source, present: PresentOutcome | None, newest: str | None, replaces: str | None) -> Verdict:
    """Decide whether an outcome may be written in place of the present one.

    Sound only if `present` was read before `newest`, and the outcome is written on the condition that `present` is
    still there: an outcome of a version that is newer than `newest` would have changed it.

    Args:
        source: the version that the outcome is of.
        present: the outcome that is there.
        newest: etag of the file in the input container; None if it was deleted.
        replaces: etag of an outcome of the same version that is to be written anew.
    """
    if newest not in (None, source.etag):
        return Verdict.SUPERSEDED
    if present is None:
        return Verdict.WRITE
    if present.source_etag == source.etag:
        return Verdict.WRITE if present.etag == replaces else Verdict.ENDED
    if newest is None and (
        present.source_last_modified is None or present.source_last_modified >= source.last_modified
    ):
        return Verdict.SUPERSEDED
    return Verdict.WRITE
