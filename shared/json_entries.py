"""Reads one entry of a JSON file: `{"id", "text", "language"?}`, or a form that tools export.

An invalid entry becomes a `Problem` that names its line, and does not affect the others.
"""

import re
from collections.abc import Iterator
from typing import Final, TypeVar

import msgspec

from shared.json_scanning import TOO_DEEP, tolerated
from shared.ner.model import Document, Problem
from shared.settings import LANGUAGE

LONGEST_ID: Final = 512
"""Characters. Requests, which contain the ids, have a limited size."""
LARGEST_FLOAT: Final = 2**53
"""Larger floating point numbers do not distinguish all whole numbers."""
LONGEST_EXPLAINED: Final = 65_536
"""Bytes of the largest entry that is searched for a text under another name."""
AUTO: Final = "auto"
"""The language with which the service detects the language. Case does not matter in language tags."""
SHAPE: Final = '{"id": "1", "text": "...", "language": "en"}'
MISSING: Final = "Object missing required field `{}`"
FIELD_NAME = re.compile(r"[\w.-]{1,64}")

Entries = Iterator[Document | Problem]
"""The documents of a file in its order, with what is wrong with those that cannot be sent."""


class TextField(msgspec.Struct, frozen=True):
    """The field `data` of Label Studio's exports."""

    text: str


class InputDocument(msgspec.Struct, frozen=True):
    """An entry as users or their tools write it; other fields are theirs and are ignored.

    doccano exports `text` or `data`, Label Studio `data.text`, Prodigy a `text` without `id`; pandas writes whole
    numbers as floating point numbers if some are missing.
    """

    id: str | int | float | msgspec.UnsetType = msgspec.UNSET
    text: str | msgspec.UnsetType = msgspec.UNSET
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    language: str | None = None


DOCUMENT: Final = msgspec.json.Decoder(InputDocument)
DATA: Final = msgspec.json.Decoder(str | TextField)
ANY: Final = msgspec.json.Decoder()
RAW: Final = msgspec.json.Decoder(msgspec.Raw)
Decoded = TypeVar("Decoded")
UNREADABLE: Final = (msgspec.DecodeError, ValueError, RecursionError)
"""Raised by decoders for what is not JSON, or not of the type that they decode."""


class Checks:
    """Reads the entries of a file, and remembers their ids."""

    def __init__(self, language: str, unit: str) -> None:
        """`language` is for documents that specify none. `unit`, such as `line`, is what numbers in messages count."""
        self.language = language
        self.unit = unit
        self.numbers: dict[str, int] = {}
        self.has_ids: bool | None = None

    def read(self, entry: bytes, number: int, place: str) -> Document | Problem:
        """Return the document, or what is wrong with it; `place` is its name in messages to the uploader.

        Raises:
            msgspec.DecodeError, ValueError, RecursionError: it is not JSON, or nested too deeply.
        """
        try:
            found, text = read_entry(entry)
        except msgspec.ValidationError as error:
            return not_a_document(place, reason(error))
        name = self.take_id(found.id, number, place)
        if isinstance(name, Problem):
            return name
        if not text or text.isspace():
            return Problem("EmptyDocument", f"{place} contains no text. Add some or remove the document.", name)
        if found.language is not None and not LANGUAGE.fullmatch(found.language):
            message = f"{place} has an invalid language. Use a language tag such as en or pt-BR."
            return Problem("InvalidLanguage", message, name)
        language = found.language or self.language
        return Document(name, text, AUTO if language.lower() == AUTO else language)

    def take_id(self, value: str | float | msgspec.UnsetType, number: int, place: str) -> str | Problem:
        """Return the id of a document, or its problem. If the first document has none, the number is the default."""
        if self.has_ids is None:
            self.has_ids = value is not msgspec.UNSET
        if value is msgspec.UNSET:
            if self.has_ids:
                return not_a_document(place, MISSING.format("id"))
            value = number
        if isinstance(value, float):
            if not value.is_integer() or abs(value) > LARGEST_FLOAT:
                return Problem(
                    "InvalidDocument",
                    f"{place} has an id that is a fraction or too large. Use a whole number or a string.",
                )
            value = int(value)
        name = str(value)
        if not name or len(name) > LONGEST_ID:
            return Problem(
                "InvalidDocument", f"{place} has an id that is empty or too long. Use 1 to {LONGEST_ID} characters."
            )
        if name in self.numbers:
            return Problem(
                "DuplicateId",
                f"{place} has the same id as {self.unit} {self.numbers[name]}. Give each document a unique id.",
                name,
            )
        self.numbers[name] = number
        return name


def not_a_document(place: str, why: str) -> Problem:
    """Return the problem of an entry that is not in the form of a document."""
    return Problem("InvalidDocument", f"{place} is not a document: {why}. Write it like {SHAPE}.")


def read_entry(entry: bytes) -> tuple[InputDocument, str]:
    """Return an entry and its text.

    Raises:
        msgspec.ValidationError: it has no text, or a field of another type.
        msgspec.DecodeError, ValueError: it is not JSON.
        RecursionError: it is nested too deeply.
    """
    found = decode(DOCUMENT, entry)
    if found.text is not msgspec.UNSET:
        return found, found.text
    if found.data is not msgspec.UNSET:
        try:
            data = DATA.decode(found.data)
        except msgspec.ValidationError:
            pass
        else:
            return found, data if isinstance(data, str) else data.text
    raise msgspec.ValidationError(MISSING.format("text") + text_elsewhere(entry))


def text_elsewhere(entry: bytes) -> str:
    """Return words that name the field with the longest string of an entry, because that may be its text."""
    if len(entry) > LONGEST_EXPLAINED:
        return ""
    try:
        fields = decode(ANY, entry)
    except UNREADABLE:  # such as a number that is too large
        return ""
    texts = {
        f"{name}.{inner}" if inner else name: len(value)
        for name, outer in fields.items()
        for inner, value in ({"": outer} | (outer if isinstance(outer, dict) else {})).items()
        if isinstance(value, str) and name not in ("id", "language")
    }
    longest = max(texts, key=lambda name: texts[name], default="")
    return f", its longest string is in `{longest}`" if FIELD_NAME.fullmatch(longest) else ""


def decode(decoder: msgspec.json.Decoder[Decoded], entry: bytes) -> Decoded:
    """Decode an entry, even if it contains NaN, Infinity or lone surrogates, which many programs write.

    Raises:
        msgspec.ValidationError: it is not of the decoder's type.
        msgspec.DecodeError, ValueError, RecursionError: it is not JSON.
    """
    try:
        return decoder.decode(entry)
    except msgspec.ValidationError:
        raise
    except (msgspec.DecodeError, ValueError):
        usual = tolerated(entry)
        if usual == entry:
            raise
        return decoder.decode(usual)


def reason(error: Exception) -> str:
    """Return why an entry cannot be read. The decoder's message names positions and types, never values."""
    return TOO_DEEP if isinstance(error, RecursionError) else str(error)
