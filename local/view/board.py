"""What the page's list shows: every file and where it stands, and what the results say in sum.

An account is looked at only when somebody looks at the page. What has been read of an outcome is kept until that
changes; so a look is mostly three listings. Of a large account these take seconds, for which nobody waits: the page
shows the account as it was, and a look goes on beside it.
"""

import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from itertools import islice
from typing import Final

from azure.core.exceptions import AzureError

from local.account import Account, in_threads
from local.in_flight import InFlight, jobs_text, read_in_flight, read_sweep, waits_for
from local.last_sweep import counted, sweep_text, sweep_warnings
from local.listing import Claimed, Ended, File, State, ended_count, list_account
from local.poison import poison_queues
from local.results import ResultError, decode_outcome, read_raw_outcome
from local.survey import is_existing, not_picked_up, oldest_unfinished
from local.times import duration_text, utc_now
from local.view.reading import short
from shared.outcome import Outcome
from shared.state.batch import BatchKind

LOOK_SECONDS: Final = 0.8
LOOK_SHARE: Final = 2.0
"""A listing that took a second is good for so many seconds: whoever waits must not keep a large account busy."""
PATIENCE_SECONDS: Final = 0.7
"""For a look; then the account is shown as it was before."""
MOST_DIGESTS: Final = 10_000
"""Outcomes that are read for what they say in sum, the newest first."""
DIGESTS_AT_ONCE: Final = 64
DIGEST_SECONDS: Final = 1.0
"""Of each look, at least, for reading outcomes; as long as the listing took, if that is more."""
LARGEST_OUTCOME: Final = 64 * 1024 * 1024
"""Bytes; the page shows a larger one by its name alone."""
CATEGORIES_A_DIGEST: Final = 200
"""Categories that are kept of an outcome. A project of the service has at most as many."""
PROBLEM_CHARACTERS: Final = 1_000
FLIGHTS_A_LOOK: Final = 50


@dataclass(frozen=True)
class Digest:
    """What one outcome says, in short.

    Attributes:
        categories: how often each was found.
        text_records: that were paid for.
        problem: its first error in the words of the outcome; empty if there is none.
        problems_count: how many there are.
    """

    categories: Counter[str]
    text_records: int
    problem: str = ""
    problems_count: int = 0


@dataclass(frozen=True)
class Row:
    """A file as the list shows it.

    Attributes:
        file: and where it stands.
        said: the same in words, without its name.
        digest: of its outcome; None where there is none, or nobody has read it yet.
    """

    file: File
    said: str
    digest: Digest | None


