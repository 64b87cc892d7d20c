"""What all processes have learned about the service: how long jobs take, and until when it takes no calls."""

import msgspec

from shared.delays import CELLS, SIZES, Histogram
from shared.source import Instant

LEARNED_NAME = "app/schedule.json"
"""In NER_STATE_CONTAINER."""


class Durations(msgspec.Struct, frozen=True, rename="camel"):
    """The weights of durations of one size of jobs, by cells of the grid of ages; those that are 0 are left out."""

    count: int
    cells: dict[int, float]


class Learned(msgspec.Struct, frozen=True, rename="camel"):
    """What all processes have learned. `closed_until` is when the service takes calls again, if it refused some."""

    sizes: list[Durations]
    closed_until: Instant | None = None


def told(histograms: list[Histogram]) -> list[Durations]:
    """Return histograms as they are kept; the newest job weighs 1."""
    return [
        Durations(
            histogram.count,
            {cell: round(weight / histogram.unit, 6) for cell, weight in enumerate(histogram.cells) if weight},
        )
        for histogram in histograms
    ]


def read_told(sizes: list[Durations]) -> list[Histogram]:
    """Return what is kept as histograms; what does not fit the grid of this version is left out."""
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
    """Read it; raises msgspec.DecodeError."""
    return msgspec.json.decode(data, type=Learned)
