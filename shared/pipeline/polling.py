"""The next step of a batch when its message arrives: post its text, poll its job, or continue its ledger."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import NamedTuple

import msgspec
from azure.core.exceptions import AzureError

from shared import outcome as outcomes
from shared.documents import DocumentError
from shared.message import BatchMessage, is_expired
from shared.ner.errors import NerError
from shared.ner.model import Problem
from shared.pipeline.calling import after_failed_call, after_refused_call, next_poll
from shared.pipeline.collecting import collect
from shared.pipeline.finishing import (
    GAVE_UP,
    NOT_SUBMITTED,
    TIMED_OUT,
    cancel,
    end_batch,
    fail_batch,
    finish,
    give_up_version,
    holds,
)
from shared.pipeline.ledger_posting import post_all
from shared.pipeline.posting import post_text
from shared.pipeline.rescheduling import due_in, names_of, reschedule, take_baton
from shared.pipeline.services import Services
from shared.pipeline.submitting import BUSY_SECONDS, LARGE_FILE
from shared.pipeline.texts import Text, read_text
from shared.state.batch import BatchKind, BatchRecord, SubmittedJob
from shared.state.claim import MAX_TRIES, BatchId

log = logging.getLogger("ner")


class Turn(NamedTuple):
    """What a worker works on: the record of a batch, from its message or as it was read, and its baton."""

    record: BatchRecord
    baton: str | None


async def find_turn(services: Services, message: BatchMessage) -> Turn | None:
    """Return the turn that a message starts; None if another worker continues the batch, or it has ended.

    Raises:
        AzureError: storage refused a call.
        StateError: the record cannot be read.
    """
    if message.record is not None:
        return Turn(message.record, message.etag)
    stored = await services.state.read_batch(message.batch)
    if stored is None or stored.etag != message.etag:
        log.info("discarded a message of batch %s, which has ended or which another worker continues", message.batch)
        return None
    return Turn(stored.record, stored.etag)


async def count_try(services: Services, batch: BatchId, turn: Turn, *, comes_again: bool) -> Turn | None:
    """Count this try, because a worker may have died of the same step; end a batch that too many have died of.

    Returns:
        The turn with its new baton; None if another worker has it, or the batch has ended.

    Raises:
        AzureError: storage refused a call.
        OutcomeConflictError: other workers wrote the outcome each time.
    """
    record = turn.record
    if record.tries >= MAX_TRIES:
        await give_up_batch(services, batch, record, turn.baton)
        return None
    # The first worker that died of a poll has not been counted.
    record = msgspec.structs.replace(record, tries=max(record.tries, int(comes_again)))
    baton = await take_baton(services, batch, record, turn.baton)
    return None if baton is None else Turn(record, baton)


async def poll(services: Services, batch: BatchId, turn: Turn) -> None:
    """Take the next step of a batch.

    Raises:
        AzureError: storage refused a call.
        StateError: a blob of the app itself cannot be read.
    """
    record, baton = turn
    now, closed = services.now(), services.delays.closed_seconds
    is_early = record.not_before is not None and now < record.not_before
    if (closed or is_early) and not is_expired(record.since, now, services.settings.job_timeout_seconds):
        # While the service is throttling, it would refuse this call like the last one.
        await reschedule(services, batch, due_in(services, record, closed), baton)
        return
    match record.kind:
        case BatchKind.WAITING:
            await post_later(services, batch, record, baton, partial(post_text, services, batch, record))
        case BatchKind.JOB if record.job is not None:
            await poll_job(services, batch, record, baton, record.job)
        case BatchKind.LEDGER:
            await go_on_with_ledger(services, batch, record, baton)
        case _:
            log.info("discarded a message of batch %s, whose files other workers have claimed", batch)


async def poll_job(
    services: Services, batch: BatchId, record: BatchRecord, baton: str | None, submitted: SubmittedJob
) -> None:
    """Poll a job: end its batch if the job has ended, else poll again later."""
    age = services.now() - record.since
    try:
        job = await services.ner.look(submitted.job_id, record.since)
    except NerError as error:
        await after_failed_call(services, batch, record, baton, error)
        return
    if job.status.is_final:
        services.delays.learn(submitted.transactions_count, job.seconds)
        for member in record.members:
            await finish(services, member, outcomes.from_job(member.source, services.api, submitted, job))
        await end_batch(services, batch, record, baton)
    elif is_expired(record.since, services.now(), services.settings.job_timeout_seconds):
        await fail_batch(services, batch, record, baton, TIMED_OUT)
        await cancel(services, names_of(record), submitted.job_id)
    else:
        seconds = next_poll(services, submitted, age.total_seconds())
        await reschedule(services, batch, due_in(services, record.after_progress(), seconds), baton)


Post = Callable[[str, Text], Awaitable[None]]
"""Posts a text, or what is left of it, as the holder of a baton."""


async def post_later(
    services: Services,
    batch: BatchId,
    record: BatchRecord,
    baton: str | None,
    post: Post,
    *,
    jobs: Sequence[SubmittedJob] = (),
) -> None:
    """Post what the service could not accept before, unless that is too late, or other large files are in memory.

    Args:
        services: the shared services.
        batch: ID of the batch, of one file.
        record: the batch's record.
        baton: ETag of the record.
        post: posts the text.
        jobs: the jobs that the service has accepted of the file.
    """
    if is_expired(record.since, services.now(), services.settings.job_timeout_seconds):
        await fail_batch(services, batch, record, baton, record.problem or NOT_SUBMITTED, jobs=jobs)
        return
    is_large = record.members[0].source.length > LARGE_FILE
    if is_large and services.reading.locked():
        await reschedule(services, batch, due_in(services, record, BUSY_SECONDS), baton)
        return
    async with services.reading_turn(is_large=is_large):
        taken = await take_baton(services, batch, record, baton)
        text = await read_again(services, batch, record, taken) if taken else None
        if taken and text:
            await post(taken, text)


async def give_up_batch(services: Services, batch: BatchId, record: BatchRecord, baton: str | None) -> None:
    """End a batch that too many workers have died of, with failed outcomes."""
    for member in record.members:
        log.error("%r: gave up, because %d workers failed to process this version", member.source.name, record.tries)
    await fail_batch(services, batch, record, baton, GAVE_UP)


async def read_again(services: Services, batch: BatchId, record: BatchRecord, baton: str) -> Text | None:
    """Return the text of a batch of one file; None if the batch has ended or continues later."""
    source = record.members[0].source
    try:
        upload = await services.blobs.open_upload(source.name, source.etag)
        data = await upload.read() if upload else None
    except AzureError as error:
        await after_refused_call(services, batch, record, baton, error)
        return None
    if data is None:
        await give_up_version(services, batch, record, baton)
        return None
    try:
        return read_text(services, source, data)
    except DocumentError as error:
        # For instance, NER_MAX_BLOB_BYTES has been reduced meanwhile.
        await fail_batch(services, batch, record, baton, Problem(error.code, error.message))
        return None


async def go_on_with_ledger(services: Services, batch: BatchId, record: BatchRecord, baton: str | None) -> None:
    """Post or collect the rest of a file of many jobs."""
    member = record.members[0]
    ledger = await services.ledgers.read_ledger(batch)
    # Check after reading: a file that has ended loses its claim before its ledger, and looks new without a ledger.
    if not await holds(services, member):
        await give_up_version(services, batch, record, baton)
        return
    if ledger.next_start is None:
        await collect(services, batch, record, baton, ledger)
        return
    post = partial(post_all, services, batch, record, ledger=ledger)
    await post_later(services, batch, record, baton, post, jobs=ledger.jobs)
