"""Collecting the results of a file of many jobs: poll in order, merge, store, and finally write one outcome."""

import logging
import time
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Final

import msgspec

from shared import outcome as outcomes
from shared.merging import Merger
from shared.message import is_expired
from shared.ner.errors import NerError, Remedy
from shared.ner.model import TIMED_OUT, Job, JobStatus, Problem
from shared.ner.passing_on import FIELDS_OMITTED
from shared.outcome import MergedOutcome, ServiceJob, summarise
from shared.pipeline.calling import after_failed_call, get_job, next_poll
from shared.pipeline.finishing import end_batch, finish_merged, give_up_version
from shared.pipeline.ledger_posting import WORKING_SHARE
from shared.pipeline.rescheduling import Turn, reschedule
from shared.pipeline.services import Services
from shared.source import Source
from shared.state.batch import BatchRecord
from shared.state.ledger import CollectedEntry, JobEntry, Ledger, RefusalEntry, RequestEntry
from shared.storage.ledgers import LedgerConflictError, ResultsGoneError

log = logging.getLogger("ner")

MAX_COLLECTED: Final = 4 * 1024 * 1024
"""Bytes of results that are held in memory before they are stored; one more job may exceed this."""
MAX_JOBS: Final = 1024 * 1024
"""Bytes of unknown fields of jobs in one entry of the ledger; one more job may exceed this."""


async def collect(services: Services, turn: Turn, ledger: Ledger) -> None:
    """Collect the results of the jobs that have ended; write the outcome once all have ended."""
    member = turn.record.members[0]
    end_of_work = time.monotonic() + services.settings.submit_timeout_seconds * WORKING_SHARE
    expired = is_expired(turn.record.since, services.now(), services.settings.job_timeout_seconds)
    before = ledger.collected_count
    try:
        waits = await collect_ended(services, turn.record, ledger, end_of_work, expired=expired)
        if ledger.collected_count < len(ledger.requests):
            await reschedule(services, turn.after_progress().changed(due=next_due(services, ledger, waits=waits)))
            return
        outcome = merged_outcome(ledger, member.source, services.api)
        await finish_merged(services, member, outcome, lambda: pieces(services, ledger, outcome))
        await end_batch(services, turn)
    except LedgerConflictError:
        log.info("%s: another worker processes this file, nothing to do", turn.names)
    except ResultsGoneError:
        # If no other worker has just ended the version, the sweep finds its claim without a record.
        log.warning("%s: the collected results are gone, leaving the file to another worker or the sweep", turn.names)
        await give_up_version(services, turn)
    except NerError as error:
        # As long as results arrive, the service is throttling calls; this is not an outage.
        since = services.now() if ledger.collected_count > before else None
        await after_failed_call(services, turn, error, jobs=ledger.jobs, since=since)


def next_due(services: Services, ledger: Ledger, *, waits: bool) -> datetime:
    """Return when to poll again: immediately, unless the next job is still running."""
    if not waits:
        return services.now()
    request = ledger.requests[ledger.collected_count]
    age = (services.now() - request.submitted_date_time).total_seconds()
    return services.in_seconds(next_poll(services, request if isinstance(request, JobEntry) else None, age))


async def collect_ended(
    services: Services, record: BatchRecord, ledger: Ledger, end_of_work: float, *, expired: bool
) -> bool:
    """Collect the results of the jobs that have ended, in order, until one is still running or the time is up.

    Args:
        services: connections.
        record: of the file's batch.
        ledger: ledger of a file that has been submitted completely.
        end_of_work: when the time is up, by the monotonic clock; one poll is always made.
        expired: whether jobs that are still running count as failed.

    Returns:
        Whether the next job is still running.

    Raises:
        NerError: the service did not return a job; the results before it are stored.
        LedgerConflictError: another worker collects the same file.
    """
    waits = False
    while ledger.collected_count < len(ledger.requests):
        collected = Collected(Merger(ledger.merge_state))
        for entry in ledger.requests[ledger.collected_count :]:
            try:
                result = await result_of(services, record, entry, expired=expired)
            except NerError:
                await keep(services, ledger, collected)
                raise
            waits = result is None
            if result is not None:
                collected.add(entry, result)
            if waits or time.monotonic() >= end_of_work or collected.is_full:
                break
        await keep(services, ledger, collected)
        if waits or time.monotonic() >= end_of_work:
            break
    return waits


