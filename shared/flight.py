"""One version of a file on its way: who may submit it, what comes after each step, and how it ends.

A permanent error writes the outcome and ends the message; a transient one sends the message again with a delay, bounded
by a deadline. From before a version's first submission until its outcome, a message about it is in the queue.
"""

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from typing import Final

import msgspec

from shared import outcome as outcomes
from shared.delays import MOST_TRANSACTIONS
from shared.following import Following
from shared.jobs import JobMessage, SubmittedJob, encode_message, waiting_delay
from shared.ledger import ledger_name
from shared.ner.errors import NerError, Remedy
from shared.ner.model import Problem
from shared.outcome import MergedOutcome, Outcome
from shared.precedence import Verdict, verdict
from shared.source import Source
from shared.state_storage import ClaimConflictError, StateError, StoredSubmission
from shared.storage import Body, OutcomeConflictError, SentMessage
from shared.submissions import Step, Submission, next_step, watching_seconds

log = logging.getLogger("ner")

MOST_CONFLICTS: Final = 5
"""So many lost races in a row are no race: the message comes back later."""


class Flight:
    """One version on its way, for the time of one invocation.

    Attributes:
        message: what follows the version, as it is to be sent next.
    """

    def __init__(self, following: Following, message: JobMessage, *, is_queued: bool) -> None:
        """Go on with what a message says; without one in the queue (`is_queued`), claiming puts one there."""
        self.following = following
        self.message = message
        self.is_queued = is_queued
        self.sent: SentMessage | None = None
        self.record: StoredSubmission | None = None

    @property
    def source(self) -> Source:
        """The version."""
        return self.message.source

    async def claim(self, *, anew: bool = False) -> bool:
        """Claim the version for submitting it; `anew` although its record says that it was submitted.

        Returns:
            Whether this invocation is to submit it. If not, all that there is to do has been done.
        """
        if self.record is not None:
            return True
        state, now = self.following.state, self.following.now
        claim_id, patience = self.message.claim_id, self.following.patience
        known = None
        if self.is_queued:
            known = await state.read_submission(self.source)
        else:
            # An event mostly is the first to know of its version. The message comes before the claim: whatever happens
            # to this worker, it brings another one.
            self.sent = await self.following.storage.send(encode_message(self.message), patience.total_seconds())
        conflicts = 0
        while self.record is None:
            submission = known.submission if known else None
            step = next_step(submission, claim_id, now(), patience)
            if step is Step.SUBMIT and submission and submission.claimed_date_time:
                # Who submits many requests records each in the ledger.
                active = (await state.read_ledger(self.source)).active
                step = next_step(submission, claim_id, now(), patience, active)
            if step is not Step.SUBMIT and not (step is Step.FOLLOW and anew):
                await self.leave(step, submission)
                return False
            claim = Submission(self.message, now())
            try:
                self.record = StoredSubmission(
                    claim, await state.write_submission(claim, known.etag if known else None)
                )
            except ClaimConflictError:
                conflicts += 1
                if conflicts == MOST_CONFLICTS:
                    raise
                known = await state.read_submission(self.source)
        # Only now: whoever had claimed it before may have ended it until then.
        present = await self.following.storage.present_outcome(outcomes.blob_name(self.source.name))
        if present and present.source_etag == self.source.etag and present.etag != self.message.replaces:
            log.info("%r: already has an outcome, nothing to do", self.source.name)
            await self.clear()
            return False
        # Another version's outcome may have replaced this one's, and whoever followed this version may have cleared its
        # record away: then nothing else tells that it was submitted already.
        if (not self.is_queued or present) and await self.following.newest(self.source) != self.source.etag:
            await self.requeue_at_once()
            return False
        self.message = msgspec.structs.replace(self.message, is_first=present is None)
        return True

    async def leave(self, step: Step, known: Submission | None) -> None:
        """Do what is left to do for a version that somebody else submits, or has submitted."""
        name = self.source.name
        if known is None or step is Step.LEAVE:
            log.info("%r: another queue message tracks this version, nothing to do", name)
            await self.take_back()
        elif step is Step.FOLLOW:
            self.message = known.message
            await self.requeue()
        else:
            log.info("%r: another invocation is submitting it, checking again later", name)
            spread = self.following.random.random()
            await self.send(watching_seconds(known, self.following.now(), self.following.patience, spread))

    async def record_progress(self) -> bool:
        """Let the claim go, and record what the message says by now.

        Returns:
            False if somebody else has claimed the version meanwhile, since this worker took too long.
        """
        if self.record is None:
            return True
        submission = Submission(self.message)
        try:
            etag = await self.following.state.write_submission(submission, self.record.etag)
        except ClaimConflictError:
            log.warning(
                "%r: another invocation took over the claim, because this one held it longer than "
                "NER_SUBMIT_TIMEOUT_SECONDS",
                self.source.name,
            )
            await self.take_back()
            return False
        self.record = StoredSubmission(submission, etag)
        self.message = msgspec.structs.replace(self.message, record_etag=etag)
        return True

    async def send(self, delay_seconds: float) -> None:
        """Put the message into the queue, or change the one that this invocation put there."""
        text, storage = encode_message(self.message), self.following.storage
        waited = self.following.now() - self.message.received_date_time
        self.following.telemetry.waits(waited.total_seconds())
        if self.sent is not None:
            self.sent = await storage.change(self.sent, text, delay_seconds)
        if self.sent is None:
            # Also where somebody has received it meanwhile, who may have found nothing to do.
            await storage.send(text, delay_seconds)

    async def requeue(self, job: SubmittedJob | None = None, submitted: datetime | None = None) -> None:
        """Let the message come back when the next look is due.

        Args:
            job: which one it is due at, if not at the first one in the message.
            submitted: when that was, if not when the message says.
        """
        job = job or next(iter(self.message.jobs), None)
        age = self.following.now() - (submitted or self.message.since)
        jitter = self.following.random.uniform(-1, 1)
        size = job.transactions_count if job else MOST_TRANSACTIONS
        await self.send(self.following.delays.next_delay(size, age.total_seconds(), jitter))

    async def requeue_at_once(self) -> None:
        """Let the message come back for more work that is due already."""
        await self.send(0)

    async def wait_or_fail(
        self, error: NerError, submitted: Sequence[SubmittedJob] | None = None, since: datetime | None = None
    ) -> None:
        """After a failed call: let the message come back if waiting can help and there is time, else end the file.

        Args:
            error: what the call failed with.
            submitted: the file's jobs, where they are not in the message.
            since: when the waiting began, if not when the message says; the deadline counts from there as ever.
        """
        overdue = self.following.is_overdue(self.message)
        if error.throttled:
            self.following.throttle(error.retry_after)
        if error.remedy is Remedy.NONE or overdue:
            await self.fail(Problem(error.code, outcomes.explain(error, overdue=overdue)), submitted)
            return
        if error.remedy is Remedy.MEND_SETTINGS:
            log.error("%r: waiting until the app settings are fixed: %s", self.source.name, error.for_log)
        else:
            log.warning("%r: retrying later, because a service call failed: %s", self.source.name, error.for_log)
        if await self.record_progress():
            await self.wait(error.retry_after, since)

    async def wait(self, retry_after: float | None, since: datetime | None = None) -> None:
        """Let the message come back when the service may be used again: in so many seconds at least, if it said so."""
        await self.send(self.waiting_seconds(retry_after, since))

    def waiting_seconds(self, retry_after: float | None, since: datetime | None = None) -> float:
        """Return when the service may be used again, in seconds; `since` is when the waiting began, if not as told."""
        settings = self.following.settings
        return waiting_delay(
            self.following.now() - (since or self.message.since),
            least=settings.poll_min_seconds,
            most=settings.poll_max_seconds,
            jitter=self.following.random.random(),
            retry_after=retry_after,
        )

    async def put_off(self, seconds: float) -> None:
        """Leave a version of which the host has just told to a message that comes back in so many seconds at least."""
        storage, state = self.following.storage, self.following.state
        self.sent = await storage.send(encode_message(self.message), self.waiting_seconds(seconds))
        try:
            await state.write_submission(Submission(self.message), None)
        except ClaimConflictError:
            log.info("%r: another queue message tracks this version, nothing to do", self.source.name)
            await self.take_back()

    async def fail(self, problem: Problem, submitted: Sequence[SubmittedJob] | None = None) -> None:
        """End a file that gave no entities, or whose entities cannot be brought together."""
        jobs = self.message.jobs if submitted is None else submitted
        await self.finish(outcomes.failure(self.source, self.following.api, problem, jobs))

    async def finish(self, outcome: Outcome) -> None:
        """Write an outcome."""
        await self.write(outcome.status, outcomes.encode(outcome), outcomes.describe(outcome))

    async def finish_merged(self, outcome: MergedOutcome, pieces: Callable[[], AsyncIterator[bytes]]) -> None:
        """Write an outcome that comes in pieces."""
        await self.write(outcome.status, pieces, outcome.describe())

    async def write(self, status: outcomes.OutcomeStatus, body: Body, described: dict[str, object]) -> None:
        """Write what stands in the outcome blob, unless the version has ended or been replaced; then clean up."""
        with self.following.telemetry.part("outcome", status=status.value):
            decided = await self.write_if_newest(body, outcomes.metadata(status, self.source))
        if decided is None:
            # The next look ends it, and sees to the newer version; there is no point in looking at its jobs.
            self.message = msgspec.structs.replace(self.message, jobs=[], submitted_date_time=None)
            await self.requeue_at_once()
            return
        if decided is Verdict.WRITE:
            self.following.telemetry.ended(status.value)
            log.info("%r: wrote the outcome: %s", self.source.name, described)
        else:
            why = "already has one" if decided is Verdict.ENDED else "was replaced"
            log.info("%r: wrote no outcome, because this version %s", self.source.name, why)
        await self.clear()

    async def write_if_newest(self, body: Body, metadata: dict[str, str]) -> Verdict | None:
        """Write what stands in the outcome blob, unless the version has ended or been replaced.

        Returns:
            What was decided in the end; None if there is a newer version to be seen to.
        """
        storage, name = self.following.storage, outcomes.blob_name(self.source.name)
        decided, is_missing, conflicts = None, self.message.is_first, 0
        while decided is None:
            # In this order: an outcome of a version newer than `newest` then makes the writing fail. Where there was
            # none at the claim, the writing itself tells whether there is one now.
            present = None if is_missing else await storage.present_outcome(name)
            is_missing = False
            newest = await self.following.newest(self.source)
            decided = verdict(self.source, present, newest, self.message.replaces)
            if decided is Verdict.WRITE:
                try:
                    await storage.write_outcome(name, body, metadata, present)
                except OutcomeConflictError:
                    conflicts += 1
                    if conflicts == MOST_CONFLICTS:
                        raise
                    decided = None
        return None if decided is Verdict.SUPERSEDED and newest is not None else decided

    async def clear(self) -> list[SubmittedJob]:
        """Delete all that was kept about the version; return the jobs that its record knew of."""
        state = self.following.state
        known_etag = None if self.message.has_ledger else self.message.record_etag
        if known_etag and await state.delete_submission(self.source, known_etag):
            await self.take_back()
            return self.message.jobs
        try:
            record = self.record or await state.read_submission(self.source)
        except StateError as error:
            log.error("%r: %s", self.source.name, error)  # noqa: TRY400
            record = None
            await state.delete_unreadable(self.source)
        if self.message.has_ledger or (record and record.submission.message.has_ledger):
            await state.delete(ledger_name(self.source))
        if record and record.submission.message.claim_id == self.message.claim_id:
            await state.delete_submission(self.source, record.etag)
        await self.take_back()
        return record.submission.message.jobs if record else []

    async def take_back(self) -> None:
        """Delete the message that this invocation put into the queue, if nobody has received it."""
        if self.sent:
            await self.following.storage.take_back(self.sent)
            self.sent = None
