"""What an operator is told about the sweep."""

from datetime import UTC, datetime, timedelta

import pytest

from local.app_settings import SAMPLE, read_values
from local.last_sweep import sweep_text, sweep_warnings
from shared.settings import Settings
from shared.state.sweeping import SweepState, Swept

LAST = datetime(2026, 11, 24, 12, tzinfo=UTC)


def settings(schedule: str = "0 */5 * * * *") -> Settings:
    """Return the sample's, with the usual times of an account on Azure."""
    changes = {"NER_SWEEP_SCHEDULE": schedule, "NER_SWEEP_GRACE_SECONDS": "120"}
    return Settings.from_environ({**read_values(SAMPLE), **changes})


def warnings(swept: Swept, seconds: float = 0.0, schedule: str = "0 */5 * * * *") -> list[str]:
    """Return the warnings so long after a sweep."""
    now = LAST + timedelta(seconds=seconds)
    return sweep_warnings(settings(schedule), SweepState(since=LAST, last=LAST, swept=swept), now, LAST)


@pytest.mark.parametrize(
    ("swept", "text"),
    [
        (Swept(files=1), "1 file checked, 0 not picked up, 0 lost messages sent again."),
        (
            Swept(files=1200, missing=3, revived=1, existing=1000),
            "1,200 files checked, 3 not picked up, 1 lost message sent again, 1,000 from before this deployment.",
        ),
        (
            Swept(files=5, is_complete=False),
            "5 files checked, 0 not picked up, 0 lost messages sent again; the next sweep continues from there.",
        ),
        (Swept(is_behind=True, is_complete=False), "sent nothing, because poll is behind with its messages."),
    ],
)
def test_the_last_sweep_in_one_line(swept: Swept, text: str) -> None:
    """When it was and what it found."""
    state = SweepState(since=LAST, last=LAST, swept=swept)
    assert sweep_text(state, LAST + timedelta(seconds=90)) == f"Last sweep: 1 min ago, {text}"


@pytest.mark.parametrize(("seconds", "is_late"), [(600, False), (720, False), (721, True), (86400, True)])
def test_a_sweep_that_stopped_is_a_warning(seconds: float, is_late: bool) -> None:
    """Once two that were due have not run, and the last one had time to end."""
    found = warnings(Swept(files=3), seconds)
    assert len(found) == is_late
    assert all("'0 */5 * * * *'" in warning for warning in found)


def test_a_schedule_that_is_not_understood_is_no_warning() -> None:
    """The host refuses it when it starts."""
    assert warnings(Swept(), 86400, "0 0 0 W * *") == []


@pytest.mark.parametrize(
    ("missing", "files", "is_much"),
    [(10, 10, False), (11, 11, True), (11, 219, True), (11, 220, False), (40_000, 1_000_000, False)],
)
def test_many_files_that_no_trigger_brought_are_a_warning(missing: int, files: int, is_much: bool) -> None:
    """A few are an accident, and what the sweep is for."""
    found = warnings(Swept(files=files, missing=missing))
    assert len(found) == is_much
    assert all("NER_BLOB_TRIGGER_SOURCE" in warning for warning in found)


def test_a_queue_that_grows_is_a_warning() -> None:
    """The sweep sends nothing then, which nobody would see otherwise."""
    (warning,) = warnings(Swept(is_behind=True, is_complete=False))
    assert "too few instances" in warning


@pytest.mark.parametrize(
    ("waiting_since", "is_warning"),
    [(None, False), (LAST - timedelta(minutes=5), False), (LAST - timedelta(minutes=13), True)],
)
def test_no_sweep_at_all_is_a_warning_if_files_wait(waiting_since: datetime | None, is_warning: bool) -> None:
    """For longer than two of them: an app that was started just now, or never, is none."""
    assert sweep_text(None, LAST) == "Last sweep: none yet."
    assert len(sweep_warnings(settings(), None, LAST, waiting_since)) == is_warning
