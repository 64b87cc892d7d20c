"""Claims, records and ledgers come back as they were written, and what a listing shows of them is enough."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.merging import MergeState
from shared.names import LONGEST_BLOB_NAME, result_name, utf16_length
from shared.ner.model import Problem
from shared.outcome import ServiceJob
from shared.source import Position, Source, read_instant
from shared.state.batch import (
    BATCHES,
    BatchKind,
    BatchRecord,
    Member,
    SubmittedJob,
    batch_name,
    decode_batch,
    encode_batch,
    is_overdue,
)
from shared.state.claim import CLAIMS, BatchId, Claim, claim_name, decode_claim, encode_claim, new_batch_id
from shared.state.ledger import (
    CollectedEntry,
    Entry,
    Extent,
    FileEntry,
    JobEntry,
    Ledger,
    RefusalEntry,
    decode_ledger,
    encode_entry,
)
from shared.storage.ledgers import LEDGER_SUFFIX, RESULTS_SUFFIX

NOW: Final = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
BATCH: Final = "0123456789abcdef" * 2
SOURCE: Final = Source("incoming", "a/é 🍷.txt", "0x8D", NOW, 12, "utf-8")
CLAIM: Final = Claim(source=SOURCE, batch=BATCH, claimed_date_time=NOW, received_date_time=NOW)
RECORD: Final = BatchRecord(
    kind=BatchKind.JOB,
    members=[Member(SOURCE, "0x1", "0x2", "d1"), Member(SOURCE, "0x3")],
    job=SubmittedJob("job-1", 2, 3, Position(1, 2), Position(3)),
    received_date_time=NOW,
    submitted_date_time=NOW + timedelta(seconds=1),
    due=NOW + timedelta(seconds=2),
    tries=3,
    unsure=2,
    not_before=NOW,
    problem=Problem("Timeout", "The service did not respond."),
    trace_parent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
)
PROBLEM: Final = Problem("EmptyDocument", "Line\nbreak \u2028 and \x85", "id")
ENTRIES: Final[list[Entry]] = [
    FileEntry(SOURCE, 5, [PROBLEM]),
    JobEntry(
        job_id="job-1",
        documents_count=1,
        transactions_count=1,
        end=Position(1, 10),
        submitted_date_time=NOW,
    ),
    RefusalEntry(2, Position(1, 10), Position(3), PROBLEM, NOW),
    CollectedEntry(
        requests_count=1,
        jobs=[ServiceJob("job-1", "succeeded", others={"tasks": {"items": [{"new": 2**70}]}})],
        documents=[Extent(0, 7)],
        errors=[],
        state=MergeState(errors_count=1),
    ),
    JobEntry(
        job_id="job-2",
        documents_count=2,
        transactions_count=2,
        start=Position(3),
        submitted_date_time=NOW + timedelta(seconds=9),
    ),
]


def changed(encoded: bytes, path: str, value: Any) -> bytes:
    """Return JSON with one value changed; the path is written with dots."""
    content = json.loads(encoded)
    *way, last = path.split(".")
    place = content
    for step in way:
        place = place[int(step)] if step.isdigit() else place[step]
    place[last] = value
    return json.dumps(content).encode()


@pytest.mark.parametrize("claim", [CLAIM, msgspec.structs.replace(CLAIM, tries=4, replaces="0x9")])
def test_a_claim_is_read_as_it_was_written(claim: Claim) -> None:
    """Also by a worker whose own call was repeated, which compares the two."""
    assert decode_claim(encode_claim(claim)) == claim


@pytest.mark.parametrize("hours", [-8, 0, 5.5])
def test_times_are_the_same_in_all_time_zones(hours: float) -> None:
    """Storage and clocks have UTC, whatever the machine has."""
    local = NOW.astimezone(timezone(timedelta(hours=hours)))
    assert decode_claim(encode_claim(msgspec.structs.replace(CLAIM, claimed_date_time=local))) == CLAIM


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("batch", "../../other"),
        ("batch", "0" * 31),
        ("batch", "0" * 31 + "A"),
        ("batch", "0" * 32 + "\n"),
        ("tries", 0),
        ("claimedDateTime", "2026-01-02T03:04:05"),
        ("source.name", ""),
        ("source.etag", "0x8D\n"),
        ("source", None),
    ],
)
def test_a_claim_of_another_shape_is_refused(path: str, value: Any) -> None:
    """A batch that could leave its place in a path is none."""
    with pytest.raises(msgspec.ValidationError):
        decode_claim(changed(encode_claim(CLAIM), path, value))


@pytest.mark.parametrize(
    "record",
    [
        RECORD,
        BatchRecord(kind=BatchKind.VOID, received_date_time=NOW, due=NOW),
        *(msgspec.structs.replace(RECORD, kind=kind) for kind in BatchKind),
    ],
)
def test_a_record_is_read_as_it_was_written(record: BatchRecord) -> None:
    """All that it counts included."""
    assert decode_batch(encode_batch(record)) == record


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("kind", "other"),
        ("members", None),
        ("members.0.source.etag", 'quo"ted'),
        ("job.jobId", "../../other"),
        ("job.jobId", "job-1\n"),
        ("job.documentsCount", 0),
        ("traceParent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\n"),
        ("due", "soon"),
        ("due", "2026-01-02T03:04:05"),
    ],
)
def test_a_record_of_another_shape_is_refused(path: str, value: Any) -> None:
    """A job id that could leave its place in a path is none."""
    with pytest.raises(msgspec.ValidationError):
        decode_batch(changed(encode_batch(RECORD), path, value))


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"{}", b"{broken"])
def test_what_is_no_claim_and_no_record_is_refused(body: bytes) -> None:
    """With the error that the app takes for another version's writing."""
    for decode in (decode_claim, decode_batch):
        with pytest.raises(msgspec.DecodeError):
            decode(body)


