"""Files that are not text are known by their first bytes, whatever their name; names are not taken for more."""

import bz2
import gzip
import io
import lzma
import pickle
import sqlite3
import tarfile
import zipfile
import zlib
from collections.abc import Callable

import pytest

from shared.documents import DocumentError, read_documents
from shared.ner.model import Document
from shared.signatures import FORMATS, format_by_name, format_of

TEXT = "Please book a table at Blue Heron in Bristol for four people at eight."
NAMES = ("report.txt", "3f9c0a77", "notes.md", "rows.jsonl")


def zipped(*names: str) -> bytes:
    """Return a zip archive with files of these names."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, TEXT)
    return buffer.getvalue()


def tarred(mode: str) -> bytes:
    """Return a tar archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        entry = tarfile.TarInfo("a.txt")
        entry.size = len(TEXT)
        archive.addfile(entry, io.BytesIO(TEXT.encode()))
    return buffer.getvalue()


def database() -> bytes:
    """Return a SQLite database."""
    with sqlite3.connect(":memory:") as connection:
        connection.execute("create table texts (text)")
        return connection.serialize()


def open_document(kind: str) -> bytes:
    """Return an OpenDocument file, whose first member says what it is."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("mimetype", f"application/vnd.oasis.opendocument.{kind}")
        archive.writestr("content.xml", "<a/>")
    return buffer.getvalue()


MADE: list[tuple[str, Callable[[], bytes]]] = [
    ("application/gzip", lambda: gzip.compress(TEXT.encode())),
    ("application/gzip", lambda: tarred("w:gz")),
    ("application/x-bzip2", lambda: bz2.compress(TEXT.encode())),
    ("application/x-bzip2", lambda: bz2.compress(b"")),
    ("application/x-xz", lambda: lzma.compress(TEXT.encode())),
    ("application/x-xz", lambda: lzma.compress(TEXT.encode(), lzma.FORMAT_ALONE)),
    ("application/zlib", lambda: zlib.compress(TEXT.encode())),
    ("application/zlib", lambda: zlib.compress(TEXT.encode(), 1)),
    ("application/zip", lambda: zipped("a.txt")),
    ("application/zip", zipped),
    ("application/x-tar", lambda: tarred("w")),
    ("wordprocessingml.document", lambda: zipped("[Content_Types].xml", "_rels/.rels", "word/document.xml")),
    ("spreadsheetml.sheet", lambda: zipped("[Content_Types].xml", "xl/workbook.xml")),
    ("presentationml.presentation", lambda: zipped("[Content_Types].xml", "ppt/presentation.xml")),
    ("application/vnd.oasis.opendocument.text", lambda: open_document("text")),
    ("application/vnd.oasis.opendocument.spreadsheet", lambda: open_document("spreadsheet")),
    ("application/vnd.sqlite3", database),
    *(("application/x-python-pickle", lambda n=n: pickle.dumps([TEXT], n)) for n in range(2, 6)),
    ("application/x-python-pickle", lambda: pickle.dumps({"a": 1})),
    ("application/rtf", lambda: b"{\\rtf1\\ansi\\deff0 A table at Blue H\\b eron\\b0 .\\par}"),
    ("application/rtf", lambda: b"\xef\xbb\xbf{\\rtf1 A table at Blue Heron.\\par}"),
    ("application/pdf", lambda: b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog >>\nendobj\n%%EOF\n"),
    ("application/pdf", lambda: b"junk\n%PDF-1.4\n1 0 obj\n<< >>\nendobj\nstartxref\n9\n%%EOF\n"),
    ("application/postscript", lambda: b"%!PS-Adobe-3.0\n(Blue Heron) show\nshowpage\n"),
    ("application/x-ole-storage", lambda: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504)),
    ("application/x-7z-compressed", lambda: b"7z\xbc\xaf\x27\x1c\x00\x04" + bytes(24)),
    ("application/vnd.rar", lambda: b"Rar!\x1a\x07\x01\x00" + bytes(24)),
    ("application/zstd", lambda: b"\x28\xb5\x2f\xfd\x20\x05\x29\x00\x00hello"),
    ("application/x-lz4", lambda: b"\x04\x22\x4d\x18\x64\x40\xa7"),
    ("image/png", lambda: b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"),
    ("image/jpeg", lambda: b"\xff\xd8\xff\xe0\x00\x10JFIF\x00"),
    ("image/gif", lambda: b"GIF89a\x01\x00\x01\x00\x80\x00\x00"),
    ("audio/mpeg", lambda: b"ID3\x04\x00\x00\x00\x00\x00\x23"),
    ("video/mp4", lambda: b"\x00\x00\x00\x20ftypisom"),
    ("application/vnd.apache.parquet", lambda: b"PAR1\x15\x04\x15\x20" + bytes(20) + b"PAR1"),
    ("application/vnd.apache.avro", lambda: b"Obj\x01\x04\x14avro.codec"),
    ("application/vnd.apache.arrow.file", lambda: b"ARROW1\x00\x00" + bytes(20)),
    ("application/x-hdf5", lambda: b"\x89HDF\r\n\x1a\n" + bytes(20)),
    ("application/x-npy", lambda: b"\x93NUMPY\x01\x00v\x00{'descr': '<f8'}"),
    ("application/x-executable", lambda: b"\x7fELF\x02\x01\x01" + bytes(9)),
    ("application/java-vm", lambda: b"\xca\xfe\xba\xbe\x00\x00\x00\x34\x00\x1d"),
    ("application/x-git", lambda: b"PACK\x00\x00\x00\x02\x00\x00\x00\x03"),
    ("application/x-git", lambda: b"# v2 git bundle\n5e1c309dae7f45e0f39b1bf3ac3cd9db12e7d689 HEAD\n\nPACK"),
    ("application/pgp-encrypted", lambda: b"-----BEGIN PGP MESSAGE-----\n\nhQEMA1\n"),
    ("application/pgp-encrypted", lambda: b"Salted__\x1b\x01\x02\x03\x04\x05\x06\x07" + bytes(16)),
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("media_type", "make"), MADE, ids=[made[0][-24:] for made in MADE])
def test_read_documents_refuses_other_formats_under_any_name(
    name: str, media_type: str, make: Callable[[], bytes]
) -> None:
    """The message says what the file is and what to do."""
    with pytest.raises(DocumentError) as caught:
        read_documents(name, make(), language="en", max_bytes=1_000_000)
    assert caught.value.code == "BinaryFile"
    assert media_type in caught.value.message
    assert caught.value.message.endswith(".")


@pytest.mark.parametrize(
    "text",
    [
        "BMW is a car",
        "MZ writes: hello",
        "PK, the first of us",
        "ID3 tags are old",
        "OTTO said so",
        "II* and MM*",
        "GIF89a is a format of pictures",
        "Rar! cried the lion",
        "x^2 + y^2 = z^2, for 4 numbers of any kind",
        "BZh is no word",
        "PAR1 of the report",
        "Obj1 is near",
        "ORC and FEA1",
        "RIFF of a guitar",
        "A PDF begins with\n\n%PDF-1.7\n\nand ends with %%EOF",
        "%!TEX program = xelatex",
        "{rtf is no format}",
        "070707 is a number",
        "# v2 of the bundle",
    ],
)
def test_format_of_leaves_words_alone(text: str) -> None:
    """A text may begin like another format."""
    assert format_of(text.encode()) is None
    assert next(read_documents("a.txt", text.encode(), language="en", max_bytes=999).entries()) == Document(
        "a.txt", text, "en"
    )


@pytest.mark.parametrize("ending", [ending for found in FORMATS for ending in found.endings.split()])
def test_names_of_binary_formats_are_refused(ending: str) -> None:
    """By the last ending, in whatever case."""
    for name in (f"a.{ending}", f"folder/a.txt.{ending.upper()}"):
        with pytest.raises(DocumentError) as caught:
            read_documents(name, TEXT.encode(), language="en", max_bytes=999)
        assert caught.value.code == "UnsupportedType"
        assert caught.value.message.endswith("If it is plain text, give it a name that ends in .txt.")


@pytest.mark.parametrize(
    "name",
    [
        *("Read.me", "corpus.en-tr.tr", "thesis.tex", "notes.t", "interview.ms", "a.ps-as.txt", "a.src", "main.ts"),
        *(
            "data: results, final.txt",
            "mail to bob@example.com",
            "pdf",
            ".pdf/a",
            "a.pdf.txt",
            "a.",
            ".",
            "x.bat",
            "x.man",
        ),
    ],
)
def test_other_names_do_not_decide(name: str) -> None:
    """Tables of media types know endings that mean something else today, and take some names for URLs."""
    assert format_by_name(name) is None
    (document,) = read_documents(name, TEXT.encode(), language="en", max_bytes=999).entries()
    assert isinstance(document, Document)
    assert document.text == TEXT


def test_a_colon_does_not_make_a_url() -> None:
    """Nor does a comma."""
    (document,) = read_documents(
        "data: results, final.json", b'[{"id": "1", "text": "t"}]', language="en", max_bytes=999
    ).entries()
    assert document == Document("1", "t", "en")
