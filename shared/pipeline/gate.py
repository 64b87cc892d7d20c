"""The gate: files that arrive together leave together, in one batch, which takes one request and one job.

A file reserves a seat in the next batch as soon as its size is known. From then on, it is *on the way*: it is claimed
for that batch, read and checked. Then it joins the batch. The batch leaves, that is, it is sent, when no file is on the
way to it and its *window* is over. While few of the service's calls per minute are used, there is no window, so a file
that arrives alone does not wait.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final

import msgspec
from azure.core.exceptions import AzureError

from shared.packing import REQUEST_LIMITS
from shared.pipeline.decisions import LONGEST_WINDOW_SECONDS
from shared.pipeline.texts import File
from shared.state.claim import BatchId, new_batch_id
from shared.storage.blobs import OutcomeConflictError

MAX_BYTES: Final = REQUEST_LIMITS.units
"""Bytes of the files in a batch: no file has more characters than bytes, and a character is up to 6 bytes of JSON."""
ON_THE_WAY_SECONDS: Final = 1.0
"""How long a batch waits for files that are on the way, unless its window is longer. A slower file misses it."""
OPEN_SECONDS: Final = 2 * LONGEST_WINDOW_SECONDS
"""How long seats can be reserved in a batch, and how old an invocation that reserves one may be: the claims of a batch
are then about equally old, and the invocation that sends it has enough time left."""
OPEN_SHARE: Final = 0.125
"""The same, as a part of the time limit of an invocation; the shorter one applies."""

MAX_RECORD_BYTES: Final = 40_000
"""Limit for the record of a batch, so that a queue message can carry it."""
MEMBER_BYTES: Final = 700
"""How many bytes of a record a file takes at most, besides its name."""

Send = Callable[[BatchId, list[File]], Awaitable[None]]
"""Sends the files of a batch to the service."""


class Gate:
    """Forms batches. For one process; not for several threads."""

    def __init__(self, window: Callable[[], float], deadline_seconds: float) -> None:
        """Begin with an empty batch.

        Args:
            window: returns the window, in seconds, of a batch that its first file joins now.
            deadline_seconds: time limit of an invocation.
        """
        self.window = window
        self.open_seconds = min(OPEN_SECONDS, deadline_seconds * OPEN_SHARE)
        self.longest_seconds = deadline_seconds - self.open_seconds
        self.next: Group | None = None
        self.forming: set[Group] = set()

    @contextmanager
    def seat(self, name: str, length: int | None, documents_count: int = 1) -> Iterator["Seat"]:
        """Reserve a seat for a file; when the block ends, the batch no longer waits for it.

        Args:
            name: name of the file.
            length: bytes of the file; None for a batch of its own.
            documents_count: how many documents the file has; 1 if that is not known yet.
        """
        if length is None or length > MAX_BYTES:
            group = Group(self)
            group.is_full = True
        else:
            group = self.group_for(name, length, documents_count)
        self.forming.add(group)
        seat = Seat(group, name, length or 0, documents_count)
        try:
            yield seat
        finally:
            seat.leave()

    def drop(self, claim_etag: str) -> None:
        """Take a file out of a batch that has not left: a newer version has taken over its claim."""
        for group in self.forming:
            group.files = [file for file in group.files if file.member.claim_etag != claim_etag]

    def group_for(self, name: str, length: int, documents_count: int) -> "Group":
        """Return the batch that has a seat for such a file."""
        known = self.next
        if known is not None and known.is_open(name, length, documents_count):
            return known
        if known is not None:
            known.is_full = True
            known.consider()
        self.next = Group(self)
        return self.next


class Group:
    """A batch that is being formed.

    Attributes:
        batch: its ID.
        files: the files that have joined.
        seats: how many seats were reserved.
        size: bytes of the files with a seat.
        record_size: about how many bytes of the batch's record these files take.
        documents_count: how many documents these files have.
        expected: how many files are on the way.
        is_full: whether no more seats can be reserved.
        has_sender: whether a file has joined: the invocation of the first one sends the batch.
        leaves: set when no more files can join.
        is_sent: done when the batch was sent, or could not be.
        deadline: when the batch must have been sent, by the event loop's clock.
        end_of_window: when the batch leaves if no file is on the way.
        end_of_waiting: when it leaves even if files are on the way.
    """

    def __init__(self, gate: Gate) -> None:
        """Begin with no files."""
        self.gate = gate
        self.batch = new_batch_id()
        self.files: list[File] = []
        self.seats = 0
        self.size = 0
        self.record_size = 0
        self.documents_count = 0
        self.expected = 0
        self.is_full = False
        self.has_sender = False
        self.leaves = asyncio.Event()
        self.is_sent: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.begun = asyncio.get_running_loop().time()
        self.deadline = self.begun + gate.longest_seconds
        self.end_of_window = 0.0
        self.end_of_waiting = 0.0
        self.timer: asyncio.TimerHandle | None = None

    def is_open(self, name: str, length: int, documents_count: int) -> bool:
        """Return whether such a file can reserve a seat."""
        is_recent = asyncio.get_running_loop().time() < self.begun + self.gate.open_seconds
        has_room = self.size + length <= MAX_BYTES and self.record_size + record_size(name) <= MAX_RECORD_BYTES
        return is_recent and has_room and not self.is_full and self.has_room_for(documents_count)

    def has_room_for(self, documents_count: int) -> bool:
        """Return whether the request has room for more documents."""
        return self.documents_count + documents_count <= REQUEST_LIMITS.documents

    def reserve(self, name: str, length: int, documents_count: int) -> None:
        """Reserve a seat for such a file, which is on the way from now on."""
        self.seats += 1
        self.size += length
        self.record_size += record_size(name)
        self.documents_count += documents_count
        self.is_full |= self.documents_count >= REQUEST_LIMITS.documents
        self.expected += 1

    def release(self) -> None:
        """Stop waiting for a file that was on the way."""
        self.expected -= 1
        self.consider()

    def add(self, file: File, expected_count: int) -> bool:
        """Let a file join the batch.

        Args:
            file: the file.
            expected_count: for how many documents its seat was reserved.

        Returns:
            False if the batch has left, if its request has no room for all documents of the file, or if the file needs
            several requests and other files have seats.
        """
        more = file.member.documents_count - expected_count
        is_shareable = file.text.is_one_request or self.seats == 1
        if self.leaves.is_set() or not self.has_room_for(more) or not is_shareable:
            self.documents_count -= expected_count
            return False
        self.is_full |= not file.text.is_one_request
        if not self.has_sender:
            now, window = asyncio.get_running_loop().time(), self.gate.window()
            self.end_of_window = now + window
            self.end_of_waiting = now + max(window, ON_THE_WAY_SECONDS)
        self.has_sender = True
        self.files.append(file)
        self.documents_count += more
        self.is_full |= self.documents_count >= REQUEST_LIMITS.documents
        return True

    def consider(self) -> None:
        """Let the batch leave if it is time, or else set the timer."""
        if not self.has_sender and not self.expected:
            self.is_full = True  # a claim that was left behind may name this batch
            self.gate.forming.discard(self)
        if self.leaves.is_set() or not self.has_sender:
            return
        if self.timer is not None:
            self.timer.cancel()
        loop = asyncio.get_running_loop()
        due = self.end_of_waiting if self.expected else loop.time() if self.is_full else self.end_of_window
        if loop.time() < due:
            self.timer = loop.call_at(due, self.consider)
        else:
            self.leave()

    def leave(self) -> None:
        """Let the batch leave: no more files can join."""
        self.is_full = True
        self.gate.forming.discard(self)
        self.leaves.set()

    async def send(self, send: Send) -> None:
        """Send the batch when it leaves. Raises the errors of `send`, and TimeoutError."""
        try:
            await self.leaves.wait()
            async with asyncio.timeout_at(self.deadline):
                if self.files:
                    await send(self.batch, self.files)
            self.is_sent.set_result(None)
        except (AzureError, OutcomeConflictError) as error:
            self.is_sent.set_exception(error)
            raise
        finally:
            self.leave()
            if not self.is_sent.done():
                self.is_sent.set_exception(TimeoutError())
            self.is_sent.exception()  # mark it as retrieved: perhaps no invocation waits for it


class Seat:
    """A file's seat in a batch."""

    def __init__(self, group: Group, name: str, length: int, documents_count: int) -> None:
        """Reserve it, for such a file."""
        self.group = group
        self.documents_count = documents_count
        self.is_expected = True
        self.is_first = False
        group.reserve(name, length, documents_count)

    @property
    def batch(self) -> BatchId:
        """The ID of the batch."""
        return self.group.batch

    def take(self, file: File) -> bool:
        """Let the file, which has been claimed and read, join the batch.

        Returns:
            False if it cannot, as for `Group.add`.
        """
        self.is_first = not self.group.has_sender
        is_taken = self.group.add(file, self.documents_count)
        self.leave()
        return is_taken

    def leave(self) -> None:
        """Stop the other files from waiting for this one."""
        if self.is_expected:
            self.is_expected = False
            self.group.release()

    async def sent(self, send: Send) -> None:
        """Wait until the batch has been sent. This invocation sends it if its file was the first to join.

        Raises:
            AzureError: storage refused a call.
            OutcomeConflictError: other workers wrote an outcome each time.
            TimeoutError: the time was up, or the invocation that sends the batch ended without sending it.
        """
        if self.is_first:
            await self.group.send(send)
        else:
            await asyncio.shield(self.group.is_sent)


def record_size(name: str) -> int:
    """Return how many bytes of a batch's record a file takes at most."""
    return MEMBER_BYTES + len(msgspec.json.encode(name))
