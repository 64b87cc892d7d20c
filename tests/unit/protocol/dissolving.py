"""The model of `dissolving`."""

from shared.message import FileMessage
from shared.pipeline.gate import OPEN_SECONDS
from shared.pipeline.rescheduling import Turn
from shared.pipeline.services import MAX_DUE_SECONDS
from shared.state.batch import BatchKind, BatchRecord, Member
from tests.unit.protocol.finishing import for_each
from tests.unit.protocol.protections import Protection
from tests.unit.protocol.values import Payment
from tests.unit.protocol.workers import PATIENCE_SECONDS, Steps, Worker


def dissolve(me: Worker, turn: Turn, *, after_deaths: bool = False) -> Steps[None]:
    """Void a batch of several files, and send a message for each of them."""
    now, members, received = me.world.now, turn.record.members, turn.record.received_date_time
    dissolved = None if after_deaths or not me.has(Protection.LEAVE_BATCH) else turn.batch
    void = BatchRecord(kind=BatchKind.VOID, received_date_time=received, due=now)
    age = (now - received).total_seconds()
    wait = (turn.record.not_before - now).total_seconds() if turn.record.not_before else 0.0
    delay = min(max(PATIENCE_SECONDS + OPEN_SECONDS - age if after_deaths else wait, 0.0), MAX_DUE_SECONDS)

    def note() -> None:
        if turn.record.kind is BatchKind.JOB:
            me.world.dissolved.update(Payment(member.source.name, member.source.etag, 0) for member in members)

    def send(member: Member) -> Steps[None]:
        due = me.world.in_seconds(delay)
        name, unsure = member.source.name, turn.record.unsure
        message = FileMessage(file=name, dissolved=dissolved, unsure=unsure, due=due)
        yield from me.call(me.world.send, message, delay)

    if not me.has(Protection.VOID_FIRST):
        yield from for_each(me, members, send)
    if (yield from me.write_batch(Turn(turn.batch, void, turn.baton), note)) is None:
        return
    if me.has(Protection.VOID_FIRST):
        yield from for_each(me, members, send)
