"""Simulations that compare the polling schedule of `shared/delays.py` with the best one: `make bench PARTS=delays`.

The cost of a schedule is the mean of polls + WAIT_WEIGHT x (wait / duration). For a known distribution, dynamic
programming on a fine grid finds the schedule with the lowest cost: only knowledge about the single job could improve
it. The schedule under test starts without any knowledge. It learns from the jobs that ended, whose durations the
service reports in whole seconds.
"""

import bisect
import heapq
import math
import random
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Final, NamedTuple

from benchmarks import prices
from local.host.queues import Backoff
from shared.delays import WAIT_WEIGHT, Delays

SEED: Final = 1
REPETITIONS: Final = 20
LEARNED_FROM: Final = 200
FIRST: Final = 20
EVALUATED: Final = 500


class Part(NamedTuple):
    """A lognormal part of a distribution: how many jobs, their median in seconds, sigma."""

    share: float
    median: float
    sigma: float


@dataclass(frozen=True)
class Distribution:
    """Of the durations of jobs."""

    name: str
    parts: tuple[Part, ...]

    def draw(self, chance: random.Random) -> float:
        """Return the duration of a job, in seconds."""
        part = chance.choices(self.parts, [part.share for part in self.parts])[0]
        return part.median * math.exp(chance.gauss(0.0, part.sigma))

    def ended(self, seconds: float) -> float:
        """Return which share of the jobs takes less."""
        return sum(
            part.share * 0.5 * (1 + math.erf(math.log(seconds / part.median) / (part.sigma * math.sqrt(2))))
            for part in self.parts
        )

    @cached_property
    def best_looks(self) -> list[float]:
        """The ages of the cheapest schedule, in seconds."""
        least = min(part.median * math.exp(-6 * part.sigma) for part in self.parts)
        most = max(part.median * math.exp(6 * part.sigma) for part in self.parts)
        ratio = 1.02
        ages = [least * ratio**cell for cell in range(math.ceil(math.log(most / least) / math.log(ratio)) + 1)]
        ended = [self.ended(age) for age in ages]
        slowness = [0.0]
        for cell in range(len(ages) - 1):
            part = ended[cell + 1] - ended[cell]
            slowness.append(slowness[-1] + part * (1 / ages[cell] - 1 / ages[cell + 1]) / math.log(ratio))
        last = len(ages) - 1
        costs, nexts = [0.0] * len(ages), [last] * len(ages)
        for cell in range(last - 1, -1, -1):
            lowest = math.inf
            for then in range(cell + 1, len(ages)):
                waiting = ages[then] * (slowness[then] - slowness[cell]) - (ended[then] - ended[cell])
                so_far = 1 - ended[cell] + WAIT_WEIGHT * waiting
                if so_far > lowest:
                    break
                if so_far + costs[then] < lowest:
                    lowest, nexts[cell] = so_far + costs[then], then
            costs[cell] = lowest
        looks, cell = [], 0
        while cell < last:
            cell = nexts[cell]
            looks.append(ages[cell])
        return looks


DISTRIBUTIONS: Final = (
    Distribution("5 s, sigma 0.3", (Part(1.0, 5.0, 0.3),)),
    Distribution("5 s, sigma 0.5", (Part(1.0, 5.0, 0.5),)),
    Distribution("5 s, sigma 0.8", (Part(1.0, 5.0, 0.8),)),
    Distribution("half 2 s, half 60 s, sigma 0.3", (Part(0.5, 2.0, 0.3), Part(0.5, 60.0, 0.3))),
    Distribution("half 2 s, half 60 s, sigma 0.1", (Part(0.5, 2.0, 0.1), Part(0.5, 60.0, 0.1))),
    Distribution("30 s, sigma 0.5", (Part(1.0, 30.0, 0.5),)),
)


@dataclass
class Seen:
    """What looking at jobs came to."""

    looks: list[int] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    """From the job's end to the look that saw it, over the job's duration."""

    def add(self, looks: int, wait: float) -> None:
        """Add a job."""
        self.looks.append(looks)
        self.waits.append(wait)

    @property
    def cost(self) -> float:
        """The mean cost of a job, in looks."""
        return statistics.mean(self.looks) + WAIT_WEIGHT * statistics.mean(self.waits)

    def describe(self) -> str:
        """Return API calls per file, the submission included, and median and 95th percentile of the wait."""
        waits = sorted(self.waits)
        return (
            f"{1 + statistics.mean(self.looks):.2f} / {statistics.median(waits):.2f} / "
            f"{waits[math.floor(0.95 * len(waits))]:.2f}"
        )


def look(next_delay: Callable[[float], float], seconds: float, seen: Seen) -> None:
    """Look at a job of so many seconds until it has ended."""
    age, looks = 0.0, 0
    while age < seconds:
        age += next_delay(age)
        looks += 1
    seen.add(looks, age / seconds - 1)


