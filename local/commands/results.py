"""For whoever reads the results: `show` paints a file's entities, `export` writes those of all files as a table."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, TextIO

import typer
from azure.core.exceptions import AzureError
from rich.progress import track

from local.account import opened
from local.app_settings import AppSettingsError
from local.commands.common import Since, blob_names_only, running_values, sentences_for_errors
from local.export import Format, read_outcomes, rows, writer
from local.files import FilesError
from local.listing import list_outcomes
from local.results import ResultError, read_result
from local.show_result import View, show_result
from local.show_state import entities_text
from local.terminal import complain, console, data_output, errors, say, tell
from shared.outcome import OutcomeStatus
from shared.settings import SettingsError

MOST_CHARACTERS = 20_000


def complete_name(incomplete: str) -> list[str]:
    """Return the files whose names begin so, for the shell."""
    try:
        with opened(running_values()) as account:
            blobs = account.listed(account.settings.input_container, name_starts_with=incomplete, results_per_page=50)
            # A line end would make two words of a name, the shell lists names as they are, and a dash begins an option.
            names = [blob.name for _, blob in zip(range(50), blobs, strict=False)]
            return [name for name in names if name.isprintable() and not name.startswith("-")]
    except (AppSettingsError, SettingsError, AzureError, UnicodeEncodeError):
        return []  # a shell that asks while somebody types has no use for an error


Category = Annotated[
    list[str] | None, typer.Option("--category", "-c", help="Include only this category. Repeat the option for more.")
]
Confidence = Annotated[
    float,
    typer.Option("--least-confidence", min=0.0, max=1.0, help="Include only entities with at least this confidence."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the outcome unchanged, and nothing else.")]


def show(
    name: Annotated[
        str,
        typer.Argument(help="A file in the input container.", autocompletion=complete_name, callback=blob_names_only),
    ],
    *,
    category: Category = None,
    least_confidence: Confidence = 0.0,
    whole: Annotated[
        bool, typer.Option("--all", help="Show the whole text. Default: the first 20,000 characters.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show a file's text with its entities in colour, or why it failed.

    Examples:

      ner show booking.txt

      ner show letters/1.txt -c city -c person --least-confidence 0.8

      ner show booking.txt --json | jq '.documents[].entities[].text'

    The exit code is 1 if the file failed or has no outcome yet. If the output
    is not a terminal, entities are in brackets: [Zürich|city].
    """
    with sentences_for_errors(), opened(running_values()) as account:
        try:
            result = read_result(account, name)
        except ResultError as error:
            is_there = account.newest(name) is not None
            hint = (
                "Run 'ner status' to see how far the file is."
                if is_there
                else f"There is no file {name!r} either: check the name."
            )
            raise ResultError(f"{error} {hint}") from None
        if as_json:
            tell(result.raw)
        else:
            most = None if whole else MOST_CHARACTERS
            show_result(console, account, result, View(frozenset(category or ()), least_confidence, most))
    raise typer.Exit(int(result.outcome.status is OutcomeStatus.FAILED))


def export(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Files, or patterns such as 'letters/*.txt'. Default: all files.",
            show_default=False,
            callback=blob_names_only,
        ),
    ] = None,
    *,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write. Default: standard output.")
    ] = None,
    kind: Annotated[
        Format | None,
        typer.Option("--format", help="Default: jsonl if the output's name ends in .jsonl or .ndjson, else csv."),
    ] = None,
    category: Category = None,
    least_confidence: Confidence = 0.0,
    since: Since = None,
) -> None:
    """Write all entities as a table: CSV for a spreadsheet, JSON Lines for pandas.

    Examples:

      ner export -o entities.csv

      ner export 'letters/*' --since 2d -c city -o cities.jsonl

      ner export --format jsonl | jq -r .text | sort | uniq -c

    In pandas: pd.read_json('entities.jsonl', lines=True).to_parquet(...).
    In CSV, a ' precedes whatever a spreadsheet may run as a formula.
    JSON Lines contain every text unchanged.
    """
    if kind is None:
        kind = Format.JSONL if output and output.suffix in (".jsonl", ".ndjson") else Format.CSV
    view = View(frozenset(category or ()), least_confidence)
    files = entities = text_records = 0
    problems: list[str] = []
    with sentences_for_errors(), opened(running_values()) as account, ExitStack() as opened_files:
        chosen = sorted(list_outcomes(account, since), key=lambda found: found.blob)
        write = writer(opened_files.enter_context(opened_output(output, kind)), kind)
        found = read_outcomes(account, names or (), chosen)
        for exported in track(found, "reading", len(chosen), console=errors, disable=not errors.is_terminal):
            if exported.outcome is None:
                problems.append(exported.problem)
                continue
            files += 1
            text_records += exported.outcome.statistics.transactions_count
            for row in rows(exported.outcome, view):
                write(row)
                entities += 1
        cost = account.cost_text(text_records)
    say(errors, f"{entities_text(entities)} from {files:,} file{'s' * (files != 1)} ({cost}).")
    for problem in problems:
        complain(problem)
    if not files:
        complain("There is no matching outcome. Run 'ner status' to see how far the files are.")
    raise typer.Exit(1 if problems or not files else 0)


def opened_output(output: Path | None, kind: Format) -> TextIO:
    """Open what to write to; lines end as they are written, and the text is UTF-8 wherever it goes."""
    if output is not None:
        try:
            return output.open("w", encoding="utf-8", newline="")
        except OSError as error:
            raise FilesError(f"{output} cannot be written: {error.strerror}. Choose another --output.") from None
    return data_output(is_json=kind is Format.JSONL)
