"""A million files an hour, simulated: how many Language resources it takes. `docs/scale.md` tells what follows from it.

One app with its own resource is simulated, with its share of the files: arrivals at random, jobs of a lognormal
duration, the law that decides when to look, and the service's limit, which counts submissions and looks together and
refuses what is above it. All apps are alike, so one stands for all.
"""

import heapq
import math
import random
import statistics
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from local.ner.errors import ApiError
from local.ner.requests import RateLimit
from shared.delays import Delays
from shared.message import waiting_delay

FILES_PER_HOUR: Final = 1_000_000
CALLS_PER_MINUTE: Final = 1000
MEDIAN_SECONDS: Final = 5.0
SIGMA: Final = 0.5
INSTANCES: Final = 2
"""Of each app; each learns for itself."""
HOUR: Final = 3600.0
SEED: Final = 1


@dataclass(slots=True)
class File:
    """A file on its way."""

    arrived: float
    seconds: float
    submitted: float | None = None


@dataclass(frozen=True)
class Outcome:
    """What an hour came to."""

    calls_per_file: float
    refused_share: float
    """Of all calls."""
    median: float
    """From the arrival to the outcome, in seconds."""
    p95: float
    last: float
    """When the last file had its outcome, after the end of the hour, in seconds."""


class Simulation:
    """An hour of one app with a resource of its own."""

    def __init__(self, files: int) -> None:
        """Draw when files arrive, and how long their jobs take."""
        self.chance = random.Random(SEED)
        self.now = 0.0
        self.limit = RateLimit(lambda: self.now)
        self.instances = [Delays(least=2, most=60, clock=lambda: self.now) for _ in range(INSTANCES)]
        self.files = [
            File(self.chance.uniform(0, HOUR), MEDIAN_SECONDS * math.exp(self.chance.gauss(0, SIGMA)))
            for _ in range(files)
        ]
        self.ended: list[tuple[float, float]] = []
        self.calls = self.refused = 0

    def run(self) -> Outcome:
        """Let all files come to their end."""
        due = [(file.arrived, number) for number, file in enumerate(self.files)]
        heapq.heapify(due)
        while due:
            self.now, number = heapq.heappop(due)
            delay = self.step(self.files[number])
            if delay is not None:
                heapq.heappush(due, (self.now + delay + self.chance.uniform(0, 0.2), number))
        waits = sorted(seconds for _, seconds in self.ended)
        return Outcome(
            self.calls / len(self.files),
            self.refused / self.calls,
            statistics.median(waits),
            waits[int(0.95 * len(waits))],
            max(end for end, _ in self.ended) - HOUR,
        )

    def step(self, file: File) -> float | None:
        """Let an instance submit a file or look at its job; return in how many seconds to go on, None at its end."""
        delays = self.chance.choice(self.instances)
        if delays.closed_seconds:
            return self.wait(file, delays.closed_seconds)
        self.calls += 1
        try:
            self.limit.take(CALLS_PER_MINUTE)
        except ApiError as refusal:
            self.refused += 1
            delays.throttle(refusal.retry_after)
            return self.wait(file, refusal.retry_after)
        if file.submitted is None:
            file.submitted = self.now
        elif self.now >= file.submitted + file.seconds:
            delays.learn(1, round(file.seconds))
            self.ended.append((self.now, self.now - file.arrived))
            return None
        return round(delays.next_delay(1, self.now - file.submitted, self.chance.uniform(-1, 1)))

    def wait(self, file: File, retry_after: float | None) -> float:
        """Return when a file comes back that the service cannot take now."""
        age = timedelta(seconds=self.now - (file.submitted or file.arrived))
        return round(waiting_delay(age, least=2, most=60, jitter=self.chance.random(), retry_after=retry_after))


def main() -> None:
    """Print what different numbers of resources come to."""
    print(
        "| Resources | calls per file | refused calls | arrival to outcome, median | p95 | last file after the hour |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    for resources in (34, 36, 40, 45, 50, 60, 100):
        outcome = Simulation(FILES_PER_HOUR // resources).run()
        print(
            f"| {resources} | {outcome.calls_per_file:.2f} | {outcome.refused_share:.1%} | {outcome.median:.0f} s | "
            f"{outcome.p95:.0f} s | {outcome.last:.0f} s |"
        )


if __name__ == "__main__":
    main()