@dataclass(frozen=True)
class Snapshot:
    """An account at one time.

    Attributes:
        files: all of them, the newest first.
        states: how many stand where.
        digests: of the newest outcomes.
        flights: what is known of files in flight, by their claims.
        now: when that was.
        health: how the app is doing, a sentence each.
        warnings: what an operator should look after, a sentence each.
        seconds: that listing it took.
        problem: why the account could not be looked at; empty if it could.
        is_read: False as long as nobody has looked.
    """

    files: list[File] = field(default_factory=list)
    states: Counter[State] = field(default_factory=Counter)
    digests: dict[Ended, Digest] = field(default_factory=dict)
    flights: dict[Claimed, InFlight] = field(default_factory=dict)
    now: datetime = field(default_factory=utc_now)
    health: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    seconds: float = 0.0
    problem: str = ""
    is_read: bool = True

    @cached_property
    def categories(self) -> Counter[str]:
        """How often each category was found in the outcomes that were read."""
        return sum((digest.categories for digest in self.digests.values()), Counter())

    @cached_property
    def text_records(self) -> int:
        """What the outcomes that were read have cost."""
        return sum(digest.text_records for digest in self.digests.values())

    @property
    def outcomes(self) -> int:
        """How many outcomes there are, read or not."""
        return sum(file.outcome is not None for file in self.files)

    @property
    def done(self) -> int:
        """How many files have ended."""
        return ended_count(self.states)

    def rows(self, query: str = "", state: str = "", most: int = 200) -> tuple[list[Row], int]:
        """Return the files to show, and how many there are of that kind.

        Args:
            query: what their names hold, in any case.
            state: where they stand; empty means anywhere.
            most: how many are shown.
        """
        wanted = query.casefold()
        found = [file for file in self.files if wanted in file.name.casefold() and state in ("", file.state.value)]
        return [self.row(file) for file in found[:most]], len(found)

    def row(self, file: File) -> Row:
        """Return a file as the list shows it."""
        digest = self.digests.get(file.outcome) if file.outcome and file.state.has_ended else None
        return Row(file, self.said_of(file, digest), digest)

    def said_of(self, file: File, digest: Digest | None) -> str:
        """Return where a file stands, in words."""
        if file.state is State.IN_FLIGHT:
            return self.said_of_flight(file)
        why = f": {digest.problem}" if digest and digest.problem else ""
        more = f" (and {digest.problems_count - 1} more)" if digest and digest.problems_count > 1 else ""
        return file.state.words + why + more

    def said_of_flight(self, file: File) -> str:
        """Return what a file in flight waits for, and since when."""
        flight = self.flights.get(file.claim) if file.claim else None
        if flight is None or flight.problem:
            return flight.problem if flight else State.IN_FLIGHT.words
        record = flight.record
        if record is not None and record.submitted_date_time is not None:
            many = f" ({jobs_text(flight.ledger)})" if record.kind is BatchKind.LEDGER else ""
            said = f"running for {duration_text(self.now - record.submitted_date_time)}{many}"
        else:
            said = f"{waits_for(flight)} for {duration_text(self.now - flight.received)}"
        older = " (an older version)" if file.is_old_version else ""
        return f"{said}{older}{', overdue' if flight.is_overdue else ''}"


