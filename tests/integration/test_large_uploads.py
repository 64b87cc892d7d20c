"""Large uploads: one that is too large is not read, and few of the others are in memory at the same time."""

import asyncio
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from shared import packing
from shared.message import FileMessage, encode_message
from shared.outcome import OutcomeStatus
from shared.pipeline import texts
from shared.pipeline.services import MAX_LARGE_FILES
from shared.pipeline.submitting import LARGE_FILE
from tests.calls import after_storage_call, after_submission, nothing, reads
from tests.integration.conftest import TEXT, Way
from tests.integration.test_many_jobs import lines

HUGE = 600 * 1024 * 1024
MOST_READ = 2 * 1024 * 1024
MOST_HELD = 16 * 1024 * 1024
NEWER = b"The newer text asks for a table at Blue Heron."


def large(number: int) -> bytes:
    """Return a file that is large and says little."""
    text = f"Table {number} at Blue Heron, please."
    return f'{{"id": "{number}",{" " * LARGE_FILE} "text": "{text}"}}'.encode()


def upload_huge(way: Way) -> None:
    """Upload a file of more than any worker should hold; it is full of holes, so it takes one call."""
    blob = way.blobs.get_blob_client(way.settings.input_container, way.name)
    if blob.exists():
        blob.delete_blob()
    way.etag = str(blob.create_page_blob(HUGE)["etag"]).strip('"')


@contextmanager
def little_is_read(way: Way) -> Iterator[None]:
    """Assert that little of the files is read until the block ends: neither sent nor held in memory.

    The SDK makes up the holes of a file, which are not sent.
    """
    tracemalloc.start()
    try:
        with after_storage_call(reads(way.settings.input_container), nothing) as sizes:
            yield
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sum(sizes) <= MOST_READ
    assert most <= MOST_HELD


def check_refused(way: Way) -> None:
    """Assert that the version that was uploaded last has an outcome which says that it is too large."""
    outcome = way.outcome()
    assert outcome is not None
    assert outcome.status is OutcomeStatus.FAILED
    assert [problem.code for problem in outcome.errors] == ["FileTooLarge"]
    assert outcome.source.length == HUGE
    assert way.in_flight() == 0


@pytest.mark.parametrize("way_in", ["event", "message", "sweep"])
async def test_a_file_that_is_too_large_is_not_read(way_in: str, way: Way) -> None:
    """Its outcome says so. Whoever tells of the file, the app asks storage for its size before its bytes."""
    await way.pipeline.sweep()
    way.name = f"huge-{way_in}.txt"
    upload_huge(way)
    with little_is_read(way):
        match way_in:
            case "event":
                await way.pipeline.submit(way.name)
            case "message":
                await way.pipeline.poll(encode_message(FileMessage(file=way.name)).encode())
            case _:
                assert (await way.sweep()).missing == 1
                await way.poll_until_empty()
    check_refused(way)
    assert way.submissions() == 0


@pytest.mark.parametrize("state", ["running", "waiting", "many jobs"])
async def test_a_small_file_in_flight_that_becomes_too_large_is_not_read(state: str, way: Way) -> None:
    """Its message means the version that it was sent for, and no other."""
    way.name = f"grown-{state.replace(' ', '-')}.jsonl"
    way.switch(jobSeconds=0, faults=[{"status": 503, "method": "POST", "times": 1}] if state == "waiting" else [])
    await way.submit(lines(60) if state == "many jobs" else lines(1))
    upload_huge(way)
    with little_is_read(way):
        await way.poll_until_empty()
        assert way.outcome() is None
        await way.pipeline.submit(way.name)
    check_refused(way)


@pytest.mark.parametrize(("more", "status"), [(0, OutcomeStatus.SUCCEEDED), (1, OutcomeStatus.FAILED)])
async def test_a_file_may_have_the_largest_size_and_no_byte_more(
    more: int, status: OutcomeStatus, make_way: Callable[..., Way]
) -> None:
    """The setting names the size that is still taken."""
    way = make_way(NER_MAX_BLOB_BYTES=str(len(TEXT)))
    way.name = f"largest-{more}.txt"
    way.switch(jobSeconds=0)
    await way.submit(TEXT + b"." * more)
    assert (await way.poll_until_outcome()).status is status
    await way.pipeline.aclose()


