"""Offsets in the units of the service's stringIndexType, to and from Python's code points."""

from array import array
from bisect import bisect_left
from enum import StrEnum
from typing import Final

import regex

# Flags in pairs, said aloud: left to \X, each would look back over all flags before it.
TEXT_ELEMENT: Final = regex.compile(r"\p{GCB=RI}{2}[\p{GCB=EX}\p{GCB=SM}\p{GCB=ZWJ}]*+|\X")
FIRST_COMBINING_MARK: Final = "\u0300"
LAST_OF_BMP: Final = "\uffff"


class StringIndexType(StrEnum):
    """What an offset and a length count."""

    TEXT_ELEMENTS = "TextElements_v8"
    """Grapheme clusters, as .NET's StringInfo counts them: a flag, a family emoji and CRLF are one each."""
    UNICODE_CODE_POINT = "UnicodeCodePoint"
    """What Python's len() counts."""
    UTF16_CODE_UNIT = "Utf16CodeUnit"
    """What .NET, Java and JavaScript strings count: two for a character beyond U+FFFF."""


class StringIndexError(ValueError):
    """A place is outside the text, or inside a character."""


class StringIndex:
    """The units of one text; built once, then asked about any number of places.

    Building takes time in the length of the text, save for the common texts whose units are their code points; a
    question takes logarithmic time.
    """

    __slots__ = ("_index_type", "_starts", "length")

    length: int
    """Units in the text."""

    def __init__(self, text: str, index_type: StringIndexType) -> None:
        """Find the units of a text."""
        self._index_type = index_type
        self._starts = unit_starts(text, index_type)
        """For each unit its code point and, at the end, the text's length; None where the two are the same."""
        self.length = len(text) if self._starts is None else len(self._starts) - 1

    def to_code_points(self, offset: int, length: int) -> tuple[int, int]:
        """Return the offset and length in code points of a range given in units.

        Raises:
            StringIndexError: the range is not within the text, or cuts a surrogate pair.
        """
        if offset < 0 or length < 0 or offset + length > self.length:
            raise StringIndexError(
                f"offset {offset} and length {length} are outside a text of {self.length} {self._index_type} units"
            )
        start, end = self._to_code_point(offset), self._to_code_point(offset + length)
        return start, end - start

    def from_code_points(self, offset: int, length: int) -> tuple[int, int]:
        """Return the offset and length in units of a range given in code points.

        A range that begins or ends inside a text element grows to hold all of it; an empty range stays empty.

        Raises:
            StringIndexError: the range is not within the text.
        """
        size = self.length if self._starts is None else self._starts[-1]
        if offset < 0 or length < 0 or offset + length > size:
            raise StringIndexError(f"offset {offset} and length {length} are outside a text of {size} code points")
        if self._starts is None:
            return offset, length
        start = bisect_left(self._starts, offset)
        if self._starts[start] != offset:
            start -= 1
        end = bisect_left(self._starts, offset + length) if length else start
        return start, end - start

    def _to_code_point(self, unit: int) -> int:
        if self._starts is None:
            return unit
        if 0 < unit < self.length and self._starts[unit] == self._starts[unit - 1]:
            raise StringIndexError(f"{unit} {self._index_type} units into the text is inside a character")
        return self._starts[unit]


def unit_starts(text: str, index_type: StringIndexType) -> "array[int] | None":
    """Return the code point that each unit begins in, and last the text's length; None where units are code points."""
    if index_type is StringIndexType.TEXT_ELEMENTS and not has_only_single_text_elements(text):
        starts = array("L", (match.start() for match in TEXT_ELEMENT.finditer(text)))
    elif index_type is StringIndexType.UTF16_CODE_UNIT and not text.isascii() and max(text) > LAST_OF_BMP:
        starts = array("L")
        for position, character in enumerate(text):
            starts.append(position)
            if character > LAST_OF_BMP:
                starts.append(position)
    else:
        return None
    starts.append(len(text))
    return starts


def has_only_single_text_elements(text: str) -> bool:
    """Return whether plainly each code point is a text element: below the combining marks only CRLF is none."""
    return (text.isascii() or max(text) < FIRST_COMBINING_MARK) and "\r\n" not in text


def count_text_elements(text: str) -> int:
    """Return the number of grapheme clusters, the unit of the service's size limits."""
    return StringIndex(text, StringIndexType.TEXT_ELEMENTS).length
