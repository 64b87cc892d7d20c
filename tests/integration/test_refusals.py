"""Any call of any way is refused, once and for hours, with each answer that Azure or the service can give to it.

The answers come from proxies below the app's HTTP clients, so these tests know calls by what they are on the wire, and
not by the code that makes them. What the host would do about a function that fails, the test does.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Final

import pytest

from shared.outcome import Outcome
from tests.azure_answers import BY_NAME
from tests.integration.conftest import ProxiedWay
from tests.proxy import Call, Service
from tests.refusals import (
    ANY,
    EVERY,
    EVERYTHING,
    Choice,
    Refusal,
    Refused,
    Row,
    Site,
    family,
    first_and_last,
    sites_of,
)
from tests.walks import CASES, Case, Host, journal, journals

AT_ONCE: Final = 16
REFUSED_CASES: Final = tuple(case for case in CASES if case.name != "overwritten many jobs")
"""That one makes the calls of others."""
LASTS_SECONDS: Final = 2 * 3600.0
SWEEP_SECONDS: Final = 1200.0
MAX_REFUSED_FIRST: Final = 60
MAX_REFUSED_PER_HOUR: Final = 60
"""While a refusal lasts, one call a minute at most, besides what is tried in the first minutes."""
MAX_SUBMISSIONS: Final = 5
"""Of one request, whatever was refused."""
LIKE_A_SINGLE_FILE: Final = ("Create Container", "Get Blob state", "Get Job", "Put Message", "Delete Blob state .json")
"""How the kinds of calls begin that a batch of several files makes like one of a single file, whose walks try them: the
first two are left out, and the others too if the refusal lasts."""
TEXTS: Final = ("Blue Heron", "A table for")

MakeWay = Callable[..., Awaitable[ProxiedWay]]


@dataclass(frozen=True)
class Known:
    """Refusals of which it is known that the app does not do the right thing about them yet, as patterns.

    Each that holds nevertheless fails its test, and so does an entry of a case that nothing was tried for.
    """

    case: str
    call: str
    answer: str
    why: str

    def matches(self, label: str) -> bool:
        """Return whether it is about a refusal."""
        return fnmatchcase(label, f"{self.case}: {self.call} <- {self.answer}")


KNOWN_ONCE: Final[tuple[Known, ...]] = ()
KNOWN_LASTING: Final[tuple[Known, ...]] = ()
KNOWN_WIDE: Final[tuple[Known, ...]] = ()


@dataclass(frozen=True)
class Expected:
    """What a walk comes to if nothing is refused."""

    outcome: Outcome
    sites: tuple[Site, ...]

    def is_met_by(self, outcome: Outcome) -> bool:
        """Return whether an outcome says the same."""
        return self.essence(self.outcome) == self.essence(outcome)

    @staticmethod
    def essence(outcome: Outcome) -> tuple[object, ...]:
        """Return what the uploader cares about."""
        codes = [problem.code for problem in outcome.errors]
        return outcome.status, codes, [document.entities for document in outcome.documents]


numbers = itertools.count()


async def make_host(make_proxied_way: MakeWay, case: Case) -> Host:
    """Return the host of a walk of its own."""
    number = f"refused {next(numbers)}"
    # Looks that are far apart, so that hours need few of them.
    way = await make_proxied_way(**case.own_names(number), NER_POLL_MIN_SECONDS="120", NER_POLL_MAX_SECONDS="3600")
    way.name = case.file_name(number)
    return Host(way, sweep_seconds=SWEEP_SECONDS)


async def walk_unrefused(make_proxied_way: MakeWay, case: Case) -> Expected:
    """Return what a walk comes to, and its calls."""
    host = await make_host(make_proxied_way, case)
    host.is_patient = True
    await case.walk(host, case.data, case.newer)
    outcome = host.way.outcome()
    assert outcome is not None
    assert case.paid(host.way) == case.requests
    await host.way.aclose()
    return Expected(outcome, tuple(sites_of(host.way.proxies.calls, host.way.settings)))


@dataclass
class Trial:
    """One walk with one refusal."""

    case: Case
    site: Site
    row: Row
    lasting: bool

    @property
    def label(self) -> str:
        """What is refused, and how."""
        number = "" if self.lasting and not self.site.is_wide else f" #{self.site.number}"
        return f"{self.case.name}: {self.site.kind}{number} <- {self.row.name}"

    async def run(self, make_proxied_way: MakeWay, expected: Expected) -> list[str]:
        """Walk; return what does not hold."""
        host = await make_host(make_proxied_way, self.case)
        until = host.way.now() + timedelta(seconds=LASTS_SECONDS) if self.lasting else None
        refusal = Refusal(host, self.site, self.row, until)
        log: list[str] = []
        journal.set(log)
        try:
            await self.case.walk(host, self.case.data, self.case.newer)
            waited = until is not None and host.way.now() >= until
            if until is not None:
                host.way.pass_time((until - host.way.now()).total_seconds())
            await host.messages()
            return self.judge(refusal, expected, log + host.errors, waited=waited)
        except AssertionError as error:
            return [str(error).splitlines()[0]]
        finally:
            await host.way.aclose()

    def judge(self, refusal: Refusal, expected: Expected, log: list[str], *, waited: bool) -> list[str]:
        """Return what does not hold in the end; `waited` says that the file ended after the refusal did."""
        way = refusal.host.way
        found = [*wrong_end(refusal.host, expected), *secrets(way, log)]
        submitted, paid = self.case.paid(way), self.case.requests
        forgotten = self.forgotten(refusal)
        spare = self.case.paid_in(forgotten) if forgotten else 0
        most = paid * MAX_SUBMISSIONS if self.lasting else paid + spare
        if not paid <= submitted <= most:
            found.append(f"{submitted} submissions for {paid} requests")
        if self.lasting:
            found += [*unbounded(refusal), *(unnamed(refusal, log) if waited else ())]
        return found

    def forgotten(self, refusal: Refusal) -> Call | None:
        """Return the submission that may have been forgotten: its own answer was lost, or its record refused."""
        if not refusal.refused:
            return None
        call = refusal.refused[0].call
        if call.operation == "Submit Job":
            return call if self.row.after else None
        before = refusal.host.way.proxies.calls[: call.number - 1]
        records = call.container == refusal.host.way.settings.state_container and call.method == "PUT"
        return before[-1] if records and before and before[-1].operation == "Submit Job" else None


def wrong_end(host: Host, expected: Expected) -> Iterator[str]:
    """Yield what is wrong about the end: the outcome of the newest version is there, and nothing is left over."""
    way, (outcome, *others) = host.way, host.outcomes()
    if outcome is None or None in others:
        yield "no outcome"
    elif not expected.is_met_by(outcome):
        yield f"outcome {outcome.status} {[problem.code for problem in outcome.errors]}"
    elif any(other and other.status is not outcome.status for other in others):
        yield "another outcome of a file of the same batch"
    if blobs := way.in_flight():
        yield f"{blobs} blobs left over"
    if messages := way.queue.get_queue_properties().approximate_message_count:
        yield f"{messages} messages left over"


def secrets(way: ProxiedWay, log: list[str]) -> Iterator[str]:
    """Yield what no log may hold."""
    signatures = {call.headers.get("authorization", "").rpartition(":")[2] for call in way.proxies.calls}
    storage_key = str(way.settings.storage.connection_string).partition("AccountKey=")[2].partition(";")[0]
    assert storage_key
    forbidden = [*TEXTS, storage_key, str(way.settings.key), *filter(None, signatures)]
    text = "\n".join(log)
    if any(words in text for words in forbidden):
        yield "a secret in the log"


def unbounded(refusal: Refusal) -> Iterator[str]:
    """Yield whether there were too many refused calls for the time that passed: each file of a batch makes its own."""
    count, files_count = len(refusal.refused), 1 + len(refusal.host.others)
    if count > files_count * (MAX_REFUSED_FIRST + MAX_REFUSED_PER_HOUR * LASTS_SECONDS / 3600):
        yield f"{count} refused calls in {LASTS_SECONDS / 3600:g} hours"


def unnamed(refusal: Refusal, log: list[str]) -> Iterator[str]:
    """Yield whether no line of the log says what was refused, and how."""
    if family(refusal.row) != "race" and not any(
        all(words in line for words in words_for(refused, refusal.host.way.name))
        for refused in refusal.refused
        for line in log
    ):
        yield "no line of the log names what was refused"


def words_for(refused: Refused, name: str) -> set[str]:
    """Return what a line about a refusal holds: where storage gives no answer, the SDK does not say to what."""
    status = str(refused.row.status or "")
    if refused.call.service is Service.NER:
        return {name, status if status > "400" else ""}
    if not status:
        return {name, "Error"}
    return {refused.call.blob or refused.call.container, status, refused.row.code}


async def try_all(make_proxied_way: MakeWay, case: Case, trials: list[Trial], known: tuple[Known, ...]) -> None:
    """Run trials side by side; all hold but those that are known not to, which do not."""
    limit = asyncio.Semaphore(AT_ONCE)
    about_case = [entry for entry in known if fnmatchcase(case.name, entry.case)]

    async def run(trial: Trial) -> list[str]:
        async with limit:
            return await trial.run(make_proxied_way, unrefused[case.name])

    with journals():
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(run(trial)) for trial in trials]
    wrong, matched = [], set()
    for trial, task in zip(trials, tasks, strict=True):
        entries = [entry for entry in about_case if entry.matches(trial.label)]
        matched.update(entries)
        if bool(task.result()) != bool(entries):
            wrong.append(f"{trial.label}: {'; '.join(task.result()) or 'holds, though it is known not to'}")
    wrong += [f"not tried: {entry}" for entry in about_case if entry not in matched and entry.case != "*"]
    assert not wrong, "\n".join([f"{len(wrong)} of {len(trials)}", *wrong])


unrefused: dict[str, Expected] = {}
"""What the walks come to, and their calls, by the names of the cases; walked once in each process."""


async def trials_of(make_proxied_way: MakeWay, case: Case, *, lasting: bool) -> list[Trial]:
    """Return the trials of a case; what the cases before it have tried is not tried again."""
    choice = Choice(lasting=lasting, by_family=case.is_of_several)
    trials: list[Trial] = []
    # The calls of several files come in any order, and mean something else for each other.
    before = [other for other in CASES[: CASES.index(case)] if not case.is_of_several and not other.is_of_several]
    for other in (*before, case):
        if other.name not in unrefused:
            unrefused[other.name] = await walk_unrefused(make_proxied_way, other)
        sites: Sequence[Site] = unrefused[other.name].sites
        if case.is_of_several and not EVERY:
            left_out = LIKE_A_SINGLE_FILE if lasting else LIKE_A_SINGLE_FILE[:2]
            sites = [site for site in first_and_last(sites) if not site.kind.startswith(left_out)]
        chosen = [(site, row) for site in sites for row in choice.choose(site)]
        trials = [Trial(case, site, row, lasting) for site, row in chosen]
    return trials


@pytest.mark.slow
@pytest.mark.parametrize("case", REFUSED_CASES, ids=lambda case: case.name)
async def test_a_call_that_is_refused_once_costs_nothing(case: Case, make_proxied_way: MakeWay) -> None:
    """The right outcome, nothing left over, and each request paid once, unless nobody could know of it."""
    trials = await trials_of(make_proxied_way, case, lasting=False)
    await try_all(make_proxied_way, case, trials, KNOWN_ONCE)


@pytest.mark.slow
@pytest.mark.parametrize("case", REFUSED_CASES, ids=lambda case: case.name)
async def test_calls_that_are_refused_for_hours_are_waited_for(case: Case, make_proxied_way: MakeWay) -> None:
    """Few calls are made in vain, the log says which, and nothing that was paid is thrown away."""
    trials = await trials_of(make_proxied_way, case, lasting=True)
    await try_all(make_proxied_way, case, trials, KNOWN_LASTING)


@pytest.mark.slow
async def test_hours_without_a_container_or_the_whole_account_lose_nothing(make_proxied_way: MakeWay) -> None:
    """From any call of a file on: roles or the firewall are being changed, or the account is overloaded."""
    case = CASES[0]
    unrefused[case.name] = await walk_unrefused(make_proxied_way, case)
    rows = [BY_NAME[name] for name in ("firewall", "busy", "silence")]
    sites = unrefused[case.name].sites
    trials = [
        Trial(case, Site(kind, number, ("", ""), site.call), rows[number % len(rows)], lasting=True)
        for number, site in enumerate(sites, 1)
        for kind in (EVERYTHING, *([ANY + site.place] if site.place else []))
    ]
    await try_all(make_proxied_way, case, trials, KNOWN_WIDE)
