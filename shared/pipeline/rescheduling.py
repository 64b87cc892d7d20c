"""The baton: a batch's record is written first, then the message that carries its ETag is sent."""

import logging

import msgspec

from shared.message import BatchMessage
from shared.pipeline.services import MAX_DUE_SECONDS, Services
from shared.state.batch import BatchRecord
from shared.state.claim import BatchId

log = logging.getLogger("ner")


def due_in(services: Services, record: BatchRecord, seconds: float) -> BatchRecord:
    """Return a record that is due in so many seconds, or when its text may be submitted again."""
    due = services.in_seconds(seconds)
    if record.not_before is not None:
        due = max(due, min(record.not_before, services.in_seconds(MAX_DUE_SECONDS)))
    return msgspec.structs.replace(record, due=due)


async def reschedule(services: Services, batch: BatchId, record: BatchRecord, baton: str | None) -> bool:
    """Write a batch's record, then send the message that continues the batch when it is due.

    Args:
        services: connections.
        batch: ID of the batch.
        record: the new record.
        baton: ETag of the record that it replaces; None if there is none yet.

    Returns:
        False if another worker has the batch: nothing was sent.
    """
    etag = await services.state.write_batch(batch, record, baton)
    if etag is None:
        log.info("%s: another worker continues this batch, nothing to do", names_of(record))
        return False
    await send(services, batch, record, etag)
    return True


async def send(services: Services, batch: BatchId, record: BatchRecord, baton: str | None) -> None:
    """Send the message of a batch, which becomes visible when the record is due."""
    delay = (record.due - services.now()).total_seconds()
    services.waited(record)
    await services.queue.send(BatchMessage(batch=batch, etag=baton, record=record), max(delay, 0.0))


async def take_baton(services: Services, batch: BatchId, record: BatchRecord, baton: str | None) -> str | None:
    """Make sure that no other worker continues a batch, before a step that costs money or may kill this worker.

    If this worker dies, the stored record shows it: it is overdue, and counts one try more than `record`.

    Returns:
        The new baton; None if another worker has it.
    """
    begun = msgspec.structs.replace(record, due=services.now(), tries=record.tries + 1)
    taken = await services.state.write_batch(batch, begun, baton)
    if taken is None:
        log.info("%s: another worker continues this batch, nothing to do", names_of(record))
    return taken


def names_of(record: BatchRecord) -> str:
    """Return the names of a batch's files for a log line."""
    return ", ".join(repr(member.source.name) for member in record.members)
