"""Sending files again: uploads that were not picked up, messages that were lost, outcomes that failed, poison messages.

A version is submitted by the worker that claims it, and only one message of a batch has its baton. So a message too
many is no submission too many: only an outcome that is to be replaced leads to a new one.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.storage.queue import QueueClient, QueueMessage, TextBase64EncodePolicy

from local.account import Account, in_threads
from local.choosing import KINDS, Choice, Kind, matches
from local.in_flight import InFlight, read_batch, read_in_flight
from local.listing import File, Listing, State, list_account, list_file
from local.poison import Poisoned, peeked, poison_queues, read_poisoned
from local.survey import is_unheard
from local.times import utc_now
from shared.message import BatchMessage, FileMessage, Message, encode_message
from shared.state.batch import BatchKind
from shared.storage.queue import NEVER_EXPIRES
from shared.storage.state import UNREADABLE

HIDING_SECONDS: Final = 60
"""How long a poison message that was received is hidden from others."""
OPTIONS: Final = {
    Kind.UNHEARD: "--unheard",
    Kind.IN_FLIGHT: "--in-flight",
    Kind.FAILED: "--failed",
    Kind.PARTIAL: "--partial",
    Kind.SUCCEEDED: "--succeeded",
}
CHARGED: Final = frozenset({Kind.FAILED, Kind.PARTIAL, Kind.SUCCEEDED})
DELETED: Final = "deleted from the input container"


@dataclass(frozen=True)
class Line:
    """What became of one thing that was looked at.

    Attributes:
        name: of the file, or what else tells the thing from others.
        kind: of the thing.
        message: that was sent; None if none was.
        why: it was sent in this way, or not at all.
        delay_seconds: until the message can be received.
        is_file: whether it is about a file, rather than about something that cannot be read.
    """

    name: str
    kind: Kind
    message: Message | None
    why: str
    delay_seconds: int = 0
    is_file: bool = True

    @property
    def sent(self) -> str:
        """The text that was sent; empty if nothing was."""
        return encode_message(self.message) if self.message else ""


def new_submission(file: File, now: datetime) -> FileMessage:
    """Return the message that has the newest version of a file submitted, even if it has an outcome."""
    replaces = file.outcome.etag if file.outcome and file.state.has_ended else None
    return FileMessage(file=file.name, replaces=replaces, due=now)


def line_of_flight(file: File, flight: InFlight, now: datetime, patience_seconds: float) -> Line:
    """Return what brings a file in flight on.

    Args:
        file: as it was listed.
        flight: what its claim and its batch's record say.
        now: the time.
        patience_seconds: NER_SUBMIT_TIMEOUT_SECONDS, the age at which a claim without a record can be taken over.
    """
    kind = Kind.IN_FLIGHT
    if flight.problem:
        return Line(file.name, kind, None, f"its record {flight.claim.blob} {flight.problem}")
    if file.is_old_version:
        return Line(file.name, kind, new_submission(file, now), "to submit its newest version")
    if flight.record is not None:
        message = BatchMessage(batch=flight.claim.batch, etag=flight.baton, record=flight.record)
        return Line(file.name, kind, message, "with the message from its record")
    if file.source is None:
        return Line(file.name, kind, None, f"{DELETED}, so the next sweep ends it")
    due = max(flight.claim.claimed + timedelta(seconds=patience_seconds + 1), now)
    delay = round((due - now).total_seconds())
    message_of_file = FileMessage(file=file.name, due=due)
    if not delay:
        return Line(file.name, kind, message_of_file, "because its worker ended before it recorded the submission")
    why = f"for in {delay} s: if its worker has not recorded the submission by then, another one submits it"
    return Line(file.name, kind, message_of_file, why, delay)


class Redrive:
    """Sends again what was chosen, or only says what it would send.

    Attributes:
        unseen_count: about how many poison messages it has not seen, since storage shows no more unless asked to hide
            them.
    """

    def __init__(self, account: Account, choice: Choice, *, dry_run: bool) -> None:
        """No I/O happens here."""
        self.account = account
        self.choice = choice
        self.dry_run = dry_run
        self.unseen_count = 0
        self.senders: dict[str, Line] = {}
        settings = account.settings
        self.queue = account.queues.get_queue_client(settings.queue, message_encode_policy=TextBase64EncodePolicy())

    def lines(self) -> Iterator[Line]:
        """Send, and yield a line for each thing as soon as it is done."""
        if Kind.POISONED in self.choice.kinds:
            for queue in poison_queues(self.account.settings):
                yield from self.shown_poison(queue) if self.dry_run else self.received_poison(queue)
        if not self.choice.wants_files:
            return
        if not self.choice.has_patterns:
            files = in_threads(lambda name: list_file(self.account, name), dict.fromkeys(self.choice.names))
            yield from self.lines_of(file for file in files if file)
            return
        listing = list_account(self.account)
        yield from self.lines_of(sorted(listing.files(), key=lambda file: file.name))
        if self.choice.wants(Kind.IN_FLIGHT) and not self.choice.names and not self.choice.since:
            yield from self.left_batches(listing)

    def lines_of(self, files: Iterable[File]) -> Iterator[Line]:
        """Send the files that are chosen, and yield a line for each."""
        chosen = (file for file in files if self.is_chosen(file))
        lines = (self.with_one_sender(line) for line in in_threads(self.line_of, chosen) if line)
        yield from in_threads(self.send, lines)

    def is_chosen(self, file: File) -> bool:
        """Return whether there is something to send or to say about a file."""
        if not self.choice.selects(file.name, file.since):
            return False
        kind = KINDS[file.state]
        if not self.choice.wants(kind, file.name):
            return file.name in self.choice.names
        # Without a name, uploads are left to the app for as long as it may take to pick them up.
        is_asked_for = bool(self.choice.names) or kind is not Kind.UNHEARD
        return is_asked_for or is_unheard(file, utc_now(), self.account.settings)

    def line_of(self, file: File) -> Line | None:
        """Return what is to be sent for a file, or to be said; None if it has ended meanwhile."""
        kind = KINDS[file.state]
        if file.source and not self.choice.wants(kind, file.name):
            charged = ", which is charged" if kind in CHARGED else ""
            return Line(file.name, kind, None, f"add {OPTIONS[kind]} to send it again{charged}")
        return self.next_step(file)

    def next_step(self, file: File) -> Line | None:
        """Return what brings a file on, whatever its state; None if it has ended meanwhile."""
        kind, now = KINDS[file.state], utc_now()
        if file.claim is not None:
            flight = read_in_flight(self.account, file.claim)
            return line_of_flight(file, flight, now, self.account.settings.submit_timeout_seconds) if flight else None
        if file.source is None:
            return Line(file.name, kind, None, DELETED)
        how = "as a first submission" if file.state is State.WAITING else "as a new submission"
        return Line(file.name, kind, new_submission(file, now), how)

    def with_one_sender(self, line: Line) -> Line:
        """Return a line without its message if another line has the same one: the files of a batch share it."""
        if line.message is None:
            return line
        key = line.message.batch if isinstance(line.message, BatchMessage) else line.message.file
        sender = self.senders.setdefault(key, line)  # atomic: poison messages are read concurrently
        if sender is line:
            return line
        return replace(line, message=None, delay_seconds=0, why=f"it continues with the message of {sender.name}")

    def send(self, line: Line) -> Line:
        """Put a line's message into the queue, if it has one."""
        if line.message is not None and not self.dry_run:
            self.queue.send_message(line.sent, visibility_timeout=line.delay_seconds, time_to_live=NEVER_EXPIRES)
        return line

    def send_once(self, line: Line) -> Line:
        """Put a line's message into the queue, unless it has none or another line has the same one."""
        return self.send(self.with_one_sender(line))

    def left_batches(self, listing: Listing) -> Iterator[Line]:
        """Send the messages of overdue batches whose files have all ended, so that the app deletes their records."""
        left = listing.left_batches(utc_now(), self.account.settings)
        yield from (line for line in in_threads(self.left_batch, left) if line)

    def left_batch(self, batch: str) -> Line | None:
        """Send the message of a batch; return None if its record is gone."""
        try:
            found = read_batch(self.account, batch)
        except UNREADABLE as error:
            why = f"its record cannot be read, because another version of this app wrote it: {error}"
            return Line(f"batch {batch}", Kind.IN_FLIGHT, None, why, is_file=False)
        if found is None or found[0].kind is BatchKind.VOID:
            return None
        record, baton = found
        message = BatchMessage(batch=batch, etag=baton, record=record)
        return self.send_once(Line(f"batch {batch}", Kind.IN_FLIGHT, message, "to delete its record", is_file=False))

    def shown_poison(self, queue: str) -> Iterator[Line]:
        """Yield what would become of the poison messages that can be seen without hiding them."""
        found = peeked(self.account, queue)
        self.unseen_count += max((self.account.messages_count(queue) or 0) - len(found), 0)
        for poisoned in found:
            yield from self.poison_lines(poisoned)

    def received_poison(self, queue: str) -> Iterator[Line]:
        """Send what the chosen poison messages are about, then delete them; the others can be received immediately."""
        client = self.account.queues.get_queue_client(queue)
        left: dict[str, QueueMessage] = {}
        seen: set[str] = set()
        try:
            while True:
                page = receive(client)
                left.update({message.id: message for message in page})
                fresh = [message for message in page if message.id not in seen]
                seen.update(message.id for message in page)
                if not fresh:
                    return
                found = [
                    read_poisoned(self.account.settings, queue, message.content, message.inserted_on)
                    for message in fresh
                ]
                done = in_threads(self.poison_lines, found)
                for message, poisoned, lines in zip(fresh, found, done, strict=True):
                    if poisoned.is_ours and self.is_poison_chosen(poisoned):
                        with suppress(ResourceNotFoundError):
                            client.delete_message(message)
                        del left[message.id]
                    yield from lines
        finally:
            show_again(client, left.values())

    def poison_lines(self, poisoned: Poisoned) -> list[Line]:
        """Send what the files of a poison message need; return a line for each, none if the message is not chosen."""
        if not self.is_poison_chosen(poisoned):
            return []
        if not poisoned.is_ours:
            why = "not this app's message, so it stays in the queue"
            return [Line(poisoned.queue, Kind.POISONED, None, why, is_file=False)]
        names = self.names_of(poisoned)
        if not names:
            why = "its batch has ended, so the poison message is not needed"
            return [Line("a batch", Kind.POISONED, None, why)]
        return [self.send_once(self.poison_line(poisoned, name)) for name in names]

    def is_poison_chosen(self, poisoned: Poisoned) -> bool:
        """Return whether a poison message is chosen: by one of its files, and by its time."""
        if self.choice.since and poisoned.inserted and poisoned.inserted < self.choice.since:
            return False
        names = self.names_of(poisoned) if self.choice.names else ()
        return not self.choice.names or any(matches(name, one) for name in names for one in self.choice.names)

    def names_of(self, poisoned: Poisoned) -> tuple[str, ...]:
        """Return the files that a poison message is about; none if nothing of its batch is left."""
        if poisoned.names or not isinstance(poisoned.message, BatchMessage):
            return poisoned.names
        try:
            found = read_batch(self.account, poisoned.message.batch)
        except UNREADABLE:
            return ()
        return tuple(member.source.name for member in found[0].members) if found else ()

    def poison_line(self, poisoned: Poisoned, name: str) -> Line:
        """Return what a file needs on which the app has failed; its poison message is deleted afterwards."""
        file, line = list_file(self.account, name), None
        replaces = poisoned.message.replaces if isinstance(poisoned.message, FileMessage) else None
        if file is not None and (not file.state.has_ended or (file.outcome and file.outcome.etag == replaces)):
            line = self.next_step(file)
        if line is None:
            why = "it has an outcome" if file and file.source else DELETED
            return Line(name, Kind.POISONED, None, f"{why}, so the poison message is not needed")
        return Line(name, Kind.POISONED, line.message, line.why, line.delay_seconds)


def receive(client: QueueClient) -> list[QueueMessage]:
    """Return the next messages of a queue, as they are stored there; none if it does not exist yet."""
    try:
        return list(client.receive_messages(max_messages=32, visibility_timeout=HIDING_SECONDS))
    except ResourceNotFoundError:
        return []


def show_again(client: QueueClient, messages: Iterable[QueueMessage]) -> None:
    """Let messages that were received be seen by others immediately."""
    for message in messages:
        # It may have been hidden for long enough, and be somebody else's by now.
        with suppress(HttpResponseError):
            client.update_message(message, visibility_timeout=0)
