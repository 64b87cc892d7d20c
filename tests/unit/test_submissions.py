"""Who goes on with a version."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from shared.jobs import JobMessage, SubmittedJob
from shared.submissions import (
    Step,
    Submission,
    decode_submission,
    encode_submission,
    next_step,
    watching_seconds,
)

from shared.source import Source

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PATIENCE = timedelta(seconds=120)
MINE, OTHER = "1" * 32, "2" * 32
WAITING = JobMessage(source=Source("incoming", "a.txt", "0x1", NOW, 1), received_date_time=NOW, claim_id=MINE)
FOLLOWED = msgspec.structs.replace(WAITING, submitted_date_time=NOW, jobs=[SubmittedJob("job", 1, 1)])


@pytest.mark.parametrize(
    ("known", "claim_id", "seconds", "expected"),
    [
        (None, MINE, 0, Step.SUBMIT),
        (Submission(WAITING, NOW), MINE, 0, Step.WATCH),
        (Submission(WAITING, NOW), OTHER, 119, Step.WATCH),
        (Submission(WAITING, NOW), OTHER, 120, Step.SUBMIT),
        (Submission(WAITING, NOW), MINE, 120, Step.SUBMIT),
        (Submission(WAITING, NOW), OTHER, -3600, Step.WATCH),
        (Submission(WAITING), MINE, 0, Step.SUBMIT),
        (Submission(WAITING), OTHER, 0, Step.LEAVE),
        (Submission(WAITING), OTHER, 1e6, Step.LEAVE),
        (Submission(FOLLOWED), MINE, 0, Step.FOLLOW),
        (Submission(FOLLOWED), OTHER, 1e6, Step.LEAVE),
        (Submission(FOLLOWED), None, 0, Step.LEAVE),
    ],
)
def test_one_of_all_goes_on(known: Submission | None, claim_id: str | None, seconds: float, expected: Step) -> None:
    """Whoever claims it submits it; whoever follows it goes on; a claim that is too old is nobody's."""
    assert next_step(known, claim_id, NOW + timedelta(seconds=seconds), PATIENCE) is expected


def test_a_worker_that_still_records_is_alive() -> None:
    """However long ago it claimed: it submits many requests."""
    now, active = NOW + timedelta(seconds=600), NOW + timedelta(seconds=590)
    assert next_step(Submission(WAITING, NOW), OTHER, now, PATIENCE, active) is Step.WATCH
    assert next_step(Submission(WAITING, NOW), OTHER, now, PATIENCE, NOW) is Step.SUBMIT


@pytest.mark.parametrize(("seconds", "jitter", "expected"), [(0, 0, 120), (100, 0, 20), (500, 0, 1), (100, 1, 32)])
def test_a_watched_claim_is_looked_at_when_it_has_become_old(seconds: float, jitter: float, expected: float) -> None:
    """Not before, and many that watch do not come all at once."""
    now = NOW + timedelta(seconds=seconds)
    assert watching_seconds(Submission(WAITING, NOW), now, PATIENCE, jitter) == expected


@pytest.mark.parametrize("submission", [Submission(WAITING, NOW), Submission(FOLLOWED)])
def test_a_record_is_read_as_it_was_written(submission: Submission) -> None:
    """It holds the message, so that a lost one can be sent again."""
    assert decode_submission(encode_submission(submission)) == submission
