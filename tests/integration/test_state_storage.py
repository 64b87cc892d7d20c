"""Claims, records and ledgers on real storage: each is changed only by a caller that knows what it says."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from azure.storage.blob import BlobServiceClient

from shared.merging import MergeState
from shared.settings import Settings
from shared.source import Position, Source
from shared.state.batch import BATCHES, BatchKind, BatchRecord, Member
from shared.state.claim import CLAIMS, BatchId, Claim, new_batch_id
from shared.state.ledger import CollectedEntry, Extent, FileEntry, JobEntry, Ledger
from shared.state.sweeping import SWEEP_NAME, Place, SweepState, Swept
from shared.storage.account import LONGEST_BODY, Account
from shared.storage.ledgers import LedgerConflictError, Ledgers, ResultsGoneError
from shared.storage.state import State, StateError
from tests.integration.conftest import ProxiedWay
from tests.proxy import Answer, Call

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SOURCE = Source("incoming", "a/é 🍷.jsonl", "0x8D", NOW, 12, "utf-8")
FILE = FileEntry(SOURCE, 30, [])


def claim_of(source: Source = SOURCE) -> Claim:
    """Return a claim of a batch of its own."""
    return Claim(source=source, batch=new_batch_id(), claimed_date_time=NOW, received_date_time=NOW)


def record(kind: BatchKind = BatchKind.WAITING, tries: int = 0) -> BatchRecord:
    """Return the record of a batch."""
    members = [Member(SOURCE, "0x8E", None, "ab")]
    return BatchRecord(kind=kind, members=members, received_date_time=NOW, due=NOW, tries=tries)


def job(number: int, end: Position | None) -> JobEntry:
    """Return the entry of a job."""
    return JobEntry(
        job_id=f"job-{number}",
        documents_count=25,
        transactions_count=25,
        start=Position(25 * number),
        end=end,
        submitted_date_time=NOW,
    )


@pytest.fixture
def settings(values: dict[str, str]) -> Settings:
    """Settings with a state container that does not exist yet."""
    return Settings.from_environ(values)


@pytest.fixture
async def account(settings: Settings) -> AsyncIterator[Account]:
    """The app's clients of the storage account."""
    account = Account(settings.storage, settings.submit_timeout_seconds)
    yield account
    await account.aclose()


@pytest.fixture
def state(account: Account, settings: Settings) -> State:
    """Claims and records."""
    return State(account, settings)


@pytest.fixture
def ledgers(account: Account, settings: Settings) -> Ledgers:
    """Ledgers."""
    return Ledgers(account, settings)


@pytest.fixture
def batch() -> BatchId:
    """A name for a batch."""
    return new_batch_id()


async def test_one_of_many_claims_a_file(state: State) -> None:
    """At once, in a container that does not exist yet; whoever holds the claim alone may release it."""
    claims = [claim_of() for _ in range(8)]
    etags = await asyncio.gather(*(state.write_claim(claim, None) for claim in claims))
    ((etag, claim),) = [(etag, claim) for etag, claim in zip(etags, claims, strict=True) if etag]
    found = await state.read_claim(SOURCE.name)
    assert found == (claim, etag)
    assert await state.write_claim(claim_of(), "0x0") is None
    assert not await state.release_claim(SOURCE.name, "0x0")
    newer = claim_of(msgspec.structs.replace(SOURCE, etag="0x9"))
    assert (taken := await state.write_claim(newer, etag)) is not None
    assert not await state.release_claim(SOURCE.name, etag)
    assert await state.release_claim(SOURCE.name, taken)
    assert await state.read_claim(SOURCE.name) is None
    assert await state.write_claim(claim_of(), taken) is None


