"""The versions of the API, and features that depend on them."""

import re
from typing import Final

SEED_API_VERSION: Final = "v3.1-preview.ct.1"
PREVIEW_API_VERSION: Final = "v3.2-preview.2"
FIRST_GA: Final = "2022-05-01"
FIRST_WITH_LANGUAGES: Final = "2025-05-15"
"""A preview; the first stable version is 2025-11-01."""
FIRST_WITH_CANCEL_AFTER: Final = "2026-05-01"
DATED: Final = re.compile(r"\d{4}-\d{2}-\d{2}(-preview)?")

VERSIONS: Final = f"{SEED_API_VERSION}, {PREVIEW_API_VERSION} or a date from {FIRST_GA} onwards"


def is_version(value: str) -> bool:
    """Return whether a text is one of VERSIONS; any date from FIRST_GA on is accepted."""
    return value in (SEED_API_VERSION, PREVIEW_API_VERSION) or is_from(value, FIRST_GA)


def detects_languages(version: str) -> bool:
    """Return whether a version can detect the language of a document."""
    return is_from(version, FIRST_WITH_LANGUAGES)


def takes_cancel_after(version: str) -> bool:
    """Return whether a version knows `cancelAfter`, the time limit of a job."""
    return is_from(version, FIRST_WITH_CANCEL_AFTER)


def is_from(version: str, first: str) -> bool:
    """Return whether a version is a date, and not before `first`."""
    return bool(DATED.fullmatch(version)) and version >= first
