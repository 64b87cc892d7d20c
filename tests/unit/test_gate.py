"""The gate: which files share a batch, and when the batch leaves."""

import asyncio
from datetime import UTC, datetime

import pytest
from azure.core.exceptions import AzureError

from shared.documents import Documents, Survey
from shared.ner.model import Document, Problem
from shared.packing import REQUEST_LIMITS, Request
from shared.pipeline.gate import MAX_BYTES, ON_THE_WAY_SECONDS, OPEN_SECONDS, Gate
from shared.pipeline.texts import File, Text
from shared.source import Position, Source
from shared.state.batch import Member
from shared.state.claim import BatchId

NOW = datetime(2026, 1, 2, tzinfo=UTC)
LONG = 3600.0


def file_of(name: str, documents_count: int = 1, *, is_one_request: bool = True) -> File:
    """Return a file with this many documents, in one request or more."""
    documents = [Document(str(number), "A table.", "en") for number in range(documents_count)]
    source = Source("incoming", name, name, NOW, 8)
    end = None if is_one_request else Position(documents_count)
    text = Text(
        source,
        Documents("utf-8", 1, lambda: iter(documents)),
        Survey(documents_count, 0, list[Problem]()),
        Request(Position(), documents, end),
    )
    return File(Member(source, name, documents_count=documents_count), text, NOW)


class LoopClock:
    """The event loop's clock, which is stopped unless the test lets time pass."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Stop the clock at the current time."""
        self.now = loop.time()

    def time(self) -> float:
        """Return the time of the clock."""
        return self.now

    async def pass_time(self, seconds: float = 0.0) -> None:
        """Run everything that is due, then let time pass, and run everything that is due then."""
        for step in (0.0, seconds):
            self.now += step
            for _ in range(50):
                await asyncio.sleep(0)


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> LoopClock:
    """The clock of the test's event loop."""
    loop = asyncio.get_running_loop()
    stopped = LoopClock(loop)
    monkeypatch.setattr(loop, "time", stopped.time)
    return stopped


class Sent:
    """Sender that records the names of the files in each batch."""

    def __init__(self, error: Exception | None = None) -> None:
        """Create a sender that raises `error`, if one is given, each time."""
        self.batches: list[list[str]] = []
        self.error = error

    async def __call__(self, _batch: BatchId, files: list[File]) -> None:
        """Record the names of the files in a batch."""
        self.batches.append([file.member.source.name for file in files])
        if self.error is not None:
            raise self.error


@pytest.fixture
def sent() -> Sent:
    """A sender that succeeds."""
    return Sent()


def make_gate(window: float = 0.0, deadline_seconds: float = LONG) -> Gate:
    """Return a gate whose batches have this window."""
    return Gate(lambda: window, deadline_seconds)


async def come(gate: Gate, sent: Sent, name: str, length: int | None = 8, documents_count: int = 1) -> bool:
    """Let a file arrive, whose claim takes some steps of the event loop; return whether it joined its batch."""
    with gate.seat("a.txt", length) as seat:
        for _ in range(5):
            await asyncio.sleep(0)
        if not seat.take(file_of(name, documents_count)):
            return False
        await seat.sent(sent)
        return True


async def test_a_file_alone_leaves_at_once(sent: Sent, clock: LoopClock) -> None:
    """No time passes: the clock is stopped."""
    task = asyncio.create_task(come(make_gate(), sent, "a"))
    await clock.pass_time()
    assert task.done()
    assert sent.batches == [["a"]]


async def test_files_on_the_way_are_waited_for(sent: Sent) -> None:
    """Files that arrive at the same time are sent together; a later one is sent alone."""
    gate = make_gate()
    await asyncio.gather(*(come(gate, sent, name) for name in "abc"))
    assert sent.batches == [["a", "b", "c"]]
    await come(gate, sent, "d")
    assert sent.batches[1:] == [["d"]]