async def test_a_claim_whose_answer_was_lost_is_ones_own(
    make_proxied_way: Callable[..., Awaitable[ProxiedWay]], batch: BatchId
) -> None:
    """The SDK repeats the call, which finds its own claim, and its own record."""
    way = await make_proxied_way()
    state = way.pipeline.services.state
    await state.write_batch(new_batch_id(), record(), None)  # the container is there now
    lost: set[str] = set()

    def lose_first(call: Call) -> Answer | None:
        if call.operation != "Put Blob" or call.blob in lost:
            return None
        lost.add(call.blob)
        return Answer(503, carried_out=True)

    way.proxies.rule = lose_first
    etag = await state.write_claim(claim_of(), None)
    claimed = await state.read_claim(SOURCE.name)
    assert claimed is not None
    assert claimed.etag == etag
    baton = await state.write_batch(batch, record(), None)
    assert await state.read_batch(batch) == (record(), baton)
    lost.clear()
    newest = await state.write_batch(batch, record(tries=1), baton)
    assert await state.read_batch(batch) == (record(tries=1), newest)
    await way.aclose()


async def test_equal_records_of_two_workers_are_two(state: State, batch: BatchId) -> None:
    """As where a message comes twice at the same moment: one of them has the baton."""
    baton = await state.write_batch(batch, record(), None)
    assert await state.write_batch(batch, record(), None) is None
    batons = await asyncio.gather(*(state.write_batch(batch, record(tries=1), baton) for _ in range(8)))
    assert sum(etag is not None for etag in batons) == 1
    claim = claim_of()
    claims = await asyncio.gather(*(state.write_claim(claim, None) for _ in range(8)))
    assert sum(etag is not None for etag in claims) == 1


async def test_the_baton_is_passed_on_once(state: State, batch: BatchId) -> None:
    """Of many messages with one etag one goes on, and afterwards none with that etag."""
    baton = await state.write_batch(batch, record(), None)
    assert baton is not None
    records = [record(tries=number) for number in range(1, 9)]
    batons = await asyncio.gather(*(state.write_batch(batch, later, baton) for later in records))
    ((newest, winner),) = [(etag, later) for etag, later in zip(batons, records, strict=True) if etag]
    assert newest != baton
    assert await state.read_batch(batch) == (winner, newest)
    assert await state.write_batch(batch, record(tries=20), baton) is None
    assert not await state.delete_batch(batch, baton)
    assert await state.delete_batch(batch, newest)
    assert await state.write_batch(batch, record(), newest) is None
    assert await state.read_batch(batch) is None


async def test_a_void_record_keeps_a_late_job_from_being_recorded(state: State, batch: BatchId) -> None:
    """And a job that was recorded keeps the fence from being put up."""
    assert await state.write_batch(batch, record(BatchKind.VOID), None)
    assert await state.write_batch(batch, record(BatchKind.JOB), None) is None
    other = new_batch_id()
    assert await state.write_batch(other, record(BatchKind.JOB), None)
    assert await state.write_batch(other, record(BatchKind.VOID), None) is None


@pytest.mark.parametrize("data", [b'{"from": "the future"}', b"\xff", b"", b"[" * 100_000])
async def test_what_another_version_wrote_is_said_to_be_unreadable(data: bytes, state: State, batch: BatchId) -> None:
    """And never overwritten unseen. A sweep begins again from the beginning."""
    await state.write_claim(claim_of(), None)
    await state.write_batch(batch, record(), None)
    for blob in (state.claim_blob(SOURCE.name), state.batch_blob(batch)):
        await blob.upload_blob(data, overwrite=True)
    await state.container.get_blob_client(SWEEP_NAME).upload_blob(data)
    with pytest.raises(StateError, match="the claim of this file"):
        await state.read_claim(SOURCE.name)
    with pytest.raises(StateError, match=f"batch {batch}"):
        await state.read_batch(batch)
    assert await state.read_sweep() is None


async def test_a_sweep_leaves_word_for_the_next_one(state: State) -> None:
    """The first one finds nothing, and no container."""
    assert await state.read_sweep() is None
    place = Place(inputs="token", results=None, claims=None, after="é 🍷.txt")
    left = SweepState(since=NOW, last=NOW + timedelta(hours=1), swept=Swept(files=7), place=place, times_behind=2)
    for _ in range(2):
        await state.write_sweep(left)
        assert await state.read_sweep() == left


