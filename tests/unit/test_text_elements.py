"""Counting and cutting against the rules of Unicode, as a library of their own tells them."""

import regex
from hypothesis import given
from hypothesis import strategies as st

from shared.text_elements import MAY_HOLD_MARKS, last_boundary, marks, most_text_elements

CLUSTER = regex.compile(r"\X")
# What joins and what does not, in every way that there is.
TROUBLE = (
    "a \r\n\0é€漢\u0301\u0903\u0915\u094d\u102b\u1100\u1161\u11a8각가\u0600\u200b\u200d\u200c\ufe0f👨👩🍷🇩🇪🏽\U000e0041"
)
texts = st.text(alphabet=st.one_of(st.sampled_from(TROUBLE), st.characters(exclude_categories=["Cs"])), max_size=60)


def boundaries(text: str) -> list[int]:
    """Return all places between text elements."""
    return [0, *(match.end() for match in CLUSTER.finditer(text))]


@given(texts)
def test_never_fewer_than_there_are_and_never_more_than_characters(text: str) -> None:
    """A request must not be refused for what was counted too low."""
    assert len(CLUSTER.findall(text)) <= most_text_elements(text) <= len(text)


def test_marks_and_line_ends_are_no_characters_of_their_own() -> None:
    """What the service counts so in every version."""
    assert most_text_elements("e\u0301\u0323 a\r\n") == 4
    assert most_text_elements("नमस्ते") == 4
    assert most_text_elements("\u0301\n\u0301") == 3


def test_every_mark_joins_what_stands_before_it() -> None:
    """And lies in the coarse net that is cast first."""
    found = [chr(point) for point in range(0x110000) if marks().fullmatch(f"a{chr(point)}", 1)]
    assert len(found) > 1000
    assert all(len(CLUSTER.findall(f"a{mark}")) == 1 for mark in found)
    assert all(MAY_HOLD_MARKS.match(mark) for mark in found)


def test_a_mark_after_any_control_counts() -> None:
    """Of all characters, none joins a mark without our knowing."""
    for point in range(0x110000):
        text = f"{chr(point)}\u0301"
        assert most_text_elements(text) >= len(CLUSTER.findall(text)), hex(point)


@given(texts, st.data())
def test_the_last_boundary_is_the_last_boundary(text: str, data: st.DataObject) -> None:
    """From any boundary on, up to any place."""
    end = data.draw(st.integers(0, len(text)))
    before = [place for place in boundaries(text) if place <= end]
    assert last_boundary(text, data.draw(st.sampled_from(before)), end) == before[-1]


def test_a_long_run_of_flags_takes_no_long_run() -> None:
    """They join in pairs, counted from the first: a library that counts back at each takes hours."""
    text = "🇩🇪" * 100_000
    assert last_boundary(text, 0, 150_001) == 150_000
