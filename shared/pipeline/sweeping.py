"""The sweep: finds files without an outcome and batches without a message, even if triggers or messages fail.

It lists blobs and sends messages, and never does the work itself. It walks through files, outcomes and claims together,
in the order of their names, so a million of them need the memory of one page.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import msgspec

from shared.message import BatchMessage, FileMessage, MessageError, decode_message
from shared.names import ALWAYS_KEPT, result_name
from shared.pipeline.decisions import Finding, ListedClaim, before_last_try, is_behind, look_at_file
from shared.pipeline.rescheduling import names_of, reschedule
from shared.pipeline.services import Services
from shared.source import Source, read_instant
from shared.state.batch import BATCHES, BatchKind, is_overdue
from shared.state.claim import CLAIMS, is_old
from shared.state.sweeping import Place, SweepState, Swept
from shared.storage.conditions import delete_version
from shared.storage.listings import Follower, Listed, Listing, order, reordered
from shared.storage.state import StateError

log = logging.getLogger("ner")

WORKING_SHARE: Final = 0.6
"""The part of NER_SUBMIT_TIMEOUT_SECONDS after which a sweep leaves the rest to the next one."""
MAX_SENDING: Final = 32
"""How many messages are sent concurrently."""
MAX_TIMES_BEHIND: Final = 3
"""How many sweeps in a row send nothing because `poll` is behind; the next one does, in case it only seems so."""
MAX_LIVE_BATCHES: Final = 200_000
"""How many names are held in memory; while there are more, files are not checked."""
DEFAULT_INTERVAL: Final = timedelta(minutes=10)
"""From one sweep to the next, if the host does not say."""
VOID_TIMEOUTS: Final = 10
"""For how many times NER_SUBMIT_TIMEOUT_SECONDS a void record blocks its slow worker."""


@dataclass
class Sweep:
    """A sweep that is running.

    Attributes:
        now: when it began.
        state: what the last one stored; None in the first one of a deployment.
        live: batches whose record is not void.
        swept: what it has seen and done so far.
        names: files whose messages are about to be sent.
    """

    services: Services
    now: datetime
    state: SweepState | None
    end_of_work: float
    interval: timedelta
    live: set[str] = field(default_factory=set)
    swept: Swept = field(default_factory=Swept)
    names: list[str] = field(default_factory=list)

    @property
    def since(self) -> datetime:
        """When this deployment began: older files existed before it.

        Its first sweep runs within one interval of its start.
        """
        return self.state.since if self.state else self.now - self.interval

    def count(self, **more: int) -> None:
        """Add to the counts in `swept`."""
        added = {name: getattr(self.swept, name) + number for name, number in more.items()}
        self.swept = msgspec.structs.replace(self.swept, **added)

    async def send(self, name: str) -> None:
        """Collect a file's message; send all once there are MAX_SENDING."""
        self.names.append(name)
        if len(self.names) >= MAX_SENDING:
            await self.send_all()

    async def send_all(self) -> None:
        """Send the collected messages."""
        queue, names, self.names = self.services.queue, self.names, []
        await asyncio.gather(*(queue.send(FileMessage(file=name, due=self.now)) for name in names))
        self.count(sent=len(names))


async def sweep(services: Services, interval: timedelta = DEFAULT_INTERVAL) -> Swept:
    """Send a message for each overdue batch and each file that needs one; return what was found.

    Args:
        services: connections.
        interval: from one sweep to the next.

    Raises:
        AzureError: storage refused a call; the next sweep begins where this one began.
    """
    begun = time.monotonic()
    state = await services.state.read_sweep()
    working = services.settings.submit_timeout_seconds * WORKING_SHARE
    run = Sweep(services, services.now(), state, begun + working, interval)
    times_behind = 0
    place = state.place if state else None
    if await poll_is_behind(run) and (times_behind := (state.times_behind if state else 0) + 1) <= MAX_TIMES_BEHIND:
        run.swept = Swept(is_behind=True, is_complete=False)
    else:
        times_behind = 0
        await revive_batches(run)
        if len(run.live) <= MAX_LIVE_BATCHES:
            place = await walk_files(run, place)
        run.swept = msgspec.structs.replace(run.swept, is_complete=place is None)
    run.swept = msgspec.structs.replace(run.swept, seconds=round(time.monotonic() - begun, 3))
    await services.state.write_sweep(
        SweepState(since=run.since, last=run.now, swept=run.swept, place=place, times_behind=times_behind)
    )
    if poisoned := await services.queue.poisoned():
        log.warning("%d messages are in the poison queue: the log has the exceptions", poisoned)
    services.telemetry.swept(run.swept.missing, run.swept.revived)
    log.info("sweep: %s", describe(run.swept))
    return run.swept


def describe(swept: Swept) -> str:
    """Return the log line about a sweep."""
    if swept.is_behind:
        return "sent nothing, because poll is behind with its messages"
    rest = "" if swept.is_complete else ", the next sweep continues from here"
    return (
        f"{swept.files} files, {swept.missing} of them need a message, {swept.existing} from before this deployment; "
        f"{swept.revived} batches were overdue; {swept.calls} list calls in {swept.seconds:.1f} s{rest}"
    )


