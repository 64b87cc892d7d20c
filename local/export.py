"""All entities of an account as rows: CSV for a spreadsheet, JSON lines for pandas and Parquet."""

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TextIO

from local.account import Account, in_threads
from local.choosing import matches
from local.listing import Ended
from local.results import ResultError, decode_outcome, read_raw_outcome
from local.show_result import View
from shared.outcome import Outcome

COLUMNS: Final = (
    *("file", "document", "category", "subcategory", "text", "offset", "length", "confidenceScore"),
    *("sourceEtag", "sourceLastModified", "textRecords"),
)
"""Of every row, in this order: an entity, where it stands, the version of the file, and the file's text records."""
SIGNS: Final = "[=+@\uff1d\uff0b\uff0d\uff20-]"
"""The first character of a formula, for some spreadsheets also in its full width (OWASP, CSV Injection)."""
UNSEEN: Final = (
    r"[\x00-\x08\x0e-\x20\x7f-\x84\x86-\xa0\xad\u1680\u180e\u2000-\u200f\u202a-\u202f\u205f-\u206f\u3000\ufeff]"
)
"""Spaces and characters without a width, which a spreadsheet may drop."""
FORMULA: Final = re.compile(rf"(^{UNSEEN}*|[,;:|\"\t\r\n\v\f\x85\u2028\u2029]{UNSEEN}*| (?={SIGNS}\S))(?={SIGNS})")
"""The place before a formula: the beginning of a cell, wherever a spreadsheet separates cells. Many countries use `;`,
and an import may separate by tabs, colons, bars or spaces too. A dash between two spaces is none."""


class Format(StrEnum):
    """What to write."""

    CSV = "csv"
    JSONL = "jsonl"


@dataclass(frozen=True)
class Exported:
    """An outcome that was read, or why it was not."""

    blob: str
    outcome: Outcome | None
    problem: str = ""


def read_outcomes(account: Account, names: Iterable[str], chosen: Iterable[Ended]) -> Iterator[Exported]:
    """Yield the outcomes of the files that were asked for.

    Args:
        account: to read from.
        names: of files, or patterns of them; none means all.
        chosen: outcomes to look at.
    """
    patterns = tuple(names)

    def read(found: Ended) -> Exported:
        try:
            return Exported(found.blob, decode_outcome(found.blob, read_raw_outcome(account, found.blob)[0]))
        except ResultError as error:
            return Exported(found.blob, None, str(error))

    def is_asked_for(name: str) -> bool:
        return not patterns or any(matches(name, pattern) for pattern in patterns)

    # A name that may be a shortened one is known only once the outcome has been read.
    likely = (found for found in chosen if found.name is None or is_asked_for(found.name))
    for exported in in_threads(read, likely):
        if exported.outcome is None or is_asked_for(exported.outcome.source.name):
            yield exported


def rows(outcome: Outcome, view: View) -> Iterator[dict[str, Any]]:
    """Yield a row for each entity of an outcome; each has all columns, of the same types."""
    source = outcome.source
    for document in outcome.documents:
        for entity in document.entities:
            if view.admits(entity):
                yield {
                    "file": source.name,
                    "document": document.id,
                    "category": entity.category,
                    "subcategory": entity.subcategory,
                    "text": entity.text,
                    "offset": entity.offset,
                    "length": entity.length,
                    "confidenceScore": entity.confidence_score,
                    "sourceEtag": source.etag,
                    "sourceLastModified": source.last_modified.isoformat(),
                    "textRecords": outcome.statistics.transactions_count,
                }


def writer(output: TextIO, kind: Format) -> Callable[[dict[str, Any]], None]:
    """Return what writes a row; a CSV file gets its head at once."""
    if kind is Format.JSONL:
        return lambda row: print(json.dumps(row, ensure_ascii=False), file=output)
    # With this mark, spreadsheets read UTF-8; pandas passes over it.
    output.write("\ufeff")
    table = csv.DictWriter(output, COLUMNS)
    table.writeheader()
    return lambda row: table.writerow({name: harmless(value) for name, value in row.items()})


def harmless(value: Any) -> Any:
    """Return a cell that a spreadsheet takes for text, whatever separates its cells."""
    if not isinstance(value, str):
        return value
    mark = "'" if value.startswith(("\t", "\r")) else ""
    return mark + FORMULA.sub(r"\1'", value)
