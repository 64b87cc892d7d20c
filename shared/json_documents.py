"""Many documents of one file: JSON lines, a JSON list, or `{"documents": [...]}`, of `{"id", "text", "language"?}`.

A bad entry becomes a `Problem` that names its line, and hurts no other. Entries are read one at a time, since a file
may hold a million.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from shared.ner.model import Document, Problem
from shared.settings import LANGUAGE

LONGEST_ID: Final = 512
"""Characters; ids travel in requests of limited size."""
SHAPE: Final = '{"id": "1", "text": "...", "language": "en"}'
SURROGATE = re.compile("[\ud800-\udfff]")
MAX_NESTING: Final = 500
"""Levels of an entry, which no honest one needs; some versions of Python read 100,000, others fewer than 1,000."""
BRACKET = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[\[{}\]]', re.DOTALL)
"""Or a string, so that brackets in one are not taken for any."""

Entries = Iterator[Document | Problem]
"""The documents of a file in its order, with what is wrong with those that cannot be sent."""


class InputDocument(msgspec.Struct, frozen=True):
    """An entry as users write it; other fields are theirs and are ignored."""

    id: str | int
    text: str
    language: str | None = None


class InputDocuments(msgspec.Struct, frozen=True):
    """The object around a list."""

    documents: list[msgspec.Raw]


class ShapeError(Exception):
    """A JSON file is no list of documents; `message` says what to do."""

    def __init__(self, message: str) -> None:
        self.message = message
        super().__init__(message)


def json_lines(data: bytes, language: str) -> Entries:
    """Yield the documents of a file with one in each line; blank lines are skipped."""
    checks = Checks(language, "line")
    start, number = 0, 0
    while start < len(data):
        end = data.find(b"\n", start)
        end = len(data) if end < 0 else end
        number += 1
        # Only \n ends a line: JSON strings may hold the other line ends of Unicode.
        line = data[start:end].strip()
        if line:
            yield checks.read(line, number, f"Line {number}")
        start = end + 1


def json_list(data: bytes, language: str) -> Callable[[], Entries]:
    """Return what yields the documents of a JSON list.

    Raises:
        ShapeError: the file is not JSON, or not a list.
    """
    try:
        whole = msgspec.json.decode(data, type=list[msgspec.Raw] | InputDocuments)
    except msgspec.ValidationError:
        raise ShapeError(
            f"The file contains no list of documents. Write a JSON list of documents such as {SHAPE}, or "
            '{"documents": [...]} with such a list.'
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ShapeError(f"The file is not valid JSON: {locate(data, error)}. Fix it and upload it again.") from None
    items = whole if isinstance(whole, list) else whole.documents
    if any(is_nested_too_deeply(bytes(item)) for item in items):
        raise ShapeError(f"The file is not valid JSON: {reason(RecursionError())}. Fix it and upload it again.")

    def entries() -> Entries:
        checks = Checks(language, "document")
        line, place = 1, 0
        for number, item in enumerate(items, 1):
            # Between two items there is nothing that an item could be taken for, so the first match is this one.
            raw = bytes(item)
            begin = data.index(raw, place)
            line += data.count(b"\n", place, begin)
            yield checks.read(raw, number, f"Document {number} (line {line})")
            line += raw.count(b"\n")
            place = begin + len(raw)

    return entries


class Checks:
    """Reads entries and keeps the ids that are taken."""

    def __init__(self, language: str, unit: str) -> None:
        """Begin a file; `language` is that of documents that name none, `unit` is what is numbered."""
        self.language = language
        self.unit = unit
        self.numbers: dict[str, int] = {}

    def read(self, entry: bytes, number: int, place: str) -> Document | Problem:
        """Return the document, or what is wrong with it; `place` names it to the uploader."""
        try:
            found = read_entry(entry)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return Problem("InvalidDocument", f"{place} is not a document: {reason(error)}. Write it like {SHAPE}.")
        name = str(found.id)
        if not name or len(name) > LONGEST_ID:
            return Problem(
                "InvalidDocument", f"{place} has an id that is empty or too long. Use 1 to {LONGEST_ID} characters."
            )
        if name in self.numbers:
            return Problem(
                "DuplicateId",
                f"{place} has the same id as {self.unit} {self.numbers[name]}. Give each document a unique id.",
                name,
            )
        self.numbers[name] = number
        if not found.text.strip():
            return Problem("EmptyDocument", f"{place} contains no text. Add some or remove the document.", name)
        if found.language is not None and not LANGUAGE.fullmatch(found.language):
            message = f"{place} has an invalid language. Use a language tag such as en or pt-BR."
            return Problem("InvalidLanguage", message, name)
        return Document(name, found.text, found.language or self.language)


def read_entry(entry: bytes) -> InputDocument:
    """Read an entry; a lone surrogate, which no JSON text may hold but many writers write, becomes U+FFFD.

    Raises:
        msgspec.DecodeError: it is not JSON or not of the shape.
        RecursionError: it is nested too deeply.
    """
    try:
        found = msgspec.json.decode(entry, type=InputDocument)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError as error:
        if b"\\u" not in entry:
            raise
        try:
            loose = json.loads(entry)
        except ValueError:
            raise error from None
        found = without_surrogates(msgspec.convert(loose, InputDocument))
    if is_nested_too_deeply(entry):
        raise RecursionError
    return found


def without_surrogates(found: InputDocument) -> InputDocument:
    """Return a document with U+FFFD for each lone surrogate."""
    name = found.id if isinstance(found.id, int) else SURROGATE.sub("\ufffd", found.id)
    return InputDocument(name, SURROGATE.sub("\ufffd", found.text), found.language)


def is_nested_too_deeply(entry: bytes) -> bool:
    """Return whether valid JSON has more than MAX_NESTING levels."""
    if entry.count(b"[") + entry.count(b"{") <= MAX_NESTING:
        return False
    depth = 0
    for match in BRACKET.finditer(entry):
        depth += {b"[": 1, b"{": 1, b"]": -1, b"}": -1}.get(match[0], 0)
        if depth > MAX_NESTING:
            return True
    return False


def reason(error: Exception) -> str:
    """Return why an entry cannot be read; the decoder's words name places and types, never values."""
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)


def locate(data: bytes, error: Exception) -> str:
    """Return why a file cannot be read, its place as line and column."""
    described = reason(error)
    match = re.search(r" ?\(byte (\d+)\)", described)
    if match is None:
        return described
    before = data[: int(match[1])]
    line = before.count(b"\n") + 1
    column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")) + 1
    return f"{described[: match.start()]} (line {line}, column {column})"
