"""Where a long text is cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.splitting import cut
from shared.text_elements import last_boundary
from tests.unit.test_text_elements import boundaries, texts


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("One. Two.\n\n", "Three. Four"),
        ("One. Two.\r\n \r\n", "Three. Four"),
        ("One.\r\rTwo. Three.\r\r", "Four is here"),
        ("One. Two.\n\n\n   ", "Three"),
        ("New York is big. ", "New York is so very big"),
        ('He said "yes!" ', "New York is so very big"),
        ("We met Dr. Smith of St. Louis and J. R. Ewing. ", "Then Mr. Brown of Mt. Vernon"),
        ("It costs 3.50 dollars. ", "It is 4.20 there"),
        ("see you at 8 p.m. there, ", "and then no more than this"),
        ("今天天气很好。", "我们去公园"),
        ("「行きます。」", "と言った"),
        ("one two three\n", "Blue Heron in New York"),
        ("the house, ", "and then New York City Hall"),
        ("we went to ", "New York City"),
        ("they were in New York ", "and"),
        ("a\tb\u00a0", "c"),
        ("NEW YORK ", "CITY"),
    ],
)
def test_the_best_boundary_wins(before: str, after: str) -> None:
    """Paragraph, sentence, line, clause, word; between words where no name is."""
    text = before + after + "x" * 50
    assert text[: cut(text, 0, len(before + after))] == before


def test_a_boundary_out_of_reach_does_not_count() -> None:
    """An early cut costs a request that is nearly empty."""
    text = "One.\n\n" + "word " * 1000
    assert cut(text, 0, 4000) > 3990
    assert text[: cut(text, 0, 4000)].endswith("word ")


def test_without_any_boundary_the_end_is_taken() -> None:
    """A text element, at least, stays whole."""
    assert cut("x" * 5000, 0, 4000) == 4000
    assert cut("x" * 5000, 0, 5000) == 5000


def test_a_space_that_carries_a_mark_is_no_boundary() -> None:
    """The mark would be torn off."""
    text = "one two \u0301 three" + "x" * 50
    assert text[: cut(text, 0, len("one two \u0301"))] == "one "


@given(texts, st.data())
def test_a_cut_is_after_the_start_and_between_text_elements(text: str, data: st.DataObject) -> None:
    """Whatever the text."""
    places = boundaries(text)
    start = data.draw(st.sampled_from(places))
    end = last_boundary(text, start, data.draw(st.integers(start, len(text))))
    if end > start:
        place = cut(text, start, end)
        assert start < place <= end
        assert place in places
