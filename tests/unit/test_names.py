"""Names of the blobs that belong to a file: short enough for storage, and never those of another file."""

import pytest

from shared.names import LONGEST_BLOB_NAME, result_name, utf16_length
from shared.state.claim import CLAIMS, claim_name

ENDING = "~0123456789abcdef.json"
LONGEST_KEPT = LONGEST_BLOB_NAME - len(".json")
"""Of a file's name, of which the outcome's name shows everything."""


def test_the_outcome_of_a_file_is_beside_it_in_its_folder() -> None:
    """As the README says."""
    assert result_name("a/report.txt") == "a/report.txt.json"
    assert claim_name("a/report.txt") == "claims/a/report.txt.json"


@pytest.mark.parametrize("room", [0, len(CLAIMS)])
@pytest.mark.parametrize("length", [1012, 1013, 1019, 1020, 1023, 1024])
@pytest.mark.parametrize("character", ["a", "é", "🍷", "/"])
def test_a_name_that_is_too_long_is_shortened(character: str, length: int, room: int) -> None:
    """A blob's name has up to 1,024 UTF-16 code units; two long names with one beginning still differ."""
    beginning = character * ((length - 1) // utf16_length(character))
    names = [beginning + "b" * (length - 1 - utf16_length(beginning)) + end for end in "xy"]
    made = [result_name(name, room) for name in names]
    assert len(set(made)) == 2
    for name, found in zip(names, made, strict=True):
        assert utf16_length(name) == length
        assert room + utf16_length(found) <= LONGEST_BLOB_NAME
        if length <= LONGEST_KEPT - room:
            assert found == f"{name}.json"
        else:
            kept = found[: -len(ENDING)]
            assert name.startswith(kept)
            assert found[len(kept)] == "~"
            assert found.endswith(".json")
            # No more is cut off than has to be; a character outside the Basic Multilingual Plane takes two.
            assert room + utf16_length(found) >= LONGEST_BLOB_NAME - 1


def test_a_claim_has_a_name_wherever_a_file_has_one() -> None:
    """The prefix takes some of what storage allows."""
    for length in range(LONGEST_KEPT - len(CLAIMS) - 2, LONGEST_BLOB_NAME + 1):
        assert utf16_length(claim_name("n" * length)) <= LONGEST_BLOB_NAME
