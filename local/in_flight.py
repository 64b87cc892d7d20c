"""Files in flight as the state container describes them, and the last sweep. Only reads, and changes nothing."""

from dataclasses import dataclass, replace
from datetime import datetime

from azure.core.exceptions import ResourceNotFoundError

from local.account import Account
from local.listing import Claimed
from local.times import utc_now
from shared.settings import Settings
from shared.source import Source
from shared.state.batch import BATCHES, BatchKind, BatchRecord, batch_name, decode_batch
from shared.state.batch import is_overdue as is_late
from shared.state.claim import decode_claim, is_old
from shared.state.ledger import Ledger, decode_ledger
from shared.state.sweeping import SWEEP_NAME, SweepState, decode_sweep
from shared.storage.ledgers import LEDGER_SUFFIX
from shared.storage.state import UNREADABLE


@dataclass(frozen=True)
class InFlight:
    """A claim of a file, and the record of its batch.

    Attributes:
        claim: as a listing shows it.
        name: of the file.
        source: the claimed version; None if it cannot be read, and `problem` says why.
        received: when the app first saw the version.
        record: record of the batch; None if there is none yet, if it is void, or if it does not name the claim.
        baton: ETag of the record; empty if there is none.
        ledger: ledger of a file of many jobs, if it can be read.
        problem: why no worker can continue the file; empty if one can.
        is_overdue: whether the next sweep will send a message for the file, because its own must be lost.
    """

    claim: Claimed
    name: str
    source: Source | None
    received: datetime
    record: BatchRecord | None = None
    baton: str = ""
    ledger: Ledger | None = None
    problem: str = ""
    is_overdue: bool = False


def read_state_blob(account: Account, blob: str) -> tuple[bytes, str] | None:
    """Return the content of a blob of the state container, and its etag; None if it is gone."""
    try:
        download = account.blob(account.settings.state_container, blob).download_blob()
        return download.readall(), download.properties.etag.strip('"')
    except ResourceNotFoundError:
        return None


def read_batch(account: Account, batch: str) -> tuple[BatchRecord, str] | None:
    """Return the record of a batch and its baton; None if the record is gone. Raises the errors in UNREADABLE."""
    found = read_state_blob(account, batch_name(batch))
    return (decode_batch(found[0]), found[1]) if found else None


def read_in_flight(account: Account, claim: Claimed) -> InFlight | None:
    """Return what is known of a file in flight; None if it has ended meanwhile."""
    flight = read_claimed(account, claim)
    if flight is None or flight.source is None:
        return flight
    container = flight.source.container
    if container != account.settings.input_container:
        return replace(flight, problem=f"belongs to container {container!r}, which is not NER_INPUT_CONTAINER")
    return replace(flight, is_overdue=is_overdue(flight, utc_now(), account.settings))


def read_claimed(account: Account, claim: Claimed) -> InFlight | None:
    """Return what the claim of a file and the record of its batch say; None if the claim is gone."""
    name = claim.name or claim.blob
    try:
        found = read_batch(account, claim.batch) if claim.batch else None
        flight = by_record(account, claim, *found) if found else None
        if flight is not None:
            return flight
        held = read_state_blob(account, claim.blob)
        if held is None:
            return None
        known = decode_claim(held[0])
    except UNREADABLE as error:
        problem = f"cannot be read, because another version of this app wrote it: {error}"
        return InFlight(claim, name, None, claim.claimed, problem=problem)
    return InFlight(claim, known.source.name, known.source, known.received_date_time)


def by_record(account: Account, claim: Claimed, record: BatchRecord, baton: str) -> InFlight | None:
    """Return a file whose batch has a record; None if the record does not name the claim."""
    source = next((member.source for member in record.members if member.claim_etag == claim.etag), None)
    if source is None:
        return None
    ledger = read_ledger(account, claim.batch) if record.kind is BatchKind.LEDGER else None
    return InFlight(claim, source.name, source, record.received_date_time, record, baton, ledger)


def read_ledger(account: Account, batch: str) -> Ledger | None:
    """Return the ledger of a file of many jobs; None if there is none yet, or it cannot be read."""
    try:
        found = read_state_blob(account, f"{BATCHES}{batch}{LEDGER_SUFFIX}")
        return decode_ledger(batch, found[0]) if found else None
    except UNREADABLE:
        return None


def read_sweep(account: Account) -> SweepState | None:
    """Return what the last sweep left; None if there is nothing that this version can read."""
    found = read_state_blob(account, SWEEP_NAME)
    try:
        return decode_sweep(found[0]) if found else None
    except UNREADABLE:
        return None


def waits_for(flight: InFlight) -> str:
    """Return what a file in flight waits for."""
    record, ledger = flight.record, flight.ledger
    if flight.problem:
        return flight.problem
    if record is None:
        return "submitting"
    match record.kind:
        case BatchKind.JOB:
            return "job running"
        case BatchKind.LEDGER if record.submitted_date_time is None:
            count = len(ledger.jobs) if ledger else 0
            return f"submitting, {count} job{'s' * (count != 1)} so far" if count else "submitting"
        case BatchKind.LEDGER:
            return jobs_text(ledger)
        case _:
            return "retrying submission"


def jobs_text(ledger: Ledger | None) -> str:
    """Return how far the jobs of a file are that was submitted completely."""
    if ledger is None:
        return "jobs running"
    count = len(ledger.requests)
    if ledger.collected_count:
        return f"{ledger.collected_count} of {count} jobs collected"
    return f"{count} job{'s' * (count != 1)} running"


def is_overdue(flight: InFlight, now: datetime, settings: Settings) -> bool:
    """Tell whether the next sweep will send a message for a file in flight, since its own must be lost."""
    if flight.record is None:
        return is_old(flight.claim.claimed, now, settings.submit_timeout_seconds)
    return is_late(flight.record.due, now, settings.overdue_seconds)


def text_records(flight: InFlight) -> int:
    """Return how many text records the service has accepted of a file so far."""
    if flight.ledger is not None:
        return sum(job.transactions_count for job in flight.ledger.jobs)
    if flight.record is None:
        return 0
    members = [member for member in flight.record.members if member.source == flight.source]
    return sum(job.transactions_count for member in members for job in flight.record.jobs_of(member))
