"""`run` shows the app once on some files, `start` keeps it up, `drop` uploads to it."""

import errno
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Final

import typer

from local import stack
from local.account import Account, chosen_values, open_account
from local.app_settings import local_values, wants_ner_emulator, wants_storage_emulator
from local.children import ChildError
from local.commands.common import (
    Labels,
    RunningApp,
    announced,
    running_app,
    sentences_for_errors,
)
from local.files import MARKERS, SAMPLES, FilesError, Skipped, blob_names, sentences
from local.paths import AZURITE_DATA, LOGS, RESULTS, shown
from local.private_files import open_private
from local.results import read_result
from local.show_result import View, show_result
from local.show_way import FileProgress, Reasons
from local.storage_emulator import DataInUseError, is_azurite
from local.terminal import complain, console, say
from local.watch import Dropped, upload, watch
from shared.outcome import OutcomeStatus
from shared.settings import Settings

MOST_CHARACTERS: Final = 4_000
"""Of a text that is shown at the end of `run` and `drop`."""

Files = Annotated[list[Path] | None, typer.Argument(help="Files or folders to drop. Default: the sample files.")]
Seconds = Annotated[float, typer.Option(help="Stop waiting after this many seconds.")]

Wait = Annotated[bool, typer.Option(help="Wait for the outcomes and show the entities.")]


def run(files: Files = None, *, seconds: Seconds = 300.0, labels: Labels = None) -> None:
    """Start the app on this machine, drop files, show their entities and stop the app."""
    with sentences_for_errors():
        named, skipped = names_of(files)
        values = local_values(os.environ)
        say_what_starts(values)
        with stack.running(values, data=None, labels=labels, logs=LOGS / "run") as running:
            for note in running.notes:
                say(console, note)
            dropped = drop_and_follow(running.values, named, skipped, running.ner_emulator, seconds, running=running)
    raise typer.Exit(exit_code(dropped, skipped))


def start(*, labels: Labels = None) -> None:
    """Start the app and its page on this machine and keep them running until Ctrl-C."""
    with sentences_for_errors():
        values = local_values(os.environ)
        if already_running(labels):
            return
        say_what_starts(values)
        try:
            with stack.running(values, data=AZURITE_DATA, labels=labels, logs=LOGS / "start", with_page=True) as up:
                app = RunningApp(dict(up.values), up.ner_emulator, up.page or "", os.getpid())
                # From here on, Ctrl-C is how it is meant to end.
                with announced(app), suppress(KeyboardInterrupt):
                    describe(up, emulated=wants_storage_emulator(values))
                    while True:
                        up.check()
                        time.sleep(1.0)
        except DataInUseError:
            # Two were started at the same time.
            if already_running(labels):
                return
            raise
        console.print("Stopped.")


def say_what_starts(values: Mapping[str, str]) -> None:
    """Say what is being started, and where the entities come from if that is charged for."""
    emulated = wants_ner_emulator(values)
    parts = ["storage"] * wants_storage_emulator(values) + ["the NER emulator"] * emulated
    started = f"Starting {', '.join(parts)} and the host ..." if parts else "Starting the host ..."
    say(console, started)
    if not emulated:
        say(console, f"Entities come from {values['NER_ENDPOINT']}, which charges for them.")


def already_running(labels: Path | None) -> bool:
    """Return whether the app of this clone is up, and say where.

    Raises:
        ChildError: it is, but other labels were asked for.
    """
    app = running_app()
    if app is None:
        return False
    if labels is not None:
        raise ChildError(f"The app is already running at {app.page}: stop it there (Ctrl-C) before you change labels.")
    say(console, f"Already running at {app.page}")
    return True