def test_what_a_later_version_adds_is_ignored() -> None:
    """Two versions of the app run at the same time during a deployment."""
    assert decode_claim(changed(encode_claim(CLAIM), "more", [1])) == CLAIM
    assert decode_batch(changed(encode_batch(RECORD), "members.0.more", {})) == RECORD


def test_what_a_listing_shows_can_be_read() -> None:
    """The sweep reads the times of blobs without a download; metadata is ASCII, its names in lower case."""
    shown = CLAIM.metadata()
    assert (shown["source_etag"], shown["batch"]) == (SOURCE.etag, BATCH)
    assert read_instant(shown["claimed_date_time"]) == NOW
    shown = RECORD.metadata()
    assert (shown["kind"], shown["tries"]) == ("job", "3")
    assert read_instant(shown["due"]) == RECORD.due
    for name, value in {**CLAIM.metadata(), **RECORD.metadata()}.items():
        assert name.isidentifier()
        assert name.islower()
        assert value.isascii()
        assert value.isprintable()


@pytest.mark.parametrize("text", ["", "yesterday", "2026-01-02T03:04:05", "1767322000", "2026-13-01T00:00:00Z"])
def test_a_time_that_others_have_written_is_none(text: str) -> None:
    """A time without a zone could be off by a day."""
    assert read_instant(text) is None


def test_the_waiting_begins_with_the_submission() -> None:
    """Or when the file was first seen, as long as there is none."""
    assert RECORD.since == RECORD.submitted_date_time
    assert msgspec.structs.replace(RECORD, submitted_date_time=None).since == RECORD.received_date_time


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=1024))
def test_the_claim_of_any_file_has_a_name_that_storage_takes(name: str) -> None:
    """UTF-16 code units count, of which an emoji has two."""
    assert claim_name(name).startswith(CLAIMS)
    if utf16_length(name) <= LONGEST_BLOB_NAME:
        assert utf16_length(claim_name(name)) <= LONGEST_BLOB_NAME


