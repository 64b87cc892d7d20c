"""Which files an operator means."""

from datetime import UTC, datetime, timedelta

import pytest
import typer

from local.choosing import KINDS, Choice, Kind, parse_since
from local.listing import State
from local.times import utc_now

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "ago"),
    [("30m", timedelta(minutes=30)), ("2h", timedelta(hours=2)), ("3d", timedelta(days=3)), ("0m", timedelta())],
)
def test_a_duration_counts_back_from_now(text: str, ago: timedelta) -> None:
    """In minutes, hours or days."""
    before = utc_now()
    assert before - ago <= parse_since(text) <= utc_now() - ago


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2024-11-24T10:00", datetime(2024, 11, 24, 10, tzinfo=UTC)),
        ("2024-11-24 10:00:30", datetime(2024, 11, 24, 10, 0, 30, tzinfo=UTC)),
        ("2024-11-24", datetime(2024, 11, 24, tzinfo=UTC)),
        ("2024-11-24T10:00Z", datetime(2024, 11, 24, 10, tzinfo=UTC)),
        ("2024-11-24T10:00+02:00", datetime(2024, 11, 24, 8, tzinfo=UTC)),
    ],
)
def test_a_time_is_in_utc_unless_it_says(text: str, time: datetime) -> None:
    """As the times in outcomes and logs are."""
    assert parse_since(text) == time


@pytest.mark.parametrize(
    "text", ["", "2", "2x", "h", "-2h", "1.5h", "2h30m", "yesterday", "999999999d", "٣d", "0001-01-01T00:00+10:00"]
)
def test_what_is_no_time_is_explained(text: str) -> None:
    """With examples of what is one."""
    with pytest.raises(typer.BadParameter, match="30m, 2h or 3d"):
        parse_since(text)


def test_nothing_has_happened_since_the_future() -> None:
    """Most likely a local time was meant for UTC."""
    with pytest.raises(typer.BadParameter, match="is in the future"):
        parse_since((utc_now() + timedelta(hours=1)).isoformat())


@pytest.mark.parametrize(
    ("names", "kinds", "expected"),
    [
        (["a.txt"], [], {Kind.UNHEARD, Kind.IN_FLIGHT, Kind.FAILED, Kind.PARTIAL}),
        (["*.txt"], [], {Kind.UNHEARD, Kind.IN_FLIGHT, Kind.FAILED}),
        (["b*", "?.txt"], [Kind.FAILED], {Kind.FAILED}),
        (["a.txt"], [Kind.SUCCEEDED], {Kind.SUCCEEDED}),
        (["A.TXT", "txt", "a"], [], set()),
        ([], [Kind.FAILED], {Kind.FAILED}),
        (["*.txt"], [Kind.PARTIAL], {Kind.PARTIAL}),
        ([], [Kind.POISONED, Kind.IN_FLIGHT], {Kind.POISONED, Kind.IN_FLIGHT}),
    ],
)
def test_names_and_kinds_choose_together(names: list[str], kinds: list[Kind], expected: set[Kind]) -> None:
    """A name chooses its file in any state but one: what has succeeded is chosen only by its kind."""
    choice = Choice(tuple(names), frozenset(kinds))
    assert {kind for kind in Kind if choice.selects("a.txt", NOW) and choice.wants(kind, "a.txt")} == expected


def test_every_state_has_a_kind() -> None:
    """So that a line can be printed for each file that is named."""
    assert set(KINDS) == set(State)


@pytest.mark.parametrize(
    ("kinds", "files"), [([], True), ([Kind.POISONED], False), ([Kind.POISONED, Kind.FAILED], True)]
)
def test_poison_alone_asks_for_no_files(kinds: list[Kind], files: bool) -> None:
    """An account is listed only if that is needed."""
    assert Choice(kinds=frozenset(kinds)).wants_files is files


@pytest.mark.parametrize("name", ["a[1].txt", "*", "[", "über/?.txt"])
def test_a_name_that_looks_like_a_pattern_is_found(name: str) -> None:
    """A blob may have any name."""
    choice = Choice((name,))
    assert choice.has_patterns
    assert choice.selects(name, NOW)


def test_plain_names_are_looked_up() -> None:
    """Without them, or with a pattern, the account has to be listed."""
    assert not Choice(("a.txt", "b/ü.txt")).has_patterns
    assert Choice(("a.txt", "b/*")).has_patterns
    assert Choice().has_patterns


def test_a_time_excludes_what_was_before() -> None:
    """What has no time is decided by the rest."""
    choice = Choice(kinds=frozenset({Kind.FAILED}), since=NOW)
    assert choice.selects("a", NOW)
    assert choice.selects("a", None)
    assert not choice.selects("a", NOW - timedelta(seconds=1))


def test_what_was_named_in_vain_is_known() -> None:
    """A pattern is found with its first file."""
    choice = Choice(("a.txt", "b*", "c*", "[d]"))
    assert choice.missing(["a.txt", "b.txt"]) == ["c*", "[d]"]
    assert choice.missing(["[d]", "c", "b"]) == ["a.txt"]
    assert Choice().missing([]) == []
