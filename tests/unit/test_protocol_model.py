"""A model of the whole protocol: any order of uploads, events, messages, refusals, slow workers and deaths.

Storage, queue and service are a few dictionaries here, and a worker is a generator that stops before each call; there
it may be overtaken, refused, stopped or die, with all workers of its process. What it does is decided by the app's own
pure functions.
"""

import os
from collections import Counter
from collections.abc import Callable
from typing import Final

from azure.core.exceptions import AzureError
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from shared.message import BatchMessage, FileMessage, decode_message
from shared.outcome import OutcomeStatus
from shared.pipeline.decisions import LONGEST_WINDOW_SECONDS, MAX_UNSURE
from shared.state.claim import MAX_TRIES
from shared.storage.blobs import OutcomeConflictError
from tests.unit.protocol.polling import on_event, on_message
from tests.unit.protocol.protections import Protection
from tests.unit.protocol.sweeping import sweep
from tests.unit.protocol.values import DiedError, JobState, Queued, Text, Version
from tests.unit.protocol.workers import JOB_TIMEOUT_SECONDS, Answer, Process, Steps, Worker
from tests.unit.protocol.world import FILES, World

EXAMPLES: Final = int(os.environ.get("PROTOCOL_EXAMPLES", "120"))
"""How many histories are tried; a change of the protocol is worth some thousands."""
WITHOUT: Final = frozenset(Protection[name] for name in os.environ.get("PROTOCOL_WITHOUT", "").split(",") if name)
"""Names of protections that the workers do without, to see what comes of it."""
VISIBILITY_SECONDS: Final = 30
"""After which the host delivers a message again on which a function failed (visibilityTimeout in host.json)."""
LEASE_SECONDS: Final = 600
"""After which a message is visible again whose worker died."""
MAX_DELIVERIES: Final = 5
LIFETIME_SECONDS: Final = 1200
"""After which the host ends a worker."""
SOON_SECONDS: Final = 10
QUIET_SWEEPS: Final = 8
SWEEP_SECONDS: Final = 700
"""After so many sweeps in a row that found nothing to do, all is at rest: no batch is due in more than an hour."""
MAX_PAID: Final = MAX_TRIES + MAX_TRIES + MAX_UNSURE
"""So often a version is paid at most, whatever dies, gets lost or is refused."""
MAX_DEATHS: Final = 2
"""So often one text that kills workers counts against another one at most: not often enough to give that up."""
TEXTS: Final = (Text.SMALL,) * 6 + tuple(Text)
WHICH = st.integers(0, 7)
PROCESS = st.integers(0, 1)


