"""Files of many jobs: submitted one after another by their ledgers, then collected in the same order.

Each step is recorded in the file's ledger before the next one begins. An invocation works for a bounded time and leaves
the rest to the next one, which may run anywhere: on from the last record.
"""

import logging
import time
from typing import Final

import msgspec
from azure.core.exceptions import ResourceNotFoundError

from shared.collecting import Collector, merged_outcome
from shared.documents import Documents, Survey
from shared.following import Following
from shared.jobs import JobMessage
from shared.ledger import FileRecord, JobRecord, Ledger, RefusalRecord, RequestRecord
from shared.merging import numbered
from shared.ner.client import NerClient
from shared.ner.errors import NerError, Remedy
from shared.ner.model import Problem
from shared.packing import Request, pack
from shared.source import Source
from shared.state_storage import LedgerConflictError, StateStorage

log = logging.getLogger("ner")

WORKING_SECONDS: Final = 60.0
"""How long an invocation submits, or collects; well below functionTimeout."""
LONGEST_DISPLAY_NAME: Final = 256


class ManyJobs:
    """Submits and collects by ledgers. Safe to share between concurrent invocations."""

    def __init__(self, ner: NerClient, state: StateStorage, following: Following) -> None:
        """Use these connections."""
        self.ner = ner
        self.state = state
        self.following = following
        self.collector = Collector(ner, state)
        self.working_seconds = WORKING_SECONDS

    async def begin(self, message: JobMessage, found: Survey, documents: Documents) -> None:
        """Submit a file whose jobs do not fit into its message, or go on with one that was begun before."""
        message = msgspec.structs.replace(message, has_ledger=True)
        ledger = await self.state.read_ledger(message.source)
        if ledger.file is None:
            await self.state.append(ledger, FileRecord(message.source, found.documents_count, found.problems))
        if ledger.next_start is None:
            await self.collect(message, ledger)
        else:
            await self.submit(message, ledger, documents)

    async def submit(self, message: JobMessage, ledger: Ledger, documents: Documents) -> None:
        """Submit what the ledger lacks; what is left when the time is up goes on in another invocation at once."""
        end_of_work = time.monotonic() + self.working_seconds
        try:
            for request in pack(documents.entries(), ledger.next_start):
                await self.state.append(ledger, await self.submit_one(request, message.source))
                if time.monotonic() >= end_of_work:
                    break
        except LedgerConflictError:
            await self.leave_to_other(message)
        except NerError as error:
            # A throttled service that took some requests just now will soon take more.
            since = ledger.requests[-1].submitted_date_time if ledger.requests else None
            if await self.following.wait_or_fail(message, error, ledger.jobs, since):
                await self.state.delete(ledger.name)
        else:
            if ledger.next_start is not None:
                await self.following.requeue_at_once(message)
                return
            log.info("%r submitted as %d jobs", message.source.name, len(ledger.jobs))
            submitted = ledger.requests[-1].submitted_date_time
            await self.following.requeue(msgspec.structs.replace(message, submitted_date_time=submitted))

    async def submit_one(self, request: Request, source: Source) -> RequestRecord:
        """Submit a request and return its record; raises NerError if the service takes none now."""
        try:
            job_id = await self.ner.submit(numbered(request.documents), display_name(source))
        except NerError as error:
            if error.remedy is not Remedy.NONE:
                raise
            log.warning("%r: the service refused a part: %s", source.name, error)
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

    async def collect(self, message: JobMessage, ledger: Ledger) -> None:
        """Collect the jobs that have ended, and write the outcome once all have."""
        end_of_work = time.monotonic() + self.working_seconds
        before = ledger.collected_count
        try:
            await self.collector.collect(ledger, end_of_work, overdue=self.following.is_overdue(message))
            if ledger.collected_count < len(ledger.requests):
                await self.following.requeue(message)
                return
            outcome = merged_outcome(ledger, message.source, self.following.api)
            await self.following.finish_merged(outcome, lambda: self.collector.pieces(ledger, outcome))
            await self.state.delete(ledger.name)
        except LedgerConflictError:
            await self.leave_to_other(message)
        except ResourceNotFoundError:
            # The results are gone, most likely since another invocation has just written the outcome.
            await self.state.delete(ledger.name)
            await self.leave_to_other(message)
        except NerError as error:
            # As long as results come, it is a throttled service and no outage.
            since = self.following.now() if ledger.collected_count > before else None
            if await self.following.wait_or_fail(message, error, ledger.jobs, since):
                await self.state.delete(ledger.name)

    async def leave_to_other(self, message: JobMessage) -> None:
        """Leave the work to another invocation, which has changed the ledger, and see later how far it came."""
        log.info("%r is worked on by another invocation too: looking again later", message.source.name)
        await self.following.requeue(message)

    async def fail(self, message: JobMessage, problem: Problem) -> None:
        """End a file as failed, unless it has ended already."""
        ledger = await self.state.read_ledger(message.source)
        if ledger.file is None and await self.following.has_ended(message.source):
            return
        await self.following.fail(message, problem, ledger.jobs)
        await self.state.delete(ledger.name)


def display_name(source: Source) -> str:
    """Return the name of a file's jobs in the service's own lists."""
    return source.name[-LONGEST_DISPLAY_NAME:]
