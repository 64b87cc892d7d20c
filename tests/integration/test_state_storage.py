"""Ledgers on real storage: only ever written at their end, by one who knows what they say."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from azure.storage.blob import BlobServiceClient

from shared.jobs import SubmittedJob
from shared.ledger import Extent, FileRecord, JobRecord, Ledger
from shared.settings import Settings
from shared.source import Position, Source
from shared.state_storage import LedgerConflictError, StateStorage
from shared.storage import LONGEST_BODY, Storage

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SOURCE = Source("incoming", "a/é 🍷.jsonl", "0x8D", NOW, 12, "utf-8")
FILE = FileRecord(SOURCE, 30, [])


def job(number: int, end: Position | None) -> JobRecord:
    """Return the record of a job."""
    return JobRecord(
        job_id=f"job-{number}",
        documents_count=25,
        transactions_count=25,
        start=Position(25 * number),
        end=end,
        submitted_date_time=NOW,
    )


@pytest.fixture
async def state(values: dict[str, str]) -> AsyncIterator[StateStorage]:
    """State in a container that does not exist yet."""
    settings = Settings.from_environ(values)
    storage = Storage(settings)
    yield StateStorage(storage.blobs, settings.state_container)
    await storage.aclose()


async def test_what_was_recorded_is_read(state: StateStorage) -> None:
    """By anybody; an absent ledger is an empty one."""
    ledger = await state.read_ledger(SOURCE)
    assert ledger.file is None
    await state.append(ledger, FILE)
    await state.append(ledger, job(0, Position(25)))
    again = await state.read_ledger(SOURCE)
    assert again == ledger
    assert again.file == FILE
    assert again.next_start == Position(25)
    assert isinstance(again.requests[0], SubmittedJob)
    await state.append(again, job(1, None))
    assert (await state.read_ledger(SOURCE)).next_start is None


async def test_two_at_once_do_not_both_write(state: StateStorage) -> None:
    """The second learns that the ledger has changed; what it wanted to write is not there."""
    ledger = await state.read_ledger(SOURCE)
    await state.append(ledger, FILE)
    other = await state.read_ledger(SOURCE)
    await state.append(ledger, job(0, Position(25)))
    with pytest.raises(LedgerConflictError):
        await state.append(other, job(7, Position(25)))
    assert [record.job_id for record in (await state.read_ledger(SOURCE)).jobs] == ["job-0"]


async def test_a_record_whose_answer_was_lost_is_written_once(state: StateStorage) -> None:
    """A call that is repeated finds its own record."""
    ledger = Ledger((await state.read_ledger(SOURCE)).name)
    await state.append(ledger, FILE)
    again = Ledger(ledger.name)
    await state.append(again, FILE)
    assert again == ledger == await state.read_ledger(SOURCE)


async def test_versions_have_ledgers_of_their_own(state: StateStorage) -> None:
    """The older one's jobs are not the newer one's."""
    ledger = await state.read_ledger(SOURCE)
    await state.append(ledger, FILE)
    newer = Source(SOURCE.container, SOURCE.name, "0x8E", NOW, 12)
    assert (await state.read_ledger(newer)).file is None


async def test_results_are_kept_and_gone_with_the_ledger(state: StateStorage) -> None:
    """Larger ones in pieces, others' between them do not matter."""
    data = b"0123456789" * (LONGEST_BODY // 10 + 5)
    first = await state.append_results("name", b"others'")
    extents = await state.append_results("name", data)
    assert first == [Extent(0, 7)]
    assert len(extents) == 2
    assert b"".join([piece async for piece in state.read_results("name", extents)]) == data
    assert await state.append_results("name", b"") == []
    await state.delete("name")
    await state.delete("name")


async def test_what_is_done_leaves_nothing(state: StateStorage, blobs: BlobServiceClient) -> None:
    """An empty container says that nothing is in flight."""
    ledger = await state.read_ledger(SOURCE)
    await state.append(ledger, FILE)
    await state.append_results(ledger.name, b"results")
    await state.delete(ledger.name)
    assert list(blobs.get_container_client(state.container.container_name).list_blobs()) == []
