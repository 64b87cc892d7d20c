"""The jobs of the service: accepted at once, worked off in the background, kept for a day."""

import asyncio
import logging
import math
import random
import uuid
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from itertools import takewhile
from typing import Final

from local.ner.errors import ApiError
from local.ner.languages import AUTO, DetectedLanguage, detect
from local.ner.recogniser import Entity, Recogniser
from local.ner.requests import Deployment, InputDocument, JobRequest
from local.ner.switches import Switches

log = logging.getLogger("ner-emulator")

WAITING_SHARE: Final = 0.2
"""The part of a job's time for which it is not started yet."""
CANCELLING_SECONDS: Final = 0.5


class JobStatus(StrEnum):
    """The words of the generally available API."""

    NOT_STARTED = "notStarted"
    RUNNING = "running"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    PARTIALLY_COMPLETED = "partiallyCompleted"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def has_results(self) -> bool:
        """Whether the tasks of such a job show results."""
        return self in (JobStatus.SUCCEEDED, JobStatus.PARTIALLY_COMPLETED)

    @property
    def has_ended(self) -> bool:
        """Whether nothing happens to such a job any more."""
        return self.has_results or self in (JobStatus.FAILED, JobStatus.CANCELLED)


@dataclass(frozen=True, slots=True)
class DocumentAnswer:
    """What was found in a document, or the code and the message of why it was not looked at.

    `language` is that of a document that asked for it.
    """

    document: InputDocument
    entities: list[Entity] = field(default_factory=list)
    problem: tuple[str, str] | None = None
    language: DetectedLanguage | None = None


@dataclass(slots=True)
class Job:
    """A job; how it stands follows from the time."""

    job_id: str
    dialect: str
    request: JobRequest
    created: datetime
    expires: datetime
    seconds: float
    end: str
    answers: "asyncio.Future[list[DocumentAnswer]]"
    cancelled: datetime | None = None

    @property
    def cancels(self) -> datetime | None:
        """When the job was or will be cancelled; None if it ends by itself."""
        after = self.request.cancel_after
        if self.cancelled is not None or after is None or (self.seconds <= after and self.end != "never"):
            return self.cancelled
        return self.created + timedelta(seconds=after)

    def status(self, now: datetime) -> JobStatus:
        """Return how the job stands."""
        cancelled = self.cancels
        if cancelled is not None and now >= cancelled:
            gone = now >= cancelled + timedelta(seconds=CANCELLING_SECONDS)
            return JobStatus.CANCELLED if gone else JobStatus.CANCELLING
        age = (now - self.created).total_seconds()
        if age < self.seconds * WAITING_SHARE:
            return JobStatus.NOT_STARTED
        if age < self.seconds or self.end == "never" or not self.answers.done():
            return JobStatus.RUNNING
        return JobStatus.FAILED if self.answers.exception() else JobStatus(self.end)

    def last_update(self, now: datetime) -> datetime:
        """Return when the status last changed."""
        match self.status(now):
            case JobStatus.NOT_STARTED:
                return self.created
            case JobStatus.RUNNING:
                return self.created + timedelta(seconds=self.seconds * WAITING_SHARE)
            case JobStatus.CANCELLING:
                return self.cancels or now
            case JobStatus.CANCELLED if self.cancels is not None:
                return self.cancels + timedelta(seconds=CANCELLING_SECONDS)
            case _:
                return self.created + timedelta(seconds=self.seconds)


class Jobs:
    """All jobs that have not expired."""

    def __init__(self, recogniser: Recogniser, deployment: Deployment, now: Callable[[], datetime]) -> None:
        """Begin without jobs; `now` gives the time in UTC."""
        self.now = now
        self._recogniser = recogniser
        self._deployment = deployment
        self._jobs: dict[str, Job] = {}
        self._chance = random.Random(0)  # noqa: S311  # the same durations in every run
        # One job at a time: recognising is work for one processor, and the calls are to be answered meanwhile.
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="recogniser")

    def submit(self, dialect: str, request: JobRequest, switches: Switches) -> Job:
        """Accept a job and begin to work on it; needs a running event loop."""
        created = self.now()
        marker = switches.missing_marker
        answered = [document for document in request.documents if not marker or marker not in document.text]
        work = partial(self._answer, answered, detects_languages=request.detects_languages)
        answers = asyncio.get_running_loop().run_in_executor(self._worker, work)
        answers.add_done_callback(log_failure)
        seconds = switches.job_seconds + switches.seconds_per_document * (len(request.documents) - 1)
        job = Job(
            job_id=str(uuid.uuid4()),
            dialect=dialect,
            request=request,
            created=created,
            expires=created + timedelta(seconds=switches.retention_seconds),
            seconds=seconds * math.exp(self._chance.gauss(0.0, switches.job_spread)),
            end=switches.job_end,
            answers=answers,
        )
        self._forget_expired()
        self._jobs[job.job_id] = job
        return job

    def find(self, dialect: str, job_id: str) -> Job:
        """Return a job.

        Raises:
            ApiError: there is none, or it has expired, or it was submitted through another version of the API.
        """
        self._forget_expired()
        job = self._jobs.get(job_id)
        if job is None or job.expires <= self.now() or job.dialect != dialect:
            raise ApiError(404, "NotFound", f"There is no job {job_id[:64]!r}.", inner_code="OperationNotFound")
        return job

    def cancel(self, job: Job) -> None:
        """Begin to cancel a job; one that has ended stays as it is."""
        if not job.status(self.now()).has_ended and job.cancelled is None:
            job.cancelled = self.now()

    def end_all(self) -> None:
        """Let the time be over that each job takes; one that never ends goes on."""
        now = self.now()
        for job in self._jobs.values():
            job.seconds = min(job.seconds, (now - job.created).total_seconds())

    def all(self) -> Iterable[Job]:
        """Return the jobs in the order of their submission."""
        now = self.now()
        return [job for job in self._jobs.values() if job.expires > now]

    def close(self) -> None:
        """Stop working."""
        self._worker.shutdown(wait=False, cancel_futures=True)

    def _forget_expired(self) -> None:
        now = self.now()
        # Mostly in the order in which they expire, so that the first one that stays ends the search.
        for job_id in [job.job_id for job in takewhile(lambda job: job.expires <= now, self._jobs.values())]:
            del self._jobs[job_id]

    def _answer(self, documents: list[InputDocument], *, detects_languages: bool) -> list[DocumentAnswer]:
        return [self._answer_one(document, detects_languages=detects_languages) for document in documents]

    def _answer_one(self, document: InputDocument, *, detects_languages: bool) -> DocumentAnswer:
        if not document.text.strip():
            return DocumentAnswer(document, problem=("InvalidDocument", "The document's text is empty."))
        is_auto = (document.language or "").lower() == AUTO
        if not detects_languages if is_auto else not self._deployment.speaks(document.language):
            message = f"The language {document.language!r} is not a language of the project."
            return DocumentAnswer(document, problem=("UnsupportedLanguageCode", message))
        language = detect(document.text) if is_auto else None
        return DocumentAnswer(document, self._recogniser.recognise(document.text), language=language)


def log_failure(answers: "asyncio.Future[list[DocumentAnswer]]") -> None:
    """Log why a job could not be worked on."""
    if not answers.cancelled() and (error := answers.exception()) is not None:
        log.error("a job failed", exc_info=error)
