"""Reads an uploaded file as documents to send.

A file that cannot be sent raises a `DocumentError`. The outcome shows its message to the uploader.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final, NamedTuple

from shared.content import Content, ContentError, unpacked
from shared.json_documents import ShapeError, json_documents
from shared.json_entries import Entries
from shared.ner.model import Document, Problem
from shared.signatures import SAVE, Format, format_by_name, format_of
from shared.text_encoding import EncodingError, decode

MOST_PROBLEMS: Final = 1000
"""Errors of single documents that an outcome lists; further ones are only counted."""

JSON_LINES: Final = "application/jsonl"
JSON: Final = "application/json"

MEDIA_TYPES: Final = {".json": JSON, ".jsonl": JSON_LINES, ".ndjson": JSON_LINES}
"""Extensions that decide how a file is read. A file with another one is one text."""
HOW_TO_SAVE: Final = (
    'Save it as UTF-8 and upload it again: in Excel as "CSV UTF-8", in Notepad with "Save as" and the encoding UTF-8.'
)


class DocumentError(Exception):
    """A file cannot be sent: `code` for programs, `message` for the uploader."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        self.message = message
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Documents:
    """The documents of a file, read again for each call.

    Attributes:
        encoding: the Python codec that gives the file's text.
        length: bytes of the file, after decompression.
        entries: starts to read them; may raise a DocumentError, but not after `survey` has succeeded.
    """

    encoding: str
    length: int
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
    if isinstance(data, Content):
        name, data = name[:-3] if name.lower().endswith(".gz") else name, uncompressed(data, max_bytes)
    media_type = check_media_type(name)
    check_format(data)
    try:
        text, encoding = decode(data)
    except EncodingError as error:
        code = "BinaryFile" if error.is_binary else "UnsupportedEncoding"
        raise DocumentError(code, f"{error.message}. {SAVE if error.is_binary else HOW_TO_SAVE}") from None
    if not text or text.isspace():
        raise DocumentError("EmptyFile", "The file contains no text. Add some and upload it again.")
    if media_type not in (JSON, JSON_LINES):
        document = Document(PurePosixPath(name).name or name, text, language)
        return Documents(encoding, len(data), lambda: iter([document]))
    utf8 = text.encode()
    return Documents(encoding, len(data), lambda: read_json(utf8, language, is_lines=media_type == JSON_LINES))


def read_json(data: bytes, language: str, *, is_lines: bool) -> Entries:
    """Yield the documents of a JSON file.

    Raises:
        DocumentError: they cannot be read; some may have been read before that.
    """
    try:
        yield from json_documents(data, language, is_lines=is_lines)
    except ShapeError as error:
        raise DocumentError(error.code, error.message) from None


def survey(documents: Documents) -> Survey:
    """Read all documents once, to find the invalid ones before any document is sent.

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
    """Return the media type by which a file is read; None for one text.

    Raises:
        DocumentError: the name is that of a format that is not text.
    """
    found = format_by_name(name)
    if found is not None:
        advice = f"{found.advice} If it is plain text, give it a name that ends in .txt."
        message = f"The name is that of {described(found)}. {advice}"
        raise DocumentError("UnsupportedType", message)
    return MEDIA_TYPES.get(PurePosixPath(name).suffix.lower())


def check_format(data: bytes) -> None:
    """Raise DocumentError if the first bytes of a file are those of a format that is not text."""
    found = format_of(data)
    if found is not None:
        raise DocumentError("BinaryFile", f"The file is {described(found)}, not plain text. {found.advice}")


def described(found: Format) -> str:
    """Return a format as a message names it, with its media type."""
    return f"{found.title} ({found.media_type})"


def uncompressed(data: Content, max_bytes: int) -> bytes:
    """Return the decompressed bytes of a blob.

    Raises:
        DocumentError: it cannot be decompressed, or more than `max_bytes` are in it.
    """
    try:
        found = unpacked(data, max_bytes)
    except ContentError as error:
        raise DocumentError("UnsupportedType", error.message) from None
    if len(found) > max_bytes:
        raise DocumentError(
            "FileTooLarge",
            f"The file has more bytes than NER_MAX_BLOB_BYTES allows ({max_bytes:,}) once it is decompressed. "
            "Split it into smaller files.",
        )
    return found
