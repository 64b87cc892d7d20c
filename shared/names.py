"""Names of blobs: which ones the app accepts, and those of the blobs that belong to a file."""

import hashlib
import re
from typing import Final

LONGEST_BLOB_NAME: Final = 1024
ROOM: Final = 7
"""Characters reserved for a prefix of the name of a file's blob. They are reserved in all containers, so that the
blobs of one file have the same position in the order of each."""
LONGEST_RESULT_NAME: Final = LONGEST_BLOB_NAME - ROOM
LONGEST_KEPT: Final = LONGEST_RESULT_NAME - len("~0123456789abcdef.json")
ALWAYS_KEPT: Final = LONGEST_KEPT - 1
"""Code units of a file's name that its blobs' names keep, however long it is: two may be one character."""
SHORTENED: Final = re.compile(r"~[0-9a-f]{16}\Z")
UNFIT: Final = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
"""Control characters, and codes that are no character. Azure takes no such names; the storage emulator takes them, and
then cannot list the container. U+0080 to U+009F are fit: a file of Windows gets them if a tool misreads its name."""
SLASH: Final = r"(?:[/\\]|%(?:25)*(?:2[fF]|5[cC]))"
DOTS: Final = re.compile(rf"(?:\A|{SLASH})(?:\.|%(?:25)*2[eE]){{1,2}}(?:{SLASH}|\Z)")
"""A segment `.` or `..`, however often it is percent-encoded. HTTP libraries resolve such segments, so that the URL of
`../payroll/a.txt` is that of a blob in another container. Storage takes a backslash for a slash."""


class RefusedNameError(ValueError):
    """The app does not accept a blob's name; the message says why, without the name."""


def check_name(name: str) -> str:
    """Return a blob's name. Raises RefusedNameError if the app does not accept it."""
    if why := why_refused(name):
        raise RefusedNameError(why)
    return name


def why_refused(name: str) -> str:
    """Return why the app does not accept a blob's name; empty if it does. The length is left to storage."""
    if not name:
        return "the name is empty"
    if UNFIT.search(name):
        return "the name contains a control character, or a code that is no character"
    return "the name contains . or .. as a part of its path" if DOTS.search(name) else ""


def result_name(name: str) -> str:
    """Return the name of a blob that belongs to a file: `a/report.txt` gives `a/report.txt.json`.

    A name that would be too long for a blob ends in `~` and the first 16 digits of the SHA-256 of the whole name. So
    does one that looks as if it had been shortened: it might be the name of another file's blob.
    """
    whole = f"{name}.json"
    length = utf16_length(whole)
    if length < LONGEST_RESULT_NAME - 1 or (length <= LONGEST_RESULT_NAME and not SHORTENED.search(name)):
        return whole
    ending = f"~{hashlib.sha256(name.encode()).hexdigest()[:16]}.json"
    while utf16_length(name) > LONGEST_KEPT:
        name = name[:-1]
    return name + ending


def utf16_length(name: str) -> int:
    """Return the length of a name as storage counts it, in UTF-16 code units."""
    return len(name.encode("utf-16-le")) // 2
