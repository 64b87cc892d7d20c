"""The model of `posting`."""

from collections.abc import Sequence

import msgspec
from azure.core.exceptions import AzureError

from shared.ner.errors import NerError
from shared.pipeline.rescheduling import Turn
from shared.state.batch import BatchKind, SubmittedJob
from shared.state.claim import is_old
from shared.state.ledger import Ledger
from tests.unit.protocol.calling import after_failed_call
from tests.unit.protocol.dissolving import dissolve
from tests.unit.protocol.gate import File
from tests.unit.protocol.ledgers import post_all
from tests.unit.protocol.protections import Protection
from tests.unit.protocol.values import Payment
from tests.unit.protocol.workers import PATIENCE_SECONDS, POLL_SECONDS, Steps, Worker


def post_files(me: Worker, turn: Turn, files: Sequence[File]) -> Steps[None]:
    """Post the texts of a batch: as one job, or a long file as many, with a ledger."""
    if me.has(Protection.MEMBERS_SENT):
        placed = [msgspec.structs.replace(file.member, first_document=place) for place, file in enumerate(files)]
        files = [file._replace(member=member) for file, member in zip(files, placed, strict=True)]
        turn = turn.changed(members=placed)
    if all(file.is_one_request for file in files):
        yield from post(me, turn, files)
    elif len(files) > 1:
        yield from dissolve(me, turn)
    else:
        taken = yield from me.begin_step(turn.changed(kind=BatchKind.LEDGER))
        if taken is not None:
            yield from post_all(me, taken, Ledger(turn.batch) if me.has(Protection.LEDGER_CLAIM) else None)


def post(me: Worker, turn: Turn, files: Sequence[File]) -> Steps[None]:
    """Post the request of a batch, and record the job."""
    suspects = [file for file in files if file.member.claim_etag in me.world.suspects]
    assert not suspects or len(files) == 1, "a file that workers may have died of shares a request"
    payments = [Payment(file.member.source.name, file.member.source.etag, 0) for file in files]
    try:
        job_id = yield from me.post(payments)
    except NerError as error:
        yield from after_failed_call(me, turn, error)
        return
    submitted = turn.after_progress().changed(
        kind=BatchKind.JOB,
        job=SubmittedJob(job_id, len(payments), len(payments)),
        submitted_date_time=me.world.now,
        due=me.world.in_seconds(POLL_SECONDS),
    )
    try:
        etag = yield from me.write_batch(submitted)
    except AzureError:
        me.forget()
        yield from me.send(submitted)
        return
    if etag is None:
        is_slow = is_old(me.started, me.world.now, PATIENCE_SECONDS)
        assert is_slow, "a worker that was quick must be able to record its job"
        me.forget()
        yield from me.cancel(job_id)
        return
    yield from me.send(submitted._replace(baton=etag))
