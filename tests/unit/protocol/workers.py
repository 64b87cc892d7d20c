"""An invocation of the model: it stops before each call, where it may be overtaken, refused, stopped or die."""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any, Final, TypeAlias, TypeVar

import msgspec
from azure.core.exceptions import AzureError

from shared.message import BatchMessage
from shared.ner.errors import NerError, Remedy
from shared.pipeline.services import MAX_DUE_SECONDS
from shared.settings import DEADLINE_SHARE
from shared.state.batch import BatchRecord
from tests.unit.protocol.protections import Protection
from tests.unit.protocol.world import Payment, World

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


@dataclass(eq=False)
class Worker:
    """An invocation.

    Attributes:
        steps: its work, which stops before each call.
        come_again: what the host does if it fails or dies.
        deadline: when it ends itself.
        unrecorded: what the service was paid for, and no record says so yet.
    """

    world: World
    come_again: Callable[[], None]
    started: datetime = field(init=False)
    deadline: datetime = field(init=False)
    steps: Steps[None] = field(init=False)
    unrecorded: list[Payment] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Begin now."""
        self.started = self.world.now
        self.deadline = self.world.in_seconds(DEADLINE_SECONDS)

    def has(self, protection: Protection) -> bool:
        """Return whether the worker has a protection."""
        return protection not in self.world.without

    def call(self, carry_out: Callable[..., T], *values: Any) -> Steps[T]:
        """Call storage; raises AzureError."""
        answer = yield
        if answer is Answer.REFUSED:
            raise AzureError("refused")
        result = carry_out(*values)
        if answer is Answer.LOST:
            raise AzureError("not answered")
        return result

    def call_service(self, carry_out: Callable[..., T], *values: Any) -> Steps[T]:
        """Call the service; raises NerError."""
        answer = yield
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
            self.unrecorded = payments
            job_id = self.world.accept(payments)
            if self.world.silent:
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

    def write_batch(self, batch: str, record: BatchRecord, known: str | None) -> Steps[str | None]:
        """Write a batch's record in place of the one with the etag `known`; return the baton, None if that is lost."""

        def write() -> str | None:
            stored = self.world.batches.get(batch)
            etag = known
            if not self.has(Protection.RECORD_CONDITION):
                etag = stored.etag if stored else None
            baton = self.world.write_batch(batch, record, etag)
            if baton is not None:
                self.unrecorded = []
            return baton

        return (yield from self.call(write))

    def send(self, batch: str, record: BatchRecord, baton: str | None) -> Steps[None]:
        """Send the message of a batch; the record says when it is due."""
        delay = (record.due - self.world.now).total_seconds()
        yield from self.call(self.world.send, BatchMessage(batch=batch, etag=baton, record=record), delay)

    def reschedule(self, batch: str, record: BatchRecord, baton: str | None, seconds: float) -> Steps[bool]:
        """Continue a batch in that many seconds; return False if another worker has its baton."""
        due = self.world.in_seconds(min(seconds, MAX_DUE_SECONDS))
        if record.not_before is not None:
            due = max(due, min(record.not_before, self.world.in_seconds(MAX_DUE_SECONDS)))
        record = msgspec.structs.replace(record, due=due)
        etag = yield from self.write_batch(batch, record, baton)
        if etag is None:
            return False
        yield from self.send(batch, record, etag)
        return True

    def take_baton(self, batch: str, record: BatchRecord, baton: str | None) -> Steps[str | None]:
        """Make sure that no other worker continues a batch; return the new baton, None if another worker does."""
        if not self.has(Protection.BATON_BEFORE_POST):
            return baton
        return (yield from self.begin_step(batch, record, baton))

    def begin_step(self, batch: str, record: BatchRecord, baton: str | None) -> Steps[str | None]:
        """Record that a worker has begun the next step of a batch."""
        begun = msgspec.structs.replace(record, due=self.world.now, tries=record.tries + 1)
        return (yield from self.write_batch(batch, begun, baton))
