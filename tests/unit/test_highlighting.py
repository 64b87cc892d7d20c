"""A text is cut into pieces and parts such that nothing of it is lost and every entity is where it is."""

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from local.highlighting import Piece, parts, pieces
from shared.ner.model import Entity

TEXT = "Zürich 👨‍👩‍👧 مطعم الياسمين\n"


def entity(offset: int, length: int, category: str = "city", confidence: float = 0.9) -> Entity:
    """Return an entity of which only the place matters."""
    return Entity("", category, offset, length, confidence)


@st.composite
def texts_with_entities(draw: st.DrawFn) -> tuple[str, list[Entity]]:
    """Draw a text with entities that overlap as they like, some of them beyond its end."""
    text = draw(st.text(st.sampled_from("ab \n🍷é\u0301مّ👍🏽\r"), max_size=40))
    places = st.tuples(st.integers(0, len(text) + 3), st.integers(0, 9), st.sampled_from(["city", "time", "track"]))
    return text, [entity(*place) for place in draw(st.lists(places, max_size=12))]


@given(texts_with_entities())
def test_pieces_joined_are_the_text_and_each_has_its_entities(drawn: tuple[str, list[Entity]]) -> None:
    """Every code point is in one piece, whose entities are those that cover it."""
    text, entities = drawn
    found = list(pieces(text, entities))
    assert "".join(piece.text for piece in found) == text
    place = 0
    for piece in found:
        assert piece.text
        for at in range(place, place + len(piece.text)):
            covering = [one for one in entities if one.offset <= at < one.offset + one.length]
            assert sorted(covering, key=repr) == sorted(piece.entities, key=repr)
        place += len(piece.text)


@given(texts_with_entities(), st.integers(1, 7))
def test_pieces_of_stretches_are_the_pieces_of_the_whole(drawn: tuple[str, list[Entity]], characters: int) -> None:
    """A text that is shown in parts has the same entities at the same places."""
    text, entities = drawn

    def covered(found: list[Piece]) -> list[tuple[str, tuple[Entity, ...]]]:
        return [(character, piece.entities) for piece in found for character in piece.text]

    in_parts = [piece for start, end in parts(text, characters) for piece in pieces(text, entities, start, end)]
    # Only the order within a piece may differ: what began before the part counts as first there too.
    assert covered(in_parts) == covered(list(pieces(text, entities)))


@given(st.text(st.sampled_from("ab \n🍷é\u0301👍🏽👨‍👩‍👧🇧🇷\r"), max_size=60), st.integers(1, 9))
def test_parts_are_the_text_and_never_cut_a_text_element(text: str, characters: int) -> None:
    """Parts follow each other, are no longer than asked for, and cut no text element that fits into one."""
    found = list(parts(text, characters))
    assert "".join(text[start:end] for start, end in found) == text
    elements = [match.span() for match in regex.finditer(r"\X", text)]
    for start, end in found:
        assert 0 < end - start <= characters
        # Only an element that is longer than a part, or what is left of it, may be cut.
        assert all(last - first > characters for first, last in elements if first < end < last)


def test_a_part_ends_after_a_line_rather_than_after_a_word() -> None:
    """Lines are what people read."""
    assert list(parts("one two\nthree four five", 12)) == [(0, 8), (8, 19), (19, 23)]


def test_overlapping_entities_share_what_both_cover() -> None:
    """ "New York Times" with the city in it: three pieces, the middle one of both."""
    text = "the New York Times today"
    found = list(pieces(text, [entity(4, 14, "paper"), entity(4, 8, "city"), entity(9, 15, "title")]))
    assert [(piece.text, [one.category for one in piece.entities], piece.is_first) for piece in found] == [
        ("the ", [], False),
        ("New Y", ["paper", "city"], True),
        ("ork", ["paper", "city", "title"], False),
        (" Times", ["paper", "title"], False),
        (" today", ["title"], False),
    ]


@pytest.mark.parametrize("word", ["Zürich", "👨‍👩‍👧", "مطعم الياسمين"])
def test_emoji_and_right_to_left_text_are_cut_where_the_entity_is(word: str) -> None:
    """Offsets are code points."""
    found = [piece.text for piece in pieces(TEXT, [entity(TEXT.index(word), len(word))]) if piece.entities]
    assert found == [word]
