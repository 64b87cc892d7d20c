"""The app settings of a local run: the sample's, overridden by local.settings.json, overridden by the environment."""

import json
from pathlib import Path

import pytest

from local import app_settings
from local.app_settings import AppSettingsError, local_values, wants_ner_emulator, wants_storage_emulator


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A local.settings.json of the test's own, not written yet."""
    path = tmp_path / "local.settings.json"
    monkeypatch.setattr(app_settings, "OWN", path)
    return path


def test_without_settings_of_ones_own_everything_is_emulated(own: Path) -> None:
    """The sample alone is enough for a first run."""
    assert not own.exists()
    values = local_values({"HOME": "/", "PATH": "/bin"})
    assert wants_storage_emulator(values)
    assert wants_ner_emulator(values)
    assert "HOME" not in values


def test_own_settings_and_the_environment_win(own: Path) -> None:
    """A Language resource in local.settings.json is used instead of the emulator."""
    own.write_text(json.dumps({"Values": {"NER_ENDPOINT": "https://a.example", "NER_KEY": "k", "NER_QUEUE": "mine"}}))
    values = local_values({"NER_QUEUE": "from-the-shell"})
    assert not wants_ner_emulator(values)
    assert values["NER_KEY"] == "k"
    assert values["NER_QUEUE"] == "from-the-shell"


def test_the_emulators_names_do_not_stand_in_for_those_of_a_resource(own: Path) -> None:
    """A name that the user forgot is missing, and not the sample's."""
    own.write_text(json.dumps({"Values": {"NER_ENDPOINT": "https://a.example", "NER_PROJECT_NAME": "mine"}}))
    values = local_values({"NER_KEY": "k"})
    assert (values["NER_PROJECT_NAME"], values["NER_KEY"]) == ("mine", "k")
    assert "NER_DEPLOYMENT_NAME" not in values


def test_an_identity_replaces_the_samples_connection_string(own: Path) -> None:
    """Otherwise files meant for the account would go to the emulator."""
    own.write_text(json.dumps({"Values": {"NER_STORAGE__accountName": "mine"}}))
    values = local_values({})
    assert "NER_STORAGE" not in values
    assert not wants_storage_emulator(values)


@pytest.mark.parametrize("content", ["{", '{"Values": {"A": 1}}', '{"IsEncrypted": true, "Values": {}}'])
def test_a_file_that_cannot_be_read_is_named(own: Path, content: str) -> None:
    """The message says which file, and what about it."""
    own.write_text(content)
    with pytest.raises(AppSettingsError, match=r"local\.settings\.json"):
        local_values({})


def test_the_sweep_of_the_storage_emulator_is_not_that_of_an_account(own: Path) -> None:
    """Every few seconds would be dear there, and commands on an account expect what its app does by default."""
    assert local_values({})["NER_SWEEP_GRACE_SECONDS"] == "5"
    own.write_text(json.dumps({"Values": {"NER_STORAGE__accountName": "mine", "NER_SWEEP_EXISTING": "true"}}))
    values = local_values({"NER_SWEEP_SCHEDULE": "0 0 * * * *"})
    assert (values["NER_SWEEP_SCHEDULE"], values["NER_SWEEP_EXISTING"]) == ("0 0 * * * *", "true")
    assert "NER_SWEEP_GRACE_SECONDS" not in values
