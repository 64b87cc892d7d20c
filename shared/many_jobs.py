"""Files of many jobs: submitted one after another, collected in the same order, written as one outcome.

Each step is recorded in the file's ledger before the next one begins. An invocation works for a bounded time and leaves
the rest to the next one, which may run anywhere: on from the last record.
"""

import time
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Final

from shared.documents import Documents
from shared.ledger import CollectedRecord, JobRecord, Ledger, RefusalRecord, RequestRecord
from shared.merging import Merger, numbered
from shared.ner.client import NerClient
from shared.ner.errors import NerError, Remedy
from shared.ner.model import Job, JobStatus, Problem
from shared.outcome import JobSummary, MergedOutcome, summarise
from shared.packing import Request, pack
from shared.source import Source
from shared.state_storage import StateStorage

WORKING_SECONDS: Final = 60.0
"""How long an invocation submits, or collects; well below functionTimeout."""
MOST_COLLECTED: Final = 4 * 1024 * 1024
"""Bytes of results that are held in memory before they are kept; one job more may come on top."""
LONGEST_DISPLAY_NAME: Final = 256


class ManyJobs:
    """Submits and collects by ledgers. Safe to share between concurrent invocations."""

    def __init__(
        self, ner: NerClient, state: StateStorage, now: Callable[[], datetime], working_seconds: float = WORKING_SECONDS
    ) -> None:
        """Use these connections; `now` gives the time in UTC."""
        self.ner = ner
        self.state = state
        self.now = now
        self.working_seconds = working_seconds

    async def submit(self, ledger: Ledger, source: Source, documents: Documents) -> None:
        """Submit what the ledger does not have yet, until the time is up.

        Raises:
            NerError: the service takes no request now.
            LedgerConflictError: somebody else submits the same file.
        """
        end_of_work = time.monotonic() + self.working_seconds
        for request in pack(documents.entries(), ledger.next_start):
            await self.state.append(ledger, await self.submit_one(request, display_name(source)))
            if time.monotonic() >= end_of_work:
                return

    async def submit_one(self, request: Request, name: str) -> RequestRecord:
        """Submit a request and return its record; raises NerError if the service takes none now."""
        try:
            job_id = await self.ner.submit(numbered(request.documents), name)
        except NerError as error:
            if error.remedy is not Remedy.NONE:
                raise
            problem = Problem(error.code, error.message)
            return RefusalRecord(len(request.documents), request.start, request.end, problem, self.now())
        return JobRecord(
            job_id=job_id,
            documents_count=len(request.documents),
            transactions_count=request.transactions_count,
            start=request.start,
            end=request.end,
            submitted_date_time=self.now(),
        )

    async def collect(self, ledger: Ledger, *, overdue: bool) -> None:
        """Collect the results of the jobs that have ended, in order, until one has not or the time is up.

        Args:
            ledger: of a file that has been submitted completely.
            overdue: what has not ended by now counts as failed.

        Raises:
            NerError: the service shows no job now; what came before is kept.
            LedgerConflictError: somebody else collects the same file.
        """
        end_of_work = time.monotonic() + self.working_seconds
        while ledger.collected_count < len(ledger.requests) and time.monotonic() < end_of_work:
            batch = Batch(Merger(ledger.merge_state))
            try:
                for record in ledger.requests[ledger.collected_count :]:
                    result = await self.result_of(record, overdue=overdue)
                    if result is None:
                        end_of_work = 0.0
                        break
                    batch.add(record, result)
                    if len(batch.merger.documents) >= MOST_COLLECTED or time.monotonic() >= end_of_work:
                        break
            finally:
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
            return job
        return TIMED_OUT if overdue else None

    async def keep(self, ledger: Ledger, batch: "Batch") -> None:
        """Record what a batch brought."""
        if not batch.requests_count:
            return
        if ledger.collected_count + batch.requests_count == len(ledger.requests):
            batch.merger.finish()
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


TIMED_OUT: Final = Problem("JobTimeout", "The job had not ended within NER_JOB_TIMEOUT_SECONDS. Upload the file again.")


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


def display_name(source: Source) -> str:
    """Return the name of a file's jobs in the service's own lists."""
    return source.name[-LONGEST_DISPLAY_NAME:]