class Board:
    """Looks at an account when asked to. Safe to use from several threads."""

    def __init__(self, account: Account) -> None:
        """Nothing is read yet."""
        self.account = account
        self.snapshot = Snapshot(is_read=False)
        self.lock = threading.Lock()
        self.reader = ThreadPoolExecutor(1, thread_name_prefix="board")
        self.reading: Future[None] | None = None
        self.due = 0.0
        self.has_expired = False
        self.known: dict[Ended, Digest] = {}

    def look(self) -> Snapshot:
        """Return the account as it is, or was a moment ago; of one that takes long to list, as it was before."""
        with self.lock:
            is_reading = self.reading is not None and not self.reading.done()
            if not is_reading and (self.has_expired or time.monotonic() >= self.due):
                self.has_expired = False
                self.reading = self.reader.submit(self.read)
            reading = self.reading
        if reading is not None:
            wait([reading], PATIENCE_SECONDS)
            if reading.done():
                reading.result()
        return self.snapshot

    def expire(self) -> None:
        """Have the next one who asks look anew: something has just changed."""
        self.has_expired = True

    def row_of(self, file: File, outcome: Outcome | None) -> Row:
        """Return one file as the list would show it, read anew; `outcome` is its own, if it has ended."""
        digests = {file.outcome: digest_of(outcome)} if file.outcome and outcome else {}
        return Snapshot(digests=digests, flights=self.read_flights([file])).row(file)

    def read(self) -> None:
        """Look at the account. An account that does not answer is no error of the page's: it says so."""
        try:
            for snapshot in self.snapshots():
                self.snapshot = snapshot
        except AzureError as error:
            self.snapshot = Snapshot(problem=storage_problem(error))
        self.due = time.monotonic() + max(LOOK_SECONDS, LOOK_SHARE * self.snapshot.seconds)

    def snapshots(self) -> Iterator[Snapshot]:
        """Yield the account as it is now, again and again with more of what its outcomes say."""
        begin = time.monotonic()
        listing = list_account(self.account)
        seconds = time.monotonic() - begin
        files = sorted(listing.files(), key=lambda file: (file.since, file.name), reverse=True)
        flying = [file for file in files if file.state is State.IN_FLIGHT]
        flights = self.read_flights(flying[:FLIGHTS_A_LOOK])
        snapshot = Snapshot(files, Counter(file.state for file in files), {}, flights, seconds=seconds)
        health, warnings = self.look_after(files, snapshot.now)
        snapshot = replace(snapshot, health=health, warnings=warnings)
        outcomes = (file.outcome for file in files if file.outcome)
        for digests in self.read_digests(outcomes, max(DIGEST_SECONDS, seconds)):
            yield replace(snapshot, digests=digests)

    def read_flights(self, files: list[File]) -> dict[Claimed, InFlight]:
        """Return how far files in flight have come; nothing of one that has ended meanwhile."""
        claims = [file.claim for file in files if file.claim]
        flights = in_threads(lambda claim: read_in_flight(self.account, claim), claims)
        return {flight.claim: flight for flight in flights if flight}

    def look_after(self, files: list[File], now: datetime) -> tuple[list[str], list[str]]:
        """Return how the app is doing, and what an operator should look after."""
        settings = self.account.settings
        sweep = read_sweep(self.account)
        health = [sweep_text(sweep, now)]
        if count := self.poison_count():
            health.append(f"{counted(count, 'poison message')}: run 'ner status'.")
        warnings = sweep_warnings(settings, sweep, now, oldest_unfinished(files))
        existing = sum(is_existing(source, sweep, settings) for source in not_picked_up(files, now, settings))
        if existing:
            warnings.append(
                f"{counted(existing, 'upload')} from before this deployment will not be submitted, unless "
                "NER_SWEEP_EXISTING is true or you run 'ner redrive --unheard'."
            )
        return health, warnings

    def poison_count(self) -> int:
        """Return about how many messages there are in the poison queues; 0 if they may not be read."""
        try:
            return sum(self.account.messages_count(queue) or 0 for queue in poison_queues(self.account.settings))
        except AzureError:
            return 0  # the page needs no role for queues

    def read_digests(self, outcomes: Iterable[Ended], seconds: float) -> Iterator[dict[Ended, Digest]]:
        """Yield what is known of the newest outcomes, and again with more of them that have been read, for a while."""
        wanted = list(islice(outcomes, MOST_DIGESTS))
        new = [ended for ended in wanted if ended not in self.known]
        known = {ended: self.known[ended] for ended in wanted if ended in self.known}
        end = time.monotonic() + seconds
        while True:
            self.known = known
            yield known
            if not new or time.monotonic() >= end:
                return
            some, new = new[:DIGESTS_AT_ONCE], new[DIGESTS_AT_ONCE:]
            known = known | dict(zip(some, in_threads(self.read_digest, some), strict=True))

    def read_digest(self, ended: Ended) -> Digest:
        """Return what an outcome says."""
        if ended.size > LARGEST_OUTCOME:
            return Digest(Counter(), 0, "the outcome is too large to show here", 1)
        try:
            outcome = decode_outcome(ended.blob, read_raw_outcome(self.account, ended.blob)[0])
        except ResultError as error:
            return Digest(Counter(), 0, str(error), 1)
        return digest_of(outcome)


def digest_of(outcome: Outcome) -> Digest:
    """Return an outcome in short."""
    categories = Counter(short(entity.category) for document in outcome.documents for entity in document.entities)
    return Digest(
        Counter(dict(categories.most_common(CATEGORIES_A_DIGEST))),
        outcome.statistics.transactions_count,
        short(outcome.errors[0].message, PROBLEM_CHARACTERS) if outcome.errors else "",
        len(outcome.errors),
    )


def storage_problem(error: AzureError) -> str:
    """Return what the account answered, as a sentence."""
    reason = error.message.rstrip(".\n")
    return f"The storage account cannot be used: {reason}. Check NER_STORAGE, the network and your roles."
