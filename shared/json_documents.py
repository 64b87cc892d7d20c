"""Many documents of one file: JSON lines, JSON values one after another, a JSON list, or `{"documents": [...]}`.

The contents decide which of these forms a file has, whatever its name. Entries are read one at a time, and a file may
have at most MAX_DOCUMENTS.
"""

import re
from typing import Final

from shared.json_entries import RAW, SHAPE, UNREADABLE, Checks, Entries, decode, not_a_document, reason
from shared.json_scanning import (
    GAP,
    LINE,
    MAX_NESTING,
    ScanError,
    Spans,
    count_lines,
    list_items,
    look_at_object,
    next_line,
    run_end,
    value_end,
    values,
)
from shared.ner.model import Problem

MAX_DOCUMENTS: Final = 250_000
"""Documents of a file, invalid ones included. In 20 MiB, these have 80 bytes each, and take 12,500 requests."""
NO_LIST: Final = (
    f"The file contains no list of documents. Write a JSON list of documents such as {SHAPE}, or "
    '{"documents": [...]} with such a list. With pandas, use to_json(orient="records").'
)
BYTE = re.compile(r" ?\(byte (\d+)\)")


class ShapeError(Exception):
    """The documents of a file cannot be read; `code` is for programs, `message` says what to do."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        self.message = message
        super().__init__(message)


def json_documents(data: bytes, language: str, *, is_lines: bool) -> Entries:
    """Yield the documents of a file in any of the forms.

    Args:
        data: the file, in UTF-8.
        language: that of documents that name none.
        is_lines: whether its name says that each line is a document, so that invalid JSON concerns one line only.

    Raises:
        ShapeError: the file is not JSON, or not of such a form, or has too many documents.
    """
    start = next_line(data, 0)
    try:
        spans = spans_of(data, start, is_lines=is_lines)
        entries = read_lines(data, start, language) if spans is None else read_values(data, spans, language)
        yield from limited(entries)
    except ScanError as error:
        where = locate(data, error.place)
        advice = "Fix it and upload it again. If it is plain text, give it a name that ends in .txt."
        message = f"The file is not valid JSON: {error.reason} {where}. {advice}"
        raise ShapeError("InvalidJson", message) from None


def spans_of(data: bytes, start: int, *, is_lines: bool) -> Spans | None:
    """Return where the documents of a file begin and end; None if each line is one."""
    head = data[start : start + 1]
    if head == b"[":
        return whole_list(data, start, start)
    if head != b"{":
        if is_lines:
            return None
        check(data[start:], start)
        raise ShapeError("InvalidJson", NO_LIST)
    try:
        # A line may have such a list besides its text, so look at the whole line.
        end, documents, heads = look_at_object(data, start, is_whole=is_lines)
    except ScanError:
        if is_lines:
            return None
        raise
    is_document = heads.get(b'"text"') == b'"' or heads.get(b'"data"') in (b'"', b"{")
    if documents is not None and not (is_lines and is_document):
        return whole_list(data, start, documents)
    is_only_one = next_line(data, end) == len(data)
    if is_only_one and not is_document and (not is_lines or b'"' not in heads.values()):
        raise ShapeError("InvalidJson", NO_LIST)
    if count_lines(data, start, end):
        return values(data, start)
    after = run_end(GAP, data, end)
    is_alone = data[after : after + 1] in (b"", b"\r", b"\n")
    return None if is_alone or (is_lines and data[after : after + 1] != b"{") else values(data, start)


def whole_list(data: bytes, start: int, begin: int) -> Spans:
    """Yield the items of the list at a place, then check what is around it, from `start` to the end of the file."""
    end = yield from list_items(data, begin)
    around = data[start:begin] + b"[]" + data[end:]
    check(around, start, begin - start + 2, end - begin - 2)
    if around.startswith(b"{"):
        look_at_object(around, 0, is_whole=True)  # there may be another list after this one
    return len(data)


def check(part: bytes, begin: int, hole: int = 0, length: int = 0) -> None:
    """Raise ScanError if a part of a file is not JSON; `length` bytes of the file are left out at `hole`."""
    try:
        decode(RAW, part)
    except UNREADABLE as error:
        place = place_of(error, part)
        raise ScanError(BYTE.sub("", reason(error)), begin + place + (length if place >= hole else 0)) from None


def read_lines(data: bytes, start: int, language: str) -> Entries:
    """Yield the documents of a file with one in each line; blank lines are skipped."""
    checks = Checks(language, "line")
    number = 1 + count_lines(data, 0, start)
    while start < len(data):
        # JSON strings may hold the other line ends of Unicode, but neither \n nor \r.
        end = run_end(LINE, data, start)
        entry, place = data[start:end], f"Line {number}"
        try:
            found = checks.read(entry, number, place)
            if entry.count(b"[") + entry.count(b"{") > MAX_NESTING:
                value_end(entry, 0)
        except UNREADABLE as error:
            found = not_a_document(place, reason(error))
        except ScanError as error:
            found = not_a_document(place, error.reason)
        yield found
        start = next_line(data, end)
        number += count_lines(data, end, start)


def read_values(data: bytes, spans: Spans, language: str) -> Entries:
    """Yield the documents of a file that is not lines; invalid JSON ends it, as the next document may be anywhere.

    Raises:
        ScanError: the file is not JSON.
    """
    checks = Checks(language, "document")
    line, place = 1, 0
    for number, (begin, end) in enumerate(spans, 1):
        line += count_lines(data, place, begin)
        place = begin
        entry = data[begin:end]
        try:
            found = checks.read(entry, number, f"Document {number} (line {line})")
        except UNREADABLE as error:
            raise ScanError(BYTE.sub("", reason(error)), begin + place_of(error, entry)) from None
        yield found


def limited(entries: Entries) -> Entries:
    """Yield the documents of a file that has no more than MAX_DOCUMENTS.

    Raises:
        ShapeError: it has more.
    """
    invalid, first = 0, ""
    for count, entry in enumerate(entries):
        if count == MAX_DOCUMENTS:
            message = f"The file has more than {MAX_DOCUMENTS:,} documents. Split it into smaller files."
            if invalid:
                message += f" Of the first {count:,}, {invalid:,} are invalid, the first one for this reason: {first}"
            raise ShapeError("TooManyDocuments", message)
        if isinstance(entry, Problem):
            first = first or entry.message
            invalid += 1
        yield entry


def place_of(error: Exception, part: bytes) -> int:
    """Return the position that a decoder names, or the end."""
    match = BYTE.search(str(error))
    return int(match[1]) if match else len(part)


def locate(data: bytes, place: int) -> str:
    """Return a position as line and column."""
    start = max(data.rfind(b"\n", 0, place), data.rfind(b"\r", 0, place)) + 1
    column = len(data[start:place].decode("utf-8", "replace")) + 1
    return f"(line {count_lines(data, 0, start) + 1}, column {column})"
