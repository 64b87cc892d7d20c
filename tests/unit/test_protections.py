"""Each protection is needed: without it a recorded history breaks a promise of the protocol."""

from typing import Final

import pytest

from shared.message import FileMessage
from shared.pipeline.sweeping import MAX_TIMES_BEHIND
from tests.unit.protocol.batch_histories import BATCH_HISTORIES, History
from tests.unit.protocol.protections import Protection
from tests.unit.protocol.values import Text
from tests.unit.protocol.workers import Answer
from tests.unit.test_protocol_model import Protocol

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


def submit_and_end(protocol: Protocol, which: int = 0) -> None:
    """Submit the file by its event, and let its job end; `which` is the number of workers that are at work."""
    protocol.deliver_event(which=0, again=False)
    protocol.work(which=which, steps=ALL)
    protocol.wait(seconds=10, jobs_end=True)
    protocol.deliver_message(which=len(protocol.world.visible) - 1, again=False)
    protocol.work(which=which, steps=ALL)
    protocol.check()


def has_its_results_deleted_while_another_worker_collects(protocol: Protocol) -> None:
    """A worker is about to read what was collected when another one ends the version, which was replaced."""
    upload(protocol, Text.LARGE)
    protocol.deliver_event(which=0, again=True)
    protocol.work(which=0, steps=ALL)
    protocol.wait(seconds=10, jobs_end=True)
    protocol.deliver_event(which=0, again=False)
    protocol.work(which=0, steps=1)
    protocol.deliver_message(which=0, again=True)
    protocol.work(which=1, steps=8)
    protocol.deliver_message(which=0, again=False)
    protocol.work(which=2, steps=3)
    upload(protocol, is_heard=False)
    for which in (1, 1, 0):
        protocol.work(which=which, steps=ALL)


def is_claimed_by_two_workers(protocol: Protocol) -> None:
    """An event comes twice, and both workers read the file before one claims it."""
    upload(protocol)
    protocol.deliver_event(which=0, again=True)
    protocol.deliver_event(which=0, again=False)
    protocol.work(which=0, steps=1)
    protocol.work(which=1, steps=1)
    protocol.work(which=0, steps=ALL)
    protocol.work(which=0, steps=ALL)


def is_recorded_late(protocol: Protocol) -> None:
    """A worker posts, and records its job when another one has taken over long since."""
    upload(protocol)
    protocol.deliver_event(which=0, again=True)
    protocol.work(which=0, steps=4)
    protocol.wait(seconds=130, jobs_end=True)
    protocol.deliver_event(which=0, again=False)
    protocol.work(which=1, steps=ALL)
    protocol.work_late(which=0, steps=ALL)


def is_claimed_for_an_older_version(protocol: Protocol) -> None:
    """A worker has read the old version; until it claims the file, the new one is in work."""
    upload(protocol)
    protocol.deliver_event(which=0, again=False)
    protocol.work(which=0, steps=1)
    upload(protocol)
    protocol.deliver_event(which=0, again=True)
    protocol.work(which=1, steps=ALL)
    protocol.work(which=0, steps=ALL)
    protocol.deliver_event(which=0, again=False)
    protocol.work(which=0, steps=ALL)


def has_an_event_after_its_end(protocol: Protocol) -> None:
    """An event comes again when the version has its outcome."""
    upload(protocol)
    protocol.deliver_event(which=0, again=True)
    protocol.work(which=0, steps=ALL)
    protocol.wait(seconds=10, jobs_end=True)
    protocol.deliver_message(which=0, again=False)
    protocol.work(which=0, steps=ALL)
    protocol.deliver_event(which=0, again=False)
    protocol.work(which=0, steps=ALL)


def is_claimed_after_its_end_and_that_of_a_newer_version(protocol: Protocol) -> None:
    """A worker has read the old version; until it claims the file, both versions have ended."""
    upload(protocol)
    protocol.deliver_event(which=0, again=True)
    protocol.work(which=0, steps=1)
    submit_and_end(protocol, which=1)
    upload(protocol)
    submit_and_end(protocol, which=1)
    protocol.work(which=0, steps=ALL)


def waits_with_a_message_that_comes_twice(protocol: Protocol) -> None:
    """A text that waits for the service has a message that two workers receive."""
    upload(protocol)
    protocol.throttle(throttled=True, closed=True)
    protocol.deliver_event(which=0, again=False)
    protocol.work(which=0, steps=ALL)
    protocol.throttle(throttled=False, closed=False)
    protocol.wait(seconds=60, jobs_end=False)
    protocol.deliver_message(which=0, again=True)
    protocol.deliver_message(which=0, again=False)
    protocol.work(which=0, steps=ALL)
    protocol.work(which=0, steps=ALL)


