"""Text in: what a dropped file says, as documents to send.

Every file that cannot be sent raises a `DocumentError` whose words the uploader reads in the outcome.
"""

import codecs
import mimetypes
from pathlib import PurePosixPath
from typing import Final

from shared.ner.model import Document

MOST_CHARACTERS: Final = 125_000
"""Per request (service limits of custom NER), counted here in code points: never fewer than the service counts."""
CHARACTERS_PER_TRANSACTION: Final = 1000

# The longer mark first: the UTF-32 one begins with the UTF-16 one.
BYTE_ORDER_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

# Only the table that comes with Python: what a machine adds must not decide what is text.
MEDIA_TYPES = mimetypes.MimeTypes(filenames=())
MEDIA_TYPES.add_type("application/jsonl", ".jsonl")
MEDIA_TYPES.add_type("text/markdown", ".md")
# Dropped most often of what is not text, and unknown to older versions of Python.
MEDIA_TYPES.add_type("application/vnd.openxmlformats-officedocument.wordprocessingml.document", ".docx")
MEDIA_TYPES.add_type("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", ".xlsx")


class DocumentError(Exception):
    """A file cannot be sent: `code` for programs, `message` for the uploader."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        self.message = message
        super().__init__(message)


def read_documents(name: str, data: bytes, *, language: str, max_bytes: int) -> list[Document]:
    """Return the documents of a file: one, whose id is the file's name without its folders.

    Raises:
        DocumentError: the file is too large, empty, or not text.
    """
    check_length(len(data), max_bytes)
    check_media_type(name)
    text = decode_text(data)
    if not text.strip():
        raise DocumentError("EmptyFile", "The file holds no text. Upload it again with some.")
    if len(text) > MOST_CHARACTERS:
        raise DocumentError(
            "TextTooLong",
            f"The text has {len(text):,} characters; the service takes {MOST_CHARACTERS:,} at once. "
            "Cut the file into smaller ones.",
        )
    return [Document(PurePosixPath(name).name, text, language)]


def check_length(length: int, max_bytes: int) -> None:
    """Raise DocumentError for a file of more bytes than NER_MAX_BLOB_BYTES."""
    if length > max_bytes:
        raise DocumentError(
            "FileTooLarge",
            f"The file has {length:,} bytes; this app takes up to {max_bytes:,} (NER_MAX_BLOB_BYTES). "
            "Cut it into smaller ones.",
        )


def check_media_type(name: str) -> None:
    """Raise DocumentError for a name whose ending says that the file is not plain text; an unknown ending may be."""
    media_type, encoding = MEDIA_TYPES.guess_type(PurePosixPath(name).name.lower())
    if encoding is not None or (media_type is not None and not media_type.startswith("text/")):
        raise DocumentError(
            "UnsupportedType",
            f"A file of type {encoding or media_type} is not plain text. Upload its text as a .txt or .md file.",
        )


def decode_text(data: bytes) -> str:
    """Decode by byte order mark, else as UTF-8.

    Raises:
        DocumentError: the bytes are no text in these encodings.
    """
    encoding = next((encoding for mark, encoding in BYTE_ORDER_MARKS if data.startswith(mark)), None)
    # No text in UTF-8 holds a NUL; in UTF-16 and UTF-32 every second byte may be one.
    binary = encoding is None and b"\0" in data
    try:
        text = "" if binary else data.decode(encoding or "utf-8")
    except UnicodeDecodeError:
        raise DocumentError(
            "UnsupportedEncoding", "The file is not UTF-8 text. Save it as UTF-8 and upload it again."
        ) from None
    if binary or "\0" in text:
        raise DocumentError("BinaryFile", "The file is binary, not text. Upload its text as a .txt or .md file.")
    return text


def count_transactions(documents: list[Document]) -> int:
    """Return how many text records the service will charge for: 1,000 characters each, begun ones included."""
    return sum(-(-len(document.text) // CHARACTERS_PER_TRANSACTION) for document in documents)
