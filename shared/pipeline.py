"""The way of one file: submit, poll. The only module that brings decisions and I/O together.

What it knows how to end, `flight` ends; anything unforeseen is raised, so that the host's dequeue count and poison
queue do their work and `poison` turns what comes out of it into an outcome.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from datetime import datetime
from typing import TYPE_CHECKING, Final

import msgspec
from azure.core.exceptions import AzureError

from shared import outcome as outcomes
from shared.collecting import TIMED_OUT
from shared.documents import DocumentError, Documents, read_documents, survey
from shared.flight import Flight
from shared.following import Following
from shared.jobs import JobMessage, SubmittedJob, decode_message, utc_now
from shared.ledger import JobRecord, Ledger
from shared.many_jobs import ManyJobs, display_name
from shared.merging import numbered
from shared.ner.client import NerClient
from shared.ner.errors import NerError
from shared.ner.model import Problem
from shared.packing import Request, pack
from shared.poison import Poison
from shared.settings import Settings
from shared.source import Source
from shared.state_storage import ClaimConflictError, StateStorage
from shared.storage import OutcomeConflictError, Storage, Upload
from shared.storage_errors import reason_of
from shared.submissions import new_claim_id
from shared.telemetry import Telemetry

if TYPE_CHECKING:
    import httpx

log = logging.getLogger("ner")

LARGE_FILE: Final = 1024 * 1024
"""Bytes."""
REQUEUE_SECONDS: Final = 20.0
"""What an invocation that has reached its deadline may take for sending its message."""
MOST_LARGE_FILES: Final = 4
"""That are read again at the same time, each of up to NER_MAX_BLOB_BYTES; looks need no file."""


class Pipeline:
    """Everything the functions do, over one HTTP client and one storage client."""

    def __init__(
        self,
        settings: Settings,
        *,
        telemetry: Telemetry | None = None,
        transport: "httpx.AsyncBaseTransport | None" = None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        """Make the clients; nothing is connected yet."""
        self.settings = settings
        self.telemetry = telemetry or Telemetry()
        self.ner = NerClient(settings, transport=transport)
        self.telemetry.watch(self.ner.http)
        self.storage = Storage(settings)
        self.state = StateStorage(self.storage.blobs, settings.state_container)
        self.following = Following(settings, self.storage, self.state, self.telemetry, now)
        self.many = ManyJobs(self.ner, self.state, self.following)
        self.poison = Poison(self.following, self.submit)
        self.now = now
        self.reading = asyncio.Semaphore(MOST_LARGE_FILES)

    async def submit(self, name: str, data: bytes | None = None, version: Source | None = None) -> None:
        """Submit a newly uploaded file.

        Args:
            name: the blob's name within the input container.
            data: its bytes as the host read them.
            version: which version the bytes are; None if the host did not say.
        """
        with self.telemetry.begin("submit", name):
            deadline = self.deadline()
            async with asyncio.timeout_at(deadline):
                upload = (
                    Upload(version, data)
                    if version and data is not None
                    else await self.storage.read_upload(name, seen=data)
                )
            if upload is None:
                log.info("%r: deleted before it was submitted, nothing to do", name)
                return
            message = JobMessage(
                source=upload.source,
                received_date_time=self.now(),
                claim_id=new_claim_id(),
                trace_parent=self.telemetry.trace_parent,
            )
            flight = Flight(self.following, message, is_queued=False)
            await self.finish_in_time(flight, self.submit_upload(upload, flight), deadline)

    def deadline(self) -> float:
        """Return when an invocation that begins now must end, by the event loop's clock."""
        return asyncio.get_running_loop().time() + self.settings.deadline_seconds

    async def finish_in_time(self, flight: Flight, work: Awaitable[None], deadline: float) -> None:
        """Do the work; where storage refuses a call, or the time is up first, let the message come back later.

        The host knows less than that: it would run a message again after half a minute whatever is in the way, give
        it up after five times, and end the whole worker at functionTimeout.

        Raises:
            AzureError: the queue takes no message either.
        """
        try:
            async with asyncio.timeout_at(deadline):
                await work
        except (AzureError, TimeoutError, ClaimConflictError, OutcomeConflictError) as error:
            log.warning("%r: retrying later, because %s", flight.source.name, reason_of(error))
            async with asyncio.timeout(REQUEUE_SECONDS):
                await flight.send(self.following.storage_delay(flight.message))

    async def submit_upload(self, upload: Upload, flight: Flight, ledger: Ledger | None = None) -> None:
        """Send a file's text to the service and follow its jobs; where the service cannot take it, try again later.

        A ledger that is not empty says that the file was begun before, and so was surveyed.
        """
        try:
            documents = self.documents_of(upload)
            if ledger is not None and ledger.file is not None:
                await self.many.submit(flight, ledger, documents)
                return
            found = survey(documents)
        except DocumentError as error:
            await flight.fail(Problem(error.code, error.message))
            return
        source = msgspec.structs.replace(upload.source, encoding=documents.encoding)
        flight.message = msgspec.structs.replace(flight.message, source=source)
        if found.erroneous_count == found.documents_count:
            count, problems = found.documents_count, found.problems
            await flight.finish(outcomes.invalid(source, self.following.api, count, problems))
            return
        closed_seconds = self.following.delays.closed_seconds
        if closed_seconds and not flight.is_queued:
            log.info("%r: submitting later, because the service is throttling calls", source.name)
            await flight.put_off(closed_seconds)
            return
        first = next(pack(documents.entries()))
        if first.end is None and not found.problems:
            await self.submit_request(first, flight)
        else:
            await self.many.begin(flight, found, documents)

    async def submit_request(self, request: Request, flight: Flight) -> None:
        """Submit a file that is one request."""
        if not await flight.claim():
            return
        name = flight.source.name
        try:
            job_id = await self.ner.submit(
                numbered(request.documents), display_name(flight.source), self.following.call_seconds
            )
        except NerError as error:
            await flight.wait_or_fail(error)
            return
        self.telemetry.job(job_id)
        job = SubmittedJob(job_id, len(request.documents), request.transactions_count)
        log.info("%r: submitted as job %s", name, job_id)
        flight.message = msgspec.structs.replace(flight.message, submitted_date_time=self.now(), jobs=[job])
        if await flight.record_progress():
            self.telemetry.submitted()
            await flight.requeue()
        else:
            await self.cancel(name, [job])

    def documents_of(self, upload: Upload) -> Documents:
        """Return the documents of a file; raises DocumentError."""
        return read_documents(
            upload.source.name,
            upload.data,
            language=self.settings.language,
            max_bytes=self.settings.max_blob_bytes,
        )

    async def poll(self, body: bytes) -> None:
        """Look at the jobs of a message: write the outcome if they have ended, else look again later.

        Raises:
            MessageError: the message is not one of this app's.
        """
        message = decode_message(body, self.settings.input_container)
        deadline = self.deadline()
        if self.telemetry.take_queue_length_turn():
            # Before a version has two messages for a moment: this one and the next.
            self.telemetry.queue_length(await self.storage.queue_length())
        job_id = message.jobs[0].job_id if message.jobs else None
        with self.telemetry.go_on("poll", message.source.name, message.trace_parent, job_id):
            if message.trace_parent is None:
                # Somebody sent it by hand: its trace begins here.
                message = msgspec.structs.replace(message, trace_parent=self.telemetry.trace_parent)
            flight = Flight(self.following, message, is_queued=True)
            await self.finish_in_time(flight, self.go_on(flight), deadline)

    async def go_on(self, flight: Flight) -> None:
        """Do what is to be done next about a version that is on its way."""
        message = flight.message
        closed_seconds = self.following.delays.closed_seconds
        if closed_seconds and not self.following.is_overdue(message):
            # The call would be refused like the one before it, and what comes before it would be done in vain.
            await flight.wait(closed_seconds)
            return
        if message.jobs:
            # Whoever writes the outcome looks at the file, so only a job that goes on is a reason to do it before.
            await self.look_at_job(flight, message.jobs[0])
        elif await self.is_newest(flight):
            await (self.go_on_by_ledger(flight) if message.has_ledger else self.submit_again(flight))

    async def is_newest(self, flight: Flight) -> bool:
        """Tell whether a version is to be followed further; if not, all that there is to do has been done."""
        newest = await self.following.newest(flight.source)
        if newest == flight.source.etag or (newest is None and flight.message.submitted_date_time):
            return True
        await self.supersede(flight, newest)
        return False

    async def supersede(self, flight: Flight, newest: str | None) -> None:
        """End a version that was replaced or deleted, and see to it that the newest one is on its way.

        That one mostly has an event of its own; but the host may have lost it, and changing a blob's metadata makes a
        version of which Event Grid says nothing.
        """
        name = flight.source.name
        log.info("%r: this version was %s, so the app stops processing it", name, "replaced" if newest else "deleted")
        jobs = list(flight.message.jobs)
        if flight.message.has_ledger:
            ledger = await self.state.read_ledger(flight.source)
            jobs += [record for record in ledger.requests[ledger.collected_count :] if isinstance(record, JobRecord)]
        known = await flight.clear()
        await self.cancel(name, jobs or known)
        if newest:
            await self.submit(name)

    async def cancel(self, name: str, jobs: Sequence[SubmittedJob]) -> None:
        """Cancel jobs whose results nobody wants, as far as the service lets us: nothing depends on it."""
        try:
            for job in jobs:
                if await self.ner.cancel(job.job_id):
                    log.info("%r: asked the service to cancel job %s", name, job.job_id)
        except NerError as error:
            log.info("%r: could not cancel a job: %s", name, error.code)

    async def look_at_job(self, flight: Flight, submitted: SubmittedJob) -> None:
        """Look at the only job of a file."""
        try:
            job = await self.ner.look(submitted.job_id)
        except NerError as error:
            await flight.wait_or_fail(error)
            return
        if job.status.is_final:
            self.following.delays.learn(submitted.transactions_count, job.seconds)
            await flight.finish(outcomes.from_job(flight.source, self.following.api, submitted, job))
        elif self.following.is_overdue(flight.message):
            await flight.fail(TIMED_OUT)
            await self.cancel(flight.source.name, [submitted])
        elif await self.is_newest(flight):
            await flight.requeue()

    async def go_on_by_ledger(self, flight: Flight) -> None:
        """Submit or collect what is left of a file of many jobs."""
        ledger = await self.state.read_ledger(flight.source)
        if ledger.next_start is None:
            await self.many.collect(flight, ledger)
        else:
            await self.submit_again(flight, ledger)

    async def submit_again(self, flight: Flight, ledger: Ledger | None = None) -> None:
        """Submit what the service could not take before of a file, or what another worker did not come to."""
        # Without a ledger, the one that its record tells of was deleted by hand.
        if not await flight.claim(anew=ledger is not None and ledger.file is None):
            return
        source = flight.source
        async with self.reading if source.length > LARGE_FILE else nullcontext():
            upload = await self.storage.read_upload(source.name, source.etag)
            if upload is None:
                # Replaced or deleted at this very moment.
                await self.supersede(flight, await self.following.newest(source))
                return
            await self.submit_upload(upload, flight, ledger)

    async def aclose(self) -> None:
        """Close all connections."""
        await self.ner.aclose()
        await self.storage.aclose()
