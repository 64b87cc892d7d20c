"""A model of the whole protocol: any order of uploads, events, deliveries, slow workers and crashes.

Storage, queue and service are a few dictionaries here, and a worker is a generator that stops wherever the real one
waits for an answer; there it may be overtaken or die. What it does is decided by the app's own decisions.
"""

from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from shared.jobs import JobMessage, SubmittedJob
from shared.submissions import Step, Submission, new_claim_id, next_step

from shared.precedence import PresentOutcome, Verdict, verdict
from shared.source import Source

BEGIN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PATIENCE = timedelta(seconds=120)
Work = Generator[None, None, None]


@dataclass(eq=False)
class Worker:
    """An invocation: its work, and what the host does if it dies."""

    work: Work
    comes_again: Callable[[], None]
    forgets: bool = False
    """Whether the service has accepted a job that is recorded nowhere yet."""


class Claim(NamedTuple):
    """A claim that was made: the record's etag, when, and whether there was no outcome at all."""

    etag: int
    claimed: datetime
    is_first: bool


@dataclass
class World:
    """What outlives every worker."""

    now: datetime = BEGIN
    newest: int = 0
    events: list[int] = field(default_factory=list)
    queue: list[tuple[JobMessage, datetime]] = field(default_factory=list)
    """Messages, and when each becomes visible."""
    records: dict[str, tuple[Submission, int]] = field(default_factory=dict)
    outcome: PresentOutcome | None = None
    submissions: Counter[str] = field(default_factory=Counter)
    forgotten: int = 0
    """Jobs that the service has accepted and nobody recorded."""
    running: set[str] = field(default_factory=set)
    writes: int = 0

    def source(self, version: int) -> Source:
        """Return a version; all were uploaded within one second."""
        return Source("incoming", "a.txt", f"v{version}", BEGIN, 1)

    def send(self, message: JobMessage, delay: timedelta = timedelta()) -> None:
        """Put a message into the queue."""
        self.queue.append((message, self.now + delay))

    def take_back(self, message: JobMessage) -> None:
        """Delete a message, unless it has been received."""
        self.queue = [(other, when) for other, when in self.queue if other is not message]

    @property
    def visible(self) -> list[JobMessage]:
        """The messages that can be received."""
        return [message for message, when in self.queue if when <= self.now]

    def write_record(self, submission: Submission, known: int | None) -> int | None:
        """Write on condition; return the new etag, or None."""
        etag = submission.message.source.etag
        if (self.records[etag][1] if etag in self.records else None) != known:
            return None
        self.writes += 1
        self.records[etag] = (submission, self.writes)
        return self.writes

    def delete_record(self, message: JobMessage) -> None:
        """Delete the record that is the message's own."""
        known = self.records.get(message.source.etag)
        if known and known[0].message.claim_id == message.claim_id:
            del self.records[message.source.etag]

    def write_outcome(self, source: Source, present: PresentOutcome | None) -> bool:
        """Write on condition."""
        if self.outcome != present:
            return False
        self.writes += 1
        self.outcome = PresentOutcome(f"o{self.writes}", source.etag, source.last_modified)
        return True


