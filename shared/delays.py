"""When to look at a job next: a schedule learned from the jobs that ended.

A look costs a call of the service, and waiting costs the user's time: a file's cost is its looks plus
WAIT_WEIGHT x (wait from the job's end to the look that sees it / the job's duration). For a known distribution of
durations the cheapest schedule follows from the back, by dynamic programming over a grid of ages (`cheapest_looks`).
The distribution is learned: each ended job adds its duration to a histogram of its size, older ones fade, and a broad
guess stands behind them all, which alone decides as long as nothing is known. `benchmarks/delays.py` measures how
close this comes to knowing the distribution.

A schedule depends on the age and size of a job alone, so a message needs no memory of its looks. What one process
learns, the others come to know (`shared/pipeline/learning.py`).
"""

import math
from collections.abc import Callable
from time import monotonic
from typing import Final

WAIT_WEIGHT: Final = 5.0
"""What waiting as long as the job itself took is worth, in looks."""
THROTTLED_WAIT_WEIGHT: Final = 1.0
"""The same while the service throttles: looks then stand in the way of submissions."""
THROTTLED_SECONDS: Final = 60.0
"""How long a refusal counts, and the longest that it holds back other calls: the service's limits are per minute."""
JITTER: Final = 0.05
"""A delay is stretched or shortened by up to this fraction."""

SHORTEST: Final = 0.25
"""Seconds; the grid of ages begins here."""
RATIO: Final = 1.08
"""Between two ages of the grid: a look may be this much off the best time, which costs next to nothing."""
CELLS: Final = 192
"""Up to SHORTEST x RATIO ** CELLS seconds, which is 7 days and more."""
SIZES: Final = 8
"""Jobs of 1, 2, 3 to 4, ... and 65 to 125 transactions; a request holds no more."""
MOST_TRANSACTIONS: Final = 125
LOG_RATIO: Final = math.log(RATIO)
AGES: Final = tuple(SHORTEST * RATIO**cell for cell in range(CELLS + 1))

GUESS_MEDIAN: Final = 7.0
GUESS_SIGMA: Final = 1.0
"""Small documents have been seen to take 1 to 6 seconds; nothing is known of long ones."""
GUESS_WEIGHT: Final = 1.0
"""In ended jobs."""
GUESS_TAIL: Final = 0.05
"""The part of the guess that is spread evenly over all ages, in logarithms: anything may happen."""
FADE: Final = 0.995
"""What a job still counts after the next one: the last few hundred decide."""
OTHER_SIZE: Final = 0.1
"""What a job counts for the next size, and for the one after that again."""
RESOLUTION_SECONDS: Final = 1.0
"""The service gives its times in whole seconds."""
BANDWIDTH: Final = 0.15
"""How far a duration is blurred, as a part of it: few jobs say little about the next one."""
MOST_UNSHARED: Final = 256
"""So many jobs at most may end before other processes are told; the last few hundred decide."""
MOST_UNPLANNED: Final = 32
"""So many jobs may end before the schedule is made anew; fewer at the beginning."""


