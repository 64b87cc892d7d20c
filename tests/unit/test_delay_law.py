"""What is promised of the delays: close to the best schedule for a distribution, without being told of it."""

import pytest

from benchmarks.delays import DISTRIBUTIONS, FIRST, Distribution, Part, as_deployed, best, learned


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=lambda distribution: distribution.name)
def test_the_law_comes_close_to_knowing_the_distribution(distribution: Distribution) -> None:
    """Within 15 % of the best schedule's cost after 200 jobs, within 50 % over the first ones."""
    known, law = best(distribution), learned(distribution)
    assert law.later.cost <= 1.15 * known.cost
    assert len(law.first.looks) % FIRST == 0
    assert law.first.cost <= 1.5 * known.cost


@pytest.mark.parametrize("distribution", DISTRIBUTIONS[:4], ids=lambda distribution: distribution.name)
def test_knowing_nothing_it_starts_sensibly(distribution: Distribution) -> None:
    """The very first looks cost no more than half as much again as the best ones."""
    assert learned(distribution).at_first.cost <= 1.5 * best(distribution).cost


@pytest.mark.parametrize(
    ("sigma", "calls", "median", "p95"), [(0.3, 2.71, 0.17, 0.67), (0.5, 3.14, 0.23, 0.94), (0.8, 3.73, 0.29, 1.09)]
)
def test_the_best_schedules_are_those_that_are_known(sigma: float, calls: float, median: float, p95: float) -> None:
    """For lognormal durations they have been worked out before, by others."""
    seen = best(Distribution("", (Part(1.0, 1.0, sigma),)))
    waits = sorted(seen.waits)
    assert 1 + sum(seen.looks) / len(seen.looks) == pytest.approx(calls, rel=0.03)
    assert waits[len(waits) // 2] == pytest.approx(median, abs=0.02)
    assert waits[int(0.95 * len(waits))] == pytest.approx(p95, abs=0.04)


@pytest.mark.parametrize("per_second", [4.0, 1 / 60])
def test_bounds_whole_seconds_and_the_host_cost_little(per_second: float) -> None:
    """Jobs of 5 seconds, in an app as it is deployed, whose queue is busy or mostly idle."""
    distribution = Distribution("", (Part(1.0, 5.0, 0.5),))
    seen = as_deployed(1000, per_second, distribution)
    assert len(seen.waits) == 1000
    assert seen.cost <= 1.15 * best(distribution).cost
