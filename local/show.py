"""What a person sees: a progress bar for each file, the entities as a table."""

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from local.watch import Dropped, Stage
from shared.outcome import Outcome, OutcomeStatus

MOST_ROWS: Final = 25
STAGES: Final = list(Stage)
COLOURS: Final = {
    OutcomeStatus.SUCCEEDED: "green",
    OutcomeStatus.PARTIALLY_SUCCEEDED: "yellow",
    OutcomeStatus.FAILED: "red",
}


def stage_text(file: Dropped) -> str:
    """Return where a file stands, in a few words."""
    if file.outcome is None:
        return file.stage.value
    count = sum(len(document.entities) for document in file.outcome.documents)
    return f"done: {file.outcome.status.value}, {count} entities"


class FileProgress:
    """Shows each file's way: bars in a terminal, elsewhere a line for each step."""

    def __init__(self, console: Console, dropped: Iterable[Dropped]) -> None:
        self.console = console
        self.shown: dict[str, str] = {}
        columns = (
            TextColumn("{task.fields[file]}"),
            BarColumn(bar_width=24),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
        )
        self.bars = Progress(*columns, console=console, disable=not console.is_terminal)
        self.tasks: dict[str, TaskID] = {
            file.name: self.bars.add_task("", total=len(STAGES) - 1, file=escape(file.name)) for file in dropped
        }

    def __enter__(self) -> Self:
        """Begin to show."""
        self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave the bars as they are."""
        self.bars.stop()

    def update(self, dropped: Iterable[Dropped]) -> None:
        """Show what has changed."""
        for file in dropped:
            text = stage_text(file)
            if self.shown.get(file.name) == text:
                continue
            self.shown[file.name] = text
            completed = STAGES.index(file.stage)
            self.bars.update(self.tasks[file.name], completed=completed, description=escape(text))
            if not self.console.is_terminal:
                self.console.print(f"  {file.name}: {text}", markup=False, highlight=False)


def show_outcome(console: Console, outcome: Outcome, place: str, copy: Path) -> None:
    """Print a file's entities as a table, its errors, and where the outcome is."""
    colour = COLOURS[outcome.status]
    console.print()
    console.print(f"[bold]{escape(outcome.source.name)}[/bold]  [{colour}]{outcome.status.value}[/{colour}]")
    rows = [(document.id, entity) for document in outcome.documents for entity in document.entities]
    if rows:
        table = Table("text", "category", "confidence", "offset", "length")
        several = len(outcome.documents) > 1
        if several:
            table.add_column("document")
        for document_id, entity in rows[:MOST_ROWS]:
            cells = [
                escape(entity.text),
                escape(entity.category),
                f"{entity.confidence_score:.2f}",
                str(entity.offset),
                str(entity.length),
            ]
            table.add_row(*cells, *([escape(document_id)] if several else []))
        console.print(table)
        if len(rows) > MOST_ROWS:
            console.print(f"... and {len(rows) - MOST_ROWS} more")
    for problem in outcome.errors:
        about = f" (document {problem.document_id})" if problem.document_id else ""
        console.print(f"[red]{escape(problem.code)}[/red]: {escape(problem.message + about)}")
    console.print(f"outcome: {place}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"copy:    {copy}", markup=False, highlight=False, soft_wrap=True)