async def test_a_window_waits_for_files_that_are_not_on_the_way(sent: Sent, clock: LoopClock) -> None:
    """The window begins when the first file joins."""
    gate = make_gate(window=2.0)
    tasks = [asyncio.create_task(come(gate, sent, "a"))]
    await clock.pass_time(1.0)
    tasks.append(asyncio.create_task(come(gate, sent, "b")))
    await clock.pass_time(0.9)
    assert sent.batches == []
    await clock.pass_time(0.2)
    assert all(task.done() for task in tasks)
    assert sent.batches == [["a", "b"]]


async def test_a_full_batch_does_not_wait_for_the_end_of_its_window(sent: Sent, clock: LoopClock) -> None:
    """Neither does a batch that has no room for the next file."""
    gate = make_gate(window=LONG)
    names = [str(number) for number in range(REQUEST_LIMITS.documents)]
    tasks = [asyncio.create_task(come(gate, sent, name)) for name in names]
    await clock.pass_time()
    assert all(task.done() for task in tasks)
    large = [asyncio.create_task(come(gate, sent, name, MAX_BYTES - 1)) for name in ("large", "next")]
    await clock.pass_time()
    assert sent.batches == [names, ["large"]]
    await clock.pass_time(LONG)
    assert all(task.done() for task in large)
    assert sent.batches == [names, ["large"], ["next"]]


async def test_seats_are_taken_for_a_few_seconds_only(sent: Sent, clock: LoopClock) -> None:
    """However long its window is, the claims of a batch are about equally old."""
    gate = make_gate(window=LONG)
    tasks = [asyncio.create_task(come(gate, sent, "a"))]
    await clock.pass_time(OPEN_SECONDS)
    tasks.append(asyncio.create_task(come(gate, sent, "b")))
    await clock.pass_time()
    assert [task.done() for task in tasks] == [True, False]
    await clock.pass_time(LONG)
    await asyncio.gather(*tasks)
    assert sent.batches == [["a"], ["b"]]


