"""The baton: a batch's record is written first, then the message that carries its etag is sent."""

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
    """Let a batch go on when its record is due.

    Args:
        services: connections.
        batch: which one.
        record: as it is to be from now on.
        baton: etag of the record that this one replaces; None if there is none yet.

    Returns:
        False if another worker has the batch: nothing was sent.
    """
    etag = await services.state.write_batch(batch, record, baton)
    if etag is None:
        log.info("%s: another worker goes on with this batch, nothing to do", names_of(record))
        return False
    await send(services, batch, record, etag)
    return True


async def send(services: Services, batch: BatchId, record: BatchRecord, baton: str | None) -> None:
    """Send the message of a batch; the record says when it is due."""
    delay = (record.due - services.now()).total_seconds()
    services.waited(record)
    await services.queue.send(BatchMessage(batch=batch, etag=baton, record=record), max(delay, 0.0))


async def take_baton(services: Services, batch: BatchId, record: BatchRecord, baton: str | None) -> str | None:
    """Make sure that no other worker goes on with a batch, before a step that costs money or may end this worker.

    Should it die, the record says so: it is overdue, and has one try more than the record in hand.

    Returns:
        The new baton; None if another worker has it.
    """
    begun = msgspec.structs.replace(record, due=services.now(), tries=record.tries + 1)
    taken = await services.state.write_batch(batch, begun, baton)
    if taken is None:
        log.info("%s: another worker goes on with this batch, nothing to do", names_of(record))
    return taken


def names_of(record: BatchRecord) -> str:
    """Return the names of a batch's files for a line of the log."""
    return ", ".join(repr(member.source.name) for member in record.members)
