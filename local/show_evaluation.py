"""What `evaluate` prints: for a person a table with warnings and mistakes, for a program one JSON object."""

from collections.abc import Iterable
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from local.ner.advice import advices
from local.ner.evaluation import Evaluation, Kind
from local.ner.labels import LabelledDocument, Project, Span
from local.ner.mistakes import Fault, Mistake, mistakes
from local.ner.recogniser import Entity
from local.ner.scoring import Score
from local.printable import printable
from local.terminal import say

COLUMNS: Final = ("category", "training", "testing", "found", "precision", "recall", "F1")


def show_evaluation(console: Console, project: Project, evaluation: Evaluation, *, with_mistakes: bool) -> None:
    """Print a table of the scores, what may be wrong with the labels and, if asked for, each mistake."""
    say(console, split_text(evaluation))
    table = Table(title=Text(f"project {printable(project.name)}", style="bold"), title_justify="left")
    for number, column in enumerate(COLUMNS):
        table.add_column(column, justify="right" if number else "left", overflow="fold")
    for category in evaluation.categories:
        table.add_row(*cells(category.name, category.training_labels, category.score))
    table.add_section()
    table.add_row(*cells("all", evaluation.training_labels, evaluation.overall), style="bold")
    console.print(table)
    for advice in advices(project, evaluation):
        say(console, advice, style="yellow")
    if with_mistakes:
        show_mistakes(console, evaluation)


def split_text(evaluation: Evaluation) -> str:
    """Return in a sentence what was learnt and what was held out."""
    parts = evaluation.split
    how = "marked Test" if parts.kind is Kind.MANUAL else "drawn at random"
    return (
        f"Trained on {documents_text(parts.training)} in {evaluation.training_seconds:.1f} s, "
        f"tested on {documents_text(parts.testing)} ({how})."
    )


def documents_text(documents: tuple[LabelledDocument, ...]) -> str:
    """Return how many documents there are."""
    return "1 document" if len(documents) == 1 else f"{len(documents)} documents"


def cells(name: str, training_labels: int, score: Score) -> Iterable[Text]:
    """Return a row: fractions with two places, and a dash for what cannot be told."""
    yield Text(printable(name))
    yield from (Text(str(count)) for count in (training_labels, score.expected, score.found))
    for fraction in fractions(score).values():
        yield Text("-" if fraction is None else f"{fraction:.2f}")


def fractions(score: Score) -> dict[str, float | None]:
    """Return precision, recall and F1; None where nothing was found, or nothing was labelled."""
    return {
        "precision": score.precision if score.found else None,
        "recall": score.recall if score.expected else None,
        "f1": score.f1 if score.expected else None,
    }


def show_mistakes(console: Console, evaluation: Evaluation) -> None:
    """Print each mistake: where it is, what it is, and the words around it."""
    found = mistakes(evaluation.split.testing, evaluation.found)
    console.print()
    say(console, f"Mistakes: {len(found)}", style="bold")
    for mistake in found:
        say(console, f"{mistake.document.name}, line {mistake.line}: {mistake_text(mistake)}")
        say(console, f"    {mistake.context}", style="dim")


def mistake_text(mistake: Mistake) -> str:
    """Return what is wrong, in a few words."""
    label = quoted(mistake.document, mistake.label) if mistake.label else ""
    entity = quoted(mistake.document, mistake.entity) if mistake.entity else ""
    match mistake.fault:
        case Fault.MISSED:
            return f"missed {label}"
        case Fault.SPURIOUS:
            return f"found {entity}, which has no label"
        case _:
            return f"labelled {label}, found {entity}"


def quoted(document: LabelledDocument, place: Span | Entity) -> str:
    """Return a category and the text that has it."""
    return f"{place.category} '{document.text[place.offset : place.offset + place.length]}'"


def as_json(project: Project, evaluation: Evaluation, *, percentage: int, seed: int, with_mistakes: bool) -> bytes:
    """Return the evaluation as a JSON object in UTF-8; offsets and lengths count code points.

    Args:
        project: what was evaluated.
        evaluation: the result.
        percentage: what the split was asked to hold out, told where it was by percentage.
        seed: the split's seed, told likewise.
        with_mistakes: whether the object has them, too.
    """
    parts = evaluation.split
    split: dict[str, Any] = {
        "kind": parts.kind,
        "trainingDocuments": [document.name for document in parts.training],
        "testingDocuments": [document.name for document in parts.testing],
    }
    if parts.kind is Kind.PERCENTAGE:
        split |= {"testingSplitPercentage": percentage, "seed": seed}
    told: dict[str, Any] = {
        "project": project.name,
        "split": split,
        "overall": result(evaluation.training_labels, evaluation.overall),
        "categories": {
            category.name: result(category.training_labels, category.score) for category in evaluation.categories
        },
        "warnings": advices(project, evaluation),
    }
    if with_mistakes:
        told["mistakes"] = [mistake_object(mistake) for mistake in mistakes(parts.testing, evaluation.found)]
    return msgspec.json.format(msgspec.json.encode(told), indent=2)


def result(training_labels: int, score: Score) -> dict[str, Any]:
    """Return a score's counts and fractions."""
    return {
        "trainingLabels": training_labels,
        "testingLabels": score.expected,
        "found": score.found,
        "correct": score.correct,
        **fractions(score),
    }


def mistake_object(mistake: Mistake) -> dict[str, Any]:
    """Return a mistake with both sides, null where there is none."""
    return {
        "kind": mistake.fault,
        "document": mistake.document.name,
        "line": mistake.line,
        "label": place_object(mistake.document, mistake.label),
        "entity": place_object(mistake.document, mistake.entity),
        "context": mistake.context,
    }


def place_object(document: LabelledDocument, place: Span | Entity | None) -> dict[str, Any] | None:
    """Return a label or an entity as the API writes one."""
    if place is None:
        return None
    told: dict[str, Any] = {
        "text": document.text[place.offset : place.offset + place.length],
        "category": place.category,
        "offset": place.offset,
        "length": place.length,
    }
    return told | ({"confidenceScore": place.confidence_score} if isinstance(place, Entity) else {})
