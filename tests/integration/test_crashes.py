"""A worker that dies at any step of any way loses nothing, and costs a submission only in one instant.

Each test walks a file's way again and again; each time the worker dies before or after another one of its calls to
storage or the service, as they pass on the wire. What the host would do, the test does: an event or a message that was
not finished comes again, to a new worker, or never.
"""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from shared.outcome import OutcomeStatus
from tests.integration.conftest import ProxiedWay
from tests.proxy import Answer, Call
from tests.refusals import first_and_last, sites_of
from tests.walks import CASES, Case, Host

AT_ONCE = 16
FORGOTTEN = {"one job", "many jobs", "several files"}
"""Cases that are also walked where nothing that a dead worker had in hand comes again."""


class Fuse:
    """Kills the worker at one call: before it is carried out, or when it has been, and the answer comes too late."""

    def __init__(self, host: Host, number: int, *, after: bool) -> None:
        """Be the rule of the host's way."""
        self.host = host
        self.number = number
        self.after = after
        host.way.proxies.rule = self

    def __call__(self, call: Call) -> Answer | None:
        """Kill the worker if it is time."""
        if self.host.killed:
            return Answer()  # the dead do not call
        if call.number != self.number:
            return None
        return Answer(never=True, carried_out=self.after, then=self.host.kill)

    @property
    def calls(self) -> list[Call]:
        """All calls so far."""
        return self.host.way.proxies.calls

    @property
    def has_burnt(self) -> bool:
        """Whether the worker was killed."""
        return 0 < self.number <= len(self.calls)

    @property
    def forgotten(self) -> Call | None:
        """The submission that the service accepted before the worker died, and that it did not record: the one gap."""
        if not self.has_burnt:
            return None
        died_at, before = self.calls[self.number - 1], self.calls[: self.number - 1]
        if died_at.operation == "Submit Job":
            return died_at if self.after else None
        records = died_at.container == self.host.way.settings.state_container and died_at.method == "PUT"
        is_forgotten = records and not self.after and before and before[-1].operation == "Submit Job"
        return before[-1] if is_forgotten else None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "forgets"),
    [
        *(
            pytest.param(case, False, id=f"{case.name}, comes again")
            for case in CASES
            if case.name not in ("replaced", "overwritten many jobs")
        ),
        *(pytest.param(case, True, id=f"{case.name}, never comes again") for case in CASES if case.name in FORGOTTEN),
    ],
)
async def test_a_worker_may_die_at_any_call(
    case: Case, forgets: bool, make_proxied_way: Callable[..., Awaitable[ProxiedWay]]
) -> None:
    """One outcome, of the newest version; nothing left over; each request submitted once, but for the one instant."""
    limit = asyncio.Semaphore(AT_ONCE)

    async def walk_once(number: int, *, after: bool) -> Fuse:
        async with limit:
            way = await make_proxied_way(**case.own_names(f"{number}-{after:d}-{forgets:d}"))
            way.name = case.file_name(f"{number}-{after:d}-{forgets:d}")
            fuse = Fuse(Host(way, forgets=forgets), number, after=after)
            try:
                await case.walk(fuse.host, case.data, case.newer)
                check(fuse, case)
            finally:
                await way.aclose()
            return fuse

    whole = await walk_once(0, after=False)
    assert not whole.has_burnt
    numbers = [call.number for call in whole.calls]
    if case.is_of_several:
        numbers = [site.call.number for site in first_and_last(list(sites_of(whole.calls, whole.host.way.settings)))]
    # Within one event or message, dying before a call is dying after the one before it: the worker makes one at a time.
    deaths = [(number, True) for number in numbers] + [(number, False) for number in whole.host.first_calls]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(walk_once(number, after=after)) for number, after in deaths]
    fuses = [task.result() for task in tasks]
    assert sum(fuse.has_burnt for fuse in fuses) >= len(numbers), "the worker died nearly every time"


def check(fuse: Fuse, case: Case) -> None:
    """Assert what must hold in the end."""
    way = fuse.host.way
    calls = [f"{call.operation} {call.blob or call.container}" for call in fuse.calls]
    where = f"{'after' if fuse.after else 'before'} call {fuse.number} of {calls}"
    for outcome in fuse.host.outcomes():
        assert outcome is not None, where
        assert outcome.status is (OutcomeStatus.SUCCEEDED if case.requests else OutcomeStatus.FAILED), where
    assert way.in_flight() == 0, where
    spare = case.paid_in(fuse.forgotten) if fuse.forgotten else 0
    assert case.paid(way) <= case.requests + spare, where
