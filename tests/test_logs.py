"""What no log may hold, whatever the tests before this one have done: a key, or the text of a document.

The last step of `make test`, when no other test runs any more.
"""

from pathlib import Path

import pytest

from local.files import SAMPLES
from local.install import STATE
from tests.conftest import ALL_LOGS

SECRETS = ("not-the-right-key", "AccountKey=", "Ocp-Apim-Subscription-Key")
TEXTS = ("Blue Heron", "Café Lumière", "A table for", "asks for a table")


def logs() -> list[Path]:
    """Return the logs that the tests have written: of the app, the host, the emulators, the commands."""
    return [path for folder in (ALL_LOGS, STATE / "pytest") for path in folder.rglob("*.log")]


def sample_sentences() -> list[str]:
    """Return the lines of the sample files."""
    found = [line for path in SAMPLES.iterdir() for line in path.read_text(encoding="utf-8").splitlines()]
    return [line for line in found if len(line) > 20]


def test_no_log_holds_a_key_or_a_text(sample_values: dict[str, str]) -> None:
    """Of any file of any test."""
    forbidden = [sample_values["NER_KEY"], *SECRETS, *TEXTS, *sample_sentences()]
    assert all(forbidden)
    for path in logs():
        text = path.read_text(encoding="utf-8", errors="replace")
        for words in forbidden:
            assert words not in text, f"{path.name}: {words}"


@pytest.mark.parametrize("words", ["submitted as job", "retrying later"])
def test_the_logs_are_those_of_the_app(words: str, request: pytest.FixtureRequest) -> None:
    """What is searched is not empty."""
    if not request.config.option.keep_logs and len(request.session.items) < 300:
        pytest.skip("only some tests were run")
    assert any(words in path.read_text(encoding="utf-8", errors="replace") for path in logs())
