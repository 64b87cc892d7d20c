"""Fields that no version of the API has, for every object of a response: clients must not trip over them."""

from typing import Any, Final

NAME: Final = "newField"
ENTITY: Final[dict[str, Any]] = {
    "type": "City",
    "tags": [{"name": "City", "confidenceScore": 0.1}, {"name": "Location"}],
    "metadata": {"metadataKind": "NewMetadata", "value": 2**70},
}
"""What entities of the prebuilt task have."""


def with_unknown_fields(value: Any, name: str = "job") -> Any:
    """Return a response with fields that are unknown to its readers.

    Args:
        value: the response, or a part of it.
        name: what the part is called in the response.
    """
    if isinstance(value, list):
        return [with_unknown_fields(each, name) for each in value]
    if not isinstance(value, dict):
        return value
    known = {key: with_unknown_fields(each, key) for key, each in value.items()}
    return known | (ENTITY if name == "entities" else {}) | {NAME: new_field(name)}


def new_field(name: str) -> dict[str, Any]:
    """Return the value of such a field, whose parts are hard to pass on."""
    numbers = {"offset": 1, "tenth": 0.1, "large": 2**70, "small": 5e-324}
    return {"of": name, "text": "é 🍷 \u2028", "nothing": None, "yes": True, "inner": [[{}], [numbers]]}
