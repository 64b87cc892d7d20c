"""A short run, and that a plan is what its seed makes it."""

import pytest
from rich.console import Console

from tests.chaos.plan import KINDS, make_plan
from tests.chaos.run import run_seed, show


def test_a_plan_is_a_function_of_its_seed() -> None:
    """So a run that failed can be run again; a long one has every kind of fault."""
    assert make_plan(7, 60) == make_plan(7, 60)
    assert make_plan(7, 60) != make_plan(8, 60)
    for seed in range(50):
        assert {action.kind for action in make_plan(seed, 60)} == {kind for kind, _ in KINDS}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_nothing_is_lost_and_nothing_paid_twice(ner_emulator: str) -> None:
    """In a short run; `make chaos` has long ones."""
    show([run_seed(1, 26, ner_emulator)], Console())
