"""For an operator, on any account: `status` shows what is in flight or went wrong, `redrive` sends it again."""

import time
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Final

import typer
from rich.live import Live

from local import show_state
from local.account import Account, opened
from local.choosing import Choice, Kind
from local.commands.common import Since, blob_names_only, flag, running_values, sentences_for_errors
from local.redrive import Redrive
from local.show_progress import live_view, progress_line, survey_json
from local.survey import Survey, survey
from local.terminal import complain, console, tell
from local.times import utc_now

WATCH_SECONDS: Final = 1.0
WATCH_SHARE: Final = 4.0
"""A look that takes a second is followed by so many seconds without one."""

Limit = Annotated[int, typer.Option(min=1, help="Show at most this many files in each table.")]
Names = Annotated[
    list[str] | None,
    typer.Argument(
        help="Files in the input container, or patterns such as 'letters/*.txt'.",
        show_default=False,
        callback=blob_names_only,
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be sent, without sending it.")]


def status(
    *,
    since: Since = None,
    limit: Limit = 50,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Refresh until every file has an outcome.")] = False,
    as_json: Annotated[
        bool, flag("--json", "Print only JSON: one object or, with --watch, one for each change.")
    ] = False,
) -> None:
    """Show files in flight, failed, partly succeeded, poisoned or not picked up.

    The storage account is the one that NER_STORAGE names in the environment,
    else that of 'make start' while it runs, else the one in
    local.settings.json.

    Files that the app has not picked up were uploaded some time ago, but no
    worker has begun them: the app is down, or the event was lost. The sweep,
    a function of the app, finds them, and files in flight whose message is
    lost (overdue). Poison messages show that invocations failed.

    --since filters outcomes only: all else is shown whatever its age.

    Examples:

      ner status --watch

      ner status --since 2h --limit 10

      ner status --json | jq .files
    """
    with sentences_for_errors(), opened(running_values()) as account:
        if watch and console.is_terminal and not as_json:
            with Live(console=console, auto_refresh=False) as live:
                for found in surveys(account, since, limit):
                    live.update(live_view(account, found, rows=console.height - 9, now=utc_now()), refresh=True)
            return
        if watch:
            said = ""
            for found in surveys(account, since, limit):
                if (line := progress_line(found)) != said:
                    said = line
                    tell(survey_json(account, found, since=since, now=utc_now()) if as_json else line)
            return
        found = survey(account, since, limit)
        if as_json:
            tell(survey_json(account, found, since=since, now=utc_now()))
        else:
            show_state.show_survey(console, account, found, since=since, limit=limit, now=utc_now())


def surveys(account: Account, since: datetime | None, limit: int) -> Iterator[Survey]:
    """Look at an account again and again, until every file has an outcome; the longer a look takes, the more rarely."""
    while True:
        begin = time.monotonic()
        found = survey(account, since, limit)
        yield found
        if not found.unfinished_count:
            return
        time.sleep(max(WATCH_SECONDS, WATCH_SHARE * (time.monotonic() - begin)))


def redrive(
    names: Names = None,
    *,
    failed: Annotated[bool, flag("--failed", "Submit failed files again. Each is charged again.")] = False,
    partial: Annotated[bool, flag("--partial", "Submit partly succeeded files again. Each is charged again.")] = False,
    succeeded: Annotated[bool, flag("--succeeded", "Submit succeeded files again. Each is charged again.")] = False,
    in_flight: Annotated[bool, flag("--in-flight", "Send the messages of files in flight again.")] = False,
    poison: Annotated[
        bool, flag("--poison", "Empty the poison queues: send what still needs it, then delete the messages.")
    ] = False,
    unheard: Annotated[bool, flag("--unheard", "Submit uploads that the app has not picked up.")] = False,
    since: Since = None,
    dry_run: DryRun = False,
) -> None:
    """Send files again, selected by name, by kind, or by both.

    A name stands for the newest version of that file. Without a kind, it is
    sent whatever its state, except if it has succeeded. A pattern also skips
    partly succeeded files.

    You can repeat this command: a file that has no outcome yet is never
    charged twice. Files with an outcome are charged again, because they are
    submitted again.

    Examples:

      ner redrive --failed --since 2h --dry-run

      ner redrive 'letters/*.txt'
    """
    asked = {
        Kind.FAILED: failed,
        Kind.PARTIAL: partial,
        Kind.SUCCEEDED: succeeded,
        Kind.IN_FLIGHT: in_flight,
        Kind.POISONED: poison,
        Kind.UNHEARD: unheard,
    }
    choice = Choice(tuple(names or ()), frozenset(kind for kind in asked if asked[kind]), since)
    if not choice.names and not choice.kinds:
        raise typer.BadParameter(
            "No file is selected. Name files, or select kinds with --unheard, --in-flight, --failed, --partial, "
            "--succeeded or --poison. 'ner status' lists the files; --dry-run shows what would be sent."
        )
    with sentences_for_errors(), opened(running_values()) as account:
        work = Redrive(account, choice, dry_run=dry_run)
        found = show_state.show_lines(console, work, dry_run=dry_run)
    for name in choice.missing(found):
        complain(f"No file to send again matches {name}. Run 'ner status' to list the files.")
    if not found and not choice.names:
        complain("There is no file of this kind to send again. Run 'ner status' to list the files.")
    raise typer.Exit(0 if found and not choice.missing(found) else 1)
