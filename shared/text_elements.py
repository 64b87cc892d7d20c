"""Characters as the service counts them: text elements (grapheme clusters), never cut by anything here.

The service's limits count `StringInfo.LengthInTextElements` (custom NER, service limits), whose rules changed between
versions of .NET. What did not change: CRLF is one element, and a combining mark belongs to the character before it.
So `most_text_elements` counts exactly that, and never fewer than the service does: an emoji of several code points
counts once for each. Where to cut is decided by the newest rules, which join the most.
"""

import re
import unicodedata
from functools import cache
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    import regex

# A coarse net for text in which a mark may be: everything else is counted without looking for them.
MAY_HOLD_MARKS = re.compile("[\u0300-\u1fff\u20d0-\u20ff\u2cef-\u2dff\u302a-\u309a\ua66f-\uabff\ufb1e\ufe00-\ufe2f]")
# A mark after one of these stands alone (GB4 of Unicode's text segmentation, its Control in a coarse net).
CONTROL: Final = (
    r"\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff\ufff0-\uffff"
    r"\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
NO_INDIC_MARKS_FROM: Final = 0x1000
"""Below it every mark joins; above it some spacing marks do not, so those count as characters of their own."""


@cache
def marks() -> re.Pattern[str]:
    """Return what matches a run of combining marks that joins the character before it; made when first needed."""
    ranges: list[list[int]] = []
    for point in range(0x300, 0x10000):
        category = unicodedata.category(chr(point))
        if category in ("Mn", "Me") or (category == "Mc" and point < NO_INDIC_MARKS_FROM):
            if ranges and ranges[-1][1] == point - 1:
                ranges[-1][1] = point
            else:
                ranges.append([point, point])
    members = "".join(f"\\u{first:04x}-\\u{last:04x}" for first, last in ranges)
    # The look behind comes second, so that the search for the first mark is a fast one.
    return re.compile(f"[{members}](?<=[^{CONTROL}].)[{members}]*", re.DOTALL)


def most_text_elements(text: str) -> int:
    """Return how many text elements a text has at the most."""
    if text.isascii():
        return len(text) - text.count("\r\n")
    joined = text.count("\r\n")
    if MAY_HOLD_MARKS.search(text):
        joined += sum(map(len, marks().findall(text)))
    return len(text) - joined


def end_of_joined(text: str, end: int, last: int) -> int:
    """Return the end, at most `last`, of what joins the character before `end` at no count of its own."""
    if text[end - 1 : end + 1] == "\r\n":
        return min(end + 1, last)
    joined = marks().match(text, end, last) if MAY_HOLD_MARKS.match(text, end, last) else None
    return joined.end() if joined else end


@cache
def clusters() -> "tuple[regex.Pattern[str], regex.Pattern[str]]":
    """Return what matches a grapheme cluster, and what finds the last place that surely is between two, backwards."""
    import regex  # rarely needed

    extending = r"\p{GCB=EX}\p{GCB=SM}\p{GCB=ZWJ}"
    # Flags in pairs, said aloud: left to \X, each would look back over all flags before it.
    cluster = rf"\p{{GCB=RI}}{{2}}[{extending}]*+|\X"
    # No rule joins what ends so to what begins so (UAX #29, GB3 to GB13).
    joins_next = rf"\p{{GCB=PP}}\p{{GCB=L}}\p{{GCB=RI}}{extending}\r"
    joins_last = rf"\p{{GCB=V}}\p{{GCB=T}}{extending}"
    return regex.compile(cluster), regex.compile(rf"(?r)(?<=[^{joins_next}])(?=[^{joins_last}])")


def last_boundary(text: str, start: int, end: int) -> int:
    """Return the last place from `start` to `end` that is not inside a text element; `start` must be such a place."""
    if end >= len(text):
        return len(text)
    around = text[max(end - 1, start) : end + 1]
    if around.isascii():
        return end - 1 if around == "\r\n" else end
    cluster, between = clusters()
    # From a place that surely is a boundary, and near.
    safe = between.search(text, start, end)
    position = start if safe is None else max(safe.start(), start)
    if position == end:
        return end
    for match in cluster.finditer(text, position):
        if match.end() > end:
            break
        position = match.end()
    return position


def is_boundary(text: str, start: int, place: int) -> bool:
    """Tell whether a place is between two text elements; `start` is such a place before it."""
    return last_boundary(text, start, place) == place


def size_in_json(text: str) -> int:
    """Return how many bytes a text takes in a request, between its quotes."""
    return len(msgspec.json.encode(text)) - 2
