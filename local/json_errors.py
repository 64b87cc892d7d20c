"""The errors of decoding JSON, in one place: it is easily forgotten that a text of others may be nested without end."""

from typing import Final

JSON_ERRORS: Final = (ValueError, RecursionError)
"""Those of msgspec, of the standard library, and of bytes that are not UTF-8 are ValueErrors."""
