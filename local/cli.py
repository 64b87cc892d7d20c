"""The command line: `run` shows the app once on some files, `start` keeps it up, `drop` uploads to it.

`evaluate` tells how good labels of your own are. For an operator, on any storage account: `status` shows what is on its
way or went wrong, `redrive` sends it again.
"""

import os
import time
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer
from azure.storage.blob import BlobServiceClient

from local import show, show_state, stack
from local.account import opened
from local.app_settings import local_values, wants_storage_emulator
from local.children import accepts_connections
from local.choosing import Choice, Kind, parse_since
from local.commands import labels as labels_command
from local.commands.common import complain, console, sentences_for_errors
from local.files import SAMPLES, FilesError, blob_names
from local.install import ROOT, STATE
from local.redrive import Redrive
from local.storage_emulator import BLOB_PORT, is_azurite
from local.survey import survey
from local.watch import Dropped, upload, watch
from shared import outcome as outcomes
from shared.jobs import utc_now
from shared.outcome import OutcomeStatus
from shared.settings import Settings

AZURITE_DATA: Final = STATE / "azurite"
LOGS: Final = STATE / "logs"
RESULTS: Final = STATE / "results"
RUNNING: Final = STATE / "running.json"
"""What `start` leaves for `drop` in another terminal: the app settings and the NER emulator's address."""

SCAN_PAUSE_SECONDS: Final = 1.1
"""On Azurite, whose times are whole seconds, the Functions host passes over a blob as old as the last one it saw."""

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

