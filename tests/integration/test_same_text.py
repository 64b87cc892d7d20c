"""A file that is saved again with the same text is not paid again: its outcome is written again for the new version."""

import asyncio
import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from shared.message import FileMessage, encode_message
from shared.ner.model import Statistics
from shared.outcome import Outcome, OutcomeStatus, encode
from shared.pipeline.copying import ShapeError, with_source
from shared.pipeline.running import Pipeline
from shared.settings import Settings
from shared.source import Source
from tests.calls import before_blob_call
from tests.integration.conftest import TEXT, Way
from tests.integration.test_many_jobs import PLANTED, SENTENCE, lines

NEWER = b"The newer text asks for a table at Blue Heron."
LARGE = ((SENTENCE + PLANTED) * 4000).encode()
"""Its outcome has more than a mebibyte, so it comes in pieces."""


async def submit_and_end(way: Way, data: bytes = TEXT) -> Outcome:
    """Save the file and let the app work until it has ended; return the outcome of this version."""
    await way.submit(data)
    return await way.poll_until_outcome()


def content(way: Way) -> dict[str, Any]:
    """Return the outcome as anybody reads it."""
    blob = way.blobs.get_blob_client(way.settings.results_container, f"{way.name}.json")
    found: dict[str, Any] = json.loads(blob.download_blob().readall())
    return found


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("same.txt", TEXT),
        ("same-utf-16.txt", TEXT.decode().encode("utf-16")),
        ("same.jsonl", lines(60)),
        ("same-large.txt", LARGE),
    ],
    ids=["one job", "UTF-16", "many jobs", "large outcome"],
)
async def test_the_same_text_is_paid_once(name: str, data: bytes, way: Way, caplog: pytest.LogCaptureFixture) -> None:
    """Everything in the outcome stays as it is, but for the version that it is of."""
    caplog.set_level(logging.INFO, "ner")
    way.name = name
    way.switch(jobSeconds=0)
    first = await submit_and_end(way, data)
    before = content(way)
    size = len(json.dumps(before))
    assert (size > 1024 * 1024) is (data is LARGE)
    paid = way.submissions()
    for _ in range(2):
        await way.submit(data)
        assert way.queue.get_queue_properties().approximate_message_count == 0
        assert way.in_flight() == 0
        outcome = way.outcome()
        assert outcome is not None
        assert outcome.source.etag == way.etag
        assert outcome == msgspec.structs.replace(first, source=outcome.source)
        assert outcome.source == msgspec.structs.replace(
            first.source, etag=way.etag, last_modified=outcome.source.last_modified
        )
        assert content(way) == {**before, "source": content(way)["source"]}
    assert way.submissions() == paid
    assert "the text is the same" in caplog.text


@pytest.mark.parametrize("ends", [False, True], ids=["running", "ended"])
async def test_the_same_text_in_flight_is_paid_once(ends: bool, way: Way, caplog: pytest.LogCaptureFixture) -> None:
    """As where a program uploads a file and then sets its metadata: the newest version takes over the job."""
    caplog.set_level(logging.INFO, "ner")
    way.name = "same-in-flight.txt"
    way.switch(jobSeconds=1000)
    for _ in range(3):
        await way.submit()
    if ends:
        way.end_jobs()
    outcome = await way.poll_until_outcome()
    assert outcome.status is OutcomeStatus.SUCCEEDED
    assert outcome.source.etag == way.etag
    assert way.submissions() == 1
    assert caplog.text.count("whose job it takes over") == 2


async def test_another_text_in_flight_is_submitted(way: Way) -> None:
    """Its entities are others."""
    way.name = "other-in-flight.txt"
    way.switch(jobSeconds=1000)
    await way.submit()
    await way.submit(NEWER)
    way.end_jobs()
    assert (await way.poll_until_outcome()).source.etag == way.etag
    assert way.submissions() == 2


async def test_an_event_that_comes_again_finds_the_outcome(way: Way) -> None:
    """As that of any version: nothing is written again."""
    way.name = "same-again.txt"
    way.switch(jobSeconds=0)
    await submit_and_end(way)
    await way.submit()
    blob = way.blobs.get_blob_client(way.settings.results_container, f"{way.name}.json")
    etag = blob.get_blob_properties().etag
    await asyncio.gather(*(way.pipeline.submit(way.name) for _ in range(5)))
    assert blob.get_blob_properties().etag == etag
    assert way.submissions() == 1


@pytest.mark.parametrize("changed", [{"NER_LANGUAGE": "de"}, {"NER_API_VERSION": "2022-05-01"}], ids=str)
async def test_the_same_text_is_sent_again_where_other_entities_may_come(
    changed: dict[str, str], make_way: Callable[..., Way], values: dict[str, str]
) -> None:
    """The language or the model is another one since."""
    way = make_way()
    way.name = f"same-{next(iter(changed))}.txt"
    way.switch(jobSeconds=0)
    await submit_and_end(way)
    await way.pipeline.aclose()
    way.pipeline = Pipeline(Settings.from_environ({**values, "NER_ENDPOINT": way.ner_emulator, **changed}), now=way.now)
    outcome = await submit_and_end(way)
    assert way.submissions() == 2
    assert outcome.api["version"] == changed.get("NER_API_VERSION", "2023-04-01")
    await way.pipeline.aclose()


