"""When a message comes back."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.jobs import JobMessage, SubmittedJob, is_overdue, next_delay
from shared.source import Source

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SOURCE = Source("incoming", "a.txt", "0x1", NOW, 1)
WEEK = 7 * 24 * 3600


@pytest.mark.parametrize(
    ("age", "expected"), [(0, 2), (3, 2), (4, 2), (10, 5), (100, 50), (119, 59.5), (120, 60), (90000, 60), (-50, 2)]
)
def test_a_fraction_of_the_age_between_the_bounds(age: float, expected: float) -> None:
    """Half the age; a clock that went backwards counts as no time."""
    assert next_delay(timedelta(seconds=age), least=2, most=60, jitter=0) == expected


@given(
    age=st.floats(-1e6, 1e6),
    jitter=st.floats(-1, 1),
    least=st.integers(1, 100),
    more=st.integers(0, 1000),
    retry_after=st.none() | st.floats(0, 3600),
)
def test_always_within_what_the_queue_takes(
    age: float, jitter: float, least: int, more: int, retry_after: float | None
) -> None:
    """Never too early, never longer than a message can wait, and not before the service asked for."""
    delay = next_delay(timedelta(seconds=age), least=least, most=least + more, jitter=jitter, retry_after=retry_after)
    assert least <= delay <= WEEK
    if retry_after is None:
        assert delay <= least + more
    else:
        assert delay >= retry_after
        assert delay <= max(least + more, retry_after * 1.1)


def test_jitter_spreads_a_backlog() -> None:
    """Messages of the same age come back at different times."""
    delays = {next_delay(timedelta(seconds=60), least=2, most=60, jitter=jitter / 10) for jitter in range(-10, 11)}
    assert (min(delays), max(delays)) == (27, 33)
    assert len(delays) == 21


@pytest.mark.parametrize(("seconds", "overdue"), [(0, False), (99.9, False), (100, True), (1e6, True)])
def test_overdue_counts_from_the_submission(seconds: float, overdue: bool) -> None:
    """From the 202 if there was one, else from the first sight of the file."""
    waiting = JobMessage(source=SOURCE, received_date_time=NOW)
    assert is_overdue(waiting, NOW + timedelta(seconds=seconds), 100) is overdue
    submitted = JobMessage(
        source=SOURCE,
        received_date_time=NOW - timedelta(days=3),
        submitted_date_time=NOW,
        jobs=[SubmittedJob("id", 1, 1)],
    )
    assert is_overdue(submitted, NOW + timedelta(seconds=seconds), 100) is overdue
