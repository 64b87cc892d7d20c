"""Which accounts are those of the storage emulator on this machine, and who knows the key of ours."""

import base64
from pathlib import Path

import pytest

from local import storage_emulator
from local.children import ChildError
from local.install import OWN_AZURITE
from local.storage_emulator import KEY_FILE, azurite_program, is_azurite, kept_key

HERE = "BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1;QueueEndpoint=http://127.0.0.1:10001/devstoreaccount1"


@pytest.mark.parametrize(
    ("connection_string", "is_emulated"),
    [
        ("UseDevelopmentStorage=true", True),
        (f"DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey=a2V5;{HERE};", True),
        ("UseDevelopmentStorage=true;DevelopmentStorageProxyUri=http://storage.example", False),
        ("AccountName=devstoreaccount1;AccountKey=a2V5;EndpointSuffix=core.windows.net", False),
        ("AccountName=devstoreaccount1prod;AccountKey=a2V5;EndpointSuffix=core.windows.net", False),
        (f"AccountName=devstoreaccount1prod;AccountKey=a2V5;{HERE}", False),
        ("AccountName=other;AccountKey=UseDevelopmentStorage=true", False),
        (f"AccountName=devstoreaccount1;AccountKey=a2V5;{HERE}".replace("127.0.0.1", "storage.example"), False),
        (f"AccountName=devstoreaccount1;AccountKey=a2V5;{HERE}".replace("0/devstoreaccount1", "0/mine"), False),
        (f"{HERE};SharedAccessSignature=sv=1&sig=s", False),
        ("", False),
        (None, False),
    ],
)
def test_is_azurite_accepts_only_the_account_of_this_machine(connection_string: str | None, is_emulated: bool) -> None:
    """The page of any other account needs a token."""
    assert is_azurite(connection_string) is is_emulated


def test_kept_key_is_random_and_its_owners_alone(tmp_path: Path) -> None:
    """It stays the same for one data folder, and differs between two; a damaged file is replaced."""
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
    key = kept_key(one)
    assert len(base64.b64decode(key)) == 64
    assert (kept_key(one), kept_key(other) == key) == (key, False)
    assert (one / KEY_FILE).stat().st_mode & 0o077 == 0
    (one / KEY_FILE).write_text("no key")
    (one / KEY_FILE).chmod(0o644)
    assert kept_key(one) not in ("no key", key)
    assert (one / KEY_FILE).stat().st_mode & 0o077 == 0


def test_azurite_program_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`pip install -e .` gives the command `ner`, but no Azurite."""
    monkeypatch.delenv(OWN_AZURITE, raising=False)
    monkeypatch.setattr(storage_emulator, "AZURITE_NODE_MODULES", tmp_path)
    with pytest.raises(ChildError, match="make setup"):
        azurite_program()
