"""The state of a file follows from what the three containers list."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from local.app_settings import SAMPLE, read_values
from local.listing import Batch, Claimed, Ended, Listing, State
from local.survey import is_existing, not_picked_up
from shared.names import result_name
from shared.outcome import OutcomeStatus
from shared.settings import Settings
from shared.source import Source
from shared.state.claim import claim_name
from shared.state.sweeping import SweepState

UPLOADED = datetime(2026, 11, 24, 10, tzinfo=UTC)
LATER = UPLOADED + timedelta(minutes=1)
SOURCE = Source("incoming", "a/b.txt", "0x2", UPLOADED, 5)
BATCH = "0" * 32


def ended(status: OutcomeStatus = OutcomeStatus.SUCCEEDED, source_etag: str = "0x2", name: str = SOURCE.name) -> Ended:
    """Return an outcome of the file."""
    return Ended(result_name(name), status, LATER, 100, "0x9", source_etag)


def claimed(source_etag: str = "0x2", name: str = SOURCE.name) -> Claimed:
    """Return a claim of the file."""
    return Claimed(claim_name(name), BATCH, UPLOADED, source_etag, "0x5")


def listing(*blobs: Claimed | Ended, source: Source = SOURCE) -> Listing:
    """Return what the containers list."""
    claims = {blob.blob: blob for blob in blobs if isinstance(blob, Claimed)}
    outcomes = {blob.blob: blob for blob in blobs if isinstance(blob, Ended)}
    return Listing([source], claims, {}, outcomes)


def settings(**values: str) -> Settings:
    """Return the sample's, changed."""
    return Settings.from_environ({**read_values(SAMPLE), **values})


@pytest.mark.parametrize(
    ("listed", "state", "is_old_version"),
    [
        (listing(), State.WAITING, False),
        (listing(claimed()), State.IN_FLIGHT, False),
        (listing(ended()), State.SUCCEEDED, False),
        (listing(ended(OutcomeStatus.PARTIALLY_SUCCEEDED)), State.PARTIALLY_SUCCEEDED, False),
        (listing(ended(OutcomeStatus.FAILED)), State.FAILED, False),
        # A failed file is submitted again: its outcome stays until there is a new one.
        (listing(claimed(), ended(OutcomeStatus.FAILED)), State.IN_FLIGHT, False),
        # The outcome of a version that has been replaced says nothing of the new one.
        (listing(ended(source_etag="0x1")), State.WAITING, False),
        (listing(claimed(), ended(source_etag="0x1")), State.IN_FLIGHT, False),
        # The file was replaced while it was in flight, and the event of the new version has not come yet.
        (listing(claimed("0x1")), State.IN_FLIGHT, True),
        (listing(claimed("")), State.IN_FLIGHT, False),
        (listing(ended(name="a/b"), claimed(name="a")), State.WAITING, False),
    ],
)
def test_a_file_has_the_state_of_its_newest_version(listed: Listing, state: State, is_old_version: bool) -> None:
    """A claim says that it is in flight, whatever its outcome."""
    file = next(file for file in listed.files() if file.name == "a/b.txt")
    assert (file.state, file.size, file.is_old_version) == (state, 5, is_old_version)
    assert state.has_ended == (file.state.value in {status.value for status in OutcomeStatus})


@pytest.mark.parametrize("name", ["n" * 1012, "n" * 1013, "n" * 1019, "n" * 1024, "💥" * 512])
def test_a_claim_is_found_however_long_the_name_is(name: str) -> None:
    """Claims and outcomes are shortened at different lengths."""
    source = msgspec.structs.replace(SOURCE, name=name)
    (file,) = listing(claimed(name=name), source=source).files()
    assert file.state is State.IN_FLIGHT
    assert file.claim is not None
    assert file.claim.name in (name, None)


def test_a_deleted_file_is_still_a_file() -> None:
    """As long as it is in flight, or if it has an outcome; its name is what these say."""
    outcome, claim = ended(), claimed()
    (file,) = Listing([], {}, {}, {outcome.blob: outcome}).files()
    assert (file.name, file.state, file.size, file.outcome) == ("a/b.txt", State.SUCCEEDED, None, outcome)
    (file,) = Listing([], {claim.blob: claim}, {}, {outcome.blob: outcome}).files()
    assert (file.name, file.state, file.size, file.outcome) == ("a/b.txt", State.IN_FLIGHT, None, outcome)
    assert not file.is_old_version


