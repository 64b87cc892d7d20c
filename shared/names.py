"""Names of the blobs that belong to a file."""

import hashlib
from typing import Final

LONGEST_BLOB_NAME: Final = 1024


def result_name(name: str, room: int = 0) -> str:
    """Return the name of a blob that belongs to a file: `a/report.txt` gives `a/report.txt.json`.

    A name that would be too long for a blob ends in `~` and the first 16 digits of the SHA-256 of the whole name.

    Args:
        name: the file's, within the input container.
        room: characters that are to be put before it.
    """
    longest = LONGEST_BLOB_NAME - room
    whole = f"{name}.json"
    if utf16_length(whole) <= longest:
        return whole
    ending = f"~{hashlib.sha256(name.encode()).hexdigest()[:16]}.json"
    while utf16_length(name) > longest - len(ending):
        name = name[:-1]
    return name + ending


def utf16_length(name: str) -> int:
    """Return how long a name is for the service, which counts UTF-16 code units."""
    return len(name.encode("utf-16-le")) // 2
