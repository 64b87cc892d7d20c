"""Which files an operator means: by name, by what became of them, by time. Decides only, and reads nothing."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Final

import typer

from local.listing import State
from local.times import utc_now

UNITS = {"m": "minutes", "h": "hours", "d": "days"}
DURATION = re.compile(r"([0-9]{1,9})([mhd])")


class Kind(StrEnum):
    """What became of a file, or of a message about it."""

    POISONED = "poisoned"
    IN_FLIGHT = "in flight"
    FAILED = "failed"
    PARTIAL = "partly succeeded"
    SUCCEEDED = "succeeded"
    UNHEARD = "not picked up"
    """Uploaded, but the app has not begun it: the event was lost, or the app is down."""


KINDS: Final = {
    State.WAITING: Kind.UNHEARD,
    State.IN_FLIGHT: Kind.IN_FLIGHT,
    State.FAILED: Kind.FAILED,
    State.PARTIALLY_SUCCEEDED: Kind.PARTIAL,
    State.SUCCEEDED: Kind.SUCCEEDED,
}
USUAL: Final = frozenset({Kind.UNHEARD, Kind.IN_FLIGHT, Kind.FAILED})
"""What patterns alone choose among: a pattern matches more than its author thinks, and the others have entities."""
PATTERN: Final = re.compile(r"[*?\[]")


def parse_since(text: str) -> datetime:
    """Return the time, in UTC, that `30m`, `2h`, `3d` (before now) or an ISO time (in UTC unless it says) names.

    Raises:
        typer.BadParameter: it is neither, or in the future.
    """
    now = utc_now()
    try:
        if duration := DURATION.fullmatch(text):
            return now - timedelta(**{UNITS[duration[2]]: int(duration[1])})
        since = datetime.fromisoformat(text)
        since = since.astimezone(UTC) if since.tzinfo else since.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise typer.BadParameter(
            f"{text!r} is not a time: write how long ago (30m, 2h or 3d) or a UTC time such as 2026-11-24T10:00"
        ) from None
    if since > now:
        raise typer.BadParameter(f"{text!r} is in the future: write a time before {now:%Y-%m-%dT%H:%M} UTC")
    return since


@dataclass(frozen=True)
class Choice:
    """What an operator has asked for.

    Attributes:
        names: of files within the input container, or shell-style patterns of them; none means all files.
        kinds: none means the usual ones, and the partly succeeded files that are named exactly.
        since: when a file must have been uploaded, ended or poisoned at the earliest.
    """

    names: tuple[str, ...] = ()
    kinds: frozenset[Kind] = frozenset()
    since: datetime | None = None

    @property
    def wants_files(self) -> bool:
        """Whether files are asked for, and not only messages in the poison queues."""
        return self.kinds != {Kind.POISONED}

    @property
    def has_patterns(self) -> bool:
        """Whether the files cannot be looked up by their names alone."""
        return not self.names or any(PATTERN.search(name) for name in self.names)

    def selects(self, name: str, when: datetime | None) -> bool:
        """Return whether a file is chosen by its name and the time; without a time, only the name decides."""
        if self.since and when and when < self.since:
            return False
        return not self.names or any(matches(name, pattern) for pattern in self.names)

    def wants(self, kind: Kind, name: str = "") -> bool:
        """Return whether a file of this kind and name is to be sent again, if it is chosen."""
        if self.kinds:
            return kind in self.kinds
        return kind in USUAL or (kind is Kind.PARTIAL and name in self.names)

    def missing(self, found: Iterable[str]) -> list[str]:
        """Return the names and patterns that none of the files found has."""
        there = set(found)
        return [pattern for pattern in self.names if not any(matches(name, pattern) for name in there)]


def matches(name: str, pattern: str) -> bool:
    """Return whether a name is the one that is meant or fits the pattern; a name may look like a pattern itself."""
    return name == pattern or fnmatchcase(name, pattern)