class Histogram:
    """Weights of durations by the cells of the grid, where older ones count less."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.cells = [0.0] * CELLS
        self.unit = 1.0
        self.count = 0

    def add(self, seconds: float) -> None:
        """Add a duration, blurred over its neighbours: it was rounded, and is one of few."""
        blur = RESOLUTION_SECONDS + BANDWIDTH * seconds
        first, last = cell_of(seconds - blur), cell_of(seconds + blur)
        # A triangle: certainly not further off than `blur`, most likely not at all.
        parts = [max(1 - abs(middle_of(cell) - seconds) / blur, 0.0) * AGES[cell] for cell in range(first, last + 1)]
        total = sum(parts)
        if not total:
            parts, total = [1.0, *[0.0] * (last - first)], 1.0
        # Instead of making all older ones lighter, make the newest one heavier.
        self.unit /= FADE
        self.count += 1
        for cell, part in enumerate(parts, first):
            self.cells[cell] += self.unit * part / total
        if self.unit > 1e6:
            self.cells = [weight / self.unit for weight in self.cells]
            self.unit = 1.0


class Delays:
    """Learns how long jobs take and says when to look at one. For one process; not for several threads."""

    def __init__(self, *, least: float, most: float, clock: Callable[[], float] = monotonic) -> None:
        """Know nothing yet.

        Args:
            least: shortest delay, in seconds.
            most: longest delay, in seconds.
            clock: seconds, for how long ago the service throttled.
        """
        self.least = least
        self.most = most
        self.clock = clock
        self.throttled_at = -math.inf
        self.closed_until = -math.inf
        self.histograms = [Histogram() for _ in range(SIZES)]
        self.unshared: list[tuple[int, float]] = []
        """Jobs that ended, as `learn` was told, of which no other process knows yet."""
        self.planned: dict[tuple[int, float], tuple[int, list[int]]] = {}

    def learn(self, transactions_count: int, seconds: float | None) -> None:
        """Take note of a job that has ended.

        Args:
            transactions_count: the job's size.
            seconds: from its creation to its end; None if nobody says.
        """
        if seconds is not None:
            self.histograms[size_of(transactions_count)].add(seconds)
            self.unshared = [*self.unshared[1 - MOST_UNSHARED :], (transactions_count, seconds)]

    def throttle(self, retry_after: float | None) -> None:
        """Take note that the service has refused a call since there were too many; it takes more in so many seconds."""
        self.throttled_at = max(self.throttled_at, self.clock())
        self.closed_until = self.throttled_at + min(retry_after or 0.0, THROTTLED_SECONDS)

    @property
    def throttled_seconds(self) -> float:
        """How long ago the service refused a call since there were too many; infinite if it never did."""
        return self.clock() - self.throttled_at

    def note_throttled(self, seconds_ago: float) -> None:
        """Take note that another process was refused a call so long ago."""
        self.throttled_at = max(self.throttled_at, self.clock() - max(seconds_ago, 0.0))

    def adopt(self, histograms: list[Histogram]) -> None:
        """Know what all processes have learned, instead of what this one has, and this one's jobs that are unshared."""
        self.histograms = histograms
        for transactions_count, seconds in self.unshared:
            self.histograms[size_of(transactions_count)].add(seconds)
        self.planned.clear()

    @property
    def closed_seconds(self) -> float:
        """For how long the service has asked to be left alone; 0 if it takes calls."""
        return max(self.closed_until - self.clock(), 0.0)

    @property
    def is_throttled(self) -> bool:
        """Whether the service has refused a call of any process within the last minute, since there were too many."""
        return self.throttled_seconds < THROTTLED_SECONDS

    def next_delay(self, transactions_count: int, age_seconds: float, jitter: float = 0.0) -> float:
        """Return in how many seconds to look at a job that has not ended.

        Args:
            transactions_count: the job's size.
            age_seconds: since its submission (a clock that went backwards counts as no time).
            jitter: from -1 to 1, drawn at random by the caller.
        """
        age = max(age_seconds, 0.0)
        plan = self.plan(size_of(transactions_count))
        due = (AGES[plan[nearest_cell(age)]] - age) * (1 + JITTER * jitter)
        return min(max(due, self.least), self.most)

    def plan(self, size: int) -> list[int]:
        """Return the schedule for a size: for each cell of the grid, that of the next look."""
        wait_weight = THROTTLED_WAIT_WEIGHT if self.is_throttled else WAIT_WEIGHT
        learned = sum(histogram.count for histogram in self.histograms)
        planned, plan = self.planned.get((size, wait_weight), (-1, []))
        if learned - planned > min(planned // 4, MOST_UNPLANNED):
            plan = cheapest_looks(self.density(size), wait_weight, least=self.least, most=self.most)
            self.planned[size, wait_weight] = learned, plan
        return plan

    def density(self, size: int) -> list[float]:
        """Return what is thought of the durations of a size: the weight of each cell."""
        found = [GUESS_WEIGHT * part for part in GUESS]
        for other, histogram in enumerate(self.histograms):
            if histogram.count:
                weight = OTHER_SIZE ** abs(other - size) / histogram.unit
                found = [part + weight * cell for part, cell in zip(found, histogram.cells, strict=True)]
        return found


def cheapest_looks(density: list[float], wait_weight: float, *, least: float, most: float) -> list[int]:
    """Return for each cell of the grid, as the age of a job that has not ended, the cell of the cheapest next look.

    Args:
        density: how likely a job ends in each cell; need not sum to 1.
        wait_weight: what waiting as long as the job took is worth, in looks.
        least: shortest delay between two looks, in seconds.
        most: longest delay, in seconds.
    """
    ended, slowness = [0.0], [0.0]
    for cell, part in enumerate(density):
        ended.append(ended[-1] + part)
        # The mean of 1 / duration within a cell, where all logarithms are equally likely.
        slowness.append(slowness[-1] + part * (1 / AGES[cell] - 1 / AGES[cell + 1]) / LOG_RATIO)
    costs, nexts = [0.0] * (CELLS + 1), [CELLS] * (CELLS + 1)
    for cell in range(CELLS - 1, -1, -1):
        age = AGES[cell] if cell else 0.0
        running = ended[CELLS] - ended[cell]
        lowest = math.inf
        for then in range(cell + 1, CELLS + 1):
            delay = AGES[then] - age
            if delay < least and then < CELLS:
                continue
            waiting = AGES[then] * (slowness[then] - slowness[cell]) - (ended[then] - ended[cell])
            so_far = running + wait_weight * waiting
            if so_far + costs[then] < lowest:
                lowest, nexts[cell] = so_far + costs[then], then
            # From here on the waiting alone costs more.
            if so_far > lowest or delay > most:
                break
        costs[cell] = lowest
    return nexts


def cell_of(seconds: float) -> int:
    """Return the cell that a duration is in; the grid's first or last one if it is beyond."""
    if seconds <= SHORTEST:
        return 0
    return min(int(math.log(seconds / SHORTEST) / LOG_RATIO), CELLS - 1)


def nearest_cell(age: float) -> int:
    """Return the cell whose beginning is closest to an age."""
    return cell_of(age * math.sqrt(RATIO))


def middle_of(cell: int) -> float:
    """Return the middle of a cell, in seconds."""
    return AGES[cell] * (1 + RATIO) / 2


def size_of(transactions_count: int) -> int:
    """Return which of the SIZES a job is."""
    return min(max(transactions_count - 1, 0).bit_length(), SIZES - 1)


def guess() -> list[float]:
    """Return what is thought of durations before any is known, as parts of 1."""
    heights = [math.exp(-0.5 * (math.log(middle_of(cell) / GUESS_MEDIAN) / GUESS_SIGMA) ** 2) for cell in range(CELLS)]
    total = sum(heights)
    return [(1 - GUESS_TAIL) * height / total + GUESS_TAIL / CELLS for height in heights]


GUESS: Final = guess()
