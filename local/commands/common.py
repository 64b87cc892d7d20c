"""What the commands share: the terminal, sentences for errors, and the app that `start` keeps up."""

import errno
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import NamedTemporaryFile
from types import FrameType
from typing import Annotated, Any, Final, NoReturn
from urllib.parse import urlsplit

import msgspec
import typer
from azure.core.exceptions import AzureError

from local.account import PRICE
from local.app_settings import AppSettingsError
from local.children import ChildError, accepts_connections
from local.choosing import parse_since
from local.files import FilesError
from local.install import InstallError
from local.json_errors import JSON_ERRORS
from local.ner.labels import LabelsError
from local.paths import RUNNING
from local.results import ResultError
from local.terminal import complain, console
from shared.names import RefusedNameError, why_refused
from shared.settings import SettingsError

EXPECTED_ERRORS: Final = (
    AppSettingsError,
    ChildError,
    FilesError,
    InstallError,
    LabelsError,
    RefusedNameError,
    ResultError,
    SettingsError,
)

Since = Annotated[
    datetime | None,
    typer.Option(
        parser=parse_since,
        metavar="TIME",
        help="Ignore everything before TIME: 30m, 2h or 3d (ago), or a UTC time such as 2026-11-24T10:00.",
    ),
]
Labels = Annotated[
    Path | None,
    typer.Option(
        help="Labels file exported from Microsoft Foundry (until March 2027 also Language Studio), with its texts next "
        "to it. Default: the sample project."
    ),
]


def blob_names_only(value: Any) -> Any:
    """Return a name, or names, as they were given.

    Raises:
        typer.BadParameter: one is not UTF-8, so no blob has it, or the app does not accept it.
    """
    for name in [value] if isinstance(value, str) else value or ():
        try:
            name.encode()
        except UnicodeEncodeError:
            shown = name.encode("utf-8", "backslashreplace").decode()
            raise typer.BadParameter(f"{shown} is not UTF-8, so no file in storage has this name") from None
        if why := why_refused(name):
            raise typer.BadParameter(f"{name!r}: {why}")
    return value


def flag(name: str, meaning: str) -> Any:
    """Return an option that is off unless it is named."""
    return typer.Option(name, help=meaning)


class RunningApp(msgspec.Struct):
    """The content of RUNNING: the app settings, the addresses of NER emulator and page, and the process of `start`."""

    values: dict[str, str]
    ner_emulator: str | None
    page: str
    pid: int

    def is_up(self) -> bool:
        """Return whether the process is there and its page takes connections."""
        try:
            os.kill(self.pid, 0)
            return accepts_connections(urlsplit(self.page).port or 0)
        except OSError:
            return False  # it ended, and its number may belong to another user's process by now
        except (OverflowError, ValueError):
            return False  # the file is damaged: there is no such process or port


def read_running() -> RunningApp | None:
    """Return the content of RUNNING; None if it is missing, or not as this version writes it."""
    try:
        return msgspec.json.decode(RUNNING.read_bytes(), type=RunningApp)
    except (OSError, *JSON_ERRORS):
        return None


def running_app() -> RunningApp | None:
    """Return what `start` keeps up, or None; a `start` that was killed left its file behind."""
    running = read_running()
    if running is None or not running.is_up():
        return None
    if PRICE in os.environ:
        # What a record costs is for whoever asks to say.
        running.values[PRICE] = os.environ[PRICE]
    return running


@contextmanager
def announced(app: RunningApp) -> Iterator[None]:
    """Keep RUNNING there for the commands in other terminals until the block ends."""
    RUNNING.parent.mkdir(parents=True, exist_ok=True)
    # Written beside and renamed, so that no command reads half of it. Only its owner may read it: it holds keys.
    with NamedTemporaryFile(dir=RUNNING.parent, prefix="running-", delete=False) as file:
        file.write(msgspec.json.encode(app))
    Path(file.name).replace(RUNNING)
    try:
        yield
    finally:
        left = read_running()
        if left is not None and left.pid == app.pid:
            RUNNING.unlink(missing_ok=True)


def running_values() -> dict[str, str] | None:
    """Return the settings of what `start` keeps up, or None."""
    running = running_app()
    return running.values if running else None


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
        complain(f"The storage account cannot be used: {error}\nCheck NER_STORAGE, the network and your roles.")
        raise typer.Exit(1) from None
    except OSError as error:
        if error.errno == errno.EPIPE:  # the reader of the output has enough
            raise
        where = f"{error.filename} cannot be used" if error.filename else "A file cannot be read or written"
        complain(f"{where}: {error.strerror or error}. Check its permissions and the space on its disk.")
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        console.print("Stopped.")
        raise typer.Exit(130) from None
