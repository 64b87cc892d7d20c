"""The model of `polling` and `running`: the next step of a batch, and what comes after a refusal of storage."""

from typing import NamedTuple

import msgspec
from azure.core.exceptions import AzureError

from shared.message import BatchMessage, FileMessage, decode_message, is_expired
from shared.ner.errors import NerError
from shared.outcome import OutcomeStatus
from shared.pipeline.decisions import before_last_try
from shared.pipeline.running import REFUSALS, TRY_AGAIN_SECONDS
from shared.settings import LAST_SHARE
from shared.state.batch import BatchKind, BatchRecord, Member, SubmittedJob
from shared.state.claim import MAX_TRIES
from tests.unit.protocol.finishing import (
    after_failed_call,
    after_refused_call,
    dissolve,
    end_batch,
    fail,
    fail_all,
    finish,
    for_each,
    give_up_version,
    holds,
)
from tests.unit.protocol.ledgers import collect, post_all
from tests.unit.protocol.protections import Protection
from tests.unit.protocol.submitting import post_files, submit, submit_together
from tests.unit.protocol.workers import (
    JOB_TIMEOUT_SECONDS,
    PATIENCE_SECONDS,
    POLL_MAX_SECONDS,
    POLL_SECONDS,
    THROTTLED_SECONDS,
    Steps,
    Worker,
)
from tests.unit.protocol.world import JobState, Text, Upload


class Turn(NamedTuple):
    """What a worker works on: the record of a batch, and its baton."""

    record: BatchRecord
    baton: str | None


def on_events(me: Worker, names: list[str], *, has_late: bool = False) -> Steps[None]:
    """Submit files that the host tells of at the same time; the last one may be late for its batch."""
    wanted = [FileMessage(file=name) for name in names]
    try:
        found = yield from submit_together(me, wanted, has_late=has_late)
        refused = [each for each, _ in found]
    except REFUSALS:
        me.forget()
        refused = wanted
    me.deadline = me.world.in_seconds(PATIENCE_SECONDS * LAST_SHARE) if refused else me.deadline
    for each in refused:
        try:
            yield from me.call(me.world.send, each, TRY_AGAIN_SECONDS)
        except (AzureError, TimeoutError):
            continue


def on_message(me: Worker, text: str, *, comes_again: bool) -> Steps[None]:
    """Do what a message says; raises what the app raises, after which the host delivers it again."""
    message = decode_message(text, "incoming")
    if isinstance(message, FileMessage):
        try:
            yield from submit(me, message)
        except REFUSALS:
            me.forget()
            if message.replaces is not None:
                raise
        return
    try:
        turn = yield from find_turn(me, message)
        if turn and (comes_again or turn.record.tries):
            turn = yield from count_try(me, message.batch, turn, comes_again=comes_again)
        if turn:
            message = BatchMessage(batch=message.batch, etag=turn.baton, record=turn.record)
            yield from poll(me, message.batch, turn)
    except REFUSALS:
        me.forget()
        me.deadline = me.world.in_seconds(PATIENCE_SECONDS * LAST_SHARE)
        yield from back_off(me, message)


def back_off(me: Worker, message: BatchMessage) -> Steps[None]:
    """Continue a batch later."""
    record, baton = message.record, message.etag
    if baton is None:
        if record is not None:
            later = msgspec.structs.replace(record, due=me.world.in_seconds(POLL_MAX_SECONDS))
            yield from me.send(message.batch, later, None)
        return
    stored = yield from me.call(me.world.batches.get, message.batch)
    if stored is None or stored.value.kind is BatchKind.VOID:
        return
    if stored.etag != baton and me.has(Protection.OWN_BATON):
        return
    if stored.etag != baton or record is None or not me.has(Protection.JOB_IN_MESSAGE):
        record = stored.value
    yield from after_refused_call(me, message.batch, record, stored.etag)


def find_turn(me: Worker, message: BatchMessage) -> Steps[Turn | None]:
    """Return what a message says is next; None if another worker continues the batch, or it has ended."""
    if message.record is not None:
        return Turn(message.record, message.etag)
    stored = yield from me.call(me.world.batches.get, message.batch)
    return None if stored is None or stored.etag != message.etag else Turn(stored.value, stored.etag)


def count_try(me: Worker, batch: str, turn: Turn, *, comes_again: bool) -> Steps[Turn | None]:
    """Count this worker, since another one may have died of the same step; end a batch that too many have died of."""
    record = turn.record
    if record.is_of_several and (record.kind is BatchKind.WAITING or record.tries > MAX_TRIES):
        yield from dissolve(me, batch, record, turn.baton, after_deaths=True)
        return None
    if record.tries >= MAX_TRIES and record.is_of_several:
        later = msgspec.structs.replace(record, tries=record.tries + 1)
        yield from me.reschedule(batch, later, turn.baton, before_last_try(MAX_TRIES - 1, PATIENCE_SECONDS))
        return None
    if record.tries >= MAX_TRIES and me.has(Protection.MAX_BATCH_TRIES):
        yield from fail_all(me, batch, record, turn.baton or "")
        return None
    record = msgspec.structs.replace(record, tries=max(record.tries, int(comes_again)))
    baton = yield from me.take_baton(batch, record, turn.baton)
    return None if baton is None else Turn(record, baton)


