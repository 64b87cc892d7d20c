"""Names of the blobs that belong to a file: short enough for storage, and never those of another file."""

import pytest

from shared.names import ALWAYS_KEPT, LONGEST_BLOB_NAME, result_name, utf16_length
from shared.state.claim import CLAIMS, claim_name

ENDING = "~0123456789abcdef.json"
LONGEST_WHOLE = LONGEST_BLOB_NAME - len(CLAIMS) - len(".json")
"""Of a file's name that its outcome's shows whole."""


def test_the_outcome_of_a_file_is_beside_it_in_its_folder() -> None:
    """As the README says."""
    assert result_name("a/report.txt") == "a/report.txt.json"
    assert claim_name("a/report.txt") == "claims/a/report.txt.json"


@pytest.mark.parametrize("length", [994, 995, 1011, 1012, 1013, 1019, 1020, 1023, 1024])
@pytest.mark.parametrize("character", ["a", "é", "🍷", "/"])
def test_a_name_that_is_too_long_is_shortened(character: str, length: int) -> None:
    """A blob's name has up to 1,024 UTF-16 code units; two long names with one beginning still differ."""
    beginning = character * ((length - 1) // utf16_length(character))
    names = [beginning + "b" * (length - 1 - utf16_length(beginning)) + end for end in "xy"]
    made = [result_name(name) for name in names]
    assert len(set(made)) == 2
    for name, found in zip(names, made, strict=True):
        assert utf16_length(name) == length
        assert utf16_length(claim_name(name)) <= LONGEST_BLOB_NAME
        if length <= LONGEST_WHOLE:
            assert found == f"{name}.json"
        else:
            kept = found[: -len(ENDING)]
            assert name.startswith(kept)
            assert found[len(kept)] == "~"
            assert found.endswith(".json")
            assert utf16_length(kept) >= ALWAYS_KEPT


@pytest.mark.parametrize("name", ["a.txt", "n" * 1012, "n" * 1013, "🍷" * 512])
def test_all_blobs_of_a_file_have_one_name(name: str) -> None:
    """Whoever lists outcomes and claims side by side finds those of one file at the same place."""
    assert claim_name(name) == CLAIMS + result_name(name)
