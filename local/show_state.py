"""What an operator sees: tables of what is in flight or went wrong, and a line for each file that was sent again."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from local.account import Account
from local.in_flight import InFlight, text_records, waits_for
from local.last_sweep import counted, sweep_text, sweep_warnings
from local.listing import File, State
from local.poison import Poisoned, poison_queues
from local.printable import printable
from local.redrive import Redrive
from local.reports import Report
from local.survey import Survey
from local.terminal import say
from local.times import age_text
from shared.outcome import OutcomeStatus
from shared.settings import Settings
from shared.source import Source

COMMAND: Final = ".venv/bin/ner redrive"
COLOURS: Final = {
    "in flight": "cyan",
    "failed": "red",
    "partly succeeded": "yellow",
    "poisoned": "magenta",
    "not picked up": "blue",
}


def entities_text(count: int) -> str:
    """Return a number of entities in words."""
    return "1 entity" if count == 1 else f"{count:,} entities"


def show_survey(
    console: Console, account: Account, survey: Survey, *, since: datetime | None, limit: int, now: datetime
) -> None:
    """Print the state of an account, with at most so many rows in a table."""
    say(console, f"Storage account {account.blobs.primary_hostname}, at {now:%Y-%m-%d %H:%M:%S} UTC")
    rows = [in_flight_row(account, file, found, now) for file, found in survey.in_flight]
    columns = ("file", "size", "received", "state", "cost", "job")
    show_table(console, "in flight", columns, rows, survey.states[State.IN_FLIGHT])
    failed = survey.counts[OutcomeStatus.FAILED]
    rows = [failed_row(account, file, report, now) for file, report in survey.failed]
    show_table(console, "failed", ("file", "ended", "cost", "why"), rows, failed)
    rows = [partial_row(file, now) for file in survey.partial[:limit]]
    show_table(console, "partly succeeded", ("file", "ended", "outcome size"), rows, len(survey.partial))
    rows = [unheard_row(source, now) for source in survey.unheard[:limit]]
    show_table(console, "not picked up", ("file", "size", "uploaded"), rows, len(survey.unheard))
    rows = [poisoned_row(found, now) for found in survey.poisoned[:limit]]
    show_table(console, "poisoned", ("file", "since", "queue"), rows, poisoned_count(account.settings, survey))
    counts = {status: survey.counts[status] for status in OutcomeStatus}
    span = f" since {since:%Y-%m-%d %H:%M} UTC" if since else ""
    console.print()
    say(
        console,
        f"Done{span}: {counts[OutcomeStatus.SUCCEEDED]} succeeded, {counts[OutcomeStatus.PARTIALLY_SUCCEEDED]} "
        f"partly succeeded, {counts[OutcomeStatus.FAILED]} failed. In flight: {survey.states[State.IN_FLIGHT]}.",
    )
    messages = ", ".join(
        f"{queue} {'does not exist' if count is None else count}" for queue, count in survey.queues.items()
    )
    say(console, f"Messages in the queues (approximate): {messages}.")
    say(console, sweep_text(survey.sweep, now))
    for advice in advices(account.settings, survey, now):
        say(console, advice, style="bold yellow")


def poisoned_count(settings: Settings, survey: Survey) -> int:
    """Return about how many messages there are in the poison queues."""
    counted_there = sum(survey.queues.get(queue) or 0 for queue in poison_queues(settings))
    return max(counted_there, len(survey.poisoned))


def advices(settings: Settings, survey: Survey, now: datetime) -> list[str]:
    """Return what an operator should know and do."""
    found = sweep_warnings(settings, survey.sweep, now, survey.waiting_since)
    if survey.overdue_count:
        found.append(
            f"{counted(survey.overdue_count, 'message')} of files in flight must be lost, or the app is down. The next "
            f"sweep sends them again. To send them now, at no cost:  {COMMAND} --in-flight"
        )
    if survey.existing_count:
        found.append(
            f"{counted(survey.existing_count, 'upload')} from before this deployment will not be submitted. To submit "
            f"them, set NER_SWEEP_EXISTING to true, or run:  {COMMAND} --unheard"
        )
    if len(survey.unheard) > survey.existing_count:
        found.append(
            "The app has not picked up some uploads; it may be down. The next sweep submits them. To submit them now:  "
            f"{COMMAND} --unheard"
        )
    if any(poisoned.is_ours for poisoned in survey.poisoned):
        found.append(
            "Poison messages show that invocations failed: search the log for the exception. No file depends on them. "
            f"To send what still needs it, and delete them:  {COMMAND} --poison"
        )
    if survey.counts[OutcomeStatus.FAILED]:
        found.append(f"Fix the cause, then submit the failed files again (each is charged again):  {COMMAND} --failed")
    return found


def in_flight_row(account: Account, file: File, found: InFlight, now: datetime) -> tuple[str, ...]:
    """Return the cells of a file in flight."""
    record, source = found.record, found.source
    state = waits_for(found)
    if file.is_old_version:
        state = f"{state} (an older version)"
    if found.is_overdue:
        state = f"{state}, overdue"
    size = decimal(source.length) if source else ""
    records = text_records(found)
    cost = account.cost_text(records) if records else ""
    job = record.job.job_id if record and record.job else ""
    return (found.name, size, age_text(now - found.received), state, cost, job)


def failed_row(account: Account, file: File, report: Report, now: datetime) -> tuple[str, ...]:
    """Return the cells of a failed file."""
    name = report.source.name if report.source else file.name
    if report.problems is None:
        why = "the outcome has too many errors to show here" if report.source else "the outcome cannot be read"
    else:
        why = "; ".join(f"{problem.code}: {problem.message}" for problem in report.problems[:1])
        if len(report.problems) > 1:
            why += f" (and {len(report.problems) - 1} more)"
    cost = "" if report.text_records is None else account.cost_text(report.text_records)
    return (name, age_text(now - file.since), cost, why)


def partial_row(file: File, now: datetime) -> tuple[str, ...]:
    """Return the cells of a partly succeeded file."""
    return (file.name, age_text(now - file.since), decimal(file.outcome.size) if file.outcome else "")


def poisoned_row(found: Poisoned, now: datetime) -> tuple[str, ...]:
    """Return the cells of a poison message."""
    return (found.said, age_text(now - found.inserted) if found.inserted else "", found.queue)


def unheard_row(source: Source, now: datetime) -> tuple[str, ...]:
    """Return the cells of an upload that the app has not picked up."""
    return (source.name, decimal(source.length), age_text(now - source.last_modified))


def show_table(console: Console, title: str, columns: Iterable[str], rows: list[tuple[str, ...]], count: int) -> None:
    """Print a table of the rows, and how many there are besides; nothing where there is none."""
    if not count:
        return
    table = Table(title=Text(f"{title}: {count}", style=f"bold {COLOURS[title]}"), title_justify="left")
    for column in columns:
        # No name is cut: it is what the other command wants.
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    console.print()
    console.print(table)
    if count > len(rows):
        say(console, f"... and {count - len(rows)} more")


def show_lines(console: Console, work: Redrive, *, dry_run: bool) -> set[str]:
    """Have the work done and print a line for each thing and a total; return the names of the files that were found."""
    queue = work.account.settings.queue
    sending = "would be sent" if dry_run else "sent"
    found: set[str] = set()
    count = sent = 0
    for line in work.lines():
        count += 1
        sent += line.message is not None
        if line.is_file:
            found.add(line.name)
        said = f"{sending} {line.why}" if line.message else f"not sent: {line.why}"
        say(console, f"{line.name}  ({line.kind.value})  {said}")
        if dry_run and line.message:
            say(console, f"    to {queue}: {line.sent}", style="dim")
    if count:
        say(console, f"{sent} {sending}, {count - sent} not sent.")
    if work.unseen_count:
        say(
            console,
            f"About {work.unseen_count} more poison messages are not listed, because reading them hides them.",
        )
    return found
