"""Where a text may be cut: between text elements, which Unicode calls grapheme clusters (UAX #29).

The newest rules are used, because they join the most characters. Each search is bounded, because a text may have no
boundary at all. So a position inside a text element of more than LOOKBACK characters may be taken for a boundary.
"""

import re
from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import regex

LOOKBACK: Final = 2000
"""Characters before a position in which to look for a boundary that does not depend on what is before it."""
NEAR: Final = 32
"""Characters in which nearly every text has a boundary."""
LINE_END = re.compile("\r\n")


@cache
def patterns() -> "tuple[regex.Pattern[str], regex.Pattern[str], regex.Pattern[str]]":
    """Return what matches a text element, and what matches backwards from a position.

    These are the last position that is certainly between two text elements, and the last character that is not half of
    a flag.
    """
    import regex  # rarely needed

    extending = r"\p{GCB=EX}\p{GCB=SM}\p{GCB=ZWJ}"
    # Match flags in pairs explicitly, because \X looks back over all flags before each of them.
    cluster = rf"\p{{GCB=RI}}{{2}}[{extending}]*+|\X"
    # No rule joins a character outside the first class to one outside the second (UAX #29, GB3 to GB13).
    joins_next = rf"\p{{GCB=PP}}\p{{GCB=L}}\p{{GCB=RI}}{extending}\r"
    joins_last = rf"\p{{GCB=V}}\p{{GCB=T}}{extending}"
    # ASCII characters are joined only to prepending characters and CR.
    between = rf"(?r)(?<=[^{joins_next}])(?=[^{joins_last}])|(?<=[^\p{{GCB=PP}}\r])(?=[\0-\x7f])"
    return regex.compile(cluster), regex.compile(between), regex.compile("(?r)[^\U0001f1e6-\U0001f1ff]")


def boundaries(text: str, start: int, first: int, last: int) -> set[int]:
    """Return the positions from `first` to `last` that are between text elements.

    Args:
        text: the whole text; of what follows `last`, only the next character counts.
        start: a boundary, at most `first`; nothing before it counts.
        first: the first position to check.
        last: the last position to check.
    """
    if text[max(first - 1, start) : last + 1].isascii():
        inside = (match.start() + 1 for match in LINE_END.finditer(text, max(first - 1, start), last + 1))
        return set(range(first, last + 1)).difference(inside)
    cluster, between, no_flag = patterns()
    begin = earliest = max(first - LOOKBACK, start)
    if safe := between.search(text, earliest, first + 1):
        begin = safe.start()
    else:
        # Halves of flags join in pairs, counted from the first one, however far away that is.
        before = no_flag.search(text, start, earliest)
        begin += (earliest - (before.end() if before else start)) % 2
    ends = (match.end() for match in cluster.finditer(text, begin, last + 1))
    return {place for place in (begin, *ends) if first <= place <= last}


def last_boundary(text: str, start: int, end: int) -> int:
    """Return the last boundary from `start`, which must be one, to `end`."""
    if end >= len(text):
        return len(text)
    for reach in (NEAR, LOOKBACK):
        found = boundaries(text, start, max(start, end - reach), end)
        if found:
            return max(found)
    return end


def is_boundary(text: str, start: int, place: int) -> bool:
    """Return whether a position is a boundary; `start` is one, at most `place`."""
    return place in boundaries(text, start, place, place)
