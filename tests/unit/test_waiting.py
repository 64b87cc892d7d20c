"""When a message comes back that the service or storage could not help with."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.message import is_expired, waiting_delay
from shared.state.batch import BatchKind, BatchRecord

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
WEEK = 7 * 24 * 3600


@given(
    age=st.floats(-1e6, 1e6),
    jitter=st.floats(0, 1),
    least=st.integers(1, 100),
    more=st.integers(0, 1000),
    retry_after=st.none() | st.floats(0, 3600),
)
def test_waiting_keeps_what_the_service_asked_for(
    age: float, jitter: float, least: int, more: int, retry_after: float | None
) -> None:
    """Never before that, never longer than a message can wait."""
    delay = waiting_delay(
        timedelta(seconds=age), least=least, most=least + more, jitter=jitter, retry_after=retry_after
    )
    assert least <= delay <= WEEK
    if retry_after is None:
        assert delay <= least + more
    else:
        assert delay >= retry_after
        assert delay <= max(least + more, retry_after * 1.5, least * 1.5)


@pytest.mark.parametrize(("age", "retry_after"), [(1, 30.0), (3600, None), (3600, 30.0)])
def test_a_backlog_comes_back_spread_out(age: float, retry_after: float | None) -> None:
    """What a service could not take at once, it is not given at once again: spread over half the shortest wait."""
    delays = [
        waiting_delay(timedelta(seconds=age), least=2, most=60, jitter=number / 1000, retry_after=retry_after)
        for number in range(1001)
    ]
    span = max(delays) - min(delays)
    assert span >= 0.4 * min(delays)
    tenths = Counter(int(10 * (delay - min(delays)) / span) for delay in delays)
    assert max(tenths.values()) < 0.4 * len(delays)


@pytest.mark.parametrize(("seconds", "expired"), [(0, False), (99.9, False), (100, True), (1e6, True)])
def test_expired_counts_from_the_submission(seconds: float, *, expired: bool) -> None:
    """From when the service accepted the file if it has, else from when the app first saw it."""
    now = NOW + timedelta(seconds=seconds)
    waiting = BatchRecord(kind=BatchKind.WAITING, received_date_time=NOW, due=NOW)
    assert is_expired(waiting.since, now, 100) is expired
    received = NOW - timedelta(days=3)
    submitted = BatchRecord(kind=BatchKind.JOB, received_date_time=received, submitted_date_time=NOW, due=NOW)
    assert is_expired(submitted.since, now, 100) is expired
