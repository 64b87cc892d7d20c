"""Which files an operator means: by name, by what became of them, by time. Decides only, and reads nothing."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from fnmatch import fnmatchcase

import typer

from shared.pipeline.services import utc_now

UNITS = {"m": "minutes", "h": "hours", "d": "days"}
DURATION = re.compile(r"([0-9]{1,9})([mhd])")


class Kind(StrEnum):
    """What became of a file."""

    POISONED = "poisoned"
    IN_FLIGHT = "in flight"
    FAILED = "failed"
    PARTIAL = "partly succeeded"
    UNHEARD = "not picked up"
    """Uploaded, but the app has not heard of it: the event was lost."""


USUAL = frozenset({Kind.POISONED, Kind.IN_FLIGHT, Kind.FAILED})
"""What names alone choose among. What partly succeeded has entities already, so it must be meant; what is unheard would
not be sent again, but for the first time.
"""


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
        kinds: none means the usual ones.
        since: when a file must have been received, ended or given up at the earliest.
    """

    names: tuple[str, ...] = ()
    kinds: frozenset[Kind] = frozenset()
    since: datetime | None = None

    def wants(self, kind: Kind) -> bool:
        """Tell whether any file of this kind can be chosen."""
        kinds = self.kinds or USUAL
        return kind in kinds or (kind is Kind.PARTIAL and Kind.FAILED in kinds and bool(self.names))

    def admits(self, kind: Kind, name: str, when: datetime | None) -> bool:
        """Tell whether a file is chosen.

        Args:
            kind: what became of it.
            name: within the input container.
            when: that was; None where nobody knows, and then only the rest decides.
        """
        if not self.wants(kind) or (self.since and when and when < self.since):
            return False
        if kind is Kind.PARTIAL and kind not in self.kinds:
            # A pattern hits more than its author thinks, and these are worth something.
            return name in self.names
        return not self.names or any(matches(name, pattern) for pattern in self.names)

    def missing(self, found: Iterable[str]) -> list[str]:
        """Return the names and patterns that none of the files found has."""
        there = set(found)
        return [pattern for pattern in self.names if not any(matches(name, pattern) for name in there)]


def matches(name: str, pattern: str) -> bool:
    """Tell whether a name is the one that is meant or fits the pattern; a name may look like a pattern itself."""
    return name == pattern or fnmatchcase(name, pattern)
