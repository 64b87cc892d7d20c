"""Posting a file of many jobs: one request after another, each recorded in its ledger before the next one is made.

An invocation works for a bounded time and leaves the rest to the next one, which may run on any instance and continues
after the last entry.
"""

import logging
import time
from collections.abc import Sequence
from typing import Final

from azure.core.exceptions import AzureError

from shared.ner.errors import NerError, Remedy
from shared.ner.model import Problem
from shared.packing import HALF_LIMITS, REQUEST_LIMITS, Request, pack
from shared.pipeline.calling import after_failed_call, after_refused_call, next_poll, submit_request
from shared.pipeline.decisions import after_unsure, is_refused_for_size
from shared.pipeline.finishing import GAVE_UP, cancel, fail_batch
from shared.pipeline.rescheduling import Turn, reschedule, reschedule_in, take_baton
from shared.pipeline.services import Services
from shared.pipeline.texts import File
from shared.state.batch import BatchKind, BatchRecord, SubmittedJob
from shared.state.ledger import FileEntry, JobEntry, Ledger, RefusalEntry, RequestEntry
from shared.storage.errors import describe
from shared.storage.ledgers import LedgerConflictError

log = logging.getLogger("ner")

WORKING_SHARE: Final = 0.4
"""The part of NER_SUBMIT_TIMEOUT_SECONDS for which an invocation submits or collects; it ends itself after 0.8."""

STILL_REFUSED: Final = (
    "The service also refuses this text in requests of half the usual size. Split the file into smaller files."
)


async def post_all(services: Services, turn: Turn, files: Sequence[File], *, ledger: Ledger) -> None:
    """Post the rest of a file of many jobs; when the time is up, another invocation continues immediately."""
    before = len(ledger.requests)

    def turn_now() -> Turn:
        return turn.after_progress() if len(ledger.requests) > before else turn

    try:
        await post_requests(services, turn.record, files[0], ledger)
    except RefusedForSizeError:
        await post_halved(services, turn_now(), files, ledger=ledger)
    except LedgerConflictError:
        log.info("%s: another worker processes this file, nothing to do", turn.names)
    except UnrecordedJobError as error:
        await after_unrecorded_job(services, turn_now(), error, jobs=ledger.jobs)
    except AzureError as error:
        await after_refused_call(services, turn, error, jobs=ledger.jobs)
    except NerError as error:
        # A throttled service that has just accepted some requests will soon accept more.
        await after_failed_call(services, turn_now(), error, jobs=ledger.jobs, since=ledger.active)
    else:
        await after_posting(services, turn.after_progress(), ledger)


async def post_requests(services: Services, record: BatchRecord, file: File, ledger: Ledger) -> None:
    """Post what the ledger of a file lacks, for as long as an invocation works. Raises what `post_one` raises."""
    source, text = file.member.source, file.text
    end_of_work = time.monotonic() + services.settings.submit_timeout_seconds * WORKING_SHARE
    if ledger.file is None:
        await services.ledgers.append(ledger, FileEntry(source, text.found.documents_count, text.found.problems))
    if ledger.next_start is None:
        return
    limits = HALF_LIMITS if record.is_halved else REQUEST_LIMITS
    requests = pack(text.documents.entries(), ledger.next_start, limits)
    while request := await services.texts.run(text.documents.length, lambda: next(requests, None)):
        await post_one(services, ledger, request, record)
        if time.monotonic() >= end_of_work:
            break


async def post_halved(services: Services, turn: Turn, files: Sequence[File], *, ledger: Ledger) -> None:
    """Post what the ledger lacks in requests of at most half the size, because the service refused one for its size.

    The record says so, since every worker has to divide the file in the same way.
    """
    log.warning("%s: the service refused a request for its size, submitting smaller ones", turn.names)
    taken = await take_baton(services, turn.changed(kind=BatchKind.LEDGER, is_halved=True))
    if taken is not None:
        await post_all(services, taken, files, ledger=ledger)


def can_be_halved(error: NerError, request: Request, record: BatchRecord) -> bool:
    """Return whether the service may accept in smaller requests what it has refused in one."""
    return not record.is_halved and is_refused_for_size(error) and not request.fits(HALF_LIMITS)


async def after_posting(services: Services, turn: Turn, ledger: Ledger) -> None:
    """Schedule a file's next step: now if there is more to post, else when its first job is due."""
    due = services.now()
    if ledger.next_start is None:
        log.info("%s: submitted as %d jobs", turn.names, len(ledger.jobs))
        services.telemetry.submitted()
        turn = turn.changed(submitted_date_time=ledger.active)
        if ledger.jobs:
            first = ledger.jobs[0]
            age = (services.now() - first.submitted_date_time).total_seconds()
            due = services.in_seconds(next_poll(services, first, age))
    await reschedule(services, turn.changed(due=due))


class RefusedForSizeError(Exception):
    """The service has refused a request for its size, which can be halved."""


class UnrecordedJobError(Exception):
    """The service has accepted a job of a ledger, but storage refused to record it; the message says why."""


async def post_one(services: Services, ledger: Ledger, request: Request, record: BatchRecord) -> None:
    """Post a request of a file of many jobs, and record the result.

    Raises:
        NerError: the service accepts no request now.
        RefusedForSizeError: it may accept smaller ones.
        UnrecordedJobError: the service accepted it, but storage refused to record it.
        LedgerConflictError: another worker posts the same file.
    """
    entry, member = await entry_of(services, request, record), record.members[0]
    try:
        await services.ledgers.append(ledger, entry)
    except LedgerConflictError:
        if isinstance(entry, JobEntry):
            await cancel(services, repr(member.source.name), entry.job_id)
        raise
    except AzureError as error:
        # The job is not cancelled: its entry may have been written.
        if isinstance(entry, JobEntry):
            raise UnrecordedJobError(describe(error)) from error
        raise


async def entry_of(services: Services, request: Request, record: BatchRecord) -> RequestEntry:
    """Submit a request and return its entry.

    Raises:
        NerError: the service accepts no request now.
        RefusedForSizeError: it may accept smaller ones.
    """
    try:
        job_id = await submit_request(services, request, record.members)
    except NerError as error:
        if error.remedy is not Remedy.NONE:
            raise
        if can_be_halved(error, request, record):
            raise RefusedForSizeError from None
        log.warning("%r: the service refused part of the file: %s", record.members[0].source.name, error.for_log)
        is_too_large = record.is_halved and is_refused_for_size(error)
        problem = Problem(error.code, f"{error.message} {STILL_REFUSED}" if is_too_large else error.message)
        return RefusalEntry(len(request.documents), request.start, request.end, problem, services.now())
    return JobEntry(
        job_id=job_id,
        documents_count=len(request.documents),
        transactions_count=request.transactions_count,
        start=request.start,
        end=request.end,
        submitted_date_time=services.now(),
    )


async def after_unrecorded_job(
    services: Services, turn: Turn, error: UnrecordedJobError, *, jobs: Sequence[SubmittedJob]
) -> None:
    """Continue a file later, although the job that was charged is lost; give the file up after several such jobs."""
    again = after_unsure(turn.record, services.now(), services.settings.submit_timeout_seconds)
    if again is None:
        log.error("%s: gave up, because jobs of this file cannot be recorded: %s", turn.names, error)
        await fail_batch(services, turn, GAVE_UP, jobs=jobs)
        return
    log.warning("%s: retrying later, because a job could not be recorded: %s", turn.names, error)
    await reschedule_in(services, turn._replace(record=again), 0.0)
