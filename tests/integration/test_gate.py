"""The gate in the app: which files share a batch, and which of them wait for a slow one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from shared.message import FileMessage, decode_message
from shared.pipeline.running import Pipeline
from shared.state.batch import BatchKind
from tests.calls import after_submission, arriving_together, before_blob_call, refuse
from tests.emulator import documents
from tests.integration.conftest import TEXT, Way
from tests.integration.test_batches import NAMES, drop, members, next_batch, statuses, submit


@asynccontextmanager
async def hanging_submission(way: Way, name: str) -> AsyncIterator[None]:
    """Submit a file; the service's response arrives when the block ends."""
    hangs, goes_on = asyncio.Event(), asyncio.Event()

    async def hang() -> None:
        hangs.set()
        await goes_on.wait()

    with after_submission(hang):
        task = asyncio.create_task(way.pipeline.submit(name))
        try:
            await hangs.wait()
            yield
        finally:
            goes_on.set()
            await task


async def test_a_request_that_hangs_does_not_hold_up_the_next_one(way: Way) -> None:
    """Files that arrive in the meantime form another batch."""
    drop(way)
    way.switch(jobSeconds=0)
    async with hanging_submission(way, NAMES[0]):
        await submit(way, NAMES[1:])
        body, record = next_batch(way)
        assert (record.kind, members(record)) == (BatchKind.JOB, list(NAMES[1:]))
        await way.pipeline.poll(body)
        assert statuses(way) == [None, *["succeeded"] * 3]
    await way.poll_until_empty()
    assert statuses(way) == ["succeeded"] * 4
    assert way.in_flight() == 0


async def test_a_file_that_is_taken_over_does_not_hold_up_the_others(way: Way) -> None:
    """It is submitted alone, so no batch waits for it, however long its request takes."""
    drop(way)
    way.switch(jobSeconds=0)

    async def die() -> None:
        raise asyncio.CancelledError

    results = f"{way.settings.results_container}/"
    with before_blob_call("get_blob_properties", results, die), pytest.raises(asyncio.CancelledError):
        await way.pipeline.submit(NAMES[0])
    way.pass_time(way.settings.submit_timeout_seconds)
    async with hanging_submission(way, NAMES[0]):
        await asyncio.wait_for(submit(way, NAMES[1:]), 30)
    await way.poll_until_empty()
    assert statuses(way) == ["succeeded"] * 4


@pytest.mark.parametrize("state", ["unheard of", "refused"])
async def test_files_that_come_later_share_a_batch_as_well(state: str, way: Way) -> None:
    """Messages of the sweep, and those after a refused call, are processed like events."""
    drop(way)
    before = documents(way.ner_emulator)
    if state == "refused":
        with before_blob_call("upload_blob", f"{way.settings.state_container}/claims/", refuse, times=4):
            await submit(way)
    else:
        assert (await way.sweep()).missing == 4
    bodies = [way.message().content.encode() for _ in NAMES]
    found = [decode_message(body) for body in bodies]
    assert sorted(message.file for message in found if isinstance(message, FileMessage)) == list(NAMES)
    with arriving_together(way.pipeline, len(bodies)):
        await asyncio.gather(*(way.pipeline.poll(body) for body in bodies))
    body, record = next_batch(way)
    assert (record.kind, members(record)) == (BatchKind.JOB, list(NAMES))
    way.end_jobs()
    await way.pipeline.poll(body)
    assert statuses(way) == ["succeeded"] * 4
    assert documents(way.ner_emulator) - before == 4
    assert way.in_flight() == 0


async def test_files_that_arrive_while_the_service_is_throttling_wait_together(way: Way) -> None:
    """Their batch makes no call that would be refused, and is submitted as a whole later."""
    drop(way)
    way.switch(jobSeconds=0, faults=[{"status": 429, "method": "POST", "times": 1, "retryAfter": 20}])
    before = documents(way.ner_emulator)
    await way.pipeline.submit(NAMES[0])
    await submit(way, NAMES[1:])
    records = [next_batch(way)[1] for _ in range(2)]
    assert sorted(map(members, records)) == [[NAMES[0]], list(NAMES[1:])]
    assert {record.kind for record in records} == {BatchKind.WAITING}
    assert documents(way.ner_emulator) == before
    await way.sweep()
    await way.poll_until_empty()
    assert statuses(way) == ["succeeded"] * 4
    assert documents(way.ner_emulator) - before == 4


async def test_a_file_of_many_jobs_shares_no_batch(way: Way) -> None:
    """The other files share a batch without it."""
    drop(way, NAMES[:2])
    way.name = "together/many.txt"
    way.upload(TEXT * 3000)
    way.switch(jobSeconds=0)
    names = [*NAMES[:2], way.name]
    await submit(way, names)
    found = [members(next_batch(way)[1]) for _ in range(2)]
    assert sorted(found) == [list(NAMES[:2]), [way.name]]
    await way.sweep()
    await way.poll_until_empty()
    assert statuses(way, names) == ["succeeded"] * 3


async def test_the_window_grows_with_the_calls_of_the_process(way: Way) -> None:
    """Once the service has throttled a call, it has its maximum."""
    pipeline = Pipeline(way.settings)
    services = pipeline.services
    assert services.gate.window() == 0.0
    for _ in range(500):
        services.ner.rate.add()
    assert services.gate.window() == 1.0
    services.delays.throttle(1.0)
    assert services.gate.window() == 2.0
    await pipeline.aclose()
