"""Claiming a file for one version, and taking a claim over: from a worker that has ended, or for a newer version."""

import logging
from contextlib import AsyncExitStack
from typing import Final

import msgspec

from shared.pipeline.decisions import Claiming, who_submits
from shared.pipeline.services import Services
from shared.source import Source
from shared.state.batch import BatchKind, BatchRecord
from shared.state.claim import BatchId, Claim, is_old
from shared.storage.state import StoredClaim

log = logging.getLogger("ner")

MAX_ATTEMPTS: Final = 3
"""A claim that is in the way at one call and gone at the next one: its version has just ended."""


async def take_claim(
    services: Services, source: Source, batch: BatchId, replaces: str | None, turn: AsyncExitStack
) -> StoredClaim | None:
    """Claim a file for a version.

    Args:
        services: connections.
        source: the version, as it was read.
        batch: that it is to be in.
        replaces: etag of an outcome of the version that is to be replaced.
        turn: of this invocation, entered where other workers have died of this version.

    Returns:
        None if another worker has the version, or a newer one.

    Raises:
        AzureError: storage refused a call.
        StateError: the claim that is there cannot be read.
    """
    now = services.now()
    claim = Claim(source=source, batch=batch, claimed_date_time=now, received_date_time=now, replaces=replaces)
    for _ in range(MAX_ATTEMPTS):
        etag = await services.state.write_claim(claim, None)
        if etag is not None:
            return StoredClaim(claim, etag)
        known = await services.state.read_claim(source.name)
        if known is not None:
            return await take_over(services, claim, known, turn)
    log.info("%r: other workers claim this file again and again, leaving it to them", source.name)
    return None


async def take_over(services: Services, claim: Claim, known: StoredClaim, turn: AsyncExitStack) -> StoredClaim | None:
    """Claim a file in place of a claim that is there, if nobody works on this version; return None if somebody does."""
    name, settings = claim.source.name, services.settings
    kind = None
    if is_old(known.claim.claimed_date_time, claim.claimed_date_time, settings.submit_timeout_seconds):
        kind = await services.state.batch_kind(known.claim.batch)
    decided = who_submits(known.claim, claim.source, kind, claim.claimed_date_time, settings.submit_timeout_seconds)
    if decided is Claiming.LEAVE:
        log.info("%r: another worker processes this version, nothing to do", name)
        return None
    if decided is not Claiming.ASK:
        await turn.enter_async_context(services.trying(known.claim.tries + 1))
    if decided is Claiming.FENCE and not await put_up_fence(services, known.claim):
        log.info("%r: its worker has just recorded its work, nothing to do", name)
        return None
    # Only after the fence: a batch that is gone may have been paid, and have ended since its version was replaced.
    newest = await services.blobs.newest(name)
    if newest is None or newest.etag != claim.source.etag:
        log.info("%r: replaced before it was submitted, nothing to do", name)
        return None
    if decided is not Claiming.ASK:
        # Whoever wanted an outcome to be replaced still wants it.
        replaces = claim.replaces or known.claim.replaces
        tries, received = known.claim.tries + 1, known.claim.received_date_time
        claim = msgspec.structs.replace(
            claim, claimed_date_time=services.now(), tries=tries, received_date_time=received, replaces=replaces
        )
        log.warning("%r: taking over from a worker that did not finish, try %d", name, tries)
    etag = await services.state.write_claim(claim, known.etag)
    return None if etag is None else StoredClaim(claim, etag)


async def put_up_fence(services: Services, claim: Claim) -> bool:
    """Void the batch of a claim, so that its worker, if it is slow and not dead, cannot record a job any more."""
    now = services.now()
    void = BatchRecord(kind=BatchKind.VOID, received_date_time=claim.received_date_time, due=now)
    return await services.state.write_batch(claim.batch, void, None) is not None
