"""An invocation of the model: it stops before each call, where it may be overtaken, refused, stopped or die."""

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any, Final, TypeAlias, TypeVar

from azure.core.exceptions import AzureError

from shared.message import BatchMessage
from shared.ner.errors import NerError, Remedy
from shared.pipeline.rescheduling import Turn
from shared.pipeline.services import MAX_DUE_SECONDS
from shared.settings import DEADLINE_SHARE
from shared.state.batch import Member
from tests.unit.protocol.gate import Gate
from tests.unit.protocol.protections import Protection
from tests.unit.protocol.values import Payment, Version
from tests.unit.protocol.world import World

PATIENCE_SECONDS: Final = 120
GRACE_SECONDS: Final = 60
OVERDUE_SECONDS: Final = max(GRACE_SECONDS, PATIENCE_SECONDS)
"""As Settings.overdue_seconds."""
JOB_TIMEOUT_SECONDS: Final = 86400
POLL_MIN_SECONDS: Final = 2
POLL_MAX_SECONDS: Final = 60
POLL_SECONDS: Final = 5
THROTTLED_SECONDS: Final = 30
DEADLINE_SECONDS: Final = PATIENCE_SECONDS * DEADLINE_SHARE

T = TypeVar("T")


class Answer(Enum):
    """What comes of a call."""

    GOOD = "good"
    REFUSED = "refused"
    """It was not carried out."""
    LOST = "lost"
    """It was carried out, and no answer came."""


Steps: TypeAlias = Generator[None, Answer, T]


class Process:
    """What the invocations of a process share; they die together.

    Attributes:
        gate: forms their batches.
        suspect: the one that works on what workers may have died of.
    """

    def __init__(self, world: World) -> None:
        """Begin with an empty gate."""
        self.gate = Gate(world, DEADLINE_SECONDS)
        self.suspect: Worker | None = None


@dataclass(eq=False)
class Worker:
    """An invocation.

    Attributes:
        steps: its work, which stops before each call.
        come_again: what the host does if it fails or dies.
        deadline: when it ends itself.
        has_ended: whether it has.
        versions: what it works on.
        unrecorded: what the service was paid for, and no record says so yet.
    """

    world: World
    process: Process
    come_again: Callable[[], None]
    started: datetime = field(init=False)
    deadline: datetime = field(init=False)
    steps: Steps[None] = field(init=False)
    has_ended: bool = False
    versions: set[Version] = field(default_factory=set)
    unrecorded: list[Payment] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Begin now."""
        self.started = self.world.now
        self.deadline = self.world.in_seconds(DEADLINE_SECONDS)

    def has(self, protection: Protection) -> bool:
        """Return whether the worker has a protection."""
        return protection not in self.world.without

    def works_on(self, members: Iterable[Member]) -> None:
        """Note what the worker works on."""
        self.versions = {Version(member.source.name, member.digest) for member in members}

    def befall(self) -> None:
        """Note that something went wrong that may count against what the worker works on."""
        self.world.befallen.update(self.versions)

    def take_suspect_turn(self) -> Steps[None]:
        """Wait until no other worker of the process works on what workers may have died of."""
        if not self.has(Protection.SUSPECTS):
            return
        while (other := self.process.suspect) is not None and other is not self and not other.has_ended:
            yield
        self.process.suspect = self

    def call(self, carry_out: Callable[..., T], *values: Any) -> Steps[T]:
        """Call storage; raises AzureError."""
        answer = yield
        if answer is not Answer.GOOD:
            self.befall()
        if answer is Answer.REFUSED:
            raise AzureError("refused")
        result = carry_out(*values)
        if answer is Answer.LOST:
            raise AzureError("not answered")
        return result

    def call_service(self, carry_out: Callable[..., T], *values: Any) -> Steps[T]:
        """Call the service; raises NerError."""
        answer = yield
        if answer is not Answer.GOOD:
            self.befall()
        if self.world.throttled:
            raise NerError("TooManyRequests", "", Remedy.WAIT, throttled=True)
        if answer is Answer.REFUSED:
            raise NerError("ServiceUnavailable", "", Remedy.WAIT)
        result = carry_out(*values)
        if answer is Answer.LOST:
            raise NerError("Timeout", "", Remedy.WAIT, is_unanswered=True)
        return result

    def post(self, payments: list[Payment]) -> Steps[str]:
        """Post a request; return the id of its job."""

        def accept() -> str:
            job_id = self.world.accept(payments)
            self.unrecorded = payments
            if self.world.silent:
                self.befall()
                raise NerError("Timeout", "", Remedy.WAIT, is_unanswered=True)
            return job_id

        try:
            return (yield from self.call_service(accept))
        except NerError:
            self.forget()
            raise

    def cancel(self, job_id: str) -> Steps[None]:
        """Cancel a job, as far as the service lets us."""
        try:
            yield from self.call_service(self.world.cancel, job_id)
        except NerError:
            return

    def forget(self) -> None:
        """Note that the job that was posted last is recorded by no worker."""
        self.world.forgotten.update(self.unrecorded)
        self.unrecorded = []

    def write_batch(self, turn: Turn, note: Callable[[], None] | None = None) -> Steps[str | None]:
        """Write a batch's record in place of the one that is stored; return the baton, None if that is lost.

        `note` is called as soon as the record is written, even if the answer is lost.
        """

        def write() -> str | None:
            stored = self.world.batches.get(turn.batch)
            known = turn.baton
            if not self.has(Protection.RECORD_CONDITION):
                known = stored.etag if stored else None
            baton = self.world.write_batch(turn.batch, turn.record, known)
            if baton is not None:
                self.unrecorded = []
                if note is not None:
                    note()
            return baton

        return (yield from self.call(write))

    def send(self, turn: Turn) -> Steps[None]:
        """Send the message of a batch; the record says when it is due."""
        delay = (turn.record.due - self.world.now).total_seconds()
        message = BatchMessage(batch=turn.batch, etag=turn.baton, record=turn.record)
        yield from self.call(self.world.send, message, delay)

    def reschedule_in(self, turn: Turn, seconds: float) -> Steps[bool]:
        """Continue a batch in that many seconds, or when its text may be submitted again."""
        due, latest = self.world.in_seconds(min(seconds, MAX_DUE_SECONDS)), self.world.in_seconds(MAX_DUE_SECONDS)
        if turn.record.not_before is not None:
            due = max(due, min(turn.record.not_before, latest))
        return (yield from self.reschedule(turn.changed(due=due)))

    def reschedule(self, turn: Turn) -> Steps[bool]:
        """Write a batch's record, then send its message; return False if another worker has the baton."""
        etag = yield from self.write_batch(turn)
        if etag is None:
            return False
        yield from self.send(turn._replace(baton=etag))
        return True

    def take_baton(self, turn: Turn) -> Steps[Turn | None]:
        """Make sure that no other worker continues a batch, before a step that is paid or that may kill this worker."""
        if not self.has(Protection.BATON_BEFORE_POST):
            return turn
        return (yield from self.begin_step(turn))

    def begin_step(self, turn: Turn) -> Steps[Turn | None]:
        """Record that a worker has begun the next step of a batch; return None if another worker continues it."""
        taken = yield from self.write_batch(turn.changed(due=self.world.now, tries=turn.record.tries + 1))
        return None if taken is None else turn._replace(baton=taken)
