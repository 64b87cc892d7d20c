"""How the sweep is doing: what its last run found, and when an operator should look after it.

The sweep is what finds lost events and messages, so nothing else would show that it has stopped.
"""

from datetime import datetime, timedelta
from typing import Final

from local.schedule import ScheduleError, read_schedule
from local.times import age_text
from shared.settings import Settings
from shared.state.sweeping import SweepState

MAX_MISSING_COUNT: Final = 10
MAX_MISSING_SHARE: Final = 0.05
"""More files than both that the trigger did not bring are no accident; the alert has the same limits."""


def sweep_text(sweep: SweepState | None, now: datetime) -> str:
    """Return when the last sweep was and what it found."""
    if sweep is None:
        return "Last sweep: none yet."
    swept = sweep.swept
    when = f"Last sweep: {age_text(now - sweep.last)}"
    if swept.is_behind:
        return f"{when}, sent nothing, because poll is behind with its messages."
    parts = [
        f"{counted(swept.files, 'file')} checked",
        f"{swept.missing:,} not picked up",
        f"{counted(swept.revived, 'lost message')} sent again",
    ]
    if swept.existing:
        parts.append(f"{swept.existing:,} from before this deployment")
    return f"{when}, {', '.join(parts)}{'' if swept.is_complete else '; the next sweep continues from there'}."


def sweep_warnings(
    settings: Settings, sweep: SweepState | None, now: datetime, waiting_since: datetime | None
) -> list[str]:
    """Return what is wrong with the sweep.

    Args:
        settings: of the app.
        sweep: what the last one left; None if there was none.
        now: the time.
        waiting_since: when the oldest file was uploaded that has no outcome yet; None if there is none.
    """
    check = "Check that the app is up, and its log for errors of the function sweep"
    if sweep is None:
        if waiting_since is None or not is_late(settings, waiting_since, now):
            return []
        return [f"No sweep has run yet, so lost events and messages are not found. {check}."]
    found = []
    if is_late(settings, sweep.last, now):
        found.append(
            f"The last sweep was {age_text(now - sweep.last)}, although NER_SWEEP_SCHEDULE is "
            f"{settings.sweep_schedule!r}: lost events and messages are not found. {check}."
        )
    swept = sweep.swept
    if swept.is_behind:
        found.append(
            f"Messages wait for longer than NER_SWEEP_GRACE_SECONDS ({settings.sweep_grace_seconds}), so the sweep "
            "sends no more of them. The app is down or has too few instances."
        )
    if swept.missing > MAX_MISSING_COUNT and swept.missing > MAX_MISSING_SHARE * swept.files:
        found.append(
            f"The last sweep found {swept.missing:,} of {counted(swept.files, 'file')} that the function submit had "
            "not picked up. Check that the uploads' events arrive (NER_BLOB_TRIGGER_SOURCE) and the log of submit."
        )
    return found


def is_late(settings: Settings, last: datetime, now: datetime) -> bool:
    """Return whether two sweeps in a row have not run that were due after the last one."""
    try:
        schedule = read_schedule(settings.sweep_schedule)
    except ScheduleError:
        return False  # the host refuses such a schedule at its start
    first = schedule.next_after(last)
    second = schedule.next_after(first) if first else None
    return second is not None and now > second + timedelta(seconds=settings.sweep_grace_seconds)


def counted(count: int, noun: str) -> str:
    """Return a number of things in words."""
    return f"{count:,} {noun}{'s' * (count != 1)}"
