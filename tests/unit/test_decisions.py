"""What is decided about a file, a batch and a call, in tables of all cases."""

from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.message import is_expired
from shared.ner.errors import NerError, Remedy
from shared.pipeline.decisions import (
    MAX_STORAGE_DELAY_SECONDS,
    MAX_UNSURE,
    Claiming,
    Fail,
    Finding,
    Later,
    ListedClaim,
    after_call,
    after_refusal,
    after_unsure,
    is_behind,
    is_refused_for_size,
    look_at_file,
    who_submits,
    window_seconds,
)
from shared.source import Source
from shared.state.batch import BatchKind, BatchRecord, is_overdue
from shared.state.claim import Claim, is_old

NOW: Final = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SOURCE: Final = Source("incoming", "a.txt", "mine", NOW, 1)
BATCH: Final = "0" * 32
PATIENCE: Final = 120
GRACE: Final = 60
TIMEOUT: Final = 1000
LEAST: Final = 2
MOST: Final = 60
EACH: Final = (None, False, True)


def claim_of(etag: str) -> Claim:
    """Return a claim of a version."""
    source = msgspec.structs.replace(SOURCE, etag=etag)
    return Claim(source=source, batch=BATCH, claimed_date_time=NOW, received_date_time=NOW)


def record_of(kind: BatchKind = BatchKind.WAITING, submitted: datetime | None = None) -> BatchRecord:
    """Return a record of a batch that was received at NOW."""
    return BatchRecord(kind=kind, received_date_time=NOW, submitted_date_time=submitted, due=NOW)


def after(seconds: float) -> datetime:
    """Return the time in that many seconds."""
    return NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("etag", "is_in_batch", "seconds", "expected"),
    [
        # Another version is asked for, whatever its worker does.
        *(("other", known, seconds, Claiming.ASK) for known in EACH for seconds in (-10, 0, 119, 120, 1e6)),
        # The worker of this version may be at work.
        *(("mine", known, seconds, Claiming.LEAVE) for known in EACH for seconds in (-1e6, 0, 119.9)),
        # It has ended: what it left decides.
        *(("mine", None, seconds, Claiming.FENCE) for seconds in (120, 1e6)),
        *(("mine", False, seconds, Claiming.TAKE_OVER) for seconds in (120, 1e6)),
        *(("mine", True, seconds, Claiming.LEAVE) for seconds in (120, 1e6)),
    ],
)
def test_one_worker_submits_a_version(etag: str, is_in_batch: bool | None, seconds: float, expected: Claiming) -> None:
    """A record that has the claim is proof of work; without one, age decides."""
    assert who_submits(claim_of(etag), SOURCE, is_in_batch, after(seconds), PATIENCE) is expected


@pytest.mark.parametrize("is_in_batch", EACH)
@pytest.mark.parametrize("seconds", [-10, 0, 1e6])
def test_a_version_leaves_a_batch_that_was_dissolved_at_once(is_in_batch: bool | None, seconds: float) -> None:
    """But not another batch, which it is in by now, and not one that it was in as another version."""
    mine, other = claim_of("mine"), claim_of("other")
    decided = [
        who_submits(claim, SOURCE, is_in_batch, after(seconds), PATIENCE, dissolved=batch)
        for claim, batch in ((mine, BATCH), (mine, "1" * 32), (other, BATCH))
    ]
    assert decided[0] is Claiming.LEAVE_BATCH
    assert decided[1] is who_submits(mine, SOURCE, is_in_batch, after(seconds), PATIENCE)
    assert decided[2] is Claiming.ASK


def test_a_claim_is_taken_over_whatever_else_it_says() -> None:
    """How often, since when and in place of what it was made is not looked at."""
    claim = msgspec.structs.replace(claim_of("mine"), tries=99, received_date_time=after(-1e6), replaces="0x1")
    assert who_submits(claim, SOURCE, None, after(PATIENCE), PATIENCE) is Claiming.FENCE


def error_of(remedy: Remedy, retry_after: float | None = None) -> NerError:
    """Return what a call failed with."""
    return NerError("Code", "words", remedy, retry_after)


