"""The model of `submitting`, `claiming`, `copying` and `posting`."""

from typing import NamedTuple

import msgspec
from azure.core.exceptions import AzureError

from shared.message import FileMessage, is_expired
from shared.ner.errors import NerError, Remedy
from shared.outcome import OutcomeStatus
from shared.pipeline.claiming import MAX_ATTEMPTS
from shared.pipeline.decisions import Claiming, has_job, who_submits, with_version
from shared.pipeline.finishing import MAX_CONFLICTS
from shared.precedence import Present, PresentOutcome, look_at_outcome
from shared.source import Source
from shared.state.batch import BatchKind, BatchRecord, Member, SubmittedJob
from shared.state.claim import MAX_TRIES, Claim, is_old
from shared.state.ledger import Ledger
from shared.storage.blobs import OutcomeConflictError
from tests.unit.protocol.finishing import after_failed_call, fail, payments_of
from tests.unit.protocol.ledgers import post_all
from tests.unit.protocol.protections import Protection
from tests.unit.protocol.workers import (
    JOB_TIMEOUT_SECONDS,
    PATIENCE_SECONDS,
    POLL_SECONDS,
    THROTTLED_SECONDS,
    Steps,
    Worker,
)
from tests.unit.protocol.world import Stored, Text, Upload


class Ready(NamedTuple):
    """A file that is claimed and read."""

    wanted: FileMessage
    held: Stored[Claim]
    member: Member
    upload: Upload


def submit(me: Worker, wanted: FileMessage) -> Steps[None]:
    """Submit the newest version of a file, unless it is in work or has its outcome."""
    for _, error in (yield from submit_together(me, [wanted])):
        raise error


def submit_together(
    me: Worker, wanted: list[FileMessage], *, has_late: bool = False
) -> Steps[list[tuple[FileMessage, Exception]]]:
    """Submit files that arrive at the same time, in one batch; return those that were refused.

    The last one may be late: the batch leaves without it.
    """
    batch, group, alone = new_batch(me), list[Ready](), list[Ready]()
    refused: list[tuple[FileMessage, Exception]] = []
    for each in wanted:
        try:
            ready = yield from claim_and_prepare(me, each, batch)
        except (AzureError, OutcomeConflictError) as error:
            refused.append((each, error))
            continue
        if ready is not None:
            (group if ready.held.value.batch == batch else alone).append(ready)
    late = group.pop() if has_late and len(group) > 1 else None
    for files in [group, *([each] for each in alone)]:
        if files:
            refused += yield from send(me, files[0].held.value.batch, files)
    if late is not None:
        refused += yield from go_alone(me, late)
    return refused


def send(me: Worker, batch: str, files: list[Ready]) -> Steps[list[tuple[FileMessage, Exception]]]:
    """Send the files of a batch; return them if that was refused."""
    try:
        yield from begin(me, batch, files)
    except (AzureError, OutcomeConflictError) as error:
        me.forget()
        return [(each.wanted, error) for each in files]
    return []


def go_alone(me: Worker, late: Ready) -> Steps[list[tuple[FileMessage, Exception]]]:
    """Send a file whose batch has left without it."""
    claim, etag = msgspec.structs.replace(late.held.value, batch=new_batch(me)), late.held.etag
    if me.has(Protection.LATE_CLAIM):
        try:
            moved = yield from write_claim(me, claim, etag)
        except AzureError as error:
            return [(late.wanted, error)]
        if moved is None:
            return []
        etag = moved
    member = msgspec.structs.replace(late.member, claim_etag=etag)
    return (yield from send(me, claim.batch, [Ready(late.wanted, Stored(claim, etag), member, late.upload)]))


def new_batch(me: Worker) -> str:
    """Return a name for a batch."""
    return f"{me.world.new_etag():0>32}"


def claim_and_prepare(me: Worker, wanted: FileMessage, batch: str) -> Steps[Ready | None]:
    """Claim and read the newest version of a file; None if there is nothing to send of it."""
    upload = yield from me.call(me.world.read_upload, wanted.file)
    if upload is None:
        return None
    claim = Claim(
        source=upload.source,
        # What is known to need several requests goes alone from the beginning.
        batch=new_batch(me) if upload.text is Text.LARGE or wanted.dissolved else batch,
        claimed_date_time=me.world.now,
        received_date_time=me.world.now,
        replaces=wanted.replaces,
        digest=upload.digest,
    )
    held = yield from take_claim(me, claim, wanted.dissolved)
    if held is None:
        return None
    try:
        member = yield from prepare(me, held, upload)
    except (AzureError, OutcomeConflictError):
        yield from give_back(me, held)
        raise
    return None if member is None else Ready(wanted, held, member, upload)


