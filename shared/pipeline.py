"""The way of one file: submit, poll, give up. The only module that brings decisions and I/O together.

A permanent error writes the outcome and ends the message; a transient one sends the message again with a delay, bounded
by a deadline; anything unforeseen is raised, so that the host's dequeue count and poison queue do their work and
`give_up` turns the poison into an outcome.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Final

import msgspec

from shared import outcome as outcomes
from shared.documents import DocumentError, Documents, read_documents, survey
from shared.jobs import (
    JobMessage,
    MessageError,
    SubmittedJob,
    decode_message,
    encode_message,
    is_overdue,
    next_delay,
    utc_now,
)
from shared.ledger import FileRecord, Ledger
from shared.many_jobs import TIMED_OUT, ManyJobs, display_name, merged_outcome
from shared.merging import numbered
from shared.ner.client import NerClient
from shared.ner.dialects import STRING_INDEX_TYPE, dialect_for
from shared.ner.errors import NerError, Remedy
from shared.ner.model import Problem
from shared.outcome import Outcome
from shared.packing import Request, pack
from shared.settings import Settings
from shared.source import Source
from shared.state_storage import LedgerConflictError, StateStorage
from shared.storage import Storage, Upload

if TYPE_CHECKING:
    import httpx

log = logging.getLogger("ner")

MOST_FILES_READ: Final = 4
"""Files that are read again at the same time, each of up to NER_MAX_BLOB_BYTES; looks need no file."""

GAVE_UP: Final = Problem(
    "ProcessingFailed",
    "This app failed on the file again and again. Its operator finds the reason in the log; "
    "then upload the file again.",
)


class Pipeline:
    """Everything the three functions do, over one HTTP client and one storage client."""

    def __init__(
        self,
        settings: Settings,
        *,
        transport: "httpx.AsyncBaseTransport | None" = None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        """Make the clients; nothing is connected yet."""
        self.settings = settings
        self.ner = NerClient(settings, transport=transport)
        self.storage = Storage(settings)
        self.state = StateStorage(self.storage.blobs, settings.state_container)
        self.many = ManyJobs(self.ner, self.state, now)
        self.now = now
        self.reading = asyncio.Semaphore(MOST_FILES_READ)
        self.random = random.Random()  # noqa: S311  # spreads looks, guards nothing
        model = dialect_for(settings).describe_model()
        self.api = {"version": settings.api_version, **model, "stringIndexType": STRING_INDEX_TYPE}

    async def submit(self, name: str, data: bytes, version: Source | None) -> None:
        """Submit a newly uploaded file.

        Args:
            name: the blob's name within the input container.
            data: its bytes as the host read them.
            version: which version the bytes are; None if the host did not say, then the blob is read again.
        """
        upload = Upload(version, data) if version else await self.storage.read_upload(name)
        if upload is None:
            log.info("%r is gone before it was submitted: nothing to do", name)
            return
        await self.submit_upload(upload, JobMessage(source=upload.source, received_date_time=self.now()))

    async def submit_upload(self, upload: Upload, message: JobMessage) -> None:
        """Send a file's text to the service and follow its jobs; where the service cannot take it, try again later."""
        try:
            documents = self.documents_of(upload)
            found = survey(documents)
        except DocumentError as error:
            await self.finish(outcomes.failure(upload.source, self.api, Problem(error.code, error.message)))
            return
        source = msgspec.structs.replace(upload.source, encoding=documents.encoding)
        message = msgspec.structs.replace(message, source=source)
        if found.erroneous_count == found.documents_count:
            await self.finish(outcomes.invalid(source, self.api, found.documents_count, found.problems))
            return
        first = next(pack(documents.entries()))
        if first.end is None and not found.problems:
            await self.submit_request(first, message)
            return
        ledger = await self.state.read_ledger(source)
        if ledger.file is None:
            record = FileRecord(source, found.documents_count, found.erroneous_count, found.problems)
            await self.state.append(ledger, record)
        await self.go_on(msgspec.structs.replace(message, has_ledger=True), ledger, documents)

    async def submit_request(self, request: Request, message: JobMessage) -> None:
        """Submit a file that is one request."""
        name = message.source.name
        try:
            job_id = await self.ner.submit(numbered(request.documents), display_name(message.source))
        except NerError as error:
            await self.wait_or_fail(message, error)
            return
        job = SubmittedJob(job_id, len(request.documents), request.transactions_count)
        log.info("%r submitted as job %s", name, job_id)
        await self.requeue(msgspec.structs.replace(message, submitted_date_time=self.now(), jobs=[job]))

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
        message = decode_message(body)
        if message.source.container != self.settings.input_container:
            raise MessageError("the queue message is about a container that is not NER_INPUT_CONTAINER")
        if message.has_ledger:
            await self.go_on_by_ledger(message)
        elif message.jobs:
            await self.look_at_job(message, message.jobs[0])
        else:
            await self.submit_again(message)

    async def look_at_job(self, message: JobMessage, submitted: SubmittedJob) -> None:
        """Look at the only job of a file."""
        try:
            job = await self.ner.look(submitted.job_id)
        except NerError as error:
            await self.wait_or_fail(message, error)
            return
        if job.status.is_final:
            await self.finish(outcomes.from_job(message.source, self.api, submitted, job))
        elif is_overdue(message, self.now(), self.settings.job_timeout_seconds):
            await self.finish(outcomes.failure(message.source, self.api, TIMED_OUT, message.jobs))
        else:
            await self.requeue(message)

    async def go_on_by_ledger(self, message: JobMessage) -> None:
        """Submit or collect what is left of a file of many jobs."""
        ledger = await self.state.read_ledger(message.source)
        name, etag = message.source.name, message.source.etag
        if ledger.file is None:
            # The message came once more after the file had ended, or somebody deleted the ledger.
            if not await self.storage.has_outcome(outcomes.blob_name(name), etag):
                await self.submit_again(msgspec.structs.replace(message, has_ledger=False))
        elif ledger.next_start is None:
            await self.go_on(message, ledger, None)
        else:
            async with self.reading:
                upload = await self.storage.read_upload(name, etag)
                if upload is None:
                    log.info("%r was replaced or deleted while it was submitted: nothing more to do", name)
                    await self.state.delete(ledger.name)
                    return
                await self.go_on(message, ledger, self.documents_of(upload))

    async def go_on(self, message: JobMessage, ledger: Ledger, documents: Documents | None) -> None:
        """Submit what the ledger lacks of `documents`; if nothing is left, collect; in the end write the outcome."""
        timeout = self.settings.job_timeout_seconds
        try:
            if documents is not None:
                await self.many.submit(ledger, message.source, documents)
            if ledger.next_start is not None:
                await self.storage.send(encode_message(message), 0)
                return
            submitted = ledger.requests[-1].submitted_date_time
            if message.submitted_date_time is None:
                log.info("%r submitted as %d jobs", message.source.name, len(ledger.jobs))
                message = msgspec.structs.replace(message, submitted_date_time=submitted)
            await self.many.collect(ledger, overdue=is_overdue(message, self.now(), timeout))
        except LedgerConflictError:
            log.info("%r is worked on by another invocation too: looking again later", message.source.name)
            await self.requeue(message)
            return
        except NerError as error:
            await self.wait_or_fail(message, error, ledger)
            return
        if ledger.collected_count == len(ledger.requests):
            await self.finish_merged(message.source, ledger)
        else:
            await self.requeue(message)

    async def submit_again(self, message: JobMessage) -> None:
        """Submit a file that the service could not take before; a version that is gone has nothing to wait for."""
        async with self.reading:
            upload = await self.storage.read_upload(message.source.name, message.source.etag)
            if upload is None:
                log.info("%r was replaced or deleted while it waited: nothing to do", message.source.name)
                return
            await self.submit_upload(upload, message)

    async def give_up(self, body: bytes) -> None:
        """Turn a poison message into a failed outcome."""
        try:
            message = decode_message(body)
        except MessageError:
            # Nobody's file: raising would only bring the message back. The host's log names its id.
            log.exception("a poison message cannot be read and is dropped (%d bytes)", len(body))
            return
        log.error("%r gave up: its message failed too often", message.source.name)
        ledger = await self.state.read_ledger(message.source) if message.has_ledger else None
        await self.fail(message, GAVE_UP, ledger)

    async def wait_or_fail(self, message: JobMessage, error: NerError, ledger: Ledger | None = None) -> None:
        """After a failed call: send the message again if waiting can help and there is time, else end the file."""
        overdue = is_overdue(message, self.now(), self.settings.job_timeout_seconds)
        if error.remedy is Remedy.NONE or overdue:
            await self.fail(message, Problem(error.code, explain(error, overdue=overdue)), ledger)
            return
        if error.remedy is Remedy.MEND_SETTINGS:
            log.error("%r waits until the app settings are mended: %s", message.source.name, error)
        else:
            log.warning("%r waits for the service: %s", message.source.name, error)
        await self.requeue(message, error.retry_after)

    async def fail(self, message: JobMessage, problem: Problem, ledger: Ledger | None) -> None:
        """End a file that gave no entities, or whose entities cannot be brought together."""
        await self.finish(outcomes.failure(message.source, self.api, problem, ledger.jobs if ledger else message.jobs))
        if ledger:
            await self.state.delete(ledger.name)

    async def requeue(self, message: JobMessage, retry_after: float | None = None) -> None:
        """Send the message so that it becomes visible when the next look is due."""
        delay = next_delay(
            self.now() - message.since,
            least=self.settings.poll_min_seconds,
            most=self.settings.poll_max_seconds,
            jitter=self.random.uniform(-1, 1),
            retry_after=retry_after,
        )
        await self.storage.send(encode_message(message), delay)

    async def finish(self, outcome: Outcome) -> None:
        """Write the outcome."""
        name = outcomes.blob_name(outcome.source.name)
        metadata = outcomes.metadata(outcome.status, outcome.source)
        await self.storage.write_outcome(name, outcomes.encode(outcome), metadata)
        log.info("%r ended: %s", outcome.source.name, outcomes.describe(outcome))

    async def finish_merged(self, source: Source, ledger: Ledger) -> None:
        """Write the outcome of a file of many jobs from what was collected, which then is needed no more."""
        outcome = merged_outcome(ledger, source, self.api)
        name, metadata = outcomes.blob_name(source.name), outcomes.metadata(outcome.status, source)
        await self.storage.write_outcome(name, self.many.pieces(ledger, outcome), metadata)
        await self.state.delete(ledger.name)
        log.info("%r ended: %s", source.name, outcome.describe())

    async def aclose(self) -> None:
        """Close all connections."""
        await self.ner.aclose()
        await self.storage.aclose()


def explain(error: NerError, *, overdue: bool) -> str:
    """Return the uploader's sentence for a call that failed for good."""
    if error.remedy is Remedy.NONE:
        return error.message
    waited = " while this app waited for it until NER_JOB_TIMEOUT_SECONDS" if overdue else ""
    return f"The service could not be used{waited}: {error.message}"