def has_a_job_that_is_refused_a_record_twice(protocol: Protocol) -> None:
    """Storage refuses the record of a job, and refuses it again to the worker that receives its message."""
    upload(protocol)
    protocol.throttle(throttled=True, closed=True)
    protocol.deliver_event(which=0, again=False)
    protocol.work(which=0, steps=ALL)
    protocol.throttle(throttled=False, closed=False)
    protocol.wait(seconds=60, jobs_end=False)
    for calls in (3, 1):
        protocol.deliver_message(which=0, again=False)
        protocol.work(which=0, steps=calls)
        protocol.refuse(which=0, answer=Answer.REFUSED)
        protocol.work(which=0, steps=ALL)
        protocol.wait(seconds=60, jobs_end=False)
    protocol.teardown()
    assert protocol.world.paid.total() == 1


def has_its_outcome_written_late(protocol: Protocol) -> None:
    """A worker is about to write the outcome of the newest version, until another one is, and has ended."""
    upload(protocol)
    protocol.deliver_event(which=0, again=False)
    protocol.work(which=0, steps=ALL)
    protocol.wait(seconds=10, jobs_end=True)
    protocol.deliver_message(which=0, again=False)
    protocol.work(which=0, steps=2)
    upload(protocol)
    submit_and_end(protocol, which=1)
    protocol.work(which=0, steps=ALL)


def ends_after_a_newer_version(protocol: Protocol, *, is_deleted: bool = False) -> None:
    """The job of the old version is looked at when the new version has ended."""
    upload(protocol)
    protocol.deliver_event(which=0, again=False)
    protocol.work(which=0, steps=ALL)
    upload(protocol)
    submit_and_end(protocol)
    if is_deleted:
        protocol.delete(name=NAME)
    protocol.deliver_message(which=0, again=False)
    protocol.work(which=0, steps=ALL)


def ends_after_a_newer_version_and_the_file(protocol: Protocol) -> None:
    """As above, and the file has been deleted."""
    ends_after_a_newer_version(protocol, is_deleted=True)


def is_claimed_while_the_older_version_ends(protocol: Protocol) -> None:
    """A worker has written an outcome; until it releases the claim, a new version has taken that over."""
    upload(protocol)
    protocol.deliver_event(which=0, again=False)
    protocol.work(which=0, steps=ALL)
    protocol.wait(seconds=10, jobs_end=True)
    protocol.deliver_message(which=0, again=False)
    protocol.work(which=0, steps=3)
    upload(protocol)
    protocol.deliver_event(which=0, again=True)
    protocol.work(which=1, steps=ALL)
    protocol.work(which=0, steps=ALL)
    protocol.deliver_event(which=0, again=False)
    protocol.work(which=0, steps=ALL)


def has_an_entry_that_comes_late(protocol: Protocol) -> None:
    """A worker posts, and records its job in the ledger when another one has continued that long since."""
    upload(protocol, Text.LARGE)
    protocol.deliver_event(which=0, again=False)
    protocol.work(which=0, steps=6)
    protocol.wait(seconds=300, jobs_end=False)
    protocol.begin_sweep()
    protocol.work(which=1, steps=ALL)
    protocol.deliver_message(which=0, again=False)
    protocol.work(which=1, steps=ALL)
    protocol.work_late(which=0, steps=ALL)


def is_copied_by_two_workers(protocol: Protocol) -> None:
    """The same text is uploaded again; a worker is about to copy the outcome when another one has done so."""
    upload(protocol)
    submit_and_end(protocol)
    protocol.upload(NAME, Text.SMALL, is_same=True, is_heard=True)
    protocol.deliver_event(which=0, again=True)
    protocol.work(which=0, steps=5)
    protocol.wait(seconds=130, jobs_end=False)
    protocol.deliver_event(which=0, again=False)
    protocol.work(which=1, steps=ALL)
    protocol.work_late(which=0, steps=ALL)
    assert protocol.world.paid.total() == 1


