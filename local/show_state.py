"""What an operator sees: tables of what is on its way or went wrong, and a line for each file that was sent again."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from local.account import Account
from local.in_flight import Poisoned, Report
from local.listing import Ended
from local.redrive import Redrive
from local.survey import InFlight, Survey, waits_for
from shared.outcome import OutcomeStatus
from shared.source import Source

COMMAND: Final = ".venv/bin/ner redrive"
COLOURS: Final = {
    "in flight": "cyan",
    "failed": "red",
    "partly succeeded": "yellow",
    "poisoned": "magenta",
    "not picked up": "blue",
}


def printable(text: str) -> str:
    """Return a text with all that is not plainly visible written out: names may hold what would steer a terminal."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def duration_text(duration: timedelta) -> str:
    """Return how long something is, in the largest unit and the next one."""
    seconds = max(round(duration.total_seconds()), 0)
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if days:
        return f"{days} d {hours % 24} h"
    if hours:
        return f"{hours} h {minutes % 60} min"
    return f"{minutes} min" if minutes else f"{seconds} s"


def age_text(age: timedelta) -> str:
    """Return how long ago something was."""
    return f"{duration_text(age)} ago"


def entities_text(count: int) -> str:
    """Return a number of entities in words."""
    return "1 entity" if count == 1 else f"{count:,} entities"


def show_survey(
    console: Console, account: Account, survey: Survey, *, since: datetime | None, limit: int, now: datetime
) -> None:
    """Print the state of an account, with at most so many rows in a table."""
    say(console, f"Storage account {account.blobs.primary_hostname}, at {now:%Y-%m-%d %H:%M:%S} UTC")
    rows = [in_flight_row(account, found, now) for found in sorted(survey.in_flight, key=received)]
    columns = ("file", "size", "received", "state", "cost", "job")
    show_table(console, "in flight", columns, rows, survey.in_flight_count)
    failed = survey.counts[OutcomeStatus.FAILED]
    rows = [failed_row(account, outcome, report, now) for outcome, report in survey.failed]
    show_table(console, "failed", ("file", "ended", "cost", "why"), rows, failed)
    rows = [partial_row(outcome, now) for outcome in survey.partial[:limit]]
    show_table(console, "partly succeeded", ("file", "ended", "outcome size"), rows, len(survey.partial))
    rows = [poisoned_row(found, now) for found in survey.poisoned[:limit]]
    poisoned = sum(count or 0 for queue, count in survey.queues.items() if queue != account.settings.queue)
    show_table(console, "poisoned", ("file", "since", "queue"), rows, max(poisoned, len(survey.poisoned)))
    rows = [unheard_row(source, now) for source in survey.unheard[:limit]]
    show_table(console, "not picked up", ("file", "size", "uploaded"), rows, len(survey.unheard))
    counts = {status: survey.counts[status] for status in OutcomeStatus}
    span = f" since {since:%Y-%m-%d %H:%M} UTC" if since else ""
    console.print()
    say(
        console,
        f"Done{span}: {counts[OutcomeStatus.SUCCEEDED]} succeeded, {counts[OutcomeStatus.PARTIALLY_SUCCEEDED]} "
        f"partly succeeded, {counts[OutcomeStatus.FAILED]} failed. In flight: {survey.in_flight_count}.",
    )
    messages = ", ".join(
        f"{queue} {'does not exist' if count is None else count}" for queue, count in survey.queues.items()
    )
    say(console, f"Messages in the queues (approximate): {messages}.")
    is_ours = any(found.name for found in survey.poisoned) or poisoned > len(survey.poisoned)
    for advice in advices(account.settings.queue, survey, may_be_poisoned=is_ours):
        say(console, advice, style="bold yellow")


def advices(queue: str, survey: Survey, *, may_be_poisoned: bool) -> list[str]:
    """Return what an operator should know and do; some poison messages may be this app's, or none is."""
    found = []
    if survey.lost_count:
        count = survey.in_flight_count
        files = "1 file is" if count == 1 else f"{count} files are"
        lost = (
            "all their messages are lost"
            if survey.lost_count == count
            else f"at least {survey.lost_count} of their messages are lost"
        )
        has = survey.queues[queue] or "no"
        where = " (or poisoned: redrive those first)" if may_be_poisoned else ""
        found.append(
            f"{files} in flight, but the queue {queue} has {has} message{'s' * (has != 1)}: {lost}{where}, so the app "
            f"does not continue with them. Send the messages again, at no cost:  {COMMAND} --in-flight"
        )
    if may_be_poisoned:
        found.append(f"Poison messages stay while the app is down. Send this app's messages again:  {COMMAND} --poison")
    if survey.unheard:
        found.append(f"The app has not picked up some uploads; it may be down. Submit them:  {COMMAND} --unheard")
    if survey.counts[OutcomeStatus.FAILED]:
        found.append(f"Fix the cause, then submit the failed files again (each is charged again):  {COMMAND} --failed")
    return found


def received(found: InFlight) -> datetime:
    """Return when a version in flight was seen first; what cannot be read comes last."""
    submission = found.record.submission
    return submission.message.received_date_time if submission else datetime.max.replace(tzinfo=UTC)


def in_flight_row(account: Account, found: InFlight, now: datetime) -> tuple[str, ...]:
    """Return the cells of a version in flight."""
    submission = found.record.submission
    if submission is None:
        return (found.record.blob, "", "", found.record.problem, "", "")
    message = submission.message
    job = message.jobs[0].job_id if len(message.jobs) == 1 else ""
    size, age = decimal(message.source.length), age_text(now - message.received_date_time)
    cost = account.cost_text(sum(job.transactions_count for job in message.jobs)) if message.jobs else ""
    return (message.source.name, size, age, waits_for(submission, found.jobs_count), cost, job)


def failed_row(account: Account, outcome: Ended, report: Report, now: datetime) -> tuple[str, ...]:
    """Return the cells of a failed outcome."""
    name = report.source.name if report.source else outcome.blob
    if report.problems is None:
        why = "the outcome has too many errors to show here" if report.source else "the outcome cannot be read"
    else:
        why = "; ".join(f"{problem.code}: {problem.message}" for problem in report.problems[:1])
        if len(report.problems) > 1:
            why += f" (and {len(report.problems) - 1} more)"
    cost = "" if report.text_records is None else account.cost_text(report.text_records)
    return (name, age_text(now - outcome.modified), cost, why)


def partial_row(outcome: Ended, now: datetime) -> tuple[str, ...]:
    """Return the cells of an outcome that is partly a success."""
    return (outcome.name or outcome.blob, age_text(now - outcome.modified), decimal(outcome.size))


def poisoned_row(found: Poisoned, now: datetime) -> tuple[str, ...]:
    """Return the cells of a poison message."""
    since = age_text(now - found.inserted) if found.inserted else ""
    return (found.name or "not this app's message", since, found.queue)


def unheard_row(source: Source, now: datetime) -> tuple[str, ...]:
    """Return the cells of an upload of which the app has not heard."""
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


def say(console: Console, text: str, style: str = "") -> None:
    """Print a line as it is, however long."""
    console.print(printable(text), style=style, markup=False, highlight=False, emoji=False, soft_wrap=True)
