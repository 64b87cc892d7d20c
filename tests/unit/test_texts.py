"""What can be sent of uploads, alone and together."""

import asyncio
import gzip
import threading
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.content import content
from shared.packing import REQUEST_LIMITS, pack
from shared.pipeline import texts
from shared.pipeline.texts import File, Text, TextThread, digest_of, joined, read_text
from shared.settings import Settings
from shared.source import Source
from shared.state.batch import Member

NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def settings(sample_values: dict[str, str]) -> Settings:
    """App settings as the tests have them."""
    return Settings.from_environ(sample_values)


def file_of(settings: Settings, name: str, data: bytes) -> File:
    """Return a file with this content."""
    source = Source("incoming", name, name, NOW, len(data))
    return File(Member(source, name), read_text(settings, source, data), NOW)


def lines(texts: list[str]) -> bytes:
    """Return a file of such documents."""
    return "\n".join(f'{{"id": "{number}", "text": "{text}"}}' for number, text in enumerate(texts)).encode()


def test_the_texts_of_several_files_are_one_request(settings: Settings) -> None:
    """In the order of the files; what is counted of each is added up."""
    files = [
        file_of(settings, "a.txt", b"Play jazz."),
        file_of(settings, "b.jsonl", lines(["A table.", "x" * 1001])),
        file_of(settings, "c.txt", "Köln, bitte.".encode("latin-1")),
    ]
    request = joined(files)
    assert request is not None
    assert [document.text for document in request.documents] == ["Play jazz.", "A table.", "x" * 1001, "Köln, bitte."]
    assert request.transactions_count == 5
    assert request.units_count == 10 + 8 + 1001 + 12
    parts = [joined([file]) for file in files]
    assert request.units_count == sum(part.units_count for part in parts if part)


def test_joining_leaves_the_files_as_they_are(settings: Settings) -> None:
    """A batch that waits is joined again."""
    files = [file_of(settings, "a.txt", b"Play jazz."), file_of(settings, "b.txt", b"A table.")]
    assert joined(files) == joined(files)


@pytest.mark.parametrize("documents_count", [REQUEST_LIMITS.documents, REQUEST_LIMITS.documents + 1])
def test_more_documents_than_a_page_of_results_are_not_one_request(documents_count: int, settings: Settings) -> None:
    """However they are spread over the files."""
    files = [file_of(settings, "a.jsonl", lines(["Play."] * 15))]
    files += [file_of(settings, f"{number}.txt", b"Play.") for number in range(documents_count - 15)]
    assert (joined(files) is not None) is (documents_count == REQUEST_LIMITS.documents)


@pytest.mark.parametrize("spare", [0, -1])
def test_more_text_than_the_service_accepts_is_not_one_request(spare: int, settings: Settings) -> None:
    """Its limit is for all documents together."""
    half = REQUEST_LIMITS.units // 2
    files = [file_of(settings, "a.txt", b"x" * half), file_of(settings, "b.txt", b"y" * (half - spare))]
    assert (joined(files) is not None) is (spare == 0)


@pytest.mark.parametrize(
    "data",
    [lines(["Play."] * 21), b'{"id": "1", "text": "Play."}\nno JSON'],
    ids=["of two requests", "with an invalid line"],
)
def test_a_file_that_is_not_one_request_joins_no_others(data: bytes, settings: Settings) -> None:
    """Nor is it one alone: it has a ledger."""
    odd, other = file_of(settings, "odd.jsonl", data), file_of(settings, "other.txt", b"Play.")
    assert joined([odd]) is None
    assert joined([other, odd]) is None


@pytest.mark.parametrize(("blanks", "is_one"), [(1000, True), (250_000, False)])
def test_a_file_whose_beginning_is_not_sent_has_a_ledger(blanks: int, *, is_one: bool, settings: Settings) -> None:
    """Only the ledger records where its request begins, from which offsets count."""
    file = file_of(settings, "a.txt", b" " * blanks + b"Play jazz.")
    assert file.text.is_one_request is is_one
    assert (joined([file]) is not None) is is_one


def test_digests_are_equal_for_what_gives_equal_entities() -> None:
    """The text, how it is sent, and the name that says how to read it."""
    api = {"version": "1", "project": "p"}
    digest = digest_of(api, "en", "a.txt", b"Play.")
    assert digest == digest_of(dict(reversed(api.items())), "en", "a.txt", b"Play.")
    others = [
        digest_of(api | {"project": "q"}, "en", "a.txt", b"Play."),
        digest_of(api, "de", "a.txt", b"Play."),
        digest_of(api, "en", "a.jsonl", b"Play."),
        digest_of(api, "en", "a.txt", b"Play!"),
    ]
    assert len({digest, *others}) == 5
    assert digest_of(api, "en", "a.txt", None) == ""


async def test_long_texts_are_processed_in_a_thread_one_after_another() -> None:
    """Short ones are not, since a thread costs more; others run meanwhile."""
    thread, release, running = TextThread(), threading.Event(), 0

    def work() -> int:
        nonlocal running
        running += 1
        assert running == 1
        assert release.wait(60)
        running -= 1
        return threading.get_ident()

    here = threading.get_ident()
    long = [asyncio.create_task(thread.run(16_385, work)) for _ in range(3)]
    await asyncio.sleep(0)
    assert await thread.run(16_384, threading.get_ident) == here
    release.set()
    assert here not in await asyncio.gather(*long)


async def test_what_work_on_a_text_raises_is_raised() -> None:
    """And the next one has its turn."""
    thread = TextThread()
    for length in (1, 16_385):
        with pytest.raises(ZeroDivisionError):
            await thread.run(length, lambda: 1 // 0)
        assert await thread.run(length, lambda: 1) == 1


async def test_short_files_that_take_long_are_processed_in_the_thread(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compressed bytes may become millions; the models of encodings take long to load and to compare."""
    seen = []

    def note_thread(*given: Any) -> Text:
        seen.append(threading.get_ident())
        return read_text(*given)

    monkeypatch.setattr(texts, "read_text", note_thread)
    thread, source = TextThread(), Source("incoming", "a.txt", "etag", NOW, 30)
    packed = content(gzip.compress(b"Hello"), "gzip")
    for data in (
        packed,
        "Café Lumière".encode("cp1252"),
        "Café Lumière".encode("utf-16-le"),
        b"Hello",
        "Café".encode(),
    ):
        await thread.read(settings, source, data)
    assert [ident == threading.get_ident() for ident in seen] == [False, False, False, True, True]


@pytest.mark.parametrize("unit", [" \u0301", "🇩", "\u200d", "\u1100", "x", "A. ", "\n\u0301"])
def test_the_whole_of_a_text_without_a_good_cut_is_sent(unit: str, settings: Settings) -> None:
    """In requests that are full."""
    text = unit * (900_000 // len(unit.encode()))
    file = file_of(settings, "a.txt", text.encode())
    requests = list(pack(file.text.documents.entries()))
    assert "".join(request.documents[0].text for request in requests) == text
    units = len(text.encode("utf-16-le")) // 2
    assert len(requests) <= -(-units // (REQUEST_LIMITS.units - 2000))
    assert file.text.first == requests[0]
