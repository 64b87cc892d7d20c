"""Recorded histories of batches of several files: each breaks a promise without one of the protections."""

from collections.abc import Callable
from typing import Final, TypeAlias

from shared.message import BatchMessage, Message, decode_message
from shared.state.claim import MAX_TRIES
from tests.unit.protocol.protections import Protection
from tests.unit.protocol.values import Text
from tests.unit.test_protocol_model import Protocol

History: TypeAlias = Callable[[Protocol], None]
A: Final = "a.txt"
B: Final = "b.txt"
ALL: Final = 50
"""More calls than any worker makes."""


def upload(
    protocol: Protocol, first: Text = Text.SMALL, second: Text = Text.SMALL, *, steps: int = ALL, waits: bool = False
) -> None:
    """Upload two files that arrive together, and let their workers make some calls."""
    protocol.upload_together({A: first, B: second}, steps=steps, closed=waits, process=0)


def paid(protocol: Protocol, name: str) -> int:
    """Return how often a file was charged."""
    return sum(count for payment, count in protocol.world.paid.items() if payment.name == name)


def next_message(protocol: Protocol) -> Message:
    """Return the next message that can be received."""
    return decode_message(protocol.world.visible[0].text)


def run_messages(protocol: Protocol) -> None:
    """Deliver all messages that can be received now, one after the other."""
    while protocol.world.visible:
        protocol.deliver_message(which=0, again=False)
        protocol.work(which=len(protocol.workers) - 1, steps=ALL)


def sweep(protocol: Protocol) -> None:
    """Run a sweep."""
    protocol.begin_sweep()
    protocol.work(which=len(protocol.workers) - 1, steps=ALL)


def is_late_for_its_batch(protocol: Protocol) -> None:
    """A file is claimed, but its batch leaves without it. After it was sent alone, its event comes again."""
    upload(protocol, steps=0)
    protocol.work(which=1, steps=2)
    protocol.work(which=0, steps=3)
    protocol.wait(seconds=10, jobs_end=False)
    protocol.work(which=0, steps=ALL)
    protocol.work(which=0, steps=ALL)
    assert paid(protocol, B) == 1
    protocol.wait(seconds=130, jobs_end=False)
    protocol.deliver_event_of(B, None)
    protocol.work(which=0, steps=ALL)


def is_late_for_its_batch_which_has_ended(protocol: Protocol) -> None:
    """As above, but the batch has ended when the event comes again, so it has no record."""
    upload(protocol, steps=0)
    protocol.work(which=1, steps=2)
    protocol.work(which=0, steps=3)
    protocol.wait(seconds=10, jobs_end=False)
    protocol.work(which=0, steps=ALL)
    protocol.wait(seconds=10, jobs_end=True)
    protocol.deliver_message(which=0, again=False)
    protocol.work(which=1, steps=ALL)
    protocol.work(which=0, steps=ALL)
    protocol.wait(seconds=130, jobs_end=False)
    protocol.deliver_event_of(B, None)
    protocol.work(which=0, steps=ALL)


def is_left_behind_by_its_batch(protocol: Protocol) -> None:
    """A worker is cancelled after it claimed its file; the file does not wait for the end of the batch's job."""
    upload(protocol, steps=2)
    protocol.cancel(which=1, comes_again=False)
    protocol.work(which=0, steps=ALL)
    protocol.wait(seconds=130, jobs_end=False)
    run_messages(protocol)
    sweep(protocol)
    run_messages(protocol)
    assert (paid(protocol, A), paid(protocol, B)) == (1, 1)


def arrives_with_a_suspect(protocol: Protocol) -> None:
    """A file arrives together with one that has killed a worker."""
    upload(protocol, Text.DEADLY)
    protocol.wait(seconds=130, jobs_end=False)
    protocol.throttle(throttled=False, closed=False, busy=True)
    workers = [protocol.deliver_event_of(A, 0)]
    protocol.upload(B, Text.SMALL, is_same=False, is_heard=False)
    workers.append(protocol.deliver_event_of(B, 0))
    protocol.take_turns(workers, ALL)
    protocol.wait(seconds=10, jobs_end=False)
    protocol.take_turns(workers, ALL)


