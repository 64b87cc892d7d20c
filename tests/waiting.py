"""Waiting for what must come: generous, so that a slow machine never fails a test."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE_SECONDS = 120.0


def eventually(look: Callable[[], T | None], what: str) -> T:
    """Return what `look` gives as soon as it is neither None nor False."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        found = look()
        if found is not None and found is not False:
            return found
        time.sleep(0.1)
    raise AssertionError(f"never came: {what}")
