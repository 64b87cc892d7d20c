"""When a timer trigger fires: NCRONTAB expressions of six fields, in UTC, as the Functions host reads them.

See https://learn.microsoft.com/azure/azure-functions/functions-bindings-timer#ncrontab-expressions. Unlike in cron, a
day has to fit both the day of the month and the day of the week.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
NAMES: Final = {name: number for number, name in [*enumerate(MONTHS, 1), *enumerate(DAYS)]}
LIMITS: Final = ((0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
"""Of second, minute, hour, day of the month, month and day of the week, where 0 is Sunday."""
PART: Final = re.compile(r"(\*|(?P<first>\w+)(?:-(?P<last>\w+))?)(?:/(?P<step>[0-9]{1,4}))?")
MAX_DAYS: Final = 8 * 366 + 1
"""From one 29 February to the next there are eight years at most."""


class ScheduleError(ValueError):
    """An expression that the host would refuse."""


@dataclass(frozen=True)
class Schedule:
    """When a timer fires: the values that each field allows, in ascending order."""

    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]

    def next_after(self, time: datetime) -> datetime | None:
        """Return the first time after another one at which the timer fires; None if it never does."""
        begin = time.astimezone(UTC)
        for number in range(MAX_DAYS):
            day = begin.date() + timedelta(days=number)
            if not (day.month in self.months and day.day in self.days and day.isoweekday() % 7 in self.weekdays):
                continue
            for hour in self.hours:
                if number == 0 and hour < begin.hour:
                    continue
                for minute in self.minutes:
                    for second in self.seconds:
                        found = datetime(day.year, day.month, day.day, hour, minute, second, tzinfo=UTC)
                        if found > begin:
                            return found
        return None


def read_schedule(expression: str) -> Schedule:
    """Read an NCRONTAB expression of six fields; raises ScheduleError."""
    fields = expression.split()
    if len(fields) != len(LIMITS):
        raise ScheduleError(f"{expression!r} has {len(fields)} fields, not {len(LIMITS)}")
    return Schedule(*(read_field(field, *limits) for field, limits in zip(fields, LIMITS, strict=True)))


def read_field(field: str, lowest: int, highest: int) -> tuple[int, ...]:
    """Return the values that a field allows, such as `*`, `*/5`, `1-5`, `MON,WED` or `0`."""
    values: set[int] = set()
    for part in field.split(","):
        match = PART.fullmatch(part)
        step = int(match["step"] or 1) if match else 0
        if match is None or step == 0:
            raise ScheduleError(f"{field!r} is not a field of an NCRONTAB expression")
        first = lowest if match["first"] is None else read_number(match["first"])
        if match["last"] is not None:
            last = read_number(match["last"])
        else:
            last = first if match["first"] is not None and match["step"] is None else highest
        if not lowest <= first <= last <= highest:
            raise ScheduleError(f"{field!r} is not within {lowest} and {highest}")
        values |= set(range(first, last + 1, step))
    return tuple(sorted(values))


def read_number(text: str) -> int:
    """Return the number that is written, or the one that a month or a day has."""
    if text.isascii() and text.isdecimal():
        return int(text)
    try:
        return NAMES[text[:3].lower()]
    except KeyError:
        raise ScheduleError(f"{text!r} is neither a number nor the name of a month or a day") from None
