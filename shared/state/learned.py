"""What all processes have learned about the service: how long jobs take, and until when it accepts no calls."""

import msgspec

from shared.delays import CELLS, SIZES, Histogram
from shared.source import Instant

LEARNED_NAME = "app/schedule.json"
"""Blob in NER_STATE_CONTAINER."""


class Durations(msgspec.Struct, frozen=True, rename="camel"):
    """The durations of jobs of one size: the weight of each cell of the grid of ages, without those that are 0."""

    count: int
    cells: dict[int, float]


class Learned(msgspec.Struct, frozen=True, rename="camel"):
    """What all processes have learned.

    `closed_until` is when a throttled service accepts calls again, `throttled` when it last refused a call as one too
    many.
    """

    sizes: list[Durations]
    closed_until: Instant | None = None
    throttled: Instant | None = None


def told(histograms: list[Histogram]) -> list[Durations]:
    """Return histograms in stored form; the newest job weighs 1."""
    return [
        Durations(
            histogram.count,
            {cell: round(weight / histogram.unit, 6) for cell, weight in enumerate(histogram.cells) if weight},
        )
        for histogram in histograms
    ]


def read_told(sizes: list[Durations]) -> list[Histogram]:
    """Return stored histograms; cells outside the grid of this version are ignored."""
    histograms = [Histogram() for _ in range(SIZES)]
    for histogram, known in zip(histograms, sizes, strict=False):
        histogram.count = known.count
        for cell, weight in known.cells.items():
            if 0 <= cell < CELLS:
                histogram.cells[cell] = weight
    return histograms


def encode_learned(learned: Learned) -> bytes:
    """Return it as JSON."""
    return msgspec.json.encode(learned)


def decode_learned(data: bytes) -> Learned:
    """Decode it. Raises msgspec.DecodeError."""
    return msgspec.json.decode(data, type=Learned)
