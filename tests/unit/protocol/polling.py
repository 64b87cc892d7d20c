"""The model of `polling` and `running`: the next step of a batch, and the step after storage refused a call."""

from azure.core.exceptions import AzureError

from shared.message import BatchMessage, FileMessage, decode_message, is_expired
from shared.ner.errors import NerError
from shared.outcome import OutcomeStatus
from shared.pipeline.decisions import before_last_try
from shared.pipeline.rescheduling import Turn
from shared.pipeline.running import REFUSALS, TRY_AGAIN_SECONDS
from shared.settings import LAST_SHARE
from shared.state.batch import BatchKind, Member, SubmittedJob
from shared.state.claim import MAX_TRIES
from shared.storage.blobs import OutcomeConflictError
from tests.unit.protocol.calling import after_failed_call, after_refused_call
from tests.unit.protocol.dissolving import dissolve
from tests.unit.protocol.finishing import end_batch, fail, fail_batch, finish, give_up_version, holds
from tests.unit.protocol.gate import File
from tests.unit.protocol.ledgers import collect, post_all
from tests.unit.protocol.posting import post_files
from tests.unit.protocol.protections import Protection
from tests.unit.protocol.submitting import submit
from tests.unit.protocol.values import JobState
from tests.unit.protocol.workers import (
    JOB_TIMEOUT_SECONDS,
    PATIENCE_SECONDS,
    POLL_MAX_SECONDS,
    POLL_SECONDS,
    THROTTLED_SECONDS,
    Steps,
    Worker,
)


def on_event(me: Worker, name: str) -> Steps[None]:
    """Submit a file that the host reports."""
    wanted = FileMessage(file=name)
    try:
        yield from submit(me, wanted)
    except REFUSALS:
        me.forget()
        me.deadline = me.world.in_seconds(PATIENCE_SECONDS * LAST_SHARE)
        try:
            yield from me.call(me.world.send, wanted, TRY_AGAIN_SECONDS)
        except (AzureError, TimeoutError):
            return


def on_message(me: Worker, text: str, *, comes_again: bool) -> Steps[None]:
    """Process a message. Raises the errors of the app, after which the host delivers the message again."""
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
        comes_again = comes_again and turn is not None and turn.record.kind is not BatchKind.WAITING
        if turn and (comes_again or turn.record.tries):
            if comes_again or turn.record.tries > 1:
                yield from me.take_suspect_turn()
            turn = yield from count_try(me, turn, comes_again=comes_again)
        if turn:
            message = BatchMessage(batch=message.batch, etag=turn.baton, record=turn.record)
            yield from poll(me, turn)
    except REFUSALS:
        me.forget()
        me.deadline = me.world.in_seconds(PATIENCE_SECONDS * LAST_SHARE)
        yield from back_off(me, message)


def back_off(me: Worker, message: BatchMessage) -> Steps[None]:
    """Continue a batch later, unless another worker has its baton."""
    record, baton = message.record, message.etag
    if baton is None:
        if record is not None:
            due = me.world.in_seconds(POLL_MAX_SECONDS)
            yield from me.send(Turn(message.batch, record, None).changed(due=due))
        return
    stored = yield from me.call(me.world.batches.get, message.batch)
    if stored is None or stored.value.kind is BatchKind.VOID:
        return
    if stored.etag != baton and me.has(Protection.OWN_BATON):
        return
    if stored.etag != baton or record is None or not me.has(Protection.JOB_IN_MESSAGE):
        record = stored.value
    yield from after_refused_call(me, Turn(message.batch, record, stored.etag))


def find_turn(me: Worker, message: BatchMessage) -> Steps[Turn | None]:
    """Return the turn that a message starts; None if another worker continues the batch, or it has ended."""
    if message.record is not None:
        me.works_on(message.record.members)
        return Turn(message.batch, message.record, message.etag)
    stored = yield from me.call(me.world.batches.get, message.batch)
    return None if stored is None or stored.etag != message.etag else Turn(message.batch, *stored)


def count_try(me: Worker, turn: Turn, *, comes_again: bool) -> Steps[Turn | None]:
    """Count this try, because a worker may have died of the same step; end a batch that too many have died of."""
    record = turn.record
    may_dissolve = record.is_of_several and me.has(Protection.DISSOLVE_DEAD)
    is_waiting = record.kind is BatchKind.WAITING and me.has(Protection.DISSOLVE_WAITING)
    if may_dissolve and (is_waiting or record.tries > MAX_TRIES):
        yield from dissolve(me, turn, after_deaths=True)
        return None
    if record.tries >= MAX_TRIES and me.has(Protection.MAX_BATCH_TRIES):
        if may_dissolve:
            delay = before_last_try(MAX_TRIES - 1, PATIENCE_SECONDS)
            yield from me.reschedule_in(turn.changed(tries=record.tries + 1), delay)
        else:
            yield from fail_batch(me, turn)
        return None
    return (yield from me.take_baton(turn.changed(tries=max(record.tries, int(comes_again)))))


