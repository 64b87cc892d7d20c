"""What is wrong with the settings of a deployed app: said in one line of the log, and the upload waits or is kept."""

import logging
from collections.abc import Callable

import pytest

from shared.message import BatchMessage, decode_message
from shared.outcome import OutcomeStatus
from shared.pipeline.running import Pipeline
from shared.settings import Settings
from tests.emulator import stats
from tests.integration.conftest import TEXT, Way

FAULTS = {
    "key": {"NER_KEY": "not-the-right-key"},
    "project": {"NER_PROJECT_NAME": "nobody's"},
    "deployment": {"NER_DEPLOYMENT_NAME": "nobody's"},
    "version": {"NER_API_VERSION": "2031-01-01"},
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_the_file_waits_for_the_mend(
    fault: str, values: dict[str, str], make_way: Callable[..., Way], caplog: pytest.LogCaptureFixture
) -> None:
    """One line says what is wrong, without the key; after the mend the file goes on by itself."""
    caplog.set_level(logging.WARNING, "ner")
    way = make_way()
    wrong = Pipeline(Settings.from_environ({**values, "NER_ENDPOINT": way.ner_emulator, **FAULTS[fault]}))
    way.upload()
    await wrong.submit(way.name)
    (line,) = caplog.messages
    assert "until the app settings are fixed" in line
    assert "not-the-right-key" not in line
    assert len(line.splitlines()) == 1
    assert [record.exc_info for record in caplog.records] == [None]
    assert way.outcome() is None
    assert (await way.poll_until_outcome()).status is OutcomeStatus.SUCCEEDED
    await wrong.aclose()
    await way.pipeline.aclose()


async def test_a_forbidden_call_waits_as_well(way: Way, caplog: pytest.LogCaptureFixture) -> None:
    """A role that is missing, or a network that lets nobody in."""
    caplog.set_level(logging.WARNING, "ner")
    way.switch(faults=[{"status": 403, "times": 2}])
    await way.submit()
    await way.pipeline.poll(way.message().content.encode())
    assert len([line for line in caplog.messages if "fixed" in line]) == 2
    assert (await way.poll_until_outcome()).status is OutcomeStatus.SUCCEEDED


async def test_a_message_about_another_container_is_dropped(way: Way, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody who can write to the queue chooses what is read and sent: no call, no outcome, and the record stays."""
    way.name = "elsewhere.txt"
    way.switch(jobSeconds=1000)
    await way.submit()
    body = way.message().content.replace(f'"{way.settings.input_container}"', '"elsewhere"').encode()
    before = stats(way.ner_emulator)
    await way.pipeline.poll(body)
    (line,) = [line for line in caplog.messages if "discarded a message" in line]
    assert "NER_INPUT_CONTAINER" in line
    assert stats(way.ner_emulator) == before
    assert way.queue.get_queue_properties().approximate_message_count == 0
    assert way.outcome() is None
    assert way.in_flight() == 2


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"null",
        b'{"jobId": "1"}',
        b"[" * 100_000,
        b'{"version": 1, "source": {"name": "secret"}}',
        b'{"kind": "batch", "version": 2, "batch": "../../secret", "etag": null}',
    ],
    ids=["empty", "not text", "null", "of another shape", "deep", "of an older version", "of a foreign batch"],
)
async def test_foreign_messages_are_dropped_with_one_line(
    body: bytes, way: Way, caplog: pytest.LogCaptureFixture
) -> None:
    """Raised, they would come back five times, each with a trace in the log; what they hold is not repeated."""
    await way.pipeline.poll(body)
    (line,) = [line for line in caplog.messages if "discarded a message" in line]
    assert f"of {len(body)} bytes" in line
    assert "secret" not in line
    assert len(line.splitlines()) == 1
    assert [record.exc_info for record in caplog.records] == [None]
    assert way.queue.get_queue_properties().approximate_message_count == 0


async def test_a_message_about_a_batch_that_has_ended_is_dropped(way: Way) -> None:
    """Whoever put it back, for instance from the poison queue, does no harm."""
    way.name = "put-back.txt"
    way.switch(jobSeconds=0)
    await way.submit()
    body = way.message().content.encode()
    await way.pipeline.poll(body)
    outcome = await way.poll_until_outcome()
    await way.pipeline.poll(body)
    assert way.queue.get_queue_properties().approximate_message_count == 0
    assert way.outcome() == outcome
    assert way.in_flight() == 0
    assert way.submissions() == 1


@pytest.mark.parametrize("name", ["a\u2028ERROR ner forged line.txt", "a\u202e[2Jb.txt", "a\\b%2f..c.txt", "<b>.txt"])
async def test_a_hostile_name_stays_a_name(name: str, way: Way, caplog: pytest.LogCaptureFixture) -> None:
    """In paths, in JSON, and as one line of the log."""
    caplog.set_level(logging.INFO, "ner")
    way.name = name
    way.switch(jobSeconds=0)
    await way.submit()
    body = way.message().content
    message = decode_message(body)
    assert isinstance(message, BatchMessage)
    assert message.record is not None
    assert message.record.members[0].source.name == name
    await way.pipeline.poll(body.encode())
    outcome = await way.poll_until_outcome()
    assert outcome.source.name == name
    assert outcome.source.length == len(TEXT)
    assert caplog.messages
    for line in caplog.messages:
        assert line.isprintable(), line
