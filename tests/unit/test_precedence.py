"""Which outcome stands."""

from datetime import UTC, datetime, timedelta

import pytest

from shared.precedence import PresentOutcome, Verdict, verdict
from shared.source import Source

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SOURCE = Source("incoming", "a.txt", "mine", NOW, 1)
EARLIER, LATER = NOW - timedelta(seconds=1), NOW + timedelta(seconds=1)


def present(source_etag: str, modified: datetime | None = NOW) -> PresentOutcome:
    """Return an outcome that is there."""
    return PresentOutcome("etag", source_etag, modified)


@pytest.mark.parametrize(
    ("there", "newest", "replaces", "expected"),
    [
        (None, "mine", None, Verdict.WRITE),
        (None, "newer", None, Verdict.SUPERSEDED),
        (None, None, None, Verdict.WRITE),
        (present("older"), "mine", None, Verdict.WRITE),
        (present("older", LATER), "mine", None, Verdict.WRITE),
        (present("mine"), "mine", None, Verdict.ENDED),
        (present("mine"), "newer", None, Verdict.SUPERSEDED),
        (present("mine"), "mine", "etag", Verdict.WRITE),
        (present("mine"), "mine", "another", Verdict.ENDED),
        (present("older"), "mine", "etag", Verdict.WRITE),
        (present("mine"), None, None, Verdict.ENDED),
        (present("other", EARLIER), None, None, Verdict.WRITE),
        (present("other", NOW), None, None, Verdict.SUPERSEDED),
        (present("other", LATER), None, None, Verdict.SUPERSEDED),
        (present("other", None), None, None, Verdict.SUPERSEDED),
    ],
)
def test_the_newest_version_has_the_outcome(
    there: PresentOutcome | None, newest: str | None, replaces: str | None, expected: Verdict
) -> None:
    """The input container says which is the newest; only where the file is gone, the times of upload do."""
    assert verdict(SOURCE, there, newest, replaces) is expected
