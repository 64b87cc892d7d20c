"""The sweep: finds files without an outcome and batches without a message, even if triggers or messages fail.

It lists blobs and sends messages, and never does the work itself.
"""

import logging
import time
from datetime import timedelta
from functools import partial
from typing import Final

import msgspec
from azure.core.exceptions import AzureError

from shared.message import BatchMessage, MessageError, decode_message
from shared.names import why_refused
from shared.pipeline.decisions import before_last_try, is_behind
from shared.pipeline.rescheduling import Turn, reschedule, void
from shared.pipeline.services import Services
from shared.pipeline.sweep_run import Sweep
from shared.pipeline.walking import walk_files
from shared.source import read_instant
from shared.state.batch import BATCHES, BatchKind, is_overdue, listed_claims
from shared.state.sweeping import SweepState, Swept
from shared.storage.conditions import delete_version
from shared.storage.errors import describe as describe_error
from shared.storage.listings import Listing
from shared.storage.state import RefusedBatchError, StateError

log = logging.getLogger("ner")

WORKING_SHARE: Final = 0.6
"""The part of NER_SUBMIT_TIMEOUT_SECONDS after which a sweep leaves the rest to the next one."""
REPAIRING_SHARE: Final = 0.3
"""The part of NER_SUBMIT_TIMEOUT_SECONDS for sending messages to batches and for cleaning up; the rest is for files."""
MAX_TIMES_BEHIND: Final = 3
"""How many sweeps in a row send nothing because `poll` is behind. The next one does, in case that is not true."""
MAX_LIVE_CLAIMS: Final = 200_000
"""How many ETags are held in memory; while there are more, files are not checked."""
DEFAULT_INTERVAL: Final = timedelta(minutes=10)
"""Minimum interval between two sweeps: what the host calls the next run is usually the one that has just begun."""
VOID_TIMEOUTS: Final = 10
"""How long a void record blocks a slow worker of its batch, in multiples of NER_SUBMIT_TIMEOUT_SECONDS."""


async def sweep(services: Services, interval: timedelta = DEFAULT_INTERVAL) -> Swept:
    """Send a message for each overdue batch and each file that needs one; return what was found.

    Args:
        services: the shared services.
        interval: interval between two sweeps; DEFAULT_INTERVAL if that is longer.

    Raises:
        AzureError: storage refused a call; the next sweep begins where this one began.
    """
    begun = time.monotonic()
    state = await services.state.read_sweep()
    seconds = services.settings.submit_timeout_seconds
    end_of_repairs, end_of_work = begun + seconds * REPAIRING_SHARE, begun + seconds * WORKING_SHARE
    run = Sweep(services, services.now(), state, end_of_repairs, end_of_work, max(interval, DEFAULT_INTERVAL))
    times_behind = 0
    place = state.place if state else None
    if await poll_is_behind(run) and (times_behind := (state.times_behind if state else 0) + 1) <= MAX_TIMES_BEHIND:
        run.swept = Swept(is_behind=True, is_complete=False)
    else:
        times_behind = 0
        await revive_batches(run)
        is_crowded = len(run.live) > MAX_LIVE_CLAIMS
        if not is_crowded:
            place = await walk_files(run, place)
        is_complete = place is None and not is_crowded
        run.swept = msgspec.structs.replace(run.swept, is_complete=is_complete, is_crowded=is_crowded)
    run.swept = msgspec.structs.replace(run.swept, seconds=round(time.monotonic() - begun, 3))
    await services.state.write_sweep(
        SweepState(since=run.since, last=run.now, swept=run.swept, place=place, times_behind=times_behind)
    )
    await warn_of_poison(services)
    services.telemetry.swept(run.swept.missing, run.revived_files)
    log.info("sweep: %s", describe(run.swept))
    return run.swept


