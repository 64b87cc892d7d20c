"""Dissolving a batch of several files: each continues alone, so that a problem of one does not affect the others."""

import logging
from datetime import timedelta

from shared.message import FileMessage
from shared.pipeline.finishing import for_each
from shared.pipeline.gate import OPEN_SECONDS
from shared.pipeline.rescheduling import Turn, void
from shared.pipeline.services import MAX_DUE_SECONDS, Services
from shared.state.batch import Member

log = logging.getLogger("ner")


async def dissolve(services: Services, turn: Turn, why: str, *, after_deaths: bool = False) -> None:
    """Void a batch, and send a message for each of its files.

    Args:
        services: the shared services.
        turn: the batch.
        why: the reason, for the log.
        after_deaths: whether workers may have died of it. If so, the messages are due once the claims are old, and
            the files are taken over as from dead workers: one at a time, and each take-over counts as a try. If not,
            they continue immediately, or when the record allows another submission.

    Raises:
        AzureError: storage refused a call; the sweep sends the messages that were not sent.
    """
    now, received = services.now(), turn.record.received_date_time
    if not await void(services, turn.batch, received, turn.baton):
        log.info("%s: another worker continues this batch, nothing to do", turn.names)
        return
    log.warning("%s: submitting each of these files alone, because %s", turn.names, why)
    age_of_old_claims = timedelta(seconds=services.settings.submit_timeout_seconds + OPEN_SECONDS)
    due = received + age_of_old_claims if after_deaths else turn.record.not_before or now
    delay = min(max((due - now).total_seconds(), 0.0), MAX_DUE_SECONDS)

    async def send(member: Member) -> None:
        await services.queue.send(
            FileMessage(
                file=member.source.name,
                dissolved=None if after_deaths else turn.batch,
                unsure=turn.record.unsure,
                due=services.in_seconds(delay),
                trace_parent=member.trace_parent,
            ),
            delay,
        )

    await for_each(turn.record.members, send)
