"""The model of `gate`: files that arrive together in a process share a batch."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple

from shared.pipeline.gate import ON_THE_WAY_SECONDS, OPEN_SECONDS
from shared.state.batch import Member
from tests.unit.protocol.values import Text, Upload
from tests.unit.protocol.world import World

MAX_SEATS: Final = 3


class File(NamedTuple):
    """A file that is ready to be sent."""

    member: Member
    upload: Upload
    received: datetime

    @property
    def is_one_request(self) -> bool:
        """Whether it needs no ledger."""
        return self.upload.text is not Text.LARGE


@dataclass(eq=False)
class Group:
    """A batch that is being formed.

    Attributes:
        is_sent: whether the batch was sent.
        error: why it was not sent.
    """

    world: World
    longest_seconds: float
    files: list[File] = field(default_factory=list)
    seats: int = 0
    expected: int = 0
    is_full: bool = False
    has_left: bool = False
    is_sent: bool = False
    error: Exception | None = None

    def __post_init__(self) -> None:
        """Create a batch without files, which begins now."""
        self.batch = self.world.new_batch()
        self.begun = self.end_of_window = self.end_of_waiting = self.world.now
        self.deadline = self.world.in_seconds(self.longest_seconds)

    @property
    def is_open(self) -> bool:
        """Whether a file can reserve a seat."""
        return not self.is_full and (self.world.now - self.begun).total_seconds() < OPEN_SECONDS

    def add(self, file: File) -> bool:
        """Let a file join the batch; return False if it has to go alone."""
        self.consider()
        if self.has_left:
            return False
        if not file.is_one_request:
            if self.seats > 1:
                return False
            self.is_full = True
        if not self.files:
            window = self.world.window_seconds
            self.end_of_window = self.world.in_seconds(window)
            self.end_of_waiting = self.world.in_seconds(max(window, ON_THE_WAY_SECONDS))
        self.files.append(file)
        return True

    def consider(self) -> None:
        """Let the batch leave if it is time."""
        if not self.files:
            self.is_full |= not self.expected
            return
        now = self.world.now
        due = self.end_of_waiting if self.expected else now if self.is_full else self.end_of_window
        if now >= due:
            self.leave()

    def leave(self) -> None:
        """Let the batch leave: no more files can join."""
        self.is_full = self.has_left = True


@dataclass(eq=False)
class Seat:
    """A file's seat in a batch."""

    group: Group
    is_expected: bool = True
    is_first: bool = False

    def __post_init__(self) -> None:
        """Reserve it."""
        self.group.seats += 1
        self.group.is_full |= self.group.seats == MAX_SEATS
        self.group.expected += 1

    def take(self, file: File) -> bool:
        """Let the file, which was claimed and read, join the batch; return False if it has to go alone."""
        self.is_first = not self.group.files
        is_taken = self.group.add(file)
        self.leave()
        return is_taken

    def leave(self) -> None:
        """Stop the other files from waiting for this one."""
        if self.is_expected:
            self.is_expected = False
            self.group.expected -= 1
            self.group.consider()


@dataclass(eq=False)
class Gate:
    """Forms the batches of a process."""

    world: World
    longest_seconds: float
    next: Group | None = None

    def seat(self, *, is_alone: bool) -> Seat:
        """Reserve a seat for a file in the next batch, or in a batch of its own."""
        if is_alone:
            group = Group(self.world, self.longest_seconds)
            group.is_full = True
            return Seat(group)
        if self.next is None or not self.next.is_open:
            if self.next is not None:
                self.next.is_full = True
                self.next.consider()
            self.next = Group(self.world, self.longest_seconds)
        return Seat(self.next)
