"""A file's text in the terminal, with its entities in colours; elsewhere in brackets, as `[Zürich|city]`."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import Console
from rich.text import Text

from local.account import Account
from local.highlighting import confidence_text, parts, pieces
from local.listing import State
from local.printable import harmless, printable
from local.results import Result, Shown
from local.show_state import entities_text
from local.terminal import say
from shared.ner.model import Entity
from shared.outcome import OutcomeStatus

STATUS_COLOURS: Final = {
    OutcomeStatus.SUCCEEDED: "green",
    OutcomeStatus.PARTIALLY_SUCCEEDED: "yellow",
    OutcomeStatus.FAILED: "red",
}
BACKGROUNDS: Final = (
    *("#ffd6a5", "#bde0fe", "#caffbf", "#ffc8dd", "#e0c3fc", "#fdffb6"),
    *("#9bf6e1", "#ffadad", "#d8e2dc", "#f1c0e8", "#c5dedd", "#e9d8a6"),
)
"""Light enough for black text; a thirteenth category looks like the first."""
FEW_BACKGROUNDS: Final = (
    *("bright_yellow", "bright_cyan", "bright_green", "bright_magenta", "bright_white", "bright_red"),
    *("yellow", "cyan", "green", "magenta", "white", "red"),
)
"""Where a terminal has sixteen colours."""


@dataclass(frozen=True)
class View:
    """What is to be seen of a result.

    Attributes:
        categories: none means all.
        least_confidence: from 0 to 1.
        most_characters: of a document that is longer only the beginning is shown; None shows all.
    """

    categories: frozenset[str] = frozenset()
    least_confidence: float = 0.0
    most_characters: int | None = None

    def admits(self, entity: Entity) -> bool:
        """Tell whether an entity is to be seen."""
        is_wanted = not self.categories or entity.category in self.categories
        return is_wanted and (entity.confidence_score or 0.0) >= self.least_confidence


def styles(categories: Iterable[str], backgrounds: Sequence[str] = BACKGROUNDS) -> dict[str, str]:
    """Return a colour for each category."""
    names = sorted(set(categories))
    return {name: f"black on {backgrounds[number % len(backgrounds)]}" for number, name in enumerate(names)}


def show_result(console: Console, account: Account, result: Result, view: View) -> None:
    """Print a file's state and cost, its text with the entities, and what went wrong."""
    outcome = result.outcome
    found = [entity for document in outcome.documents for entity in document.entities if view.admits(entity)]
    counts = Counter(entity.category for entity in found)
    backgrounds = BACKGROUNDS if console.color_system in ("256", "truecolor") else FEW_BACKGROUNDS
    coloured = styles((entity.category for each in outcome.documents for entity in each.entities), backgrounds)
    head = Text(printable(outcome.source.name), style="bold")
    head.append(f"  {State(outcome.status.value).words}", style=f"not bold {STATUS_COLOURS[outcome.status]}")
    head.append(
        f"  {entities_text(len(found))}, {account.cost_text(outcome.statistics.transactions_count)}", "not bold dim"
    )
    console.print()
    console.print(head, soft_wrap=True)
    if counts:
        console.print(legend(counts, coloured))
    several = len(result.documents) > 1
    for document in result.documents:
        show_document(console, document, view, coloured, name_it=several)
    if result.missing and outcome.documents:
        say(console, result.missing, style="yellow")
    for problem in outcome.errors:
        about = f" (document {problem.document_id})" if problem.document_id else ""
        line = Text(printable(problem.code), style="red").append(printable(f": {problem.message}{about}"), "default")
        console.print(line, soft_wrap=True)


def legend(counts: Counter[str], coloured: dict[str, str]) -> Text:
    """Return the categories with their colours and how often each was found, the most frequent first."""
    line = Text()
    for category, count in counts.most_common():
        line.append(f" {printable(category)} ", coloured[category]).append(f" {count}  ")
    return line


def show_document(console: Console, document: Shown, view: View, coloured: dict[str, str], *, name_it: bool) -> None:
    """Print a document's text, or without a text its entities, one in a line."""
    found = [entity for entity in document.entities if view.admits(entity)]
    console.print()
    if name_it:
        console.print(Text(printable(document.id), style="bold dim"), soft_wrap=True)
    if document.text is None:
        for entity in found:
            say(console, f"{entity.offset}: [{entity.text}|{entity.category}]{confidence_text(entity)}")
        return
    end = len(document.text)
    if view.most_characters is not None:
        end = next((end for _, end in parts(document.text, view.most_characters)), 0)
    if console.is_terminal:
        console.print(painted(document.text, found, end, coloured), soft_wrap=True)
    else:
        console.print(bracketed(document.text, found, end), markup=False, highlight=False, emoji=False, soft_wrap=True)
    if end < len(document.text):
        say(console, f"... and {len(document.text) - end:,} more characters", style="dim")


def painted(text: str, entities: Sequence[Entity], end: int, coloured: dict[str, str]) -> Text:
    """Return a text in colours: where entities overlap, that of the one which begins first, and underlined."""
    line = Text()
    for piece in pieces(text, entities, 0, end):
        if piece.entities:
            style = coloured[piece.entities[0].category] + (" underline" if len(piece.entities) > 1 else "")
            line.append(plain(piece.text), style)
        else:
            line.append(plain(piece.text))
    return line


def bracketed(text: str, entities: Sequence[Entity], end: int) -> str:
    """Return a text with its entities in brackets; those that overlap are named together."""
    shown = []
    for piece in pieces(text, entities, 0, end):
        names = "+".join(printable(entity.category) for entity in piece.entities)
        shown.append(f"[{plain(piece.text)}|{names}]" if names else plain(piece.text))
    return "".join(shown)


def plain(text: str) -> str:
    """Return a text as a terminal may show it: lines and tabs as they are, what would steer it written out."""
    return harmless(text.replace("\r\n", "\n"))