@pytest.mark.parametrize(
    ("length", "count", "expected"),
    [(8, 45, [20, 20, 5]), (MAX_BYTES // 3, 7, [3, 3, 1]), (MAX_BYTES, 2, [1, 1]), (MAX_BYTES + 1, 3, [1, 1, 1])],
)
async def test_a_batch_has_seats_for_what_fits_a_request(
    length: int, count: int, expected: list[int], sent: Sent
) -> None:
    """As many documents as a page of results has, and as many bytes as a request may have characters."""
    gate = make_gate()
    await asyncio.gather(*(come(gate, sent, str(number), length) for number in range(count)))
    assert sorted((len(batch) for batch in sent.batches), reverse=True) == expected


async def test_a_file_that_has_to_go_alone_has_a_batch_of_its_own(sent: Sent) -> None:
    """No other file joins it."""
    gate = make_gate()
    await asyncio.gather(*(come(gate, sent, name, None if name == "b" else 8) for name in "abc"))
    assert sorted(sent.batches) == [["a", "c"], ["b"]]


async def test_a_file_whose_documents_do_not_fit_has_to_go_alone(sent: Sent) -> None:
    """It cannot join once its documents are counted. The others do not wait for it."""
    gate = make_gate()
    results = await asyncio.gather(
        *(come(gate, sent, name, 8, documents_count) for name, documents_count in (("a", 12), ("b", 9), ("c", 8)))
    )
    assert results == [True, False, True]
    assert sent.batches == [["a", "c"]]


@pytest.mark.parametrize("others", [0, 1])
async def test_a_file_of_several_requests_shares_no_batch(others: int, sent: Sent) -> None:
    """If no other file has a seat, it keeps the batch for itself."""
    gate = make_gate()

    async def long() -> bool:
        with gate.seat("a.txt", 8) as seat:
            await asyncio.sleep(0)
            is_taken = seat.take(file_of("long", is_one_request=False))
            if is_taken:
                await seat.sent(sent)
            return is_taken

    results = await asyncio.gather(long(), *(come(gate, sent, str(number)) for number in range(others)))
    assert results[0] is (others == 0)
    assert sent.batches == ([["0"]] if others else [["long"]])


async def test_a_file_that_is_late_has_to_go_alone(sent: Sent, clock: LoopClock) -> None:
    """The batch waits for it only for ON_THE_WAY_SECONDS."""
    gate = make_gate()
    with gate.seat("a.txt", 8) as late:
        first = asyncio.create_task(come(gate, sent, "a"))
        await clock.pass_time(ON_THE_WAY_SECONDS / 2)
        assert not first.done()
        await clock.pass_time(ON_THE_WAY_SECONDS)
        assert first.done()
        assert not late.take(file_of("late"))
    assert sent.batches == [["a"]]


async def test_a_file_that_turns_back_holds_nobody_up(sent: Sent, clock: LoopClock) -> None:
    """For instance, because it has an outcome, or another worker has claimed it."""
    gate = make_gate()
    with gate.seat("a.txt", 8):
        first = asyncio.create_task(come(gate, sent, "a"))
        await clock.pass_time()
        assert not first.done()
    await clock.pass_time()
    assert first.done()
    assert sent.batches == [["a"]]


async def test_a_batch_that_hangs_does_not_hold_the_next_one_back(sent: Sent, clock: LoopClock) -> None:
    """Once it leaves, new files get seats in the next batch."""
    gate, goes_on = make_gate(), asyncio.Event()

    async def hang(batch: BatchId, files: list[File]) -> None:
        await goes_on.wait()
        await sent(batch, files)

    async def come_to_hang() -> None:
        with gate.seat("a.txt", 8) as seat:
            assert seat.take(file_of("a"))
            await seat.sent(hang)

    hanging = asyncio.create_task(come_to_hang())
    await clock.pass_time()
    next_one = asyncio.create_task(come(gate, sent, "b"))
    await clock.pass_time()
    assert next_one.done()
    goes_on.set()
    await hanging
    assert sent.batches == [["b"], ["a"]]


async def test_a_batch_that_all_have_left_is_not_used_again(sent: Sent) -> None:
    """The claim of a cancelled invocation may still name it."""
    gate = make_gate()
    with gate.seat("a.txt", 8) as seat:
        batch = seat.batch
    with gate.seat("a.txt", 8) as again:
        assert again.batch != batch
        assert again.take(file_of("a"))
        await again.sent(sent)


@pytest.mark.parametrize("error", [AzureError("refused"), TimeoutError()])
async def test_what_stops_a_batch_stops_all_its_files(error: Exception) -> None:
    """Each invocation then handles the error for its own file."""
    gate, sent = make_gate(), Sent(error)
    results = await asyncio.gather(*(come(gate, sent, name) for name in "abc"), return_exceptions=True)
    assert [type(result) for result in results] == [type(error)] * 3


async def test_if_the_first_invocation_is_cancelled_the_others_learn_it(clock: LoopClock, sent: Sent) -> None:
    """They get a TimeoutError, and the batch is not sent."""
    gate = make_gate(window=LONG)
    tasks = [asyncio.create_task(come(gate, sent, name)) for name in "ab"]
    await clock.pass_time()
    tasks[0].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [asyncio.CancelledError, TimeoutError]
    assert sent.batches == []


async def test_if_another_invocation_is_cancelled_its_file_is_sent_nevertheless(clock: LoopClock, sent: Sent) -> None:
    """The file is claimed and has joined the batch."""
    gate = make_gate(window=2.0)
    tasks = [asyncio.create_task(come(gate, sent, name)) for name in "abc"]
    await clock.pass_time()
    tasks[1].cancel()
    await clock.pass_time(2.0)
    assert [task.cancelled() for task in tasks] == [False, True, False]
    assert sent.batches == [["a", "b", "c"]]


async def test_a_batch_has_only_the_time_that_its_oldest_claim_has(clock: LoopClock) -> None:
    """The deadline counts from the first seat."""
    gate = make_gate(deadline_seconds=100.0)

    async def hang(_batch: BatchId, _files: list[File]) -> None:
        await asyncio.Event().wait()

    async def come_late() -> None:
        with gate.seat("a.txt", 8) as seat:
            await asyncio.sleep(40.0)
            assert seat.take(file_of("a"))
            await seat.sent(hang)

    task = asyncio.create_task(come_late())
    await clock.pass_time(40.0)
    await clock.pass_time(59.0 - OPEN_SECONDS)
    assert not task.done()
    await clock.pass_time(1.0)
    with pytest.raises(TimeoutError):
        await task
