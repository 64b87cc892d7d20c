"""Which outcome stands: that of the newest version, once."""

from datetime import UTC, datetime
from typing import Final

import msgspec
import pytest

from shared.precedence import Present, PresentOutcome, look_at_outcome, may_write
from shared.source import Source

NOW: Final = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SOURCE: Final = Source("incoming", "a.txt", "mine", NOW, 1)
OTHER: Final = msgspec.structs.replace(SOURCE, etag="other")


def present(source_etag: str, digest: str = "") -> PresentOutcome:
    """Return an outcome that is there."""
    return PresentOutcome("outcome", source_etag, NOW, digest)


@pytest.mark.parametrize(
    ("there", "digest", "replaces", "expected"),
    [
        # There is none.
        (None, "text", None, Present.NONE),
        (None, "text", "outcome", Present.NONE),
        # This version has one already, unless that very outcome is to be replaced.
        (present("mine"), "text", None, Present.ENDED),
        (present("mine", "text"), "text", None, Present.ENDED),
        (present("mine"), "text", "another", Present.ENDED),
        (present("mine"), "text", "outcome", Present.NONE),
        (present("mine", "text"), "text", "outcome", Present.NONE),
        # Another version has one.
        (present("other", "another text"), "text", None, Present.OTHER),
        (present("other", "text"), "text", None, Present.SAME_TEXT),
        (present("other", "text"), "text", "another", Present.SAME_TEXT),
        # An outcome that failed or is too old has no digest, and neither has a file that is too large to be read.
        (present("other"), "text", None, Present.OTHER),
        (present("other", "text"), "", None, Present.OTHER),
        (present("other"), "", None, Present.OTHER),
    ],
)
def test_the_present_outcome_says_whether_a_version_is_to_be_sent(
    there: PresentOutcome | None, digest: str, replaces: str | None, expected: Present
) -> None:
    """Its version and its text decide; times do not."""
    assert look_at_outcome(SOURCE, digest, there, replaces) is expected


@pytest.mark.parametrize(
    ("newest", "holds_claim", "expected"),
    [
        (SOURCE, True, True),
        (SOURCE, False, True),
        (OTHER, True, False),
        (OTHER, False, False),
        (None, True, True),
        (None, False, False),
    ],
)
def test_the_newest_version_may_write(newest: Source | None, *, holds_claim: bool, expected: bool) -> None:
    """The input container says which one is the newest; where the file is gone, its claim does."""
    assert may_write(SOURCE, newest, holds_claim=holds_claim) is expected


@pytest.mark.parametrize(("length", "encoding"), [(0, None), (1, "utf-8"), (10**9, "utf-16")])
def test_a_version_is_known_by_its_etag_alone(length: int, encoding: str | None) -> None:
    """What was found out about it meanwhile, such as its encoding, makes no other version of it."""
    same = msgspec.structs.replace(SOURCE, length=length, encoding=encoding)
    assert may_write(SOURCE, same, holds_claim=False)
    assert look_at_outcome(same, "", present("mine"), None) is Present.ENDED
