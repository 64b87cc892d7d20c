"""The model of `claiming`."""

import msgspec

from shared.pipeline.claiming import MAX_ATTEMPTS
from shared.pipeline.decisions import Claiming, has_job, who_submits, with_version
from shared.pipeline.rescheduling import Turn
from shared.source import Source
from shared.state.batch import BatchKind, BatchRecord
from shared.state.claim import Claim, is_old
from tests.unit.protocol.gate import Seat
from tests.unit.protocol.protections import Protection
from tests.unit.protocol.values import Stored
from tests.unit.protocol.workers import PATIENCE_SECONDS, Steps, Worker


def take_claim(me: Worker, claim: Claim, seat: Seat, dissolved: str | None) -> Steps[Stored[Claim] | None]:
    """Claim a file for a version; None if another worker has the version, or a newer one."""
    for _ in range(MAX_ATTEMPTS):
        etag = yield from write_claim(me, claim, None)
        if etag is not None:
            return Stored(claim, etag)
        known = yield from me.call(me.world.claims.get, claim.source.name)
        if known is not None:
            return (yield from take_over(me, claim, known, seat, dissolved))
    return None


def write_claim(me: Worker, claim: Claim, known: str | None, *, is_suspect: bool = False) -> Steps[str | None]:
    """Write a claim; return its etag, None if another worker was faster."""

    def write() -> str | None:
        stored = me.world.claims.get(claim.source.name)
        replaced = known if me.has(Protection.CLAIM_CONDITION) or stored is None else stored.etag
        etag = me.world.write_claim(claim, replaced)
        if etag is not None and is_suspect:
            me.world.suspects.add(etag)
        return etag

    return (yield from me.call(write))


def take_over(
    me: Worker, claim: Claim, known: Stored[Claim], seat: Seat, dissolved: str | None
) -> Steps[Stored[Claim] | None]:
    """Replace the existing claim of a file, if no worker has this version."""
    is_in_batch = None
    if is_old(known.value.claimed_date_time, claim.claimed_date_time, PATIENCE_SECONDS):
        stored = yield from me.call(me.world.batches.get, known.value.batch)
        if stored is not None:
            is_void = stored.value.kind is BatchKind.VOID
            is_in_batch = stored.value.has(known.etag) if me.has(Protection.LEFT_BEHIND) else not is_void
    decided = who_submits(
        known.value, claim.source, is_in_batch, claim.claimed_date_time, PATIENCE_SECONDS, dissolved=dissolved
    )
    if decided is Claiming.LEAVE:
        return None
    is_death = decided in (Claiming.FENCE, Claiming.TAKE_OVER)
    if is_death:
        seat.leave()
        yield from me.take_suspect_turn()
    if decided is Claiming.FENCE and me.has(Protection.FENCE) and not (yield from put_up_fence(me, known.value)):
        return None
    # Ask after the fence: then the batch of the dead worker can no longer end unseen.
    asks = Protection.ASK_FOR_OTHER if decided is Claiming.ASK else Protection.ASK_AFTER_DEATH
    if me.has(asks) and not (yield from is_newest(me, claim.source)):
        return None
    if decided is not Claiming.ASK:
        claim = succeed(me, claim, known.value, is_death=is_death)
    elif claim.digest == known.value.digest and claim.replaces is None and me.has(Protection.SAME_TEXT):
        return (yield from take_over_job(me, claim, known))
    etag = yield from write_claim(me, claim, known.etag, is_suspect=is_death)
    return None if etag is None else Stored(claim, etag)


def succeed(me: Worker, claim: Claim, known: Claim, *, is_death: bool) -> Claim:
    """Return the claim for a version that another worker claimed before: in a batch of its own."""
    return msgspec.structs.replace(
        claim,
        batch=me.world.new_batch() if me.has(Protection.ALONE) else claim.batch,
        claimed_date_time=me.world.now,
        tries=known.tries + is_death,
        received_date_time=known.received_date_time if is_death else claim.received_date_time,
        replaces=claim.replaces or known.replaces,
    )


def take_over_job(me: Worker, claim: Claim, known: Stored[Claim]) -> Steps[Stored[Claim] | None]:
    """Replace the claim of a version with the same text, and continue its batch."""
    batch = known.value.batch
    stored = yield from me.call(me.world.batches.get, batch)
    if stored is None or not has_job(stored.value, known.etag):
        etag = yield from write_claim(me, claim, known.etag)
        return None if etag is None else Stored(claim, etag)
    claim = msgspec.structs.replace(claim, batch=batch, received_date_time=known.value.received_date_time)
    etag = yield from write_claim(me, claim, known.etag)
    if etag is None:
        return None
    for _ in range(MAX_ATTEMPTS):
        if stored is None:
            return Stored(claim, etag)
        if not has_job(stored.value, known.etag):
            break
        record = with_version(stored.value, known.etag, claim, etag, me.world.now)
        if (yield from me.reschedule(Turn(batch, record, stored.etag))):
            return None
        stored = yield from me.call(me.world.batches.get, batch)
    return None


def put_up_fence(me: Worker, claim: Claim) -> Steps[bool]:
    """Void the batch of a claim, so that its worker can no longer record a job."""
    void = BatchRecord(kind=BatchKind.VOID, received_date_time=claim.received_date_time, due=me.world.now)
    return (yield from me.call(me.world.write_batch, claim.batch, void, None)) is not None


def is_newest(me: Worker, source: Source) -> Steps[bool]:
    """Return whether the input container holds this version now."""
    return (yield from me.call(me.world.newest, source.name)) == source
