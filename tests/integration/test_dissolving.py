"""Batches of several files that are dissolved: each file continues alone, so that none affects the others."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import msgspec
import pytest

from shared.message import BatchMessage, FileMessage, decode_message, encode_message
from shared.ner.client import NerClient
from shared.outcome import OutcomeStatus
from shared.pipeline.decisions import LAST_TRY_TIMEOUTS
from shared.state.batch import BATCHES
from shared.state.claim import MAX_TRIES
from tests.calls import after_submission, arriving_together, before_blob_call
from tests.emulator import documents
from tests.integration.conftest import ProxiedWay, Way
from tests.integration.test_batches import NAMES, drop, job_statuses, next_batch, statuses, submit
from tests.proxy import Answer, Call
from tests.walks import CASES, Host, drop_several


async def die(*_arguments: object) -> None:
    """Replace a call by the death of the worker."""
    raise asyncio.CancelledError


@pytest.mark.parametrize("refused", [1, 2])
async def test_a_request_that_is_refused_is_sent_again_file_by_file(refused: int, way: Way) -> None:
    """Only a file whose own request is refused, too, fails."""
    drop(way)
    way.switch(jobSeconds=0, faults=[{"status": 400, "method": "POST", "times": refused}])
    before = documents(way.ner_emulator)
    await submit(way)
    await way.poll_until_empty()
    assert sorted(map(str, statuses(way))) == ["failed"] * (refused - 1) + ["succeeded"] * (5 - refused)
    assert documents(way.ner_emulator) - before == 5 - refused
    await way.sweep()
    assert way.queue.get_queue_properties().approximate_message_count == 0


@pytest.mark.parametrize("is_lasting", [False, True])
async def test_a_job_that_fails_as_a_whole_is_tried_once_more_file_by_file(way: Way, *, is_lasting: bool) -> None:
    """A second failure is the outcome."""
    drop(way)
    way.switch(jobSeconds=0, jobEnd="failed")
    before = documents(way.ner_emulator)
    await submit(way)
    way.switch(jobSeconds=0, jobEnd="failed" if is_lasting else "succeeded")
    await way.poll_until_empty()
    assert statuses(way) == ["failed" if is_lasting else "succeeded"] * 4
    assert documents(way.ner_emulator) - before == 8


async def test_a_job_that_does_not_end_is_dissolved_before_the_service_deletes_it(way: Way) -> None:
    """Each file then continues alone, with the whole time limit."""
    drop(way)
    way.switch(jobEnd="never")
    before, begun, limit = documents(way.ner_emulator), way.now(), way.settings.job_timeout_seconds
    await submit(way)
    way.pass_time(limit / 2)
    way.switch(jobSeconds=0)
    await way.poll_until_empty()
    assert statuses(way) == ["succeeded"] * 4
    assert documents(way.ner_emulator) - before == 8
    assert (way.now() - begun).total_seconds() < limit


@pytest.mark.parametrize("is_heard", [False, True])
async def test_a_worker_that_dies_before_the_record_leaves_files_that_continue_alone(
    way: Way, *, is_heard: bool
) -> None:
    """One of them may have caused the death. No file is lost: the sweep sends a message for each.

    If only one invocation has ended, the others send messages for their files, which arrive too early.
    """
    drop(way)
    way.switch(jobSeconds=0)

    async def die() -> None:
        raise asyncio.CancelledError

    state = f"{way.settings.state_container}/batches/"
    with before_blob_call("upload_blob", state, die), arriving_together(way.pipeline, len(NAMES)):
        results = await asyncio.gather(*(way.pipeline.submit(name) for name in NAMES), return_exceptions=True)
    assert [type(result) for result in results if result] == [asyncio.CancelledError]
    if not is_heard:
        way.queue.clear_messages()
    before = documents(way.ner_emulator)
    await way.poll_until_empty()
    assert statuses(way) == [None] * 4
    assert (await way.sweep()).missing == 4
    await way.poll_until_empty()
    assert statuses(way) == ["succeeded"] * 4
    assert documents(way.ner_emulator) - before == 4
    assert way.in_flight() == 1  # the void record, which keeps the slow worker from recording its job


async def test_a_slow_worker_of_several_files_cancels_its_own_job_only(way: Way) -> None:
    """Other workers have taken over its files one by one. The void record keeps it from recording its job."""
    names = [f"slow/{number}.txt" for number in range(3)]
    drop(way, names)
    way.switch(jobSeconds=3600)
    other = way.another_pipeline(later=timedelta(seconds=600))

    async def take_over() -> None:
        assert (await other.sweep()).missing == 3
        for _ in names:
            await other.poll(way.message().content.encode())

    with after_submission(take_over):
        await submit(way, names)
    slow, *fast = job_statuses(way, "slow")
    assert slow.startswith("cancel")
    way.end_jobs()
    assert len(fast) == 3
    await way.poll_until_empty()
    assert job_statuses(way, "slow")[1:] == ["succeeded"] * 3
    assert statuses(way, names) == ["succeeded"] * 3
    await other.aclose()


async def test_a_waiting_batch_is_dissolved_after_the_first_death(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then each file is tried alone, so that only a file that kills its workers is given up."""
    drop(way)
    way.switch(jobSeconds=0, faults=[{"status": 503, "method": "POST", "times": 1}])
    await submit(way)
    body, _ = next_batch(way)

    with monkeypatch.context() as patch:
        patch.setattr(NerClient, "submit", die)
        with pytest.raises(asyncio.CancelledError):
            await way.pipeline.poll(body)
    await way.sweep()
    body, _ = next_batch(way)
    await way.pipeline.poll(body)
    messages = [decode_message(message.content) for message in way.queue.peek_messages(max_messages=32)]
    assert sorted(message.file for message in messages if isinstance(message, FileMessage)) == list(NAMES)
    await way.poll_until_empty()
    assert statuses(way) == ["succeeded"] * 4


