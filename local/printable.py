"""Texts from elsewhere, as they may be shown: names, messages and documents may hold what would steer a terminal."""

import re
from typing import Final

STEERING: Final = re.compile(
    r"\r(?!\n)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Characters that would steer a terminal, except for tabs and line ends: C0, DEL and C1 of ISO/IEC 6429, Unicode's
line ends and changes of direction, and what is no character. Letters that join others are part of many languages."""


def printable(text: str) -> str:
    """Return a text with all that is not plainly visible written out, as for a name."""
    return "".join(character if character.isprintable() else escape(character) for character in text)


def harmless(text: str) -> str:
    """Return a text whose lines and tabs are as they were, with all that would steer a terminal written out."""
    return STEERING.sub(lambda found: escape(found[0]), text)


def harmless_json(text: str) -> str:
    """Return the same JSON value, written without anything that would steer a terminal."""
    return STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def escape(character: str) -> str:
    """Return the number of a character in the notation of Python."""
    return character.encode("unicode_escape").decode()