async def result_of(
    services: Services, record: BatchRecord, entry: RequestEntry, *, expired: bool
) -> Job | Problem | None:
    """Return the ended job of a request, the reason if there will never be one, or None while the job runs.

    Raises:
        NerError: the service did not return the job.
    """
    if isinstance(entry, RefusalEntry):
        return entry.error
    try:
        job = await get_job(services, record, entry.job_id, entry.submitted_date_time)
    except NerError as error:
        if error.remedy is Remedy.NONE or expired:
            return Problem(error.code, outcomes.explain(error, overdue=expired))
        raise
    if job.status.is_final:
        services.delays.learn(entry.transactions_count, job.working_seconds)
        return job
    return TIMED_OUT if expired else None


async def keep(services: Services, ledger: Ledger, collected: "Collected") -> None:
    """Store and record what was collected."""
    if not collected.requests_count:
        return
    merger = collected.merger
    if ledger.collected_count + collected.requests_count == len(ledger.requests):
        merger.close()
    if merger.omitted_count:
        log.warning(
            "batch %s: %d fields of long documents are left out, see warnings %s in the outcome",
            *(ledger.name, merger.omitted_count, FIELDS_OMITTED),
        )
    entry = CollectedEntry(
        requests_count=collected.requests_count,
        jobs=collected.jobs,
        documents=await services.ledgers.append_results(ledger, bytes(merger.documents)),
        errors=await services.ledgers.append_results(ledger, bytes(merger.errors)),
        state=merger.state,
    )
    await services.ledgers.append(ledger, entry)


async def pieces(services: Services, ledger: Ledger, outcome: MergedOutcome) -> AsyncIterator[bytes]:
    """Yield, in pieces, the outcome of a file whose results have all been collected."""
    for piece in outcome.head():
        yield piece
    for entry in ledger.collected:
        async for piece in services.ledgers.read_results(ledger.name, entry.documents):
            yield piece
    for piece in outcome.middle():
        yield piece
    for entry in ledger.collected:
        async for piece in services.ledgers.read_results(ledger.name, entry.errors):
            yield piece
    for piece in outcome.tail():
        yield piece


class Collected:
    """Results that have been collected but not stored yet."""

    def __init__(self, merger: Merger) -> None:
        """Create an empty collection."""
        self.merger = merger
        self.requests_count = 0
        self.jobs: list[ServiceJob] = []
        self.jobs_size = 0

    @property
    def is_full(self) -> bool:
        """Whether the results must be stored before more are collected."""
        merged = len(self.merger.documents) + len(self.merger.errors)
        return merged >= MAX_COLLECTED or self.jobs_size >= MAX_JOBS

    def add(self, entry: RequestEntry, result: Job | Problem) -> None:
        """Add the result of a request."""
        if isinstance(result, Problem):
            self.merger.add_missing(entry.start, entry.end, entry.documents_count, result)
            if isinstance(entry, JobEntry):
                self.jobs.append(ServiceJob(entry.job_id, JobStatus.FAILED.value))
        elif isinstance(entry, JobEntry):
            self.merger.add(entry, result)
            self.jobs.append(summarise(result))
            self.jobs_size += len(msgspec.json.encode(result.others))
        self.requests_count += 1


def merged_outcome(ledger: Ledger, source: Source, api: dict[str, str]) -> MergedOutcome:
    """Return the outcome of a file whose results have all been collected."""
    if ledger.file is None:
        raise ValueError("the ledger is empty")
    return MergedOutcome(
        source=source,
        api=api,
        jobs=[job for entry in ledger.collected for job in entry.jobs],
        problems=ledger.file.errors,
        documents_count=ledger.file.documents_count,
        state=ledger.merge_state,
    )