def is_uploaded_again_in_flight(protocol: Protocol, steps: int = 0) -> None:
    """The same text is uploaded again before its job has ended; a worker has made some calls about the job by then."""
    upload(protocol)
    protocol.deliver_event(which=0, again=False)
    protocol.work(which=0, steps=ALL)
    protocol.upload(NAME, Text.SMALL, is_same=True, is_heard=True)
    if steps:
        protocol.wait(seconds=10, jobs_end=True)
        protocol.deliver_message(which=0, again=False)
        protocol.work(which=0, steps=steps)
    protocol.deliver_event(which=0, again=False)
    protocol.work(which=len(protocol.workers) - 1, steps=ALL)
    if steps:
        protocol.work(which=0, steps=ALL)
        protocol.lose_message(which=0)
    protocol.teardown()
    assert protocol.world.paid.total() == 1


def is_uploaded_again_while_its_batch_ends(protocol: Protocol) -> None:
    """As above; a worker has seen that the version was replaced, and then deletes the record; the message gets lost."""
    is_uploaded_again_in_flight(protocol, steps=2)


def run_on(protocol: Protocol, calls: int = 3000, *, dies: bool) -> None:
    """Let that many calls be made, one after another; a worker dies once it has posted if that is wanted."""
    for _ in range(calls):
        if protocol.workers and dies and protocol.workers[0].unrecorded:
            protocol.die(which=0, comes_again=False)
        elif protocol.workers:
            protocol.work(which=0, steps=1)
        elif protocol.world.events:
            protocol.deliver_event(which=0, again=False)
        elif protocol.world.visible:
            protocol.deliver_message(which=0, again=False)
        else:
            protocol.wait(seconds=10 if protocol.world.queue else 300, jobs_end=False)
            if not protocol.world.queue:
                protocol.begin_sweep()
        protocol.check()


def kills_each_worker(protocol: Protocol) -> None:
    """Each worker dies after it has posted, before there is a record."""
    upload(protocol)
    run_on(protocol, dies=True)


def kills_each_worker_after_waiting(protocol: Protocol) -> None:
    """As above, but the text waits for the service, so that it has a record."""
    upload(protocol)
    protocol.throttle(throttled=True, closed=True)
    protocol.deliver_event(which=0, again=False)
    protocol.work(which=0, steps=ALL)
    protocol.throttle(throttled=False, closed=False)
    run_on(protocol, dies=True)


def kills_or_refuses_each_worker(protocol: Protocol) -> None:
    """A worker that takes over is refused its next call; one that has posted dies."""
    upload(protocol)
    for _ in range(200):
        protocol.wait(seconds=300, jobs_end=False)
        if not protocol.world.visible:
            protocol.begin_sweep()
            protocol.work(which=0, steps=ALL)
            continue
        protocol.deliver_message(which=0, again=False)
        while protocol.workers and not protocol.workers[0].unrecorded:
            before = protocol.world.claims.get(NAME)
            protocol.work(which=0, steps=1)
            after = protocol.world.claims.get(NAME)
            if before and after and after.value.tries > before.value.tries:
                protocol.refuse(which=0, answer=Answer.REFUSED)
        if protocol.workers:
            protocol.die(which=0, comes_again=False)
        protocol.check()


def is_posted_in_silence(protocol: Protocol) -> None:
    """The service accepts all that it is sent, and its answers never come."""
    upload(protocol)
    protocol.be_silent(is_silent=True)
    run_on(protocol, dies=False)


def has_no_event(protocol: Protocol) -> None:
    """The host never tells of the file."""
    upload(protocol, is_heard=False)


def loses_its_message(protocol: Protocol) -> None:
    """A message gets lost."""
    upload(protocol)
    protocol.deliver_event(which=0, again=False)
    protocol.work(which=0, steps=ALL)
    protocol.lose_message(which=0)


def loses_its_worker(protocol: Protocol) -> None:
    """A worker dies after it has claimed the file."""
    upload(protocol)
    protocol.deliver_event(which=0, again=False)
    protocol.work(which=0, steps=2)
    protocol.die(which=0, comes_again=False)


def loses_its_worker_and_is_deleted(protocol: Protocol) -> None:
    """As above, and the file is deleted."""
    loses_its_worker(protocol)
    protocol.delete(name=NAME)