async def test_a_file_that_is_replaced_while_it_is_read_is_read_again(way: Way) -> None:
    """Its pieces are all of one version, or nothing of it is sent."""
    way.name = "replaced-while-read.jsonl"
    way.switch(jobSeconds=0)
    way.upload(large(1) + b"\n" + large(2).replace(b"Heron", b"Crane"))

    async def replace() -> None:
        way.upload(NEWER.replace(b"The", b'{"id": "1", "text": "The') + b'"}')

    with after_storage_call(reads(way.settings.input_container), replace) as sizes:
        await way.pipeline.submit(way.name)
    assert len(sizes) >= 2
    assert way.submissions() == 0
    outcome = await way.poll_until_outcome()
    assert outcome.status is OutcomeStatus.SUCCEEDED
    assert way.submissions() == 1


@pytest.mark.parametrize("step", ["submitting", "posting what waited"])
async def test_more_large_files_than_fit_into_memory_come_later(step: str, way: Way) -> None:
    """No invocation waits for the others: each that finds no place ends, and its message comes back."""
    count = 2 * MAX_LARGE_FILES
    names = [f"large-{step.replace(' ', '-')}-{number}.jsonl" for number in range(count)]
    versions: dict[str, str] = {}
    way.switch(jobSeconds=0)
    for number, way.name in enumerate(names):
        way.upload(large(number))
        versions[way.name] = way.etag
    if step == "submitting":
        calls = [way.pipeline.submit(name) for name in names]
    else:
        way.switch(jobSeconds=0, faults=[{"status": 503, "method": "POST", "times": count}])
        for name in names:
            await way.pipeline.submit(name)
        calls = [way.pipeline.poll(way.message().content.encode()) for _ in names]
    all_held, release = asyncio.Barrier(MAX_LARGE_FILES + 1), asyncio.Event()

    async def hold() -> None:
        await all_held.wait()
        await release.wait()

    with after_submission(hold, times=MAX_LARGE_FILES):
        running = {asyncio.create_task(call) for call in calls}
        while len(running) > MAX_LARGE_FILES:
            ended, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.gather(*ended)
        await all_held.wait()
        assert way.queue.get_queue_properties().approximate_message_count == MAX_LARGE_FILES
        # A small file passes them all.
        way.name = f"small-{step.replace(' ', '-')}.txt"
        way.upload()
        versions[way.name] = way.etag
        await way.pipeline.submit(way.name)
        assert way.submissions() == 1
        release.set()
        await asyncio.gather(*running)
    await way.poll_until_empty()
    for way.name, way.etag in versions.items():
        outcome = way.outcome()
        assert outcome is not None, way.name
        assert outcome.status is OutcomeStatus.SUCCEEDED
        assert way.submissions() == 1
    assert way.in_flight() == 0


@pytest.mark.parametrize("has_waited", [False, True])
async def test_a_long_text_is_read_and_divided_beside_the_event_loop(
    way: Way, monkeypatch: pytest.MonkeyPatch, *, has_waited: bool
) -> None:
    """Other files go on meanwhile."""
    way.name = f"beside-{has_waited}.jsonl"
    steps: set[tuple[str, bool]] = set()
    loop_thread = threading.get_ident()

    def note(step: str) -> None:
        steps.add((step, threading.get_ident() == loop_thread))

    original = texts.read_text

    def read_text(*arguments: Any) -> Any:
        note("read")
        return original(*arguments)

    def digest_of(*arguments: Any) -> str:
        if arguments[-1] is not None:
            note("digest")
        return texts.digest_of(*arguments)

    def pack(*arguments: Any) -> Iterator[Any]:
        for request in packing.pack(*arguments):
            note("pack")
            yield request

    monkeypatch.setattr("shared.pipeline.texts.read_text", read_text)
    monkeypatch.setattr("shared.pipeline.submitting.digest_of", digest_of)
    monkeypatch.setattr("shared.pipeline.ledger_posting.pack", pack)
    way.switch(jobSeconds=0, faults=[{"status": 503, "method": "POST", "times": 1}] if has_waited else [])
    # Twenty-one documents, which are two jobs.
    await way.submit(large(0) + b"\n" + lines(20).replace(b"doc ", b"other "))
    if not has_waited:
        assert steps == {("read", False), ("digest", False), ("pack", False)}
    steps.clear()
    outcome = await way.poll_until_outcome()
    assert outcome.status is OutcomeStatus.SUCCEEDED
    assert steps == ({("read", False), ("pack", False)} if has_waited else set())
