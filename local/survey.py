"""The state of a storage account as an operator wants to know it: what is in flight, what went wrong, what is lost."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from local.account import Account, in_threads
from local.in_flight import InFlight, read_in_flight, read_sweep
from local.listing import Ended, File, Listing, State, list_account
from local.poison import Poisoned, peeked, poison_queues
from local.reports import Report, read_report
from local.times import utc_now
from shared.outcome import OutcomeStatus
from shared.settings import Settings
from shared.source import Source
from shared.state.sweeping import SweepState


@dataclass(frozen=True)
class Survey:
    """The state of an account.

    Attributes:
        states: how many files there are, by state.
        in_flight: files that were claimed the longest ago, as far as they were read.
        overdue_count: how many messages the next sweep will send again, since they must be lost.
        counts: of outcomes.
        failed: the latest, and what each says.
        partial: all outcomes that are partly a success, the latest first.
        queues: about how many messages each has; None if there is no such queue.
        poisoned: what can be seen in the poison queues.
        unheard: uploads that the app has not picked up, the latest first.
        existing_count: how many of these no sweep will submit, since they were there before the app was deployed.
        sweep: what the last one left; None if there was none.
        waiting_since: when the oldest file was uploaded that has no outcome yet; None if there is none.
    """

    states: Counter[State] = field(default_factory=Counter)
    in_flight: list[tuple[File, InFlight]] = field(default_factory=list)
    overdue_count: int = 0
    counts: Counter[OutcomeStatus] = field(default_factory=Counter)
    failed: list[tuple[File, Report]] = field(default_factory=list)
    partial: list[File] = field(default_factory=list)
    queues: dict[str, int | None] = field(default_factory=dict)
    poisoned: list[Poisoned] = field(default_factory=list)
    unheard: list[Source] = field(default_factory=list)
    existing_count: int = 0
    sweep: SweepState | None = None
    waiting_since: datetime | None = None

    @property
    def unfinished_count(self) -> int:
        """How many files have no outcome yet."""
        return self.states[State.IN_FLIGHT] + self.states[State.WAITING]


def survey(account: Account, since: datetime | None, limit: int) -> Survey:
    """Look at an account.

    Args:
        account: to look at.
        since: older outcomes are ignored.
        limit: how many files in flight and failed outcomes are read at most.
    """
    settings = account.settings
    now = utc_now()
    listing = list_account(account)
    sweep = read_sweep(account)
    files = list(listing.files())
    recent = [file for file in files if has_ended_since(file, since)]
    recent.sort(key=lambda file: file.since, reverse=True)
    failed = [file for file in recent if file.state is State.FAILED][:limit]
    unheard = sorted(not_picked_up(files, now, settings), key=lambda source: source.last_modified, reverse=True)
    return Survey(
        states=Counter(file.state for file in files),
        in_flight=read_flights(account, files, limit),
        overdue_count=overdue_count(listing, now, settings),
        counts=Counter(OutcomeStatus(file.state.value) for file in recent),
        failed=read_reports(account, failed),
        partial=[file for file in recent if file.state is State.PARTIALLY_SUCCEEDED],
        queues=count_messages(account),
        poisoned=[poisoned for queue in poison_queues(settings) for poisoned in peeked(account, queue)],
        unheard=unheard,
        existing_count=sum(is_existing(source, sweep, settings) for source in unheard),
        sweep=sweep,
        waiting_since=oldest_unfinished(files),
    )


def count_messages(account: Account) -> dict[str, int | None]:
    """Return about how many messages each queue has; most apps have no queues for events, which are then left out."""
    settings = account.settings
    queues = (settings.queue, settings.event_queue, *poison_queues(settings))
    counts = {queue: account.messages_count(queue) for queue in queues}
    return {
        queue: count
        for queue, count in counts.items()
        if count is not None or not queue.startswith(settings.event_queue)
    }


def oldest_unfinished(files: list[File]) -> datetime | None:
    """Return when the oldest file was uploaded that has no outcome yet; None if there is none."""
    return min((file.since for file in files if not file.state.has_ended), default=None)


def has_ended_since(file: File, since: datetime | None) -> bool:
    """Return whether the newest version of a file has its outcome, written since then."""
    return file.state.has_ended and (since is None or file.since >= since)


def not_picked_up(files: list[File], now: datetime, settings: Settings) -> list[Source]:
    """Return the uploads that no worker has begun, although the app had time to do so."""
    return [file.source for file in files if file.source and is_unheard(file, now, settings)]


def is_unheard(file: File, now: datetime, settings: Settings) -> bool:
    """Return whether no worker has begun a file, although the app had time to do so."""
    return file.state is State.WAITING and (now - file.since).total_seconds() >= settings.sweep_grace_seconds


def is_existing(source: Source, sweep: SweepState | None, settings: Settings) -> bool:
    """Return whether sweeps only count an upload, since it was there before the app was deployed."""
    return sweep is not None and not settings.sweep_existing and source.last_modified < sweep.since


def overdue_count(listing: Listing, now: datetime, settings: Settings) -> int:
    """Return how many messages must be lost: of batches that are overdue, of claims whose worker has ended."""
    return len(listing.overdue_batches(now, settings)) + len(listing.orphans(now, settings))


def read_flights(account: Account, files: list[File], limit: int) -> list[tuple[File, InFlight]]:
    """Return what is known of the files that were claimed the longest ago."""
    claims = {file.claim: file for file in files if file.claim}
    oldest = sorted(claims, key=lambda claim: claim.claimed)[:limit]
    flights = in_threads(lambda claim: read_in_flight(account, claim), oldest)
    return [(claims[claim], flight) for claim, flight in zip(oldest, flights, strict=True) if flight]


def read_reports(account: Account, failed: list[File]) -> list[tuple[File, Report]]:
    """Return what failed outcomes say."""
    outcomes: list[Ended] = [file.outcome for file in failed if file.outcome]
    reports = in_threads(lambda outcome: read_report(account, outcome.blob), outcomes)
    return [(file, report) for file, report in zip(failed, reports, strict=True) if report]
