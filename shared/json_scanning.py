"""Where the values of a JSON text begin and end.

Everything here takes linear time and little memory. A step reads at most SLICE bytes, because no other thread runs
during a step. The decoder checks later whether a value is valid.
"""

import re
from collections.abc import Generator
from typing import Final, NamedTuple

import msgspec

SLICE: Final = 1024 * 1024
MAX_NESTING: Final = 500
"""Levels of a value. Real files need far fewer. Some versions of Python read 100,000, others fewer than 1,000."""
MAX_MEMBERS: Final = 1000
"""Members of an object that are checked one by one."""
LONGEST_ESCAPED: Final = len('""') + len(r"\u0000") * len("documents")
"""Bytes of the longest name that the app knows, if each character is an escape."""
TOO_DEEP: Final = "it is nested too deeply"

BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
BODY: Final = rb'(?:[^"\\\x00-\x1f]++|\\.)*+'
PLAIN: Final = rb'[^"\[\]{}]++|"' + BODY + rb'"'
BRACKETS: Final = rb"([\[{]++|[\]}]++)?"
BLANK = re.compile(rb"[ \t\r\n]*+")
GAP = re.compile(rb"[ \t]*+")
BETWEEN_LINES = re.compile(rb"(?:[ \t\r\n]++|%b)*+" % BYTE_ORDER_MARK)
"""Files that were joined have a byte order mark at the beginning of a line."""
LINE = re.compile(rb"[^\r\n]*+")
SCALAR = re.compile(rb'[^ \t\r\n",:\[\]{}]*+')
STRING = re.compile(BODY, re.DOTALL)
SHALLOW = re.compile(rb"(?:%b|[\[{](?:%b)*+[\]}])*+%b" % (PLAIN, PLAIN, BRACKETS), re.DOTALL)
"""Up to the next brackets in a row, over lists and objects that contain no others."""
FLAT = re.compile(rb"(?:%b)*+%b" % (PLAIN, BRACKETS), re.DOTALL)
"""Up to the next brackets in a row."""

PAIR: Final = rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
SOUND: Final = rb'(?:[^"\\]++|\\[^u]|\\u[^dD]|\\u[dD][0-7]|%b)*+' % PAIR
UP_TO_SURROGATE = re.compile(SOUND, re.DOTALL)
SURROGATES = re.compile(rb"(?:(?!%b)\\u[dD][89a-fA-F][0-9a-fA-F]{2}){1,9999}+" % PAIR)
"""Surrogates outside a pair, as many as one step may read."""
UP_TO_CONSTANT = re.compile(rb'(?:[^"NI\-]++|"%b")*+' % SOUND, re.DOTALL)
CONSTANT = re.compile(rb"NaN|-?Infinity")
CONSTANTS = re.compile(rb"(?:(?:%b)[, ]?){1,9999}+" % CONSTANT.pattern)


class ScanError(Exception):
    """A text is not JSON, or nested too deeply: `reason` says why, `place` is the position."""

    def __init__(self, reason: str, place: int) -> None:
        self.reason = reason
        self.place = place
        super().__init__(reason)


class Opening(NamedTuple):
    """The object that a text begins with.

    Attributes:
        end: the position after it, or that of the list of documents if the search ended there.
        documents: the position of the list in its member `documents`; None if it has none.
        heads: the first byte of each member's value, by the member's name in quotes.
    """

    end: int
    documents: int | None
    heads: dict[bytes, bytes]


Spans = Generator[tuple[int, int], None, int]
"""Yields where each value begins and ends; returns the position after the last one."""


def run_end(pattern: re.Pattern[bytes], data: bytes, place: int) -> int:
    """Return the end of a run; the pattern must match any part of it."""
    while True:
        match = pattern.match(data, place, place + SLICE)
        if match is None or match.end() < place + SLICE:
            return match.end() if match else place
        place = match.end()


def skip_blank(data: bytes, place: int) -> int:
    """Return the next position that is not a space."""
    return run_end(BLANK, data, place)


def next_line(data: bytes, place: int) -> int:
    """Return the next position that is neither a space nor a byte order mark."""
    place = run_end(BETWEEN_LINES, data, place)
    # A slice may end within a mark.
    while data.startswith(BYTE_ORDER_MARK, place):
        place = run_end(BETWEEN_LINES, data, place)
    return place


def count_lines(data: bytes, start: int, end: int) -> int:
    """Return how many lines end between two positions: at \\n, at \\r\\n or at \\r alone."""
    lines = data.count(b"\n", start, end)
    returns = data.count(b"\r", start, end)
    return lines + returns - data.count(b"\r\n", start, end) if returns else lines


def string_end(data: bytes, begin: int) -> int:
    """Return the position after the string whose opening quote is at `begin`."""
    place = begin + 1
    while True:
        end = run_end(STRING, data, place)
        if data[end : end + 1] == b'"':
            return end + 1
        if end + 1 >= len(data):
            raise ScanError("a string is not closed", begin)
        # A slice may end within an escape; the next one begins with it.
        if end == place:
            raise ScanError("a string contains a line break or another control character", end)
        place = end


