"""What a check has found, and the clocks of others as their responses show them."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Final

from local.times import utc_now

MAX_SKEW_SECONDS: Final = 60.0
"""Azure refuses tokens and signatures that are some minutes off. Commands compare this clock with times in storage."""


class Verdict(StrEnum):
    """The result of a check."""

    OK = "ok"
    WRONG = "wrong"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        verdict: whether it is right.
        what: was checked.
        said: what was found, as a sentence. It contains no secret.
        fix: what the operator can do about it; empty if nothing is to be done.
    """

    verdict: Verdict
    what: str
    said: str
    fix: str = ""


class Clock:
    """Compares the clock of this machine with the Date header of responses.

    Attributes:
        ahead_seconds: how far this machine's clock is ahead of the other one; None if no response had a date.
    """

    def __init__(self, now: Callable[[], datetime] = utc_now) -> None:
        """No response has come yet."""
        self.now = now
        self.ahead_seconds: float | None = None

    def note(self, date: str | None) -> None:
        """Note the Date header of a response that has just come."""
        try:
            theirs = parsedate_to_datetime(date or "")
        except ValueError:
            return
        theirs = theirs if theirs.tzinfo else theirs.replace(tzinfo=UTC)
        self.ahead_seconds = (self.now() - theirs).total_seconds()

    @property
    def is_wrong(self) -> bool:
        """Whether the clocks differ by more than responses take."""
        return self.ahead_seconds is not None and abs(self.ahead_seconds) > MAX_SKEW_SECONDS

    def finding(self, whose: str) -> Finding:
        """Return how this machine's clock compares with that of `whose`."""
        if self.ahead_seconds is None:
            return Finding(Verdict.NOT_CHECKED, "Clock", f"No response of {whose} had a date.")
        if not self.is_wrong:
            return Finding(Verdict.OK, "Clock", f"It agrees with that of {whose}.")
        direction = "ahead of" if self.ahead_seconds > 0 else "behind"
        said = f"This machine's clock is {abs(self.ahead_seconds):,.0f} seconds {direction} that of {whose}."
        fix = "Set the clock, or let it synchronise (NTP). Azure refuses tokens and signatures that are minutes off."
        return Finding(Verdict.WRONG, "Clock", said, fix)