def describe(swept: Swept) -> str:
    """Return the log line about a sweep."""
    if swept.is_behind:
        return "sent nothing, because poll is behind with its messages"
    left = f", {swept.left} left to the next sweep" if swept.left else ""
    refused = f", {swept.refused} refused by storage" if swept.refused else ""
    if swept.is_crowded:
        rest = f"; more than {MAX_LIVE_CLAIMS} files are in flight, so files were not checked"
    else:
        rest = "" if swept.is_complete else ", the next sweep continues from here"
    odd = f"; {swept.odd_names} more have names that the app does not accept" if swept.odd_names else ""
    return (
        f"{swept.files} files, {swept.missing} of them need a message, {swept.existing} from before this deployment"
        f"{odd}; {swept.revived} batches were overdue{left}{refused}; "
        f"{swept.calls} list calls in {swept.seconds:.1f} s{rest}"
    )


async def warn_of_poison(services: Services) -> None:
    """Log a warning if messages or notices about uploads are in a poison queue: an alert reads it."""
    try:
        messages, uploads = await services.queue.poisoned(), await services.queue.poisoned_uploads()
    except AzureError as error:
        log.warning("the poison queues cannot be read now: %s", describe_error(error))
        return
    if messages:
        log.warning("%d messages are in the poison queue: the log has the exceptions", messages)
    if uploads:
        log.warning("%d messages are in the poison queue of uploads: the log has the exceptions", uploads)


async def poll_is_behind(run: Sweep) -> bool:
    """Return whether messages are processed too slowly: more of them would make it worse."""
    text = await run.services.queue.peek()
    try:
        message = decode_message(text) if text else None
    except MessageError:
        return False
    if isinstance(message, BatchMessage):
        due = message.record.due if message.record else None
    else:
        due = message.due if message else None
    return is_behind(due, run.now, run.services.settings.sweep_grace_seconds)


async def revive_batches(run: Sweep) -> None:
    """Send a message for each overdue batch; delete old void records, and leftovers of batches without a record."""
    services, settings = run.services, run.services.settings
    listing, live = Listing(services.state.container, BATCHES), ""
    longest = timedelta(seconds=VOID_TIMEOUTS * settings.submit_timeout_seconds)
    async for blob in listing.blobs():
        if why_refused(blob.name):
            continue  # its URL may lead to another blob
        batch, _, ending = blob.name.partition(".")
        if ending != "json":
            # The record, if there is one, comes first.
            if batch != live and run.now - blob.modified > longest:
                leftover = services.state.container.get_blob_client(BATCHES + blob.name)
                delete = partial(delete_version, leftover, blob.etag)
                await run.repair(f"leftover {blob.name}", delete, run.end_of_repairs)
            continue
        due = read_instant(blob.metadata.get("due", ""))
        if blob.metadata.get("kind") == BatchKind.VOID.value:
            if due is None or run.now - due > longest:
                delete = partial(services.state.delete_batch, batch, blob.etag)
                await run.repair(f"void batch {batch}", delete, run.end_of_repairs)
            continue
        live = batch
        if len(run.live) <= MAX_LIVE_CLAIMS:
            run.live.update(listed_claims(blob.metadata))
        if due is None or is_overdue(due, run.now, settings.overdue_seconds):
            await run.repair(f"batch {batch}", partial(revive, run, batch), run.end_of_repairs)
    await run.repair_all()
    run.count(calls=listing.calls)


async def revive(run: Sweep, batch: str) -> None:
    """Send a new message for a batch whose message must have been lost."""
    services = run.services
    try:
        stored = await services.state.read_batch(batch)
    except RefusedBatchError as error:
        # No version of the app will accept this name: end the batch, so that its other files continue without it.
        if await void(services, batch, services.now(), error.etag):
            log.error("batch %s was ended, because %s", batch, error)  # noqa: TRY400  # the message says it all
        return
    except StateError as error:
        log.error("no message sent, because %s", error)  # noqa: TRY400  # the message says it all
        return
    if stored is None or not is_overdue(stored.record.due, run.now, services.settings.overdue_seconds):
        return
    # A worker may have died of the message, or none received it. A worker that posts a text has counted its own try.
    record = stored.record
    tries = record.tries if record.kind is BatchKind.WAITING else max(record.tries, 1)
    delay = before_last_try(tries, services.settings.submit_timeout_seconds)
    revived = Turn(batch, record, stored.etag).changed(due=services.in_seconds(delay), tries=tries)
    if await reschedule(services, revived):
        log.warning("%s: its message was lost, sent another one", revived.names)
        run.count(revived=1, sent=1)
        run.revived_files += len(record.members)
