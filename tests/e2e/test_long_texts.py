"""Long texts without a good place to cut hold up no other file."""

from collections.abc import Callable

from azure.storage.blob import BlobServiceClient

from local.ner.requests import digest_of
from shared.outcome import OutcomeStatus
from shared.settings import Settings
from tests.conftest import LOGS, hosted
from tests.e2e.test_whole_way import drop, outcome_of
from tests.emulator import stats, submissions

HOSTILE = {"marks.txt": " \u0301" * 300_000, "flags.txt": "🇩" * 200_000, "one-word.txt": "x" * 900_000}


def test_small_files_next_to_long_texts_are_submitted_once(
    values: dict[str, str], ner_emulator: str, blobs: BlobServiceClient, switches: Callable[..., None]
) -> None:
    """A worker that is held up for too long would lose its claims, and the files would be charged again."""
    switches(jobSeconds=0)
    # A small part of the usual time, so that a long pause shows.
    values |= {"NER_ENDPOINT": ner_emulator, "NER_SUBMIT_TIMEOUT_SECONDS": "20"}
    settings = Settings.from_environ(values)
    small = {f"small-{number}.txt": f"Table {number} at Blue Heron, next to a long text." for number in range(10)}
    before = {name: submissions(ner_emulator, name) for name in HOSTILE}
    with hosted(values, LOGS / "host-long-texts.log"):
        etags = {name: drop(blobs, settings, name, text.encode()) for name, text in (HOSTILE | small).items()}
        outcomes = {name: outcome_of(blobs, settings, name, etag) for name, etag in etags.items()}
    assert {name: outcome.errors for name, outcome in outcomes.items() if outcome.errors} == {}
    assert {outcome.status for outcome in outcomes.values()} == {OutcomeStatus.SUCCEEDED}
    accepted = stats(ner_emulator)["documents"]
    assert [accepted[digest_of(text)] for text in small.values()] == [1] * len(small)
    for name, text in HOSTILE.items():
        units = len(text.encode("utf-16-le")) // 2
        assert len(outcomes[name].jobs) == submissions(ner_emulator, name) - before[name] == -(-units // 125_000)
