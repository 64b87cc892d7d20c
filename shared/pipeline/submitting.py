"""Submitting a file: read it, claim it, check whether it has its outcome, and post it. All files enter here.

A file that the host reports, that the sweep finds or that an operator sends again is only a name. The version that is
submitted is the one that the input container holds when this worker reads it.
"""

import logging
import time
from contextlib import AsyncExitStack
from functools import partial
from typing import Final

import msgspec
from azure.core.exceptions import AzureError

from shared import outcome as outcomes
from shared.documents import DocumentError
from shared.message import FileMessage, is_expired
from shared.ner.model import Problem
from shared.pipeline.claiming import is_newest, take_claim
from shared.pipeline.copying import copy_outcome
from shared.pipeline.finishing import ARCHIVED, GAVE_UP, MAX_CONFLICTS, NOT_SUBMITTED, fail, finish
from shared.pipeline.gate import Seat
from shared.pipeline.posting import post_files
from shared.pipeline.rescheduling import Turn, reschedule
from shared.pipeline.services import Services
from shared.pipeline.settling import is_put_off
from shared.pipeline.texts import File, digest_of, ready
from shared.precedence import Present, PresentOutcome, look_at_outcome
from shared.source import Source
from shared.state.batch import BatchKind, BatchRecord, Member
from shared.state.claim import MAX_TRIES, BatchId, Claim
from shared.storage.blobs import OutcomeConflictError, Upload
from shared.storage.state import StoredClaim

log = logging.getLogger("ner")

LARGE_FILE: Final = 1024 * 1024
"""Bytes; only MAX_LARGE_FILES larger ones are in memory concurrently."""
BUSY_SECONDS: Final = 5.0
"""Delay before a large file is retried while others are in memory."""


async def submit(services: Services, wanted: FileMessage) -> None:
    """Submit the newest version of a file, unless it is in flight or has its outcome.

    Raises:
        AzureError: storage refused a call.
    """
    begun = time.monotonic()
    upload = await services.blobs.open_upload(wanted.file)
    if upload is None:
        log.info("%r: deleted before it was submitted, nothing to do", wanted.file)
        return
    if await is_put_off(services, wanted, upload):
        return
    length = upload.source.length
    is_readable = length <= services.settings.max_blob_bytes
    is_large = is_readable and length > LARGE_FILE
    if is_large and services.reading.locked():
        log.info("%r: submitting later, because other large files are being processed", wanted.file)
        again = msgspec.structs.replace(wanted, due=services.in_seconds(BUSY_SECONDS))
        await services.queue.send(again, BUSY_SECONDS)
        return
    async with services.reading_turn(is_large=is_large), AsyncExitStack() as stack:
        # `open_upload` has fetched all of a small file. A large one is claimed first: the worker may die of reading it.
        is_read_later = is_large or (is_readable and upload.is_archived)
        data = await upload.read() if is_readable and not is_read_later else None
        goes_alone = wanted.dissolved is not None or is_late(services, begun) or upload.is_archived
        seat = stack.enter_context(services.gate.seat(wanted.file, None if goes_alone else length))
        claim = new_claim(services, wanted, upload.source, data, seat.batch)
        held = await take_claim(services, claim, seat, stack, dissolved=wanted.dissolved)
        if held is not None:
            unread = upload if is_read_later else None
            await submit_claimed(services, held, unread, data, seat, stack=stack, unsure=wanted.unsure, begun=begun)


def new_claim(services: Services, wanted: FileMessage, source: Source, data: bytes | None, batch: BatchId) -> Claim:
    """Return a claim for a version; `data` is None if it has not been read."""
    now = services.now()
    return Claim(
        source=source,
        batch=batch,
        claimed_date_time=now,
        received_date_time=now,
        replaces=wanted.replaces,
        digest=digest_of(services.api, services.settings.language, source.name, data),
    )


async def submit_claimed(
    services: Services,
    held: StoredClaim,
    upload: Upload | None,
    data: bytes | None,
    seat: Seat,
    *,
    stack: AsyncExitStack,
    unsure: int,
    begun: float,
) -> None:
    """Submit a version that this worker has claimed, unless it ends without being sent.

    Args:
        services: the shared services.
        held: the claim.
        upload: the upload if it is still to be read, else None.
        data: bytes of the upload; None if it was not read.
        seat: the file's seat, in the batch that it was claimed for.
        stack: this invocation's contexts, for further seats.
        unsure: how many submissions of the version may have been accepted.
        begun: when the invocation began, by the monotonic clock.
    """
    try:
        file = await prepare(services, held, upload, data)
    except (AzureError, OutcomeConflictError):
        await give_back(services, held)
        raise
    if file is None:
        return
    file = file._replace(unsure=unsure)
    if held.claim.batch != seat.batch:
        # Its claim was taken over, perhaps from a worker that died of it, so the file goes alone.
        await begin(services, held.claim.batch, [file])
        return
    # If the file cannot join the batch, it tries the next one, and then goes alone.
    name, length = file.member.source.name, file.member.source.length
    lengths = [length if file.text.is_one_request and not is_late(services, begun) else None, None]
    while not seat.take(file):
        seat = stack.enter_context(services.gate.seat(name, lengths.pop(0), file.member.documents_count))
        # Renew the claim: no claim of a batch may become old before the batch has been sent.
        claim = msgspec.structs.replace(held.claim, batch=seat.batch, claimed_date_time=services.now())
        etag = await services.state.write_claim(claim, held.etag)
        if etag is None:
            log.info("%r: another worker has claimed this file, nothing to do", name)
            return
        held = StoredClaim(claim, etag)
        file = file._replace(member=msgspec.structs.replace(file.member, claim_etag=etag))
    await seat.sent(partial(begin, services))


