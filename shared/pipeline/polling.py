"""The next step of a batch, when its message comes: post what waits, poll a job, go on with a ledger."""

import logging

import msgspec

from shared import outcome as outcomes
from shared.documents import DocumentError
from shared.message import BatchMessage, is_expired
from shared.ner.errors import NerError
from shared.ner.model import Job, Problem
from shared.pipeline.calling import after_failed_call, next_poll
from shared.pipeline.collecting import collect
from shared.pipeline.finishing import GAVE_UP, TIMED_OUT, cancel, end_batch, fail, finish, give_up_version, holds
from shared.pipeline.ledger_posting import post_all
from shared.pipeline.posting import post_text
from shared.pipeline.rescheduling import names_of, reschedule, take_baton
from shared.pipeline.services import Services
from shared.pipeline.submitting import BUSY_SECONDS, LARGE_FILE
from shared.pipeline.texts import Text, read_text
from shared.state.batch import MAX_REVIVALS, BatchKind, BatchRecord, SubmittedJob
from shared.state.claim import BatchId

log = logging.getLogger("ner")


async def poll(services: Services, message: BatchMessage) -> None:
    """Do what is next about a batch.

    Raises:
        AzureError: storage refused a call.
        StateError: a blob of the app's own cannot be read.
    """
    batch, record = message.batch, message.record
    if record is None:
        stored = await services.state.read_batch(batch)
        if stored is None or stored.etag != message.etag:
            log.info("dropped a message of batch %s, which another worker goes on with, or which has ended", batch)
            return
        record = stored.record
    closed = services.delays.closed_seconds
    if closed and not is_expired(record.since, services.now(), services.settings.job_timeout_seconds):
        # The call would be refused like the one before it.
        await reschedule(services, batch, due_in(services, record, closed), message.etag)
        return
    match record.kind:
        case BatchKind.WAITING:
            await go_on_posting(services, batch, record, message.etag)
        case BatchKind.JOB if record.job is not None:
            await poll_job(services, batch, record, message.etag, record.job)
        case BatchKind.LEDGER:
            await go_on_with_ledger(services, batch, record, message.etag)
        case _:
            log.info("dropped a message of batch %s, whose files other workers have claimed", batch)


def due_in(services: Services, record: BatchRecord, seconds: float) -> BatchRecord:
    """Return a record that is due in so many seconds."""
    return msgspec.structs.replace(record, due=services.in_seconds(seconds))


async def poll_job(
    services: Services, batch: BatchId, record: BatchRecord, baton: str | None, submitted: SubmittedJob
) -> None:
    """Ask for a job: end its batch if it has ended, else ask again later."""
    age = services.now() - record.since
    try:
        job = await services.ner.look(submitted.job_id, record.since)
    except NerError as error:
        await after_failed_call(services, batch, record, baton, error)
        return
    if job.status.is_final:
        services.delays.learn(submitted.transactions_count, job.seconds)
        await end_by_job(services, batch, record, submitted, job)
    elif is_expired(record.since, services.now(), services.settings.job_timeout_seconds):
        for member in record.members:
            await fail(services, member, TIMED_OUT, [submitted])
        await end_batch(services, batch, record)
        await cancel(services, names_of(record), submitted.job_id)
    else:
        seconds = next_poll(services, submitted, age.total_seconds())
        await reschedule(services, batch, due_in(services, record, seconds), baton)


async def end_by_job(
    services: Services, batch: BatchId, record: BatchRecord, submitted: SubmittedJob, job: Job
) -> None:
    """End a batch whose job has ended."""
    for member in record.members:
        await finish(services, member, outcomes.from_job(member.source, services.api, submitted, job))
    await end_batch(services, batch, record)


async def go_on_posting(services: Services, batch: BatchId, record: BatchRecord, baton: str | None) -> None:
    """Post what the service could not take before."""
    member = record.members[0]
    if record.revivals > MAX_REVIVALS:
        await give_up_batch(services, batch, record)
        return
    if services.reading.locked() and member.source.length > LARGE_FILE:
        await reschedule(services, batch, due_in(services, record, BUSY_SECONDS), baton)
        return
    async with services.reading_turn(is_large=member.source.length > LARGE_FILE):
        taken = await take_baton(services, batch, record, baton)
        text = await read_again(services, batch, record) if taken else None
        if taken and text:
            await post_text(services, batch, record, taken, text)


async def give_up_batch(services: Services, batch: BatchId, record: BatchRecord) -> None:
    """End a batch whose workers die, or whose messages get lost, again and again."""
    for member in record.members:
        log.error("%r: gave up, because its message got lost %d times", member.source.name, record.revivals)
        await fail(services, member, GAVE_UP)
    await end_batch(services, batch, record)


async def read_again(services: Services, batch: BatchId, record: BatchRecord) -> Text | None:
    """Return the text of a batch of one file; None if the file has ended, since it was replaced or deleted."""
    member = record.members[0]
    source = member.source
    upload = await services.blobs.open_upload(source.name, source.etag)
    if upload is None:
        await give_up_version(services, batch, record)
        return None
    try:
        return read_text(services, source, await upload.read())
    except DocumentError as error:
        # As where NER_MAX_BLOB_BYTES was made smaller meanwhile.
        await fail(services, member, Problem(error.code, error.message))
        await end_batch(services, batch, record)
        return None


async def go_on_with_ledger(services: Services, batch: BatchId, record: BatchRecord, baton: str | None) -> None:
    """Post or collect what is left of a file of many jobs."""
    member = record.members[0]
    ledger = await services.ledgers.read_ledger(batch)
    # Only now: where the file has ended, its claim is gone before its ledger is, which would seem never to have begun.
    if not await holds(services, member):
        await give_up_version(services, batch, record)
        return
    if ledger.next_start is None:
        await collect(services, batch, record, baton, ledger)
        return
    if record.revivals > MAX_REVIVALS:
        await give_up_batch(services, batch, record)
        return
    if services.reading.locked() and member.source.length > LARGE_FILE:
        await reschedule(services, batch, due_in(services, record, BUSY_SECONDS), baton)
        return
    async with services.reading_turn(is_large=member.source.length > LARGE_FILE):
        taken = await take_baton(services, batch, record, baton)
        text = await read_again(services, batch, record) if taken else None
        if taken and text:
            await post_all(services, batch, record, taken, text, ledger=ledger)
