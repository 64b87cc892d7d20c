"""What all commands share: where they print, and how what goes wrong is told."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final, NoReturn

import typer
from azure.core.exceptions import AzureError
from rich.console import Console
from rich.markup import escape

from local.app_settings import AppSettingsError
from local.children import ChildError
from local.files import FilesError
from local.install import InstallError
from local.ner.labels import LabelsError
from shared.settings import SettingsError

EXPECTED_ERRORS: Final = (AppSettingsError, ChildError, FilesError, InstallError, LabelsError, SettingsError)

console = Console(soft_wrap=False)


def complain(message: str) -> None:
    """Print an error."""
    Console(stderr=True).print(f"[red]{escape(message)}[/red]", highlight=False, soft_wrap=True)


@contextmanager
def sentences_for_errors() -> Iterator[None]:
    """Turn what can go wrong on a user's machine into a sentence and exit code 1, and Ctrl-C into a quiet end."""

    def interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGHUP, interrupt)
    try:
        yield
    except EXPECTED_ERRORS as error:
        complain(str(error))
        raise typer.Exit(1) from None
    except AzureError as error:
        complain(f"The storage account does not answer as it should: {error}")
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        console.print("Stopped.")
        raise typer.Exit(130) from None
