"""When a job is looked at next, and how that is learned."""

import math
import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.delays import AGES, MOST_TRANSACTIONS, SIZES, THROTTLED_SECONDS, Delays, cheapest_looks, size_of
from shared.ner.model import Job, JobStatus


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.seconds


def looks(delays: Delays, seconds: float, transactions_count: int = 1) -> list[float]:
    """Return at which ages a job is looked at that takes so long."""
    ages = [0.0]
    while ages[-1] < seconds:
        ages.append(ages[-1] + delays.next_delay(transactions_count, ages[-1]))
    return ages[1:]


def taught(*durations: float, transactions_count: int = 1) -> Delays:
    """Return what has learned from these jobs."""
    delays = Delays(least=1, most=3600)
    for seconds in durations:
        delays.learn(transactions_count, seconds)
    return delays


@given(
    age=st.floats(-1e6, 1e6),
    jitter=st.floats(-1, 1),
    bounds=st.tuples(st.integers(1, 100), st.integers(0, 1000)),
    jobs=st.lists(st.tuples(st.integers(0, 1000), st.floats(0, 1e7)), max_size=5),
)
def test_looks_stay_within_the_bounds(
    age: float, jitter: float, bounds: tuple[int, int], jobs: list[tuple[int, float]]
) -> None:
    """Never too early, never too late, whatever was learned."""
    least, most = bounds[0], sum(bounds)
    delays = Delays(least=least, most=most)
    for transactions_count, seconds in jobs:
        delays.learn(transactions_count, seconds)
    for transactions_count in (1, 20, 1000):
        assert least <= delays.next_delay(transactions_count, age, jitter) <= most


def test_nothing_known_means_looks_that_grow_apart() -> None:
    """A job of seconds is seen within seconds, one of an hour does not take hundreds of looks."""
    ages = looks(Delays(least=2, most=600), 3600)
    assert 2 <= ages[0] <= 8
    assert len(ages) < 40
    gaps = [later - earlier for earlier, later in pairwise(ages)]
    assert gaps[-1] > 5 * gaps[0]


def test_jobs_that_ended_say_when_to_look() -> None:
    """Once jobs take thirty seconds, nobody looks after five, and one look mostly suffices."""
    ages = looks(taught(*[29, 30, 31] * 30), 31)
    assert ages[0] > 25
    assert len(ages) <= 3


def test_the_newest_jobs_count_most() -> None:
    """A service that has become slower is noticed."""
    delays = taught(*[5] * 300)
    assert looks(delays, 5)[0] < 10
    for _ in range(1500):
        delays.learn(1, 60)
    assert looks(delays, 60)[0] > 40


def test_two_kinds_of_jobs() -> None:
    """Those that are not among the quick ones are left alone until the slow ones end."""
    ages = looks(taught(*[2, 60] * 100), 60)
    assert ages[0] < 6
    assert len([age for age in ages if age < 45]) <= 2


def test_the_size_matters() -> None:
    """Long texts that take long do not make short ones wait."""
    delays = taught(*[4] * 50)
    for _ in range(300):
        delays.learn(MOST_TRANSACTIONS, 100)
    assert looks(delays, 4)[0] < 8
    assert looks(delays, 100, MOST_TRANSACTIONS)[0] > 60
    # Nothing is known of a size in between: its neighbours help.
    assert looks(delays, 100, 64)[0] > 4


def test_a_job_that_does_not_say_how_long_it_took_teaches_nothing() -> None:
    """Its times are absent or make no sense."""
    delays = Delays(least=1, most=3600)
    before = looks(delays, 100)
    delays.learn(1, None)
    assert looks(delays, 100) == before


def test_fewer_looks_while_the_service_throttles() -> None:
    """They share the calls of a minute with the submissions."""
    clock = Clock()
    delays = Delays(least=1, most=3600, clock=clock)
    random.seed(1)
    for _ in range(200):
        delays.learn(1, 10 * math.exp(random.gauss(0, 0.5)))
    usual = looks(delays, 10)
    delays.throttle(None)
    assert delays.closed_seconds == 0
    assert looks(delays, 10)[0] > 1.3 * usual[0]
    clock.seconds += THROTTLED_SECONDS
    assert looks(delays, 10) == usual


@pytest.mark.parametrize(("retry_after", "seconds"), [(None, 0), (7, 7), (3600, THROTTLED_SECONDS)])
def test_calls_are_held_back_for_as_long_as_the_service_asks(retry_after: float | None, seconds: float) -> None:
    """But not for longer than its limit can last."""
    clock = Clock()
    delays = Delays(least=1, most=3600, clock=clock)
    assert delays.closed_seconds == 0
    delays.throttle(retry_after)
    assert delays.closed_seconds == seconds
    clock.seconds += THROTTLED_SECONDS
    assert delays.closed_seconds == 0


def test_sizes() -> None:
    """A request of any size has its place."""
    assert [size_of(count) for count in (0, 1, 2, 3, 4, 5, 64, 65, MOST_TRANSACTIONS, 1000)] == [
        0, 0, 1, 2, 2, 3, 6, 7, SIZES - 1, SIZES - 1,
    ]  # fmt: skip


@pytest.mark.parametrize("wait_weight", [1.0, 5.0, 20.0])
def test_no_other_pair_of_looks_is_cheaper(wait_weight: float) -> None:
    """The schedule for a distribution that is known is the cheapest one: compared with all others of two looks."""
    first, second, end = 20, 24, 30
    density = [0.0] * (len(AGES) - 1)
    for cell in range(first, end):
        density[cell] = float(cell % 3 + 1) if cell < second else 0.5

    def cost(ages: list[int]) -> float:
        """Return the mean cost of a job of that distribution."""
        total = 0.0
        for cell, part in list(enumerate(density))[:end]:
            index = next(number for number, age in enumerate(ages) if age > cell)
            mean_slowness = (1 / AGES[cell] - 1 / AGES[cell + 1]) / math.log(AGES[1] / AGES[0])
            total += part * (index + 1 + wait_weight * (AGES[ages[index]] * mean_slowness - 1))
        return total

    nexts = cheapest_looks(density, wait_weight, least=0, most=1e9)
    chosen = [nexts[0]]
    while chosen[-1] < end:
        chosen.append(nexts[chosen[-1]])
    others = [[end], *([middle, end] for middle in range(first + 1, end))]
    assert cost(chosen) <= min(cost(ages) for ages in others) + 1e-9


@pytest.mark.parametrize(
    ("created", "last_update", "seconds"),
    [
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:12Z", 7),
        ("2021-10-23T00:43:56Z", "2021-10-23T00:43:58.1234567Z", 2.123456),
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:04Z", None),
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:12", None),
        ("2026-01-02T03:04:05Z", None, None),
        ("yesterday", "today", None),
    ],
)
def test_how_long_a_job_took(created: str, last_update: str | None, seconds: float | None) -> None:
    """By the service's own times, where they make sense."""
    job = Job("id", JobStatus.SUCCEEDED, created=created, last_update=last_update)
    assert job.seconds == seconds
