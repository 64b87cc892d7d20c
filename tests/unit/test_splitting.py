"""Where a long text is cut."""

import re
from collections.abc import Iterator
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import splitting
from shared.splitting import MAX_TRIED, REACH, TIERS, WORD, Tier, cut, matches_backwards
from tests.unit.test_text_elements import all_boundaries, texts


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


def test_a_text_element_that_reaches_beyond_the_end_stays_whole() -> None:
    """Or else nothing of it is in this part."""
    assert cut("one" + "e" + "\u0301" * 50, 0, 10) == 3
    assert cut("e" + "\u0301" * 50, 0, 10) == 0


def test_a_text_element_longer_than_the_reach_is_cut() -> None:
    """No honest text has one, and the search for its beginning would have no bound."""
    text = "one" + "e" + "\u0301" * 3 * REACH
    assert cut(text, 0, 2 * REACH) == 2 * REACH


@given(texts, st.data())
def test_a_cut_is_after_the_start_and_between_text_elements(text: str, data: st.DataObject) -> None:
    """Whatever the text; at the start only if a single text element reaches beyond the end."""
    places = all_boundaries(text)
    start = data.draw(st.sampled_from(places))
    end = data.draw(st.integers(start, len(text)))
    place = cut(text, start, end)
    assert start <= place <= end
    assert place in places
    assert (place > start) is any(start < boundary <= end for boundary in places)


@pytest.mark.parametrize("unit", [" \u0301", ".", ". a", "A. ", "\n ", "\n\n\u0301", "x", "!'\"", ", \u0301"])
def test_the_search_for_a_cut_is_bounded(unit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each kind of boundary is looked for once, within its reach."""
    read: list[tuple[int, int]] = []

    def finditer(tier: Tier) -> Tier:
        class Recorded:
            """A pattern that keeps the positions between which it is applied."""

            def finditer(self, text: str, first: int, last: int) -> Iterator[re.Match[str]]:
                """Find all between two positions."""
                read.append((first, last))
                return tier.pattern.finditer(text, first, last)

        return tier._replace(pattern=cast("re.Pattern[str]", Recorded()))

    monkeypatch.setattr(splitting, "TIERS", [finditer(tier) for tier in TIERS])
    text = unit * 200_000
    assert cut(text, 0, 125_000) > 125_000 - REACH
    assert 0 < len(read) <= len(TIERS)
    assert all(125_000 - REACH <= first <= last == 125_000 for first, last in read)


@pytest.mark.parametrize("tail", ["x", "", "'x"])
def test_a_long_run_of_full_stops_is_read_once(tail: str) -> None:
    """A search that began again at each of them would take hours."""
    text = "." * 300_000 + tail
    assert splitting.SENTENCE.search(text) is None


def test_few_boundaries_of_a_kind_are_tried() -> None:
    """These are the last ones, so that the time for a text without a good boundary is bounded."""
    tried = list(matches_backwards(WORD, "a " * 10 * MAX_TRIED, 0, 20 * MAX_TRIED))
    assert len(tried) == MAX_TRIED
    assert tried[0] == (20 * MAX_TRIED - 1, 20 * MAX_TRIED)
