"""The time now, and times in the words of what an operator reads."""

from datetime import UTC, datetime, timedelta


def utc_now() -> datetime:
    """Return the time as records and messages have it."""
    return datetime.now(UTC)


def duration_text(duration: timedelta) -> str:
    """Return how long something is, in the largest unit and the next one."""
    seconds = max(round(duration.total_seconds()), 0)
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if days:
        return f"{days} d {hours % 24} h"
    if hours:
        return f"{hours} h {minutes % 60} min"
    return f"{minutes} min" if minutes else f"{seconds} s"


def age_text(age: timedelta) -> str:
    """Return how long ago something was."""
    return f"{duration_text(age)} ago"
