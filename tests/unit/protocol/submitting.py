"""The model of `submitting` and `copying`."""

import msgspec
from azure.core.exceptions import AzureError

from shared.message import FileMessage, is_expired
from shared.outcome import OutcomeStatus
from shared.pipeline.finishing import MAX_CONFLICTS
from shared.pipeline.rescheduling import Turn
from shared.precedence import Present, PresentOutcome, look_at_outcome
from shared.state.batch import BatchKind, BatchRecord, Member
from shared.state.claim import MAX_TRIES, Claim
from shared.storage.blobs import OutcomeConflictError
from tests.unit.protocol.claiming import is_newest, take_claim, write_claim
from tests.unit.protocol.finishing import fail
from tests.unit.protocol.gate import File, Seat
from tests.unit.protocol.posting import post_files
from tests.unit.protocol.protections import Protection
from tests.unit.protocol.values import Stored, Text, Upload
from tests.unit.protocol.workers import JOB_TIMEOUT_SECONDS, THROTTLED_SECONDS, Steps, Worker


def submit(me: Worker, wanted: FileMessage) -> Steps[None]:
    """Submit the newest version of a file, unless it is in flight or has its outcome."""
    upload = yield from me.call(me.world.read_upload, wanted.file)
    if upload is None:
        return
    me.works_on([Member(upload.source, "", digest=upload.digest)])
    seat = me.process.gate.seat(is_alone=wanted.dissolved is not None)
    try:
        claim = Claim(
            source=upload.source,
            batch=seat.group.batch,
            claimed_date_time=me.world.now,
            received_date_time=me.world.now,
            replaces=wanted.replaces,
            digest=upload.digest,
        )
        held = yield from take_claim(me, claim, seat, wanted.dissolved)
        if held is not None:
            yield from submit_claimed(me, held, upload, seat, wanted.unsure)
    finally:
        seat.leave()


def submit_claimed(me: Worker, held: Stored[Claim], upload: Upload, seat: Seat, unsure: int) -> Steps[None]:
    """Submit a version that this worker has claimed, unless it ends without being sent."""
    try:
        file = yield from prepare(me, held, upload)
    except (AzureError, OutcomeConflictError):
        yield from give_back(me, held)
        raise
    if file is None:
        return
    batch = held.value.batch
    if batch == seat.group.batch:
        if seat.take(file):
            yield from wait_until_sent(me, seat)
            return
        batch = me.world.new_batch()
        if me.has(Protection.LATE_CLAIM):
            etag = yield from write_claim(me, msgspec.structs.replace(held.value, batch=batch), held.etag)
            if etag is None:
                return
            file = file._replace(member=msgspec.structs.replace(file.member, claim_etag=etag))
    yield from begin(me, batch, [file], unsure)


def wait_until_sent(me: Worker, seat: Seat) -> Steps[None]:
    """Wait until the batch has been sent. This worker sends it if its file was the first to join."""
    group = seat.group
    if not seat.is_first:
        while not group.is_sent:
            if group.error is not None:
                raise group.error
            yield
        return
    try:
        while not group.has_left:
            yield
            group.consider()
        me.deadline = min(me.deadline, group.deadline)
        yield from begin(me, group.batch, group.files)
        group.is_sent = True
    except (AzureError, OutcomeConflictError) as error:
        group.error = error
        raise
    finally:
        group.leave()
        if not group.is_sent and group.error is None:
            group.error = TimeoutError()


def prepare(me: Worker, held: Stored[Claim], upload: Upload) -> Steps[File | None]:
    """Return a claimed version that is ready to be sent; None if it ends without that."""
    claim = held.value
    is_given_up = claim.tries > MAX_TRIES and me.has(Protection.MAX_TRIES)
    member = yield from look(me, held, upload, may_copy=not is_given_up)
    if member is None:
        return None
    if is_given_up or is_expired(claim.received_date_time, me.world.now, JOB_TIMEOUT_SECONDS):
        yield from fail(me, member)
        return None
    if upload.text is Text.BAD:
        yield from fail(me, member)
        return None
    return File(member, upload, claim.received_date_time)


def give_back(me: Worker, held: Stored[Claim]) -> Steps[None]:
    """Give back a claim before anything was sent."""
    tries = held.value.tries - 1
    if tries and me.has(Protection.TRIES_STAY):
        yield from write_claim(me, msgspec.structs.replace(held.value, tries=tries), held.etag)
    else:
        yield from me.call(me.world.release_claim, held.value.source.name, held.etag)


def look(me: Worker, held: Stored[Claim], upload: Upload, *, may_copy: bool) -> Steps[Member | None]:
    """Return a claimed version as a member of a batch; None if it has an outcome or is not the newest."""
    source = upload.source
    for _ in range(MAX_CONFLICTS):
        present = yield from me.call(me.world.present_outcome, source.name)
        member = Member(source, held.etag, present.etag if present else None, upload.digest)
        try:
            if not (yield from ends(me, held.value, member, present, may_copy=may_copy)):
                return member
        except OutcomeConflictError:
            if not me.has(Protection.LOOK_AGAIN):
                return member
            continue
        yield from me.call(me.world.release_claim, source.name, held.etag)
        return None
    raise OutcomeConflictError


def ends(me: Worker, claim: Claim, member: Member, present: PresentOutcome | None, *, may_copy: bool) -> Steps[bool]:
    """Return whether a claimed version ends without being sent, because of its file's existing outcome."""
    found = look_at_outcome(member.source, member.digest, present, claim.replaces)
    if found is Present.NONE:
        return False
    if found is Present.ENDED:
        return me.has(Protection.OUTCOME_SEEN)
    if me.has(Protection.ASK_FOR_OUTCOME) and not (yield from is_newest(me, member.source)):
        return True
    if found is Present.SAME_TEXT and may_copy:
        yield from copy_outcome(me, member)
        return True
    return False


def copy_outcome(me: Worker, member: Member) -> Steps[None]:
    """Copy the existing outcome of a file, for a version with the same text."""
    world, name, etag = me.world, member.source.name, member.outcome_etag
    copied = yield from me.call(world.outcomes.get, name)
    if copied is None or copied.present.etag != etag:
        raise OutcomeConflictError
    status = OutcomeStatus.SUCCEEDED
    yield from me.call(world.write_outcome, member.source, status, member.digest, copied.parts, etag)


def begin(me: Worker, batch: str, files: list[File], unsure: int = 0) -> Steps[None]:
    """Send the files of a new batch to the service; while the service is throttling, only store the batch."""
    members = [file.member for file in files]
    me.works_on(members)
    record = BatchRecord(
        kind=BatchKind.WAITING,
        members=members,
        received_date_time=min(file.received for file in files),
        due=me.world.in_seconds(THROTTLED_SECONDS if me.world.closed else 0),
        unsure=unsure,
    )
    turn = Turn(batch, record, None)
    if me.world.closed:
        yield from me.reschedule(turn)
    else:
        yield from post_files(me, turn, files)
