"""Simulate a million files an hour with different numbers of Language resources. `docs/scale.md` explains the results.

All apps are alike, so only one is simulated, with its own resource and its share of the files. Files arrive at random.
Batches have the app's windows, jobs have lognormal durations, and the app's schedule decides when to poll. The service
counts submissions and polls together, and refuses calls above its limit.
"""

import heapq
import math
import random
import statistics
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from local.ner.errors import ApiError
from local.ner.requests import RateLimit
from shared.delays import Delays
from shared.message import waiting_delay
from shared.ner.rate import CallRate
from shared.packing import REQUEST_LIMITS
from shared.pipeline.decisions import window_seconds

FILES_PER_HOUR: Final = 1_000_000
CALLS_PER_MINUTE: Final = 1000
MEDIAN_SECONDS: Final = 5.0
SIGMA: Final = 0.5
INSTANCES: Final = 2
"""Instances of the app. Each learns the schedule by itself and forms its own batches."""
HOUR: Final = 3600.0
SEED: Final = 1


@dataclass(slots=True)
class Batch:
    """Files that share a job: when each arrived, and how long the job takes."""

    seconds: float
    arrivals: list[float] = field(default_factory=list)
    submitted: float | None = None


@dataclass(slots=True)
class Instance:
    """An instance of the app, and the batch that it is forming."""

    delays: Delays
    rate: CallRate
    next: Batch | None = None
    leaves: float = 0.0
    """When that batch's window ends."""


@dataclass(frozen=True)
class Outcome:
    """The results of an hour."""

    calls_per_file: float
    files_per_batch: float
    refused_share: float
    """Share of all calls that the service refused."""
    median: float
    """Median time from the arrival to the outcome, in seconds."""
    p95: float
    last: float
    """When the last file had its outcome, after the end of the hour, in seconds."""


class Simulation:
    """An hour of one app with a resource of its own."""

    def __init__(self, files: int, largest: int = REQUEST_LIMITS.documents) -> None:
        """Draw the times at which files arrive; a batch has at most `largest` files."""
        self.chance = random.Random(SEED)
        self.now = 0.0
        self.limit = RateLimit(lambda: self.now)
        self.largest = largest

        def clock() -> float:
            return self.now

        self.instances = [Instance(Delays(least=2, most=60, clock=clock), CallRate(clock)) for _ in range(INSTANCES)]
        self.arrivals = sorted(self.chance.uniform(0, HOUR) for _ in range(files))
        self.batches: list[Batch] = []
        self.due: list[tuple[float, int]] = []
        self.ended: list[tuple[float, float]] = []
        self.calls = self.refused = 0

    def run(self) -> Outcome:
        """Process all files; return the results."""
        for arrived in self.arrivals:
            self.work_until(arrived)
            self.now = arrived
            self.take_place(self.chance.choice(self.instances))
        self.work_until(math.inf)
        waits = sorted(seconds for _, seconds in self.ended)
        return Outcome(
            self.calls / len(self.arrivals),
            len(self.arrivals) / len(self.batches),
            self.refused / self.calls,
            statistics.median(waits),
            waits[int(0.95 * len(waits))],
            max(end for end, _ in self.ended) - HOUR,
        )

    def take_place(self, instance: Instance) -> None:
        """Let a file that arrives now join the next batch of an instance."""
        if instance.next is None:
            instance.next = Batch(MEDIAN_SECONDS * math.exp(self.chance.gauss(0, SIGMA)))
            is_throttled = instance.delays.is_throttled
            instance.leaves = self.now + window_seconds(instance.rate.in_last_minute, is_throttled=is_throttled)
        instance.next.arrivals.append(self.now)
        if len(instance.next.arrivals) == self.largest or instance.leaves <= self.now:
            self.leave(instance)

    def leave(self, instance: Instance) -> None:
        """Let the batch of an instance leave."""
        if instance.next is not None:
            heapq.heappush(self.due, (self.now, len(self.batches)))
            self.batches.append(instance.next)
            instance.next = None

    def work_until(self, end: float) -> None:
        """Take all steps that are due before a time."""
        while True:
            forming = [instance for instance in self.instances if instance.next is not None]
            leaving = min(forming, key=lambda instance: instance.leaves, default=None)
            first = self.due[0][0] if self.due else math.inf
            if leaving is not None and leaving.leaves <= min(first, end):
                self.now = leaving.leaves
                self.leave(leaving)
            elif first < end:
                self.now, number = heapq.heappop(self.due)
                delay = self.step(self.batches[number])
                if delay is not None:
                    heapq.heappush(self.due, (self.now + delay + self.chance.uniform(0, 0.2), number))
            else:
                return

    def step(self, batch: Batch) -> float | None:
        """Let an instance submit or poll a batch; return the delay before its next step, or None if it has ended."""
        instance = self.chance.choice(self.instances)
        delays = instance.delays
        if delays.closed_seconds:
            return self.wait(batch, delays.closed_seconds)
        self.calls += 1
        instance.rate.add()
        try:
            self.limit.take(CALLS_PER_MINUTE)
        except ApiError as refusal:
            self.refused += 1
            delays.throttle(refusal.retry_after)
            return self.wait(batch, refusal.retry_after)
        size = len(batch.arrivals)
        if batch.submitted is None:
            batch.submitted = self.now
        elif self.now >= batch.submitted + batch.seconds:
            delays.learn(size, round(batch.seconds))
            self.ended += [(self.now, self.now - arrived) for arrived in batch.arrivals]
            return None
        return round(delays.next_delay(size, self.now - batch.submitted, self.chance.uniform(-1, 1)))

    def wait(self, batch: Batch, retry_after: float | None) -> float:
        """Return the delay, in seconds, before a refused call of a batch is retried."""
        age = timedelta(seconds=self.now - (batch.submitted or batch.arrivals[0]))
        return round(waiting_delay(age, least=2, most=60, jitter=self.chance.random(), retry_after=retry_after))


def main() -> None:
    """Print the results for different numbers of resources."""
    print(
        "| Resources | files per batch | calls per file | refused calls | arrival to outcome, median | p95 "
        "| last file after the hour |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for resources in (2, 3, 4, 5, 6, 8, 10, 20, 40):
        outcome = Simulation(FILES_PER_HOUR // resources).run()
        print(
            f"| {resources} | {outcome.files_per_batch:.1f} | {outcome.calls_per_file:.2f} "
            f"| {outcome.refused_share:.1%} | {outcome.median:.0f} s | {outcome.p95:.0f} s | {outcome.last:.0f} s |"
        )
    alone = Simulation(FILES_PER_HOUR // 40, largest=1).run()
    print(
        f"\nWith one file in each request, forty resources: {alone.calls_per_file:.2f} calls per file, "
        f"median {alone.median:.0f} s, p95 {alone.p95:.0f} s."
    )


if __name__ == "__main__":
    main()