def drop(files: Files = None, *, wait: Wait = True, seconds: Seconds = 300.0) -> None:
    """Upload files, show their progress and then their entities.

    The storage account is the one that NER_STORAGE names in the environment,
    else that of 'make start' while it runs, else the one in
    local.settings.json.

    Examples:

      ner drop report.txt letters/

      ner drop letters/ --no-wait
    """
    with sentences_for_errors():
        named, skipped = names_of(files)
        running = running_app()
        values = chosen_values(os.environ, running.values if running else None)
        settings = Settings.from_environ(values)
        if is_azurite(settings.storage.connection_string):
            stack.create_containers_and_queues(settings)
        emulator = running.ner_emulator if running and values == running.values else None
        dropped = drop_and_follow(values, named, skipped, emulator, seconds if wait else 0.0)
    raise typer.Exit(exit_code(dropped if wait else [], skipped))


def names_of(files: list[Path] | None) -> tuple[dict[str, Path], Skipped]:
    """Return what to upload, by blob name, and what not.

    Raises:
        FilesError: nothing is left to upload, or the files cannot be dropped as they were named.
    """
    skipped: Skipped = {}
    named = blob_names(files or sorted(SAMPLES.iterdir()), skipped)
    if not named:
        raise FilesError("\n".join([*sentences(skipped), "There is nothing to upload."]))
    return named, skipped


def describe(running: stack.Stack, *, emulated: bool) -> None:
    """Say where to drop files and where outcomes appear."""
    settings = running.settings
    lines = [
        *running.notes,
        f"The page: {running.page}",
        f"Drop files on it, or into the container '{settings.input_container}'.",
        f"Outcomes appear in the container '{settings.results_container}'.",
        "From another terminal:  .venv/bin/ner drop FILE ...",
    ]
    if emulated:
        lines += ["Connection string for Storage Explorer or az storage:", f"  {settings.storage.connection_string}"]
    lines += [f"Logs: {shown(LOGS)}/", "Press Ctrl-C to stop everything. Files and outcomes are kept."]
    for line in lines:
        say(console, line)


def drop_and_follow(
    values: Mapping[str, str],
    files: dict[str, Path],
    skipped: Skipped,
    ner_emulator: str | None,
    seconds: float,
    *,
    running: stack.Stack | None = None,
) -> list[Dropped]:
    """Upload the files, show them on their way, then their entities."""
    with open_account(values) as account:
        dropped = upload(account.blobs, account.settings, files, skipped)
        reasons = Reasons(console)
        with FileProgress(console, dropped) as progress:
            progress.update(dropped)
            for _ in watch(account.blobs, account.settings, dropped, ner_emulator, seconds):
                progress.update(dropped)
                if running is not None:
                    running.check()
                    reasons.show_new(running.host.log)
        for file in dropped:
            if file.outcome is not None:
                show_dropped(account, file.name)
    return dropped


def show_dropped(account: Account, name: str) -> None:
    """Show a file that has ended, and where its outcome is; keep a copy of that in .local/results."""
    result = read_result(account, name)
    show_result(console, account, result, View(most_characters=MOST_CHARACTERS))
    say(console, f"outcome: {account.settings.results_container}/{result.blob}")
    copy = RESULTS / result.blob
    try:
        if not copy.resolve().is_relative_to(RESULTS.resolve()):
            raise PermissionError(errno.EPERM, "it would be outside of that folder")
        copy.parent.mkdir(parents=True, exist_ok=True)
        with open_private(copy) as file:
            file.write(result.raw)
    except OSError as error:
        # A blob's name may be longer than a file's, or a folder may have it already.
        say(console, f"copy:    none ({error.strerror})")
    else:
        say(console, f"copy:    {shown(copy)}")


def exit_code(dropped: list[Dropped], skipped: Skipped) -> int:
    """Say what is missing; return 0 if every file was uploaded and succeeded, else 1. Markers do not count."""
    waiting = [file.name for file in dropped if file.outcome is None]
    bad = [file.name for file in dropped if file.outcome and file.outcome.status is not OutcomeStatus.SUCCEEDED]
    for sentence in sentences(skipped):
        complain(sentence)
    if waiting:
        complain(f"No outcome in time for {', '.join(waiting)}. See the logs in {shown(LOGS)}/.")
    if bad:
        complain(f"Not succeeded: {', '.join(bad)}. See the errors in the outcome.")
    return 1 if waiting or bad or skipped.keys() - {MARKERS} else 0
