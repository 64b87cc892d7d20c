"""The state of a storage account as an operator wants to know it: what is on its way, what went wrong, what is lost."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

from shared.submissions import Submission

from local.account import Account, in_threads
from local.in_flight import Poisoned, Record, Report, jobs_count, peeked, read_record, read_report
from local.listing import Ended, State, list_account, list_records
from shared.outcome import OutcomeStatus
from shared.pipeline.services import utc_now
from shared.settings import BLOB_POISON_QUEUE
from shared.source import Source


@dataclass(frozen=True)
class InFlight:
    """A version in flight: its record, and how many jobs it has by now, if that can be read."""

    record: Record
    jobs_count: int | None = None


@dataclass(frozen=True)
class Survey:
    """The state of an account.

    Attributes:
        states: how many files stand where.
        in_flight_count: records there are.
        in_flight: those that were written the longest ago, as far as they were read.
        lost_count: how many records, at least, have no message in the queue.
        counts: of outcomes.
        failed: the latest, and what each says.
        partial: all outcomes that are partly a success, the latest first.
        queues: about how many messages each has; None where there is no such queue.
        poisoned: what can be seen in the poison queues.
        unheard: uploads of which the app has not heard, the latest first.
    """

    states: Counter[State]
    in_flight_count: int
    in_flight: list[InFlight]
    lost_count: int
    counts: Counter[OutcomeStatus]
    failed: list[tuple[Ended, Report]]
    partial: list[Ended]
    queues: dict[str, int | None]
    poisoned: list[Poisoned]
    unheard: list[Source]


def survey(account: Account, since: datetime | None, limit: int) -> Survey:
    """Look at an account.

    Args:
        account: to look at.
        since: outcomes that are older are passed over.
        limit: how many records and failed outcomes are read at most.
    """
    settings = account.settings
    begin = utc_now()
    listing = list_account(account)
    records = listing.records
    poison_queues = (settings.poison_queue, BLOB_POISON_QUEUE)
    queues = {queue: account.messages_count(queue) for queue in (settings.queue, *poison_queues)}
    messages = queues[settings.queue] or 0
    lost = 0
    if len(records) > messages:
        # What has ended meanwhile, or begun, says nothing: a message is there from before its record until after it.
        lost = max(len(records.keys() & list_records(account).keys()) - messages, 0)
    oldest = sorted(records, key=lambda blob: records[blob])[:limit]
    recent = [found for found in listing.outcomes.values() if since is None or found.modified >= since]
    bad = [found for found in recent if found.status is not OutcomeStatus.SUCCEEDED]
    latest = sorted(bad, key=lambda outcome: outcome.modified, reverse=True)
    failed = [outcome for outcome in latest if outcome.status is OutcomeStatus.FAILED][:limit]
    reports = in_threads(lambda outcome: read_report(account, outcome.blob), failed)
    return Survey(
        states=Counter(file.state for file in listing.files()),
        in_flight_count=len(records),
        in_flight=[seen for seen in in_threads(lambda blob: look_at_record(account, blob), oldest) if seen],
        lost_count=lost,
        counts=Counter(found.status for found in recent),
        failed=[(outcome, report) for outcome, report in zip(failed, reports, strict=True) if report],
        partial=[outcome for outcome in latest if outcome.status is OutcomeStatus.PARTIALLY_SUCCEEDED],
        queues=queues,
        poisoned=[poisoned for queue in poison_queues for poisoned in peeked(account, queue)],
        unheard=sorted(
            listing.unheard(begin, settings.submit_timeout_seconds),
            key=lambda source: source.last_modified,
            reverse=True,
        ),
    )


def look_at_record(account: Account, blob: str) -> InFlight | None:
    """Return a version in flight; None if it is no more."""
    record = read_record(account, blob)
    if record is None or record.submission is None:
        return InFlight(record) if record else None
    return InFlight(record, jobs_count(account, record.submission))


def waits_for(submission: Submission, jobs_count: int | None) -> str:
    """Return what a version in flight waits for; `jobs_count` is None where nobody knows."""
    if submission.claimed_date_time is not None:
        return "submitting"
    if submission.message.submitted_date_time is None:
        return "retrying submission"
    if jobs_count == 1:
        return "job running"
    return "jobs running" if jobs_count is None else f"{jobs_count} jobs running"
