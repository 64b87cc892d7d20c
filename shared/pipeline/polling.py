"""The next step of a batch when its message arrives: post its texts, poll its job, or continue its ledger."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import Final

from azure.core.exceptions import AzureError

from shared import outcome as outcomes
from shared.documents import DocumentError
from shared.message import BatchMessage, is_expired
from shared.ner.errors import NerError
from shared.ner.model import TIMED_OUT, Job, Problem, loggable_job
from shared.pipeline.calling import (
    after_failed_call,
    after_refused_call,
    get_job,
    host_of,
    is_of_another_resource,
    next_poll,
    of_another_resource,
)
from shared.pipeline.collecting import collect
from shared.pipeline.decisions import before_last_try
from shared.pipeline.dissolving import dissolve
from shared.pipeline.finishing import (
    ARCHIVED,
    GAVE_UP,
    NOT_SUBMITTED,
    cancel,
    end_batch,
    fail,
    fail_batch,
    finish,
    for_each,
    give_up_version,
    holds,
    try_each,
    without_errors,
)
from shared.pipeline.ledger_posting import post_all
from shared.pipeline.posting import post_files
from shared.pipeline.rescheduling import Turn, reschedule_in, take_baton
from shared.pipeline.services import Services
from shared.pipeline.submitting import BUSY_SECONDS, LARGE_FILE
from shared.pipeline.texts import File, ready
from shared.shares import failed_as_a_whole, split
from shared.state.batch import BatchKind, BatchRecord, Member, SubmittedJob
from shared.state.claim import MAX_TRIES
from shared.storage.blobs import OutcomeConflictError
from shared.storage.errors import reason_of

log = logging.getLogger("ner")

SHARED_JOB_SHARE: Final = 0.5
"""The part of NER_JOB_TIMEOUT_SECONDS that a job of several files may take."""


async def find_turn(services: Services, message: BatchMessage) -> Turn | None:
    """Return the turn that a message starts; None if another worker continues the batch, or it has ended.

    Raises:
        AzureError: storage refused a call.
        StateError: the record cannot be read.
    """
    if message.record is not None:
        return Turn(message.batch, message.record, message.etag)
    stored = await services.state.read_batch(message.batch)
    if stored is None or stored.etag != message.etag:
        log.info("discarded a message of batch %s, which has ended or which another worker continues", message.batch)
        return None
    return Turn(message.batch, stored.record, stored.etag)


async def count_try(services: Services, turn: Turn, *, comes_again: bool) -> Turn | None:
    """Count this try, because a worker may have died of the same step; end a batch that too many have died of.

    A batch of several files is dissolved instead, because one of them may be the cause. If it has no job yet, this
    happens immediately. If it has one, which was charged, the job is polled until the last try, and then the batch is
    dissolved after the same delay as that before the last try.

    Returns:
        The turn with its new baton; None if another worker has it, or the batch has ended.

    Raises:
        AzureError: storage refused a call.
        OutcomeConflictError: other workers wrote the outcome each time.
    """
    record = turn.record
    if record.is_of_several and (record.kind is BatchKind.WAITING or record.tries > MAX_TRIES):
        await dissolve(services, turn, "a worker may have died of one of them", after_deaths=True)
        return None
    if record.tries >= MAX_TRIES:
        if record.is_of_several:
            delay = before_last_try(MAX_TRIES - 1, services.settings.submit_timeout_seconds)
            await reschedule_in(services, turn.changed(tries=record.tries + 1), delay)
        else:
            await give_up_batch(services, turn)
        return None
    # The first worker that died of a poll has not been counted.
    return await take_baton(services, turn.changed(tries=max(record.tries, int(comes_again))))


async def poll(services: Services, turn: Turn) -> None:
    """Take the next step of a batch.

    Raises:
        AzureError: storage refused a call.
        StateError: a blob of the app itself cannot be read.
    """
    record, now, closed = turn.record, services.now(), services.delays.closed_seconds
    is_early = record.not_before is not None and now < record.not_before
    if (closed or is_early) and not is_expired(record.since, now, services.settings.job_timeout_seconds):
        # The service is throttling and would refuse this call, or the text must not be submitted yet.
        await reschedule_in(services, turn, closed)
        return
    match record.kind:
        case BatchKind.WAITING:
            await post_later(services, turn, post_files)
        case BatchKind.JOB if record.job is not None:
            await poll_job(services, turn, record.job)
        case BatchKind.LEDGER:
            await go_on_with_ledger(services, turn)
        case _:
            log.info("discarded a message of batch %s, whose files other workers have claimed", turn.batch)


async def poll_job(services: Services, turn: Turn, submitted: SubmittedJob) -> None:
    """Poll a job: end its batch if the job has ended or is too late, else poll again later."""
    record = turn.record
    age = services.now() - record.since
    try:
        job = await get_job(services, record, submitted.job_id, record.since)
    except NerError as error:
        await after_failed_call(services, turn, error)
        return
    if job.status.is_final:
        services.delays.learn(submitted.transactions_count, job.working_seconds)
        await after_job(services, turn, submitted, job)
    elif is_expired(record.since, services.now(), longest_wait(services, record)):
        if record.is_of_several:
            await dissolve(services, turn, f"their job {loggable_job(submitted.job_id)} has not ended in time")
        else:
            await fail_batch(services, turn, TIMED_OUT)
        await cancel(services, turn.names, submitted.job_id)
    else:
        await reschedule_in(services, turn.after_progress(), next_poll(services, submitted, age.total_seconds()))


def longest_wait(services: Services, record: BatchRecord) -> float:
    """Return how long a job may take, in seconds.

    The service deletes a job after 24 hours, the default of NER_JOB_TIMEOUT_SECONDS. If several files share a job that
    does not end, they must continue alone before that, because one of them may be what it does not end for.
    """
    share = SHARED_JOB_SHARE if record.is_of_several else 1.0
    return services.settings.job_timeout_seconds * share


async def after_job(services: Services, turn: Turn, submitted: SubmittedJob, job: Job) -> None:
    """End a batch whose job has ended, each file with its part of the results; dissolve it if the whole job failed."""
    if turn.record.is_of_several and failed_as_a_whole(job, submitted.documents_count):
        await after_failed_job(services, turn, submitted, job)
        return
    members = turn.record.members
    results = await asyncio.gather(*end_all(services, turn, members, submitted, job), return_exceptions=True)
    refused = [(member, result) for member, result in zip(members, results, strict=True) if result is not None]
    if not refused:
        await end_batch(services, turn)
        return
    _, error = refused[0]
    if len(refused) == len(members) or not isinstance(error, AzureError | OutcomeConflictError):
        raise error
    # Keep only files without an outcome: a consumer may already have taken away the outcomes of the others.
    await after_refused_call(services, turn.changed(members=[member for member, _ in refused]), error)


def end_all(
    services: Services, turn: Turn, members: Sequence[Member], submitted: SubmittedJob, job: Job
) -> Iterator[Awaitable[None]]:
    """Yield, for each of these members of a batch, the step that writes its outcome."""

    async def end(member: Member, part: Job) -> None:
        outcome = outcomes.from_job(member.source, services.api, submitted.share_of(member), part)
        with services.telemetry.of_member("finish", turn.batch, turn.record, member):
            await finish(services, member, outcome)

    for member, part in zip(members, split(job, members, submitted.documents_count), strict=True):
        yield end(member, part)


async def after_failed_job(services: Services, turn: Turn, submitted: SubmittedJob, job: Job) -> None:
    """Let each file of a job that failed as a whole continue alone; deleted files get the outcome of that job."""
    members = turn.record.members
    newest = await for_each(members, lambda member: services.blobs.newest(member.source.name))
    deleted = [member for member, source in zip(members, newest, strict=True) if source is None]
    await asyncio.gather(*end_all(services, turn, deleted, submitted, job))
    rest = [member for member in members if member not in deleted]
    if rest:
        await dissolve(services, turn.changed(members=rest), f"their job {loggable_job(job.job_id)} failed")
    else:
        await end_batch(services, turn)


Post = Callable[[Services, Turn, Sequence[File]], Awaitable[None]]
"""Posts the texts of a batch, or the rest of them. The caller holds the baton."""


async def post_later(services: Services, turn: Turn, post: Post, *, jobs: Sequence[SubmittedJob] = ()) -> None:
    """Post texts that the service could not accept before, unless it is too late, or other large files are in memory.

    Args:
        services: the shared services.
        turn: the batch.
        post: posts the texts.
        jobs: the jobs that the service has accepted of the file.
    """
    record = turn.record
    if is_expired(record.since, services.now(), services.settings.job_timeout_seconds):
        await fail_batch(services, turn, record.problem or NOT_SUBMITTED, jobs=jobs)
        return
    is_large = any(member.source.length > LARGE_FILE for member in record.members)
    if is_large and services.reading.locked():
        await reschedule_in(services, turn, BUSY_SECONDS)
        return
    async with services.reading_turn(is_large=is_large):
        taken = await take_baton(services, turn)
        files = await read_again(services, taken) if taken else []
        if taken and files:
            await post(services, taken, files)


async def give_up_batch(services: Services, turn: Turn) -> None:
    """End a batch that too many workers have died of, with failed outcomes."""
    log.error("%s: gave up, because %d workers failed to process this version", turn.names, turn.record.tries)
    await fail_batch(services, turn, GAVE_UP)


async def read_again(services: Services, turn: Turn) -> list[File]:
    """Read the files of a batch again; return those that can still be posted.

    The list is empty if the batch has ended, was dissolved or continues later.
    """
    received = turn.record.received_date_time

    async def read(member: Member) -> File | None:
        source = member.source
        upload = await services.blobs.open_upload(source.name, source.etag)
        data = await upload.read() if upload else None
        if upload is None or data is None:
            log.info("%r: this version was replaced or deleted, so the app stops processing it", source.name)
            return None
        try:
            if upload.is_archived:
                raise DocumentError(ARCHIVED.code, ARCHIVED.message)
            text = await services.texts.read(services.settings, source, data)
        except DocumentError as error:
            # For instance, NER_MAX_BLOB_BYTES has been reduced meanwhile.
            with services.telemetry.of_member("finish", turn.batch, turn.record, member):
                await fail(services, member, Problem(error.code, error.message))
            return None
        return ready(member, text, received)

    results = await try_each(turn.record.members, read)
    refusals = [result for result in results if isinstance(result, AzureError)]
    if refusals and len(refusals) < len(results):
        await dissolve(services, turn, f"storage refused a call for one of them: {reason_of(refusals[0])}")
        return []
    if refusals:
        await after_refused_call(services, turn, refusals[0])
        return []
    files = [file for file in without_errors(results) if file]
    if not files:
        await end_batch(services, turn)
    return files


async def go_on_with_ledger(services: Services, turn: Turn) -> None:
    """Post or collect the rest of a file of many jobs."""
    ledger = await services.ledgers.read_ledger(turn.batch)
    # Check after reading: a file that has ended loses its claim before its ledger, and looks new without a ledger.
    if not await holds(services, turn.record.members[0]):
        await give_up_version(services, turn)
        return
    if ledger.next_start is None:
        await collect(services, turn, ledger)
        return
    if ledger.jobs and is_of_another_resource(services, turn.record):
        # The jobs of one file are of one resource.
        await after_failed_call(services, turn, of_another_resource(services, turn.record), jobs=ledger.jobs)
        return
    turn = turn.changed(host=host_of(services))
    await post_later(services, turn, partial(post_all, ledger=ledger), jobs=ledger.jobs)
