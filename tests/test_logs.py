"""What no log may hold, whatever the tests before this one have done: a key, or the text of a document."""

from pathlib import Path

import pytest

from local.files import SAMPLES
from local.install import STATE

SECRETS = ("not-the-right-key", "AccountKey=", "Ocp-Apim-Subscription-Key")
TEXTS = ("Blue Heron", "Café Lumière", "A table for", "asks for a table")


def logs(started: float) -> list[Path]:
    """Return the logs that this run has written: of the app, the host, the emulators."""
    return [path for path in (STATE / "logs").rglob("*.log") if path.stat().st_mtime >= started]


def sample_sentences() -> list[str]:
    """Return the lines of the sample files."""
    found = [line for path in SAMPLES.iterdir() for line in path.read_text(encoding="utf-8").splitlines()]
    return [line for line in found if len(line) > 20]


def test_no_log_holds_a_key_or_a_text(sample_values: dict[str, str], session_started: float) -> None:
    """Of any file of any test."""
    found = logs(session_started)
    forbidden = [sample_values["NER_KEY"], *SECRETS, *TEXTS, *sample_sentences()]
    assert all(forbidden)
    for path in found:
        text = path.read_text(encoding="utf-8", errors="replace")
        for words in forbidden:
            assert words not in text, f"{path.name}: {words}"


@pytest.mark.parametrize("words", ["submitted as job", "waits for the service"])
def test_the_logs_are_those_of_the_app(words: str, session_started: float, request: pytest.FixtureRequest) -> None:
    """What is searched is not empty."""
    if len(request.session.items) < 300:
        pytest.skip("only some tests were run")
    assert any(words in path.read_text(encoding="utf-8", errors="replace") for path in logs(session_started))
