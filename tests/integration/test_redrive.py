"""Sending files again, by hand, in any storage account: what is shown, what is sent, and what that costs."""

import asyncio
import base64
import io
import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient
from rich.console import Console

from local.account import Account
from local.choosing import Choice, Kind
from local.redrive import Line, Redrive
from local.show_state import show_survey
from local.survey import Survey, survey, waits_for
from shared.outcome import OutcomeStatus
from shared.settings import BLOB_POISON_QUEUE
from tests.integration.conftest import NOTICE, TEXT, Way
from tests.integration.test_many_jobs import lines as documents


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


def named(account: Account, *names: str) -> list[Line]:
    """Send again what has these names."""
    return list(Redrive(account, Choice(names), dry_run=False).lines())


def look(account: Account) -> Survey:
    """Look at the account."""
    return survey(account, None, 10)


def shown(account: Account, limit: int = 10) -> str:
    """Return what `status` prints."""
    console = Console(file=io.StringIO(), width=160)
    found = survey(account, None, limit)
    show_survey(console, account, found, since=None, limit=limit, now=datetime.now(UTC))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def everything(account: Account) -> dict[str, object]:
    """Return all that a command could change: the blobs with their etags, and the messages of the queues."""
    settings = account.settings
    containers = (settings.input_container, settings.results_container, settings.state_container)
    queues = [
        account.queues.get_queue_client(name) for name in (settings.queue, settings.poison_queue, BLOB_POISON_QUEUE)
    ]
    return {
        **{name: [(blob.name, blob.etag) for blob in account.listed(name)] for name in containers},
        **{queue.queue_name: queue.get_queue_properties().approximate_message_count for queue in queues},
        "visible": [
            (message.id, message.dequeue_count) for queue in queues for message in queue.peek_messages(max_messages=32)
        ],
    }


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


async def test_an_upload_of_which_nobody_told_is_submitted_once(
    make_way: Callable[..., Way], blobs: BlobServiceClient, queues: QueueServiceClient
) -> None:
    """Its event was lost. What is in flight, has its outcome or is quite new is not taken for one."""
    way = make_way()
    account = Account(make_way(NER_SUBMIT_TIMEOUT_SECONDS="2").settings, blobs, queues)
    patient = Account(make_way(NER_SUBMIT_TIMEOUT_SECONDS="600").settings, blobs, queues)
    way.switch(jobSeconds=0)
    way.name = "ended.txt"
    await way.submit()
    await way.poll_until_outcome()
    way.name = "in flight.txt"
    await way.submit()
    way.name = "unheard.txt"
    way.upload(TEXT)
    assert look(patient).unheard == []
    # The time of an upload has whole seconds.
    await asyncio.sleep(3.5)
    assert [source.name for source in look(account).unheard] == ["unheard.txt"]
    assert "not picked up: 1" in shown(account)
    assert "redrive --unheard" in shown(account)
    for _ in range(2):
        (line,) = redrive(account, Kind.UNHEARD)
        assert (line.name, line.kind) == ("unheard.txt", Kind.UNHEARD)
    await way.poll_until_empty()
    outcome = way.outcome()
    assert outcome is not None
    assert outcome.status is OutcomeStatus.SUCCEEDED
    assert way.submissions() == 1
    assert redrive(account, Kind.UNHEARD) == []
    await way.pipeline.aclose()


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
    poison.send_message("somebody else's")
    way.name = "c.txt"
    await way.submit()
    way.queue.clear_messages()
    before = everything(account)
    lines = redrive(account, Kind.FAILED, Kind.IN_FLIGHT, Kind.POISONED, dry_run=True)
    assert [(line.name, line.kind) for line in lines if line.sent] == [
        ("b.txt", Kind.POISONED),
        ("c.txt", Kind.IN_FLIGHT),
        ("a.txt", Kind.FAILED),
    ]
    assert everything(account) == before


async def test_only_what_ended_since_is_chosen(way: Way, account: Account) -> None:
    """All failed since a time."""
    await way.submit(b"")
    now = datetime.now(UTC)
    assert redrive(account, Kind.FAILED, since=now + timedelta(hours=1)) == []
    assert survey(account, now + timedelta(hours=1), 10).counts == {}
    assert len(redrive(account, Kind.FAILED, since=now - timedelta(hours=1))) == 1


