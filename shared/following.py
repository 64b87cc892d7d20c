"""What comes after each step of a file: its message again, later, or its outcome.

A permanent error writes the outcome and ends the message; a transient one sends the message again with a delay, bounded
by a deadline.
"""

import logging
import random
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime

from shared import outcome as outcomes
from shared.jobs import JobMessage, SubmittedJob, encode_message, is_overdue, next_delay
from shared.ner.dialects import STRING_INDEX_TYPE, dialect_for
from shared.ner.errors import NerError, Remedy
from shared.ner.model import Problem
from shared.outcome import MergedOutcome, Outcome
from shared.settings import Settings
from shared.source import Source
from shared.storage import Body, Storage

log = logging.getLogger("ner")


class Following:
    """Sends messages and writes outcomes. Safe to share between concurrent invocations."""

    def __init__(self, settings: Settings, storage: Storage, now: Callable[[], datetime]) -> None:
        """Use a storage client; `now` gives the time in UTC."""
        self.settings = settings
        self.storage = storage
        self.now = now
        self.random = random.Random()  # noqa: S311  # spreads looks, guards nothing
        model = dialect_for(settings).describe_model()
        self.api = {"version": settings.api_version, **model, "stringIndexType": STRING_INDEX_TYPE}

    def is_overdue(self, message: JobMessage) -> bool:
        """Tell whether a file has been waited for long enough."""
        return is_overdue(message, self.now(), self.settings.job_timeout_seconds)

    async def requeue(
        self, message: JobMessage, retry_after: float | None = None, since: datetime | None = None
    ) -> None:
        """Send the message so that it becomes visible when the next look is due.

        Args:
            message: of the file.
            retry_after: seconds that the service asked for.
            since: when the waiting began, if not when the message says.
        """
        delay = next_delay(
            self.now() - (since or message.since),
            least=self.settings.poll_min_seconds,
            most=self.settings.poll_max_seconds,
            jitter=self.random.uniform(-1, 1),
            retry_after=retry_after,
        )
        await self.storage.send(encode_message(message), delay)

    async def requeue_at_once(self, message: JobMessage) -> None:
        """Send the message for more work that is due already."""
        await self.storage.send(encode_message(message), 0)

    async def wait_or_fail(
        self,
        message: JobMessage,
        error: NerError,
        submitted: Sequence[SubmittedJob] | None = None,
        since: datetime | None = None,
    ) -> bool:
        """After a failed call: send the message again if waiting can help and there is time, else end the file.

        Args:
            message: of the file.
            error: what the call failed with.
            submitted: the file's jobs, where they are not in the message.
            since: when the waiting began, if not when the message says; the deadline counts from there as ever.

        Returns:
            Whether the file has ended.
        """
        overdue = self.is_overdue(message)
        if error.remedy is Remedy.NONE or overdue:
            await self.fail(message, Problem(error.code, explain(error, overdue=overdue)), submitted)
            return True
        if error.remedy is Remedy.MEND_SETTINGS:
            log.error("%r waits until the app settings are mended: %s", message.source.name, error)
        else:
            log.warning("%r waits for the service: %s", message.source.name, error)
        await self.requeue(message, error.retry_after, since)
        return False

    async def fail(
        self, message: JobMessage, problem: Problem, submitted: Sequence[SubmittedJob] | None = None
    ) -> None:
        """End a file that gave no entities, or whose entities cannot be brought together."""
        jobs = message.jobs if submitted is None else submitted
        await self.finish(outcomes.failure(message.source, self.api, problem, jobs))

    async def finish(self, outcome: Outcome) -> None:
        """Write an outcome."""
        await self.write(outcome.source, outcome.status, outcomes.encode(outcome))
        log.info("%r ended: %s", outcome.source.name, outcomes.describe(outcome))

    async def finish_merged(self, outcome: MergedOutcome, pieces: Callable[[], AsyncIterator[bytes]]) -> None:
        """Write an outcome that comes in pieces."""
        await self.write(outcome.source, outcome.status, pieces)
        log.info("%r ended: %s", outcome.source.name, outcome.describe())

    async def write(self, source: Source, status: outcomes.OutcomeStatus, body: Body) -> None:
        """Write what stands in the outcome blob."""
        await self.storage.write_outcome(outcomes.blob_name(source.name), body, outcomes.metadata(status, source))

    async def has_ended(self, source: Source) -> bool:
        """Tell whether this version of a file has its outcome."""
        return await self.storage.has_outcome(outcomes.blob_name(source.name), source.etag)


def explain(error: NerError, *, overdue: bool) -> str:
    """Return the uploader's sentence for a call that failed for good."""
    if error.remedy is Remedy.NONE:
        return error.message
    waited = " while this app waited for it until NER_JOB_TIMEOUT_SECONDS" if overdue else ""
    return f"The service could not be used{waited}: {error.message}"
