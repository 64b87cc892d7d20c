"""Each protection is needed: without it a recorded history breaks a promise of the protocol."""

from collections.abc import Callable
from typing import Final, TypeAlias

import pytest

from tests.unit.protocol.protections import Protection
from tests.unit.protocol.workers import Answer
from tests.unit.protocol.world import Text
from tests.unit.test_protocol_model import Protocol

History: TypeAlias = Callable[[Protocol], None]
NAME: Final = "a.txt"
ALL: Final = 50
"""More calls than any worker makes."""


def upload(protocol: Protocol, text: Text = Text.SMALL, *, is_heard: bool = True) -> None:
    """Upload a version of the file."""
    protocol.upload(NAME, text, is_same=False, is_heard=is_heard)


def is_replaced_while_another_worker_reads_it(protocol: Protocol) -> None:
    """A worker has read the old version; until it claims the file, that one is paid, replaced, and has ended."""
    upload(protocol)
    protocol.deliver_event(which=0, again=True)
    protocol.work(which=0, steps=1)
    protocol.deliver_event(which=0, again=False)
    protocol.work(which=1, steps=ALL)
    upload(protocol, is_heard=False)
    protocol.wait(seconds=10, jobs_end=True)
    protocol.deliver_message(which=0, again=False)
    protocol.work(which=1, steps=ALL)
    protocol.work(which=0, steps=ALL)


def is_replaced_after_its_claim_has_become_old(protocol: Protocol) -> None:
    """As above, but the claim that was left is old by the time that the worker meets it."""
    upload(protocol)
    protocol.deliver_event(which=0, again=True)
    protocol.work(which=0, steps=ALL)
    protocol.wait(seconds=130, jobs_end=True)
    protocol.deliver_event(which=0, again=False)
    protocol.work(which=0, steps=1)
    upload(protocol, is_heard=False)
    protocol.deliver_message(which=0, again=False)
    protocol.work(which=1, steps=ALL)
    protocol.work(which=0, steps=ALL)


def has_its_ledger_deleted_while_another_worker_begins(protocol: Protocol) -> None:
    """A message comes twice: one worker has made its first call, and then the other one ends the file."""
    upload(protocol, Text.LARGE)
    protocol.deliver_event(which=0, again=False)
    protocol.work(which=0, steps=ALL)
    protocol.wait(seconds=10, jobs_end=True)
    protocol.deliver_message(which=0, again=True)
    protocol.deliver_message(which=0, again=False)
    protocol.work(which=1, steps=1)
    while protocol.world.ledgers:
        protocol.work(which=0, steps=1)
    protocol.work(which=1, steps=ALL)


def is_posted_while_another_worker_is_refused(protocol: Protocol) -> None:
    """A message comes twice: one worker has posted when storage refuses a call of the other one."""
    upload(protocol)
    protocol.throttle(throttled=True, closed=True)
    protocol.deliver_event(which=0, again=False)
    protocol.work(which=0, steps=ALL)
    protocol.throttle(throttled=False, closed=False)
    protocol.wait(seconds=60, jobs_end=False)
    protocol.deliver_message(which=0, again=True)
    protocol.deliver_message(which=0, again=False)
    protocol.work(which=0, steps=3)
    protocol.refuse(which=1, answer=Answer.REFUSED)
    protocol.work(which=1, steps=ALL)
    protocol.work(which=0, steps=ALL)


def has_an_entry_whose_answer_is_lost(protocol: Protocol) -> None:
    """Storage writes the entry of a job, and its answer never comes."""
    upload(protocol, Text.LARGE)
    protocol.deliver_event(which=0, again=False)
    while not any(worker.unrecorded for worker in protocol.workers):
        protocol.work(which=0, steps=1)
    protocol.refuse(which=0, answer=Answer.LOST)
    protocol.work(which=0, steps=ALL)


HISTORIES: Final[list[tuple[Protection, History]]] = [
    (Protection.CLAIM_STAYS, is_replaced_while_another_worker_reads_it),
    (Protection.ASK_AFTER_DEATH, is_replaced_after_its_claim_has_become_old),
    (Protection.LEDGER_CLAIM, has_its_ledger_deleted_while_another_worker_begins),
    (Protection.OWN_BATON, is_posted_while_another_worker_is_refused),
    (Protection.UNSURE_ENTRY, has_an_entry_whose_answer_is_lost),
]


def run(without: frozenset[Protection], history: History) -> None:
    """Run a history and what comes after it until all is at rest; raises AssertionError."""

    class Variant(Protocol):
        """The protocol without some protections."""

    Variant.without = without
    protocol = Variant()
    history(protocol)
    protocol.check()
    protocol.teardown()


@pytest.mark.parametrize(("protection", "history"), HISTORIES, ids=lambda value: getattr(value, "name", None))
def test_a_protection_is_needed(protection: Protection, history: History) -> None:
    """Without it alone the history breaks a promise."""
    run(frozenset(), history)
    with pytest.raises(AssertionError):
        run(frozenset({protection}), history)