class Protocol(RuleBasedStateMachine):
    """Any order of everything that can happen."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.workers: list[Worker] = []
        self.seen = 0
        self.had_slow_workers = False

    def claim(self, message: JobMessage, *, is_queued: bool) -> Generator[None, None, Claim | None]:
        """Claim a version, as `Flight.claim` does; return None if others submit."""
        world, source = self.world, message.source
        if not is_queued:
            world.send(message, PATIENCE)
            yield
        known = world.records.get(source.etag) if is_queued else None
        yield
        etag, claimed = None, world.now
        while etag is None:
            step = next_step(known[0] if known else None, message.claim_id, world.now, PATIENCE)
            if step is not Step.SUBMIT:
                world.take_back(message)
                if step is Step.WATCH:
                    world.send(message, PATIENCE)
                elif step is Step.FOLLOW and known is not None:
                    world.send(known[0].message)
                return None
            claimed = world.now
            etag = world.write_record(Submission(message, claimed), known[1] if known else None)
            yield
            known = world.records.get(source.etag)
        present = world.outcome
        if present is not None and present.source_etag == source.etag:
            world.delete_record(message)
            world.take_back(message)
            return None
        yield
        if (not is_queued or present is not None) and world.source(world.newest) != source:
            world.take_back(message)
            world.send(message)
            return None
        yield
        return Claim(etag, claimed, is_first=present is None)

    def submit(self, worker: list[Worker], message: JobMessage, *, is_queued: bool) -> Work:
        """Claim and submit, as `Pipeline.submit_request` does."""
        world, version = self.world, message.source.etag
        claim = yield from self.claim(message, is_queued=is_queued)
        if claim is None:
            return
        world.submissions[version] += 1
        worker[0].forgets = True
        job = SubmittedJob(f"job-{version}-{world.submissions[version]}", 1, 1)
        world.running.add(job.job_id)
        yield
        followed = msgspec.structs.replace(message, submitted_date_time=world.now, jobs=[job], is_first=claim.is_first)
        recorded = world.write_record(Submission(followed), claim.etag)
        worker[0].forgets = False
        if recorded is None:
            # Somebody took it over; the app cancels this job.
            assert world.now - claim.claimed >= PATIENCE, "only from a worker that was too slow"
            world.forgotten += 1
            world.take_back(message)
            return
        yield
        world.take_back(message)
        world.send(followed)

    def on_event(self, worker: list[Worker]) -> Work:
        """What the blob trigger does."""
        source = self.world.source(self.world.newest)
        yield
        message = JobMessage(source=source, received_date_time=self.world.now, claim_id=new_claim_id())
        yield from self.submit(worker, message, is_queued=False)

    def on_message(self, worker: list[Worker], message: JobMessage) -> Work:
        """What the queue trigger does."""
        world, source = self.world, message.source
        newest = world.source(world.newest).etag
        yield
        if newest != source.etag:
            world.delete_record(message)
            yield
            yield from self.on_event(worker)
        elif not message.jobs:
            yield from self.submit(worker, message, is_queued=True)
        elif message.jobs[0].job_id in world.running:
            world.send(message)
        else:
            decided, is_missing = None, message.is_first
            while decided is None:
                present = None if is_missing else world.outcome
                is_missing = False
                yield
                newest = world.source(world.newest).etag
                yield
                decided = verdict(source, present, newest, message.replaces)
                if decided is Verdict.WRITE and not world.write_outcome(source, present):
                    decided = None
            yield
            if decided is Verdict.SUPERSEDED:
                world.send(message)
            else:
                world.delete_record(message)

    def begin(self, make: Callable[[list[Worker]], Work], comes_again: Callable[[], None]) -> None:
        """Start an invocation."""
        itself: list[Worker] = []
        itself.append(Worker(make(itself), comes_again))
        self.workers.append(itself[0])

    def advance(self, worker: Worker) -> None:
        """Let a worker go on until its next call."""
        try:
            next(worker.work)
        except StopIteration:
            self.workers.remove(worker)

    @rule()
    def upload(self) -> None:
        """Upload a version, in place of the one before."""
        self.world.newest += 1
        self.world.events.append(self.world.newest)

    @precondition(lambda self: self.world.events)
    @rule(data=st.data(), again=st.booleans())
    def deliver_event(self, data: st.DataObject, again: bool) -> None:
        """Hand over an event, and perhaps keep it to come once more."""
        event = data.draw(st.sampled_from(self.world.events))
        if not again:
            self.world.events.remove(event)
        self.begin(self.on_event, lambda: self.world.events.append(event))

    @precondition(lambda self: self.world.visible)
    @rule(data=st.data(), again=st.booleans())
    def deliver_message(self, data: st.DataObject, again: bool) -> None:
        """Hand over a message, and perhaps keep it to come once more: its worker was too slow to delete it."""
        message = data.draw(st.sampled_from(self.world.visible))
        if not again:
            self.world.take_back(message)
        self.begin(lambda itself: self.on_message(itself, message), lambda: self.world.send(message))

    @precondition(lambda self: self.workers)
    @rule(data=st.data(), steps=st.integers(1, 12))
    def work(self, data: st.DataObject, steps: int) -> None:
        """Let a worker go on for a while."""
        worker = data.draw(st.sampled_from(self.workers))
        for _ in range(steps):
            if worker in self.workers:
                self.advance(worker)

    @precondition(lambda self: self.workers)
    @rule(data=st.data())
    def crash(self, data: st.DataObject) -> None:
        """Kill a worker; the host brings back what it had in hand."""
        worker = data.draw(st.sampled_from(self.workers))
        self.workers.remove(worker)
        if worker.forgets:
            self.world.forgotten += 1
        worker.comes_again()

    @rule(seconds=st.sampled_from([1, 60, 130]))
    def wait(self, seconds: int) -> None:
        """Let time pass; jobs end."""
        self.world.now += timedelta(seconds=seconds)
        self.world.running.clear()
        # A worker that pauses for longer than its message waits, and then dies, may leave the record of an old version.
        self.had_slow_workers |= bool(self.workers) and timedelta(seconds=seconds) > PATIENCE / 2

    @invariant()
    def an_outcome_is_only_replaced_by_that_of_a_newer_version(self) -> None:
        """At any time."""
        if self.world.outcome is not None:
            version = int(self.world.outcome.source_etag[1:])
            assert version >= self.seen
            self.seen = version

    @invariant()
    def a_version_is_submitted_once(self) -> None:
        """But for those of which the service's answer was never recorded."""
        more = sum(max(0, count - 1) for count in self.world.submissions.values())
        waiting = sum(worker.forgets for worker in self.workers)
        assert more <= self.world.forgotten + waiting

    def teardown(self) -> None:
        """In the end, left alone, everything comes to rest with one outcome, of the newest version."""
        for _ in range(1000):
            self.world.now += timedelta(seconds=60)
            self.world.running.clear()
            if self.workers:
                for worker in list(self.workers):
                    self.advance(worker)
            elif self.world.events:
                event = self.world.events.pop()
                self.begin(self.on_event, lambda event=event: self.world.events.append(event))  # type: ignore[misc]
            elif self.world.queue:
                message, _ = self.world.queue.pop(0)
                self.begin(
                    lambda itself, message=message: self.on_message(itself, message),  # type: ignore[misc]
                    lambda message=message: self.world.send(message),  # type: ignore[misc]
                )
            else:
                break
            self.a_version_is_submitted_once()
            self.an_outcome_is_only_replaced_by_that_of_a_newer_version()
        else:
            raise AssertionError("never came to rest")
        if self.world.newest:
            assert self.world.outcome is not None
            assert self.world.outcome.source_etag == f"v{self.world.newest}"
        left = set(self.world.records)
        assert not left or self.had_slow_workers
        assert f"v{self.world.newest}" not in left


TestProtocol = Protocol.TestCase
TestProtocol.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
