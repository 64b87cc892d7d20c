"""What one process learns about the service reaches the others, through one blob that may be in any state."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from types import SimpleNamespace

import pytest

from shared.delays import Delays
from shared.outcome import OutcomeStatus
from shared.pipeline.learning import READING_SECONDS
from shared.pipeline.running import Pipeline
from shared.state.learned import LEARNED_NAME, Learned, decode_learned
from tests.calls import before_blob_call, nothing, refuse
from tests.emulator import stats
from tests.integration.conftest import Way

JOB_SECONDS = 100.0
NOBODY = "nobody.txt"
"""A file that does not exist: its event does nothing but what each invocation does."""


class ExchangeClock:
    """The clock of the exchanges, which the tests move."""

    def __init__(self) -> None:
        """Begin at some time."""
        self.time = 1000.0

    def monotonic(self) -> float:
        """Return the time."""
        return self.time


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> ExchangeClock:
    """The clock of the exchanges."""
    clock = ExchangeClock()
    monkeypatch.setattr("shared.pipeline.learning.time", SimpleNamespace(monotonic=clock.monotonic))
    return clock


@pytest.fixture
async def other(way: Way) -> AsyncIterator[Pipeline]:
    """Another process of the app."""
    pipeline = way.another_pipeline()
    yield pipeline
    await pipeline.aclose()


async def invoke(pipeline: Pipeline, clock: ExchangeClock) -> None:
    """Make an invocation after some time, and wait for its exchange to end."""
    clock.time += READING_SECONDS
    await pipeline.submit(NOBODY)
    task = pipeline.services.exchange.task
    assert task is not None
    await task


async def end_a_job(way: Way, pipeline: Pipeline, seconds: float = JOB_SECONDS) -> None:
    """Let a process see a job end that took so long."""
    way.switch(jobSeconds=seconds)
    way.upload()
    await pipeline.submit(way.name)
    while way.outcome() is None:
        await pipeline.poll(way.message().content.encode())


def jobs_known(pipeline: Pipeline) -> int:
    """Return of how many jobs a process knows how long they took."""
    return sum(histogram.count for histogram in pipeline.services.delays.histograms)


def stored(way: Way) -> Learned:
    """Return what the blob says."""
    blob = way.blobs.get_blob_client(way.settings.state_container, LEARNED_NAME)
    return decode_learned(blob.download_blob().readall())


async def test_durations_reach_the_other_process(way: Way, other: Pipeline, clock: ExchangeClock) -> None:
    """Its first delay for a new job is that of the process that saw jobs end, and not the guess."""
    way.name = "durations.txt"
    guess = Delays(least=way.settings.poll_min_seconds, most=way.settings.poll_max_seconds).next_delay(1, 0)
    await end_a_job(way, way.pipeline)
    await invoke(way.pipeline, clock)
    assert jobs_known(other) == 0
    await invoke(other, clock)
    assert jobs_known(other) == 1
    learned = other.services.delays.next_delay(1, 0)
    assert learned == pytest.approx(way.pipeline.services.delays.next_delay(1, 0), rel=0.1)
    assert learned > guess
    # What was told once is not told again.
    await invoke(way.pipeline, clock)
    await invoke(other, clock)
    assert [durations.count for durations in stored(way).sizes if durations.count] == [1]


async def test_a_file_waits_where_another_process_was_throttled(
    way: Way, other: Pipeline, clock: ExchangeClock
) -> None:
    """Its text is not sent before the service takes calls again; later processes do not wait any more."""
    way.name = "throttled-elsewhere.txt"
    way.pipeline.services.throttle(30)
    await invoke(way.pipeline, clock)
    await invoke(other, clock)
    way.switch(jobSeconds=0)
    way.upload()
    calls = stats(way.ner_emulator)["calls"]
    begun = way.now()
    await other.submit(way.name)
    assert stats(way.ner_emulator)["calls"] == calls
    body = way.message().content.encode()
    assert (way.now() - begun).total_seconds() == pytest.approx(30, abs=1)
    way.pass_time(1)
    await other.poll(body)
    assert (await way.poll_until_outcome()).status is OutcomeStatus.SUCCEEDED
    third = way.another_pipeline()
    await invoke(third, clock)
    assert third.services.delays.closed_seconds == 0
    seconds = third.services.delays.throttled_seconds
    assert 30 <= seconds < 60, "it knows of the refusal, whichever process met it"
    await third.aclose()


async def test_of_two_that_tell_at_once_the_slower_one_tells_again(
    way: Way, other: Pipeline, clock: ExchangeClock
) -> None:
    """Neither takes away what the other has told, nor forgets what it had to tell itself."""
    way.name = "conflict.txt"
    await end_a_job(way, way.pipeline)
    way.name = "conflict-too.txt"
    await end_a_job(way, other)

    async def be_faster() -> None:
        await invoke(other, clock)

    with before_blob_call("upload_blob", f"{way.settings.state_container}/{LEARNED_NAME}", be_faster):
        await invoke(way.pipeline, clock)
    assert sum(durations.count for durations in stored(way).sizes) == 1
    assert len(way.pipeline.services.delays.unshared) == 1
    await invoke(way.pipeline, clock)
    assert sum(durations.count for durations in stored(way).sizes) == 2
    assert way.pipeline.services.delays.unshared == []
    await invoke(other, clock)
    assert jobs_known(other) == jobs_known(way.pipeline) == 2


@pytest.mark.parametrize("body", [b"", b'{"sizes": "many"}', b"[" * 100_000])
async def test_a_blob_that_cannot_be_read_does_no_harm(body: bytes, way: Way, clock: ExchangeClock) -> None:
    """Another version of the app may have left it: the file ends, and the blob is replaced by what is known."""
    way.name = f"unreadable-{len(body)}.txt"
    await way.pipeline.sweep()
    blob = way.blobs.get_blob_client(way.settings.state_container, LEARNED_NAME)
    blob.upload_blob(body, overwrite=True)
    await end_a_job(way, way.pipeline)
    await invoke(way.pipeline, clock)
    assert sum(durations.count for durations in stored(way).sizes) == jobs_known(way.pipeline) == 1


async def test_a_clock_that_is_fast_does_not_stop_all_calls(way: Way, other: Pipeline, clock: ExchangeClock) -> None:
    """The service takes calls again within a minute, whatever another process says."""
    await way.pipeline.sweep()
    fast = way.another_pipeline(later=timedelta(minutes=10))
    fast.services.delays.throttle(30.0)
    await invoke(fast, clock)
    assert stored(way).closed_until is not None
    await invoke(other, clock)
    assert other.services.delays.closed_seconds == 0
    await fast.aclose()


async def test_storage_that_refuses_the_exchange_does_no_harm(
    way: Way, clock: ExchangeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says so, and what was to be told is told later."""
    way.name = "refused.txt"
    name = f"{way.settings.state_container}/{LEARNED_NAME}"
    await end_a_job(way, way.pipeline)
    for method in ("download_blob", "upload_blob"):
        with before_blob_call(method, name, refuse, times=None):
            await invoke(way.pipeline, clock)
        assert "could not share with other processes what was learned about the service" in caplog.text
        caplog.clear()
    await invoke(way.pipeline, clock)
    assert sum(durations.count for durations in stored(way).sizes) == 1