async def poll_is_behind(run: Sweep) -> bool:
    """Return whether messages are received too slowly: more of them would make it worse."""
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
    """Send a message for each overdue batch, and delete what is left of void ones."""
    services, settings = run.services, run.services.settings
    listing = Listing(services.state.container, BATCHES)
    longest = timedelta(seconds=VOID_TIMEOUTS * settings.submit_timeout_seconds)
    async for blob in listing.blobs():
        batch, _, ending = blob.name.partition(".")
        if ending != "json":
            if batch not in run.live and run.now - blob.modified > longest:
                await delete_version(services.state.container.get_blob_client(BATCHES + blob.name), blob.etag)
            continue
        due = read_instant(blob.metadata.get("due", ""))
        if blob.metadata.get("kind") == BatchKind.VOID.value:
            if due is None or run.now - due > longest:
                await services.state.delete_batch(batch, blob.etag)
            continue
        run.live.add(batch)
        if due is None or is_overdue(due, run.now, settings.overdue_seconds):
            await revive(run, batch)
    run.count(calls=listing.calls)


async def revive(run: Sweep, batch: str) -> None:
    """Replace a batch's message, which must have been lost."""
    services = run.services
    try:
        stored = await services.state.read_batch(batch)
    except StateError as error:
        log.error("no message sent, because %s", error)  # noqa: TRY400  # the message says it all
        return
    if stored is None or not is_overdue(stored.record.due, run.now, services.settings.overdue_seconds):
        return
    # A worker may have died of the message, or none has received it.
    tries = max(stored.record.tries, 1)
    delay = before_last_try(tries, services.settings.submit_timeout_seconds)
    revived = msgspec.structs.replace(stored.record, due=services.in_seconds(delay), tries=tries)
    if await reschedule(services, batch, revived, stored.etag):
        log.warning("%s: its message was lost, sent another one", names_of(revived))
        run.count(revived=1, sent=1)


async def walk_files(run: Sweep, place: Place | None) -> Place | None:
    """Send a message for each file that needs one; return where to continue if the time was up before the last."""
    services = run.services
    blobs, settings = services.account.blobs, services.settings
    inputs = Listing(blobs.get_container_client(settings.input_container), page=place.inputs if place else None)
    results = Listing(blobs.get_container_client(settings.results_container), page=place.results if place else None)
    claims = Listing(services.state.container, CLAIMS, page=place.claims if place else None)
    outcomes, claimed = Follower(results.blobs()), Follower(claims.blobs())
    after = order(result_name(place.after)) if place else b""
    last = ""
    is_complete = True
    pages: dict[str, str | None] = {}
    async for key, file in reordered(with_pages(inputs, pages), result_name, ALWAYS_KEPT):
        del pages[file.name]
        orphans, claim = await claimed.up_to(key)
        _, outcome = await outcomes.up_to(key)
        if key <= after:
            continue
        await release_orphans(run, [found for found in orphans if order(found.name) > after])
        await look_at(run, file, outcome, claim)
        last = file.name
        if time.monotonic() >= run.end_of_work:
            is_complete = False
            break
    if is_complete:
        orphans, _ = await claimed.up_to(None)
        await release_orphans(run, [found for found in orphans if order(found.name) > after])
    await run.send_all()
    run.count(calls=inputs.calls + results.calls + claims.calls)
    # A file that is held back to keep the order may be on an earlier page.
    page = next(iter(pages.values()), inputs.page)
    return None if is_complete else Place(page, results.page, claims.page, last)


async def with_pages(listing: Listing, pages: dict[str, str | None]) -> AsyncIterator[Listed]:
    """Yield the blobs of a listing, and record the page of each."""
    async for blob in listing.blobs():
        pages[blob.name] = listing.page
        yield blob


async def look_at(run: Sweep, file: Listed, outcome: Listed | None, claim: Listed | None) -> None:
    """Send a message for a file if it needs one."""
    if file.is_folder:
        return
    settings = run.services.settings
    known = listed_claim(claim) if claim else None
    finding = look_at_file(
        Source(settings.input_container, file.name, file.etag, file.modified, file.length),
        outcome.metadata.get("source_etag", "") if outcome else None,
        known,
        run.now,
        has_live_batch=known is not None and known.batch in run.live,
        grace_seconds=settings.sweep_grace_seconds,
        patience_seconds=settings.submit_timeout_seconds,
        since=None if settings.sweep_existing else run.since,
    )
    run.count(files=1, missing=finding is Finding.MISSING, existing=finding is Finding.EXISTING)
    if finding is Finding.MISSING:
        log.info("%r: has no outcome and no worker, sending a message", file.name)
        await run.send(file.name)


def listed_claim(claim: Listed) -> ListedClaim:
    """Return a claim as a listing shows it; without metadata, it is as old as its blob."""
    claimed = read_instant(claim.metadata.get("claimed_date_time", "")) or claim.modified
    return ListedClaim(claim.metadata.get("batch", ""), claimed)


async def release_orphans(run: Sweep, claims: list[Listed]) -> None:
    """Delete claims of deleted files whose worker has ended without a record."""
    settings = run.services.settings
    for claim in claims:
        known = listed_claim(claim)
        if known.batch not in run.live and is_old(known.claimed, run.now, settings.submit_timeout_seconds):
            log.info("released the claim %r: its file was deleted", claim.name)
            await run.services.state.release_listed_claim(claim.name, claim.etag)
