"""The model of `ledger_posting` and `collecting`: files of many jobs."""

from typing import Final

from azure.core.exceptions import AzureError

from shared.merging import MergeState
from shared.message import is_expired
from shared.ner.errors import NerError
from shared.outcome import OutcomeStatus, ServiceJob
from shared.pipeline.decisions import after_unsure
from shared.pipeline.ledger_posting import WORKING_SHARE
from shared.pipeline.rescheduling import Turn
from shared.source import Position
from shared.state.claim import is_old
from shared.state.ledger import CollectedEntry, FileEntry, JobEntry, Ledger
from shared.storage.ledgers import LedgerConflictError, ResultsGoneError
from tests.unit.protocol.calling import after_failed_call, after_refused_call
from tests.unit.protocol.finishing import end_batch, fail_batch, finish, give_up_version
from tests.unit.protocol.protections import Protection
from tests.unit.protocol.values import JobState, Payment
from tests.unit.protocol.workers import JOB_TIMEOUT_SECONDS, PATIENCE_SECONDS, POLL_SECONDS, Steps, Worker
from tests.unit.protocol.world import REQUESTS

WORKING_SECONDS: Final = PATIENCE_SECONDS * WORKING_SHARE


class UnrecordedJobError(Exception):
    """The service has accepted a job of a ledger, and storage refused to record it."""


def post_all(me: Worker, turn: Turn, ledger: Ledger | None) -> Steps[None]:
    """Post what the ledger of a file lacks."""
    source, end_of_work = turn.record.members[0].source, me.world.in_seconds(WORKING_SECONDS)
    if ledger is None:
        ledger = yield from me.call(me.world.read_ledger, turn.batch)
    before = len(ledger.requests)
    try:
        if ledger.file is None:
            yield from me.call(me.world.append, ledger, FileEntry(source, REQUESTS, []))
        while (start := ledger.next_start) is not None:
            yield from post_one(me, ledger, Payment(source.name, source.etag, start.document))
            if me.world.now >= end_of_work:
                break
    except LedgerConflictError:
        return
    except UnrecordedJobError:
        turn = turn.after_progress() if len(ledger.requests) > before else turn
        yield from after_unrecorded_job(me, turn)
    except AzureError:
        yield from after_refused_call(me, turn)
    except NerError as error:
        turn = turn.after_progress() if len(ledger.requests) > before else turn
        yield from after_failed_call(me, turn, error, since=ledger.active)
    else:
        yield from after_posting(me, turn.after_progress(), ledger)


def after_posting(me: Worker, turn: Turn, ledger: Ledger) -> Steps[None]:
    """Continue a file: at once if there is more to post, else when its first job is due."""
    due = me.world.now
    if ledger.next_start is None:
        turn, due = turn.changed(submitted_date_time=ledger.active), me.world.in_seconds(POLL_SECONDS)
    yield from me.reschedule(turn.changed(due=due))


def after_unrecorded_job(me: Worker, turn: Turn) -> Steps[None]:
    """Continue later after a job that was paid in vain, or give the file up after a few of them."""
    again = after_unsure(turn.record, me.world.now, PATIENCE_SECONDS)
    if again is None:
        yield from fail_batch(me, turn)
        return
    yield from me.reschedule_in(turn._replace(record=again), 0.0)


def post_one(me: Worker, ledger: Ledger, payment: Payment) -> Steps[None]:
    """Post a request of a file of many jobs, and record its job."""
    job_id = yield from me.post([payment])
    following = payment.request + 1
    entry = JobEntry(
        job_id=job_id,
        documents_count=1,
        transactions_count=1,
        start=Position(payment.request),
        end=Position(following) if following < REQUESTS else None,
        submitted_date_time=me.world.now,
    )

    def append() -> None:
        me.world.append(ledger, entry)
        me.unrecorded = []

    try:
        yield from me.call(append)
    except LedgerConflictError:
        is_slow = is_old(me.started, me.world.now, PATIENCE_SECONDS)
        assert is_slow, "a worker that was quick must be able to record its job"
        me.forget()
        yield from me.cancel(job_id)
        raise
    except AzureError:
        me.forget()
        if not me.has(Protection.UNSURE_ENTRY):
            yield from me.cancel(job_id)
        raise UnrecordedJobError from None


def collect(me: Worker, turn: Turn, ledger: Ledger) -> Steps[None]:
    """Collect the jobs that have ended, and write the outcome once all have."""
    expired = is_expired(turn.record.since, me.world.now, JOB_TIMEOUT_SECONDS)
    before = ledger.collected_count
    try:
        while ledger.collected_count < len(ledger.requests):
            job = ledger.jobs[ledger.collected_count]
            state = yield from me.call_service(me.world.look, job.job_id)
            if state is JobState.RUNNING and not expired:
                due = me.world.in_seconds(POLL_SECONDS)
                yield from me.reschedule(turn.after_progress().changed(due=due))
                return
            # What failed, or runs after the time limit, gives no entities.
            has_entities = state not in (JobState.RUNNING, JobState.FAILED)
            summaries = [ServiceJob(job.job_id, state.value)] if has_entities else []
            kept = yield from me.call(me.world.append_results, ledger)
            entry = CollectedEntry(requests_count=1, jobs=summaries, documents=kept, errors=[], state=MergeState())
            yield from me.call(me.world.append, ledger, entry)
        parts = [part for entry in ledger.collected for job in entry.jobs for part in me.world.parts(job.job_id)]

        member = turn.record.members[0]
        yield from finish(me, member, OutcomeStatus.SUCCEEDED, parts, lambda: me.world.read_results(turn.batch))
        yield from end_batch(me, turn)
    except LedgerConflictError:
        return
    except ResultsGoneError:
        yield from give_up_version(me, turn)
    except NerError as error:
        since = me.world.now if ledger.collected_count > before else None
        yield from after_failed_call(me, turn, error, since=since)