def after_error(
    error: NerError, record: BatchRecord, now: datetime, *, jitter: float = 0.0, since: datetime | None = None
) -> Later | Fail:
    """Decide with the settings of this file."""
    return after_call(error, record, now, timeout_seconds=TIMEOUT, least=LEAST, most=MOST, jitter=jitter, since=since)


WAITING: Final = record_of()
FOLLOWED: Final = record_of(BatchKind.JOB, after(500))


@pytest.mark.parametrize(
    ("error", "record", "seconds", "since", "expected"),
    [
        # No time helps.
        (error_of(Remedy.NONE), WAITING, 0, None, Fail(overdue=False)),
        (error_of(Remedy.NONE, 30), WAITING, 1e6, 1e6, Fail(overdue=False)),
        # Half of the time that it has waited, between the least and the most.
        (error_of(Remedy.WAIT), WAITING, 0, None, Later(2)),
        (error_of(Remedy.WAIT), WAITING, 3, None, Later(2)),
        (error_of(Remedy.WAIT), WAITING, 20, None, Later(10)),
        (error_of(Remedy.WAIT), WAITING, 200, None, Later(60)),
        (error_of(Remedy.WAIT), WAITING, -50, None, Later(2)),
        (error_of(Remedy.MEND_SETTINGS), WAITING, 20, None, Later(10)),
        # What the service asks for.
        (error_of(Remedy.WAIT, 30), WAITING, 20, None, Later(30)),
        (error_of(Remedy.WAIT, 3600), WAITING, 20, None, Later(3600)),
        (error_of(Remedy.WAIT, 0), WAITING, 20, None, Later(10)),
        # Progress makes the delay short again.
        (error_of(Remedy.WAIT), WAITING, 200, 200, Later(2)),
        (error_of(Remedy.WAIT), WAITING, 200, 180, Later(10)),
        # The deadline, which progress does not move, and Retry-After does not either.
        (error_of(Remedy.WAIT), WAITING, 999, None, Later(60)),
        (error_of(Remedy.WAIT), WAITING, 1000, None, Fail(overdue=True)),
        (error_of(Remedy.WAIT, 30), WAITING, 1000, 1000, Fail(overdue=True)),
        (error_of(Remedy.MEND_SETTINGS), WAITING, 1000, None, Fail(overdue=True)),
        # It counts from the submission, once there is one.
        (error_of(Remedy.WAIT), FOLLOWED, 1499, None, Later(60)),
        (error_of(Remedy.WAIT), FOLLOWED, 520, None, Later(10)),
        (error_of(Remedy.WAIT), FOLLOWED, 1500, None, Fail(overdue=True)),
    ],
)
def test_a_call_that_failed_is_made_again_later_or_ends_the_batch(
    error: NerError, record: BatchRecord, seconds: float, since: float | None, expected: Later | Fail
) -> None:
    """Who can do something about it decides, and how long it has been waited for."""
    began = None if since is None else after(since)
    assert after_error(error, record, after(seconds), since=began) == expected


@given(
    seconds=st.floats(0, 2 * TIMEOUT),
    jitter=st.floats(0, 1),
    retry_after=st.none() | st.floats(0, 3600),
    remedy=st.sampled_from([Remedy.WAIT, Remedy.MEND_SETTINGS]),
)
def test_a_batch_waits_until_its_deadline(
    seconds: float, jitter: float, retry_after: float | None, remedy: Remedy
) -> None:
    """It fails then and not before; a call is never made earlier than the service asks."""
    decided = after_error(error_of(remedy, retry_after), WAITING, after(seconds), jitter=jitter)
    assert isinstance(decided, Fail) == is_expired(NOW, after(seconds), TIMEOUT)
    if isinstance(decided, Later):
        assert decided.seconds >= max(LEAST, retry_after or 0)
        assert decided.seconds <= max(MOST, 1.5 * max(retry_after or 0, LEAST))


@pytest.mark.parametrize(
    ("patience", "minutes"), [(2, [2, 16, 128, 1024]), (120, [2, 16, 128, 1024]), (900, [15, 120, 960, 7680])]
)
def test_a_text_that_may_have_been_accepted_is_sent_again_a_few_times(patience: float, minutes: list[int]) -> None:
    """Each submission may have been paid, so each delay is longer, and five are all."""
    record, found = WAITING, []
    while (after := after_unsure(record, NOW, patience)) is not None:
        assert after.not_before is not None
        found.append((after.not_before - NOW).total_seconds() / 60)
        record = after
    assert found == minutes
    assert len(found) + 1 == MAX_UNSURE