def poll(me: Worker, turn: Turn) -> Steps[None]:
    """Take the next step of a batch."""
    record = turn.record
    is_early = record.not_before is not None and me.world.now < record.not_before
    if (me.world.closed or is_early) and not is_expired(record.since, me.world.now, JOB_TIMEOUT_SECONDS):
        yield from me.reschedule_in(turn, THROTTLED_SECONDS if me.world.closed else 0)
        return
    match record.kind:
        case BatchKind.WAITING:
            yield from post_later(me, turn)
        case BatchKind.JOB if record.job is not None:
            yield from poll_job(me, turn, record.job)
        case BatchKind.LEDGER:
            yield from continue_with_ledger(me, turn)
        case _:
            pass


def poll_job(me: Worker, turn: Turn, submitted: SubmittedJob) -> Steps[None]:
    """Poll a job: end its batch if the job has ended, else poll again later."""
    try:
        state = yield from me.call_service(me.world.look, submitted.job_id)
    except NerError as error:
        yield from after_failed_call(me, turn, error)
        return
    if state is not JobState.RUNNING:
        yield from after_job(me, turn, submitted, state)
    elif is_expired(turn.record.since, me.world.now, JOB_TIMEOUT_SECONDS):
        if turn.record.is_of_several and me.has(Protection.DISSOLVE_FAILED):
            yield from dissolve(me, turn)
        else:
            yield from fail_batch(me, turn)
        yield from me.cancel(submitted.job_id)
    else:
        yield from me.reschedule_in(turn.after_progress(), POLL_SECONDS)


def after_job(me: Worker, turn: Turn, submitted: SubmittedJob, state: JobState) -> Steps[None]:
    """End a batch whose job has ended: each file with its own part of the results."""
    record, has_failed = turn.record, state is JobState.FAILED
    if has_failed and record.is_of_several and me.has(Protection.DISSOLVE_FAILED):
        yield from dissolve(me, turn)
        return

    parts, refused = me.world.parts(submitted.job_id), list[Member]()

    def end(member: Member) -> Steps[None]:
        if has_failed:
            yield from fail(me, member)
        else:
            yield from finish(me, member, OutcomeStatus.SUCCEEDED, [parts[member.first_document]])

    for member in record.members:
        try:
            yield from end(member)
        except (AzureError, OutcomeConflictError):
            if not me.has(Protection.OTHERS_FIRST) or len(record.members) == 1:
                raise
            refused.append(member)
    if refused:
        yield from after_refused_call(me, turn.changed(members=refused))
    else:
        yield from end_batch(me, turn)


def post_later(me: Worker, turn: Turn) -> Steps[None]:
    """Post texts that the service could not accept before."""
    if is_expired(turn.record.since, me.world.now, JOB_TIMEOUT_SECONDS):
        yield from fail_batch(me, turn)
        return
    taken = yield from me.take_baton(turn)
    if taken is None:
        return
    files = yield from read_again(me, taken)
    if files:
        members = [file.member for file in files]
        yield from post_files(me, taken.changed(members=members) if me.has(Protection.MEMBERS_SENT) else taken, files)


def read_again(me: Worker, turn: Turn) -> Steps[list[File]]:
    """Return the files of a batch that can still be posted; empty if the batch has ended or continues later."""
    received = turn.record.received_date_time

    def read(member: Member) -> Steps[File | None]:
        upload = yield from me.call(me.world.read_upload, member.source.name, member.source.etag)
        return None if upload is None else File(member, upload, received)

    files, refused = list[File](), 0
    for member in turn.record.members:
        try:
            file = yield from read(member)
        except AzureError:
            refused += 1
        else:
            files += [file] if file else []
    if refused and refused < len(turn.record.members):
        yield from dissolve(me, turn)
        return []
    if refused:
        yield from after_refused_call(me, turn)
        return []
    if not files:
        yield from give_up_version(me, turn)
    return files


def continue_with_ledger(me: Worker, turn: Turn) -> Steps[None]:
    """Post or collect the rest of a file of many jobs."""
    member = turn.record.members[0]
    if not me.has(Protection.LEDGER_CLAIM) and not (yield from holds(me, member)):
        yield from give_up_version(me, turn)
        return
    ledger = yield from me.call(me.world.read_ledger, turn.batch)
    if me.has(Protection.LEDGER_CLAIM) and not (yield from holds(me, member)):
        yield from give_up_version(me, turn)
        return
    if ledger.next_start is None:
        yield from collect(me, turn, ledger)
        return
    if is_expired(turn.record.since, me.world.now, JOB_TIMEOUT_SECONDS):
        yield from fail_batch(me, turn)
        return
    taken = yield from me.take_baton(turn)
    files = (yield from read_again(me, taken)) if taken else []
    if taken and files:
        yield from post_all(me, taken, ledger if me.has(Protection.LEDGER_CLAIM) else None)
