"""Which calls of a walk are refused, and with which answers: all that differ in what the app can make of them."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple, Protocol

from shared.settings import Settings
from tests.azure_answers import ANSWERS, AzureAnswer
from tests.proxy import Answer, Call, Service
from tests.service_answers import SERVICE_ANSWERS
from tests.walks import Host

MAX_IN_A_WINDOW: Final = 40
WINDOW_SECONDS: Final = 25.0
"""Whatever the app does about a refusal, no more calls than this may be refused in so short a time: five invocations,
each with two such calls that the SDK makes four times."""


class Row(Protocol):
    """An answer of the tables."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def status(self) -> int | None:
        """Its status."""
        ...

    @property
    def code(self) -> str:
        """Its error code."""
        ...

    @property
    def after(self) -> bool:
        """Whether the call has been carried out."""
        ...

    @property
    def lasts(self) -> bool:
        """Whether it can stay."""
        ...

    def fits(self, call: Call, /) -> bool:
        """Return whether a call can get it."""
        ...

    def to(self, call: Call, /) -> Answer:
        """Return what the caller gets."""
        ...


EVERYTHING: Final = "any storage call"
ANY: Final = "any call to "
"""Before the name of a place."""


@dataclass(frozen=True)
class Site:
    """A call of a walk.

    Attributes:
        kind: what it is on the wire.
        number: the how many-th of its kind it is; of ANY and EVERYTHING, the how many-th call of the walk.
        before: the kinds of the two calls before it.
        call: itself, as an example.
        rows: what it can get.
    """

    kind: str
    number: int
    before: tuple[str, str]
    call: Call = field(compare=False, repr=False)
    rows: tuple[Row, ...] = field(default=(), compare=False, repr=False)

    @property
    def place(self) -> str:
        """Where it goes; empty if it is not for the blob service."""
        return self.kind.removeprefix(self.call.operation).split()[0] if self.call.service is Service.BLOB else ""

    @property
    def is_wide(self) -> bool:
        """Whether it stands for calls of many kinds."""
        return self.kind == EVERYTHING or self.kind.startswith(ANY)

    @property
    def context(self) -> tuple[str, str, str]:
        """What makes it another one than the same call elsewhere."""
        return (*self.before, self.kind)


def first_and_last(sites: Sequence[Site]) -> list[Site]:
    """Return the first and the last call of each kind: of many files in a batch, those between make the same calls."""
    counts = Counter(site.kind for site in sites)
    return [site for site in sites if site.number in (1, counts[site.kind])]


def kind_of(call: Call, settings: Settings) -> str:
    """Return what a call is on the wire: its operation, where it goes, and the condition that it depends on."""
    if call.service is not Service.BLOB:
        return call.operation
    places = {
        settings.input_container: "input",
        settings.results_container: "results",
        settings.state_container: "state",
    }
    place = places.get(call.container, "other")
    # The names of state blobs are the app's business, their endings tell them apart.
    ending = re.sub(r"^[^.]*", "", call.blob) if place == "state" else ""
    return " ".join(filter(None, (call.operation, place, ending, call.condition)))


def sites_of(calls: Iterable[Call], settings: Settings) -> Iterator[Site]:
    """Yield the calls of a walk."""
    seen: Counter[str] = Counter()
    before = ("", "")
    for call in calls:
        kind = kind_of(call, settings)
        seen[kind] += 1
        yield Site(kind, seen[kind], before, call, tuple(rows_of(call, settings)))
        before = (before[1], kind)


def rows_of(call: Call, settings: Settings) -> list[Row]:
    """Return what a call of the app can get."""
    table: Sequence[Row] = SERVICE_ANSWERS if call.service is Service.NER else ANSWERS
    kind = kind_of(call, settings)
    return [row for row in table if row.fits(call) and not is_believed(call, kind, row)]


def is_believed(call: Call, kind: str, row: Row) -> bool:
    """Return whether the app may believe an answer although it is not true here.

    A missing container holds no file, no record and no outcome any more. And nobody but the app writes its records, so
    that it may take a lost race for one against another of its workers, which then goes on.
    """
    if row.code == "ContainerNotFound":
        return not call.operation.startswith("Put")
    return " state" in kind and family(row) == "race"


def family(row: Row) -> str:
    """Return the family of an answer: the app can tell its members apart by their code alone."""
    if row.after:
        return "done"
    if row.status is None or row.status >= 500:
        return "transient"
    if row.name.startswith(("lost race", "message ")):
        return "race"
    if row.status == 404:
        return "missing" if row.code else "not found"
    return str(row.status) if row.code else "gateway"


OUTSTANDING: Final = frozenset({"done", "race", "missing", "not found"})
"""Families that say something about what is there, or seem to; all others only say that the call was refused."""


MAX_PLAIN: Final = 1
"""Of these others, how many families are tried on a storage call; the app tells them apart by nothing but the code."""


