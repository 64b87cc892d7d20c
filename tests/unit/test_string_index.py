"""Offsets in the service's units, to and from code points."""

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from local.ner.string_index import StringIndex, StringIndexError, StringIndexType, count_text_elements

FAMILY = "👨‍👩‍👧‍👦"
TEXT = f"é e\u0301 🍷 {FAMILY} 🇧🇷\r\nend"


@pytest.mark.parametrize(
    ("index_type", "word", "expected"),
    [
        (StringIndexType.UNICODE_CODE_POINT, "end", (19, 3)),
        (StringIndexType.UTF16_CODE_UNIT, "end", (26, 3)),
        (StringIndexType.TEXT_ELEMENTS, "end", (10, 3)),
        (StringIndexType.UNICODE_CODE_POINT, FAMILY, (7, 7)),
        (StringIndexType.UTF16_CODE_UNIT, FAMILY, (8, 11)),
        (StringIndexType.TEXT_ELEMENTS, FAMILY, (6, 1)),
    ],
)
def test_places_in_units(index_type: StringIndexType, word: str, expected: tuple[int, int]) -> None:
    """A family is seven code points, eleven UTF-16 units, one text element; so is CRLF one."""
    index = StringIndex(TEXT, index_type)
    place = TEXT.index(word), len(word)
    assert index.from_code_points(*place) == expected
    assert index.to_code_points(*expected) == place


@given(st.text())
def test_lengths(text: str) -> None:
    """Those of UTF-16, and of the pattern for a grapheme cluster."""
    units = len(text.encode("utf-16-le", "surrogatepass")) // 2
    assert StringIndex(text, StringIndexType.UTF16_CODE_UNIT).length == units
    assert StringIndex(text, StringIndexType.UNICODE_CODE_POINT).length == len(text)
    assert count_text_elements(text) == len(regex.findall(r"\X", text))


@given(
    st.text(st.sampled_from("a é\r\n🍷👨\u200d\u0301🇧🇷"), max_size=20),
    st.sampled_from(StringIndexType),
    st.data(),
)
def test_there_and_back_holds_the_range(text: str, index_type: StringIndexType, data: st.DataObject) -> None:
    """A range grows to whole units, and never by one more."""
    start = data.draw(st.integers(0, len(text)))
    length = data.draw(st.integers(min(1, len(text) - start), len(text) - start))
    index = StringIndex(text, index_type)
    offset, units = index.from_code_points(start, length)
    found, size = index.to_code_points(offset, units)
    assert found <= start
    assert found + size >= start + length
    if index_type is not StringIndexType.TEXT_ELEMENTS:
        assert (found, size) == (start, length)
    assert index.from_code_points(found, size) == (offset, units)


@pytest.mark.parametrize(("offset", "length"), [(-1, 1), (0, -1), (0, 99), (99, 0)])
def test_places_outside_the_text_are_refused(offset: int, length: int) -> None:
    """In both directions."""
    for index_type in StringIndexType:
        index = StringIndex(TEXT, index_type)
        with pytest.raises(StringIndexError):
            index.to_code_points(offset, length)
        with pytest.raises(StringIndexError):
            index.from_code_points(offset, length)


def test_half_a_surrogate_pair_is_no_place() -> None:
    """Labels that cut one do not belong to the text."""
    with pytest.raises(StringIndexError, match="inside a character"):
        StringIndex("🍷🍷", StringIndexType.UTF16_CODE_UNIT).to_code_points(1, 2)
