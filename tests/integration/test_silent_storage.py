"""A storage account that takes connections and never answers: invocations end in time, and everything goes on after it.

The event loop's clock moves with the tests', so that timeouts and deadlines pass without a wait.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import pytest

from shared.outcome import OutcomeStatus
from tests.integration.conftest import TEXT, ProxiedWay
from tests.proxy import Answer, Call, Service
from tests.refusals import sites_of
from tests.walks import CASES, Case, Host

SILENT_SECONDS: Final = 600.0

MakeWay = Callable[..., Awaitable[ProxiedWay]]
numbers = itertools.count()


@dataclass
class PunctualHost(Host):
    """A host with one file at a time, whose clock is the event loop's, too."""

    ahead: float = 0.0

    def tick(self, seconds: float) -> None:
        """Let time pass within an invocation."""
        super().tick(seconds)
        self.ahead += seconds

    @contextmanager
    def on_the_loop(self) -> Iterator[None]:
        """Let the event loop's timeouts run on this clock until the block ends."""
        loop = asyncio.get_running_loop()
        time = loop.time
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(loop, "time", lambda: time() + self.ahead)
            yield


class Silence:
    """The rule of a walk: from one call on, storage answers nothing for a time, neither to the app nor to its host.

    Attributes:
        forgets_a_submission: whether that begins between the service's 202 and its record: the one instant.
    """

    def __init__(self, host: Host, number: int) -> None:
        """Be the rule of the host's way."""
        self.host = host
        self.number = number
        self.until: datetime | None = None
        self.forgets_a_submission = False
        host.way.proxies.rule = self

    def __call__(self, call: Call) -> Answer | None:
        """Say what a caller gets."""
        if call.service is Service.NER or call.number < self.number:
            return None
        if self.until is None:
            self.until = self.host.way.now() + timedelta(seconds=SILENT_SECONDS)
            self.host.down_until = self.until
            before = self.host.way.proxies.calls[: call.number - 1]
            self.forgets_a_submission = bool(before) and before[-1].operation == "Submit Job"
        return Answer(never=True) if self.host.way.now() < self.until else None


async def make_host(make_proxied_way: MakeWay, case: Case, number: int) -> tuple[PunctualHost, Silence]:
    """Return the host of a walk in which storage is silent from a call on; 0 is never."""
    own = f"silent {next(numbers)}"
    way = await make_proxied_way(**case.own_names(own))
    way.name = case.file_name(own)
    host = PunctualHost(way)
    return host, Silence(host, number or 10**9)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES[:2], ids=lambda case: case.name)
async def test_no_invocation_waits_longer_than_its_deadline_for_silent_storage(
    case: Case, make_proxied_way: MakeWay
) -> None:
    """Whichever call is the first without an answer: nothing is lost, and other files go on once storage answers."""
    whole, _ = await make_host(make_proxied_way, case, 0)
    await case.walk(whole, case.data, case.newer)
    await whole.way.aclose()
    sites = enumerate(sites_of(whole.way.proxies.calls, whole.way.settings), 1)
    for number in [number for number, site in sites if site.number == 1 and site.call.service is not Service.NER]:
        host, silence = await make_host(make_proxied_way, case, number)
        try:
            with host.on_the_loop():
                await case.walk(host, case.data, case.newer)
                check(case, host, silence)
                host.way.name = f"other {host.way.name}"
                host.way.upload(TEXT)
                await host.event()
                await host.end()
                assert host.way.outcome() is not None, "another file goes on"
        finally:
            await host.way.aclose()


def check(case: Case, host: PunctualHost, silence: Silence) -> None:
    """Assert what must hold in the end."""
    way = host.way
    where = f"silent from call {silence.number} of {[call.operation for call in way.proxies.calls]}"
    outcome = way.outcome()
    assert outcome is not None, where
    assert outcome.status is (OutcomeStatus.SUCCEEDED if case.requests else OutcomeStatus.FAILED), where
    assert way.in_flight() == 0, where
    assert case.requests <= way.submissions() <= case.requests + silence.forgets_a_submission, where
    assert max(host.lengths) <= way.settings.submit_timeout_seconds, (where, host.lengths)


async def test_a_call_that_is_never_answered_ends_with_its_invocation(make_proxied_way: MakeWay) -> None:
    """On a real connection that stays open: the invocation ends itself, and its message comes back."""
    way = await make_proxied_way(NER_SUBMIT_TIMEOUT_SECONDS="2")
    way.name = "never answered.txt"
    way.upload()
    way.proxies.hurry = False
    way.proxies.rule = lambda call: Answer(never=True) if call.operation == "Get Blob Properties" else None
    host = Host(way)
    await host.event()
    assert way.outcome() is None
    assert not host.errors
    way.proxies.rule = lambda _call: None
    await host.end()
    outcome = way.outcome()
    assert outcome is not None
    assert outcome.status is OutcomeStatus.SUCCEEDED
    assert way.submissions() == 1
    await way.aclose()
