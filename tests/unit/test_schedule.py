"""When a timer trigger fires."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from local.schedule import ScheduleError, read_schedule

TUESDAY = datetime(2026, 11, 24, 10, 2, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("0 */5 * * * *", datetime(2026, 11, 24, 10, 5, tzinfo=UTC)),
        ("*/5 * * * * *", datetime(2026, 11, 24, 10, 2, 35, tzinfo=UTC)),
        ("30 2 10 * * *", datetime(2026, 11, 25, 10, 2, 30, tzinfo=UTC)),
        ("0 0 9-17 * * MON-FRI", datetime(2026, 11, 24, 11, tzinfo=UTC)),
        ("0 30 9 * * 1-5", datetime(2026, 11, 25, 9, 30, tzinfo=UTC)),
        ("0 0 0 1 Jan,july *", datetime(2027, 1, 1, tzinfo=UTC)),
        # Both days have to fit.
        ("0 0 0 13 * FRI", datetime(2027, 8, 13, tzinfo=UTC)),
        ("0 0 12 29 2 *", datetime(2028, 2, 29, 12, tzinfo=UTC)),
        ("10/20 59 23 31 12 *", datetime(2026, 12, 31, 23, 59, 10, tzinfo=UTC)),
        ("0 0 0 30 2 *", None),
    ],
)
def test_next_time_is_the_first_that_fits_every_field(expression: str, expected: datetime | None) -> None:
    """After the given time, never at it."""
    assert read_schedule(expression).next_after(TUESDAY) == expected


def test_times_are_in_utc() -> None:
    """Whatever zone the given time is in."""
    elsewhere = TUESDAY.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert read_schedule("0 0 * * * *").next_after(elsewhere) == datetime(2026, 11, 24, 11, tzinfo=UTC)


@pytest.mark.parametrize(
    "expression",
    [
        *(
            "",
            "* * * * *",
            "60 * * * * *",
            "* * 24 * * *",
            "* * * 0 * *",
            "* * * * 13 *",
            "* * * * * 7",
            "*/0 * * * * *",
        ),
        *("5-1 * * * * *", "x * * * * *", "1- * * * * *", "-1 * * * * *", "1,,2 * * * * *", "٣ * * * * *"),
    ],
)
def test_expression_that_the_host_refuses_is_an_error(expression: str) -> None:
    """It says which part is wrong."""
    with pytest.raises(ScheduleError):
        read_schedule(expression)
