"""Where text elements end, against the rules of Unicode, as a library of their own tells them."""

from collections.abc import Iterator

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from shared import text_elements
from shared.text_elements import boundaries, is_boundary, last_boundary, patterns

CLUSTER = regex.compile(r"\X")
# What joins and what does not, in every way that there is.
TROUBLE = (
    "a \r\n\0é€漢\u0301\u0903\u0915\u094d\u102b\u1100\u1161\u11a8각가\u0600\u200b\u200d\u200c\ufe0f👨👩🍷🇩🇪🏽\U000e0041"
)
texts = st.text(alphabet=st.one_of(st.sampled_from(TROUBLE), st.characters(exclude_categories=["Cs"])), max_size=60)


def all_boundaries(text: str) -> list[int]:
    """Return all positions between text elements."""
    return [0, *(match.end() for match in CLUSTER.finditer(text))]


@given(texts, st.data())
def test_boundaries_are_those_of_unicode(text: str, data: st.DataObject) -> None:
    """From any boundary on, between any two positions."""
    places = all_boundaries(text)
    start = data.draw(st.sampled_from(places))
    first = data.draw(st.integers(start, len(text)))
    last = data.draw(st.integers(first, len(text)))
    assert boundaries(text, start, first, last) == {place for place in places if first <= place <= last}


@given(texts, st.data())
def test_the_last_boundary_is_the_last_boundary(text: str, data: st.DataObject) -> None:
    """From any boundary on, up to any position."""
    end = data.draw(st.integers(0, len(text)))
    before = [place for place in all_boundaries(text) if place <= end]
    start = data.draw(st.sampled_from(before))
    assert last_boundary(text, start, end) == before[-1]
    assert is_boundary(text, start, end) is (before[-1] == end)


@given(st.data())
def test_a_bounded_search_finds_the_boundaries_of_text_elements_that_fit_into_it(data: st.DataObject) -> None:
    """Wherever it begins: even inside a text element, or inside a flag of a long run of flags."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_elements, "LOOKBACK", 8)
        flags = st.integers(0, 40).map(lambda count: "🇩" * count)
        text = "".join(data.draw(st.lists(st.one_of(flags, st.sampled_from(["e\u0301", " ", "漢", "\r\n"])))))
        last = data.draw(st.integers(0, len(text)))
        first = data.draw(st.integers(0, last))
        assert boundaries(text, 0, first, last) == {p for p in all_boundaries(text) if first <= p <= last}


def test_every_sure_boundary_is_a_boundary() -> None:
    """Of all pairs of a character that joins in some way and any other one."""
    _, between, _ = patterns()
    for point in [*range(0xD800), *range(0xE000, 0x20000)]:
        for other in ("a", "\r", "\u0301", "\u200d", "\u0600", "\u1100", "\uac00", "🇩", "👨", "\u0915"):
            for text in (chr(point) + other, other + chr(point)):
                if between.fullmatch(text, 1, 2) or between.search(text, 1, 2):
                    assert all_boundaries(text) == [0, 1, 2], ascii(text)


def test_a_long_run_of_flags_takes_no_long_run() -> None:
    """They join in pairs, counted from the first: a library that counts back at each takes hours."""
    text = "🇩🇪" * 100_000
    assert last_boundary(text, 0, 150_001) == 150_000


@pytest.mark.parametrize("unit", [" \u0301", "\u200d", "\u1100", "👨\u200d", "\u0600", "क\u094d"])
def test_the_search_is_bounded_in_a_text_without_a_boundary(unit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither what is far before a position nor what is far behind it is read."""
    cluster, between, no_flag = patterns()
    read: list[tuple[int, int]] = []

    class Recorded:
        """A pattern that keeps the positions between which it is applied."""

        def __init__(self, pattern: regex.Pattern[str]) -> None:
            self.pattern = pattern

        def search(self, text: str, begin: int, end: int) -> regex.Match[str] | None:
            """Search between two positions."""
            read.append((begin, end))
            return self.pattern.search(text, begin, end)

        def finditer(self, text: str, begin: int, end: int) -> Iterator[regex.Match[str]]:
            """Find all between two positions."""
            read.append((begin, end))
            return self.pattern.finditer(text, begin, end)

    monkeypatch.setattr(text_elements, "patterns", lambda: (Recorded(cluster), Recorded(between), no_flag))
    text = unit * 200_000
    last_boundary(text, 0, 150_001)
    assert read
    assert min(begin for begin, _ in read) >= 150_001 - 4000
    assert max(end for _, end in read) <= 150_002


@pytest.mark.parametrize("length", [1999, 2001])
def test_a_text_element_of_up_to_2000_characters_is_found(length: int) -> None:
    """The position after a longer one is taken for a boundary, although it is none."""
    text = "a b" + "\u0301" * (length - 1) + "\u0301" * 10_000
    assert last_boundary(text, 0, 2 + length) == (2 if length < 2000 else 2 + length)
