"""Sending files again, by hand, in any storage account: what is shown, what is sent, and what that costs."""

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient

from local.account import Account
from local.choosing import Choice, Kind
from local.redrive import Line, Redrive
from local.survey import Survey, survey
from shared.outcome import OutcomeStatus
from shared.settings import BLOB_POISON_QUEUE
from tests.integration.conftest import NOTICE, TEXT, Way


@pytest.fixture
def account(way: Way, blobs: BlobServiceClient, queues: QueueServiceClient) -> Iterator[Account]:
    """The way's storage account, its poison queues empty."""
    for name in (way.settings.poison_queue, BLOB_POISON_QUEUE):
        queue = queues.get_queue_client(name)
        if name in {found.name for found in queues.list_queues()}:
            queue.clear_messages()
        else:
            queue.create_queue()
    yield Account(way.settings, blobs, queues)
    queues.get_queue_client(BLOB_POISON_QUEUE).clear_messages()


def redrive(account: Account, *kinds: Kind, dry_run: bool = False, since: datetime | None = None) -> list[Line]:
    """Send again what is of these kinds."""
    return list(Redrive(account, Choice((), frozenset(kinds), since), dry_run=dry_run).lines())


def look(account: Account) -> Survey:
    """Look at the account."""
    return survey(account, None, 10)


async def test_a_lost_message_is_found_and_sent_again(way: Way, account: Account) -> None:
    """From the record, at no cost; a file whose message is there is not hurt by it."""
    way.name = "lost.txt"
    await way.submit()
    assert look(account).lost_count == 0
    way.queue.clear_messages()
    found = look(account)
    assert (found.in_flight_count, found.lost_count) == (1, 1)
    (line,) = redrive(account, Kind.IN_FLIGHT)
    assert (line.name, line.message is not None) == ("lost.txt", True)
    redrive(account, Kind.IN_FLIGHT)
    assert (await way.poll_until_outcome()).status is OutcomeStatus.SUCCEEDED
    assert way.submissions() == 1
    assert redrive(account, Kind.IN_FLIGHT) == []


async def test_a_file_that_waits_for_the_service_is_sent_again(way: Way, account: Account) -> None:
    """Its record knows of no job; it is submitted once."""
    way.name = "lost-before.txt"
    way.switch(faults=[{"status": 503, "method": "POST"}])
    await way.submit()
    way.queue.clear_messages()
    way.switch(jobSeconds=0)
    assert len(redrive(account, Kind.IN_FLIGHT)) == 1
    assert (await way.poll_until_outcome()).status is OutcomeStatus.SUCCEEDED
    assert way.submissions() == 1


async def test_what_failed_is_submitted_anew_once(way: Way, account: Account) -> None:
    """However often that is asked for while it is on its way."""
    way.name = "failed.txt"
    way.switch(jobSeconds=0, jobEnd="failed")
    await way.submit()
    await way.poll_until_outcome()
    ((ended, report),) = look(account).failed
    assert (ended.name, [problem.code for problem in report.problems or []]) == ("failed.txt", ["InternalServerError"])
    way.switch(jobSeconds=0)
    for _ in range(3):
        (line,) = redrive(account, Kind.FAILED)
        assert line.message is not None
    await way.poll_until_empty()
    outcome = way.outcome()
    assert outcome is not None
    assert outcome.status is OutcomeStatus.SUCCEEDED
    assert way.submissions() == 2
    assert way.in_flight() == 0
    assert redrive(account, Kind.FAILED) == []


@pytest.mark.parametrize(("change", "why"), [("replace", "newer"), ("delete", "deleted")])
async def test_what_is_not_there_any_more_is_not_submitted_anew(
    change: str, why: str, way: Way, account: Account
) -> None:
    """And the operator learns why."""
    way.name = f"failed-{change}.txt"
    await way.submit(b"\x00" * 10)
    if change == "replace":
        way.upload(b"newer")
    else:
        account.blobs.get_blob_client(way.settings.input_container, way.name).delete_blob()
    (line,) = redrive(account, Kind.FAILED)
    assert line.message is None
    assert why in line.why
    assert way.queue.get_queue_properties().approximate_message_count == 0


async def test_a_dry_run_changes_nothing(way: Way, account: Account) -> None:
    """It says what would be sent, and neither sends nor hides anything."""
    await way.submit(b"")
    poison = account.queues.get_queue_client(way.settings.poison_queue)
    way.name = "b.txt"
    await way.submit()
    poison.send_message(base64.b64encode(way.message().content.encode()).decode())
    lines = redrive(account, Kind.FAILED, Kind.IN_FLIGHT, Kind.POISONED, dry_run=True)
    assert {line.name for line in lines if line.sent} == {"a.txt", "b.txt"}
    assert way.queue.get_queue_properties().approximate_message_count == 0
    assert poison.receive_message() is not None


async def test_only_what_ended_since_is_chosen(way: Way, account: Account) -> None:
    """All failed since a time."""
    await way.submit(b"")
    now = datetime.now(UTC)
    assert redrive(account, Kind.FAILED, since=now + timedelta(hours=1)) == []
    assert len(redrive(account, Kind.FAILED, since=now - timedelta(hours=1))) == 1


async def test_poison_is_sent_again_and_that_of_others_stays(way: Way, account: Account) -> None:
    """Messages of this app, and uploads on which it failed; they leave the poison queues, the others do not."""
    way.name = "poisoned.txt"
    await way.submit()
    poison = account.queues.get_queue_client(way.settings.poison_queue)
    poison.send_message(base64.b64encode(way.message().content.encode()).decode())
    poison.send_message("not base64!")
    uploads = account.queues.get_queue_client(BLOB_POISON_QUEUE)
    other = "upload.txt"
    account.blobs.get_blob_client(way.settings.input_container, other).upload_blob(TEXT)
    for container in (way.settings.input_container, "elsewhere"):
        notice = {**NOTICE, "ContainerName": container, "BlobName": other}
        uploads.send_message(base64.b64encode(json.dumps(notice).encode()).decode())
    assert [found.name for found in look(account).poisoned].count(None) == 2
    lines = redrive(account, Kind.POISONED)
    assert {line.name for line in lines if line.message} == {"poisoned.txt", "upload.txt"}
    assert poison.get_queue_properties().approximate_message_count == 1
    assert uploads.get_queue_properties().approximate_message_count == 1
    await way.poll_until_empty()
    assert way.submissions() == 1
    assert way.in_flight() == 0


async def test_a_record_that_cannot_be_read_is_shown(way: Way, account: Account) -> None:
    """Another version of the app wrote it: no traceback, and nothing is sent."""
    await way.submit()
    state = account.blobs.get_container_client(way.settings.state_container)
    (name,) = [blob.name for blob in state.list_blobs()]
    state.upload_blob(name, b'{"from": "the future"}', overwrite=True)
    (found,) = look(account).in_flight
    assert found.record.submission is None
    (line,) = redrive(account, Kind.IN_FLIGHT)
    assert line.message is None
    assert "another version" in line.why
