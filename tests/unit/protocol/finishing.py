"""The model of `finishing` and `calling`: how a version ends, and what comes after a call that failed."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TypeVar

from azure.core.exceptions import AzureError

from shared.message import FileMessage, is_expired
from shared.ner.errors import NerError
from shared.outcome import OutcomeStatus
from shared.pipeline.decisions import Fail, after_call, after_refusal, after_unsure
from shared.pipeline.finishing import MAX_CONFLICTS
from shared.precedence import Verdict, may_write
from shared.state.batch import BatchKind, BatchRecord, Member
from shared.storage.blobs import OutcomeConflictError
from tests.unit.protocol.protections import Protection
from tests.unit.protocol.workers import (
    JOB_TIMEOUT_SECONDS,
    PATIENCE_SECONDS,
    POLL_MAX_SECONDS,
    POLL_MIN_SECONDS,
    Steps,
    Worker,
)
from tests.unit.protocol.world import Payment, Text

T = TypeVar("T")


def fail(me: Worker, member: Member) -> Steps[None]:
    """End a version that gave no entities."""
    yield from finish(me, member, OutcomeStatus.FAILED, [])


def finish(
    me: Worker, member: Member, status: OutcomeStatus, jobs: list[str], read: Callable[[], None] | None = None
) -> Steps[None]:
    """End a version with an outcome, for which something may have to be read, and release its claim."""
    decided = yield from write_if_newest(me, member, status, jobs, read)
    if decided is not Verdict.SUPERSEDED or not me.has(Protection.CLAIM_STAYS):
        yield from release_claim(me, member)


def release_claim(me: Worker, member: Member) -> Steps[None]:
    """Delete a member's claim, unless another worker has taken it over."""

    def release() -> None:
        if me.has(Protection.RELEASE_CONDITION):
            me.world.release_claim(member.source.name, member.claim_etag)
        else:
            me.world.claims.pop(member.source.name, None)

    yield from me.call(release)


def write_if_newest(
    me: Worker, member: Member, status: OutcomeStatus, jobs: list[str], read: Callable[[], None] | None
) -> Steps[Verdict]:
    """Write an outcome, unless the version has ended or been replaced."""
    source, replaced = member.source, member.outcome_etag
    for _ in range(MAX_CONFLICTS):
        if not (yield from is_allowed(me, member)):
            return Verdict.SUPERSEDED
        if read is not None:
            yield from me.call(read)
        try:
            yield from me.call(me.world.write_outcome, source, status, member.digest, jobs, replaced)
        except OutcomeConflictError:
            present = yield from me.call(me.world.present_outcome, source.name)
            if present is not None and present.source_etag == source.etag:
                return Verdict.ENDED
            replaced = present.etag if present else None
        else:
            return Verdict.WRITTEN
    raise OutcomeConflictError


def is_allowed(me: Worker, member: Member) -> Steps[bool]:
    """Return whether an outcome may be written in place of the present one."""
    newest = yield from me.call(me.world.newest, member.source.name)
    if newest is not None and not me.has(Protection.NEWEST_OUTCOME):
        return True
    holds_claim = newest is None and (not me.has(Protection.CLAIMED_OUTCOME) or (yield from holds(me, member)))
    return may_write(member.source, newest, holds_claim=holds_claim)


def holds(me: Worker, member: Member) -> Steps[bool]:
    """Return whether a version still has its file's claim."""
    found = yield from me.call(me.world.claims.get, member.source.name)
    return found is not None and found.etag == member.claim_etag


def give_up_version(me: Worker, batch: str, record: BatchRecord, baton: str | None) -> Steps[None]:
    """End a batch whose files were replaced or deleted."""
    for member in record.members:
        if not me.has(Protection.CLAIM_STAYS):
            yield from release_claim(me, member)
    yield from end_batch(me, batch, record, baton)


