"""Uploads that are no text yet, or never: markers of folders, empty files, append blobs, files in the archive tier."""

import logging
from collections.abc import Callable
from datetime import timedelta

import pytest
from azure.storage.blob import BlobClient

from shared.message import FileMessage, decode_message, encode_message
from shared.outcome import OutcomeStatus
from shared.pipeline.settling import SETTLE_SECONDS
from shared.state.claim import CLAIMS
from tests.integration.conftest import TEXT, Way

MakeWay = Callable[..., Way]


def blob_of(way: Way) -> BlobClient:
    """Return the file."""
    return way.blobs.get_blob_client(way.settings.input_container, way.name)


def etag_of(way: Way) -> str:
    """Return the version that is there now."""
    return str(blob_of(way).get_blob_properties().etag).strip('"')


def claims(way: Way) -> int:
    """Return how many claims there are."""
    state = way.blobs.get_container_client(way.settings.state_container)
    return sum(1 for _ in state.list_blobs(name_starts_with=CLAIMS))


def messages(way: Way) -> int:
    """Return how many messages there are."""
    return int(way.queue.get_queue_properties().approximate_message_count or 0)


@pytest.mark.parametrize(
    ("name", "metadata"),
    [
        ("letters", {"hdi_isfolder": "true"}),
        ("output/_SUCCESS", {}),
        ("output/_committed_123", {}),
        ("output/_started_123", {}),
        ("letters/.keep", {}),
        ("letters/.gitkeep", {}),
        ("output/part_$folder$", {}),
        ("photos/", {}),
    ],
)
async def test_a_marker_is_left_alone(
    name: str, metadata: dict[str, str], way: Way, caplog: pytest.LogCaptureFixture
) -> None:
    """It gets neither a claim nor an outcome, and one quiet line in the log; no sweep brings it up."""
    caplog.set_level(logging.INFO, "ner")
    await way.pipeline.sweep()
    way.name = name
    blob_of(way).upload_blob(b"", metadata=metadata)
    caplog.clear()
    await way.pipeline.submit(name)
    assert [(line.levelname, line.message) for line in caplog.records if name in line.message] == [
        ("INFO", f"{name!r}: an empty marker, such as for a folder, nothing to do")
    ]
    for _ in range(2):
        swept = await way.sweep()
        assert (swept.files, swept.sent) == (0, 0)
    assert (messages(way), claims(way), way.outcome()) == (0, 0, None)


@pytest.mark.parametrize("name", ["_SUCCESS", "letters/.keep"])
async def test_a_file_with_text_is_no_marker(name: str, way: Way) -> None:
    """Whatever its name is."""
    way.name = name
    way.switch(jobSeconds=0)
    await way.submit()
    assert (await way.poll_until_outcome()).status is OutcomeStatus.SUCCEEDED


async def test_a_claim_of_a_file_that_became_a_marker_is_released(way: Way) -> None:
    """The version with the text ends without an outcome, and no newer one takes its claim over."""
    way.name = "output/_SUCCESS"
    way.switch(jobSeconds=0)
    await way.submit()
    way.upload(b"")
    await way.poll_until_empty()
    assert claims(way) == 1
    await way.sweep()
    assert (claims(way), messages(way)) == (0, 0)


async def test_an_empty_file_is_given_time_for_its_text(make_way: MakeWay) -> None:
    """A hierarchical namespace shows each file empty first. The version with the text has an event of its own."""
    way = make_way(NER_SWEEP_GRACE_SECONDS="120")
    way.name = "filled-later.txt"
    way.switch(jobSeconds=0)
    begun = way.now()
    await way.submit(b"")
    assert (messages(way), way.in_flight(), way.outcome()) == (1, 0, None)
    body = way.message().content.encode()
    assert way.now() - begun == timedelta(seconds=SETTLE_SECONDS)
    await way.submit()
    await way.pipeline.poll(body)
    assert (await way.poll_until_outcome()).status is OutcomeStatus.SUCCEEDED
    assert way.submissions() == 1
    await way.pipeline.aclose()


@pytest.mark.parametrize("is_lost", [False, True])
async def test_a_file_that_stays_empty_fails(is_lost: bool, way: Way) -> None:
    """Also if the message is lost: the sweep finds the file."""
    await way.pipeline.sweep()
    way.name = f"stays-empty-{is_lost}.txt"
    await way.submit(b"")
    if is_lost:
        way.queue.clear_messages()
        assert (await way.sweep()).missing == 1
    outcome = await way.poll_until_outcome()
    assert [problem.code for problem in outcome.errors] == ["EmptyFile"]
    await way.pipeline.submit(way.name)
    await way.poll_until_empty()
    assert way.outcome() == outcome