def prepare(me: Worker, held: Stored[Claim], upload: Upload) -> Steps[Member | None]:
    """Return what to send of a claimed version; None if it ends."""
    member = yield from look(me, held, upload)
    if member is None:
        return None
    is_dead = held.value.tries > MAX_TRIES and me.has(Protection.MAX_TRIES)
    is_late = is_expired(held.value.received_date_time, me.world.now, JOB_TIMEOUT_SECONDS)
    if is_dead or is_late or upload.text is Text.BAD:
        yield from fail(me, member)
        return None
    return member


def take_claim(me: Worker, claim: Claim, dissolved: str | None) -> Steps[Stored[Claim] | None]:
    """Claim a file for a version; None if another worker has the version, or a newer one."""
    for _ in range(MAX_ATTEMPTS):
        etag = yield from write_claim(me, claim, None)
        if etag is not None:
            return Stored(claim, etag)
        known = yield from me.call(me.world.claims.get, claim.source.name)
        if known is not None:
            return (yield from take_over(me, claim, known, dissolved))
    return None


def write_claim(me: Worker, claim: Claim, known: str | None) -> Steps[str | None]:
    """Write a claim; return its etag, None if another worker was faster."""

    def write() -> str | None:
        stored = me.world.claims.get(claim.source.name)
        etag = known if me.has(Protection.CLAIM_CONDITION) or stored is None else stored.etag
        return me.world.write_claim(claim, etag)

    return (yield from me.call(write))


def take_over(me: Worker, claim: Claim, known: Stored[Claim], dissolved: str | None) -> Steps[Stored[Claim] | None]:
    """Claim a file in place of a claim that is there, if no worker has this version."""
    is_in_batch = None
    if is_old(known.value.claimed_date_time, claim.claimed_date_time, PATIENCE_SECONDS):
        stored = yield from me.call(me.world.batches.get, known.value.batch)
        is_in_batch = stored.value.has(known.etag) if stored else None
    decided = who_submits(
        known.value, claim.source, is_in_batch, claim.claimed_date_time, PATIENCE_SECONDS, dissolved=dissolved
    )
    if decided is Claiming.LEAVE:
        return None
    if decided is Claiming.FENCE and me.has(Protection.FENCE) and not (yield from put_up_fence(me, known.value)):
        return None
    # Ask after the fence: then the batch of the dead worker can no longer end unseen.
    asks = Protection.ASK_FOR_OTHER if decided is Claiming.ASK else Protection.ASK_AFTER_DEATH
    if me.has(asks) and not (yield from is_newest(me, claim.source)):
        return None
    if decided is not Claiming.ASK:
        claim = msgspec.structs.replace(
            claim,
            batch=new_batch(me),
            tries=known.value.tries + (decided is not Claiming.LEAVE_BATCH),
            received_date_time=known.value.received_date_time,
            replaces=claim.replaces or known.value.replaces,
        )
    elif claim.digest == known.value.digest and claim.replaces is None and me.has(Protection.SAME_TEXT):
        return (yield from take_over_job(me, claim, known))
    etag = yield from write_claim(me, claim, known.etag)
    return None if etag is None else Stored(claim, etag)


def take_over_job(me: Worker, claim: Claim, known: Stored[Claim]) -> Steps[Stored[Claim] | None]:
    """Replace the claim of a version with the same text, and continue its batch."""
    batch = known.value.batch
    stored = yield from me.call(me.world.batches.get, batch)
    has_found = stored is not None and has_job(stored.value, known.etag)
    if has_found:
        claim = msgspec.structs.replace(claim, batch=batch, received_date_time=known.value.received_date_time)
    etag = yield from write_claim(me, claim, known.etag)
    if etag is None:
        return None
    if not has_found:
        return Stored(claim, etag)
    for _ in range(MAX_ATTEMPTS):
        if stored is None:
            return Stored(claim, etag)
        if not has_job(stored.value, known.etag):
            return None
        record = with_version(stored.value, known.etag, claim, etag, me.world.now)
        if (yield from me.reschedule(batch, record, stored.etag, 0.0)):
            return None
        stored = yield from me.call(me.world.batches.get, batch)
    return None


def put_up_fence(me: Worker, claim: Claim) -> Steps[bool]:
    """Void the batch of a claim, so that its worker cannot record a job any more."""
    void = BatchRecord(kind=BatchKind.VOID, received_date_time=claim.received_date_time, due=me.world.now)
    return (yield from me.call(me.world.write_batch, claim.batch, void, None)) is not None


def is_newest(me: Worker, source: Source) -> Steps[bool]:
    """Return whether a version is what the input container holds now."""
    return (yield from me.call(me.world.newest, source.name)) == source


