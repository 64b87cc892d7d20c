"""Files of many jobs: submitted one after another by their ledgers, then collected in the same order.

Each step is recorded in the file's ledger before the next one begins. An invocation works for a bounded time and leaves
the rest to the next one, which may run anywhere: on from the last record.
"""

import logging
import time
from typing import Final

import msgspec

from shared.collecting import Collector, merged_outcome
from shared.documents import Documents, Survey
from shared.flight import Flight
from shared.following import Following
from shared.ledger import FileRecord, JobRecord, Ledger, RefusalRecord, RequestRecord
from shared.merging import numbered
from shared.ner.client import NerClient
from shared.ner.errors import NerError, Remedy
from shared.ner.model import Problem
from shared.packing import Request, pack
from shared.source import Source
from shared.state_storage import LedgerConflictError, ResultsGoneError, StateStorage

log = logging.getLogger("ner")

WORKING_SECONDS: Final = 60.0
"""How long an invocation submits, or collects; well below the deadline of an invocation."""
LONGEST_DISPLAY_NAME: Final = 256


class ManyJobs:
    """Submits and collects by ledgers. Safe to share between concurrent invocations."""

    def __init__(self, ner: NerClient, state: StateStorage, following: Following) -> None:
        """Use these connections."""
        self.ner = ner
        self.state = state
        self.following = following
        self.collector = Collector(ner, state, following.delays)
        self.working_seconds = min(WORKING_SECONDS, following.settings.deadline_seconds / 2)

    async def begin(self, flight: Flight, found: Survey, documents: Documents) -> None:
        """Submit a file whose jobs do not fit into its message, or go on with one that was begun before."""
        flight.message = msgspec.structs.replace(flight.message, has_ledger=True)
        if not await flight.claim():
            return
        ledger = await self.state.read_ledger(flight.source)
        try:
            if ledger.file is None:
                await self.state.append(ledger, FileRecord(flight.source, found.documents_count, found.problems))
        except LedgerConflictError:
            await self.leave_to_other(flight)
            return
        await self.submit(flight, ledger, documents)

    async def submit(self, flight: Flight, ledger: Ledger, documents: Documents) -> None:
        """Submit what the ledger lacks; what is left when the time is up goes on in another invocation at once."""
        end_of_work = time.monotonic() + self.working_seconds
        source = flight.source
        try:
            if ledger.next_start is not None:
                for request in pack(documents.entries(), ledger.next_start):
                    await self.state.append(ledger, await self.submit_one(request, source))
                    if time.monotonic() >= end_of_work:
                        break
        except LedgerConflictError:
            await self.leave_to_other(flight)
        except NerError as error:
            # A throttled service that took some requests just now will soon take more.
            await flight.wait_or_fail(error, ledger.jobs, ledger.active)
        else:
            ends = ledger.next_start is None
            if ends:
                log.info("%r: submitted as %d jobs", source.name, len(ledger.jobs))
                flight.message = msgspec.structs.replace(flight.message, submitted_date_time=ledger.active)
            if await flight.record_progress():
                if ends:
                    self.following.telemetry.submitted()
                await (flight.requeue() if ends else flight.requeue_at_once())

    async def submit_one(self, request: Request, source: Source) -> RequestRecord:
        """Submit a request and return its record; raises NerError if the service takes none now."""
        try:
            job_id = await self.ner.submit(
                numbered(request.documents), display_name(source), self.following.call_seconds
            )
        except NerError as error:
            if error.remedy is not Remedy.NONE:
                raise
            log.warning("%r: the service refused part of the file: %s", source.name, error.code)
            problem = Problem(error.code, error.message)
            return RefusalRecord(len(request.documents), request.start, request.end, problem, self.following.now())
        return JobRecord(
            job_id=job_id,
            documents_count=len(request.documents),
            transactions_count=request.transactions_count,
            start=request.start,
            end=request.end,
            submitted_date_time=self.following.now(),
        )

    async def collect(self, flight: Flight, ledger: Ledger) -> None:
        """Collect the jobs that have ended, and write the outcome once all have."""
        end_of_work = time.monotonic() + self.working_seconds
        before = ledger.collected_count
        try:
            await self.collector.collect(ledger, end_of_work, overdue=self.following.is_overdue(flight.message))
            if ledger.collected_count < len(ledger.requests):
                job = ledger.requests[ledger.collected_count]
                await flight.requeue(job if isinstance(job, JobRecord) else None, job.submitted_date_time)
                return
            outcome = merged_outcome(ledger, flight.source, self.following.api)
            await flight.finish_merged(outcome, lambda: self.collector.pieces(ledger, outcome))
        except LedgerConflictError:
            await self.leave_to_other(flight)
        except ResultsGoneError:
            await self.state.delete(ledger.name)
            await self.leave_to_other(flight)
        except NerError as error:
            # As long as results come, it is a throttled service and no outage.
            since = self.following.now() if ledger.collected_count > before else None
            await flight.wait_or_fail(error, ledger.jobs, since)

    async def leave_to_other(self, flight: Flight) -> None:
        """Leave the work to another invocation, which has changed the ledger, and see later how far it came."""
        log.info("%r: another invocation is processing it too, checking again later", flight.source.name)
        await flight.requeue()


def display_name(source: Source) -> str:
    """Return the name of a file's jobs in the service's own lists."""
    return source.name[-LONGEST_DISPLAY_NAME:]
