"""What comes out of the queue of uploads on which the blob trigger failed."""

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from azure.core.exceptions import ResourceExistsError
from azure.storage.queue import QueueClient, QueueServiceClient

from shared.outcome import OutcomeStatus
from shared.poison import MOST_TRIES
from shared.settings import BLOB_POISON_QUEUE
from tests.integration.conftest import NOTICE, Way


@pytest.fixture
def poison(queues: QueueServiceClient) -> QueueClient:
    """The queue, empty."""
    queue = queues.get_queue_client(BLOB_POISON_QUEUE)
    try:
        queue.create_queue()
    except ResourceExistsError:
        queue.clear_messages()
    return queue


def notice(way: Way, **changes: str) -> bytes:
    """Return what the host writes about the way's file."""
    return json.dumps(
        {**NOTICE, "ContainerName": way.settings.input_container, "BlobName": way.name, **changes}
    ).encode()


async def test_a_failed_upload_is_submitted_once_more(way: Way, poison: QueueClient) -> None:
    """The storage account was down for a moment, say; nobody has to upload it again, and it is paid for once."""
    before = way.submissions()
    way.upload()
    await way.pipeline.poison.resubmit(notice(way), 1, None)
    assert (await way.poll_until_outcome()).status is OutcomeStatus.SUCCEEDED
    await way.pipeline.poison.resubmit(notice(way), 1, None)
    assert way.queue.get_queue_properties().approximate_message_count == 0
    assert poison.get_queue_properties().approximate_message_count == 0
    assert way.submissions() - before == 1


async def test_an_upload_that_fails_for_ever_gets_an_outcome(way: Way) -> None:
    """Without being read again: it may be what kills the worker."""
    way.upload()
    await way.pipeline.poison.resubmit(notice(way), MOST_TRIES + 1, None)
    outcome = way.outcome()
    assert outcome is not None
    assert [problem.code for problem in outcome.errors] == ["ProcessingFailed"]
    assert outcome.source.length > 0


async def test_an_upload_that_is_gone_is_forgotten(way: Way) -> None:
    """Nobody waits for it."""
    for tries in (1, MOST_TRIES + 1):
        await way.pipeline.poison.resubmit(notice(way), tries, None)
    assert way.queue.get_queue_properties().approximate_message_count == 0


@pytest.mark.parametrize(
    "changes", [{"ContainerName": "elsewhere"}, {"FunctionId": "Host.Functions.other"}, {"BlobName": ""}, None]
)
async def test_messages_of_other_apps_stay(
    changes: dict[str, str] | None, make_way: Callable[..., Way], poison: QueueClient
) -> None:
    """All apps of the account share the queue: theirs goes back, to be received later, for as long as it lived."""
    way = make_way()
    body = b"anything" if changes is None else notice(way, **changes)
    if changes == {"BlobName": ""}:
        body = body.replace(b'"BlobName"', b'"Other"')
    expires = datetime.now(UTC) + timedelta(days=3)
    await way.pipeline.poison.resubmit(body, 1, expires)
    assert poison.get_queue_properties().approximate_message_count == 1
    assert poison.receive_message() is None, "it is not visible yet"
    await way.pipeline.poison.resubmit(body, 1, datetime.now(UTC))
    assert poison.get_queue_properties().approximate_message_count == 1, "one that has expired is gone"
    await way.pipeline.aclose()


async def test_what_is_put_back_is_what_was_there(
    way: Way, poison: QueueClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same text, as the host writes it."""
    monkeypatch.setattr("shared.poison.FOREIGN_SECONDS", 0.0)
    body = notice(way, ContainerName="elsewhere")
    await way.pipeline.poison.resubmit(body, 1, None)
    message = poison.receive_message()
    assert message is not None
    assert base64.b64decode(message.content) == body
