"""How a version ends: its outcome is written, then its claim is released; the batch's record is deleted last."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final, TypeVar

from shared import outcome as outcomes
from shared.ner.errors import NerError
from shared.ner.model import Problem, loggable_job
from shared.outcome import MergedOutcome, Outcome
from shared.pipeline.rescheduling import Turn
from shared.pipeline.services import Services
from shared.precedence import Verdict, may_write
from shared.state.batch import BatchKind, Member, SubmittedJob
from shared.storage.blobs import Body, OutcomeConflictError

log = logging.getLogger("ner")

M = TypeVar("M")
T = TypeVar("T")

WAITS: Final = {"waits_for": "rehydration"}
"""Metadata of an outcome that the sweep replaces once its file has left the archive tier."""
MAX_CONFLICTS: Final = 5
"""How many conflicts in a row are tolerated; after that, the batch continues later."""
GAVE_UP: Final = Problem(
    "ProcessingFailed",
    "The app failed to process this file several times. Ask its operator to check the log, then upload the file again.",
)
REFUSED: Final = Problem(
    "StorageUnavailable",
    "The app could not process the file within NER_JOB_TIMEOUT_SECONDS, because the storage account refused a call. "
    "Ask the app's operator to check the log, then upload the file again.",
)
NOT_SUBMITTED: Final = Problem(
    "NotSubmitted",
    "The app could not submit the file within NER_JOB_TIMEOUT_SECONDS. Ask its operator to check the log, then upload "
    "the file again.",
)
ARCHIVED: Final = Problem(
    "FileArchived",
    "The file is in the archive tier, where it cannot be read. Rehydrate it, unless that has begun: change its tier to "
    "hot, cool or cold. The app submits it once it has been rehydrated.",
)


async def fail(services: Services, member: Member, problem: Problem, jobs: Sequence[SubmittedJob] = ()) -> None:
    """End a version with a failed outcome that reports a problem."""
    await finish(services, member, outcomes.failure(member.source, services.api, problem, jobs))


async def finish(services: Services, member: Member, outcome: Outcome) -> None:
    """End a version with an outcome.

    Raises:
        AzureError: storage refused a call, for instance because another program holds a lease on the outcome.
        OutcomeConflictError: other workers wrote the outcome each time.
    """
    metadata = outcomes.metadata(outcome.status, member.source, member.digest)
    if outcome.errors == [ARCHIVED]:
        metadata |= WAITS
    await write_and_release(services, member, metadata, outcomes.encode(outcome), outcomes.describe(outcome))


async def finish_merged(
    services: Services, member: Member, outcome: MergedOutcome, pieces: Callable[[], AsyncIterator[bytes]]
) -> None:
    """End a version with an outcome that is yielded in pieces. Raises the same errors as `finish`."""
    metadata = outcomes.metadata(outcome.status, member.source, member.digest)
    await write_and_release(services, member, metadata, pieces, outcome.describe())


async def write_and_release(
    services: Services, member: Member, metadata: dict[str, str], body: Body, described: dict[str, object]
) -> None:
    """Write the outcome unless the version has ended or been replaced, then release its claim.

    A version that was replaced keeps its claim, which the newer one takes over: without an outcome, nothing else shows
    a worker that has just read the old version that it was charged.
    """
    name, status = member.source.name, metadata["status"]
    with services.telemetry.part("outcome", status=status):
        decided = await write_if_newest(services, member, body, metadata)
    if decided is Verdict.WRITTEN:
        services.telemetry.ended(status)
        log.info("%r: wrote the outcome: %s", name, described)
    else:
        why = "already has one" if decided is Verdict.ENDED else "was replaced"
        log.info("%r: wrote no outcome, because this version %s", name, why)
    if decided is not Verdict.SUPERSEDED:
        await services.state.release_claim(name, member.claim_etag)


async def write_if_newest(services: Services, member: Member, body: Body, metadata: dict[str, str]) -> Verdict:
    """Write the outcome unless the version has ended or been replaced; return what happened."""
    source, blobs = member.source, services.blobs
    replaced = member.outcome_etag
    for _ in range(MAX_CONFLICTS):
        # A consumer of outcomes should not receive that of an old version after a newer one was uploaded.
        newest = await blobs.newest(source.name)
        if not may_write(source, newest, holds_claim=newest is None and await holds(services, member)):
            return Verdict.SUPERSEDED
        try:
            await blobs.write_outcome(source.name, body, metadata, replaced)
        except OutcomeConflictError:
            present = await blobs.present_outcome(source.name)
            if present is not None and present.source_etag == source.etag:
                return Verdict.ENDED
            replaced = present.etag if present else None
        else:
            return Verdict.WRITTEN
    raise OutcomeConflictError


async def holds(services: Services, member: Member) -> bool:
    """Return whether a version still has its file's claim, which a newer one takes over."""
    found = await services.state.read_claim(member.source.name)
    return found is not None and found.etag == member.claim_etag


async def try_each(members: Sequence[M], step: Callable[[M], Awaitable[T]]) -> list[T | BaseException]:
    """Take a step for all members of a batch concurrently; return the result or the error of each."""
    return await asyncio.gather(*(step(member) for member in members), return_exceptions=True)


def without_errors(results: Sequence[T | BaseException]) -> list[T]:
    """Return the results of `try_each`. Raises the first error among them."""
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]


async def for_each(members: Sequence[M], step: Callable[[M], Awaitable[T]]) -> list[T]:
    """Take a step for all members of a batch concurrently; if it fails for one, still complete it for the others.

    Raises:
        Exception: the error of the first member whose step failed.
    """
    if len(members) == 1:
        return [await step(members[0])]
    return without_errors(await try_each(members, step))


async def give_up_version(services: Services, turn: Turn) -> None:
    """End a batch whose files were replaced or deleted; newer versions or the sweep take care of their claims."""
    for member in turn.record.members:
        log.info("%r: this version was replaced or deleted, so the app stops processing it", member.source.name)
    await end_batch(services, turn)


async def fail_members(services: Services, turn: Turn, problem: Problem, jobs: Sequence[SubmittedJob] = ()) -> None:
    """Write a failed outcome for each member of a batch; `jobs` are the accepted jobs that are not in the record."""
    record = turn.record

    async def end(member: Member) -> None:
        with services.telemetry.of_member("finish", turn.batch, record, member):
            await fail(services, member, problem, jobs or record.jobs_of(member))

    await for_each(record.members, end)


async def fail_batch(services: Services, turn: Turn, problem: Problem, *, jobs: Sequence[SubmittedJob] = ()) -> None:
    """End a batch, with a failed outcome for each member."""
    await fail_members(services, turn, problem, jobs)
    await end_batch(services, turn)


async def end_batch(services: Services, turn: Turn) -> None:
    """Delete the record of a batch that has ended, unless a newer version has taken over its job; delete its ledger."""
    baton = turn.baton
    if turn.record.kind is BatchKind.LEDGER:
        await services.ledgers.delete(turn.batch)
        baton = None
    await services.state.delete_batch(turn.batch, baton)


async def cancel(services: Services, names: str, job_id: str) -> None:
    """Try to cancel a job whose results are not needed; nothing depends on whether that succeeds."""
    try:
        if await services.ner.cancel(job_id):
            log.info("%s: asked the service to cancel job %s", names, loggable_job(job_id))
    except NerError as error:
        log.info("%s: could not cancel a job: %s", names, error.for_log)