@pytest.mark.parametrize(
    ("record", "seconds", "most", "jitter", "expected"),
    [
        (WAITING, 0, 60, 0, 2),
        (WAITING, -50, 60, 0, 2),
        (WAITING, 100, 60, 0, 50),
        (WAITING, 100, 60, 1, 25),
        # Longer than a call of the service waits.
        (WAITING, 400, 60, 0, 200),
        (WAITING, 1e6, 60, 0, 600),
        (WAITING, 1e6, 60, 1, 300),
        (WAITING, 1e6, 900, 0, 900),
        (FOLLOWED, 600, 60, 0, 50),
    ],
)
def test_a_refusal_of_storage_never_ends_a_batch(
    record: BatchRecord, seconds: float, most: float, jitter: float, expected: float
) -> None:
    """It has no deadline: the outcome could not be written either."""
    assert after_refusal(record, after(seconds), least=LEAST, most=most, jitter=jitter) == expected
    assert expected <= max(most, MAX_STORAGE_DELAY_SECONDS)


def found(
    age: float = 1e6,
    outcome_of: str | None = None,
    claim_age: float | None = None,
    *,
    is_live: bool = False,
    since: float | None = None,
    claim_of: str = SOURCE.etag,
) -> Finding:
    """Return what the sweep finds about a file that is `age` seconds old; `since` is how long ago the app began."""
    return look_at_file(
        SOURCE,
        outcome_of,
        None if claim_age is None else ListedClaim(BATCH, after(age - claim_age), claim_of),
        after(age),
        is_in_batch=is_live,
        grace_seconds=GRACE,
        patience_seconds=PATIENCE,
        since=None if since is None else after(since),
    )


@pytest.mark.parametrize(("age", "expected"), [(59, Finding.WELL), (60, Finding.MISSING)])
def test_a_version_whose_file_is_claimed_for_another_one_is_missing_after_the_grace(
    age: float, expected: Finding
) -> None:
    """The job of the other one may run for a day, and the claim can be taken over."""
    assert found(age, claim_age=10, is_live=True, claim_of="older") is expected
    assert found(age, SOURCE.etag, claim_age=10, is_live=True, claim_of="older") is Finding.WELL


@pytest.mark.parametrize("since", [None, -1, 0])
@pytest.mark.parametrize("outcome_of", [None, "older", ""])
@pytest.mark.parametrize(("age", "expected"), [(-5, Finding.WELL), (59, Finding.WELL), (60, Finding.MISSING)])
def test_a_file_without_claim_and_outcome_is_missing_after_the_grace(
    age: float, outcome_of: str | None, since: float | None, expected: Finding
) -> None:
    """An outcome of another version, or of one that is not known, is none."""
    assert found(age, outcome_of, since=since) is expected


@pytest.mark.parametrize("outcome_of", [None, "older"])
@pytest.mark.parametrize(("age", "expected"), [(59, Finding.WELL), (60, Finding.EXISTING), (1e6, Finding.EXISTING)])
def test_a_file_from_before_the_deployment_is_counted(age: float, outcome_of: str | None, expected: Finding) -> None:
    """It is submitted only if NER_SWEEP_EXISTING asks for it."""
    assert found(age, outcome_of, since=1) is expected


@pytest.mark.parametrize("since", [None, 0, 1])
@pytest.mark.parametrize("age", [0, 60, 1e6])
def test_a_file_with_its_outcome_is_well(age: float, since: float | None) -> None:
    """At any age."""
    assert found(age, "mine", since=since) is Finding.WELL