def end_batch(me: Worker, batch: str, record: BatchRecord, baton: str | None) -> Steps[None]:
    """Delete what was kept about a batch whose members have ended."""
    if record.kind is BatchKind.LEDGER:
        yield from me.call(me.world.ledgers.pop, batch, None)
        yield from me.call(me.world.results.discard, batch)
        baton = None
    if not me.has(Protection.OWN_RECORD):
        baton = None
    yield from me.call(me.world.delete_batch, batch, baton)


def after_failed_call(
    me: Worker, batch: str, record: BatchRecord, baton: str | None, error: NerError, *, since: datetime | None = None
) -> Steps[None]:
    """After a call that the service refused: continue the batch later, or end it."""
    decided = after_call(
        error,
        record,
        me.world.now,
        timeout_seconds=JOB_TIMEOUT_SECONDS,
        least=POLL_MIN_SECONDS,
        most=POLL_MAX_SECONDS,
        jitter=0.5,
        since=since,
    )
    is_submitted = record.submitted_date_time is not None
    if isinstance(decided, Fail):
        is_refused = not decided.overdue and not is_submitted
        if record.is_of_several and is_refused and me.has(Protection.DISSOLVE):
            yield from dissolve(me, batch, record, baton)
            return
        for member in record.members if is_refused else ():
            text = me.world.texts[member.source]
            assert text is Text.REFUSED, f"{member.source.name} fails because of another file"
        yield from fail_all(me, batch, record, baton)
        return
    if error.is_unanswered and record.submitted_date_time is None and me.has(Protection.UNANSWERED_DELAYS):
        again = after_unsure(record, me.world.now, PATIENCE_SECONDS)
        if again is None:
            yield from fail_all(me, batch, record, baton)
            return
        record = again
    yield from me.reschedule(batch, record, baton, decided.seconds)


def dissolve(
    me: Worker, batch: str, record: BatchRecord, baton: str | None, *, after_deaths: bool = False
) -> Steps[None]:
    """Let each file of a batch continue alone."""
    void = BatchRecord(kind=BatchKind.VOID, received_date_time=record.received_date_time, due=me.world.now)
    if me.has(Protection.VOID_FIRST) and (yield from me.write_batch(batch, void, baton)) is None:
        return
    if record.job is not None:
        me.world.repaid.update(payments_of(record))
    dissolved = None if after_deaths else batch
    messages = [
        FileMessage(file=member.source.name, dissolved=dissolved, due=me.world.now) for member in record.members
    ]
    yield from for_each(messages, lambda message: me.call(me.world.send, message))


def payments_of(record: BatchRecord) -> list[Payment]:
    """Return what a request of a batch is paid for."""
    return [Payment(member.source.name, member.source.etag, 0) for member in record.members]


def for_each(items: Iterable[T], step: Callable[[T], Steps[None]]) -> Steps[None]:
    """Take a step for all items; if storage refuses it for one of them, still take it for the others."""
    refused: Exception | None = None
    for item in items:
        try:
            yield from step(item)
        except (AzureError, OutcomeConflictError) as error:
            refused = refused or error
    if refused is not None:
        raise refused


def fail_all(me: Worker, batch: str, record: BatchRecord, baton: str | None) -> Steps[None]:
    """End a batch whose members gave no entities."""
    yield from for_each(record.members, lambda member: fail(me, member))
    if baton is not None:
        yield from end_batch(me, batch, record, baton)


def after_refused_call(me: Worker, batch: str, record: BatchRecord, baton: str) -> Steps[None]:
    """After a call that storage refused, or did not answer: continue the batch later."""
    now = me.world.now
    if record.submitted_date_time is None and is_expired(record.since, now, JOB_TIMEOUT_SECONDS):
        yield from fail_all(me, batch, record, baton)
        return
    seconds = after_refusal(record, now, least=POLL_MIN_SECONDS, most=POLL_MAX_SECONDS, jitter=0.5)
    yield from me.reschedule(batch, record, baton, seconds)