def test_a_batch_has_a_name_of_its_own() -> None:
    """From which neither a path nor the names of its ledger and its results can be made."""
    batches = {new_batch_id() for _ in range(100)}
    assert len(batches) == 100
    for batch in batches:
        assert msgspec.convert(batch, BatchId) == batch
        assert batch_name(batch) == f"{BATCHES}{batch}.json"
    assert len({LEDGER_SUFFIX, RESULTS_SUFFIX, ".json"}) == 3
    assert not BATCHES.startswith(CLAIMS)
    assert not CLAIMS.startswith(BATCHES)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: type(entry).__name__)
def test_an_entry_is_one_line(entry: Entry) -> None:
    """Whatever text an error quotes: the ledger is read line by line."""
    line = encode_entry(entry)
    assert line.endswith(b"\n")
    assert len(line.splitlines()) == 1


def test_a_ledger_says_what_its_entries_said() -> None:
    """And where the next one must go."""
    lines = b"".join(map(encode_entry, ENTRIES))
    ledger = decode_ledger(BATCH, lines)
    assert ledger == Ledger(BATCH, len(lines), ENTRIES[0], [ENTRIES[1], ENTRIES[2], ENTRIES[4]], [ENTRIES[3]])  # type: ignore[arg-type, list-item]
    assert ledger.next_start is None
    assert ledger.collected_count == 1
    assert ledger.has_results
    assert ledger.merge_state == MergeState(errors_count=1)
    assert ledger.active == NOW + timedelta(seconds=9)
    assert [job.job_id for job in ledger.jobs] == ["job-1", "job-2"]


@pytest.mark.parametrize(
    ("count", "next_start"),
    [(0, Position()), (1, Position()), (2, Position(1, 10)), (3, Position(3)), (4, Position(3)), (5, None)],
)
def test_posting_continues_after_the_last_request(count: int, next_start: Position | None) -> None:
    """Wherever a worker died; after one that was refused too."""
    ledger = decode_ledger(BATCH, b"".join(map(encode_entry, ENTRIES[:count])))
    assert ledger.next_start == next_start


def test_an_empty_ledger_has_nothing() -> None:
    """Its first entry goes to its beginning."""
    ledger = decode_ledger(BATCH, b"")
    assert ledger == Ledger(BATCH)
    assert (ledger.size, ledger.collected_count, ledger.active, ledger.jobs) == (0, 0, None, [])
    assert not ledger.has_results
    assert ledger.merge_state == MergeState()


def test_the_problems_of_a_file_count_before_any_is_collected() -> None:
    """They come first in the outcome."""
    assert decode_ledger(BATCH, encode_entry(ENTRIES[0])).merge_state == MergeState(errors_count=1)


@pytest.mark.parametrize(
    "lines",
    [
        b"{}\n",
        b"null\n",
        b"\n",
        encode_entry(ENTRIES[1])[:-5],
        encode_entry(ENTRIES[1]) + b"{",
        changed(encode_entry(ENTRIES[1]), "record", "other"),
        changed(encode_entry(ENTRIES[1]), "jobId", "../../other"),
        changed(encode_entry(ENTRIES[3]), "requestsCount", 0),
        changed(encode_entry(ENTRIES[3]), "documents.0.offset", -1),
    ],
)
def test_a_ledger_of_another_shape_is_refused(lines: bytes) -> None:
    """To go on after half of it could pay twice."""
    with pytest.raises(msgspec.DecodeError):
        decode_ledger(BATCH, lines)


@pytest.mark.parametrize(("year", "expected"), [(1, True), (9999, False)])
def test_any_time_can_be_overdue_or_not(year: int, *, expected: bool) -> None:
    """A damaged record must not end the sweep for all others."""
    assert is_overdue(datetime(year, 1, 1, tzinfo=UTC), NOW, 120) is expected


def test_the_blobs_of_two_files_have_two_names() -> None:
    """Also if a file is named like the blob of another one."""
    long = "l" * LONGEST_BLOB_NAME
    other = result_name(long).removesuffix(".json")
    assert result_name(other) != result_name(long)
    assert utf16_length(result_name(other)) <= LONGEST_BLOB_NAME
    assert result_name("report~0123456789abcdef") == "report~0123456789abcdef.json"
