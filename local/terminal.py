"""The only writer to the terminal: no other module prints, so that no command shows what would steer a terminal."""

import json
import logging
import os
import sys
import traceback
from collections.abc import Iterable
from io import TextIOWrapper
from types import TracebackType
from typing import Any, Final, TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape as escape_markup
from rich.segment import Segment
from typer import rich_utils

from local.json_errors import JSON_ERRORS
from local.printable import harmless, harmless_json, printable


class Terminal(Console):
    """A console that writes out what would steer a terminal, wherever the text comes from."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render as usual; only Rich's own control codes and styles reach the terminal."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else harmless(text), style, control)


class OneLine(logging.Formatter):
    """Writes what libraries log as a line without anything that would steer a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return printable(super().format(record))


class HarmlessOutput(TextIOWrapper):
    """A stream to a terminal on which data is printed, not text with styles."""

    def __init__(self, number: int, *, is_json: bool) -> None:
        output = open(number, "wb", closefd=False)  # noqa: SIM115  # closed with this stream
        super().__init__(output, encoding="utf-8", errors="replace", newline="")
        self.clean = harmless_json if is_json else harmless

    def write(self, text: str, /) -> int:
        """Write a text without anything that would steer a terminal."""
        return super().write(self.clean(text))


console: Final = Terminal(soft_wrap=False)
errors: Final = Terminal(stderr=True)


def prepare() -> None:
    """Prepare the streams of this process; call this before the first output."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal or a pipe whose encoding lacks a letter gets a question mark instead of a traceback.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    # Typer quotes arguments in its errors, and a pattern of the shell makes arguments of files' names.
    rich_utils.Console = Terminal  # type: ignore[attr-defined]
    # Errors that no command expects quote names, too.
    sys.excepthook = complain_of_unexpected
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(OneLine())


def say(to: Console, text: str, style: str = "") -> None:
    """Print a line as it is, however long."""
    to.print(printable(text), style=style, markup=False, highlight=False, emoji=False, soft_wrap=True)


def complain(message: str) -> None:
    """Print an error; each of its lines may name a file whose name is not UTF-8."""
    for line in message.split("\n"):
        errors.print(f"[red]{escape_markup(printable(line))}[/red]", highlight=False, emoji=False, soft_wrap=True)


def complain_of_unexpected(_kind: type[BaseException], error: BaseException, _where: TracebackType | None) -> None:
    """Print the traceback of an exception that ends this process."""
    complain("".join(traceback.format_exception(error)).rstrip())


def tell(line: str | bytes) -> None:
    """Print a line for a program or a log immediately: unchanged, except on a terminal."""
    data = line.encode("utf-8", "backslashreplace") if isinstance(line, str) else line
    if sys.stdout.isatty():
        text = data.decode(errors="replace")
        data = (harmless_json(text) if is_json(text) else harmless(text)).encode()
    sys.stdout.flush()
    binary = getattr(sys.stdout, "buffer", None)
    if binary is None:
        sys.stdout.write(data.decode() + "\n")
    else:
        binary.write(data + b"\n")
    sys.stdout.flush()


def is_json(text: str) -> bool:
    """Return whether a text is a JSON object."""
    try:
        return isinstance(json.loads(text), dict)
    except JSON_ERRORS:
        return False


def data_output(*, is_json: bool) -> TextIO:
    """Return standard output for data: UTF-8, lines end as they are written; unchanged, except on a terminal."""
    number: Any = sys.stdout.fileno()
    if os.isatty(number):
        return HarmlessOutput(number, is_json=is_json)
    return open(number, "w", encoding="utf-8", newline="", closefd=False)
