"""Steps that are taken for all files of a batch."""

import asyncio

import pytest

from shared.pipeline.finishing import for_each


async def test_a_step_that_fails_for_one_file_is_finished_for_the_others_first() -> None:
    """Only then is the error raised."""
    finished = []

    async def step(number: int) -> int:
        if number == 1:
            raise ValueError
        for _ in range(number * 10):
            await asyncio.sleep(0)
        finished.append(number)
        return number

    with pytest.raises(ValueError, match=r"^$"):
        await for_each([2, 1, 3], step)
    assert finished == [2, 3]
    assert await for_each([3, 2], step) == [3, 2]
    assert await for_each([4], step) == [4]
