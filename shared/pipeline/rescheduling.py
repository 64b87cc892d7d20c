"""The baton: a batch's record is written first, then the message that carries its ETag is sent."""

import logging
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from shared.message import BatchMessage
from shared.pipeline.services import MAX_DUE_SECONDS, Services
from shared.state.batch import BatchKind, BatchRecord
from shared.state.claim import BatchId

log = logging.getLogger("ner")


class Turn(NamedTuple):
    """A batch whose next step this worker takes: its ID, its record, and the baton.

    The baton is the ETag of the record that is stored; None if none has been written yet.
    """

    batch: BatchId
    record: BatchRecord
    baton: str | None

    def changed(self, **changes: Any) -> "Turn":
        """Return the turn with changes to the record that are not stored yet."""
        return self._replace(record=msgspec.structs.replace(self.record, **changes))

    def after_progress(self) -> "Turn":
        """Return the turn after a successful step: earlier failures no longer count."""
        return self._replace(record=self.record.after_progress())

    @property
    def names(self) -> str:
        """The names of the batch's files, for a log line."""
        return names_of(self.record)


async def reschedule_in(services: Services, turn: Turn, seconds: float) -> bool:
    """Reschedule a batch for that many seconds from now, or until its text may be submitted again if that is later."""
    due, earliest = services.in_seconds(seconds), turn.record.not_before
    if earliest is not None:
        due = max(due, min(earliest, services.in_seconds(MAX_DUE_SECONDS)))
    return await reschedule(services, turn.changed(due=due))


async def reschedule(services: Services, turn: Turn) -> bool:
    """Write a batch's record, then send the message that continues the batch when the record is due.

    Returns:
        False if another worker has the batch: nothing was sent.
    """
    etag = await services.state.write_batch(*turn)
    if etag is None:
        log.info("%s: another worker continues this batch, nothing to do", turn.names)
        return False
    await send(services, turn._replace(baton=etag))
    return True


async def send(services: Services, turn: Turn) -> None:
    """Send the message of a batch, which becomes visible when the record is due."""
    delay = (turn.record.due - services.now()).total_seconds()
    services.waited(turn.record)
    message = BatchMessage(batch=turn.batch, etag=turn.baton, record=turn.record)
    await services.queue.send(message, max(delay, 0.0))


async def take_baton(services: Services, turn: Turn) -> Turn | None:
    """Make sure that no other worker continues a batch, before a step that costs money or may kill this worker.

    If this worker dies, the stored record shows it: the record becomes overdue, and counts one try more than the turn.

    Returns:
        The turn with its new baton; None if another worker has it.
    """
    begun = turn.changed(due=services.now(), tries=turn.record.tries + 1)
    taken = await services.state.write_batch(*begun)
    if taken is None:
        log.info("%s: another worker continues this batch, nothing to do", turn.names)
        return None
    return turn._replace(baton=taken)


async def void(services: Services, batch: BatchId, received: datetime, baton: str | None) -> bool:
    """Replace a batch's record by a void one, so that no worker continues the batch or records a job late.

    Args:
        services: connections.
        batch: ID of the batch.
        received: when the app first saw its files.
        baton: ETag of the record; None if there must be no record yet.

    Returns:
        False if another worker has written the record.
    """
    record = BatchRecord(kind=BatchKind.VOID, received_date_time=received, due=services.now())
    return await services.state.write_batch(batch, record, baton) is not None


def names_of(record: BatchRecord) -> str:
    """Return the names of a batch's files for a log line."""
    return ", ".join(repr(member.source.name) for member in record.members)
