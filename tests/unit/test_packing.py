"""Documents in as few requests as the limits allow."""

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.merging import numbered
from shared.ner.model import Document, Problem
from shared.packing import HALF_LIMITS, REQUEST_LIMITS, Limits, Request, count_units, pack
from shared.source import Position
from tests.unit.test_text_elements import CLUSTER, all_boundaries, texts

BODY_BYTES = 1_000_000
SENTENCE = "We met Dr. Smith at the Blue Heron in New York. "

documents = st.lists(st.one_of(texts.map(lambda text: Document("id", text, "en")), st.just(Problem("Code", "bad"))))
limits = st.builds(Limits, st.integers(1, 4), st.integers(2, 30))


def doc(text: str) -> Document:
    """Return a document of a text."""
    return Document("id", text, "en")


def sent_parts(requests: list[Request]) -> list[tuple[int, int, str]]:
    """Return number and offset of each part that is sent, by what the requests say of their places."""
    parts = []
    for request in requests:
        number, offset = request.start.document, request.start.offset
        for document in request.documents:
            parts.append((number, offset, document.text))
            number, offset = number + 1, 0
    return parts


@given(documents, limits)
def test_nothing_is_lost_or_repeated_and_no_limit_is_broken(entries: list[Document | Problem], limits: Limits) -> None:
    """Save for blanks, which the service refuses, and only between text elements unless one breaks a limit alone."""
    requests = list(pack(entries, limits=limits))
    sent = "".join(document.text for request in requests for document in request.documents)
    written = "".join(entry.text for entry in entries if isinstance(entry, Document))
    assert "".join(sent.split()) == "".join(written.split())
    for request in requests:
        assert 1 <= len(request.documents) <= limits.documents
        assert sum(len(document.text.encode("utf-16-le")) // 2 for document in request.documents) <= limits.units
        assert all(document.text.strip() for document in request.documents)


@given(documents, limits)
def test_places_are_true(entries: list[Document | Problem], limits: Limits) -> None:
    """Each request begins where it says, and ends where the next one may begin; only the last one has no end."""
    requests = list(pack(entries, limits=limits))
    assert [request.end is None for request in requests] == [False] * (len(requests) - 1) + [True] * bool(requests)
    for request in requests:
        entry = entries[request.start.document]
        assert isinstance(entry, Document)
        assert entry.text.startswith(request.documents[0].text, request.start.offset)
        whole = request.documents[1:-1] if request.end and request.end.offset else request.documents[1:]
        texts_of_file = [entry.text for entry in entries if isinstance(entry, Document)]
        assert all(document.text in texts_of_file for document in whole)
        if request.end is not None and request.end.offset:
            goes_on = entries[request.end.document]
            assert isinstance(goes_on, Document)
            assert goes_on.text[: request.end.offset].endswith(request.documents[-1].text)


@given(documents, limits)
def test_going_on_from_any_request_gives_the_same(entries: list[Document | Problem], limits: Limits) -> None:
    """After an interruption the rest is what it would have been."""
    requests = list(pack(entries, limits=limits))
    for number, request in enumerate(requests[:-1], 1):
        assert list(pack(entries, request.end, limits)) == requests[number:]


@given(texts, st.integers(2, 30))
@example("0\u0300", 2)
@example("0" + "\u0300" * 10 + "1", 3)
@example("\r\n" * 3, 2)
@example("🍷" * 3, 3)
def test_cuts_are_between_text_elements(text: str, units: int) -> None:
    """As long as a request has room for any of them."""
    places = all_boundaries(text)
    most = max(map(count_units, CLUSTER.findall(text)), default=1)
    for request in pack([doc(text)], limits=Limits(25, max(units, most))):
        assert request.start.offset in places
        assert request.end is None or request.end.offset in places


@given(texts)
def test_no_way_of_counting_finds_more_characters_than_units(text: str) -> None:
    """Code points, text elements, and UTF-16 code units, with CRLF as two."""
    units = count_units(text)
    assert units == sum(2 if character > "\uffff" else 1 for character in text)
    assert units >= len(text) >= len(CLUSTER.findall(text))


def test_a_document_that_fits_a_request_is_not_cut() -> None:
    """Though two might have been filled up better."""
    half = "x" * 70_000
    assert [request.documents for request in pack([doc(half), doc(half)])] == [[doc(half)], [doc(half)]]


def test_a_long_document_fills_up_the_request_before_it_and_leaves_room_after_it() -> None:
    """Three documents of two requests' length together are two requests."""
    requests = list(pack([doc("a" * 40_000), doc(SENTENCE * 3500), doc("c" * 30_000)]))
    assert [len(request.documents) for request in requests] == [2, 2]
    assert requests[0].end is not None
    assert requests[0].end.document == 1
    assert requests[1].start == requests[0].end
    assert requests[1].documents[1] == doc("c" * 30_000)


@pytest.mark.parametrize(
    ("text", "most"),
    [
        (SENTENCE * 42_000, 19),
        ("x" * 2_000_000, 16),
        ("e\u0301" * 1_000_000, 17),
        ("漢" * 2_000_000, 16),
        ("🍷" * 1_000_000, 16),
        ("\x01" * 125_000, 1),
        ("a\r\n" * 500_000, 13),
    ],
    ids=["sentences", "letters", "marks", "han", "emoji", "controls", "lines"],
)
def test_long_texts_take_no_more_requests_than_needed(text: str, most: int) -> None:
    """At most two over the length, in UTF-16 code units, by the limit; each within the size of a body."""
    requests = list(pack([doc(text)]))
    assert len(requests) <= most
    assert "".join(request.documents[0].text for request in requests) == text
    assert all(len(msgspec.json.encode(request.documents)) <= BODY_BYTES for request in requests)


def test_ids_of_any_length_leave_a_request_within_its_size() -> None:
    """Twenty of the longest ids beside the longest text."""
    entries = [Document(f"{number:02}" + "\x01" * 510, "é" * 6250, "en") for number in range(20)]
    (request,) = pack(entries)
    assert len(msgspec.json.encode(numbered(request.documents))) <= BODY_BYTES


def test_small_documents_go_by_twenty() -> None:
    """A thousand are fifty requests, each with one page of results."""
    requests = list(pack([doc("A table for two.")] * 1000))
    assert [len(request.documents) for request in requests] == [20] * 50
    assert requests[-1].start == Position(980)


def test_transactions_are_what_the_service_charges() -> None:
    """Begun thousands of each document's characters, whatever they are."""
    (request,) = pack([doc("x"), doc("x" * 1000), doc("x" * 1001), doc("🍷" * 1000)])
    assert request.transactions_count == 1 + 1 + 2 + 1
    assert REQUEST_LIMITS.documents == 20


@pytest.mark.parametrize("text", ["x" * 125_000, "🍷" * 62_500, "a\r\n" * 41_666 + "xx"])
def test_halved_requests_are_about_half(text: str) -> None:
    """One document is two parts, and twenty documents are two requests."""
    assert [request.units_count for request in pack([doc(text)])] == [125_000]
    assert len(list(pack([doc(text)], limits=HALF_LIMITS))) in (2, 3)
    assert [len(request.documents) for request in pack([doc("x")] * 20, limits=HALF_LIMITS)] == [10, 10]


def test_blanks_are_passed_over() -> None:
    """However many; what follows keeps its place."""
    blank = "\n" * 300_000
    requests = list(pack([doc("first"), doc(blank + "second"), doc(" "), doc("third" + blank)]))
    assert sent_parts(requests)[0] == (0, 0, "first")
    found = {document.text.strip() for request in requests for document in request.documents}
    assert found == {"first", "second", "third"}