async def test_a_short_grace_shortens_the_time_for_a_text(make_way: MakeWay) -> None:
    """The sweep would bring the file up earlier anyway."""
    way = make_way(NER_SWEEP_GRACE_SECONDS="5")
    way.name = "short-grace.txt"
    begun = way.now()
    await way.submit(b"")
    message = decode_message(way.message().content)
    assert message == FileMessage(file=way.name, etag=way.etag, due=begun + timedelta(seconds=5))
    await way.pipeline.aclose()


async def test_an_append_blob_that_grows_is_submitted_once(way: Way) -> None:
    """Each block is a new version with an event of its own; only the last one is quiet for long enough."""
    way.name = "grows.log"
    way.switch(jobSeconds=0)
    blob = blob_of(way)
    blob.create_append_blob()
    await way.pipeline.submit(way.name)
    for _ in range(12):
        blob.append_block(TEXT + b"\n")
        await way.pipeline.submit(way.name)
    way.etag = etag_of(way)
    outcome = await way.poll_until_outcome()
    assert (outcome.status, outcome.source.length) == (OutcomeStatus.SUCCEEDED, 12 * (len(TEXT) + 1))
    assert way.submissions() == 1
    blob.append_block(TEXT)
    await way.pipeline.submit(way.name)
    way.etag = etag_of(way)
    assert (await way.poll_until_outcome()).source.length == 12 * (len(TEXT) + 1) + len(TEXT)
    assert way.submissions() == 2


async def test_a_block_blob_with_text_does_not_wait(way: Way) -> None:
    """No other file has to pay for those that may grow."""
    way.name = "at-once.txt"
    await way.submit()
    assert way.submissions() == 1


async def test_an_archived_upload_fails_at_once_and_continues_once_rehydrated(way: Way) -> None:
    """The outcome says what to do. Its ETag stays, and no event comes: the sweep sees the tier."""
    await way.pipeline.sweep()
    way.name = "archived.txt"
    way.switch(jobSeconds=0)
    way.upload()
    blob_of(way).set_standard_blob_tier("Archive")
    await way.pipeline.submit(way.name)
    archived = way.outcome()
    assert archived is not None
    (problem,) = archived.errors
    assert problem.code == "FileArchived"
    assert "Rehydrate it" in problem.message
    assert (messages(way), way.in_flight()) == (0, 0)
    for _ in range(2):
        assert (await way.sweep()).sent == 0
    await way.pipeline.submit(way.name)
    assert way.outcome() == archived
    blob_of(way).set_standard_blob_tier("Hot")
    swept = await way.sweep()
    assert (swept.missing, swept.sent) == (0, 1)
    await way.poll_until_empty()
    outcome = way.outcome()
    assert outcome is not None
    assert outcome.status is OutcomeStatus.SUCCEEDED
    assert way.submissions() == 1
    assert (await way.sweep()).sent == 0


async def test_sending_an_archived_file_again_keeps_its_outcome(way: Way) -> None:
    """Its entities would be lost, and nothing could replace them yet."""
    way.name = "archived-again.txt"
    way.switch(jobSeconds=0)
    await way.submit()
    outcome = await way.poll_until_outcome()
    present = await way.pipeline.services.blobs.present_outcome(way.name)
    assert present is not None
    blob_of(way).set_standard_blob_tier("Archive")
    await way.pipeline.poll(encode_message(FileMessage(file=way.name, replaces=present.etag, due=way.now())).encode())
    assert way.outcome() == outcome
    assert (messages(way), way.in_flight()) == (0, 0)


async def test_a_file_that_is_archived_while_it_waits_for_the_service_fails(way: Way) -> None:
    """At its next turn, and not after NER_JOB_TIMEOUT_SECONDS."""
    way.name = "archived-meanwhile.txt"
    way.switch(faults=[{"status": 503, "method": "POST", "times": 1}])
    await way.submit()
    assert way.in_flight() == 2
    blob_of(way).set_standard_blob_tier("Archive")
    outcome = await way.poll_until_outcome()
    assert [problem.code for problem in outcome.errors] == ["FileArchived"]
    assert way.submissions() == 0
