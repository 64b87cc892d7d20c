"""What a recogniser got wrong, one by one: what it missed, made up, took for something else, or cut differently."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from local.ner.labels import LabelledDocument, Span
from local.ner.recogniser import Entity

CONTEXT: Final = 40
"""Code points to show on each side."""


class Fault(StrEnum):
    """What is wrong."""

    MISSED = "missed"
    SPURIOUS = "spurious"
    CONFUSED = "confused"
    BOUNDS = "bounds"


@dataclass(frozen=True, slots=True)
class Mistake:
    """A label that was not found as it is, or an entity that is not labelled so; both where they overlap."""

    document: LabelledDocument
    label: Span | None
    entity: Entity | None

    @property
    def fault(self) -> Fault:
        """Missed or spurious where there is only one of the two, else what they differ in."""
        if self.entity is None:
            return Fault.MISSED
        if self.label is None:
            return Fault.SPURIOUS
        return Fault.BOUNDS if self.label.category == self.entity.category else Fault.CONFUSED

    @property
    def places(self) -> list[tuple[int, int]]:
        """First code point and end of the label and of the entity, as far as there are both."""
        return [(one.offset, one.offset + one.length) for one in (self.label, self.entity) if one is not None]

    @property
    def line(self) -> int:
        """The line of the document in which it begins, from 1."""
        return self.document.text.count("\n", 0, min(start for start, _ in self.places)) + 1

    @property
    def context(self) -> str:
        """The words around it, on one line, with an ellipsis where the text goes on."""
        text = self.document.text
        start = min(start for start, _ in self.places) - CONTEXT
        end = max(end for _, end in self.places) + CONTEXT
        words = " ".join(text[max(start, 0) : end].split())
        return f"{'…' * (start > 0)}{words}{'…' * (end < len(text))}"


def mistakes(documents: Iterable[LabelledDocument], found: Iterable[Sequence[Entity]]) -> list[Mistake]:
    """Return what is wrong with the entities found in documents, in the order of the texts."""
    return [
        mistake
        for document, entities in zip(documents, found, strict=True)
        for mistake in sorted(compare(document, entities), key=lambda mistake: min(mistake.places))
    ]


def compare(document: LabelledDocument, entities: Sequence[Entity]) -> Iterator[Mistake]:
    """Put each label that was not found beside the wrong entity that overlaps it most, if there is one."""
    expected = {(label.category, label.offset, label.length) for label in document.spans}
    answers = {(entity.category, entity.offset, entity.length) for entity in entities}
    wrong = [entity for entity in entities if (entity.category, entity.offset, entity.length) not in expected]
    for label in document.spans:
        if (label.category, label.offset, label.length) in answers:
            continue
        nearest = max(wrong, key=lambda entity: overlap(label, entity), default=None)
        if nearest is None or not overlap(label, nearest):
            yield Mistake(document, label, None)
        else:
            wrong.remove(nearest)
            yield Mistake(document, label, nearest)
    for entity in wrong:
        yield Mistake(document, None, entity)


def overlap(label: Span, entity: Entity) -> int:
    """Return how many code points the two share."""
    end = min(label.offset + label.length, entity.offset + entity.length)
    return max(end - max(label.offset, entity.offset), 0)