async def test_another_text_is_paid_and_so_is_the_first_one_when_it_comes_back(way: Way) -> None:
    """Only the present outcome is compared."""
    way.name = "to-and-fro.txt"
    way.switch(jobSeconds=0)
    for data in (TEXT, NEWER, TEXT):
        assert (await submit_and_end(way, data)).source.length == len(data)
    assert way.submissions() == 3


@pytest.mark.parametrize("end", ["failed", "partiallyCompleted"])
async def test_a_text_that_did_not_succeed_is_sent_again(end: str, way: Way) -> None:
    """Saving the file again is how an uploader asks for another try."""
    way.name = f"same-{end}.txt"
    way.switch(jobSeconds=0, jobEnd=end)
    assert (await submit_and_end(way)).status is not OutcomeStatus.SUCCEEDED
    way.switch(jobSeconds=0)
    assert (await submit_and_end(way)).status is OutcomeStatus.SUCCEEDED
    assert way.submissions() == 2


async def test_a_file_with_bad_lines_is_sent_again(way: Way) -> None:
    """Its outcome is partly a success only."""
    way.name = "same-bad-lines.jsonl"
    way.switch(jobSeconds=0)
    for _ in range(2):
        assert (await submit_and_end(way, lines(1) + b"\nbroken")).status is OutcomeStatus.PARTIALLY_SUCCEEDED
    assert way.submissions() == 2


async def test_an_outcome_that_is_to_be_replaced_is_paid_again(way: Way) -> None:
    """The operator has asked for that, for instance after the model was trained again."""
    way.name = "same-redriven.txt"
    way.switch(jobSeconds=0)
    await submit_and_end(way)
    blob = way.blobs.get_blob_client(way.settings.results_container, f"{way.name}.json")
    replaces = str(blob.get_blob_properties().etag).strip('"')
    await way.pipeline.poll(encode_message(FileMessage(file=way.name, replaces=replaces)).encode())
    await way.poll_until_empty()
    assert way.submissions() == 2
    assert str(blob.get_blob_properties().etag).strip('"') != replaces


@pytest.mark.parametrize("body", [b"{}", b"", b"\xff", b'{"status": "succeeded", "source": {"name": 7}}'], ids=str)
async def test_an_outcome_of_another_shape_is_not_written_again(body: bytes, way: Way) -> None:
    """Somebody has edited it: the text is sent."""
    way.name = f"same-edited-{len(body)}.txt"
    way.switch(jobSeconds=0)
    await submit_and_end(way)
    blob = way.blobs.get_blob_client(way.settings.results_container, f"{way.name}.json")
    blob.upload_blob(body, overwrite=True, metadata=blob.get_blob_properties().metadata)
    assert (await submit_and_end(way)).status is OutcomeStatus.SUCCEEDED
    assert way.submissions() == 2


@pytest.mark.parametrize("ended", [False, True])
async def test_a_file_that_is_replaced_meanwhile_is_not_paid_for_the_old_text(way: Way, *, ended: bool) -> None:
    """Just before the outcome is written again, a newer version comes, and perhaps ends: it wins."""
    way.name = f"same-replaced-{ended}.txt"
    way.switch(jobSeconds=0)
    await submit_and_end(way)
    way.upload()
    other = way.another_pipeline()

    async def replace() -> None:
        way.upload(NEWER)
        await other.submit(way.name)
        if ended:
            await other.poll(way.message().content.encode())

    with before_blob_call("upload_blob", f"{way.settings.results_container}/", replace):
        await way.pipeline.submit(way.name)
    outcome = await way.poll_until_outcome()
    assert outcome.source.length == len(NEWER)
    assert way.submissions() == 2
    await other.aclose()


async def test_an_outcome_that_is_deleted_meanwhile_is_made_again(way: Way) -> None:
    """There is nothing left to be written again, so the text is sent."""
    way.name = "same-deleted.txt"
    way.switch(jobSeconds=0)
    await submit_and_end(way)

    async def delete() -> None:
        way.blobs.get_blob_client(way.settings.results_container, f"{way.name}.json").delete_blob()

    with before_blob_call("download_blob", f"{way.settings.results_container}/", delete):
        await way.submit()
    assert (await way.poll_until_outcome()).status is OutcomeStatus.SUCCEEDED
    assert way.submissions() == 2


def test_the_beginning_may_end_within_a_character() -> None:
    """An outcome comes in pieces of bytes."""
    modified = datetime(2026, 1, 1, tzinfo=UTC)
    first = Source("incoming", "é 🍷.txt", "0x1", modified, 4, "utf-8")
    second = Source("incoming", "é 🍷.txt", "0x2", modified, 4)
    whole = encode(Outcome(OutcomeStatus.SUCCEEDED, first, {"version": "é🍷" * 20}, [], [], [], Statistics()))
    expected = {**json.loads(whole), "source": {**json.loads(whole)["source"], "etag": "0x2"}}
    for cut in range(whole.index(b'"api"'), len(whole)):
        assert json.loads(with_source(whole[:cut], second) + whole[cut:]) == expected
    for cut in range(whole.index(b"length")):
        with pytest.raises(ShapeError):
            with_source(whole[:cut], second)
