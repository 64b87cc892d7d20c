"""How well found entities agree with expected ones: precision, recall, F1, counting exact matches only."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


class Labelled(Protocol):
    """What has a category and a place: a label of a project, or an entity that was found."""

    @property
    def category(self) -> str:
        """The category's name."""

    @property
    def offset(self) -> int:
        """First code point."""

    @property
    def length(self) -> int:
        """Number of code points."""


@dataclass(frozen=True, slots=True)
class Score:
    """Counts of entities; the fractions are 0 where there is nothing to divide by."""

    expected: int
    found: int
    correct: int

    @property
    def precision(self) -> float:
        """The share of what was found that is right, 0..1."""
        return self.correct / self.found if self.found else 0.0

    @property
    def recall(self) -> float:
        """The share of what was expected that was found, 0..1."""
        return self.correct / self.expected if self.expected else 0.0

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall, 0..1."""
        return 2 * self.correct / (self.expected + self.found) if self.expected + self.found else 0.0


@dataclass(frozen=True, slots=True)
class Scores:
    """The score of all entities together (micro average) and of each category, by its name."""

    overall: Score
    categories: Mapping[str, Score]


def score(expected: Sequence[Iterable[Labelled]], found: Sequence[Iterable[Labelled]]) -> Scores:
    """Compare entities: one is correct if category, offset and length are those of an expected one.

    Args:
        expected: for each text, its labels.
        found: for each text, in the same order, the entities that were recognised.

    Raises:
        ValueError: the two are not of one length.
    """
    wanted, given, correct = Counter[str](), Counter[str](), Counter[str]()
    for labels, entities in zip(expected, found, strict=True):
        places = {(label.category, label.offset, label.length) for label in labels}
        answers = {(entity.category, entity.offset, entity.length) for entity in entities}
        wanted.update(category for category, _, _ in places)
        given.update(category for category, _, _ in answers)
        correct.update(category for category, _, _ in places & answers)
    return Scores(
        Score(wanted.total(), given.total(), correct.total()),
        {name: Score(wanted[name], given[name], correct[name]) for name in sorted(wanted | given)},
    )