def give_back(me: Worker, held: Stored[Claim]) -> Steps[None]:
    """Give a claim back of which nothing was sent."""
    tries = held.value.tries - 1
    if tries and me.has(Protection.TRIES_STAY):
        yield from write_claim(me, msgspec.structs.replace(held.value, tries=tries), held.etag)
    else:
        yield from me.call(me.world.release_claim, held.value.source.name, held.etag)


def look(me: Worker, held: Stored[Claim], upload: Upload) -> Steps[Member | None]:
    """Return a claimed version as a member of a batch; None if it has an outcome or is not the newest."""
    source = upload.source
    for _ in range(MAX_CONFLICTS):
        present = yield from me.call(me.world.present_outcome, source.name)
        member = Member(source, held.etag, present.etag if present else None, upload.digest)
        try:
            if not (yield from ends(me, held.value, member, present)):
                return member
        except OutcomeConflictError:
            if not me.has(Protection.LOOK_AGAIN):
                return member
            continue
        yield from me.call(me.world.release_claim, source.name, held.etag)
        return None
    raise OutcomeConflictError


def ends(me: Worker, claim: Claim, member: Member, present: PresentOutcome | None) -> Steps[bool]:
    """Return whether a claimed version ends without being sent, because of the outcome that its file has."""
    found = look_at_outcome(member.source, member.digest, present, claim.replaces)
    if found is Present.NONE:
        return False
    if found is Present.ENDED:
        return me.has(Protection.OUTCOME_SEEN)
    if me.has(Protection.ASK_FOR_OUTCOME) and not (yield from is_newest(me, member.source)):
        return True
    if found is Present.SAME_TEXT:
        yield from copy_outcome(me, member)
        return True
    return False


def copy_outcome(me: Worker, member: Member) -> Steps[None]:
    """Write the present outcome of a file again, as that of a version with the same text."""
    world, name, etag = me.world, member.source.name, member.outcome_etag
    copied = yield from me.call(world.outcomes.get, name)
    if copied is None or copied.present.etag != etag:
        raise OutcomeConflictError
    status = OutcomeStatus.SUCCEEDED
    yield from me.call(world.write_outcome, member.source, status, member.digest, copied.jobs, etag)


def begin(me: Worker, batch: str, files: list[Ready]) -> Steps[None]:
    """Send the texts of claimed versions to the service, or let them wait while the service is throttling."""
    record = BatchRecord(
        kind=BatchKind.WAITING,
        members=[each.member for each in files],
        received_date_time=min(each.held.value.received_date_time for each in files),
        due=me.world.now,
    )
    if me.world.closed:
        yield from me.reschedule(batch, record, None, THROTTLED_SECONDS)
        return
    yield from post_files(me, batch, record, None, [each.upload for each in files])


def post_files(me: Worker, batch: str, record: BatchRecord, baton: str | None, uploads: list[Upload]) -> Steps[None]:
    """Post what was read of files: as one job if it fits one request, else a single file by a ledger."""
    if uploads[0].text is not Text.LARGE:
        yield from post(me, batch, record, baton, uploads)
        return
    record = msgspec.structs.replace(record, kind=BatchKind.LEDGER)
    etag = yield from me.begin_step(batch, record, baton)
    if etag is not None:
        yield from post_all(me, batch, record, etag, None if not me.has(Protection.LEDGER_CLAIM) else Ledger(batch))


def post(me: Worker, batch: str, record: BatchRecord, baton: str | None, uploads: list[Upload]) -> Steps[None]:
    """Post a batch of one request, and record the job."""
    payments = payments_of(record)
    try:
        if any(upload.text is Text.REFUSED for upload in uploads):
            raise NerError("InvalidRequest", "", Remedy.NONE)
        job_id = yield from me.post(payments)
    except NerError as error:
        yield from after_failed_call(me, batch, record, baton, error)
        return
    submitted = msgspec.structs.replace(
        record.after_progress(),
        kind=BatchKind.JOB,
        job=SubmittedJob(job_id, len(payments), len(payments)),
        submitted_date_time=me.world.now,
        due=me.world.in_seconds(POLL_SECONDS),
    )
    try:
        etag = yield from me.write_batch(batch, submitted, baton)
    except AzureError:
        me.forget()
        yield from me.send(batch, submitted, baton)
        return
    if etag is None:
        is_slow = is_old(me.started, me.world.now, PATIENCE_SECONDS)
        assert is_slow, "a worker that was quick must be able to record its job"
        me.forget()
        yield from me.cancel(job_id)
        return
    yield from me.send(batch, submitted, etag)
