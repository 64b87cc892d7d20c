"""Claiming a file for a version, and taking over a claim: from a worker that has ended, or for a newer version."""

import logging
from contextlib import AsyncExitStack
from typing import Final

import msgspec

from shared.pipeline.calling import is_of_another_resource
from shared.pipeline.decisions import Claiming, has_job, who_submits, with_version
from shared.pipeline.gate import Seat
from shared.pipeline.rescheduling import Turn, reschedule, void
from shared.pipeline.services import Services
from shared.source import Source
from shared.state.claim import BatchId, Claim, is_old, new_batch_id
from shared.storage.state import StoredClaim

log = logging.getLogger("ner")

MAX_ATTEMPTS: Final = 3
"""How often to try, if a claim exists at one call and is gone at the next because its version has just ended."""
MAX_TAKE_OVERS: Final = 8
"""How often to try to change the record of a batch that other workers change, too."""


async def take_claim(
    services: Services, wanted: Claim, seat: Seat, stack: AsyncExitStack, *, dissolved: BatchId | None = None
) -> StoredClaim | None:
    """Claim a file for a version.

    Args:
        services: the shared services.
        wanted: the claim to write.
        seat: the version's seat, in the batch that the claim names.
        stack: this invocation's contexts; holds the lock `suspects` if workers may have died of this version.
        dissolved: the dissolved batch that the version was in.

    Returns:
        The claim. None if another worker has the version, if it is not the newest, or if it takes over a running job.

    Raises:
        AzureError: storage refused a call.
        StateError: the existing claim cannot be read.
    """
    for _ in range(MAX_ATTEMPTS):
        etag = await services.state.write_claim(wanted, None)
        if etag is not None:
            return StoredClaim(wanted, etag)
        known = await services.state.read_claim(wanted.source.name)
        if known is not None:
            return await take_over(services, wanted, known, seat, stack, dissolved=dissolved)
    log.info("%r: other workers keep claiming this file, leaving it to them", wanted.source.name)
    return None


async def take_over(
    services: Services,
    claim: Claim,
    known: StoredClaim,
    seat: Seat,
    stack: AsyncExitStack,
    *,
    dissolved: BatchId | None,
) -> StoredClaim | None:
    """Replace the existing claim of a file; return None in the same cases as `take_claim`."""
    name, patience = claim.source.name, services.settings.submit_timeout_seconds
    is_in_batch = None
    if is_old(known.claim.claimed_date_time, claim.claimed_date_time, patience):
        stored = await services.state.read_batch(known.claim.batch)
        is_in_batch = stored.record.has(known.etag) if stored else None
    decided = who_submits(
        known.claim, claim.source, is_in_batch, claim.claimed_date_time, patience, dissolved=dissolved
    )
    if decided is Claiming.LEAVE:
        log.info("%r: another worker processes this version, nothing to do", name)
        return None
    if decided in (Claiming.FENCE, Claiming.TAKE_OVER):
        seat.leave()  # the file goes alone, and may have to wait for the lock
        await stack.enter_async_context(services.suspects)
    if decided is Claiming.FENCE and not await put_up_fence(services, known.claim):
        log.info("%r: its worker has just recorded its work, nothing to do", name)
        return None
    # Check after the fence: without a record, the batch may have been charged and ended, because a newer version came.
    if not await is_newest(services, claim.source):
        log.info("%r: replaced before it was submitted, nothing to do", name)
        return None
    if decided is Claiming.ASK:
        if claim.digest and claim.digest == known.claim.digest and claim.replaces is None:
            return await take_over_job(services, claim, known)
    else:
        claim = succeed(services, claim, known.claim, is_death=decided is not Claiming.LEAVE_BATCH)
    return await replace_claim(services, claim, known)


async def replace_claim(services: Services, claim: Claim, known: StoredClaim) -> StoredClaim | None:
    """Write a claim in place of a known one; return None if another worker was faster."""
    etag = await services.state.write_claim(claim, known.etag)
    if etag is None:
        return None
    services.gate.drop(known.etag)
    return StoredClaim(claim, etag)


def succeed(services: Services, claim: Claim, known: Claim, *, is_death: bool) -> Claim:
    """Return the claim for a version that `known` claimed before: in a batch of its own."""
    if is_death:
        log.warning("%r: taking over from a worker that did not finish, try %d", claim.source.name, known.tries + 1)
    return msgspec.structs.replace(
        claim,
        batch=new_batch_id(),
        claimed_date_time=services.now(),
        tries=known.tries + is_death,
        # A file of a dissolved batch gets a new time limit: the other files may have used up that of the batch.
        received_date_time=known.received_date_time if is_death else claim.received_date_time,
        # A request to replace an outcome outlives the worker that received it.
        replaces=claim.replaces or known.replaces,
    )


async def take_over_job(services: Services, claim: Claim, known: StoredClaim) -> StoredClaim | None:
    """Replace the claim of a version with the same text, and continue its batch, so that the text is not sent twice.

    Returns:
        The claim if there is no job to take over: the text has to be sent. None if the batch continues, or another
        worker has the file.
    """
    batch = known.claim.batch
    stored = await services.state.read_batch(batch)
    if stored is None or not has_job(stored.record, known.etag) or is_of_another_resource(services, stored.record):
        return await replace_claim(services, claim, known)
    received = known.claim.received_date_time
    claim = msgspec.structs.replace(claim, batch=batch, received_date_time=received)
    etag = await services.state.write_claim(claim, known.etag)
    if etag is None:
        return None
    async with services.same_texts:
        # Several files of one batch may be saved again at the same time: change its record for one after another.
        for _ in range(MAX_TAKE_OVERS):
            stored = await services.state.read_batch(batch)
            if stored is None:
                return StoredClaim(claim, etag)
            if not has_job(stored.record, known.etag):
                break
            trace_parent = services.telemetry.trace_parent
            record = with_version(stored.record, known.etag, claim, etag, services.now(), trace_parent=trace_parent)
            if await reschedule(services, Turn(batch, record, stored.etag)):
                log.info("%r: has the same text as its last version, whose job it takes over", claim.source.name)
                return None
    log.info("%r: other workers keep changing its batch, leaving it to them or the sweep", claim.source.name)
    return None


async def put_up_fence(services: Services, claim: Claim) -> bool:
    """Void the batch of a claim, so that a slow worker can no longer record a job; return False if it has a record."""
    return await void(services, claim.batch, claim.received_date_time, None)


async def is_newest(services: Services, source: Source) -> bool:
    """Return whether the input container holds this version now."""
    newest = await services.blobs.newest(source.name)
    return newest is not None and newest.etag == source.etag
