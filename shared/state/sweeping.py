"""What one sweep leaves for the next one, and for whoever wants to know how the last one went."""

import msgspec

from shared.source import Instant

SWEEP_NAME = "app/sweep.json"
"""In NER_STATE_CONTAINER."""


class Place(msgspec.Struct, frozen=True, rename="camel"):
    """Where a sweep stopped: the pages that it was at, and the last file that it looked at."""

    inputs: str | None
    results: str | None
    claims: str | None
    after: str


class Swept(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """What a sweep has seen and done.

    Attributes:
        files: that were looked at.
        missing: files that need a message, so also those that are sent one.
        existing: files from before this deployment, which are only counted.
        revived: batches whose message was lost.
        left: batches and leftovers that the next sweep sees to, since the time for them was up.
        odd_names: uploads whose names the app does not accept.
        refused: blobs of the state that storage did not let it repair.
        sent: messages.
        calls: of storage that list.
        is_complete: whether it came to the last file.
        is_behind: whether it sent nothing since `poll` is behind.
        is_crowded: whether it checked no files, because too many files are in flight.
    """

    files: int = 0
    missing: int = 0
    existing: int = 0
    odd_names: int = 0
    revived: int = 0
    left: int = 0
    refused: int = 0
    sent: int = 0
    calls: int = 0
    seconds: float = 0.0
    is_complete: bool = True
    is_behind: bool = False
    is_crowded: bool = False


class SweepState(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """What one sweep leaves for the next one.

    `since` is when this deployment began, `last` when the last sweep did. `times_behind` counts the
    sweeps in a row that sent nothing since `poll` was behind.
    """

    since: Instant
    last: Instant
    swept: Swept = Swept()
    place: Place | None = None
    times_behind: int = 0


def decode_sweep(data: bytes) -> SweepState:
    """Read it; raises msgspec.DecodeError."""
    return msgspec.json.decode(data, type=SweepState)
