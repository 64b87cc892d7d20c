"""The model of `calling`: the next step after a failed call."""

from datetime import datetime

from shared.message import is_expired
from shared.ner.errors import NerError
from shared.pipeline.decisions import Fail, Later, after_call, after_refusal, after_unsure
from shared.pipeline.rescheduling import Turn
from tests.unit.protocol.dissolving import dissolve
from tests.unit.protocol.finishing import end_batch, fail_batch, fail_members
from tests.unit.protocol.protections import Protection
from tests.unit.protocol.workers import (
    JOB_TIMEOUT_SECONDS,
    PATIENCE_SECONDS,
    POLL_MAX_SECONDS,
    POLL_MIN_SECONDS,
    Steps,
    Worker,
)


def after_failed_call(me: Worker, turn: Turn, error: NerError, *, since: datetime | None = None) -> Steps[None]:
    """Continue a batch later, dissolve it, or end it, after the service refused a call."""
    is_submitted = turn.record.submitted_date_time is not None
    decided = after_call(
        error,
        turn.record,
        me.world.now,
        timeout_seconds=JOB_TIMEOUT_SECONDS,
        least=POLL_MIN_SECONDS,
        most=POLL_MAX_SECONDS,
        jitter=0.5,
        since=since,
    )
    is_unsure = error.is_unanswered and not is_submitted
    if is_unsure and isinstance(decided, Later) and me.has(Protection.UNANSWERED_DELAYS):
        again = after_unsure(turn.record, me.world.now, PATIENCE_SECONDS)
        if again is None:
            decided = Fail(overdue=False)
        else:
            turn = turn._replace(record=again)
            if turn.record.is_of_several and again.unsure > 1:
                yield from dissolve(me, turn)
                return
    if isinstance(decided, Fail):
        may_be_paid = is_submitted or error.is_unanswered
        if (
            turn.record.is_of_several
            and not may_be_paid
            and not decided.overdue
            and me.has(Protection.DISSOLVE_REFUSED)
        ):
            yield from dissolve(me, turn)
            return
        yield from fail_members(me, turn)
        if turn.baton is not None:
            yield from end_batch(me, turn)
        return
    yield from me.reschedule_in(turn.changed(tries=0), decided.seconds)


def after_refused_call(me: Worker, turn: Turn) -> Steps[None]:
    """Continue a batch later, after storage refused a call or did not respond."""
    now = me.world.now
    if turn.record.submitted_date_time is None and is_expired(turn.record.since, now, JOB_TIMEOUT_SECONDS):
        yield from fail_batch(me, turn)
        return
    seconds = after_refusal(turn.record, now, least=POLL_MIN_SECONDS, most=POLL_MAX_SECONDS, jitter=0.5)
    yield from me.reschedule_in(turn, seconds)
