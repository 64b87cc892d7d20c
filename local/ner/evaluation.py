"""How good is a recogniser on documents that it has not learnt from? Holds some of a project out, learns the rest."""

import hashlib
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from local.ner.labels import LabelledDocument, LabelsError, Project
from local.ner.recogniser import Entity, Recogniser, train, training_documents
from local.ner.scoring import Score, score

USUAL_PERCENTAGE: Final = 20
"""What the service recommends to hold out."""


class Kind(StrEnum):
    """How documents were chosen to be held out, in the service's words (`evaluationOptions.kind`)."""

    MANUAL = "manual"
    PERCENTAGE = "percentage"


@dataclass(frozen=True, slots=True)
class Split:
    """The labelled documents of a project: those to learn from, and those that are held out to test with."""

    kind: Kind
    training: tuple[LabelledDocument, ...]
    testing: tuple[LabelledDocument, ...]


@dataclass(frozen=True, slots=True)
class CategoryResult:
    """What became of one category: how many labels there were to learn from, and its score on what was held out."""

    name: str
    training_labels: int
    score: Score


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The result: all entities together (micro average), each category in the project's order, and what was found.

    `found` holds for each document of `split.testing` its entities; the times are in seconds.
    """

    split: Split
    overall: Score
    categories: tuple[CategoryResult, ...]
    found: tuple[tuple[Entity, ...], ...]
    training_seconds: float
    recognising_seconds: float

    @property
    def training_labels(self) -> int:
        """The number of labels in the documents to learn from."""
        return sum(category.training_labels for category in self.categories)


def split(project: Project, percentage: int | None = None, seed: int = 0) -> Split:
    """Choose what is held out, as the service does; a document without any label is in neither part.

    Args:
        project: the labelled project.
        percentage: how many of 100 documents for training to hold out, by chance. None holds out those whose
            dataset is Test or, where no such document has a label, 20 of 100.
        seed: another one makes another choice; the same one always the same.

    Raises:
        LabelsError: there are too few labelled documents to learn from some and hold out others.
    """
    learnt = training_documents(project)
    kept = [document for document in project.documents if document.dataset == "Test" and document.spans]
    if kept and percentage is None:
        return Split(Kind.MANUAL, tuple(learnt), tuple(kept))
    if len(learnt) < 2:
        raise LabelsError(
            f"project {project.name}: only one document of the dataset Train has labels, so none can be held out. "
            "Label more documents."
        )
    drawn = sorted(learnt, key=lambda document: lot(document.name, seed))
    share = USUAL_PERCENTAGE if percentage is None else percentage
    count = min(max(round(len(learnt) * share / 100), 1), len(learnt) - 1)
    held_out = {document.name for document in drawn[:count]}
    return Split(
        Kind.PERCENTAGE,
        tuple(document for document in learnt if document.name not in held_out),
        tuple(document for document in learnt if document.name in held_out),
    )


def lot(name: str, seed: int) -> bytes:
    """Return what a document draws: by its name alone, so that another document in the project changes little."""
    return hashlib.sha256(f"{seed}:{name}".encode("utf-8", "surrogatepass")).digest()


def evaluate(parts: Split, categories: Iterable[str], model: Path) -> Evaluation:
    """Train on one part, writing the model, and score on the other.

    Args:
        parts: what to learn and what to test with.
        categories: the project's categories, in the order that the result shall have.
        model: the file to write the model to.
    """
    begun = time.perf_counter()
    train(parts.training, model)
    trained = time.perf_counter()
    recogniser = Recogniser(model)
    found = tuple(tuple(recogniser.recognise(document.text)) for document in parts.testing)
    done = time.perf_counter()
    scores = score([document.spans for document in parts.testing], found)
    learnt = labels_by_category(parts.training)
    results = tuple(
        CategoryResult(name, learnt[name], scores.categories.get(name, Score(0, 0, 0))) for name in categories
    )
    return Evaluation(parts, scores.overall, results, found, trained - begun, done - trained)


def labels_by_category(documents: Sequence[LabelledDocument]) -> Counter[str]:
    """Return how many labels of each category the documents have."""
    return Counter(span.category for document in documents for span in document.spans)