def value_end(data: bytes, begin: int) -> int:
    """Return the position after the value that begins at `begin`."""
    head = data[begin : begin + 1]
    if head == b'"':
        return string_end(data, begin)
    if head in (b"[", b"{"):
        return brackets_end(data, begin)
    end = run_end(SCALAR, data, begin)
    if end == begin:
        raise ScanError("a value is missing", begin)
    return end


def brackets_end(data: bytes, begin: int) -> int:
    """Return the position after the list or object at `begin`. Kinds of inner brackets are not compared."""
    place, depth = begin + 1, 1
    while True:
        tokens = SHALLOW if depth < MAX_NESTING else FLAT
        for token in tokens.finditer(data, place, place + SLICE):
            place, brackets = token.end(), token[1]
            if brackets is None:
                break
            if brackets[0] in b"[{":
                depth += len(brackets)
                if depth >= MAX_NESTING:
                    break
            else:
                depth -= len(brackets)
                if depth <= 0:
                    return place + depth
        if depth > MAX_NESTING:
            raise ScanError(TOO_DEEP, begin)
        if place >= len(data):
            raise ScanError("a list or an object is not closed", begin)
        if data[place : place + 1] == b'"':
            place = string_end(data, place)


def list_items(data: bytes, begin: int) -> Spans:
    """Yield the items of the list that begins at `begin`."""
    place = skip_blank(data, begin + 1)
    if data[place : place + 1] == b"]":
        return place + 1
    while True:
        end = value_end(data, place)
        yield place, end
        place = skip_blank(data, end)
        head = data[place : place + 1]
        if head == b"]":
            return place + 1
        if not head:
            raise ScanError("the list is not closed", end)
        if head != b",":
            raise ScanError("expected `,` or `]`", place)
        place = skip_blank(data, place + 1)


def values(data: bytes, place: int) -> Spans:
    """Yield the values that follow each other from a position on."""
    while (place := skip_blank(data, place)) < len(data):
        end = value_end(data, place)
        yield place, end
        place = end
    return place


def look_at_object(data: bytes, begin: int, *, is_whole: bool) -> Opening:
    """Return the members of the object at a position; unless `is_whole`, only up to the list of documents."""
    heads: dict[bytes, bytes] = {}
    documents: int | None = None
    place = skip_blank(data, begin + 1)
    for _ in range(MAX_MEMBERS):
        if data[place : place + 1] == b"}":
            return Opening(place + 1, documents, heads)
        if data[place : place + 1] != b'"':
            raise ScanError("expected the name of a field in quotes", place)
        end = string_end(data, place)
        name = without_escapes(data[place:end])
        place = skip_blank(data, end)
        if data[place : place + 1] != b":":
            raise ScanError("expected `:`", place)
        place = skip_blank(data, place + 1)
        if name == b'"documents"' and name in heads:
            raise ScanError("the field `documents` occurs twice", place)
        heads[name] = data[place : place + 1]
        if name == b'"documents"' and heads[name] == b"[":
            documents = place
            if not is_whole:
                return Opening(place, documents, heads)
        place = skip_blank(data, value_end(data, place))
        if data[place : place + 1] == b",":
            place = skip_blank(data, place + 1)
        elif data[place : place + 1] != b"}":
            raise ScanError("expected `,` or `}`", place)
    return Opening(brackets_end(data, begin), documents, heads)


def without_escapes(name: bytes) -> bytes:
    """Return a field's name in quotes without escapes; a name that is too long to be known is returned as it is."""
    if len(name) > LONGEST_ESCAPED or b"\\" not in name:
        return name
    try:
        return msgspec.json.encode(msgspec.json.decode(name))
    except (msgspec.DecodeError, ValueError):
        return name


def tolerated(entry: bytes) -> bytes:
    """Return an entry as valid JSON: with null for NaN and Infinity, and U+FFFD for lone surrogates."""
    found, place = bytearray(), 0
    while place < len(entry):
        end = run_end(UP_TO_CONSTANT, entry, place)
        found += entry[place:end]
        constants = CONSTANTS.match(entry, end)
        if constants:
            found += CONSTANT.sub(b"null", constants[0])
            place = constants.end()
        else:
            found += entry[end : end + 1]
            place = add_string(found, entry, end + 1) if entry[end : end + 1] == b'"' else end + 1
    return bytes(found)


def add_string(found: bytearray, entry: bytes, place: int) -> int:
    """Add the rest of a string without its lone surrogates; return the position after it."""
    while place < len(entry):
        end = run_end(UP_TO_SURROGATE, entry, place)
        found += entry[place:end]
        surrogates = SURROGATES.match(entry, end)
        if surrogates:
            found += rb"\ufffd" * (len(surrogates[0]) // len(rb"\ufffd"))
            place = surrogates.end()
        elif entry[end : end + 1] == b'"':
            found += b'"'
            return end + 1
        elif end == place:
            found += entry[end : end + 1]
            place = end + 1
        else:
            # A slice may have ended within an escape.
            place = end
    return place
