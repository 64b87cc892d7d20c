"""Posting a file of many jobs: one request after another, each recorded in its ledger before the next one is made.

An invocation works for a bounded time and leaves the rest to the next one, which may run on any instance and continues
after the last entry.
"""

import logging
import time
from collections.abc import Sequence
from typing import Final

import msgspec
from azure.core.exceptions import AzureError

from shared.ner.errors import NerError, Remedy
from shared.ner.model import Problem
from shared.packing import Request, pack
from shared.pipeline.calling import after_failed_call, after_refused_call, next_poll, submit_request
from shared.pipeline.decisions import after_unsure
from shared.pipeline.finishing import GAVE_UP, cancel, fail_batch
from shared.pipeline.rescheduling import due_in, names_of, reschedule
from shared.pipeline.services import Services
from shared.pipeline.texts import Text
from shared.source import Source
from shared.state.batch import BatchRecord, SubmittedJob
from shared.state.claim import BatchId
from shared.state.ledger import FileEntry, JobEntry, Ledger, RefusalEntry, RequestEntry
from shared.storage.errors import describe
from shared.storage.ledgers import LedgerConflictError

log = logging.getLogger("ner")

WORKING_SHARE: Final = 0.4
"""The part of NER_SUBMIT_TIMEOUT_SECONDS for which an invocation submits or collects; it ends itself after 0.8."""


async def post_all(
    services: Services, batch: BatchId, record: BatchRecord, baton: str, text: Text, *, ledger: Ledger
) -> None:
    """Post what the ledger of a file lacks; when the time is up, another invocation continues immediately."""
    member, before = record.members[0], len(ledger.requests)
    end_of_work = time.monotonic() + services.settings.submit_timeout_seconds * WORKING_SHARE
    try:
        if ledger.file is None:
            await services.ledgers.append(
                ledger, FileEntry(member.source, text.found.documents_count, text.found.problems)
            )
        if ledger.next_start is not None:
            for request in pack(text.documents.entries(), ledger.next_start):
                await post_one(services, ledger, request, member.source)
                if time.monotonic() >= end_of_work:
                    break
    except LedgerConflictError:
        log.info("%r: another worker processes this file, nothing to do", member.source.name)
    except UnrecordedJobError as error:
        record = record.after_progress() if len(ledger.requests) > before else record
        await after_unrecorded_job(services, batch, record, baton, error, jobs=ledger.jobs)
    except AzureError as error:
        await after_refused_call(services, batch, record, baton, error, jobs=ledger.jobs)
    except NerError as error:
        record = record.after_progress() if len(ledger.requests) > before else record
        # A throttled service that has just accepted some requests will soon accept more.
        await after_failed_call(services, batch, record, baton, error, jobs=ledger.jobs, since=ledger.active)
    else:
        await after_posting(services, batch, record, baton, ledger)


async def after_posting(services: Services, batch: BatchId, record: BatchRecord, baton: str, ledger: Ledger) -> None:
    """Schedule a file's next step: now if there is more to post, else when its first job is due."""
    due = services.now()
    record = record.after_progress()
    if ledger.next_start is None:
        log.info("%s: submitted as %d jobs", names_of(record), len(ledger.jobs))
        services.telemetry.submitted()
        first = next(iter(ledger.jobs), None)
        record = msgspec.structs.replace(record, submitted_date_time=ledger.active)
        age = (services.now() - first.submitted_date_time).total_seconds() if first else 0.0
        due = services.in_seconds(next_poll(services, first, age) if first else 0.0)
    await reschedule(services, batch, msgspec.structs.replace(record, due=due), baton)


class UnrecordedJobError(Exception):
    """The service has accepted a job of a ledger, but storage refused to record it; the message says why."""


async def post_one(services: Services, ledger: Ledger, request: Request, source: Source) -> None:
    """Post a request of a file of many jobs, and record the result.

    Raises:
        NerError: the service accepts no request now.
        UnrecordedJobError: the service accepted it, but storage refused to record it.
        LedgerConflictError: another worker posts the same file.
    """
    entry = await entry_of(services, request, source)
    try:
        await services.ledgers.append(ledger, entry)
    except LedgerConflictError:
        if isinstance(entry, JobEntry):
            await cancel(services, source.name, entry.job_id)
        raise
    except AzureError as error:
        # The job is not cancelled: its entry may have been written.
        if isinstance(entry, JobEntry):
            raise UnrecordedJobError(describe(error)) from error
        raise


async def entry_of(services: Services, request: Request, source: Source) -> RequestEntry:
    """Submit a request and return its entry. Raises NerError if the service accepts none now."""
    try:
        job_id = await submit_request(services, request, source)
    except NerError as error:
        if error.remedy is not Remedy.NONE:
            raise
        log.warning("%r: the service refused part of the file: %s", source.name, error.code)
        problem = Problem(error.code, error.message)
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
    services: Services,
    batch: BatchId,
    record: BatchRecord,
    baton: str,
    error: UnrecordedJobError,
    *,
    jobs: Sequence[SubmittedJob],
) -> None:
    """Continue a file later after a job was charged in vain, or give it up after a few of them."""
    name = record.members[0].source.name
    again = after_unsure(record, services.now(), services.settings.submit_timeout_seconds)
    if again is None:
        log.error("%r: gave up, because jobs of this file cannot be recorded: %s", name, error)
        await fail_batch(services, batch, record, baton, GAVE_UP, jobs=jobs)
        return
    log.warning("%r: retrying later, because a job could not be recorded: %s", name, error)
    await reschedule(services, batch, due_in(services, again, 0.0), baton)
