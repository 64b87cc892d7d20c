"""What a dropped file says, and why some files say nothing."""

import codecs

import pytest

from shared.documents import MOST_CHARACTERS, DocumentError, count_transactions, read_documents
from shared.ner.model import Document

TEXT = "Crème brûlée 🍮\r\nat Café Lumière"


def read(name: str, data: bytes, max_bytes: int = 1_000_000) -> list[Document]:
    """Read a file in English."""
    return read_documents(name, data, language="en", max_bytes=max_bytes)


@pytest.mark.parametrize(
    "data",
    [
        TEXT.encode(),
        codecs.BOM_UTF8 + TEXT.encode(),
        codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"),
        codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
        codecs.BOM_UTF32_LE + TEXT.encode("utf-32-le"),
        codecs.BOM_UTF32_BE + TEXT.encode("utf-32-be"),
    ],
    ids=["utf-8", "utf-8-sig", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"],
)
def test_text_is_decoded_and_left_as_it_is(data: bytes) -> None:
    """Line ends stay: offsets count them. The mark is no character of the text."""
    assert read("folder/menu.txt", data) == [Document("menu.txt", TEXT, "en")]


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.csv", "a.html", "README", "a.unheard-of", "A.TXT", "a.b.log"])
def test_text_of_any_name_is_taken(name: str) -> None:
    """An ending that says nothing may be text."""
    assert read(name, b"text")[0].id == name


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [
        ("a.txt", b"", "EmptyFile"),
        ("a.txt", b" \r\n\t", "EmptyFile"),
        ("a.txt", codecs.BOM_UTF8, "EmptyFile"),
        ("a.txt", b"\x89PNG\r\n\x1a\n\x00\x00", "BinaryFile"),
        ("a.txt", b"text with a \x00 in it", "BinaryFile"),
        ("a.txt", codecs.BOM_UTF16_LE + "a\0b".encode("utf-16-le"), "BinaryFile"),
        ("a.txt", "Crème".encode("latin-1"), "UnsupportedEncoding"),
        ("a.txt", codecs.BOM_UTF16_LE + b"odd", "UnsupportedEncoding"),
        ("a.pdf", b"%PDF-1.7", "UnsupportedType"),
        ("a.DOCX", b"PK", "UnsupportedType"),
        ("a.json", b"{}", "UnsupportedType"),
        ("a.txt.gz", b"\x1f\x8b", "UnsupportedType"),
        ("a.txt", b"x" * 1001, "FileTooLarge"),
    ],
)
def test_what_cannot_be_sent_says_why(name: str, data: bytes, code: str) -> None:
    """Each with a code for programs and a sentence that tells what to do."""
    with pytest.raises(DocumentError) as caught:
        read(name, data, max_bytes=1000)
    assert caught.value.code == code
    assert caught.value.message.endswith(".")


def test_the_longest_text_is_taken_and_one_character_more_is_not() -> None:
    """Counted in characters, not bytes."""
    assert len(read("a.txt", ("é" * MOST_CHARACTERS).encode())[0].text) == MOST_CHARACTERS
    with pytest.raises(DocumentError, match="125,001 characters"):
        read("a.txt", ("é" * (MOST_CHARACTERS + 1)).encode())


@pytest.mark.parametrize(("lengths", "expected"), [([1], 1), ([1000], 1), ([1001], 2), ([1, 1, 2500], 5)])
def test_begun_text_records_are_charged(lengths: list[int], expected: int) -> None:
    """A record is 1,000 characters of one document."""
    documents = [Document(str(number), "x" * length, "en") for number, length in enumerate(lengths)]
    assert count_transactions(documents) == expected