def poll(me: Worker, batch: str, turn: Turn) -> Steps[None]:
    """Do what is next about a batch."""
    record, baton = turn
    is_early = record.not_before is not None and me.world.now < record.not_before
    if (me.world.closed or is_early) and not is_expired(record.since, me.world.now, JOB_TIMEOUT_SECONDS):
        yield from me.reschedule(batch, record, baton, THROTTLED_SECONDS)
        return
    match record.kind:
        case BatchKind.WAITING:
            yield from continue_posting(me, batch, record, baton)
        case BatchKind.JOB if record.job is not None:
            yield from poll_job(me, batch, record, baton, record.job)
        case BatchKind.LEDGER:
            yield from continue_with_ledger(me, batch, record, baton)
        case _:
            pass


def poll_job(me: Worker, batch: str, record: BatchRecord, baton: str | None, submitted: SubmittedJob) -> Steps[None]:
    """Ask for a job: end its batch if it has ended, else ask again later."""
    try:
        state = yield from me.call_service(me.world.jobs.__getitem__, submitted.job_id)
    except NerError as error:
        yield from after_failed_call(me, batch, record, baton, error)
        return
    is_late = is_expired(record.since, me.world.now, JOB_TIMEOUT_SECONDS)
    if state is JobState.RUNNING and not is_late:
        yield from me.reschedule(batch, record.after_progress(), baton, POLL_SECONDS)
        return
    if state is JobState.FAILED and record.is_of_several:
        yield from dissolve(me, batch, record, baton)
        return

    def end(member: Member) -> Steps[None]:
        if state is JobState.SUCCEEDED or state is JobState.CANCELLED:
            return finish(me, member, OutcomeStatus.SUCCEEDED, [submitted.job_id])
        text = me.world.texts[member.source]
        assert state is JobState.RUNNING or text is Text.FAILING, "a file fails because of another one"
        return fail(me, member)

    yield from for_each(record.members, end)
    yield from end_batch(me, batch, record, baton)
    if state is JobState.RUNNING:
        yield from me.cancel(submitted.job_id)


def continue_posting(me: Worker, batch: str, record: BatchRecord, baton: str | None) -> Steps[None]:
    """Post what the service could not take before."""
    if is_expired(record.since, me.world.now, JOB_TIMEOUT_SECONDS):
        yield from fail_all(me, batch, record, baton or "")
        return
    taken = yield from me.take_baton(batch, record, baton)
    if taken is None:
        return
    files = yield from read_again(me, batch, record, taken)
    if files:
        record = msgspec.structs.replace(record, members=[member for member, _ in files])
        yield from post_files(me, batch, record, taken, [upload for _, upload in files])


def read_again(me: Worker, batch: str, record: BatchRecord, baton: str) -> Steps[list[tuple[Member, Upload]]]:
    """Return the files of a batch that can still be posted; none if it has ended, or is continued later."""
    found: list[tuple[Member, Upload]] = []
    try:
        for member in record.members:
            upload = yield from me.call(me.world.read_upload, member.source.name, member.source.etag)
            if upload is not None:
                found.append((member, upload))
    except AzureError:
        yield from after_refused_call(me, batch, record, baton)
        return []
    if not found:
        yield from give_up_version(me, batch, record, baton)
    return found


def continue_with_ledger(me: Worker, batch: str, record: BatchRecord, baton: str | None) -> Steps[None]:
    """Post or collect what is left of a file of many jobs."""
    if not me.has(Protection.LEDGER_CLAIM) and not (yield from holds(me, record.members[0])):
        yield from give_up_version(me, batch, record, baton)
        return
    ledger = yield from me.call(me.world.read_ledger, batch)
    if me.has(Protection.LEDGER_CLAIM) and not (yield from holds(me, record.members[0])):
        yield from give_up_version(me, batch, record, baton)
        return
    if ledger.next_start is None:
        yield from collect(me, batch, record, baton, ledger)
        return
    if is_expired(record.since, me.world.now, JOB_TIMEOUT_SECONDS):
        yield from fail_all(me, batch, record, baton or "")
        return
    taken = yield from me.take_baton(batch, record, baton)
    if taken is None:
        return
    if (yield from read_again(me, batch, record, taken)):
        yield from post_all(me, batch, record, taken, ledger if me.has(Protection.LEDGER_CLAIM) else None)