def is_late(services: Services, begun: float) -> bool:
    """Return whether an invocation is too old to share a batch: newer ones have more time to send theirs."""
    return time.monotonic() - begun > services.gate.open_seconds


async def prepare(services: Services, held: StoredClaim, upload: Upload | None, data: bytes | None) -> File | None:
    """Return a claimed version that is ready to be sent; None if it ends without that.

    Raises:
        AzureError: storage refused a call.
        OutcomeConflictError: other workers wrote the outcome each time.
    """
    claim = held.claim
    is_given_up = claim.tries > MAX_TRIES
    is_archived = upload is not None and upload.is_archived
    if upload is not None and not is_given_up and not is_archived:
        data = await upload.read()
    digest = claim.digest or await services.texts.run(
        len(data or b""), lambda: digest_of(services.api, services.settings.language, claim.source.name, data)
    )
    member = await look(services, held, digest, may_copy=not is_given_up)
    if member is None:
        return None
    problem = why_not_sent(services, claim, is_archived=is_archived)
    if problem is ARCHIVED and claim.replaces is not None:
        log.warning(
            "%r: keeps its outcome, because it is in the archive tier and must be rehydrated", claim.source.name
        )
        await services.state.release_claim(claim.source.name, held.etag)
        return None
    if problem is not None:
        await fail(services, member, problem)
        return None
    try:
        text = await services.texts.read(services.settings, member.source, data)
    except DocumentError as error:
        await fail(services, member, Problem(error.code, error.message))
        return None
    if text.first is None:
        found = text.found
        outcome = outcomes.invalid(text.source, services.api, found.documents_count, found.problems)
        await finish(services, msgspec.structs.replace(member, source=text.source), outcome)
        return None
    return ready(member, text, claim.received_date_time)


def why_not_sent(services: Services, claim: Claim, *, is_archived: bool) -> Problem | None:
    """Return why a claimed version fails, whatever its text says; None if it does not."""
    if claim.tries > MAX_TRIES:
        log.error("%r: gave up, because %d workers failed to process this version", claim.source.name, claim.tries - 1)
        return GAVE_UP
    if is_expired(claim.received_date_time, services.now(), services.settings.job_timeout_seconds):
        return NOT_SUBMITTED
    return ARCHIVED if is_archived else None


async def give_back(services: Services, held: StoredClaim) -> None:
    """Give back a claim before anything was sent: this worker does not count as dead, but those before it still do."""
    claim = held.claim
    if claim.tries == 1:
        await services.state.release_claim(claim.source.name, held.etag)
    else:
        await services.state.write_claim(msgspec.structs.replace(claim, tries=claim.tries - 1), held.etag)


async def look(services: Services, held: StoredClaim, digest: str, *, may_copy: bool) -> Member | None:
    """Return a claimed version as a member of a batch; None if it ends, because of an outcome or a newer version.

    Raises:
        AzureError: storage refused a call.
        OutcomeConflictError: other workers wrote the outcome each time.
    """
    for _ in range(MAX_CONFLICTS):
        # Check after the claim: until then, another worker may have ended the version.
        present = await services.blobs.present_outcome(held.claim.source.name)
        member = Member(
            held.claim.source,
            held.etag,
            present.etag if present else None,
            digest,
            trace_parent=services.telemetry.trace_parent,
        )
        try:
            if not await ends(services, held.claim, member, present, may_copy=may_copy):
                return member
        except OutcomeConflictError:
            continue
        await services.state.release_claim(member.source.name, held.etag)
        return None
    raise OutcomeConflictError


async def ends(
    services: Services, claim: Claim, member: Member, present: PresentOutcome | None, *, may_copy: bool
) -> bool:
    """Return whether a claimed version ends without being sent, because of its file's existing outcome.

    Raises:
        AzureError: storage refused a call.
        OutcomeConflictError: the outcome is no longer the one that was seen.
    """
    source = claim.source
    found = look_at_outcome(source, member.digest, present, claim.replaces)
    if found is Present.NONE:
        return False
    if found is Present.ENDED:
        log.info("%r: already has an outcome, nothing to do", source.name)
        return True
    if not await is_newest(services, source):
        log.info("%r: replaced before it was submitted, nothing to do", source.name)
        return True
    return may_copy and found is Present.SAME_TEXT and await copy_outcome(services, member)


async def begin(services: Services, batch: BatchId, files: list[File]) -> None:
    """Send the files of a new batch to the service; while the service is throttling, only store the batch.

    Raises:
        AzureError: storage refused a call.
    """
    members = [file.member for file in files]
    with services.telemetry.batch("submit", batch, members):
        closed = services.delays.closed_seconds
        record = BatchRecord(
            kind=BatchKind.WAITING,
            members=members,
            received_date_time=min(file.received for file in files),
            due=services.in_seconds(closed),
            unsure=max(file.unsure for file in files),
            trace_parent=services.telemetry.trace_parent,
        )
        turn = Turn(batch, record, None)
        if closed:
            log.info("%s: submitting later, because the service is throttling calls", turn.names)
            await reschedule(services, turn)
        else:
            await post_files(services, turn, files)