@pytest.mark.parametrize("since", [None, 0, 1])
@pytest.mark.parametrize("outcome_of", [None, "mine", "older"])
@pytest.mark.parametrize(
    ("claim_age", "is_live", "expected"),
    [
        (-5, False, Finding.WELL),
        (119, False, Finding.WELL),
        (119, True, Finding.WELL),
        (120, True, Finding.WELL),
        (1e6, True, Finding.WELL),
        (120, False, Finding.MISSING),
        (1e6, False, Finding.MISSING),
    ],
)
def test_a_claim_without_a_record_is_an_orphan_once_it_is_old(
    claim_age: float, outcome_of: str | None, since: float | None, *, is_live: bool, expected: Finding
) -> None:
    """Whatever the outcome, which the claim may be about to replace, and however old the file."""
    assert found(1e6, outcome_of, claim_age, is_live=is_live, since=since) is expected


@pytest.mark.parametrize("age", [0, 1, 59])
def test_a_young_file_with_an_old_claim_is_missing(age: float) -> None:
    """The claim is of its last version, whose worker died: the event of the new one may have come before that."""
    assert found(age, None, PATIENCE) is Finding.MISSING


@pytest.mark.parametrize(
    ("due", "expected"),
    [(None, False), (-1000, False), (0, False), (59.9, False), (60, True), (1e6, True)],
)
def test_poll_is_behind_once_a_message_is_late(due: float | None, *, expected: bool) -> None:
    """`due` counts in seconds before now; an empty queue is not late, and neither is a clock that went backwards."""
    assert is_behind(None if due is None else after(-due), NOW, GRACE) is expected


@pytest.mark.parametrize(("seconds", "expected"), [(-1, False), (0, False), (59.9, False), (60, True), (1e6, True)])
def test_a_record_is_overdue_after_the_grace(seconds: float, *, expected: bool) -> None:
    """Until then its message may still come."""
    assert is_overdue(NOW, after(seconds), GRACE) is expected


@pytest.mark.parametrize(("seconds", "expected"), [(-1, False), (0, False), (119.9, False), (120, True), (1e6, True)])
def test_a_claim_is_old_once_its_worker_must_have_ended(seconds: float, *, expected: bool) -> None:
    """Each worker ends itself before."""
    assert is_old(NOW, after(seconds), PATIENCE) is expected


@pytest.mark.parametrize(
    ("calls", "expected"), [(0, 0.0), (250, 0.0), (251, 0.004), (500, 1.0), (750, 2.0), (1000, 2.0), (9999, 2.0)]
)
def test_a_batch_waits_the_longer_the_more_calls_are_used(calls: int, expected: float) -> None:
    """Not at all while few are, and never longer than two seconds."""
    assert window_seconds(calls, is_throttled=False) == pytest.approx(expected)


@pytest.mark.parametrize("calls", [0, 500, 9999])
def test_after_throttling_a_batch_waits_for_the_longest_time(calls: int) -> None:
    """Other processes may have used the calls, or the limit is lower than usual."""
    assert window_seconds(calls, is_throttled=True) == 2.0


@pytest.mark.parametrize(
    ("code", "message", "remedy", "is_for_size"),
    [
        ("InvalidDocumentBatch", "The documents contain 125087 text elements.", Remedy.NONE, True),
        ("InvalidArgument", "The request exceeds the size limit.", Remedy.NONE, True),
        ("InvalidArgument", "The document is too long.", Remedy.NONE, True),
        ("RequestEntityTooLarge", "No.", Remedy.NONE, True),
        ("HTTP413", "No reason given.", Remedy.NONE, True),
        ("413", "", Remedy.NONE, True),
        ("InvalidDocument", "The document 'a.txt' is invalid.", Remedy.NONE, False),
        ("UnsupportedLanguageCode", "The language is not supported.", Remedy.NONE, False),
        ("InvalidRequest", "The ID 4130 is unknown.", Remedy.NONE, False),
        ("QuotaExceeded", "The quota is exceeded.", Remedy.MEND_SETTINGS, False),
        ("ServiceUnavailable", "Too many requests.", Remedy.WAIT, False),
    ],
)
def test_only_a_refusal_of_a_request_is_for_its_size(
    code: str, message: str, remedy: Remedy, *, is_for_size: bool
) -> None:
    """By its code or its words; what may be accepted later is not divided."""
    assert is_refused_for_size(NerError(code, message, remedy)) is is_for_size
    assert not is_refused_for_size(NerError(code, message, remedy, is_unanswered=True))
