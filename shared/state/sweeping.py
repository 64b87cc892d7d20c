"""What a sweep stores, for the next one and for operators who check how the last one went."""

import msgspec

from shared.source import Instant

SWEEP_NAME = "app/sweep.json"
"""Blob in NER_STATE_CONTAINER."""


class Place(msgspec.Struct, frozen=True, rename="camel"):
    """Where a sweep stopped: the pages that it was on, and the last file that it checked."""

    inputs: str | None
    results: str | None
    claims: str | None
    after: str


class Swept(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """What a sweep has seen and done.

    Attributes:
        files: files that were checked.
        missing: files that needed a message, and were sent one.
        existing: files from before this deployment, which are only counted.
        revived: batches whose message was lost.
        sent: messages sent.
        calls: list calls to storage.
        is_complete: whether it reached the last file.
        is_behind: whether it sent nothing because `poll` is behind.
    """

    files: int = 0
    missing: int = 0
    existing: int = 0
    revived: int = 0
    sent: int = 0
    calls: int = 0
    seconds: float = 0.0
    is_complete: bool = True
    is_behind: bool = False


class SweepState(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """What a sweep stores for the next one.

    `since` is when this deployment began, `last` when the last sweep did. `times_behind` counts the
    sweeps in a row that sent nothing because `poll` was behind.
    """

    since: Instant
    last: Instant
    swept: Swept = Swept()
    place: Place | None = None
    times_behind: int = 0


def decode_sweep(data: bytes) -> SweepState:
    """Decode it. Raises msgspec.DecodeError."""
    return msgspec.json.decode(data, type=SweepState)