def is_in_work_with_a_deadly_file(protocol: Protocol) -> None:
    """The messages of two files whose worker died are received together each time."""
    upload(protocol, Text.DEADLY)
    for _ in range(MAX_TRIES):
        protocol.wait(seconds=2000, jobs_end=False)
        protocol.world.queue.clear()
        sweep(protocol)
        before = len(protocol.workers)
        for steps in (5, 4):  # the first one has voided the batch, so that both can take over their claims
            protocol.deliver_message(which=0, again=False, process=0)
            protocol.work(which=len(protocol.workers) - 1, steps=steps)
        protocol.take_turns(protocol.workers[before:], ALL)


def loses_a_member_while_it_waits(protocol: Protocol) -> None:
    """A batch waits for the service, and one of its files is deleted."""
    upload(protocol, waits=True)
    protocol.delete(name=A)
    protocol.wait(seconds=60, jobs_end=False)
    run_messages(protocol)
    protocol.wait(seconds=10, jobs_end=True)
    run_messages(protocol)


def has_an_outcome_that_cannot_be_written(protocol: Protocol) -> None:
    """Another program holds a lease on the outcome of the first file."""
    upload(protocol)
    protocol.lease(name=A, is_held=True)
    protocol.wait(seconds=10, jobs_end=True)
    run_messages(protocol)
    assert list(protocol.world.outcomes) == [B]


def has_a_file_that_is_refused(protocol: Protocol) -> None:
    """The service refuses each request with the first file; the second one is sent without delay."""
    upload(protocol, Text.REFUSED)
    run_messages(protocol)
    protocol.check()
    assert paid(protocol, B) == 1


def has_a_file_that_fails_jobs(protocol: Protocol) -> None:
    """The service fails each job with the first file."""
    upload(protocol, Text.FAILING)
    protocol.wait(seconds=10, jobs_end=True)
    run_messages(protocol)
    protocol.check()
    assert paid(protocol, B) == 2


def waits_with_a_deadly_file(protocol: Protocol) -> None:
    """A batch waits for the service, and its worker dies of the first file. After that, the second file is sent."""
    upload(protocol, Text.DEADLY, waits=True)
    for _ in range(2):
        protocol.wait(seconds=130, jobs_end=False)
        run_messages(protocol)
    sweep(protocol)
    run_messages(protocol)
    assert paid(protocol, B) == 1


def kill_polls(protocol: Protocol) -> None:
    """Let workers die of the results of a batch until its next message would give it up."""
    upload(protocol, Text.DEADLY_RESULTS)
    for _ in range(50):
        protocol.wait(seconds=2000, jobs_end=True)
        if not protocol.world.visible:
            sweep(protocol)
            continue
        message = next_message(protocol)
        if isinstance(message, BatchMessage) and message.record and message.record.tries > MAX_TRIES:
            return
        protocol.deliver_message(which=0, again=False)
        protocol.work(which=0, steps=ALL)
        protocol.check()


def has_deadly_results(protocol: Protocol) -> None:
    """Workers die of the results of the first file."""
    kill_polls(protocol)


def is_dissolved_while_other_workers_receive_messages(protocol: Protocol) -> None:
    """Workers have died, and the one that dissolves the batch is slow. After that, no file waits for a sweep."""
    kill_polls(protocol)
    protocol.deliver_message(which=0, again=False)
    protocol.work(which=0, steps=2)
    run_messages(protocol)
    protocol.work(which=0, steps=ALL)
    run_messages(protocol)
    assert paid(protocol, B) == 2


BATCH_HISTORIES: Final[list[tuple[Protection, History]]] = [
    (Protection.LATE_CLAIM, is_late_for_its_batch),
    (Protection.LATE_CLAIM, is_late_for_its_batch_which_has_ended),
    (Protection.LEFT_BEHIND, is_left_behind_by_its_batch),
    (Protection.CLAIM_IN_RECORD, is_left_behind_by_its_batch),
    (Protection.ALONE, arrives_with_a_suspect),
    (Protection.SUSPECTS, is_in_work_with_a_deadly_file),
    (Protection.MEMBERS_SENT, loses_a_member_while_it_waits),
    (Protection.OTHERS_FIRST, has_an_outcome_that_cannot_be_written),
    (Protection.DISSOLVE_REFUSED, has_a_file_that_is_refused),
    (Protection.LEAVE_BATCH, has_a_file_that_is_refused),
    (Protection.DISSOLVE_FAILED, has_a_file_that_fails_jobs),
    (Protection.DISSOLVE_WAITING, waits_with_a_deadly_file),
    (Protection.DISSOLVE_DEAD, has_deadly_results),
    (Protection.VOID_FIRST, is_dissolved_while_other_workers_receive_messages),
]
