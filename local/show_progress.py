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
from local.in_flight import InFlight, text_records, waits_for
from local.last_sweep import sweep_text, sweep_warnings
from local.listing import State, ended_count
from local.printable import printable
from local.show_state import failed_row, in_flight_row, unheard_row
from local.survey import Survey
from shared.outcome import OutcomeStatus
from shared.state.sweeping import SweepState

BAR_WIDTH = 40


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
    """Return what `status --watch` shows: how far everything is, what is in flight, what failed last.

    Args:
        account: that was looked at.
        survey: what was seen.
        rows: lines that there are for files.
        now: the time.
    """
    total = survey.states.total()
    bar = ProgressBar(total=max(total, 1), completed=ended_count(survey.states), width=BAR_WIDTH)
    table = Table.grid(padding=(0, 2))
    flying = [in_flight_row(account, file, found, now) for file, found in survey.in_flight]
    unheard = [unheard_row(source, now) for source in survey.unheard]
    failed = [failed_row(account, file, report, now) for file, report in survey.failed]
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
    sweep = Text(sweep_text(survey.sweep, now), "dim")
    warnings = sweep_warnings(account.settings, survey.sweep, now, survey.waiting_since)
    shown_warnings = [Text(warning, "bold yellow") for warning in warnings]
    return Group(head, Padding(bar, 0), Text(progress_line(survey)), table, sweep, *shown_warnings)


def survey_json(account: Account, survey: Survey, *, since: datetime | None, now: datetime) -> str:
    """Return the state of an account as one line of JSON; times in UTC, ISO 8601."""
    settings = account.settings
    found: dict[str, Any] = {
        "account": account.blobs.primary_hostname,
        "time": now,
        "since": since,
        "files": {state.value: survey.states[state] for state in State},
        "outcomes": {status.value: survey.counts[status] for status in OutcomeStatus},
        "overdueMessages": survey.overdue_count,
        "queues": survey.queues,
        "sweep": sweep_json(survey.sweep),
        "inFlight": [in_flight_json(flight) for _, flight in survey.in_flight],
        "failed": [
            {
                "name": report.source.name if report.source else file.name,
                "outcome": f"{settings.results_container}/{file.outcome.blob}" if file.outcome else None,
                "ended": file.since,
                "errors": report.problems,
                "textRecords": report.text_records,
            }
            for file, report in survey.failed
        ],
        "partiallySucceeded": [file.name for file in survey.partial],
        "poisoned": [
            {"queue": one.queue, "names": one.names, "isOurs": one.is_ours, "since": one.inserted}
            for one in survey.poisoned
        ],
        "unheard": [{"name": source.name, "lastModified": source.last_modified} for source in survey.unheard],
        "existing": survey.existing_count,
    }
    return msgspec.json.encode(found).decode()


def sweep_json(sweep: SweepState | None) -> dict[str, Any] | None:
    """Return when the last sweep was and what it found; None if there was none."""
    return {"since": sweep.since, "last": sweep.last, **msgspec.to_builtins(sweep.swept)} if sweep else None


def in_flight_json(flight: InFlight) -> dict[str, Any]:
    """Return what is known of a file in flight."""
    record, ledger = flight.record, flight.ledger
    single = [record.job.job_id] if record and record.job else []
    return {
        "name": flight.name,
        "receivedDateTime": flight.received,
        "submittedDateTime": record.submitted_date_time if record else None,
        "waitsFor": waits_for(flight),
        "due": record.due if record else None,
        "isOverdue": flight.is_overdue,
        "tries": record.tries if record else 0,
        "jobIds": [job.job_id for job in ledger.jobs] if ledger else single,
        "textRecords": text_records(flight),
    }
