"""The app settings of a local run: the sample's, then those of local.settings.json, then those of the environment."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from local.install import ROOT
from local.json_errors import JSON_ERRORS
from shared.settings import LOOPBACK

SAMPLE: Final = ROOT / "local.settings.sample.json"
OVERRIDE: Final = "NER_LOCAL_SETTINGS"
"""The environment variable that names another file than local.settings.json; the tests name none."""
OWN: Final = ROOT / (os.environ.get(OVERRIDE) or "local.settings.json")
EMULATOR_KEY: Final = "NER_EMULATOR_KEY"
"""The environment variable with the key that the NER emulator accepts."""
EMULATED: Final = frozenset({"NER_KEY", "NER_PROJECT_NAME", "NER_DEPLOYMENT_NAME", "NER_MODEL_ID"})
"""What the sample sets for the NER emulator."""
EMULATED_STORAGE: Final = frozenset({"NER_SWEEP_SCHEDULE", "NER_SWEEP_GRACE_SECONDS", "NER_SWEEP_EXISTING"})
"""What the sample sets for the storage emulator: a sweep every few seconds would list a large account all the time."""
PREFIXES: Final = ("NER_", "AzureWebJobs", "AzureFunctions", "AZURE_")


class AppSettingsError(Exception):
    """A settings file cannot be read; the message names it."""


class SettingsFile(msgspec.Struct, rename="pascal"):
    """A local.settings.json as Azure Functions Core Tools reads it."""

    values: dict[str, str] = {}
    is_encrypted: bool = False


def read_values(path: Path) -> dict[str, str]:
    """Return the `Values` of a settings file.

    Raises:
        AppSettingsError: it is not of the form that Core Tools reads.
    """
    try:
        settings = msgspec.json.decode(path.read_bytes(), type=SettingsFile)
    except JSON_ERRORS as error:
        raise AppSettingsError(
            f"{path} is not a valid settings file: {error}. Compare it with {SAMPLE.name}."
        ) from None
    if settings.is_encrypted:
        raise AppSettingsError(f"{path} is encrypted: run 'func settings decrypt'")
    return settings.values


def local_values(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the app settings for a run on this machine."""
    values = read_values(SAMPLE)
    own = read_values(OWN) if OWN.is_file() else {}
    for layer in (own, {name: value for name, value in environ.items() if name.startswith(PREFIXES)}):
        # A connection by identity is several settings, and a connection string of the layer below would win over them.
        for name in ("AzureWebJobsStorage", "NER_STORAGE"):
            if any(key.startswith(f"{name}__") for key in layer):
                values.pop(name, None)
        values |= layer
    if not wants_ner_emulator(values):
        # The emulator's key and names must not stand in for those of the user's resource.
        for name in EMULATED.difference(own, environ):
            values.pop(name, None)
    if not wants_storage_emulator(values):
        for name in EMULATED_STORAGE.difference(own, environ):
            values.pop(name, None)
    return values


def wants_storage_emulator(values: Mapping[str, str]) -> bool:
    """Tell whether the files are to go to Azurite rather than to a storage account."""
    return values.get("NER_STORAGE") == "UseDevelopmentStorage=true"


def wants_ner_emulator(values: Mapping[str, str]) -> bool:
    """Tell whether the text is to go to the emulator rather than to a Language resource."""
    return urlsplit(values.get("NER_ENDPOINT", "")).hostname in LOOPBACK
