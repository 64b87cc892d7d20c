"""The model of `sweeping`."""

from datetime import timedelta
from typing import Any

from azure.core.exceptions import AzureError

from shared.message import BatchMessage, FileMessage, decode_message
from shared.pipeline.decisions import Finding, ListedClaim, before_last_try, is_behind, look_at_file
from shared.pipeline.rescheduling import Turn
from shared.pipeline.sweeping import MAX_TIMES_BEHIND, VOID_TIMEOUTS
from shared.state.batch import BatchKind, is_overdue
from shared.state.claim import Claim, is_old
from shared.state.sweeping import Place, SweepState
from tests.unit.protocol.protections import Protection
from tests.unit.protocol.values import Stored
from tests.unit.protocol.workers import GRACE_SECONDS, OVERDUE_SECONDS, PATIENCE_SECONDS, Steps, Worker


def sweep(me: Worker, *, is_short: bool = False) -> Steps[None]:
    """Send a message to each overdue batch and each file that needs one; a short one stops after one of each."""
    world, now = me.world, me.world.now
    state = yield from me.call(lambda: world.sweep)
    times_behind, place = 0, state.place if state else None
    if (yield from poll_is_behind(me)):
        times_behind = (state.times_behind if state else 0) + 1
    if not times_behind or (times_behind > MAX_TIMES_BEHIND and me.has(Protection.GUARD_GIVES_WAY)):
        times_behind = 0
        live = yield from revive_batches(me, is_short=is_short)
        place = yield from walk_files(me, live, place, is_short=is_short)
    after = SweepState(since=now, last=now, times_behind=times_behind, place=place)

    def leave() -> None:
        world.sweep = after

    yield from me.call(leave)


def poll_is_behind(me: Worker) -> Steps[bool]:
    """Return whether messages are received too slowly."""
    now = me.world.now
    visible = yield from me.call(lambda: me.world.visible)
    if not visible or not me.has(Protection.BACKLOG_GUARD):
        return False
    message = decode_message(visible[0].text)
    sent = message.record if isinstance(message, BatchMessage) else message
    return is_behind(sent.due if sent else None, now, GRACE_SECONDS)


def revive_batches(me: Worker, *, is_short: bool) -> Steps[set[str]]:
    """Send a message to each overdue batch, delete what is left of old ones; return what is recorded."""
    world, now, revived = me.world, me.world.now, 0
    live: set[str] = set()
    recorded: set[str] = set()
    longest = timedelta(seconds=VOID_TIMEOUTS * PATIENCE_SECONDS)
    batches = yield from me.call(lambda: dict(world.batches))
    ledgers = yield from me.call(lambda: dict.fromkeys((*world.ledgers, *world.results)))
    for batch, (record, etag) in batches.items():
        if record.kind is BatchKind.VOID:
            if now - record.due > longest and me.has(Protection.VOID_RECORDS):
                yield from repair(me.call(world.delete_batch, batch, etag))
            continue
        live.update(member.claim_etag for member in record.members)
        live.add(batch)
        recorded.add(batch)
        if is_overdue(record.due, now, OVERDUE_SECONDS) and me.has(Protection.REVIVAL) and not (is_short and revived):
            yield from repair(revive(me, batch))
            revived += 1
    for batch in ledgers:
        if batch not in recorded and now - world.written[batch] > longest:
            yield from repair(me.call(world.ledgers.pop, batch, None))
            yield from repair(me.call(world.results.discard, batch))
    return live


def revive(me: Worker, batch: str) -> Steps[None]:
    """Send a message to a batch whose own must be lost."""
    stored = yield from me.call(me.world.batches.get, batch)
    if stored is None or not is_overdue(stored.value.due, me.world.now, OVERDUE_SECONDS):
        return
    record = stored.value
    tries = record.tries if record.kind is BatchKind.WAITING else max(record.tries, 1)
    if tries > record.tries:
        me.works_on(record.members)
        me.befall()
        me.works_on([])
    delay = before_last_try(tries, PATIENCE_SECONDS)
    yield from me.reschedule(Turn(batch, record, stored.etag).changed(due=me.world.in_seconds(delay), tries=tries))


def repair(steps: Steps[Any]) -> Steps[None]:
    """Do something about one blob; if storage refuses that, the next sweep does it."""
    try:
        yield from steps
    except AzureError:
        return


def walk_files(me: Worker, live: set[str], place: Place | None, *, is_short: bool) -> Steps[Place | None]:
    """Send a message to each file that needs one, and release claims of files that were deleted."""
    world, now = me.world, me.world.now
    inputs = yield from me.call(lambda: dict(world.inputs))
    claims = yield from me.call(lambda: dict(world.claims))
    outcomes = yield from me.call(lambda: dict(world.outcomes))
    after = place.after if place else ""
    # A sweep that continues another one does not list the files before its place.
    files = sorted(name for name in inputs if name > after)
    last = files[0] if is_short and len(files) > 1 else None
    walked = [name for name in files if last is None or name <= last]
    for name in walked:
        upload, claim, outcome = inputs[name], claims.get(name), outcomes.get(name)
        found = look_at_file(
            upload.source,
            outcome.present.source_etag if outcome else None,
            ListedClaim(claim.value.batch, claim.value.claimed_date_time, claim.value.source.etag) if claim else None,
            now,
            is_in_batch=claim is not None and is_in_batch(me, claim, live),
            grace_seconds=GRACE_SECONDS,
            patience_seconds=PATIENCE_SECONDS,
            since=None,
        )
        if found is Finding.MISSING and me.has(Protection.ORPHANS if claim else Protection.MISSING_FILES):
            yield from me.call(world.send, FileMessage(file=name, due=now))
    for name, claim in claims.items():
        is_before = name <= after and me.has(Protection.ORPHANS_AFTER_PLACE)
        if name in walked or is_before or (last is not None and name > last):
            continue
        if is_orphan(me, claim, live) and me.has(Protection.ORPHANS_OF_DELETED):
            yield from repair(me.call(world.release_claim, name, claim.etag))
    return None if last is None else Place(None, None, None, last)


def is_orphan(me: Worker, claim: Stored[Claim], live: set[str]) -> bool:
    """Return whether the worker of a claim has ended without a record."""
    return not is_in_batch(me, claim, live) and is_old(claim.value.claimed_date_time, me.world.now, PATIENCE_SECONDS)


def is_in_batch(me: Worker, claim: Stored[Claim], live: set[str]) -> bool:
    """Return whether a claim is in a recorded batch."""
    return (claim.etag if me.has(Protection.CLAIM_IN_RECORD) else claim.value.batch) in live
