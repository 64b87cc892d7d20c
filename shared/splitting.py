"""Where to cut a long text: after a paragraph, else a sentence, else a line, else a word; not inside a text element.

A cut entity is lost, and the words around an entity help to recognise it. So a better boundary is preferred if it is
within reach of the end. Between words, so is a position that is unlikely to be inside a name.
"""

import re
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from shared.text_elements import boundaries

PARAGRAPH = re.compile(r"(?:\r\n?|\n)[^\S\r\n]*(?:\r\n?|\n)\s*|[\f\u2029]\s*")
# Match only at the beginning of a run of full stops: trying each of them would take quadratic time.
SENTENCE = re.compile(
    r"(?<![.!?\u2026\u0964\u06d4])[.!?\u2026\u0964\u06d4]+[\"'\u201d\u2019\u00bb)\]]*\s+"
    r"|[\u3002\uff01\uff1f\uff61]+[\u300d\u300f\u201d\uff09]*\s*"
)
LINE = re.compile(r"\r\n?|[\n\x85\u2028]")
CLAUSE = re.compile(r"[,;:\u2013\u2014]\s+|[\u3001\uff0c\uff1b\uff1a\u060c]\s*")
WORD = re.compile(r"\s+|\u200b")

ABBREVIATIONS: Final = frozenset(
    re.findall(
        r"\w+",
        "mr mrs ms mx dr prof rev hon gen sen rep capt col lt sgt st ste mt ft no nr vs inc ltd corp co bros jr sr dept"
        " univ approx ca fig vol pp ed jan feb mar apr jun jul aug sep sept oct nov dec mme mlle sra dra hr fr bzw usw"
        " str ing dipl",
    )
)
"""Words after which a full stop does not end a sentence; a name often follows them."""
LONGEST_ABBREVIATION: Final = max(map(len, ABBREVIATIONS))


class Tier(NamedTuple):
    """A kind of boundary: its pattern, how many characters before the end it may be, and which matches count."""

    pattern: re.Pattern[str]
    reach: int
    holds: Callable[[str, int, int], bool]


def ends_sentence(text: str, begin: int, end: int) -> bool:
    """Return whether a match of SENTENCE is the end of one."""
    if text[begin] != "." or text[begin + 1 : begin + 2] == ".":
        return True
    following = text[end : end + 1]
    return not following.islower() and not following.isdigit() and not is_abbreviated(text, begin)


def is_abbreviated(text: str, end: int) -> bool:
    """Return whether the word before a full stop is an initial or a short form."""
    start = end
    while start > 0 and end - start <= LONGEST_ABBREVIATION and (text[start - 1].isalnum() or text[start - 1] == "_"):
        start -= 1
    word = text[start:end]
    return (len(word) == 1 and word.isalpha()) or word.lower() in ABBREVIATIONS


def divides_names(text: str, begin: int, end: int) -> bool:
    """Return whether a gap between words is unlikely to be inside a name, a number or a date."""
    after, before = text[end : end + 1], text[max(begin - 40, 0) : begin].rsplit(maxsplit=1)
    last = before[-1][:1] if before else ""
    return not (may_begin_entity(last) and may_begin_entity(after))


def may_begin_entity(character: str) -> bool:
    """Return whether a name or a quantity may begin with a character; any letter of a script without case may."""
    return character.isdigit() or (character.isalpha() and not character.islower())


def always(text: str, begin: int, end: int) -> bool:  # noqa: ARG001
    """Accept any match."""
    return True


TIERS: Final = (
    Tier(PARAGRAPH, 2000, always),
    Tier(SENTENCE, 2000, ends_sentence),
    Tier(LINE, 1000, divides_names),
    Tier(CLAUSE, 1000, always),
    Tier(WORD, 1000, divides_names),
    Tier(LINE, 1000, always),
    Tier(WORD, 1000, always),
)


REACH: Final = max(tier.reach for tier in TIERS)
MAX_TRIED: Final = 200
"""Boundaries of a kind that are tried, which bounds the time for a hostile text."""


def cut(text: str, start: int, end: int) -> int:
    """Return where to cut `text[start:]`: the best position up to `end`.

    Only the last REACH characters are searched, so a longer text element may be cut.

    Args:
        text: the whole text.
        start: where the part begins.
        end: the last position at which the part may end.

    Returns:
        `start` if a single text element reaches from there to beyond `end`.
    """
    if end >= len(text):
        return len(text)
    places = boundaries(text, start, max(start, end - REACH), end)
    for tier in TIERS:
        for begin, place in matches_backwards(tier.pattern, text, max(start + 1, end - tier.reach), end):
            if place in places and tier.holds(text, begin, place):
                return place
    return max(places, default=end)


def matches_backwards(pattern: re.Pattern[str], text: str, first: int, last: int) -> Iterator[tuple[int, int]]:
    """Yield begin and end of the last MAX_TRIED matches between two positions, the last one first."""
    yield from reversed(deque((match.span() for match in pattern.finditer(text, first, last)), MAX_TRIED))