def is_before_the_place_of_a_sweep(protocol: Protocol) -> None:
    """A sweep continues after the file, whose slow worker still is about to record its job."""
    upload(protocol)
    protocol.upload("b.txt", Text.BAD, is_same=False, is_heard=False)
    protocol.deliver_event(which=0, again=True)
    protocol.work(which=0, steps=4)
    protocol.begin_sweep(is_short=True)
    protocol.work(which=1, steps=ALL)
    protocol.wait(seconds=130, jobs_end=True)
    protocol.begin_sweep(is_short=False)
    protocol.work(which=1, steps=ALL)
    protocol.deliver_event(which=0, again=False)
    protocol.work(which=1, steps=ALL)
    protocol.work_late(which=0, steps=ALL)


def sweep_behind(protocol: Protocol, times: int) -> int:
    """Sweep with a message at the front that is never received; return how many messages were sent."""
    upload(protocol, is_heard=False)
    protocol.world.send(FileMessage(file="b.txt", due=protocol.world.now))
    protocol.wait(seconds=300, jobs_end=False)
    for _ in range(times):
        protocol.begin_sweep()
        protocol.work(which=0, steps=ALL)
    return len(protocol.world.queue) - 1


def is_missing_while_the_queue_is_behind(protocol: Protocol) -> None:
    """More messages would make it worse."""
    assert sweep_behind(protocol, 1) == 0


def is_missing_while_the_queue_seems_to_be_behind(protocol: Protocol) -> None:
    """A message at the front that nothing receives must not stop the sweep forever."""
    assert sweep_behind(protocol, MAX_TIMES_BEHIND + 1) > 0


HISTORIES: Final[list[tuple[Protection, History]]] = [
    (Protection.CLAIM_CONDITION, is_claimed_by_two_workers),
    (Protection.FENCE, is_recorded_late),
    (Protection.ASK_FOR_OTHER, is_claimed_for_an_older_version),
    (Protection.ASK_AFTER_DEATH, is_replaced_after_its_claim_has_become_old),
    (Protection.OUTCOME_SEEN, has_an_event_after_its_end),
    (Protection.ASK_FOR_OUTCOME, is_claimed_after_its_end_and_that_of_a_newer_version),
    (Protection.RECORD_CONDITION, is_recorded_late),
    (Protection.BATON_BEFORE_POST, waits_with_a_message_that_comes_twice),
    (Protection.OWN_BATON, is_posted_while_another_worker_is_refused),
    (Protection.JOB_IN_MESSAGE, has_a_job_that_is_refused_a_record_twice),
    (Protection.OUTCOME_CONDITION, has_its_outcome_written_late),
    (Protection.NEWEST_OUTCOME, ends_after_a_newer_version),
    (Protection.CLAIMED_OUTCOME, ends_after_a_newer_version_and_the_file),
    (Protection.RELEASE_CONDITION, is_claimed_while_the_older_version_ends),
    (Protection.CLAIM_STAYS, is_replaced_while_another_worker_reads_it),
    (Protection.CLAIM_STAYS, has_its_results_deleted_while_another_worker_collects),
    (Protection.LEDGER_POSITION, has_an_entry_that_comes_late),
    (Protection.LEDGER_CLAIM, has_its_ledger_deleted_while_another_worker_begins),
    (Protection.UNSURE_ENTRY, has_an_entry_whose_answer_is_lost),
    (Protection.LOOK_AGAIN, is_copied_by_two_workers),
    (Protection.SAME_TEXT, is_uploaded_again_in_flight),
    (Protection.OWN_RECORD, is_uploaded_again_while_its_batch_ends),
    (Protection.UNANSWERED_DELAYS, is_posted_in_silence),
    (Protection.MAX_TRIES, kills_each_worker),
    (Protection.TRIES_STAY, kills_or_refuses_each_worker),
    (Protection.MAX_BATCH_TRIES, kills_each_worker_after_waiting),
    (Protection.REVIVAL, loses_its_message),
    (Protection.MISSING_FILES, has_no_event),
    (Protection.ORPHANS, loses_its_worker),
    (Protection.ORPHANS_OF_DELETED, loses_its_worker_and_is_deleted),
    (Protection.ORPHANS_AFTER_PLACE, is_before_the_place_of_a_sweep),
    (Protection.VOID_RECORDS, loses_its_worker),
    (Protection.BACKLOG_GUARD, is_missing_while_the_queue_is_behind),
    (Protection.GUARD_GIVES_WAY, is_missing_while_the_queue_seems_to_be_behind),
    *BATCH_HISTORIES,
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


def test_each_protection_has_a_history() -> None:
    """What no history needs would not be needed."""
    assert {protection for protection, _ in HISTORIES} == set(Protection)
