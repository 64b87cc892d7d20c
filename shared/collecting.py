"""The results of a file of many jobs: looked at in order, merged, kept, and in the end written as one outcome."""

import time
from collections.abc import AsyncIterator
from typing import Final

from shared.delays import Delays
from shared.ledger import CollectedRecord, JobRecord, Ledger, RefusalRecord, RequestRecord
from shared.merging import Merger
from shared.ner.client import NerClient
from shared.ner.errors import NerError, Remedy
from shared.ner.model import Job, JobStatus, Problem
from shared.outcome import JobSummary, MergedOutcome, summarise
from shared.source import Source
from shared.state_storage import StateStorage

MOST_COLLECTED: Final = 4 * 1024 * 1024
"""Bytes of results that are held in memory before they are kept; one job more may come on top."""
TIMED_OUT: Final = Problem("JobTimeout", "The job did not end within NER_JOB_TIMEOUT_SECONDS. Upload the file again.")


class Collector:
    """Collects by ledgers. Safe to share between concurrent invocations."""

    def __init__(self, ner: NerClient, state: StateStorage, delays: Delays) -> None:
        """Use these connections."""
        self.ner = ner
        self.state = state
        self.delays = delays

    async def collect(self, ledger: Ledger, end_of_work: float, *, overdue: bool) -> None:
        """Collect the results of the jobs that have ended, in order, until one has not or the time is up.

        Args:
            ledger: of a file that has been submitted completely.
            end_of_work: when the time is up, by the monotonic clock; one look is always taken.
            overdue: what has not ended by now counts as failed.

        Raises:
            NerError: the service shows no job now; what came before is kept.
            LedgerConflictError: somebody else collects the same file.
        """
        goes_on = True
        while goes_on and ledger.collected_count < len(ledger.requests):
            batch = Batch(Merger(ledger.merge_state))
            for record in ledger.requests[ledger.collected_count :]:
                try:
                    result = await self.result_of(record, overdue=overdue)
                except NerError:
                    await self.keep(ledger, batch)
                    raise
                if result is not None:
                    batch.add(record, result)
                goes_on = result is not None and time.monotonic() < end_of_work
                if not goes_on or len(batch.merger.documents) >= MOST_COLLECTED:
                    break
            await self.keep(ledger, batch)

    async def result_of(self, record: RequestRecord, *, overdue: bool) -> Job | Problem | None:
        """Return the job of a request that has ended, why there will never be one, or None while it runs.

        Raises:
            NerError: the service does not say now.
        """
        if isinstance(record, RefusalRecord):
            return record.error
        try:
            job = await self.ner.look(record.job_id)
        except NerError as error:
            if error.remedy is Remedy.NONE or overdue:
                return Problem(error.code, error.message)
            raise
        if job.status.is_final:
            self.delays.learn(record.transactions_count, job.seconds)
            return job
        return TIMED_OUT if overdue else None

    async def keep(self, ledger: Ledger, batch: "Batch") -> None:
        """Record what a batch brought."""
        if not batch.requests_count:
            return
        if ledger.collected_count + batch.requests_count == len(ledger.requests):
            batch.merger.close()
        record = CollectedRecord(
            requests_count=batch.requests_count,
            jobs=batch.jobs,
            documents=await self.state.append_results(ledger.name, bytes(batch.merger.documents)),
            errors=await self.state.append_results(ledger.name, bytes(batch.merger.errors)),
            state=batch.merger.state,
        )
        await self.state.append(ledger, record)

    async def pieces(self, ledger: Ledger, outcome: MergedOutcome) -> AsyncIterator[bytes]:
        """Yield the outcome of a file that has been collected completely."""
        for piece in outcome.head():
            yield piece
        for record in ledger.collected:
            async for piece in self.state.read_results(ledger.name, record.documents):
                yield piece
        for piece in outcome.middle():
            yield piece
        for record in ledger.collected:
            async for piece in self.state.read_results(ledger.name, record.errors):
                yield piece
        for piece in outcome.tail():
            yield piece


class Batch:
    """What is collected before it is kept."""

    def __init__(self, merger: Merger) -> None:
        """Begin with nothing."""
        self.merger = merger
        self.requests_count = 0
        self.jobs: list[JobSummary] = []

    def add(self, record: RequestRecord, result: Job | Problem) -> None:
        """Add what became of a request."""
        if isinstance(result, Problem):
            self.merger.add_missing(record.start, record.end, record.documents_count, result)
            if isinstance(record, JobRecord):
                self.jobs.append(JobSummary(record.job_id, JobStatus.FAILED.value))
        elif isinstance(record, JobRecord):
            self.merger.add(record, result)
            self.jobs.append(summarise(result))
        self.requests_count += 1


def merged_outcome(ledger: Ledger, source: Source, api: dict[str, str]) -> MergedOutcome:
    """Return the outcome of a file that has been collected completely."""
    if ledger.file is None:
        raise ValueError("the ledger is empty")
    return MergedOutcome(
        source=source,
        api=api,
        jobs=[job for record in ledger.collected for job in record.jobs],
        problems=ledger.file.errors,
        documents_count=ledger.file.documents_count,
        state=ledger.merge_state,
    )