EVERY: Final = os.environ.get("REFUSALS") == "every"
"""Whether each call is refused with each answer, which takes some minutes more; else with one of each family."""


class Choice:
    """Chooses what to refuse calls with: one answer of a family, the one that was chosen least so far.

    Attributes:
        used: how often each answer was chosen.
        contexts: in which calls have been chosen for.
        kinds: of these calls.
    """

    def __init__(self, *, lasting: bool, by_family: bool = False) -> None:
        """Begin.

        Args:
            lasting: for answers that can stay for hours, each to the first call of its kind.
            by_family: to choose one of a family for calls to the service, too, and not all.
        """
        self.lasting = lasting
        self.by_family = by_family
        self.used: Counter[str] = Counter()
        self.contexts: set[tuple[str, str, str]] = set()
        self.kinds: set[str] = set()

    def choose(self, site: Site) -> list[Row]:
        """Return what to refuse a call with.

        On the first call of a kind, unless answers last, all families are tried that say what is there, and some that
        do not; on the others one of each. Nothing is tried twice in the same context.
        """
        is_new, is_first = site.context not in self.contexts, site.kind not in self.kinds
        self.contexts.add(site.context)
        self.kinds.add(site.kind)
        if not is_new or (self.lasting and not is_first):
            return []
        if EVERY:
            return [row for row in site.rows if row.lasts or not self.lasting]
        families: dict[str, list[Row]] = {}
        for row in site.rows:
            if row.lasts or not self.lasting:
                own = row.name if site.call.service is Service.NER and not self.by_family else family(row)
                families.setdefault(own, []).append(row)
        rows = [min(rows, key=self.count) for rows in families.values()]
        outstanding = sorted((row for row in rows if family(row) in OUTSTANDING), key=self.count)
        plain = sorted((row for row in rows if family(row) not in OUTSTANDING), key=self.count)
        if self.lasting or not is_first:
            rows = outstanding[:1] + plain[:1]
        elif site.call.service is not Service.NER:
            rows = outstanding + plain[:MAX_PLAIN]
        self.used.update(row.name for row in rows)
        return rows

    def count(self, row: Row) -> int:
        """Return how often an answer was chosen."""
        return self.used[row.name]


class Refused(NamedTuple):
    """A call that was refused, when that was on the tests' clock, and with which answer."""

    when: datetime
    call: Call
    row: Row


class Refusal:
    """The rule of a walk: refuses one call with all its repetitions, or all of its kind until a time.

    Attributes:
        refused: what has been refused. More than there may be in so short a time stops the walk.
    """

    def __init__(self, host: Host, site: Site, row: Row, until: datetime | None = None) -> None:
        """Be the rule of the host's way."""
        self.host = host
        self.site = site
        self.row = row
        self.until = until
        self.refused: list[Refused] = []
        self.seen = 0
        self.request = ""
        host.way.proxies.rule = self

    def __call__(self, call: Call) -> Answer | None:
        """Say what a caller gets."""
        if self.host.killed:
            return Answer()
        row = self.once(call) if self.until is None else self.lasting(call, self.until)
        if row is None:
            return None
        now = self.host.way.now()
        self.refused.append(Refused(now, call, row))
        window = self.refused[-MAX_IN_A_WINDOW - 1 :]
        if len(window) > MAX_IN_A_WINDOW and (now - window[0].when).total_seconds() < WINDOW_SECONDS:
            self.host.kill(f"more than {MAX_IN_A_WINDOW} refused calls within {WINDOW_SECONDS} seconds")
            return Answer()
        return row.to(call)

    def once(self, call: Call) -> Row | None:
        """Return what refuses one call."""
        request = call.headers.get("x-ms-client-request-id", "the only one")
        if not self.request and kind_of(call, self.host.way.settings) == self.site.kind:
            self.seen += 1
            if self.seen == self.site.number:
                self.request = request
                return self.row
        is_again = self.request == request != "the only one"
        return self.row if is_again and self.row.name != "answer lost" else None

    def lasting(self, call: Call, until: datetime) -> Row | None:
        """Return what refuses all calls of a kind for a time."""
        if self.host.way.now() >= until:
            return None
        kind = kind_of(call, self.host.way.settings)
        if self.site.is_wide:
            is_meant = self.site.kind == EVERYTHING or f" {self.site.kind.removeprefix(ANY)}" in kind
            if not is_meant or call.number < self.site.number or not self.row.fits(call):
                return None
            self.host.down_until = until if self.site.kind == EVERYTHING else None
            return self.row
        if kind == self.site.kind:
            return self.row
        if isinstance(self.row, AzureAnswer) and self.row.together and self.refused:
            is_related = call.container == self.refused[0].call.container and self.row.together.fits(call)
            return self.row.together if is_related else None
        return None
