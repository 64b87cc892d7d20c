"""A short run, that a plan is what its seed makes it, and what the verdict lets pass."""

from collections import Counter
from contextlib import nullcontext

import pytest
from rich.console import Console

from local.ner.requests import digest_of
from local.times import utc_now
from shared.ner.model import Problem, Statistics
from shared.outcome import Outcome, OutcomeStatus
from shared.settings import Settings
from shared.source import Source
from tests.chaos.plan import KINDS, make_plan
from tests.chaos.refusing import RECORDED_SECONDS, Refusing
from tests.chaos.run import KILLED, TIMED_OUT, run_seed, show
from tests.chaos.verdict import (
    GIVEN_UP,
    MIN_DEATHS,
    Books,
    Stats,
    Uploaded,
    check_given_up,
    check_outcome,
    check_submissions,
)
from tests.proxy import Call, Service


def test_a_plan_is_a_function_of_its_seed() -> None:
    """So a run that failed can be run again; a long one has every kind of fault."""
    assert make_plan(7, 60) == make_plan(7, 60)
    assert make_plan(7, 60) != make_plan(8, 60)
    for seed in range(50):
        assert {action.kind for action in make_plan(seed, 60)} == {kind for kind, _ in KINDS}


def test_a_version_is_given_up_after_three_deaths_only() -> None:
    """Each of them before it had its outcome; then nothing need have been submitted."""
    version, counts = Uploaded("0x1", b"a text", 1), Stats({"documents": {}, "lostDocuments": {}})
    books = Books(counts, {"a.txt": [version]}, after=counts)
    source = Source("incoming", "a.txt", version.etag, utc_now(), len(version.data))
    given_up = Problem(GIVEN_UP, "The app failed to process the file several times.")
    outcome = Outcome(OutcomeStatus.FAILED, source, {}, [], [], [given_up], Statistics(0, 0, 0, 0))
    books.deaths[version.etag] = MIN_DEATHS - 1
    with pytest.raises(AssertionError, match="given up after 2 deaths"):
        check_outcome("a.txt", version, outcome, books)
    with pytest.raises(AssertionError, match="0 documents for 1"):
        check_submissions(books)
    books.deaths[version.etag] += 1
    check_outcome("a.txt", version, outcome, books)
    check_submissions(books)


def test_each_document_of_each_version_is_paid_once() -> None:
    """Unless a worker may have been submitting it, or any file, when something was done to the app."""
    versions = [Uploaded("0x1", b"a text", 1), Uploaded("0x2", b"a newer text", 1)]
    first, newest = map(digest_of, ("a text", "a newer text"))

    def books_of(accepted: dict[str, int], lost: dict[str, int] | None = None) -> Books:
        after = {"documents": accepted, "lostDocuments": lost or {}}
        return Books(
            {"documents": {}, "lostDocuments": {}}, {"a.txt": versions, "b.txt": [Uploaded("0x3", b"", 0)]}, after=after
        )

    # An older version may be replaced before it is submitted; that does not make up for one that was paid twice.
    check_submissions(books_of({newest: 1}))
    check_submissions(books_of({first: 1, newest: 2}, {newest: 1}))
    with pytest.raises(AssertionError, match="0 documents for 1"):
        check_submissions(books_of({first: 1}))
    for in_work, most, of_any_file, is_allowed in (
        ({}, 0, 0, False),
        ({"b.txt": 1}, 1, 0, False),
        ({"a.txt": 1}, 0, 0, False),
        ({"a.txt": 1}, 1, 0, True),
        ({}, 0, 1, True),
    ):
        books = books_of({newest: 2})
        books.allow(Counter(in_work), most, of_any_file)
        with nullcontext() if is_allowed else pytest.raises(AssertionError, match="1 documents were paid again"):
            check_submissions(books)


def test_each_death_ends_one_version_at_most() -> None:
    """The first two have none of their own: what was in work beside the culprit is tried again."""
    books = Books({}, given_up={"a.txt", "b.txt"})
    for _ in range(MIN_DEATHS):
        books.note_death(["0x1", "0x2"])
    with pytest.raises(AssertionError, match="given up after 3 deaths"):
        check_given_up(books)
    books.note_death(["0x2"])
    check_given_up(books)


def test_a_death_forgets_no_more_jobs_than_were_just_submitted(sample_values: dict[str, str]) -> None:
    """What was submitted longer ago has its record, or never will."""
    clock = iter([1.0, 1.0, 2.0, 2.0, 2.0, 1.5 + RECORDED_SECONDS, 2.5 + RECORDED_SECONDS])
    refusing = Refusing(1, Settings.from_environ(sample_values), lambda: next(clock))
    body = b'{"analysisInput": {"documents": [{}]}}'
    for number in (1, 2):
        refusing(Call(number, Service.NER, "POST", "/language/analyze-text/jobs", {}, body))
    counts = [refusing.posted_lately() for _ in range(3)]
    assert counts == [2, 1, 0]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_nothing_is_lost_and_nothing_paid_twice(ner_emulator: str) -> None:
    """In a short run; `make chaos` has long ones."""
    run = run_seed(1, 18, ner_emulator)
    show([run], Console())
    assert run.done[KILLED], "the worker was killed"
    assert run.done[TIMED_OUT], "the worker was killed by functionTimeout"
