"""Where to cut a long text: after a paragraph, else a sentence, else a line, else a word; not inside a text element.

An entity that is cut is lost, and what stands beside it helps to recognise it. So the better boundary wins as long as
it is within reach of the end, and between words a place that no name is likely to span.
"""

import re
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from shared.text_elements import boundaries

PARAGRAPH = re.compile(r"(?:\r\n?|\n)[^\S\r\n]*(?:\r\n?|\n)\s*|[\f\u2029]\s*")
# Only the beginning of a run of full stops is tried: from each of them, a long run would be read to its end.
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
"""What a full stop after it does not make the end of a sentence: short forms that a name often follows."""
LONGEST_ABBREVIATION: Final = max(map(len, ABBREVIATIONS))


class Tier(NamedTuple):
    """A kind of boundary: what matches it, within how many characters before the end, and which of them count."""

    pattern: re.Pattern[str]
    reach: int
    holds: Callable[[str, int, int], bool]


def ends_sentence(text: str, begin: int, end: int) -> bool:
    """Tell whether a match of SENTENCE is the end of one."""
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
    """Tell whether a gap between words is unlikely to be inside a name, a number or a date."""
    after, before = text[end : end + 1], text[max(begin - 40, 0) : begin].rsplit(maxsplit=1)
    last = before[-1][:1] if before else ""
    return not (may_begin_entity(last) and may_begin_entity(after))


def may_begin_entity(character: str) -> bool:
    """Tell whether a word that begins so may be part of a name or a quantity; all do where there is no lower case."""
    return character.isdigit() or (character.isalpha() and not character.islower())


def always(text: str, begin: int, end: int) -> bool:  # noqa: ARG001
    """Take any match."""
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
"""Boundaries of a kind. An honest text does not have more within reach of which none is good."""


def cut(text: str, start: int, end: int) -> int:
    """Return where to cut `text[start:]`: the best position up to `end`.

    Only the last REACH characters count: a text element of more may be cut.

    Args:
        text: the whole text.
        start: where the part begins.
        end: where the part ends at the latest.

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
