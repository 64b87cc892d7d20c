"""The way of one file: submit, poll, give up. The only module that brings decisions and I/O together.

A permanent error writes the outcome and ends the message; a transient one sends the message again with a delay, bounded
by a deadline; anything unforeseen is raised, so that the host's dequeue count and poison queue do their work and
`give_up` turns the poison into an outcome.
"""

import logging
import random
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Final

import msgspec

from shared import outcome as outcomes
from shared.documents import DocumentError, count_transactions, read_documents
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
from shared.ner.client import NerClient
from shared.ner.dialects import STRING_INDEX_TYPE, dialect_for
from shared.ner.errors import NerError, Remedy
from shared.ner.model import Job, Problem
from shared.outcome import Outcome
from shared.settings import Settings
from shared.source import Source
from shared.storage import Storage, Upload

if TYPE_CHECKING:
    import httpx

log = logging.getLogger("ner")

LONGEST_DISPLAY_NAME: Final = 256


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
        self.now = now
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
        """Send a file's text to the service and follow its job; where the service cannot take it, try again later."""
        try:
            documents = read_documents(
                upload.source.name,
                upload.data,
                language=self.settings.language,
                max_bytes=self.settings.max_blob_bytes,
            )
        except DocumentError as error:
            await self.finish(outcomes.failure(upload.source, self.api, Problem(error.code, error.message)))
            return
        try:
            job_id = await self.ner.submit(documents, upload.source.name[-LONGEST_DISPLAY_NAME:])
        except NerError as error:
            await self.wait_or_fail(message, error)
            return
        job = SubmittedJob(job_id, len(documents), count_transactions(documents))
        log.info("%r submitted as job %s", upload.source.name, job_id)
        await self.requeue(msgspec.structs.replace(message, submitted_date_time=self.now(), jobs=[job]))

    async def poll(self, body: bytes) -> None:
        """Look at the jobs of a message: write the outcome if they have ended, else look again later.

        Raises:
            MessageError: the message is not one of this app's.
        """
        message = decode_message(body)
        if message.source.container != self.settings.input_container:
            raise MessageError("the queue message is about a container that is not NER_INPUT_CONTAINER")
        if not message.jobs:
            await self.submit_again(message)
            return
        try:
            jobs = [await self.ner.look(submitted.job_id) for submitted in message.jobs]
        except NerError as error:
            await self.wait_or_fail(message, error)
            return
        if all(job.status.is_final for job in jobs):
            await self.finish(outcomes.from_jobs(message.source, self.api, list(zip(message.jobs, jobs, strict=True))))
        elif is_overdue(message, self.now(), self.settings.job_timeout_seconds):
            await self.finish(outcomes.failure(message.source, self.api, timed_out(jobs), message.jobs))
        else:
            await self.requeue(message)

    async def submit_again(self, message: JobMessage) -> None:
        """Submit a file that the service could not take before; a version that is gone has nothing to wait for."""
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
        problem = Problem(
            "ProcessingFailed",
            "This app failed on the file again and again. Its operator finds the reason in the log; "
            "then upload the file again.",
        )
        log.error("%r gave up: its message failed too often", message.source.name)
        await self.finish(outcomes.failure(message.source, self.api, problem, message.jobs))

    async def wait_or_fail(self, message: JobMessage, error: NerError) -> None:
        """After a failed call: send the message again if waiting can help and there is time, else end the file."""
        overdue = is_overdue(message, self.now(), self.settings.job_timeout_seconds)
        if error.remedy is Remedy.NONE or overdue:
            problem = Problem(error.code, explain(error, overdue=overdue))
            await self.finish(outcomes.failure(message.source, self.api, problem, message.jobs))
            return
        if error.remedy is Remedy.MEND_SETTINGS:
            log.error("%r waits until the app settings are mended: %s", message.source.name, error)
        else:
            log.warning("%r waits for the service: %s", message.source.name, error)
        await self.requeue(message, error.retry_after)

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
        await self.storage.write_outcome(name, outcomes.encode(outcome), outcomes.metadata(outcome))
        log.info("%r ended: %s", outcome.source.name, outcomes.describe(outcome))

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


def timed_out(jobs: list[Job]) -> Problem:
    """Return the uploader's error for jobs that did not end in time."""
    unfinished = sum(not job.status.is_final for job in jobs)
    return Problem(
        "JobTimeout",
        f"{unfinished} of {len(jobs)} jobs had not ended within NER_JOB_TIMEOUT_SECONDS. Upload the file again.",
    )
