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
from shared.text_elements import end_of_joined, last_boundary, most_text_elements, size_in_json

TEXT_RECORD: Final = 1000
"""Text elements; the unit of price, begun ones included."""
WORTH_BEGINNING: Final = 8
"""A long document is begun in a request that has at least one part in so many left."""


class Limits(NamedTuple):
    """Of a request: its documents, the text elements of all of them together, and the bytes of all texts as JSON."""

    documents: int
    elements: int
    size: int


REQUEST_LIMITS: Final = Limits(20, 125_000, 800_000)
"""Of custom NER, but for the documents: it accepts 25, and returns results in pages of 20, so that 25 take two calls to
retrieve. A request may have 1 MB, of which ids, languages and the rest need some."""


@dataclass(slots=True)
class Request:
    """The documents of one request, and the places in the file where it begins and where the next one begins.

    `end` is None for the last request of a file. `transactions_count` is what the service is expected to charge.
    """

    start: Position
    documents: list[Document] = field(default_factory=list)
    end: Position | None = None
    transactions_count: int = 0
    elements_count: int = 0
    size: int = 0

    def add(self, document: Document, elements: int, size: int) -> None:
        """Add a document or a part of one, of so many text elements and bytes."""
        self.documents.append(document)
        self.transactions_count += -(-elements // TEXT_RECORD)
        self.elements_count += elements
        self.size += size

    def room(self, limits: Limits) -> Limits:
        """Return what may still be added."""
        return Limits(
            limits.documents - len(self.documents), limits.elements - self.elements_count, limits.size - self.size
        )


def pack(
    entries: Iterable[Document | Problem], start: Position | None = None, limits: Limits = REQUEST_LIMITS
) -> Iterator[Request]:
    """Yield the requests for a file from a place on; what cannot be sent is passed over."""
    before: Request | None = None
    for request in fill_requests(entries, start or Position(), limits):
        if before is not None:
            yield before
        before = request
    if before is not None:
        before.end = None
        yield before


def fill_requests(entries: Iterable[Document | Problem], start: Position, limits: Limits) -> Iterator[Request]:
    """Yield the requests with their ends; also that of the last one."""
    request = Request(start)
    for number, entry in enumerate(entries):
        if isinstance(entry, Problem) or number < start.document:
            continue
        text, place = entry.text, start.offset if number == start.document else 0
        while place < len(text):
            room = request.room(limits)
            part = fitting_part(text, place, room, may_break=not request.documents)
            if request.documents and goes_into_next(text, place, part, room, limits):
                yield finished(request, Position(number, place))
                request = Request(Position(number, place))
                continue
            piece = text[place : part.end]
            here = Position(number, part.end) if part.end < len(text) else Position(number + 1)
            # The service refuses a document of nothing but space.
            if piece.strip():
                if not request.documents:
                    request.start = Position(number, place)
                request.add(Document(entry.id, piece, entry.language), part.elements, part.size)
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
    """Return a request that nothing more goes into."""
    request.end = end
    return request


class Part(NamedTuple):
    """A part of a text: where it ends, how many text elements it has at the most, and its bytes as JSON."""

    end: int
    elements: int
    size: int


def fitting_part(text: str, place: int, room: Limits, *, may_break: bool) -> Part:
    """Return the longest part from a place on that has room and ends where a text may be cut.

    It is empty where not one text element has room, unless it may be broken: that is for one of more bytes than a
    request may have.
    """
    whole = longest_part(text, place, room)
    if whole.end == len(text):
        return whole
    end = last_boundary(text, place, whole.end)
    if end > place:
        end = cut(text, place, end)
    elif may_break:
        end = whole.end
    return Part(end, max(whole.elements - most_text_elements(text[end : whole.end]), 0), whole.size)


def goes_into_next(text: str, place: int, part: Part, room: Limits, limits: Limits) -> bool:
    """Tell whether the rest of a text is left for the next request, of which `part` would have room in this one."""
    if part.end == len(text):
        return False
    is_worth_beginning = (
        part.end > place
        and room.elements * WORTH_BEGINNING >= limits.elements
        and room.size * WORTH_BEGINNING >= limits.size
    )
    fits_alone = longest_part(text, place, limits).end == len(text)
    return fits_alone or not is_worth_beginning


def longest_part(text: str, place: int, room: Limits) -> Part:
    """Return the longest part from a place on within so many text elements and bytes, wherever it ends."""
    # No character has less than a byte, no text more elements than characters.
    most, end, counted = min(len(text), place + room.size), place, 0
    while end < most and counted < room.elements:
        step = min(room.elements - counted, most - end)
        counted += most_text_elements(text[end : end + step])
        # What joins the last character costs nothing, and alone it would be counted.
        end = end_of_joined(text, end + step, most)
    while (used := size_in_json(text[place:end])) > room.size and end > place:
        # Most often as dense throughout; where not, this comes ever closer.
        end = place + min((end - place) * room.size // used, end - place - 1)
        counted = 0
    return Part(end, counted or most_text_elements(text[place:end]), used)
