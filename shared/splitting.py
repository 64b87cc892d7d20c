"""Where to cut a long text: after a paragraph, else a sentence, else a line, else a word; never inside a text element.

An entity that is cut is lost, and what stands beside it helps to recognise it. So the better boundary wins as long as
it is within reach of the end, and between words a place that no name is likely to span.
"""

import re
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from shared.text_elements import is_boundary

PARAGRAPH = re.compile(r"(?:\r\n?|\n)[^\S\r\n]*(?:\r\n?|\n)\s*|[\f\u2029]\s*")
SENTENCE = re.compile(
    r"[.!?\u2026\u0964\u06d4]+[\"'\u201d\u2019\u00bb)\]]*\s+|[\u3002\uff01\uff1f\uff61]+[\u300d\u300f\u201d\uff09]*\s*"
)
LINE = re.compile(r"\r\n?|[\n\x85\u2028]")
CLAUSE = re.compile(r"[,;:\u2013\u2014]\s+|[\u3001\uff0c\uff1b\uff1a\u060c]\s*")
WORD = re.compile(r"\s+|\u200b")

# What stands before a full stop that ends no sentence: an initial, or a short form that a name often follows.
ABBREVIATION = re.compile(
    r"(?:\b[^\W\d_]|\b(?:mr|mrs|ms|mx|dr|prof|rev|hon|gen|sen|rep|capt|col|lt|sgt|st|ste|mt|ft|no|nr|vs|inc|ltd|corp|co"
    r"|bros|jr|sr|dept|univ|approx|ca|fig|vol|pp|ed|jan|feb|mar|apr|jun|jul|aug|sep|sept|oct|nov|dec|mme|mlle|sra|dra"
    r"|hr|fr|bzw|usw|str|ing|dipl))\.$",
    re.IGNORECASE,
)
CONTEXT: Final = 24
"""Characters before a full stop that tell whether it ends a sentence."""


class Tier(NamedTuple):
    """A kind of boundary: what matches it, within how many characters before the end, and which of them count."""

    pattern: re.Pattern[str]
    reach: int
    holds: Callable[[str, int, int], bool]


def ends_sentence(text: str, begin: int, end: int) -> bool:
    """Tell whether a match of SENTENCE is the end of one."""
    if text[begin] != "." or text[begin + 1 : begin + 2] == ".":
        return True
    before = text[max(begin - CONTEXT, 0) : begin + 1]
    following = text[end : end + 1]
    return not following.islower() and not following.isdigit() and ABBREVIATION.search(before) is None


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


def cut(text: str, start: int, end: int) -> int:
    """Return where to cut `text[start:]`: the best place after `start` and up to `end`.

    `start` and `end` must be places between text elements, `start` before `end`.
    """
    if end >= len(text):
        return len(text)
    for tier in TIERS:
        for begin, place in matches_backwards(tier.pattern, text, max(start + 1, end - tier.reach), end):
            if tier.holds(text, begin, place) and is_boundary(text, start, place):
                return place
    return end


def matches_backwards(pattern: re.Pattern[str], text: str, first: int, last: int) -> Iterator[tuple[int, int]]:
    """Yield begin and end of what matches within two places, the last one first."""
    found = [match.span() for match in pattern.finditer(text, first, last)]
    yield from reversed(found)
