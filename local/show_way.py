"""What a person sees of dropped files on their way: a bar for each in a terminal, elsewhere a line for each step."""

import re
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from local.listing import State
from local.printable import printable
from local.show_state import entities_text
from local.terminal import say
from local.watch import Dropped, Stage

STAGES: Final = list(Stage)


def stage_text(file: Dropped) -> str:
    """Return where a file stands, in a few words."""
    if file.outcome is None:
        return file.stage.value
    count = sum(len(document.entities) for document in file.outcome.documents)
    return f"done: {State(file.outcome.status.value).words}, {entities_text(count)}"


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
            file.name: self.bars.add_task("", total=len(STAGES) - 1, file=escape(printable(file.name)))
            for file in dropped
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
                say(self.console, f"  {file.name}: {text}")


WAITS: Final = re.compile(
    r"'.*(?P<reason>(?:retrying later, because a service call failed|waiting until the app settings are fixed): .*)"
)
"""A line of the host's log about a file that waits, as shared/pipeline/calling.py writes it."""


class Reasons:
    """Why files wait, as the host's log says: each reason is shown once."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.read_bytes = 0
        self.shown: set[str] = set()

    def show_new(self, log: Path) -> None:
        """Print the reasons that the log has got since the last time."""
        with log.open("rb") as file:
            file.seek(self.read_bytes)
            data = file.read()
        lines = data[: data.rfind(b"\n") + 1]
        self.read_bytes += len(lines)
        for found in filter(None, map(WAITS.search, lines.decode(errors="replace").splitlines())):
            if found["reason"] not in self.shown:
                self.shown.add(found["reason"])
                say(self.console, f"  {found[0]}")