Files = Annotated[list[Path] | None, typer.Argument(help="Files or folders; the samples if none is named.")]
Seconds = Annotated[float, typer.Option(help="Give up waiting after this many seconds.")]
Labels = Annotated[
    Path | None,
    typer.Option(help="Labels of your own, exported from Language Studio, with their texts beside them."),
]
Since = Annotated[
    datetime | None,
    typer.Option(
        parser=parse_since,
        metavar="TIME",
        help="Only what happened since: 30m, 2h or 3d for so long ago, or a time in UTC such as 2026-11-24T10:00.",
    ),
]
Limit = Annotated[int, typer.Option(min=1, help="Show so many files in each table.")]
Names = Annotated[
    list[str] | None,
    typer.Argument(help="Files within the input container, or patterns such as 'letters/*.txt'.", show_default=False),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be sent, and change nothing.")]


def flag(name: str, meaning: str) -> Any:
    """Return an option that is off unless it is named."""
    return typer.Option(name, help=meaning)


class RunningApp(msgspec.Struct):
    """The content of RUNNING."""

    values: dict[str, str]
    ner_emulator: str | None
    pid: int


@app.command()
def run(files: Files = None, *, seconds: Seconds = 300.0, labels: Labels = None) -> None:
    """Start everything, drop the files, show their entities, stop everything."""
    with sentences_for_errors():
        named = blob_names(files or sorted(SAMPLES.iterdir()))
        console.print("Starting storage, recogniser and host (the first time trains the recogniser) ...")
        with stack.running(local_values(os.environ), data=None, labels=labels, logs=LOGS / "run") as running:
            dropped = drop_and_follow(running.settings, named, running.ner_emulator, seconds, running)
    raise typer.Exit(exit_code(dropped))


@app.command()
def start(*, labels: Labels = None) -> None:
    """Keep everything up for dropping files; Ctrl-C stops it."""
    with sentences_for_errors():
        values = local_values(os.environ)
        console.print("Starting storage, recogniser and host (the first time trains the recogniser) ...")
        with stack.running(values, data=AZURITE_DATA, labels=labels, logs=LOGS / "start") as running:
            RUNNING.touch(mode=0o600)  # the settings hold keys
            RUNNING.write_bytes(
                msgspec.json.encode(RunningApp(dict(running.values), running.ner_emulator, os.getpid()))
            )
            try:
                describe(running, emulated=wants_storage_emulator(values))
                while True:
                    running.check()
                    time.sleep(1.0)
            finally:
                RUNNING.unlink()


@app.command()
def drop(files: Files = None, *, wait: bool = True, seconds: Seconds = 300.0) -> None:
    """Upload files to the app that `start` keeps up, or to the account in local.settings.json, and follow them."""
    with sentences_for_errors():
        named = blob_names(files or sorted(SAMPLES.iterdir()))
        running = running_app()
        values = running.values if running else local_values(os.environ)
        settings = Settings.from_environ(values)
        if wants_storage_emulator(values):
            if not accepts_connections(BLOB_PORT):
                raise FilesError("Nothing is running to drop files on: 'make start' in another terminal first")
            stack.create_containers_and_queues(settings)
        emulator = running.ner_emulator if running else None
        dropped = drop_and_follow(settings, named, emulator, seconds if wait else 0.0)
    raise typer.Exit(exit_code(dropped) if wait else 0)


@app.command()
def status(*, since: Since = None, limit: Limit = 50) -> None:
    """Show what is in flight, failed, unheard of, or in the poison queues.

    The storage account is the one that NER_STORAGE names, in the environment
    or in local.settings.json, or that of 'make start'. --since is about
    outcomes: files in flight and poison messages are shown however old.
    """
    with sentences_for_errors(), opened(running_values()) as account:
        found = survey(account, since, limit)
        show_state.show_survey(console, account, found, since=since, limit=limit, now=utc_now())


@app.command()
def redrive(
    names: Names = None,
    *,
    failed: Annotated[bool, flag("--failed", "Submit anew what failed. Each file costs again.")] = False,
    partial: Annotated[bool, flag("--partial", "Submit anew what partly succeeded. Each file costs again.")] = False,
    in_flight: Annotated[bool, flag("--in-flight", "Send the messages of files in flight again.")] = False,
    poison: Annotated[bool, flag("--poison", "Send again what lies in the poison queues.")] = False,
    unheard: Annotated[bool, flag("--unheard", "Submit uploads of which the app has not heard.")] = False,
    since: Since = None,
    dry_run: DryRun = False,
) -> None:
    """Send files again: those named, or of the kinds named; with both, the named ones of these kinds.

    However often this is called, no file in flight or poisoned is paid for
    twice. What failed or partly succeeded becomes a new submission: that is
    what it is for. Names alone choose among all kinds, but what partly
    succeeded must be named exactly, or asked for with --partial.
    """
    asked = {
        Kind.FAILED: failed,
        Kind.PARTIAL: partial,
        Kind.IN_FLIGHT: in_flight,
        Kind.POISONED: poison,
        Kind.UNHEARD: unheard,
    }
    choice = Choice(tuple(names or ()), frozenset(kind for kind in asked if asked[kind]), since)
    if not choice.names and not choice.kinds:
        raise typer.BadParameter(
            "name the files to send again, or their kinds: --in-flight, --poison, --failed, --partial, "
            "--unheard. "
            "'status' shows what there is, and --dry-run what would be sent"
        )
    with sentences_for_errors(), opened(running_values()) as account:
        work = Redrive(account, choice, dry_run=dry_run)
        found = show_state.show_lines(console, work, dry_run=dry_run)
    for name in choice.missing(found):
        complain(f"Nothing to send again has the name {show_state.printable(name)}")
    if not found and not choice.names:
        complain("There is nothing of that kind to send again.")
    raise typer.Exit(0 if found and not choice.missing(found) else 1)


app.command()(labels_command.evaluate)


def running_values() -> dict[str, str] | None:
    """Return the settings of what `start` keeps up, or None."""
    running = running_app()
    return running.values if running else None


def running_app() -> RunningApp | None:
    """Return what `start` keeps up, or None; a `start` that was killed left its file behind."""
    if not RUNNING.is_file():
        return None
    running = msgspec.json.decode(RUNNING.read_bytes(), type=RunningApp)
    try:
        os.kill(running.pid, 0)
    except ProcessLookupError:
        return None
    return running


def describe(running: stack.Stack, *, emulated: bool) -> None:
    """Say where to drop files and where outcomes appear."""
    settings = running.settings
    lines = [
        f"Drop files into the container '{settings.input_container}'.",
        f"Outcomes appear in the container '{settings.results_container}'.",
        "From another terminal:  .venv/bin/python -m local drop FILE ...",
    ]
    if emulated:
        lines += ["With Storage Explorer or az storage:", f"  {settings.storage.connection_string}"]
    lines += [f"Logs: {LOGS.relative_to(ROOT)}/", "Ctrl-C stops everything; files and outcomes stay."]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def drop_and_follow(
    settings: Settings,
    files: dict[str, Path],
    ner_emulator: str | None,
    seconds: float,
    running: stack.Stack | None = None,
) -> list[Dropped]:
    """Upload the files, show them on their way, then their outcomes."""
    with stack.storage_clients(settings) as (blobs, _):
        pause = (
            SCAN_PAUSE_SECONDS if stack.find_core_tools() and is_azurite(settings.storage.connection_string) else 0.0
        )
        dropped = upload(blobs, settings, files, pause_seconds=pause)
        with show.FileProgress(console, dropped) as progress:
            progress.update(dropped)
            for _ in watch(blobs, settings, dropped, ner_emulator, seconds):
                progress.update(dropped)
                if running is not None:
                    running.check()
        for file in dropped:
            if file.outcome is not None:
                show.show_outcome(console, file.outcome, *keep_copy(blobs, settings, file.name))
    return dropped


def keep_copy(blobs: BlobServiceClient, settings: Settings, name: str) -> tuple[str, Path]:
    """Copy an outcome to .local/results; return its place in the account and the copy's."""
    blob = blobs.get_blob_client(settings.results_container, outcomes.blob_name(name))
    copy = RESULTS / outcomes.blob_name(name)
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_bytes(blob.download_blob().readall())
    return f"{settings.results_container}/{outcomes.blob_name(name)}", copy.relative_to(ROOT)


def exit_code(dropped: list[Dropped]) -> int:
    """Say what is missing; return 0 if every file succeeded, else 1."""
    waiting = [file.name for file in dropped if file.outcome is None]
    bad = [file.name for file in dropped if file.outcome and file.outcome.status is not OutcomeStatus.SUCCEEDED]
    if waiting:
        complain(f"No outcome in time for {', '.join(waiting)}. The logs are in {LOGS.relative_to(ROOT)}/.")
    if bad:
        complain(f"Not succeeded: {', '.join(bad)}. The outcome says why.")
    return 1 if waiting or bad else 0