@pytest.mark.parametrize(
    ("listed", "seconds", "names"),
    [
        (listing(), 121, ["a/b.txt"]),
        (listing(), 119, []),
        (listing(claimed()), 121, []),
        (listing(claimed("0x1")), 121, []),
        (listing(ended()), 121, []),
        (listing(ended(source_etag="0x1")), 121, ["a/b.txt"]),
    ],
)
def test_not_picked_up_is_what_the_app_had_time_to_begin(listed: Listing, seconds: int, names: list[str]) -> None:
    """Neither claim nor outcome, after the time that the sweep waits for."""
    now = UPLOADED + timedelta(seconds=seconds)
    found = not_picked_up(list(listed.files()), now, settings(NER_SWEEP_GRACE_SECONDS="120"))
    assert [source.name for source in found] == names


@pytest.mark.parametrize(
    ("since", "sweep_existing", "expected"),
    [(LATER, "false", True), (UPLOADED, "false", False), (LATER, "true", False), (None, "false", False)],
)
def test_existing_is_what_no_sweep_will_submit(since: datetime | None, sweep_existing: str, expected: bool) -> None:
    """Uploaded before the deployment, unless NER_SWEEP_EXISTING asks for these too."""
    sweep = SweepState(since=since, last=LATER) if since else None
    assert is_existing(SOURCE, sweep, settings(NER_SWEEP_EXISTING=sweep_existing)) is expected


@pytest.mark.parametrize(
    ("kind", "due", "seconds", "expected"),
    [
        ("job", LATER, 119, False),
        ("job", LATER, 120, True),
        ("waiting", LATER, 120, True),
        ("void", LATER, 1000, False),
        ("job", None, 0, True),
    ],
)
def test_a_batch_is_overdue_after_the_grace(kind: str, due: datetime | None, seconds: int, expected: bool) -> None:
    """As the sweep decides it; a void one needs no message."""
    listed = Listing(batches={BATCH: Batch(kind, due)})
    now = LATER + timedelta(seconds=seconds)
    assert listed.overdue_batches(now, settings(NER_SWEEP_GRACE_SECONDS="120")) == ({BATCH} if expected else set())


@pytest.mark.parametrize(
    ("batches", "seconds", "expected"),
    [
        ({}, 119, False),
        ({}, 120, True),
        ({BATCH: Batch("void", LATER)}, 120, True),
        ({BATCH: Batch("job", LATER, frozenset({"0x5"}))}, 120, False),
        ({BATCH: Batch("job", LATER, frozenset({"0x4", "0x5"}))}, 120, False),
        # The batch has left without the file.
        ({BATCH: Batch("job", LATER, frozenset({"0x4"}))}, 120, True),
    ],
)
def test_an_old_claim_without_a_record_is_an_orphan(batches: dict[str, Batch], seconds: int, expected: bool) -> None:
    """Its worker has ended: the next sweep sends a message for the file."""
    claim = claimed()
    listed = Listing([SOURCE], {claim.blob: claim}, batches)
    now = UPLOADED + timedelta(seconds=seconds)
    assert listed.orphans(now, settings(NER_SUBMIT_TIMEOUT_SECONDS="120")) == ([claim] if expected else [])


@pytest.mark.parametrize(
    ("claims", "kind", "expected"),
    [
        ({"0x4", "0x5"}, "job", False),
        # The only file whose claim names the batch is not in it.
        ({"0x4"}, "job", True),
        ({"0x4"}, "void", False),
    ],
)
def test_a_batch_is_left_once_all_its_files_have_ended(claims: set[str], kind: str, expected: bool) -> None:
    """Its record is there only to be deleted."""
    claim = claimed()
    listed = Listing([SOURCE], {claim.blob: claim}, {BATCH: Batch(kind, LATER, frozenset(claims))})
    now = LATER + timedelta(days=1)
    assert listed.left_batches(now, settings()) == ([BATCH] if expected else [])
