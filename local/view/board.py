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
from local.listing import Ended, File, State, ended_count, list_account
from local.results import ResultError, decode_outcome, read_raw_outcome
from local.show_state import duration_text
from local.survey import InFlight, look_at_record, waits_for
from shared.outcome import Outcome
from shared.pipeline.services import utc_now

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
RECORDS_A_LOOK: Final = 50


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
        flights: files in flight whose records were read, by the names of these.
        now: when that was.
        seconds: that listing it took.
        problem: why the account could not be looked at; empty if it could.
        is_read: False as long as nobody has looked.
    """

    files: list[File] = field(default_factory=list)
    states: Counter[State] = field(default_factory=Counter)
    digests: dict[Ended, Digest] = field(default_factory=dict)
    flights: dict[str, InFlight] = field(default_factory=dict)
    now: datetime = field(default_factory=utc_now)
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
            return self.said_of_flight(self.flights.get(file.record or ""))
        why = f": {digest.problem}" if digest and digest.problem else ""
        more = f" (and {digest.problems_count - 1} more)" if digest and digest.problems_count > 1 else ""
        return file.state.words + why + more

    def said_of_flight(self, flight: InFlight | None) -> str:
        """Return what a file in flight waits for, and since when."""
        if flight is None or flight.record.submission is None:
            return "in flight"
        submission, jobs = flight.record.submission, flight.jobs_count
        message = submission.message
        if submission.claimed_date_time is None and message.submitted_date_time is not None:
            many = f" ({jobs} jobs)" if jobs and jobs > 1 else ""
            return f"running for {duration_text(self.now - message.submitted_date_time)}{many}"
        return f"{waits_for(submission, jobs)} for {duration_text(self.now - message.received_date_time)}"


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
        return Snapshot(digests=digests, flights=self.read_flights([file] if file.record else [])).row(file)

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
        flights = self.read_flights(flying[:RECORDS_A_LOOK])
        snapshot = Snapshot(files, Counter(file.state for file in files), {}, flights, seconds=seconds)
        outcomes = (file.outcome for file in files if file.outcome)
        for digests in self.read_digests(outcomes, max(DIGEST_SECONDS, seconds)):
            yield replace(snapshot, digests=digests)

    def read_flights(self, flying: list[File]) -> dict[str, InFlight]:
        """Return how far files in flight have come; of one that has gone meanwhile there is nothing."""
        flights = in_threads(lambda file: look_at_record(self.account, file.record or ""), flying)
        return {flight.record.blob: flight for flight in flights if flight}

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
    return Digest(
        Counter(entity.category for document in outcome.documents for entity in document.entities),
        outcome.statistics.transactions_count,
        outcome.errors[0].message if outcome.errors else "",
        len(outcome.errors),
    )


def storage_problem(error: AzureError) -> str:
    """Return what the account answered, as a sentence."""
    reason = error.message.rstrip(".\n")
    return f"The storage account cannot be used: {reason}. Check NER_STORAGE, the network and your roles."