async def test_only_what_was_received_or_poisoned_since_is_chosen(way: Way, account: Account) -> None:
    """The rest stays where it is, and can be received at once."""
    await way.submit()
    content = base64.b64encode(way.message().content.encode()).decode()
    poison = account.queues.get_queue_client(way.settings.poison_queue)
    poison.send_message(content)
    now = datetime.now(UTC)
    assert redrive(account, Kind.IN_FLIGHT, Kind.POISONED, since=now + timedelta(hours=1)) == []
    assert [message.content for message in poison.peek_messages()] == [content]
    lines = redrive(account, Kind.IN_FLIGHT, Kind.POISONED, since=now - timedelta(hours=1))
    assert [(line.kind, line.message is not None) for line in lines] == [(Kind.POISONED, True), (Kind.IN_FLIGHT, False)]


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
    assert "redrive --poison" in shown(account)
    lines = redrive(account, Kind.POISONED)
    assert {line.name for line in lines if line.message} == {"poisoned.txt", "upload.txt"}
    assert [message.content for message in poison.peek_messages(max_messages=32)] == ["not base64!"]
    text = shown(account)
    assert "poisoned: 2" in text
    assert "redrive --poison" not in text, "there is none of this app's left"
    (left,) = uploads.peek_messages(max_messages=32)
    assert json.loads(base64.b64decode(left.content))["ContainerName"] == "elsewhere"
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


async def test_more_poison_than_one_page(way: Way, account: Account) -> None:
    """All of it is looked at, and what is not chosen can be received again at once."""
    await way.submit()
    content = way.message().content
    poison = account.queues.get_queue_client(way.settings.poison_queue)
    for number in range(70):
        name = "wanted.txt" if number % 7 == 0 else "other.txt"
        text = content.replace('"a.txt"', f'"{name}"')
        poison.send_message(base64.b64encode(text.encode()).decode())
    assert look(account).queues[way.settings.poison_queue] == 70
    assert "... and 60 more" in shown(account)
    lines = named(account, "wanted*")
    assert [(line.name, line.message is not None) for line in lines] == [("wanted.txt", True)] * 10
    assert way.queue.get_queue_properties().approximate_message_count == 10
    assert len(list(poison.receive_messages(messages_per_page=32))) == 60


async def test_an_upload_that_was_given_up_and_is_gone_is_not_sent(way: Way, account: Account) -> None:
    """It says so."""
    notice = {**NOTICE, "ContainerName": way.settings.input_container, "BlobName": "gone.txt"}
    uploads = account.queues.get_queue_client(BLOB_POISON_QUEUE)
    uploads.send_message(base64.b64encode(json.dumps(notice).encode()).decode())
    (line,) = named(account, "gone.txt")
    assert (line.message, line.why) == (
        None,
        "deleted from the input container, so its message stays in the queue",
    )
    assert len(uploads.peek_messages()) == 1


async def test_a_lost_file_of_many_jobs_goes_on_by_its_ledger(way: Way, account: Account) -> None:
    """It shows how many jobs it has, and no request is sent twice."""
    way.name = "many-lost.jsonl"
    await way.submit(documents(60))
    way.queue.clear_messages()
    (found,) = look(account).in_flight
    assert found.record.submission is not None
    assert waits_for(found.record.submission, found.jobs_count) == "3 jobs running"
    assert len(redrive(account, Kind.IN_FLIGHT)) == 1
    assert (await way.poll_until_outcome()).status is OutcomeStatus.SUCCEEDED
    assert way.submissions() == 3


async def test_a_failed_file_of_many_jobs_is_submitted_anew(way: Way, account: Account) -> None:
    """All of it, once."""
    way.name = "many-failed.jsonl"
    way.switch(jobSeconds=0, jobEnd="failed")
    await way.submit(documents(60))
    assert (await way.poll_until_outcome()).status is OutcomeStatus.FAILED
    way.switch(jobSeconds=0)
    for _ in range(2):
        (line,) = named(account, way.name)
        assert line.message is not None
    await way.poll_until_empty()
    outcome = way.outcome()
    assert outcome is not None
    assert (outcome.status, len(outcome.documents)) == (OutcomeStatus.SUCCEEDED, 60)
    assert way.submissions() == 6
    assert way.in_flight() == 0


