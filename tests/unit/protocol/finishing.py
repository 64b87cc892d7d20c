"""The model of `finishing`: how a version ends."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from azure.core.exceptions import AzureError

from shared.outcome import OutcomeStatus
from shared.pipeline.finishing import MAX_CONFLICTS
from shared.pipeline.rescheduling import Turn
from shared.precedence import Verdict, may_write
from shared.state.batch import BatchKind, Member
from shared.storage.blobs import OutcomeConflictError
from tests.unit.protocol.protections import Protection
from tests.unit.protocol.values import Part
from tests.unit.protocol.workers import Steps, Worker

M = TypeVar("M")
T = TypeVar("T")


def for_each(me: Worker, members: Iterable[M], step: Callable[[M], Steps[T]]) -> Steps[list[T]]:
    """Take a step for all members of a batch; if it fails for one, still complete it for the others."""
    results: list[T] = []
    failed: Exception | None = None
    for member in members:
        try:
            results.append((yield from step(member)))
        except (AzureError, OutcomeConflictError) as error:
            if not me.has(Protection.OTHERS_FIRST):
                raise
            failed = failed or error
    if failed is not None:
        raise failed
    return results


def fail(me: Worker, member: Member) -> Steps[None]:
    """End a version that gave no entities."""
    yield from finish(me, member, OutcomeStatus.FAILED, [])


def finish(
    me: Worker, member: Member, status: OutcomeStatus, parts: list[Part], read: Callable[[], None] | None = None
) -> Steps[None]:
    """End a version with an outcome, for which something may have to be read, and release its claim."""
    decided = yield from write_if_newest(me, member, status, parts, read)
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
    me: Worker, member: Member, status: OutcomeStatus, parts: list[Part], read: Callable[[], None] | None
) -> Steps[Verdict]:
    """Write an outcome, unless the version has ended or been replaced."""
    source, replaced = member.source, member.outcome_etag
    for _ in range(MAX_CONFLICTS):
        if not (yield from is_allowed(me, member)):
            return Verdict.SUPERSEDED
        if read is not None:
            yield from me.call(read)
        try:
            yield from me.call(me.world.write_outcome, source, status, member.digest, parts, replaced)
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


def give_up_version(me: Worker, turn: Turn) -> Steps[None]:
    """End a batch whose files were replaced or deleted."""
    for member in turn.record.members:
        if not me.has(Protection.CLAIM_STAYS):
            yield from release_claim(me, member)
    yield from end_batch(me, turn)


def fail_members(me: Worker, turn: Turn) -> Steps[None]:
    """Write a failed outcome for each member of a batch."""
    yield from for_each(me, turn.record.members, lambda member: fail(me, member))


def fail_batch(me: Worker, turn: Turn) -> Steps[None]:
    """End a batch, with a failed outcome for each member."""
    yield from fail_members(me, turn)
    yield from end_batch(me, turn)


def end_batch(me: Worker, turn: Turn) -> Steps[None]:
    """Delete the record, the ledger and the results of a batch that has ended."""
    baton = turn.baton if me.has(Protection.OWN_RECORD) else None
    if turn.record.kind is BatchKind.LEDGER:
        yield from me.call(me.world.ledgers.pop, turn.batch, None)
        yield from me.call(me.world.results.discard, turn.batch)
        baton = None
    yield from me.call(me.world.delete_batch, turn.batch, baton)
