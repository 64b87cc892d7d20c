"""What is wrong with the settings of a deployed app: said in one line of the log, and the upload waits or is kept."""

import logging
from collections.abc import Callable

import pytest
from shared.jobs import MessageError, decode_message

from shared.outcome import OutcomeStatus
from shared.pipeline import Pipeline
from shared.settings import Settings
from tests.integration.conftest import TEXT, Way

FAULTS = {
    "key": {"NER_KEY": "not-the-right-key"},
    "project": {"NER_PROJECT_NAME": "nobody's"},
    "deployment": {"NER_DEPLOYMENT_NAME": "nobody's"},
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


async def test_a_message_about_another_container_keeps_the_upload(way: Way, caplog: pytest.LogCaptureFixture) -> None:
    """NER_INPUT_CONTAINER was changed while the file was in flight: no outcome is made up, its record stays."""
    await way.submit()
    body = way.message().content.replace(f'"{way.settings.input_container}"', '"elsewhere"').encode()
    with pytest.raises(MessageError, match="NER_INPUT_CONTAINER"):
        await way.pipeline.poll(body)
    await way.pipeline.poison.give_up(body)
    assert "NER_INPUT_CONTAINER" in caplog.text
    assert way.outcome() is None
    assert way.in_flight() == 1


@pytest.mark.parametrize(
    "body",
    [b"", b"\xff\xfe", b"null", b'{"jobId": "1"}', b"[" * 100_000, b'{"version": 1, "source": {"name": "text"}}'],
)
async def test_foreign_messages_are_raised_then_dropped(
    body: bytes, way: Way, caplog: pytest.LogCaptureFixture
) -> None:
    """Five tries by the host, then one line of the log."""
    with pytest.raises(MessageError):
        await way.pipeline.poll(body)
    await way.pipeline.poison.give_up(body)
    assert len([line for line in caplog.messages if "discarded a poison message" in line]) == 1
    assert way.queue.get_queue_properties().approximate_message_count == 0


@pytest.mark.parametrize(
    "name", ["a\nERROR ner forged line.txt", "a\r\x1b[2Jb.txt", "a\u2028b.txt", "..\\..\\a.txt", "<b>.txt"]
)
async def test_a_hostile_name_stays_a_name(name: str, way: Way, caplog: pytest.LogCaptureFixture) -> None:
    """In paths, in JSON, and as one line of the log."""
    caplog.set_level(logging.INFO, "ner")
    way.name = name
    way.switch(jobSeconds=0)
    await way.submit()
    body = way.message().content
    assert decode_message(body).source.name == name
    await way.pipeline.poll(body.encode())
    outcome = await way.poll_until_outcome()
    assert outcome.source.name == name
    assert outcome.source.length == len(TEXT)
    assert caplog.messages
    for line in caplog.messages:
        assert line.isprintable(), line