async def test_a_failed_file_that_is_on_its_way_again_is_left_alone(way: Way, account: Account) -> None:
    """Its message, if lost, is that of a file in flight; the failed outcome stands until the new one is there."""
    way.name = "again.txt"
    way.switch(jobSeconds=0, jobEnd="failed")
    await way.submit()
    failed = await way.poll_until_outcome()
    way.switch(faults=[{"status": 503, "method": "POST"}])
    redrive(account, Kind.FAILED)
    await way.pipeline.poll(way.message().content.encode())
    way.queue.clear_messages()
    assert way.outcome() == failed
    sent, left = named(account, way.name)
    assert (sent.kind, sent.message is not None) == (Kind.IN_FLIGHT, True)
    assert (left.kind, left.message, left.why) == (Kind.FAILED, None, "already in flight")
    way.switch(jobSeconds=0)
    await way.poll_until_empty()
    outcome = way.outcome()
    assert outcome is not None
    assert outcome.status is OutcomeStatus.SUCCEEDED
    assert way.submissions() == 2


async def test_what_partly_succeeded_must_be_meant(way: Way, account: Account) -> None:
    """A pattern does not submit it anew; its name does, or its kind."""
    way.name = "partly.jsonl"
    way.switch(jobSeconds=0)
    await way.submit(documents(2) + b"\nbroken")
    assert (await way.poll_until_outcome()).status is OutcomeStatus.PARTIALLY_SUCCEEDED
    assert named(account, "*") == redrive(account, Kind.FAILED) == []
    assert "partly succeeded: 1" in shown(account)
    (line,) = redrive(account, Kind.PARTIAL, dry_run=True)
    assert line.kind is Kind.PARTIAL
    (line,) = named(account, way.name)
    assert line.message is not None
    present = await way.pipeline.storage.present_outcome("partly.jsonl.json")
    await way.poll_until_empty()
    assert present != await way.pipeline.storage.present_outcome("partly.jsonl.json")
    assert way.submissions() == 2


@pytest.mark.parametrize("name", ["\x9b2J\u202e[red]:boom:.txt", "n" * 1024, "日" * 300])
async def test_any_name_can_be_shown_and_sent_again(name: str, way: Way, account: Account) -> None:
    """Whole, and without steering the terminal."""
    way.name = name
    await way.submit(b"")
    text = shown(account)
    assert "EmptyFile" in text
    assert all(character.isprintable() or character == "\n" for character in text)
    if "boom" in name:
        assert r"\x9b2J\u202e[red]:boom:.txt" in text
    (line,) = named(account, name)
    assert line.message is not None
    await way.poll_until_empty()


@pytest.mark.slow
async def test_what_stands_first_of_much(way: Way, account: Account) -> None:
    """The oldest in flight, the latest failures; all are counted, and the advice is plain."""
    for number in range(4):
        way.name = f"failed-{number}.txt"
        await way.submit(b"")
        way.name = f"waiting-{number}.txt"
        await way.submit()
        # Storage lists times in whole seconds.
        await asyncio.sleep(1.1)
    way.queue.clear_messages()
    text = shown(account, limit=2)
    assert "in flight: 4" in text
    assert "failed: 4" in text
    assert re.findall(r"waiting-\d|failed-\d", text) == ["waiting-0", "waiting-1", "failed-3", "failed-2"]
    assert text.count("... and 2 more") == 2
    assert f"4 files are in flight, but the queue {way.settings.queue} has no messages" in text
    assert "redrive --in-flight" in text
    redrive(account, Kind.IN_FLIGHT)
    assert "lost" not in shown(account)


def test_an_account_without_anything_is_no_error(
    make_way: Callable[..., Way], blobs: BlobServiceClient, queues: QueueServiceClient
) -> None:
    """Nothing was dropped yet, or the names are wrong: there is nothing to show or to send."""
    way = make_way(NER_STATE_CONTAINER="never-made", NER_RESULTS_CONTAINER="nor-this")
    for name in (way.settings.results_container, way.settings.input_container):
        blobs.delete_container(name)
    way.queue.delete_queue()
    account = Account(way.settings, blobs, queues)
    assert f"{way.settings.queue} does not exist" in shown(account)
    for dry_run in (True, False):
        assert list(Redrive(account, Choice(("a.txt",)), dry_run=dry_run).lines()) == []