async def test_what_was_recorded_is_read(ledgers: Ledgers, batch: BatchId) -> None:
    """By anybody; an absent ledger is an empty one."""
    ledger = await ledgers.read_ledger(batch)
    assert ledger.file is None
    await ledgers.append(ledger, FILE)
    await ledgers.append(ledger, job(0, Position(25)))
    again = await ledgers.read_ledger(batch)
    assert again == ledger
    assert again.file == FILE
    assert again.next_start == Position(25)
    await ledgers.append(again, job(1, None))
    assert (await ledgers.read_ledger(batch)).next_start is None


async def test_two_at_once_do_not_both_write(ledgers: Ledgers, batch: BatchId) -> None:
    """The second learns that the ledger has changed; what it wanted to write is not there."""
    ledger = await ledgers.read_ledger(batch)
    await ledgers.append(ledger, FILE)
    other = await ledgers.read_ledger(batch)
    await ledgers.append(ledger, job(0, Position(25)))
    with pytest.raises(LedgerConflictError):
        await ledgers.append(other, job(7, Position(25)))
    assert [entry.job_id for entry in (await ledgers.read_ledger(batch)).jobs] == ["job-0"]


async def test_an_entry_whose_answer_was_lost_is_written_once(ledgers: Ledgers, batch: BatchId) -> None:
    """A call that is repeated finds its own entry."""
    ledger, again = Ledger(batch), Ledger(batch)
    await ledgers.append(ledger, FILE)
    await ledgers.append(again, FILE)
    assert again == ledger == await ledgers.read_ledger(batch)


async def test_a_ledger_that_has_been_deleted_is_not_written_to(ledgers: Ledgers, batch: BatchId) -> None:
    """Its file has ended: whoever still posts it learns that."""
    ledger = Ledger(batch)
    await ledgers.append(ledger, FILE)
    await ledgers.delete(batch)
    with pytest.raises(LedgerConflictError):
        await ledgers.append(ledger, job(0, None))


async def test_results_are_kept_and_gone_with_the_ledger(ledgers: Ledgers, batch: BatchId) -> None:
    """Larger ones in pieces, others' between them do not matter."""
    data = b"0123456789" * (LONGEST_BODY // 10 + 5)
    ledger = Ledger(batch)
    first = await ledgers.append_results(ledger, b"others'")
    extents = await ledgers.append_results(ledger, data)
    assert first == [Extent(0, 7)]
    assert len(extents) == 2
    assert b"".join([piece async for piece in ledgers.read_results(batch, extents)]) == data
    assert await ledgers.append_results(ledger, b"") == []
    await ledgers.delete(batch)
    await ledgers.delete(batch)
    with pytest.raises(ResultsGoneError):
        assert [piece async for piece in ledgers.read_results(batch, extents)] == []


async def test_results_that_were_deleted_are_not_begun_anew(ledgers: Ledgers, batch: BatchId) -> None:
    """The ledger says where they are; in a new blob other results would be there."""
    ledger = Ledger(batch)
    await ledgers.append(ledger, FILE)
    extents = await ledgers.append_results(ledger, b"results")
    collected = CollectedEntry(requests_count=1, jobs=[], documents=extents, errors=[], state=MergeState())
    await ledgers.append(ledger, collected)
    await ledgers.results_blob(batch).delete_blob()
    with pytest.raises(ResultsGoneError):
        await ledgers.append_results(ledger, b"more")


async def test_what_is_done_leaves_nothing(
    state: State, ledgers: Ledgers, batch: BatchId, blobs: BlobServiceClient
) -> None:
    """All that was kept about a file has a name by which it is known, and none of it stays."""
    container = blobs.get_container_client(state.container.container_name)
    etag = await state.write_claim(claim_of(), None)
    await state.write_batch(batch, record(), None)
    ledger = Ledger(batch)
    await ledgers.append(ledger, FILE)
    await ledgers.append_results(ledger, b"results")
    names = [blob.name for blob in container.list_blobs()]
    assert len(names) == 4
    assert all(name.startswith((CLAIMS, f"{BATCHES}{batch}.")) for name in names)
    await ledgers.delete(batch)
    await state.delete_batch(batch, None)
    await state.release_claim(SOURCE.name, etag or "")
    assert list(container.list_blobs()) == []
