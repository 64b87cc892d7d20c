"""What a process has learned about the service is the same in another one."""

from datetime import UTC, datetime
from typing import Final

import msgspec
import pytest

from shared.delays import CELLS, SIZES, Delays, Histogram
from shared.state.learned import Durations, Learned, decode_learned, encode_learned, read_told, told

NOW: Final = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
LONGEST_LEARNED: Final = 64 * 1024
"""Bytes: it is read every few seconds by each process."""


def delays_after(durations: list[tuple[int, float]]) -> Delays:
    """Return the schedule of a process that has seen these jobs end."""
    delays = Delays(least=2, most=600, clock=lambda: 0.0)
    for transactions_count, seconds in durations:
        delays.learn(transactions_count, seconds)
    return delays


def some_durations(count: int) -> list[tuple[int, float]]:
    """Return durations of jobs of all sizes."""
    return [(1 + 37 * number % 125, 2.0 + 0.7 * (number % 40)) for number in range(count)]


@pytest.mark.parametrize("closed_until", [None, NOW])
def test_what_was_learned_is_read_as_it_was_written(closed_until: datetime | None) -> None:
    """As JSON, whose names are strings."""
    learned = Learned(told(delays_after(some_durations(20)).histograms), closed_until)
    assert decode_learned(encode_learned(learned)) == learned


def test_nothing_learned_is_nothing_told() -> None:
    """The first process of a deployment finds no blob."""
    assert decode_learned(encode_learned(Learned([]))) == Learned([])
    for histograms in (read_told([]), read_told(told([Histogram() for _ in range(SIZES)]))):
        assert len(histograms) == SIZES
        assert all(histogram.count == 0 and not any(histogram.cells) for histogram in histograms)


@pytest.mark.parametrize("count", [1, 10, 300])
def test_another_process_has_the_same_schedule(count: int) -> None:
    """To within what rounding leaves: less than one cell of the grid."""
    first, second = delays_after(some_durations(count)), delays_after([])
    second.adopt(read_told(decode_learned(encode_learned(Learned(told(first.histograms)))).sizes))
    for size in (1, 2, 10, 125):
        for age in (0, 3, 30, 300):
            assert second.next_delay(size, age) == pytest.approx(first.next_delay(size, age), rel=0.1)


def test_what_a_process_has_not_told_yet_is_not_lost() -> None:
    """It is added to what the others know."""
    known = told(delays_after([(1, 5.0)]).histograms)
    delays = delays_after([(1, 7.0), (125, 60.0)])
    delays.adopt(read_told(known))
    assert [histogram.count for histogram in delays.histograms] == [2, *[0] * (SIZES - 2), 1]


def test_the_newest_job_weighs_one() -> None:
    """Weights grow from job to job within a process; another one begins with 1 again."""
    durations = told(delays_after([(1, 5.0)] * 500).histograms)[0]
    assert durations.count == 500
    # The sum of all weights is that of a geometric series, and stays when it is told again and again.
    total = sum(durations.cells.values())
    assert 1 < total < 200
    again = told(read_told([durations]))[0]
    assert sum(again.cells.values()) == pytest.approx(total)


def test_what_was_learned_is_short() -> None:
    """However many jobs have ended."""
    assert len(encode_learned(Learned(told(delays_after(some_durations(5000)).histograms), NOW))) < LONGEST_LEARNED


def test_cells_that_this_version_does_not_have_are_left_out() -> None:
    """A version with another grid, or with more sizes, may have written it."""
    sizes = [Durations(3, {-1: 9.0, 0: 1.0, CELLS - 1: 2.0, CELLS: 9.0})] * (SIZES + 1)
    histograms = read_told(sizes)
    assert len(histograms) == SIZES
    for histogram in histograms:
        assert (histogram.count, sum(histogram.cells)) == (3, 3.0)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"{}",
        b'{"sizes": [{"count": 1}]}',
        b'{"sizes": [{"count": 1, "cells": {"first": 1}}]}',
        b'{"sizes": [{"count": 1, "cells": {"1": "much"}}]}',
        b'{"sizes": [], "closedUntil": "2026-01-02T03:04:05"}',
    ],
)
def test_anything_else_is_refused(body: bytes) -> None:
    """With the error after which a process goes on with what it has learned itself."""
    with pytest.raises(msgspec.DecodeError):
        decode_learned(body)
