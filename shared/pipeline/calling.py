"""Calls to the service: how long they may take, when the next one is due, and what happens after one that failed."""

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from shared import outcome as outcomes
from shared.delays import MOST_TRANSACTIONS
from shared.merging import numbered
from shared.message import is_expired
from shared.ner.errors import NerError, Remedy
from shared.ner.model import Problem
from shared.packing import Request
from shared.pipeline.decisions import Fail, Later, after_call, after_refusal, after_unsure
from shared.pipeline.finishing import REFUSED, end_batch, fail_batch, fail_members
from shared.pipeline.rescheduling import due_in, names_of, reschedule
from shared.pipeline.services import Services
from shared.source import Source
from shared.state.batch import BatchRecord, SubmittedJob
from shared.state.claim import BatchId
from shared.storage.errors import reason_of

log = logging.getLogger("ner")

CALL_SHARE: Final = 0.5
"""The part of NER_SUBMIT_TIMEOUT_SECONDS that one submit call may take; the rest is for recording its result."""
LONGEST_DISPLAY_NAME: Final = 256


async def submit_request(services: Services, request: Request, source: Source) -> str:
    """Submit a request and return the ID of its job. Raises NerError."""
    within = services.settings.submit_timeout_seconds * CALL_SHARE
    return await services.ner.submit(numbered(request.documents), display_name(source), within)


def next_poll(services: Services, job: SubmittedJob | None, age_seconds: float) -> float:
    """Return the delay, in seconds, before a job of that age is polled."""
    size = job.transactions_count if job else MOST_TRANSACTIONS
    return services.delays.next_delay(size, age_seconds, services.random.uniform(-1, 1))


async def after_failed_call(
    services: Services,
    batch: BatchId,
    record: BatchRecord,
    baton: str | None,
    error: NerError,
    *,
    jobs: Sequence[SubmittedJob] = (),
    since: datetime | None = None,
) -> None:
    """Continue a batch later, or end it, after a call to the service failed.

    Args:
        services: connections.
        batch: ID of the batch.
        record: the batch's record.
        baton: ETag of the record; None if it has not been written yet.
        error: why the call failed.
        jobs: the jobs that the service has accepted, if they are not in the record.
        since: when the wait began, if not at the time in the record.
    """
    name, settings = record.members[0].source.name, services.settings
    if error.throttled:
        services.throttle(error.retry_after)
    decided = after_call(
        error,
        record,
        services.now(),
        timeout_seconds=settings.job_timeout_seconds,
        least=settings.poll_min_seconds,
        most=settings.poll_max_seconds,
        jitter=services.random.random(),
        since=since,
    )
    is_unsure = error.is_unanswered and record.submitted_date_time is None
    if is_unsure and isinstance(decided, Later):
        again = after_unsure(record, services.now(), settings.submit_timeout_seconds)
        if again is None:
            decided = Fail(overdue=False)
        else:
            record = again
    if isinstance(decided, Fail):
        problem = Problem(error.code, outcomes.explain(error, overdue=decided.overdue))
        await fail_members(services, record, problem, jobs)
        if baton is not None:
            await end_batch(services, batch, record, baton)
        return
    if error.remedy is Remedy.MEND_SETTINGS:
        log.error("%r: waiting until the app settings are fixed: %s", name, error.for_log)
    else:
        log.warning("%r: retrying later, because a service call failed: %s", name, error.for_log)
    if record.submitted_date_time is None:
        record = msgspec.structs.replace(record, problem=Problem(error.code, outcomes.explain(error, overdue=True)))
    # The worker is alive, and an outage is not a failure.
    record = msgspec.structs.replace(record, tries=0)
    await reschedule(services, batch, due_in(services, record, decided.seconds), baton)


async def after_refused_call(
    services: Services,
    batch: BatchId,
    record: BatchRecord,
    baton: str,
    error: Exception,
    *,
    jobs: Sequence[SubmittedJob] = (),
) -> None:
    """Continue a batch later, after storage refused a call or did not respond.

    A batch that the service has not accepted within NER_JOB_TIMEOUT_SECONDS fails. A job has been charged, so it waits
    indefinitely.
    """
    settings, now = services.settings, services.now()
    log.warning("%s: retrying later, because %s", names_of(record), reason_of(error))
    if record.submitted_date_time is None and is_expired(record.since, now, settings.job_timeout_seconds):
        await fail_batch(services, batch, record, baton, REFUSED, jobs=jobs)
        return
    seconds = after_refusal(
        record,
        now,
        least=settings.poll_min_seconds,
        most=settings.poll_max_seconds,
        jitter=services.random.random(),
    )
    if record.submitted_date_time is None:
        record = msgspec.structs.replace(record, problem=REFUSED)
    await reschedule(services, batch, due_in(services, record, seconds), baton)


def display_name(source: Source) -> str:
    """Return the name under which the service lists a file's jobs."""
    return source.name[-LONGEST_DISPLAY_NAME:]
