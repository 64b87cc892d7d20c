"""Documents packed into as few requests as the service's limits allow, in the order of the file.

A document that fits a request of its own is never cut. A longer one first fills up the request before it, so that only
the first document of a request can be the continuation of one that was begun, and only the last one can be continued.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from shared.ner.model import Document, Problem
from shared.source import Position
from shared.splitting import cut

TEXT_RECORD: Final = 1000
"""Characters of a text record, the unit of price. A part of one counts as one."""
WORTH_BEGINNING: Final = 8
"""A long document is begun in a request of which at least this fraction (one eighth) is left."""


class Limits(NamedTuple):
    """Limits of a request: its documents, and the UTF-16 code units of all of them together, at least 2.

    The service counts text elements, by rules that depend on its version. A text never has more of them, or of any
    other kind of character, than code units.
    """

    documents: int
    units: int


REQUEST_LIMITS: Final = Limits(20, 125_000)
"""The limits of custom NER, except for the documents: it accepts 25, but returns results in pages of 20, so 25 take two
calls to retrieve. A request may have 1 MB. A code unit takes at most 6 bytes of JSON, so texts take at most 0.75 MB."""
HALF_LIMITS: Final = Limits(REQUEST_LIMITS.documents // 2, REQUEST_LIMITS.units // 2)
"""For a file if the service refused one of its requests for its size."""


@dataclass(slots=True)
class Request:
    """The documents of one request, and the positions in the file where it begins and where the next one begins.

    `end` is None for the last request of a file. `transactions_count` is what the service is expected to charge: it
    counts code points, and the service text elements, of which there may be fewer.
    """

    start: Position
    documents: list[Document] = field(default_factory=list)
    end: Position | None = None
    transactions_count: int = 0
    units_count: int = 0

    def add(self, document: Document, units: int) -> None:
        """Add a document or a part of one, of that many UTF-16 code units."""
        self.documents.append(document)
        self.transactions_count += -(-len(document.text) // TEXT_RECORD)
        self.units_count += units

    def fits(self, limits: Limits) -> bool:
        """Return whether the request is within limits."""
        return len(self.documents) <= limits.documents and self.units_count <= limits.units


def pack(
    entries: Iterable[Document | Problem], start: Position | None = None, limits: Limits = REQUEST_LIMITS
) -> Iterator[Request]:
    """Yield the requests for a file from a position on; invalid documents and blank text are skipped."""
    before: Request | None = None
    for request in fill_requests(entries, start or Position(), limits):
        if before is not None:
            yield before
        before = request
    if before is not None:
        before.end = None
        yield before


def fill_requests(entries: Iterable[Document | Problem], start: Position, limits: Limits) -> Iterator[Request]:
    """Yield the requests; each has an end, the last one too if it is full."""
    request = Request(start)
    for number, entry in enumerate(entries):
        if isinstance(entry, Problem) or number < start.document:
            continue
        text, place = entry.text, start.offset if number == start.document else 0
        while place < len(text):
            room = limits.units - request.units_count
            part = fitting_part(text, place, room, may_break=not request.documents)
            if request.documents and goes_into_next(text, place, part, room, limits.units):
                yield finished(request, Position(number, place))
                request = Request(Position(number, place))
                continue
            piece = text[place : part.end]
            here = Position(number, part.end) if part.end < len(text) else Position(number + 1)
            # The service refuses a document that consists only of spaces.
            if not piece.isspace():
                if not request.documents:
                    request.start = Position(number, place)
                request.add(Document(entry.id, piece, entry.language), part.units)
                if here.offset or len(request.documents) == limits.documents:
                    yield finished(request, here)
                    request = Request(here)
            elif request.documents and here.offset:
                # Nothing of this document is in the request: it begins with the next one.
                yield finished(request, Position(number, place))
                request = Request(Position(number, place))
                continue
            place = part.end
    if request.documents:
        yield request


def finished(request: Request, end: Position) -> Request:
    """Return a request to which nothing more is added."""
    request.end = end
    return request


class Part(NamedTuple):
    """A part of a text: where it ends, and how many UTF-16 code units it has."""

    end: int
    units: int


def fitting_part(text: str, place: int, room: int, *, may_break: bool) -> Part:
    """Return the longest part from a position on that has room and ends where a text may be cut.

    It is empty if no whole text element fits. If `may_break`, a text element that is larger than a request is broken.
    """
    whole = longest_part(text, place, room)
    if whole.end == len(text):
        return whole
    end = cut(text, place, whole.end)
    if end == place and may_break:
        return whole
    return Part(end, whole.units - count_units(text[end : whole.end]))


def goes_into_next(text: str, place: int, part: Part, room: int, most: int) -> bool:
    """Return whether the rest of a text is left for the next request, although `part` has room in this one."""
    if part.end == len(text):
        return False
    is_worth_beginning = part.end > place and room * WORTH_BEGINNING >= most
    return not is_worth_beginning or longest_part(text, place, most).end == len(text)


def longest_part(text: str, place: int, room: int) -> Part:
    """Return the longest part from a position on within that many code units, wherever it ends."""
    piece = text[place : place + room]
    units = count_units(piece)
    if units > room:
        # Half of a character at the end is left out.
        piece = piece.encode("utf-16-le")[: 2 * room].decode("utf-16-le", "ignore")
        units = count_units(piece)
    return Part(place + len(piece), units)


def count_units(text: str) -> int:
    """Return how many UTF-16 code units a text has: one for each character, two for one beyond U+FFFF."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2
