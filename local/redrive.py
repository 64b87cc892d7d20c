"""Sending files again: messages that were lost, outcomes that failed, what came out as poison.

A version is submitted by whoever claims it, so a message too many is no submission too many: only an outcome that is to
be replaced leads to a new one.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.storage.queue import QueueClient, QueueMessage, TextBase64EncodePolicy
from shared.jobs import JobMessage, encode_message, utc_now
from shared.submissions import new_claim_id

from local.account import Account, in_threads
from local.choosing import Choice, Kind
from local.in_flight import (
    Poisoned,
    Record,
    Report,
    peeked,
    read_poisoned,
    read_record,
    read_report,
    record_of,
)
from local.listing import Ended, list_account, list_outcomes, list_records
from shared.outcome import OutcomeStatus
from shared.settings import BLOB_POISON_QUEUE
from shared.source import Source
from shared.storage import NEVER_EXPIRES

HIDING_SECONDS: Final = 60
"""How long a poison message that was received is hidden from others."""
KINDS: Final = {OutcomeStatus.FAILED: Kind.FAILED, OutcomeStatus.PARTIALLY_SUCCEEDED: Kind.PARTIAL}


@dataclass(frozen=True)
class Line:
    """What became of one thing that was looked at.

    Attributes:
        name: of the file, or what else tells the thing from others.
        kind: of the thing.
        message: what was sent; None if nothing was.
        why: it was sent in this way, or not at all.
        text: of the message, where it is to be sent exactly as it was found.
        is_file: whether it is about a file that was chosen, rather than something that nobody can read.
    """

    name: str
    kind: Kind
    message: JobMessage | None
    why: str
    text: str = ""
    is_file: bool = True

    @property
    def sent(self) -> str:
        """The text that was sent; empty if nothing was."""
        return self.text or (encode_message(self.message) if self.message else "")


def new_submission(report: Report, newest: str | None, known: Record | None, now: datetime) -> JobMessage | str:
    """Return the message that has an outcome made anew, or why there is none.

    Args:
        report: what the outcome says.
        newest: etag of the file in the input container; None if it was deleted.
        known: the record of the same version, if it is in flight.
        now: the time.
    """
    source = report.source
    if report.status not in KINDS or source is None:
        return "its outcome has since been replaced" if source else "its outcome cannot be read"
    if newest is None:
        return "deleted from the input container"
    if newest != source.etag:
        return "replaced by a newer version"
    if known is not None:
        return "already in flight" if known.submission else f"its record {known.blob} {known.problem}"
    return JobMessage(source=source, received_date_time=now, claim_id=new_claim_id(), replaces=report.etag)


class Redrive:
    """Sends again what was chosen, or only tells what it would send.

    Attributes:
        unseen_count: about how many poison messages it has not looked at, since storage shows no more unless asked to
            hide them.
    """

    def __init__(self, account: Account, choice: Choice, *, dry_run: bool) -> None:
        """Nothing is read yet."""
        self.account = account
        self.choice = choice
        self.dry_run = dry_run
        self.unseen_count = 0
        self.sent: set[tuple[str, str | None]] = set()
        settings = account.settings
        self.queue = account.queues.get_queue_client(settings.queue, message_encode_policy=TextBase64EncodePolicy())

    def lines(self) -> Iterator[Line]:
        """Send, and yield a line for each thing as soon as it is done."""
        if self.choice.wants(Kind.POISONED):
            for queue in (self.account.settings.poison_queue, BLOB_POISON_QUEUE):
                yield from self.shown_poison(queue) if self.dry_run else self.received_poison(queue)
        if self.choice.wants(Kind.IN_FLIGHT):
            yield from self.in_flight()
        if self.choice.wants(Kind.FAILED) or self.choice.wants(Kind.PARTIAL):
            yield from self.outcomes()
        if self.choice.wants(Kind.UNHEARD):
            yield from self.unheard()

    def send(self, line: Line) -> Line:
        """Put a line's message into the queue, if it has one, to be seen at once."""
        if line.message is not None:
            self.sent.add((line.message.source.etag, line.message.claim_id))
            if not self.dry_run:
                self.queue.send_message(line.sent, time_to_live=NEVER_EXPIRES)
        return line

    def in_flight(self) -> Iterator[Line]:
        """Send the messages of versions in flight as their records hold them."""
        records = [record for record in self.read_records() if record is not None]
        lines = []
        for record in records:
            if record.submission is None:
                if not self.choice.names:
                    lines.append(Line(record.blob, Kind.IN_FLIGHT, None, record.problem, is_file=False))
                continue
            message = record.submission.message
            if self.choice.admits(Kind.IN_FLIGHT, message.source.name, message.received_date_time):
                is_sent = (message.source.etag, message.claim_id) in self.sent
                why = "its poison message is sent instead" if is_sent else "with the message from its record"
                lines.append(Line(message.source.name, Kind.IN_FLIGHT, None if is_sent else message, why))
        lines.sort(key=lambda line: line.name)
        yield from in_threads(self.send, lines)

    def read_records(self) -> Iterator[Record | None]:
        """Yield the records of all versions in flight; None where one has gone meanwhile."""
        return in_threads(lambda blob: read_record(self.account, blob), list_records(self.account))

    def outcomes(self) -> Iterator[Line]:
        """Have outcomes made anew."""
        chosen = [found for found in list_outcomes(self.account, self.choice.since) if self.may_be_chosen(found)]
        chosen.sort(key=lambda found: found.blob)
        yield from (line for line in in_threads(self.outcome, chosen) if line is not None)

    def unheard(self) -> Iterator[Line]:
        """Submit uploads of which the app has not heard."""
        now = utc_now()
        found = list_account(self.account).unheard(now, self.account.settings.submit_timeout_seconds)
        lines = [
            Line(source.name, Kind.UNHEARD, first_submission(source), "as a first submission")
            for source in found
            if self.choice.admits(Kind.UNHEARD, source.name, source.last_modified)
        ]
        yield from in_threads(self.send, lines)

    def may_be_chosen(self, found: Ended) -> bool:
        """Tell whether an outcome has to be read: some names are shortened in the blob's."""
        kind = KINDS.get(found.status)
        if kind is None or not self.choice.wants(kind):
            return False
        return found.name is None or self.choice.admits(kind, found.name, found.modified)

    def outcome(self, found: Ended) -> Line | None:
        """Have an outcome made anew; None if it is not chosen after all."""
        kind, report = KINDS[found.status], read_report(self.account, found.blob)
        if report is None:
            return None
        name = report.source.name if report.source else found.name
        if name is None or not self.choice.admits(kind, name, found.modified):
            return None
        newest = known = None
        if report.source is not None:
            newest, known = self.account.newest(name), record_of(self.account, report.source)
        message = new_submission(report, newest.etag if newest else None, known, utc_now())
        if isinstance(message, str):
            return Line(name, kind, None, message)
        return self.send(Line(name, kind, message, "as a new submission"))

    def shown_poison(self, queue: str) -> Iterator[Line]:
        """Yield what would become of the poison messages that can be seen without hiding them."""
        found = peeked(self.account, queue)
        self.unseen_count += max((self.account.messages_count(queue) or 0) - len(found), 0)
        for poisoned in found:
            if line := self.poison_line(poisoned):
                yield self.send(line)

    def received_poison(self, queue: str) -> Iterator[Line]:
        """Send the poison messages that are chosen, then delete them; the others can be received again at once."""
        client = self.account.queues.get_queue_client(queue)
        left: dict[str, QueueMessage] = {}
        seen: set[str] = set()
        try:
            while True:
                page = self.receive(client)
                left.update({message.id: message for message in page})
                fresh = [message for message in page if message.id not in seen]
                seen.update(message.id for message in page)
                if not fresh:
                    return
                found = [
                    read_poisoned(self.account.settings, queue, message.content, message.inserted_on)
                    for message in fresh
                ]
                for message, line in zip(fresh, in_threads(self.poison_line, found), strict=True):
                    if line is None:
                        continue
                    if self.send(line).message is not None:
                        with suppress(ResourceNotFoundError):
                            client.delete_message(message)
                        del left[message.id]
                    yield line
        finally:
            show_again(client, left.values())

    def receive(self, client: QueueClient) -> list[QueueMessage]:
        """Return the next messages of a queue, as they stand there; none where it does not exist yet."""
        try:
            return list(client.receive_messages(max_messages=32, visibility_timeout=HIDING_SECONDS))
        except ResourceNotFoundError:
            return []

    def poison_line(self, poisoned: Poisoned) -> Line | None:
        """Return what is to become of a poison message; None if it is not chosen."""
        if poisoned.name is None:
            why = "not this app's message, so it stays in the queue"
            return None if self.choice.names else Line(poisoned.queue, Kind.POISONED, None, why, is_file=False)
        if not self.choice.admits(Kind.POISONED, poisoned.name, poisoned.inserted):
            return None
        if poisoned.message is not None:
            return Line(poisoned.name, Kind.POISONED, poisoned.message, "with its poison message", poisoned.text)
        newest = self.account.newest(poisoned.name)
        if newest is None:
            return Line(
                poisoned.name,
                Kind.POISONED,
                None,
                "deleted from the input container, so its message stays in the queue",
            )
        known = record_of(self.account, newest)
        if known is not None and known.submission is not None:
            # Somebody has claimed it since: another message would find nothing to do.
            return Line(poisoned.name, Kind.POISONED, known.submission.message, "as a new upload")
        return Line(poisoned.name, Kind.POISONED, first_submission(newest), "as a new upload")


def first_submission(source: Source) -> JobMessage:
    """Return the message that has a version submitted which nobody has claimed."""
    return JobMessage(source=source, received_date_time=utc_now(), claim_id=new_claim_id())


def show_again(client: QueueClient, messages: Iterable[QueueMessage]) -> None:
    """Let messages that were received be seen by others at once."""
    for message in messages:
        # It may have been hidden for long enough, and be somebody else's by now.
        with suppress(HttpResponseError):
            client.update_message(message, visibility_timeout=0)
