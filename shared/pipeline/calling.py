"""Calls to the service: how long they may take, when the next one is due, and what happens after one that failed."""

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from shared import outcome as outcomes
from shared.delays import MOST_TRANSACTIONS
from shared.merging import numbered
from shared.message import is_expired
from shared.ner.errors import FORGOTTEN_CODES, NerError, Remedy
from shared.ner.model import Job, Problem
from shared.packing import Request
from shared.pipeline.decisions import Fail, Later, after_call, after_refusal, after_unsure
from shared.pipeline.dissolving import dissolve
from shared.pipeline.finishing import REFUSED, end_batch, fail_batch, fail_members
from shared.pipeline.rescheduling import Turn, reschedule_in
from shared.pipeline.services import Services
from shared.state.batch import BatchRecord, Member, SubmittedJob
from shared.storage.errors import reason_of

log = logging.getLogger("ner")

CALL_SHARE: Final = 0.5
"""The part of NER_SUBMIT_TIMEOUT_SECONDS that one submit call may take; the rest is for recording its result."""
LONGEST_DISPLAY_NAME: Final = 256
LONG_SECONDS: Final = 3600.0
"""After this time, or half of NER_JOB_TIMEOUT_SECONDS if that is shorter, a single text may be the cause of errors."""


async def submit_request(services: Services, request: Request, members: Sequence[Member]) -> str:
    """Submit a request and return the ID of its job. Raises NerError."""
    within = services.settings.submit_timeout_seconds * CALL_SHARE
    return await services.ner.submit(numbered(request.documents), display_name(members), within)


def host_of(services: Services) -> str:
    """Return host and port of NER_ENDPOINT, which tell the Language resource from others."""
    return services.settings.endpoint.partition("//")[2].lower()


def is_of_another_resource(services: Services, record: BatchRecord) -> bool:
    """Return whether another Language resource has the jobs of a batch than the one that this app uses."""
    return record.host not in ("", host_of(services))


def of_another_resource(services: Services, record: BatchRecord) -> NerError:
    """Return why this app cannot continue a batch whose jobs another resource has.

    The batch waits, since they were charged: another app that shares the queue may have them, or the operator has
    changed NER_ENDPOINT and may change it back.
    """
    return NerError(
        "OtherResource",
        f"the job belongs to {record.host}, not to NER_ENDPOINT ({host_of(services)}): give each app its "
        "own NER_QUEUE and NER_STATE_CONTAINER, or set NER_ENDPOINT back until no file is in flight",
        Remedy.WAIT,
    )


async def get_job(services: Services, record: BatchRecord, job_id: str, submitted: datetime) -> Job:
    """Return a job of a batch, with its results if it has ended.

    Raises:
        NerError: the job could not be read. Without a remedy, its own resource has forgotten it.
    """
    try:
        return await services.ner.look(job_id, submitted)
    except NerError as error:
        # A resource can have several endpoints, so only its answer shows that it does not have the job.
        is_unknown = error.remedy is Remedy.NONE or error.code in FORGOTTEN_CODES
        if is_unknown and is_of_another_resource(services, record):
            raise of_another_resource(services, record) from None
        raise


def next_poll(services: Services, job: SubmittedJob | None, age_seconds: float) -> float:
    """Return the delay, in seconds, before a job of that age is polled."""
    size = job.transactions_count if job else MOST_TRANSACTIONS
    return services.delays.next_delay(size, age_seconds, services.random.uniform(-1, 1))


async def after_failed_call(
    services: Services,
    turn: Turn,
    error: NerError,
    *,
    jobs: Sequence[SubmittedJob] = (),
    since: datetime | None = None,
) -> None:
    """Continue a batch later, dissolve it, or end it, after a call to the service failed.

    Args:
        services: connections.
        turn: the batch.
        error: why the call failed.
        jobs: the jobs that the service has accepted, if they are not in the record.
        since: when the wait began, if not at the time in the record.
    """
    settings, is_submitted = services.settings, turn.record.submitted_date_time is not None
    if error.throttled:
        services.throttle(error.retry_after)
    decided = after_call(
        error,
        turn.record,
        services.now(),
        timeout_seconds=settings.job_timeout_seconds,
        least=settings.poll_min_seconds,
        most=settings.poll_max_seconds,
        jitter=services.random.random(),
        since=since,
    )
    if error.is_unanswered and not is_submitted and isinstance(decided, Later):
        again = after_unsure(turn.record, services.now(), settings.submit_timeout_seconds)
        if again is None:
            decided = Fail(overdue=False)
        else:
            turn = turn._replace(record=again)
    longest = min(LONG_SECONDS, settings.job_timeout_seconds / 2)
    why = why_dissolved(turn.record, error, decided, services.now(), longest)
    if why:
        await dissolve(services, turn, f"{why}: {error.for_log}")
        return
    if isinstance(decided, Fail):
        problem = Problem(error.code, outcomes.explain(error, overdue=decided.overdue))
        await fail_members(services, turn, problem, jobs)
        if turn.baton is not None:
            await end_batch(services, turn)
        return
    if error.remedy is Remedy.MEND_SETTINGS:
        log.error("%s: waiting until the app settings are fixed: %s", turn.names, error.for_log)
    else:
        log.warning("%s: retrying later, because a service call failed: %s", turn.names, error.for_log)
    if not is_submitted:
        turn = turn.changed(problem=Problem(error.code, outcomes.explain(error, overdue=True)))
    # The worker is alive, and an outage is not a failure.
    await reschedule_in(services, turn.changed(tries=0), decided.seconds)


def why_dissolved(
    record: BatchRecord, error: NerError, decided: Later | Fail, now: datetime, longest_seconds: float
) -> str:
    """Return the reason to dissolve a batch after a failed submission; empty if there is none."""
    if not record.is_of_several or record.submitted_date_time is not None:
        return ""
    if isinstance(decided, Fail):
        return "" if decided.overdue or error.is_unanswered else "the service refused their request"
    if error.is_unanswered:
        return "one of them may keep the service from responding" if record.unsure > 1 else ""
    is_servers = error.remedy is Remedy.WAIT and not error.throttled
    is_long = (now - record.since).total_seconds() >= longest_seconds
    return "one of them may make the service fail" if is_servers and is_long else ""


async def after_refused_call(
    services: Services, turn: Turn, error: Exception, *, jobs: Sequence[SubmittedJob] = ()
) -> None:
    """Continue a batch later, after storage refused a call or did not respond.

    A batch that the service has not accepted within NER_JOB_TIMEOUT_SECONDS fails. A job has been charged, so it waits
    indefinitely.
    """
    settings, now = services.settings, services.now()
    log.warning("%s: retrying later, because %s", turn.names, reason_of(error))
    is_submitted = turn.record.submitted_date_time is not None
    if not is_submitted and is_expired(turn.record.since, now, settings.job_timeout_seconds):
        await fail_batch(services, turn, REFUSED, jobs=jobs)
        return
    seconds = after_refusal(
        turn.record,
        now,
        least=settings.poll_min_seconds,
        most=settings.poll_max_seconds,
        jitter=services.random.random(),
    )
    await reschedule_in(services, turn if is_submitted else turn.changed(problem=REFUSED), seconds)


def display_name(members: Sequence[Member]) -> str:
    """Return the name under which the service lists a job: that of its first file, and the number of the others."""
    more = f" and {len(members) - 1} more" if len(members) > 1 else ""
    return members[0].source.name[-(LONGEST_DISPLAY_NAME - len(more)) :] + more
