"""The sweep's walk through files, outcomes and claims: together, in the order of their names.

Therefore, it holds only one page of each listing in memory, however many files there are.
"""

import logging
import time
from collections.abc import AsyncIterator
from functools import partial

from shared.names import ALWAYS_KEPT, result_name, why_refused
from shared.pipeline.decisions import Finding, ListedClaim, look_at_file
from shared.pipeline.finishing import WAITS
from shared.pipeline.sweep_run import Sweep
from shared.source import Source, read_instant
from shared.state.claim import CLAIMS, is_old
from shared.state.sweeping import Place
from shared.storage.listings import Follower, Listed, Listing, order, reordered

log = logging.getLogger("ner")


async def walk_files(run: Sweep, place: Place | None) -> Place | None:
    """Send a message for each file that needs one; if the time is up before the last file, return where to continue."""
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
    await run.repair_all()
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
    """Send a message for a file if it needs one; a file in the archive tier cannot be read until it is rehydrated."""
    if file.is_marker and claim is not None:
        await release_orphans(run, [claim])  # of an older version, which had a text
    if file.is_marker or file.is_archived:
        return
    if why := why_refused(file.name):
        run.services.refuse(file.name, why)
        run.count(odd_names=1)
        return
    settings = run.services.settings
    known = listed_claim(claim) if claim else None
    finding = look_at_file(
        Source(settings.input_container, file.name, file.etag, file.modified, file.length),
        outcome.metadata.get("source_etag", "") if outcome else None,
        known,
        run.now,
        is_in_batch=claim is not None and claim.etag in run.live,
        grace_seconds=settings.sweep_grace_seconds,
        patience_seconds=settings.submit_timeout_seconds,
        since=None if settings.sweep_existing else run.since,
    )
    run.count(files=1, missing=finding is Finding.MISSING, existing=finding is Finding.EXISTING)
    if finding is Finding.MISSING:
        log.info("%r: has no outcome and no worker, sending a message", file.name)
        await run.send(file.name)
    elif claim is None and outcome is not None and waits_for_rehydration(file, outcome):
        log.info("%r: has left the archive tier, sending a message", file.name)
        await run.send(file.name, replaces=outcome.etag)


def waits_for_rehydration(file: Listed, outcome: Listed) -> bool:
    """Return whether an outcome says that this version of a file was in the archive tier."""
    return outcome.metadata.items() >= {**WAITS, "source_etag": file.etag}.items()


def listed_claim(claim: Listed) -> ListedClaim:
    """Return a claim as a listing shows it; without metadata, it is as old as its blob."""
    claimed = read_instant(claim.metadata.get("claimed_date_time", "")) or claim.modified
    return ListedClaim(claim.metadata.get("batch", ""), claimed, claim.metadata.get("source_etag", ""))


async def release_orphans(run: Sweep, claims: list[Listed]) -> None:
    """Delete old claims of deleted files if no record names them."""
    settings = run.services.settings
    for claim in claims:
        if why_refused(claim.name):
            continue  # its URL may lead to another blob
        known = listed_claim(claim)
        if claim.etag not in run.live and is_old(known.claimed, run.now, settings.submit_timeout_seconds):
            await run.repair(f"claim {claim.name!r}", partial(release_orphan, run, claim), run.end_of_work)


async def release_orphan(run: Sweep, claim: Listed) -> None:
    """Delete the claim of a deleted file."""
    if await run.services.state.release_listed_claim(claim.name, claim.etag):
        log.info("released the claim %r: its file was deleted", claim.name)
