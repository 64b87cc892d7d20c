"""Blobs that say that they are compressed."""

import gzip
import tracemalloc
import zlib

import pytest

from shared.content import Content, content
from shared.documents import DocumentError, read_documents
from shared.ner.model import Document
from shared.pipeline.texts import digest_of

TEXT = "Café Lumière: a table for four. " * 50
MAX = 1_000_000


def read(data: bytes, content_encoding: str | None, name: str = "a.txt", max_bytes: int = MAX) -> object:
    """Return the text of a blob with a Content-Encoding."""
    (document,) = read_documents(name, content(data, content_encoding), language="en", max_bytes=max_bytes).entries()
    assert isinstance(document, Document)
    return document.text


@pytest.mark.parametrize("content_encoding", ["gzip", "GZIP", " x-gzip "])
@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "A.TXT.GZ", "a"])
@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "utf-16"])
def test_a_blob_of_gzip_is_decompressed(name: str, content_encoding: str, encoding: str) -> None:
    """By its property; the name may say it too."""
    packed = gzip.compress(TEXT.encode(encoding))
    assert read(packed, content_encoding, name) == TEXT
    assert read(packed[:0] + gzip.compress(TEXT.encode()[:80]) + gzip.compress(TEXT.encode()[80:]), "gzip") == TEXT


def test_a_blob_may_have_many_members_but_nothing_after_them() -> None:
    """Zeros fill up a block; other bytes are a damaged member, whose text would be missing."""
    packed = gzip.compress(b"") * 3000 + gzip.compress(TEXT.encode())
    assert read(packed + b"\0" * 512, "gzip") == TEXT
    with pytest.raises(DocumentError, match="damaged"):
        read(packed + packed[2:], "gzip")


@pytest.mark.parametrize("content_encoding", [None, "", "utf-8", "identity", "gzip", "UTF-8"])
def test_a_blob_that_is_not_compressed_is_read_as_it_is(content_encoding: str | None) -> None:
    """People write the encoding of the text there, and programs gzip for bytes that are not."""
    data = content(TEXT.encode(), content_encoding)
    assert not isinstance(data, Content)
    assert read(TEXT.encode(), content_encoding) == TEXT


@pytest.mark.parametrize("content_encoding", ["br", "deflate", "zstd", "compress", "gzip, gzip", "br, gzip"])
def test_other_compressions_are_refused_by_name(content_encoding: str) -> None:
    """Whatever the bytes look like."""
    for data in (gzip.compress(TEXT.encode()), zlib.compress(TEXT.encode()), b"\x1b\x2f\x00"):
        with pytest.raises(DocumentError, match=f"Content-Encoding {content_encoding}") as caught:
            read(data, content_encoding)
        assert caught.value.code == "UnsupportedType"


@pytest.mark.parametrize("cut", [12, 40, -1])
def test_damaged_gzip_is_refused(cut: int) -> None:
    """Cut, or with another byte."""
    packed = gzip.compress(TEXT.encode())
    for data in (packed[:cut], packed[:20] + b"\xff" * 20 + packed[40:]):
        with pytest.raises(DocumentError, match="damaged") as caught:
            read(data, "gzip")
        assert caught.value.code == "UnsupportedType"


def test_what_is_compressed_within_is_still_refused() -> None:
    """A .gz file that was compressed again."""
    with pytest.raises(DocumentError) as caught:
        read(gzip.compress(gzip.compress(TEXT.encode())), "gzip")
    assert caught.value.code == "BinaryFile"


def test_a_bomb_is_refused_within_the_limit() -> None:
    """Decompression ends at the limit, so memory has one too."""
    bomb = gzip.compress(bytes(300_000_000), 9)
    tracemalloc.start()
    try:
        with pytest.raises(DocumentError) as caught:
            read(bomb, "gzip")
        assert tracemalloc.get_traced_memory()[1] < 8 * MAX
    finally:
        tracemalloc.stop()
    assert caught.value.code == "FileTooLarge"


def test_the_limit_is_that_of_the_text() -> None:
    """To the byte."""
    packed = gzip.compress(b"x" * 5_000)
    assert read(packed, "gzip", max_bytes=5_000) == "x" * 5_000
    with pytest.raises(DocumentError, match="once it is decompressed"):
        read(packed, "gzip", max_bytes=4_999)


def test_the_digest_knows_the_property() -> None:
    """The same bytes are another text with it."""
    packed = gzip.compress(TEXT.encode())
    digests = {digest_of({}, "en", "a", content(packed, coding)) for coding in (None, "gzip", "br")}
    assert len(digests) == 3
