"""Text in: what a dropped file says, as documents to send.

Every file that cannot be sent raises a `DocumentError` whose words the uploader reads in the outcome.
"""

import mimetypes
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final, NamedTuple

from shared.json_documents import ShapeError, json_documents
from shared.json_entries import Entries
from shared.ner.model import Document, Problem
from shared.text_encoding import EncodingError, decode

MOST_PROBLEMS: Final = 1000
"""Errors of single documents that an outcome names; the rest is counted."""

JSON_LINES: Final = "application/jsonl"
JSON: Final = "application/json"

# Only the table that comes with Python: what a machine adds must not decide what is text.
MEDIA_TYPES = mimetypes.MimeTypes(filenames=())
MEDIA_TYPES.add_type(JSON_LINES, ".jsonl")
MEDIA_TYPES.add_type(JSON_LINES, ".ndjson")
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


@dataclass(frozen=True, slots=True)
class Documents:
    """The documents of a file, read anew each time that they are asked for.

    Attributes:
        encoding: the Python codec that gives the file's text.
        entries: begins to read; may raise a DocumentError, but not after a survey.
    """

    encoding: str
    entries: Callable[[], Entries]


class Survey(NamedTuple):
    """What a file holds: how many documents, and what is wrong with `erroneous_count` of them."""

    documents_count: int
    erroneous_count: int
    problems: list[Problem]


def read_documents(name: str, data: bytes, *, language: str, max_bytes: int) -> Documents:
    """Return the documents of a file: those of a JSON file, or one, whose id is the file's name without its folders.

    Raises:
        DocumentError: the file is too large, empty, or not text.
    """
    check_length(len(data), max_bytes)
    media_type = check_media_type(name)
    try:
        text, encoding = decode(data)
    except EncodingError as error:
        raise DocumentError(
            "BinaryFile" if error.is_binary else "UnsupportedEncoding",
            f"{error.message}. "
            + (
                "Upload its text as a .txt or .md file." if error.is_binary else "Save it as UTF-8 and upload it again."
            ),
        ) from None
    if not text or text.isspace():
        raise DocumentError("EmptyFile", "The file contains no text. Add some and upload it again.")
    if media_type not in (JSON, JSON_LINES):
        document = Document(PurePosixPath(name).name or name, text, language)
        return Documents(encoding, lambda: iter([document]))
    utf8 = text.encode()
    return Documents(encoding, lambda: read_json(utf8, language, is_lines=media_type == JSON_LINES))


def read_json(data: bytes, language: str, *, is_lines: bool) -> Entries:
    """Yield the documents of a JSON file.

    Raises:
        DocumentError: they cannot be read, as may show after some of them.
    """
    try:
        yield from json_documents(data, language, is_lines=is_lines)
    except ShapeError as error:
        raise DocumentError(error.code, error.message) from None


def survey(documents: Documents) -> Survey:
    """Read all documents once, to know what is wrong before any is sent.

    Raises:
        DocumentError: there are none, or the file cannot be read to its end.
    """
    count = erroneous = 0
    problems: list[Problem] = []
    for entry in documents.entries():
        count += 1
        if isinstance(entry, Problem):
            erroneous += 1
            if erroneous <= MOST_PROBLEMS:
                problems.append(entry)
    if not count:
        raise DocumentError("EmptyFile", "The file contains no documents. Add some and upload it again.")
    if erroneous > MOST_PROBLEMS:
        problems.append(Problem("TooManyErrors", f"{erroneous - MOST_PROBLEMS:,} more documents are invalid."))
    return Survey(count, erroneous, problems)


def check_length(length: int, max_bytes: int) -> None:
    """Raise DocumentError for a file of more bytes than NER_MAX_BLOB_BYTES."""
    if length > max_bytes:
        raise DocumentError(
            "FileTooLarge",
            f"The file has {length:,} bytes, more than NER_MAX_BLOB_BYTES allows ({max_bytes:,}). "
            "Split it into smaller files.",
        )


def check_media_type(name: str) -> str | None:
    """Return the media type that a name's ending says, None for an unknown ending, which may be text.

    Raises:
        DocumentError: the file is neither text nor JSON.
    """
    media_type, encoding = MEDIA_TYPES.guess_type(PurePosixPath(name).name.lower())
    is_text = media_type is None or media_type in (JSON, JSON_LINES) or media_type.startswith("text/")
    if encoding is not None or not is_text:
        raise DocumentError(
            "UnsupportedType",
            f"A file of type {encoding or media_type} is not plain text. Upload its text as a .txt or .md file.",
        )
    return media_type