async def test_no_invocation_waits_for_an_exchange(way: Way, clock: ExchangeClock) -> None:
    """One that hangs is not begun a second time, and ends with the process."""
    way.name = "hanging.txt"
    name = f"{way.settings.state_container}/{LEARNED_NAME}"
    pipeline = way.another_pipeline()
    with before_blob_call("download_blob", name, asyncio.Event().wait, times=None) as reads:
        await end_a_job(way, pipeline)
        clock.time += READING_SECONDS
        await pipeline.submit(NOBODY)
        task = pipeline.services.exchange.task
        assert task is not None
        assert not task.done()
        assert len(reads) == 1
        await pipeline.aclose()
        assert task.cancelled()


async def test_the_exchange_is_made_now_and_then(way: Way, clock: ExchangeClock) -> None:
    """However many invocations there are meanwhile; nothing is written if there is nothing to tell."""
    name = f"{way.settings.state_container}/{LEARNED_NAME}"
    with (
        before_blob_call("download_blob", name, nothing, times=None) as reads,
        before_blob_call("upload_blob", name, nothing, times=None) as writes,
    ):
        for times in (1, 2, 3):
            await invoke(way.pipeline, clock)
            for _ in range(5):
                clock.time += READING_SECONDS / 10
                await way.pipeline.submit(NOBODY)
                assert way.pipeline.services.exchange.task is not None
                await way.pipeline.services.exchange.task
            assert len(reads) == times
            clock.time -= READING_SECONDS / 2
    assert writes == []
