"""A result as the page shows it: cut into parts, so that the first screen of a large text is there at once."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from local.highlighting import PART_CHARACTERS, Piece, confidence_text, parts, pieces
from local.results import Result, Shown
from shared.ner.model import Entity, Problem

DOCUMENTS_A_PART: Final = 50
RAW_CHARACTERS: Final = 50_000
"""Of an outcome that is shown as it is; all of it can be downloaded."""
ENTITIES_A_PART: Final = 2_000
"""Entities that a part shows; a text of its length rarely has half as many."""
ENTITIES_A_PIECE: Final = 5
"""Entities that the page shows of those that cover the same characters."""
MAX_PROBLEMS: Final = 100
"""Problems that the page shows of a file, and of each of its documents."""
NAME_CHARACTERS: Final = 200
"""Characters that the page shows of a category."""
KEPT: Final = 4
"""Results that stay in memory: whoever reads on in one needs its other parts."""


@dataclass(frozen=True)
class Stretch:
    """What a part shows of one document: between two places, in code points."""

    document: Shown
    start: int
    end: int


@dataclass(frozen=True)
class Painted:
    """A stretch with its entities, or with as many of them as the page shows.

    Attributes:
        stretch: the stretch.
        entities: the entities in it, in the order of the text.
        pieces: its text with these entities.
        is_cut: whether the page shows fewer entities than there are.
    """

    stretch: Stretch
    entities: list[Entity]
    pieces: list[Piece]
    is_cut: bool


class Reading:
    """A result that somebody reads."""

    def __init__(self, result: Result) -> None:
        """Cut it into parts."""
        self.result = result
        self.parts: Sequence[Sequence[Stretch]] = list(cut(result.documents))

    def painted(self, number: int) -> list[Painted]:
        """Return a part with its entities; of a part that does not exist, nothing."""
        left = ENTITIES_A_PART
        found = []
        for stretch in self.parts[number] if number < len(self.parts) else ():
            one = paint(stretch, left)
            left -= len(one.entities)
            found.append(one)
        return found

    @cached_property
    def categories(self) -> Counter[str]:
        """How often each category was found."""
        return Counter(entity.category for document in self.result.documents for entity in document.entities)

    @property
    def is_of_many(self) -> bool:
        """Whether its documents have to be named."""
        return len(self.result.documents) > 1

    @property
    def general_problems(self) -> list[Problem]:
        """What went wrong, but not with a document that is shown."""
        shown = {document.id for document in self.result.documents}
        return [problem for problem in self.result.outcome.errors if problem.document_id not in shown]

    @property
    def raw(self) -> str:
        """The outcome as it is, or its beginning."""
        return self.result.raw[:RAW_CHARACTERS].decode("utf-8", "ignore")

    @property
    def is_raw_cut(self) -> bool:
        """Whether the outcome is longer than what is shown of it."""
        return len(self.result.raw) > RAW_CHARACTERS


def paint(stretch: Stretch, most: int) -> Painted:
    """Return a stretch with at most the given number of its entities."""
    document, start, end = stretch.document, stretch.start, stretch.end
    if document.text is None:
        return Painted(stretch, document.entities[:most], [], len(document.entities) > most)
    within = [
        entity
        for entity in document.entities
        if entity.length > 0 and entity.offset < end and entity.offset + entity.length > start
    ]
    entities = sorted(within, key=lambda entity: (entity.offset, -entity.length))[:most]
    found = []
    is_cut = len(entities) < len(within)
    for piece in pieces(document.text, entities, start, end):
        is_cut |= len(piece.entities) > ENTITIES_A_PIECE
        found.append(Piece(piece.text, piece.entities[:ENTITIES_A_PIECE], piece.is_first))
    return Painted(stretch, entities, found, is_cut)


def cut(documents: Sequence[Shown]) -> Iterator[list[Stretch]]:
    """Yield what to show at a time: a stretch of a long document, or some short documents."""
    part: list[Stretch] = []
    size = 0
    for document in documents:
        for start, end in parts(document.text or "") if document.text else [(0, 0)]:
            if part and (size + end - start > PART_CHARACTERS or len(part) >= DOCUMENTS_A_PART):
                yield part
                part, size = [], 0
            part.append(Stretch(document, start, end))
            size += end - start
    if part:
        yield part


def classes(entities: Sequence[Entity], colours: dict[str, int]) -> str:
    """Return the colour of a piece, as the names of its style."""
    return f"c{colours.get(entities[0].category, 0)}" + (" several" if len(entities) > 1 else "")


def described(entities: Sequence[Entity]) -> str:
    """Return the entities of a piece in words, with their confidence."""
    return "; ".join(
        f"{short(entity.category)}{f' / {short(entity.subcategory)}' if entity.subcategory else ''}"
        f"{confidence_text(entity)}"
        for entity in entities
    )


def short(text: str, characters: int = NAME_CHARACTERS) -> str:
    """Return a text, or its beginning if it has more than the given number of characters."""
    return text if len(text) <= characters else f"{text[:characters]} …"
