"""The way of one file: submit, poll, give up. The only module that brings decisions and I/O together.

What it knows how to end, `following` ends; anything unforeseen is raised, so that the host's dequeue count and poison
queue do their work and `give_up` turns the poison into an outcome.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import nullcontext
from datetime import datetime
from typing import TYPE_CHECKING, Final

import msgspec

from shared import outcome as outcomes
from shared.collecting import TIMED_OUT
from shared.documents import DocumentError, Documents, read_documents, survey
from shared.following import Following
from shared.jobs import JobMessage, MessageError, SubmittedJob, decode_message, utc_now
from shared.ledger import Ledger
from shared.many_jobs import ManyJobs, display_name
from shared.merging import numbered
from shared.ner.client import NerClient
from shared.ner.errors import NerError
from shared.ner.model import Problem
from shared.packing import Request, pack
from shared.settings import Settings
from shared.source import Source
from shared.state_storage import StateStorage
from shared.storage import Storage, Upload

if TYPE_CHECKING:
    import httpx

log = logging.getLogger("ner")

LARGE_FILE: Final = 1024 * 1024
"""Bytes."""
MOST_LARGE_FILES: Final = 4
"""That are read again at the same time, each of up to NER_MAX_BLOB_BYTES; looks need no file."""

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
        self.following = Following(settings, self.storage, now)
        self.many = ManyJobs(self.ner, self.state, self.following)
        self.now = now
        self.reading = asyncio.Semaphore(MOST_LARGE_FILES)

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

    async def submit_upload(self, upload: Upload, message: JobMessage, ledger: Ledger | None = None) -> None:
        """Send a file's text to the service and follow its jobs; where the service cannot take it, try again later.

        A ledger that is not empty says that the file was begun before, and so was surveyed.
        """
        try:
            documents = self.documents_of(upload)
            if ledger is not None and ledger.file is not None:
                await self.many.submit(message, ledger, documents)
                return
            found = survey(documents)
        except DocumentError as error:
            await self.following.fail(message, Problem(error.code, error.message))
            return
        source = msgspec.structs.replace(upload.source, encoding=documents.encoding)
        message = msgspec.structs.replace(message, source=source)
        if found.erroneous_count == found.documents_count:
            count, problems = found.documents_count, found.problems
            await self.following.finish(outcomes.invalid(source, self.following.api, count, problems))
            return
        first = next(pack(documents.entries()))
        if first.end is None and not found.problems:
            await self.submit_request(first, message)
            return
        await self.many.begin(message, found, documents)

    async def submit_request(self, request: Request, message: JobMessage) -> None:
        """Submit a file that is one request."""
        name = message.source.name
        try:
            job_id = await self.ner.submit(numbered(request.documents), display_name(message.source))
        except NerError as error:
            await self.following.wait_or_fail(message, error)
            return
        job = SubmittedJob(job_id, len(request.documents), request.transactions_count)
        log.info("%r submitted as job %s", name, job_id)
        await self.following.requeue(msgspec.structs.replace(message, submitted_date_time=self.now(), jobs=[job]))

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
            await self.following.wait_or_fail(message, error)
            return
        if job.status.is_final:
            await self.following.finish(outcomes.from_job(message.source, self.following.api, submitted, job))
        elif self.following.is_overdue(message):
            await self.following.fail(message, TIMED_OUT)
        else:
            await self.following.requeue(message)

    async def go_on_by_ledger(self, message: JobMessage) -> None:
        """Submit or collect what is left of a file of many jobs."""
        ledger = await self.state.read_ledger(message.source)
        if ledger.next_start is None:
            await self.many.collect(message, ledger)
        # Without a ledger the message came once more after the file had ended, or somebody deleted the ledger.
        elif ledger.file is not None or not await self.following.has_ended(message.source):
            await self.submit_again(message, ledger)

    async def submit_again(self, message: JobMessage, ledger: Ledger | None = None) -> None:
        """Submit what the service could not take before of a file; a version that is gone has nothing to wait for."""
        async with self.reading if message.source.length > LARGE_FILE else nullcontext():
            upload = await self.storage.read_upload(message.source.name, message.source.etag)
            if upload is None:
                log.info("%r was replaced or deleted while it waited: nothing to do", message.source.name)
                if ledger is not None:
                    await self.state.delete(ledger.name)
                return
            await self.submit_upload(upload, message, ledger)

    async def give_up(self, body: bytes) -> None:
        """Turn a poison message into a failed outcome."""
        try:
            message = decode_message(body)
        except MessageError:
            # Nobody's file: raising would only bring the message back. The host's log names its id.
            log.exception("a poison message cannot be read and is dropped (%d bytes)", len(body))
            return
        log.error("%r gave up: its message failed too often", message.source.name)
        if message.has_ledger:
            await self.many.fail(message, GAVE_UP)
        else:
            await self.following.fail(message, GAVE_UP)

    async def aclose(self) -> None:
        """Close all connections."""
        await self.ner.aclose()
        await self.storage.aclose()
