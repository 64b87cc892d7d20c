"""Where a file stands follows from what the three containers list."""

from datetime import UTC, datetime, timedelta

import pytest
from shared.ledger import ledger_name

from local.listing import Ended, Listing, State
from shared.outcome import OutcomeStatus, blob_name
from shared.source import Source

UPLOADED = datetime(2026, 11, 24, 10, tzinfo=UTC)
LATER = UPLOADED + timedelta(minutes=1)
SOURCE = Source("incoming", "a/b.txt", "0x2", UPLOADED, 5)
RECORD = f"{ledger_name(SOURCE)}.json"


def ended(status: OutcomeStatus = OutcomeStatus.SUCCEEDED, source_etag: str = "0x2") -> Ended:
    """Return an outcome of the file."""
    return Ended(blob_name(SOURCE.name), status, LATER, 100, "0x9", source_etag)


def listing(records: dict[str, datetime] | None = None, *outcomes: Ended) -> Listing:
    """Return what the containers list."""
    return Listing([SOURCE], records or {}, {outcome.blob: outcome for outcome in outcomes})


@pytest.mark.parametrize(
    ("listed", "state"),
    [
        (listing(), State.WAITING),
        (listing({RECORD: UPLOADED}), State.IN_FLIGHT),
        (listing({}, ended()), State.SUCCEEDED),
        (listing({}, ended(OutcomeStatus.PARTIALLY_SUCCEEDED)), State.PARTIALLY_SUCCEEDED),
        (listing({}, ended(OutcomeStatus.FAILED)), State.FAILED),
        # The record of a version that has ended is deleted a moment after its outcome was written.
        (listing({RECORD: LATER}, ended()), State.SUCCEEDED),
        # What failed is submitted anew: the record is younger than the outcome that it is to replace.
        (listing({RECORD: LATER + timedelta(seconds=1)}, ended(OutcomeStatus.FAILED)), State.IN_FLIGHT),
        # The outcome of a version that has been replaced says nothing of the new one.
        (listing({}, ended(source_etag="0x1")), State.WAITING),
        (listing({RECORD: UPLOADED}, ended(source_etag="0x1")), State.IN_FLIGHT),
        (listing({"another.json": UPLOADED}), State.WAITING),
    ],
)
def test_a_file_stands_where_its_newest_version_does(listed: Listing, state: State) -> None:
    """Records and outcomes of other versions do not count."""
    (file,) = listed.files()
    assert (file.name, file.state, file.size) == ("a/b.txt", state, 5)
    assert state.has_ended == (file.state.value in {status.value for status in OutcomeStatus})


def test_the_outcome_of_a_deleted_file_is_still_a_file() -> None:
    """Its name is what the outcome's says."""
    outcome = ended()
    (file,) = Listing([], {}, {outcome.blob: outcome}).files()
    assert (file.name, file.state, file.size, file.outcome) == ("a/b.txt", State.SUCCEEDED, None, outcome)


@pytest.mark.parametrize(
    ("listed", "seconds", "names"),
    [
        (listing(), 121, ["a/b.txt"]),
        (listing(), 119, []),
        (listing({RECORD: UPLOADED}), 121, []),
        (listing({}, ended()), 121, []),
        (listing({}, ended(source_etag="0x1")), 121, ["a/b.txt"]),
    ],
)
def test_unheard_is_what_the_app_had_time_to_hear_of(listed: Listing, seconds: int, names: list[str]) -> None:
    """Neither record nor outcome, after the time that a submission may take."""
    found = listed.unheard(UPLOADED + timedelta(seconds=seconds), 120)
    assert [source.name for source in found] == names