async def test_a_job_is_not_paid_again_until_several_workers_have_died(
    way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files continue alone after the same delay as that before the last try."""
    drop(way)
    way.switch(jobSeconds=0)
    await submit(way)
    before = documents(way.ner_emulator)

    for _ in range(MAX_TRIES):
        body, _ = next_batch(way)
        with monkeypatch.context() as patch:
            patch.setattr(NerClient, "look", die)
            with pytest.raises(asyncio.CancelledError):
                await way.pipeline.poll(body)
        await way.sweep()
    body, record = next_batch(way)
    assert record.tries == MAX_TRIES
    died = way.now()
    await way.pipeline.poll(body)
    body, _ = next_batch(way)
    assert way.now() - died >= timedelta(seconds=LAST_TRY_TIMEOUTS * way.settings.submit_timeout_seconds)
    assert documents(way.ner_emulator) == before
    await way.pipeline.poll(body)
    await way.poll_until_empty()
    assert statuses(way) == ["succeeded"] * 4
    assert documents(way.ner_emulator) - before == 4


@pytest.mark.parametrize(
    ("world", "number"),
    [
        *((world, number) for world in ("comes again", "never comes again") for number in (0, 1, 2, 4)),
        *(("refused", number) for number in (1, 2, 4)),
    ],
)
async def test_whatever_stops_a_worker_that_dissolves_a_batch_loses_no_file(
    world: str, number: int, make_proxied_way: Callable[..., Awaitable[ProxiedWay]]
) -> None:
    """It writes the void record and sends a message for each file. It dies, or is refused, at any of these calls."""
    case = next(case for case in CASES if case.is_of_several)
    way = await make_proxied_way()
    way.name = case.file_name(f"dissolved {number} {world}")
    await way.pipeline.sweep()
    host = Host(way, forgets=world == "never comes again")
    way.pipeline.services.delays.throttle(1.0)
    drop_several(host, case.data)
    await host.event()
    delivery = await host.next()
    assert delivery is not None
    message = decode_message(delivery.body)
    assert isinstance(message, BatchMessage)
    assert message.record is not None
    died = msgspec.structs.replace(message, record=msgspec.structs.replace(message.record, tries=1))
    delivery.body = encode_message(died).encode()
    host.waiting.append(delivery)
    seen: list[Call] = []

    def stop(call: Call) -> Answer | None:
        if host.killed:
            return Answer()
        if call.blob.startswith(BATCHES) or call.operation == "Put Message":
            seen.append(call)
            if len(seen) == max(number, 1):
                return Answer(403) if world == "refused" else Answer(never=True, carried_out=number > 0, then=host.kill)
        return None

    way.proxies.rule = stop
    await host.end()
    assert [call.operation for call in seen[:number]] == ["Put Blob", *["Put Message"] * 3][:number]
    assert [outcome.status if outcome else None for outcome in host.outcomes()] == [OutcomeStatus.SUCCEEDED] * 3
    assert way.in_flight() == 0
    assert way.documents() == 3
    await way.aclose()
