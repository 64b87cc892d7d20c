"""How far an account is: as a bar with tables that change in place, as a line for a log, as JSON for a program."""

from datetime import datetime
from typing import Any

import msgspec
from rich.console import Group
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from local.account import Account
from local.listing import State, ended_count
from local.show_state import failed_row, in_flight_row, printable, received, unheard_row
from local.survey import Survey, waits_for
from shared.outcome import OutcomeStatus

BAR_WIDTH = 40


def on_the_way(survey: Survey) -> int:
    """Return how many files have no outcome yet."""
    return survey.states.total() - ended_count(survey.states)


def progress_line(survey: Survey) -> str:
    """Return how far an account is, in one line."""
    states = survey.states
    total, done = states.total(), ended_count(states)
    return (
        f"{done:,} of {total:,} done: {states[State.SUCCEEDED]:,} succeeded, "
        f"{states[State.PARTIALLY_SUCCEEDED]:,} partly succeeded, {states[State.FAILED]:,} failed; "
        f"{states[State.IN_FLIGHT]:,} in flight, {states[State.WAITING]:,} not started"
    )


def live_view(account: Account, survey: Survey, *, rows: int, now: datetime) -> Group:
    """Return what `status --watch` shows: how far everything is, what is on its way, what failed last.

    Args:
        account: that was looked at.
        survey: what was seen.
        rows: lines that there are for files.
        now: the time.
    """
    total = survey.states.total()
    bar = ProgressBar(total=max(total, 1), completed=ended_count(survey.states), width=BAR_WIDTH)
    table = Table.grid(padding=(0, 2))
    flying = [in_flight_row(account, found, now) for found in sorted(survey.in_flight, key=received)]
    unheard = [unheard_row(source, now) for source in survey.unheard]
    failed = [failed_row(account, outcome, report, now) for outcome, report in survey.failed]
    lines = [
        *(("in flight", "cyan", row[0], row[2], row[3]) for row in flying),
        *(("not picked up", "blue", row[0], row[2], "") for row in unheard),
        *(("failed", "red", row[0], row[1], row[3]) for row in failed),
    ]
    for kind, colour, *cells in lines[: max(rows, 1)]:
        shown = [Text(printable(cell), no_wrap=True, overflow="ellipsis") for cell in cells]
        table.add_row(Text(kind, colour), *shown)
    if len(lines) > rows:
        table.add_row("", Text(f"... and {len(lines) - rows} more", "dim"))
    head = Text(f"{account.blobs.primary_hostname}  {now:%H:%M:%S} UTC", "dim")
    return Group(head, Padding(bar, 0), Text(progress_line(survey)), table)


def survey_json(account: Account, survey: Survey, *, since: datetime | None, now: datetime) -> str:
    """Return the state of an account as one line of JSON; times in UTC, ISO 8601."""
    settings = account.settings
    found: dict[str, Any] = {
        "account": account.blobs.primary_hostname,
        "time": now,
        "since": since,
        "files": {state.value: survey.states[state] for state in State},
        "outcomes": {status.value: survey.counts[status] for status in OutcomeStatus},
        "lostMessages": survey.lost_count,
        "queues": survey.queues,
        "inFlight": [
            {
                "name": one.record.submission.message.source.name,
                "receivedDateTime": one.record.submission.message.received_date_time,
                "submittedDateTime": one.record.submission.message.submitted_date_time,
                "waitsFor": waits_for(one.record.submission, one.jobs_count),
                "jobIds": [job.job_id for job in one.record.submission.message.jobs],
                "textRecords": sum(job.transactions_count for job in one.record.submission.message.jobs),
            }
            for one in survey.in_flight
            if one.record.submission
        ],
        "failed": [
            {
                "name": report.source.name if report.source else outcome.name,
                "outcome": f"{settings.results_container}/{outcome.blob}",
                "ended": outcome.modified,
                "errors": report.problems,
                "textRecords": report.text_records,
            }
            for outcome, report in survey.failed
        ],
        "partiallySucceeded": [outcome.name or outcome.blob for outcome in survey.partial],
        "poisoned": [{"queue": one.queue, "name": one.name, "since": one.inserted} for one in survey.poisoned],
        "unheard": [{"name": source.name, "lastModified": source.last_modified} for source in survey.unheard],
    }
    return msgspec.json.encode(found).decode()
