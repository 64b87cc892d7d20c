"""Which version of a file the host's bytes are."""

from datetime import UTC, datetime
from typing import Any

import pytest

from shared.source import Source, from_trigger


def test_the_hosts_properties_name_the_version() -> None:
    """Etag without quotes, time with its zone."""
    properties = {"ETag": '"0x8DF"', "LastModified": "2026-01-02T03:04:05+00:00"}
    expected = Source("incoming", "a.txt", "0x8DF", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), 7)
    assert from_trigger("incoming", "a.txt", 7, properties) == expected


@pytest.mark.parametrize(
    "properties",
    [
        None,
        {},
        {"ETag": {}, "LastModified": "2026-01-02T03:04:05+00:00"},
        {"ETag": '"0x8DF"'},
        {"ETag": '"0x8DF"', "LastModified": "2026-01-02T03:04:05"},
    ],
)
def test_properties_that_do_not_name_it_give_none(properties: dict[str, Any] | None) -> None:
    """Then the app reads the blob itself."""
    assert from_trigger("incoming", "a.txt", 7, properties) is None
