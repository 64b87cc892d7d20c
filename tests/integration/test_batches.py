"""Files that arrive together: they share a job, and each has its own claim and its own outcome."""

import asyncio
from collections.abc import Iterable

import pytest

from shared.message import BatchMessage, decode_message
from shared.outcome import Outcome, OutcomeStatus
from tests.integration.conftest import TEXT, Way

pytestmark = pytest.mark.asyncio


def drop(way: Way, names: Iterable[str], text: bytes = TEXT) -> None:
    """Upload files."""
    for name in names:
        way.name = name
        way.upload(text + b" " + name.encode())


async def submit_together(way: Way, names: Iterable[str]) -> None:
    """Tell the app of files at the same time, as the host does."""
    await asyncio.gather(*(way.pipeline.submit(name) for name in names))


def outcome_of(way: Way, name: str) -> Outcome:
    """Return the outcome of a file."""
    blob = way.blobs.get_blob_client(way.settings.input_container, name)
    way.name, way.etag = name, blob.get_blob_properties().etag.strip('"')
    outcome = way.outcome()
    assert outcome is not None, name
    return outcome


async def test_files_that_arrive_together_share_a_job(way: Way) -> None:
    """One request, one message and one poll for all; each outcome is that of its own file."""
    names = [f"together/{number}.txt" for number in range(12)]
    drop(way, names)
    await submit_together(way, names)
    message = decode_message(way.message().content)
    assert isinstance(message, BatchMessage)
    assert message.record is not None
    assert sorted(member.source.name for member in message.record.members) == sorted(names)
    way.end_jobs()
    await way.pipeline.poll(decode_and_encode(message))
    jobs = set()
    for name in names:
        outcome = outcome_of(way, name)
        assert outcome.status is OutcomeStatus.SUCCEEDED
        assert [document.id for document in outcome.documents] == [name.rpartition("/")[2]]
        assert outcome.documents[0].entities
        assert outcome.statistics.documents_count == 1
        jobs |= {job.job_id for job in outcome.jobs}
    assert len(jobs) == 1
    assert way.in_flight() == 0


def decode_and_encode(message: BatchMessage) -> bytes:
    """Return the body of a message."""
    from shared.message import encode_message

    return encode_message(message).encode()
