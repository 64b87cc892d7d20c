"""A text cut at the borders of its entities, whatever they overlap: what a page or a terminal paints piece by piece."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from shared.ner.model import Entity
from shared.text_elements import is_boundary, last_boundary

PART_CHARACTERS: Final = 20_000
"""What is shown of a long text at once."""
LINE_SHARE: Final = 0.5
"""Of a part, what may be left over so that the next one begins with a line."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a text.

    Attributes:
        text: of the stretch.
        entities: those that cover all of it, the one that begins first before the others; none between entities.
        is_first: whether the first of its entities begins here.
    """

    text: str
    entities: tuple[Entity, ...] = ()
    is_first: bool = False


def pieces(text: str, entities: Sequence[Entity], start: int = 0, end: int | None = None) -> Iterator[Piece]:
    """Yield a text, or what is between two places of it, in pieces; joined, they are the text.

    Args:
        text: of a whole document.
        entities: of it, in any order; offsets in code points. What lies outside of the text is left out.
        start: the first code point to show.
        end: the first one not to show any more; None shows the rest.
    """
    end = len(text) if end is None else min(end, len(text))
    waiting = sorted(
        (entity for entity in entities if entity.length > 0 and entity.offset < end and ends(entity) > start),
        key=lambda entity: (entity.offset, -entity.length),
        reverse=True,
    )
    covering: list[Entity] = []
    place = start
    while place < end:
        covering = [entity for entity in covering if ends(entity) > place]
        while waiting and waiting[-1].offset <= place:
            covering.append(waiting.pop())
        borders = [ends(entity) for entity in covering]
        if waiting:
            borders.append(waiting[-1].offset)
        following = min([*borders, end])
        is_first = bool(covering) and (covering[0].offset == place or place == start)
        yield Piece(text[place:following], tuple(covering), is_first)
        place = following


def ends(entity: Entity) -> int:
    """Return the first code point after an entity."""
    return entity.offset + entity.length


def parts(text: str, characters: int = PART_CHARACTERS) -> Iterator[tuple[int, int]]:
    """Yield where the parts of a long text begin and end, in code points: after a line, a blank, or a text element.

    Args:
        text: to be shown in parts.
        characters: code points that a part has at most.
    """
    start = 0
    while start < len(text):
        end = start + characters
        if end < len(text):
            earliest = start + int(characters * LINE_SHARE)
            places = (text.rfind(border, earliest, end) + 1 for border in ("\n", " "))
            # A mark may follow a blank, and then belongs to it.
            whole = (place for place in places if place > 0 and is_boundary(text, start, place))
            end = next(whole, None) or last_boundary(text, start, end)
            end = end if end > start else start + characters
        yield start, min(end, len(text))
        start = end


def confidence_text(entity: Entity) -> str:
    """Return a space and the confidence of an entity, or nothing if the service gave none."""
    return "" if entity.confidence_score is None else f" {entity.confidence_score:.2f}"