def best(distribution: Distribution) -> Seen:
    """Return what the cheapest schedule comes to."""
    ages = distribution.best_looks
    chance, seen = random.Random(SEED), Seen()
    for _ in range(20_000):
        seconds = distribution.draw(chance)
        looks = min(bisect.bisect_left(ages, seconds), len(ages) - 1)
        seen.add(looks + 1, max(ages[looks] / seconds - 1, 0.0))
    return seen


def told(seconds: float, chance: random.Random) -> float:
    """Return a duration as the difference of two times in whole seconds."""
    begin = chance.random()
    return float(math.floor(begin + seconds) - math.floor(begin))


class Learned(NamedTuple):
    """What the law comes to at different times."""

    at_first: Seen
    """Knowing nothing."""
    first: Seen
    """Over the first jobs."""
    later: Seen
    """Having learned."""


def learned(distribution: Distribution) -> Learned:
    """Return what the law comes to that learns, without bounds on its delays."""
    result = Learned(Seen(), Seen(), Seen())
    for repetition in range(REPETITIONS):
        chance = random.Random(SEED + repetition)
        delays = Delays(least=0.01, most=1e9)
        for _ in range(EVALUATED):
            look(partial(delays.next_delay, 1), distribution.draw(chance), result.at_first)
        for number in range(LEARNED_FROM):
            seconds = distribution.draw(chance)
            look(partial(delays.next_delay, 1), seconds, result.first if number < FIRST else Seen())
            delays.learn(1, told(seconds, chance))
        for _ in range(EVALUATED):
            look(partial(delays.next_delay, 1), distribution.draw(chance), result.later)
    return result


class Listener:
    """When the host receives messages: the longer its queue was empty, the more rarely it looks."""

    def __init__(self, longest: float) -> None:
        """Begin to look; `longest` is `maxPollingInterval` in seconds."""
        self.backoff = Backoff(longest)
        self.now = 0.0

    def receive(self, due: float) -> float:
        """Return when a message is received that becomes visible then."""
        while self.now < due:
            self.now += self.backoff.next_delay(found=False)
        self.backoff.next_delay(found=True)
        return self.now


def as_deployed(files: int, per_second: float, distribution: Distribution, longest_polling: float = 2.0) -> Seen:
    """Return what the law comes to in an app: bounds, whole seconds, jitter, jobs that overlap, the host's own delay.

    Args:
        files: dropped one after another.
        per_second: how many.
        distribution: of the jobs' durations.
        longest_polling: `maxPollingInterval`, in seconds.
    """
    random.seed(SEED)  # of the host's back-off
    chance, seen = random.Random(SEED), Seen()
    delays, listener = Delays(least=2, most=60), Listener(longest_polling)
    durations = [distribution.draw(chance) for _ in range(files)]
    due = [(number / per_second, number, 0) for number in range(files)]
    while due:
        now, number, looks = heapq.heappop(due)
        now = listener.receive(now) if looks else now
        age = now - number / per_second
        if looks and age >= durations[number]:
            seen.add(looks, age / durations[number] - 1)
            delays.learn(1, told(durations[number], chance))
        else:
            delay = round(delays.next_delay(1, age, chance.uniform(-1, 1)))
            heapq.heappush(due, (now + delay, number, looks + 1))
    return seen


def table() -> Iterator[str]:
    """Yield the lines of a table: the learned schedule compared with the best one."""
    yield "| Durations | Best schedule | Learned, after 200 jobs | Cost ratio | in the first 20 jobs | before any job |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for distribution in DISTRIBUTIONS:
        known, law = best(distribution), learned(distribution)
        ratios = [seen.cost / known.cost for seen in (law.later, law.first, law.at_first)]
        cells = [distribution.name, known.describe(), law.later.describe(), *(f"{ratio:.2f}" for ratio in ratios)]
        yield f"| {' | '.join(cells)} |"


def polling_table() -> Iterator[str]:
    """Yield the lines of a table: the effect of the host's polling interval, and the price of polling an idle queue."""
    month = 30 * 24 * 3600
    yield "| `maxPollingInterval` | 4 files a second | a file a minute | polling an idle queue, per month |"
    yield "| --- | --- | --- | --- |"
    for longest in (0.1, 1.0, 2.0, 5.0, 60.0):
        seen = [as_deployed(1000, per_second, DISTRIBUTIONS[1], longest) for per_second in (4.0, 1 / 60)]
        cells = [f"{one.describe()} ({one.cost:.2f})" for one in seen]
        yield f"| {longest:g} s | {' | '.join(cells)} | {month / longest * prices.QUEUE:.2f} dollars |"


if __name__ == "__main__":
    print("Service calls per file / median / 95th percentile of wait / duration; cost = polls + 5 x wait / duration")
    for line in table():
        print(line)
