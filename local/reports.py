"""What an outcome says at its beginning: the version that it is about, and what went wrong with it."""

import json
import re
from dataclasses import dataclass
from typing import Final

import msgspec
from azure.core.exceptions import ResourceNotFoundError

from local.account import Account
from local.json_errors import JSON_ERRORS
from shared.ner.model import Problem, Statistics
from shared.source import Source

HEAD_BYTES: Final = 64 * 1024
"""What is read of an outcome: its source is at the beginning, and most that failed are no longer."""
HEAD: Final = re.compile(r'\s*\{\s*"status":\s*"\w+",\s*"source":\s*')


@dataclass(frozen=True)
class Report:
    """What an outcome says at its beginning.

    Attributes:
        source: the version that it is the outcome of; None if it cannot be read.
        problems: None if there are too many to read here.
        text_records: that were paid for; None if `problems` is.
    """

    source: Source | None
    problems: list[Problem] | None
    text_records: int | None = None


class Problems(msgspec.Struct):
    """The part of an outcome that says what went wrong, and what it cost all the same."""

    errors: list[Problem]
    statistics: Statistics


def read_report(account: Account, blob: str) -> Report | None:
    """Return what an outcome says; None if it is gone."""
    client = account.blob(account.settings.results_container, blob)
    try:
        data = client.download_blob(offset=0, length=HEAD_BYTES).readall()
    except ResourceNotFoundError:
        return None
    source = read_source(data)
    try:
        said = msgspec.json.decode(data, type=Problems)
    except JSON_ERRORS:
        return Report(source, None)
    return Report(source, said.errors, said.statistics.transactions_count)


def read_source(head: bytes) -> Source | None:
    """Return the version at the beginning of an outcome, however long the rest is."""
    text = head.decode("utf-8", "ignore")
    begin = HEAD.match(text)
    try:
        return msgspec.convert(json.JSONDecoder().raw_decode(text, begin.end())[0], Source) if begin else None
    except (ValueError, msgspec.ValidationError):
        return None