class Protocol(RuleBasedStateMachine):
    """Any order of everything that can happen."""

    without: frozenset[Protection] = WITHOUT

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.without)
        self.workers: list[Worker] = []
        self.processes = [Process(self.world), Process(self.world)]
        self.seen: dict[str, str] = {}
        self.resubmitted: set[tuple[str, str, str]] = set()
        self.invoke(sweep, lambda: None)
        self.advance(self.workers[0], steps=20)

    def invoke(
        self, make: Callable[[Worker], Steps[None]], come_again: Callable[[], None], process: int | None = None
    ) -> Worker:
        """Start an invocation, which stops before its first call; in a process of its own if none is given."""
        place = Process(self.world) if process is None else self.processes[process]
        worker = Worker(self.world, place, come_again)
        worker.steps = make(worker)
        self.workers.append(worker)
        try:
            next(worker.steps)
        except StopIteration:
            self.remove(worker)
        return worker

    def advance(self, worker: Worker, *, steps: int = 1, answer: Answer = Answer.GOOD, is_late: bool = False) -> None:
        """Let a worker make some calls; one that has reached its deadline ends itself, unless it does not notice."""
        for _ in range(steps):
            if worker.has_ended:
                return
            try:
                if self.world.now >= worker.deadline and not is_late:
                    worker.befall()
                    worker.steps.throw(TimeoutError())
                else:
                    worker.steps.send(answer)
            except StopIteration:
                self.remove(worker)
            except DiedError as died:
                self.kill(worker.process, comes_again=True, culprit=died.version)
            except (AzureError, TimeoutError, OutcomeConflictError):
                self.end(worker)
                worker.come_again()

    def remove(self, worker: Worker) -> None:
        """Take a worker away."""
        self.workers.remove(worker)
        worker.has_ended = True

    def end(self, worker: Worker) -> None:
        """Take a worker away that failed, was cancelled or died."""
        self.remove(worker)
        worker.forget()
        worker.steps.close()

    def kill(self, process: Process, *, comes_again: bool, culprit: Version | None = None) -> None:
        """Let a process die with all its workers, perhaps because of a text."""
        if process in self.processes:
            self.processes[self.processes.index(process)] = Process(self.world)
        for worker in [worker for worker in self.workers if worker.process is process]:
            if culprit is None:
                worker.befall()
            else:
                for version in worker.versions:
                    self.world.hurt_by.setdefault(version, set()).add(culprit)
            self.end(worker)
            if comes_again:
                worker.come_again()

    def deliver(self, queued: Queued, process: int | None = None, seconds: int = VISIBILITY_SECONDS) -> None:
        """Hand a message over, which comes again if its worker fails, a few times."""

        def come_again() -> None:
            if queued.deliveries + 1 < MAX_DELIVERIES:
                again = Queued(queued.text, self.world.in_seconds(seconds), queued.deliveries + 1)
                self.world.queue.append(again)

        self.invoke(lambda me: on_message(me, queued.text, comes_again=queued.deliveries > 0), come_again, process)

    @rule(name=st.sampled_from(FILES), text=st.sampled_from(TEXTS), is_same=st.booleans(), is_heard=st.booleans())
    def upload(self, name: str, text: Text, is_same: bool, is_heard: bool) -> None:
        """Upload a version in place of the one before, perhaps with its text, perhaps without an event."""
        before = self.world.inputs.get(name)
        digest = f"digest-{self.world.writes}"
        if is_same and before is not None:
            text, digest = before.text, before.digest
        self.world.upload(name, text, digest)
        if is_heard:
            self.world.events.append(name)

    @rule(
        texts=st.dictionaries(st.sampled_from(FILES), st.sampled_from(TEXTS), min_size=2),
        steps=st.integers(0, 12),
        closed=st.booleans(),
        process=PROCESS,
    )
    def upload_together(
        self, texts: dict[str, Text], steps: int, closed: bool = False, process: int | None = None
    ) -> None:
        """Upload files whose events a process receives together, perhaps while the service takes no calls."""
        workers: list[Worker] = []
        for name, text in texts.items():
            self.upload(name, text, is_same=False, is_heard=False)
            workers.append(self.deliver_event_of(name, process))
        before, self.world.closed = self.world.closed, closed
        self.take_turns(workers, steps)
        self.world.closed = before

    @precondition(lambda self: self.world.claims.keys() & self.world.inputs.keys())
    @rule(which=WHICH, steps=st.integers(0, 12), process=PROCESS)
    def save_again(self, which: int, steps: int, process: int | None = None) -> None:
        """Upload the text of a file in work once more; the worker that its event comes to makes some calls."""
        names = sorted(self.world.claims.keys() & self.world.inputs.keys())
        name = names[which % len(names)]
        self.upload(name, Text.SMALL, is_same=True, is_heard=False)
        self.advance(self.deliver_event_of(name, process), steps=steps)

    @rule(name=st.sampled_from(FILES))
    def delete(self, name: str) -> None:
        """Delete a file."""
        self.world.inputs.pop(name, None)

    @precondition(lambda self: self.world.events)
    @rule(which=WHICH, again=st.booleans(), process=PROCESS)
    def deliver_event(self, which: int, again: bool, process: int | None = None) -> None:
        """Hand over an event, and perhaps keep it to come again."""
        name = self.world.events[which % len(self.world.events)]
        if not again:
            self.world.events.remove(name)
        self.deliver_event_of(name, process)

    def deliver_event_of(self, name: str, process: int | None) -> Worker:
        """Hand over an event."""
        return self.invoke(lambda me: on_event(me, name), lambda: self.world.events.append(name), process)

    @precondition(lambda self: self.world.visible)
    @rule(which=WHICH, again=st.booleans(), process=PROCESS)
    def deliver_message(self, which: int, again: bool, process: int | None = None) -> None:
        """Hand over a message, and perhaps keep it to come again."""
        queued = self.world.visible[which % len(self.world.visible)]
        if not again:
            self.world.queue.remove(queued)
        self.deliver(queued, process)

    @precondition(lambda self: self.world.queue)
    @rule(which=WHICH)
    def lose_message(self, which: int) -> None:
        """Lose a message, as if its workers had failed each time."""
        lost = decode_message(self.world.queue.pop(which % len(self.world.queue)).text)
        if isinstance(lost, BatchMessage) and lost.record is not None:
            members = lost.record.members
            self.world.befallen.update({Version(member.source.name, member.digest) for member in members})

    @rule(is_short=st.booleans())
    def begin_sweep(self, is_short: bool = False) -> None:
        """Start a sweep, perhaps beside another one, and perhaps one that has time for one file alone."""
        self.invoke(lambda me: sweep(me, is_short=is_short), lambda: None)

    @rule(throttled=st.booleans(), closed=st.booleans(), busy=st.booleans())
    def throttle(self, throttled: bool, closed: bool, busy: bool = False) -> None:
        """Let the service refuse all calls, or take them again; and let the workers know that, or that it is busy."""
        self.world.throttled, self.world.closed = throttled, closed
        self.world.window_seconds = LONGEST_WINDOW_SECONDS if busy else 0.0

    @rule(name=st.sampled_from(FILES), is_held=st.booleans())
    def lease(self, name: str, is_held: bool) -> None:
        """Let another program hold a lease on an outcome, or release it."""
        (self.world.leased.add if is_held else self.world.leased.discard)(name)

    @rule()
    def fail_jobs(self) -> None:
        """Let all jobs that run fail as a whole."""
        self.world.end_jobs(fail=True)

    @rule(is_silent=st.booleans())
    def be_silent(self, is_silent: bool) -> None:
        """Let the service's answers to submissions get lost, or come again."""
        self.world.silent = is_silent

    @precondition(lambda self: self.workers)
    @rule(which=WHICH, steps=st.integers(1, 20))
    def work(self, which: int, steps: int) -> None:
        """Let a worker make some calls."""
        self.advance(self.workers[which % len(self.workers)], steps=steps)

    @rule(process=PROCESS, steps=st.integers(1, 20))
    def work_together(self, process: int, steps: int) -> None:
        """Let the workers of a process make some calls in turn."""
        place = self.processes[process]
        self.take_turns([worker for worker in self.workers if worker.process is place], steps)

    def take_turns(self, workers: list[Worker], steps: int) -> None:
        """Let workers make some calls in turn."""
        for _ in range(steps):
            for worker in workers:
                self.advance(worker)

    @precondition(lambda self: any(worker.deadline <= self.world.now for worker in self.workers))
    @rule(which=WHICH, steps=st.integers(1, 8))
    def work_late(self, which: int, steps: int) -> None:
        """Let a worker make some calls that has not noticed that it should have ended itself."""
        late = [worker for worker in self.workers if worker.deadline <= self.world.now]
        self.advance(late[which % len(late)], steps=steps, is_late=True)

    @precondition(lambda self: self.workers)
    @rule(which=WHICH, answer=st.sampled_from([Answer.REFUSED, Answer.LOST]))
    def refuse(self, which: int, answer: Answer) -> None:
        """Refuse the next call of a worker, or carry it out and lose the answer."""
        self.advance(self.workers[which % len(self.workers)], answer=answer)

    @precondition(lambda self: self.workers)
    @rule(which=WHICH, comes_again=st.booleans())
    def die(self, which: int, comes_again: bool) -> None:
        """Kill a worker and its process; the host may bring back what they had in hand."""
        self.kill(self.workers[which % len(self.workers)].process, comes_again=comes_again)

    @precondition(lambda self: self.workers)
    @rule(which=WHICH, comes_again=st.booleans())
    def cancel(self, which: int, comes_again: bool) -> None:
        """Cancel an invocation; its process lives on."""
        worker = self.workers[which % len(self.workers)]
        worker.befall()
        self.end(worker)
        if comes_again:
            worker.come_again()

    @precondition(lambda self: self.workers)
    @rule(which=WHICH)
    def pause(self, which: int) -> None:
        """Let a worker pause while all others, and the messages that are due soon, come to their end."""
        paused = self.workers[which % len(self.workers)]
        for _ in range(6):
            self.finish_workers([paused])
            self.world.end_jobs()
            soon = [queued for queued in self.world.queue if queued.visible <= self.world.in_seconds(SOON_SECONDS)]
            if not soon:
                return
            self.world.queue.remove(soon[0])
            self.world.now = max(self.world.now, soon[0].visible)
            self.deliver(soon[0])

    @precondition(lambda self: self.world.outcomes)
    @rule(which=WHICH)
    def resubmit(self, which: int) -> None:
        """Ask for an outcome to be replaced, as an operator does."""
        name, outcome = list(self.world.outcomes.items())[which % len(self.world.outcomes)]
        self.world.send(FileMessage(file=name, replaces=outcome.present.etag))
        self.resubmitted.add((name, outcome.present.source_etag, outcome.present.etag))

    @rule(which=WHICH, process=PROCESS)
    def run_message(self, which: int, process: int) -> None:
        """Deliver a message, as soon as it is visible, to a worker that does all of its work."""
        others = list(self.workers)
        if self.world.queue:
            queued = self.world.queue.pop(which % len(self.world.queue))
            self.world.now = max(self.world.now, queued.visible)
            self.deliver(queued, process)
            self.finish_workers(others)

    def finish_workers(self, others: list[Worker]) -> None:
        """Let all workers but these do their work."""
        for _ in range(3):
            for worker in [worker for worker in self.workers if worker not in others]:
                self.advance(worker, steps=70)
            if all(worker in others for worker in self.workers):
                return
            self.world.now = self.world.in_seconds(LONGEST_WINDOW_SECONDS)

    @rule(seconds=st.sampled_from([1, 10, 60, 130, 300, 700, 90_000]), jobs_end=st.booleans())
    def wait(self, seconds: int, jobs_end: bool) -> None:
        """Let time pass."""
        self.world.now = self.world.in_seconds(seconds)
        if jobs_end:
            self.world.end_jobs()
        for worker in list(self.workers):
            if (self.world.now - worker.started).total_seconds() >= LIFETIME_SECONDS and not worker.has_ended:
                self.kill(worker.process, comes_again=True)

    def check(self) -> None:
        """Check all invariants."""
        self.an_outcome_is_only_replaced_by_that_of_a_newer_version()
        self.a_version_is_paid_once()
        self.an_outcome_holds_the_entities_of_its_own_jobs()
        self.a_file_fails_for_its_own_reasons()

    @invariant()
    def an_outcome_is_only_replaced_by_that_of_a_newer_version(self) -> None:
        """At any time; etags grow."""
        for name, outcome in self.world.outcomes.items():
            etag = outcome.present.source_etag
            assert etag >= self.seen.get(name, ""), "an older version's outcome"
            self.seen[name] = etag

    @invariant()
    def a_version_is_paid_once(self) -> None:
        """Except for jobs that no worker could record, and those of several that failed as a whole."""
        pending = Counter(payment for worker in self.workers for payment in worker.unrecorded)
        resubmitted = Counter((name, etag) for name, etag, _ in self.resubmitted)
        for payment, count in self.world.paid.items():
            times = 1 + resubmitted[payment.name, payment.etag]
            assert count <= MAX_PAID * times, f"{payment} paid {count} times, which is never allowed"
            allowed = times + self.world.forgotten[payment] + pending[payment] + self.world.dissolved[payment]
            assert count <= allowed, f"{payment} paid {count} times, allowed are {allowed}"

    @invariant()
    def an_outcome_holds_the_entities_of_its_own_jobs(self) -> None:
        """They have succeeded, and were of the same text; a job that its own worker cancelled has none."""
        for name, outcome in self.world.outcomes.items():
            version = self.world.version_of(outcome.present.source_etag)
            for job_id, payment in outcome.parts:
                assert self.world.jobs[job_id] is JobState.SUCCEEDED, "a job's that did not succeed"
                assert self.world.version_of(payment.etag) == version, f"{name} has the entities of another text"

    @invariant()
    def a_file_fails_for_its_own_reasons(self) -> None:
        """Those of another file of its batch, or of its process, do not count."""
        world = self.world
        for name, outcome in world.outcomes.items():
            etag = outcome.present.source_etag
            version = world.version_of(etag)
            age = (world.now - world.first_uploads[version]).total_seconds()
            if outcome.status is not OutcomeStatus.FAILED or not world.uploads[etag].text.is_innocent:
                continue
            if version in world.failed_alone or age >= JOB_TIMEOUT_SECONDS:
                continue
            deaths = world.befallen[version] + MAX_DEATHS * len(world.hurt_by.get(version, ()))
            assert deaths >= MAX_TRIES, f"{name} failed for no reason of its own"

    def teardown(self) -> None:
        """In the end, left alone, everything comes to rest with the outcome of each newest version."""
        world = self.world
        world.throttled = world.closed = world.silent = False
        world.leased.clear()
        idle = 0
        for _ in range(3000):
            world.now = world.in_seconds(1)
            world.end_jobs()
            if self.workers:
                for worker in list(self.workers):
                    self.advance(worker)
            elif world.events:
                idle = 0
                name = world.events.pop()
                self.invoke(lambda me, name=name: on_event(me, name), lambda: None)  # type: ignore[misc]
            elif world.queue:
                idle = 0
                first = min(world.queue, key=lambda queued: queued.visible)
                world.queue.remove(first)
                world.now = max(world.now, first.visible)
                self.deliver(first)
            else:
                idle += 1
                if idle > QUIET_SWEEPS:
                    break
                world.now = world.in_seconds(SWEEP_SECONDS)
                self.invoke(sweep, lambda: None)
            self.check()
        else:
            raise AssertionError("never came to rest")
        for name, upload in world.inputs.items():
            present = world.present_outcome(name)
            assert present is not None, f"{name} has no outcome"
            assert present.source_etag == upload.source.etag, f"{name} has the outcome of an older version"
        left = {"claims": world.claims, "batches": world.batches, "ledgers": world.ledgers, "results": world.results}
        assert not any(left.values()), f"left over: {left}"


TestProtocol = Protocol.TestCase
TestProtocol.settings = settings(max_examples=EXAMPLES, stateful_step_count=60, deadline=None)
