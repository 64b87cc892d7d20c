"""Sending files again, by hand, in any storage account: what is shown, what is sent, and what that costs."""

import asyncio
import base64
import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta

import msgspec
import pytest
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient
from rich.console import Console

from local.account import Account
from local.choosing import Choice, Kind
from local.event_grid import blob_event, encoded
from local.in_flight import waits_for
from local.listing import State, list_account, list_outcomes
from local.redrive import Line, Redrive
from local.show_progress import survey_json
from local.show_state import show_survey
from local.survey import Survey, survey
from local.watch import read_outcome
from shared.message import BatchMessage, FileMessage, Message, encode_message
from shared.outcome import OutcomeStatus
from shared.state.batch import BATCHES
from shared.state.claim import CLAIMS, Claim, claim_name, new_batch_id
from shared.storage.queue import BLOB_POISON_QUEUE
from tests.emulator import documents as paid_documents
from tests.integration.conftest import TEXT, Way

NOTICE = {"Type": "BlobTrigger", "FunctionId": "Host.Functions.submit", "BlobType": "BlockBlob", "ETag": '"0x1"'}
"""What the host writes of every upload to the function `submit`."""


@pytest.fixture
def account(
    way: Way, blobs: BlobServiceClient, queues: QueueServiceClient, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Account]:
    """The way's storage account, its poison queues empty, and an operator with the way's clock."""
    for module in ("in_flight", "redrive", "survey"):
        monkeypatch.setattr(f"local.{module}.utc_now", way.now)
    for name in (way.settings.poison_queue, BLOB_POISON_QUEUE):
        queue = queues.get_queue_client(name)
        if name in {found.name for found in queues.list_queues()}:
            queue.clear_messages()
        else:
            queue.create_queue()
    yield Account(way.settings, blobs, queues)
    queues.get_queue_client(BLOB_POISON_QUEUE).clear_messages()


def documents(count: int) -> bytes:
    """Return a file of many documents: three jobs for sixty of them."""
    lines = [json.dumps({"id": str(number), "text": "A table at Blue Heron, please."}) for number in range(count)]
    return "\n".join(lines).encode()


def redrive(account: Account, *kinds: Kind, dry_run: bool = False, since: datetime | None = None) -> list[Line]:
    """Send again what is of these kinds."""
    return list(Redrive(account, Choice((), frozenset(kinds), since), dry_run=dry_run).lines())


def named(account: Account, *names: str, kinds: tuple[Kind, ...] = ()) -> list[Line]:
    """Send again what has these names."""
    return list(Redrive(account, Choice(names, frozenset(kinds)), dry_run=False).lines())


def look(account: Account) -> Survey:
    """Look at the account."""
    return survey(account, None, 10)


def shown(account: Account, way: Way, limit: int = 10) -> str:
    """Return what `status` prints."""
    console = Console(file=io.StringIO(), width=160)
    show_survey(console, account, survey(account, None, limit), since=None, limit=limit, now=way.now())
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def lose_messages(way: Way) -> None:
    """Lose all messages, and let time pass until that shows."""
    way.queue.clear_messages()
    way.pass_time(way.settings.poll_max_seconds + way.settings.overdue_seconds)


def delete_upload(way: Way) -> None:
    """Delete the file from the input container."""
    way.blobs.get_blob_client(way.settings.input_container, way.name).delete_blob()


def poison(account: Account, message: Message) -> None:
    """Put a message into the app's poison queue, as the host does."""
    queue = account.queues.get_queue_client(account.settings.poison_queue)
    queue.send_message(base64.b64encode(encode_message(message).encode()).decode())


def notice(account: Account, name: str, container: str = "") -> None:
    """Put the host's notice of an upload into the poison queue that all apps share."""
    text = json.dumps({**NOTICE, "ContainerName": container or account.settings.input_container, "BlobName": name})
    account.queues.get_queue_client(BLOB_POISON_QUEUE).send_message(base64.b64encode(text.encode()).decode())


def poisoned(account: Account) -> int:
    """Return how many messages the poison queues have."""
    return sum(account.messages_count(name) or 0 for name in (account.settings.poison_queue, BLOB_POISON_QUEUE))


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
    found = look(account)
    assert (found.states[State.IN_FLIGHT], found.overdue_count) == (1, 0)
    lose_messages(way)
    found = look(account)
    assert (found.states[State.IN_FLIGHT], found.overdue_count, found.in_flight[0][1].is_overdue) == (1, 1, True)
    said = shown(account, way)
    assert "job running, overdue" in said
    assert "redrive --in-flight" in said
    for _ in range(2):
        (line,) = redrive(account, Kind.IN_FLIGHT)
        assert line.name == "lost.txt"
        assert isinstance(line.message, BatchMessage)
    assert (await way.poll_until_outcome()).status is OutcomeStatus.SUCCEEDED
    assert way.submissions() == 1
    assert redrive(account, Kind.IN_FLIGHT) == []
    assert look(account).overdue_count == 0


async def test_an_upload_that_was_not_picked_up_is_submitted_once(way: Way, account: Account) -> None:
    """Its event was lost. What is in flight, has its outcome or is quite new is not taken for one."""
    way.switch(jobSeconds=0)
    way.name = "ended.txt"
    await way.submit()
    await way.poll_until_outcome()
    way.switch(jobSeconds=1000)
    way.name = "in flight.txt"
    await way.submit()
    way.name = "unheard.txt"
    way.upload(TEXT)
    assert look(account).unheard == []
    assert redrive(account, Kind.UNHEARD) == []
    way.pass_time(way.settings.overdue_seconds + 1)
    assert [source.name for source in look(account).unheard] == ["unheard.txt"]
    said = shown(account, way)
    assert "not picked up: 1" in said
    assert "redrive --unheard" in said
    for _ in range(2):
        (line,) = redrive(account, Kind.UNHEARD)
        assert (line.name, line.kind) == ("unheard.txt", Kind.UNHEARD)
    way.switch(jobSeconds=0)
    await way.poll_until_empty()
    outcome = way.outcome()
    assert outcome is not None
    assert outcome.status is OutcomeStatus.SUCCEEDED
    assert way.submissions() == 1
    assert redrive(account, Kind.UNHEARD) == []


async def test_a_name_means_the_newest_version_whatever_its_state(way: Way, account: Account) -> None:
    """Never picked up, failed, replaced since it failed, in flight; what has its entities must be asked for."""
    way.switch(jobSeconds=0)
    way.name = "late.txt"
    way.upload(b"")
    (line,) = named(account, "late.txt")
    assert line.message == FileMessage(file="late.txt", due=way.now())
    await way.poll_until_empty()
    assert [file.name for file, _ in look(account).failed] == ["late.txt"]
    # The text comes later, without an event.
    way.upload(TEXT)
    assert look(account).failed == []
    assert redrive(account, Kind.FAILED) == []
    (line,) = named(account, "late.txt")
    assert (line.kind, line.message) == (Kind.UNHEARD, FileMessage(file="late.txt", due=way.now()))
    await way.pipeline.poll(way.message().content.encode())
    (line,) = named(account, "late.txt")
    assert line.kind is Kind.IN_FLIGHT
    assert isinstance(line.message, BatchMessage)
    assert (await way.poll_until_outcome()).status is OutcomeStatus.SUCCEEDED
    (line,) = named(account, "late.txt")
    assert (line.kind, line.message, line.why) == (
        *(Kind.SUCCEEDED, None, "add --succeeded to send it again, which is charged"),
    )
    assert named(account, "late*") == named(account, "nobody.txt") == []
    assert way.submissions() == 1


async def test_the_newest_version_is_sent_while_an_older_one_is_in_flight(way: Way, account: Account) -> None:
    """Its event was lost, so nobody else brings it before the older one has ended."""
    way.name = "replaced.txt"
    way.switch(jobSeconds=1000)
    await way.submit()
    way.upload(b"A table at Blue Heron, please.")
    assert "(an older version)" in shown(account, way)
    (line,) = named(account, way.name)
    assert isinstance(line.message, FileMessage)
    way.switch(jobSeconds=0)
    await way.poll_until_empty()
    outcome = way.outcome()
    assert outcome is not None
    assert outcome.source.length == len(b"A table at Blue Heron, please.")
    assert way.submissions() == 2


async def test_a_file_whose_worker_died_is_taken_over(way: Way, account: Account) -> None:
    """It has a claim, and no record: a message helps once the claim is old."""
    way.name = "dead.txt"
    way.upload()
    source = await way.pipeline.services.blobs.newest(way.name)
    assert source is not None
    now = way.now()
    claim = Claim(source=source, batch=new_batch_id(), claimed_date_time=now, received_date_time=now)
    await way.pipeline.services.state.write_claim(claim, None)
    (found,) = look(account).in_flight
    assert (waits_for(found[1]), found[1].is_overdue) == ("submitting", False)
    (line,) = list(Redrive(account, Choice((way.name,)), dry_run=True).lines())
    assert line.delay_seconds > way.settings.submit_timeout_seconds
    way.pass_time(way.settings.submit_timeout_seconds + 1)
    assert look(account).overdue_count == 1
    assert "submitting, overdue" in shown(account, way)
    (line,) = named(account, way.name)
    assert (line.message, line.delay_seconds) == (FileMessage(file=way.name, due=way.now()), 0)
    assert (await way.poll_until_there()).status is OutcomeStatus.SUCCEEDED
    assert way.submissions() == 1
    # The void record stays for a while, lest the dead worker was only slow; it is nobody's file.
    after = look(account)
    assert (after.states, after.overdue_count) == ({State.SUCCEEDED: 1}, 0)


async def test_a_record_that_was_left_behind_is_found(way: Way, account: Account) -> None:
    """Its worker died after the claim was released: no file names the batch any more."""
    way.name = "left.txt"
    way.switch(jobSeconds=0)
    await way.submit()
    state = account.blobs.get_container_client(way.settings.state_container)
    state.delete_blob(claim_name(way.name))
    lose_messages(way)
    assert look(account).overdue_count == 1
    (line,) = redrive(account, Kind.IN_FLIGHT)
    assert (line.is_file, line.why) == (False, "to delete its record")
    await way.poll_until_empty()
    assert way.in_flight() == 0
    assert way.submissions() == 1


TOGETHER = ("together/1.txt", "together/2.txt", "together/3.jsonl")


@pytest.fixture
async def batch(way: Way, account: Account) -> BatchMessage:
    """The message of a batch of three files: of one document, of a long document, and of four documents."""
    way.switch(jobSeconds=1000)
    for way.name, data in zip(TOGETHER, (TEXT, TEXT * 40, documents(4)), strict=True):
        way.upload(data)
    await asyncio.gather(*(way.pipeline.submit(name) for name in TOGETHER))
    message = msgspec.json.decode(way.message().content, type=BatchMessage)
    assert message.record is not None
    assert len(message.record.members) == len(TOGETHER)
    assert look(account).states == {State.IN_FLIGHT: len(TOGETHER)}
    return message


async def all_end_with_one_job(way: Way, account: Account) -> None:
    """Let the app work, and check that each file has the same job in its outcome."""
    way.end_jobs()
    await way.poll_until_empty()
    assert not list_account(account).claims
    jobs = set()
    for name in TOGETHER:
        source = await way.pipeline.services.blobs.newest(name)
        assert source is not None
        outcome = read_outcome(way.blobs, way.settings, name, source.etag)
        assert outcome is not None
        assert outcome.status is OutcomeStatus.SUCCEEDED
        jobs |= {job.job_id for job in outcome.jobs}
    assert len(jobs) == 1


async def test_files_that_share_a_job_are_shown_as_any_others(way: Way, account: Account, batch: BatchMessage) -> None:
    """Each with what it costs, and with the job."""
    found = json.loads(survey_json(account, look(account), since=None, now=way.now()))
    assert batch.record is not None
    assert batch.record.job is not None
    flights = {flight["name"]: flight for flight in found["inFlight"]}
    assert {name: flight["textRecords"] for name, flight in flights.items()} == dict(
        zip(TOGETHER, (1, -(-len(TEXT * 40) // 1000), 4), strict=True)
    )
    assert {flight["waitsFor"] for flight in flights.values()} == {"job running"}
    assert [flight["jobIds"] for flight in flights.values()] == [[batch.record.job.job_id]] * len(TOGETHER)
    assert shown(account, way).count("job running") == len(TOGETHER)


@pytest.mark.parametrize("names", [(), TOGETHER[1:2], ("together/*",)], ids=["--in-flight", "one name", "pattern"])
async def test_the_message_of_a_batch_is_sent_once(
    names: tuple[str, ...], way: Way, account: Account, batch: BatchMessage
) -> None:
    """Whichever of its files are chosen; it brings all of them on, at no cost."""
    lose_messages(way)
    found = look(account)
    assert found.overdue_count == 1
    assert all(flight.is_overdue for _, flight in found.in_flight)
    lines = named(account, *names) if names else redrive(account, Kind.IN_FLIGHT)
    assert [line.message for line in lines if line.message] == [batch]
    sender = next(line for line in lines if line.message)
    assert sender is lines[0]
    assert {line.why for line in lines[1:]} <= {f"it continues with the message of {sender.name}"}
    assert sorted(line.name for line in lines) == (
        list(names) if len(names) == 1 and "*" not in names[0] else list(TOGETHER)
    )
    assert way.queue.get_queue_properties().approximate_message_count == 1
    await all_end_with_one_job(way, account)


async def test_a_poison_message_of_several_files_is_sent_once(way: Way, account: Account, batch: BatchMessage) -> None:
    """It is chosen by any of its files, and names all of them."""
    poison(account, batch)
    (found,) = look(account).poisoned
    assert sorted(found.names) == list(TOGETHER)
    lines = named(account, TOGETHER[2], kinds=(Kind.POISONED,))
    assert sorted(line.name for line in lines) == list(TOGETHER)
    assert [line.message for line in lines if line.message] == [batch]
    assert poisoned(account) == 0
    assert way.queue.get_queue_properties().approximate_message_count == 1
    await all_end_with_one_job(way, account)


async def test_a_file_whose_batch_left_without_it_is_submitted(way: Way, account: Account, batch: BatchMessage) -> None:
    """Its worker died before the file joined: the message of the batch would not continue it."""
    way.name = "together/late.txt"
    way.upload()
    source = await way.pipeline.services.blobs.newest(way.name)
    assert source is not None
    now = way.now()
    claim = Claim(source=source, batch=batch.batch, claimed_date_time=now, received_date_time=now)
    await way.pipeline.services.state.write_claim(claim, None)
    lose_messages(way)
    way.pass_time(way.settings.submit_timeout_seconds + 1)
    found = look(account)
    assert found.overdue_count == 2
    (late,) = [flight for file, flight in found.in_flight if file.name == way.name]
    assert (waits_for(late), late.is_overdue) == ("submitting", True)
    lines = redrive(account, Kind.IN_FLIGHT)
    assert FileMessage(file=way.name, due=way.now()) in [line.message for line in lines]
    await all_end_with_one_job(way, account)
    outcome = way.outcome()
    assert outcome is not None
    assert outcome.status is OutcomeStatus.SUCCEEDED


async def test_one_of_several_files_is_submitted_again(way: Way, account: Account, batch: BatchMessage) -> None:
    """The outcomes of the others stay as they are."""
    poison(account, batch)
    redrive(account, Kind.POISONED)
    await all_end_with_one_job(way, account)
    before = {ended.blob: ended.etag for ended in list_outcomes(account)}
    paid = paid_documents(way.ner_emulator)
    (line,) = named(account, TOGETHER[0], kinds=(Kind.SUCCEEDED,))
    assert isinstance(line.message, FileMessage)
    way.switch(jobSeconds=0)
    await way.poll_until_empty()
    after = {ended.blob: ended.etag for ended in list_outcomes(account)}
    assert [blob for blob in after if after[blob] != before[blob]] == [f"{TOGETHER[0]}.json"]
    assert paid_documents(way.ner_emulator) == paid + 1


async def test_a_file_that_waits_for_the_service_is_sent_again(way: Way, account: Account) -> None:
    """Its record knows of no job; it is submitted once."""
    way.name = "lost-before.txt"
    way.switch(faults=[{"status": 503, "method": "POST"}])
    await way.submit()
    assert "retrying submission" in shown(account, way)
    way.queue.clear_messages()
    way.switch(jobSeconds=0)
    assert len(redrive(account, Kind.IN_FLIGHT)) == 1
    assert (await way.poll_until_outcome()).status is OutcomeStatus.SUCCEEDED
    assert way.submissions() == 1


@pytest.mark.parametrize("jobs", [1, 3])
async def test_a_failed_file_is_submitted_again_once(jobs: int, way: Way, account: Account) -> None:
    """However often that is asked for while it is in flight; a file of many jobs, too."""
    way.name = f"failed-{jobs}.jsonl"
    way.switch(jobSeconds=0, jobEnd="failed")
    await way.submit(documents(20 * jobs))
    assert (await way.poll_until_outcome()).status is OutcomeStatus.FAILED
    ((file, report),) = look(account).failed
    assert file.name == way.name
    assert {problem.code for problem in report.problems or []} == {"InternalServerError"}
    way.switch(jobSeconds=0)
    for _ in range(3):
        (line,) = redrive(account, Kind.FAILED)
        assert line.message is not None
    await way.poll_until_empty()
    outcome = way.outcome()
    assert outcome is not None
    assert (outcome.status, len(outcome.documents)) == (OutcomeStatus.SUCCEEDED, 20 * jobs)
    assert way.submissions() == 2 * jobs
    assert way.in_flight() == 0
    assert redrive(account, Kind.FAILED) == []


async def test_a_failed_file_that_was_deleted_is_not_submitted_again(way: Way, account: Account) -> None:
    """And the operator learns why."""
    way.name = "failed-deleted.txt"
    await way.submit(b" ")
    delete_upload(way)
    for line in (*redrive(account, Kind.FAILED), *named(account, way.name)):
        assert (line.message, line.why) == (None, "deleted from the input container")
    assert way.queue.get_queue_properties().approximate_message_count == 0


async def test_a_deleted_file_in_flight_is_brought_to_its_end(way: Way, account: Account) -> None:
    """It is shown, and sent, like any other."""
    way.name = "deleted.txt"
    way.switch(jobSeconds=0)
    await way.submit()
    delete_upload(way)
    lose_messages(way)
    assert look(account).states == {State.IN_FLIGHT: 1}
    (line,) = named(account, way.name)
    assert isinstance(line.message, BatchMessage)
    await way.poll_until_empty()
    assert way.in_flight() == 0


async def test_a_dry_run_changes_nothing(way: Way, account: Account) -> None:
    """It says what would be sent, and neither sends nor hides anything."""
    await way.submit(b" ")
    way.name = "b.txt"
    await way.submit()
    poison(account, FileMessage(file="b.txt"))
    account.queues.get_queue_client(way.settings.poison_queue).send_message("somebody else's")
    way.name = "c.txt"
    await way.submit()
    way.queue.clear_messages()
    before = everything(account)
    lines = redrive(account, Kind.FAILED, Kind.IN_FLIGHT, Kind.POISONED, dry_run=True)
    assert [(line.name, line.kind) for line in lines if line.sent] == [
        ("b.txt", Kind.POISONED),
        ("a.txt", Kind.FAILED),
        ("c.txt", Kind.IN_FLIGHT),
    ]
    assert everything(account) == before


async def test_only_what_happened_since_is_chosen(way: Way, account: Account) -> None:
    """Outcomes, uploads in flight and poison messages that are older stay where they are."""
    await way.submit(b" ")
    way.name = "b.txt"
    await way.submit()
    poison(account, FileMessage(file="b.txt"))
    later, earlier = way.now() + timedelta(hours=1), way.now() - timedelta(hours=1)
    kinds = (Kind.FAILED, Kind.IN_FLIGHT, Kind.POISONED)
    assert redrive(account, *kinds, since=later) == []
    assert survey(account, later, 10).counts == {}
    assert poisoned(account) == 1
    lines = redrive(account, *kinds, since=earlier)
    assert [(line.name, line.kind, line.message is not None) for line in lines] == [
        ("b.txt", Kind.POISONED, True),
        ("a.txt", Kind.FAILED, True),
        ("b.txt", Kind.IN_FLIGHT, False),
    ]
    assert poisoned(account) == 0


async def test_poison_queues_are_emptied_and_what_needs_it_is_sent(way: Way, account: Account) -> None:
    """Files in flight, and uploads on which the trigger failed; the messages of others stay."""
    way.name = "poisoned.txt"
    await way.submit()
    poison(account, msgspec.json.decode(way.message().content, type=Message))
    account.queues.get_queue_client(way.settings.poison_queue).send_message("not base64!")
    way.name = "upload.txt"
    way.upload()
    notice(account, "upload.txt")
    notice(account, "upload.txt", "elsewhere")
    assert [found.is_ours for found in look(account).poisoned].count(False) == 2
    said = shown(account, way)
    assert "poisoned: 4" in said
    assert "redrive --poison" in said
    lines = redrive(account, Kind.POISONED)
    assert {line.name for line in lines if line.message} == {"poisoned.txt", "upload.txt"}
    said = shown(account, way)
    assert "poisoned: 2" in said
    assert "redrive --poison" not in said, "none of this app's is left"
    left = [found for found in look(account).poisoned if not found.is_ours]
    assert [found.queue for found in left] == [way.settings.poison_queue, BLOB_POISON_QUEUE]
    await way.poll_until_empty()
    assert way.submissions() == 1
    assert way.in_flight() == 0


async def test_poison_events_are_shown_and_sent_as_uploads(way: Way, account: Account) -> None:
    """An operator's settings need not name the source of uploads. Without the queues, nothing is said about them."""
    assert "-events" not in shown(account, way)
    way.name = "event.txt"
    way.upload()
    blob = way.blobs.get_blob_client(way.settings.input_container, way.name)
    account.queues.create_queue(way.settings.event_queue).send_message(encoded(blob_event(blob, way.etag)))
    queue = account.queues.create_queue(f"{way.settings.event_queue}-poison")
    queue.send_message(encoded(blob_event(blob, way.etag)))
    queue.send_message("somebody else's")
    said = shown(account, way)
    assert "poisoned: 2" in said
    assert f"{way.settings.event_queue} 1" in said
    assert [(line.name, bool(line.message)) for line in redrive(account, Kind.POISONED)] == [
        ("event.txt", True),
        (queue.queue_name, False),
    ]
    assert account.messages_count(queue.queue_name) == 1
    await way.poll_until_empty()
    assert way.submissions() == 1


@pytest.mark.parametrize(
    ("data", "replaces", "is_deleted", "is_sent", "why"),
    [
        (b" ", None, False, False, "it has an outcome"),
        (b" ", "the outcome", False, True, "as a new submission"),
        (b" ", "another", False, False, "it has an outcome"),
        (None, None, True, False, "deleted from the input container"),
        (None, None, False, True, "as a first submission"),
    ],
)
async def test_a_poison_message_is_sent_only_if_its_file_needs_it(  # noqa: PLR0917  # one column of the table each
    data: bytes | None, replaces: str | None, is_deleted: bool, is_sent: bool, why: str, way: Way, account: Account
) -> None:
    """Nothing is charged for a file that has ended since, unless its outcome was to be replaced. The message goes."""
    way.name = "needs.txt"
    if data is None:
        way.upload()
    else:
        await way.submit(data)
    if replaces == "the outcome":
        present = await way.pipeline.services.blobs.present_outcome(way.name)
        assert present is not None
        replaces = present.etag
    if is_deleted:
        delete_upload(way)
    poison(account, FileMessage(file=way.name, replaces=replaces))
    (line,) = named(account, way.name, kinds=(Kind.POISONED,))
    assert line.message == (FileMessage(file=way.name, replaces=replaces, due=way.now()) if is_sent else None)
    assert why in line.why
    assert poisoned(account) == 0
    assert way.queue.get_queue_properties().approximate_message_count == is_sent


async def test_a_poison_message_without_its_record_is_looked_up(way: Way, account: Account) -> None:
    """The record was too long for a message; once the batch has ended, nothing needs the message."""
    way.name = "long.txt"
    way.switch(jobSeconds=0)
    await way.submit()
    message = msgspec.json.decode(way.message().content, type=BatchMessage)
    short = BatchMessage(batch=message.batch, etag=message.etag)
    poison(account, short)
    assert "a batch of files with long names" in shown(account, way)
    assert named(account, "other*", kinds=(Kind.POISONED,)) == []
    (line,) = named(account, "long*", kinds=(Kind.POISONED,))
    assert line.message == message
    await way.poll_until_outcome()
    poison(account, short)
    (line,) = redrive(account, Kind.POISONED)
    assert (line.message, line.why) == (None, "its batch has ended, so the poison message is not needed")
    assert poisoned(account) == 0


async def test_more_poison_than_one_page(way: Way, account: Account) -> None:
    """All of it is looked at, each file is sent once, and what is not chosen can be received again immediately."""
    way.name = "wanted.txt"
    way.upload()
    for number in range(70):
        poison(account, FileMessage(file="wanted.txt" if number % 7 == 0 else "other.txt"))
    assert look(account).queues[way.settings.poison_queue] == 70
    assert "... and 60 more" in shown(account, way)
    lines = named(account, "wanted*", kinds=(Kind.POISONED,))
    assert [line.name for line in lines] == ["wanted.txt"] * 10
    assert way.queue.get_queue_properties().approximate_message_count == 1
    queue = account.queues.get_queue_client(way.settings.poison_queue)
    assert len(list(queue.receive_messages(messages_per_page=32))) == 60


@pytest.mark.parametrize("prefix", [CLAIMS, BATCHES])
async def test_a_blob_that_cannot_be_read_is_shown(prefix: str, way: Way, account: Account) -> None:
    """Another version of the app wrote it: no traceback, and nothing is sent."""
    await way.submit()
    state = account.blobs.get_container_client(way.settings.state_container)
    (name,) = [blob.name for blob in state.list_blobs(name_starts_with=prefix)]
    if prefix == CLAIMS:
        (batch,) = [blob.name for blob in state.list_blobs(name_starts_with=BATCHES)]
        state.delete_blob(batch)
    kept = state.get_blob_client(name).get_blob_properties().metadata
    state.upload_blob(name, b'{"from": "the future"}', overwrite=True, metadata=kept)
    ((_, found),) = look(account).in_flight
    assert found.source is None
    assert "another version" in shown(account, way)
    (line,) = redrive(account, Kind.IN_FLIGHT)
    assert line.message is None
    assert "another version" in line.why


@pytest.mark.parametrize("has_record", [True, False])
async def test_a_claim_of_another_app_is_not_touched(has_record: bool, way: Way, account: Account) -> None:
    """As if two apps had one state container: this one would drop the message."""
    await way.submit()
    way.queue.clear_messages()
    if not has_record:
        state = account.blobs.get_container_client(way.settings.state_container)
        state.delete_blob(next(blob.name for blob in state.list_blobs(name_starts_with=BATCHES)))
    other = Account(replace(way.settings, input_container="elsewhere"), account.blobs, account.queues)
    assert "belongs to container" in shown(other, way)
    (line,) = redrive(other, Kind.IN_FLIGHT)
    assert line.message is None


async def test_folders_and_markers_are_no_files(way: Way, account: Account) -> None:
    """A hierarchical namespace lists them with the files; the app ignores them, too, but an older one did not."""
    container = account.blobs.get_container_client(way.settings.input_container)
    container.upload_blob("letters", b"", metadata={"hdi_isfolder": "true"})
    container.upload_blob("photos/", b"")
    marker = container.upload_blob("out/_SUCCESS", b"")
    metadata = {"status": "failed", "source_etag": str(marker.get_blob_properties().etag).strip('"')}
    results = account.blobs.get_container_client(way.settings.results_container)
    results.upload_blob("out/_SUCCESS.json", b"{}", metadata=metadata)
    assert not named(account, "out/_SUCCESS")
    assert not named(account, "letters")
    way.name = "letters/a.txt"
    way.upload()
    way.pass_time(way.settings.overdue_seconds + 1)
    assert look(account).states == {State.WAITING: 1}
    assert [line.name for line in redrive(account, Kind.UNHEARD)] == ["letters/a.txt"]
    assert not redrive(account, Kind.FAILED)
    assert "_SUCCESS" not in shown(account, way)


async def test_a_lost_file_of_many_jobs_goes_on_by_its_ledger(way: Way, account: Account) -> None:
    """It shows how many jobs it has, and no request is sent twice."""
    way.name = "many-lost.jsonl"
    await way.submit(documents(60))
    way.queue.clear_messages()
    ((_, found),) = look(account).in_flight
    assert waits_for(found) == "3 jobs running"
    assert len(redrive(account, Kind.IN_FLIGHT)) == 1
    assert (await way.poll_until_outcome()).status is OutcomeStatus.SUCCEEDED
    assert way.submissions() == 3


async def test_a_failed_file_that_is_in_flight_again_is_one_in_flight(way: Way, account: Account) -> None:
    """Its message, if lost, is that of its batch; the failed outcome stays until the new one is there."""
    way.name = "again.txt"
    way.switch(jobSeconds=0, jobEnd="failed")
    await way.submit()
    failed = await way.poll_until_outcome()
    way.switch(faults=[{"status": 503, "method": "POST"}])
    redrive(account, Kind.FAILED)
    await way.pipeline.poll(way.message().content.encode())
    way.queue.clear_messages()
    assert way.outcome() == failed
    (line,) = named(account, way.name)
    assert line.kind is Kind.IN_FLIGHT
    assert isinstance(line.message, BatchMessage)
    assert redrive(account, Kind.FAILED) == []
    way.switch(jobSeconds=0)
    await way.poll_until_empty()
    outcome = way.outcome()
    assert outcome is not None
    assert outcome.status is OutcomeStatus.SUCCEEDED
    assert way.submissions() == 2


async def test_a_file_with_entities_must_be_meant(way: Way, account: Account) -> None:
    """A pattern does not submit it again; its kind does, and if it partly succeeded its name."""
    way.switch(jobSeconds=0)
    way.name = "whole.jsonl"
    await way.submit(documents(2))
    await way.poll_until_outcome()
    way.name = "partly.jsonl"
    await way.submit(documents(2) + b"\nbroken")
    assert (await way.poll_until_outcome()).status is OutcomeStatus.PARTIALLY_SUCCEEDED
    assert named(account, "*") == redrive(account, Kind.FAILED) == []
    assert "partly succeeded: 1" in shown(account, way)
    (line,) = named(account, way.name, kinds=(Kind.FAILED,))
    assert (line.message, line.why) == (None, "add --partial to send it again, which is charged")
    (line,) = redrive(account, Kind.PARTIAL, dry_run=True)
    assert line.kind is Kind.PARTIAL
    (line,) = named(account, way.name)
    assert line.message is not None
    (line,) = redrive(account, Kind.SUCCEEDED)
    assert (line.name, line.kind, line.message is not None) == ("whole.jsonl", Kind.SUCCEEDED, True)
    before = [await way.pipeline.services.blobs.present_outcome(name) for name in ("partly.jsonl", "whole.jsonl")]
    await way.poll_until_empty()
    after = [await way.pipeline.services.blobs.present_outcome(name) for name in ("partly.jsonl", "whole.jsonl")]
    assert [one and one.etag for one in before] != [one and one.etag for one in after]
    assert way.submissions() == 2


@pytest.mark.parametrize("name", ["\u202e[red]:boom:.txt", "n" * 1015 + "*.txt", "日" * 300])
async def test_any_name_can_be_shown_and_sent_again(name: str, way: Way, account: Account) -> None:
    """Whole, and without steering the terminal."""
    way.name = name
    await way.submit(b" ")
    text = shown(account, way)
    assert "EmptyFile" in text
    assert all(character.isprintable() or character == "\n" for character in text)
    if "boom" in name:
        assert r"\u202e[red]:boom:.txt" in text
    (line,) = named(account, name)
    assert line.message is not None
    way.upload()
    await way.poll_until_empty()
    assert (way.in_flight(), way.outcome() is not None) == (0, True)


async def test_the_oldest_files_in_flight_come_first(way: Way, account: Account) -> None:
    """As many as there is room for; all are counted, and the advice is plain."""
    way.switch(jobSeconds=1000)
    for number in range(4):
        way.name = f"waiting-{number}.txt"
        await way.submit()
        way.pass_time(1)
    lose_messages(way)
    text = shown(account, way, limit=2)
    assert "in flight: 4" in text
    assert re.findall(r"waiting-\d", text) == ["waiting-0", "waiting-1"]
    assert text.count("... and 2 more") == 1
    assert "4 messages of files in flight must be lost" in text
    lines = redrive(account, Kind.IN_FLIGHT)
    assert len(lines) == 4
    assert len(look(account).in_flight) == 4


async def test_the_last_sweep_is_shown(
    make_way: Callable[..., Way], account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When it was, what it found, and that uploads from before the deployment need a hand."""
    way = make_way(NER_SWEEP_EXISTING="false")
    account = Account(way.settings, account.blobs, account.queues)
    monkeypatch.setattr("local.survey.utc_now", way.now)
    assert "Last sweep: none yet." in shown(account, way)
    way.name = "existing.txt"
    way.upload()
    await way.sweep()
    text = shown(account, way)
    assert "Last sweep: 0 s ago, 1 file checked, 0 not picked up" in text
    assert "1 from before this deployment" in text
    assert "1 upload from before this deployment will not be submitted" in text
    assert look(account).existing_count == 1
    way.pass_time(3600)
    assert "The last sweep was 1 h 0 min ago" in shown(account, way)
    await way.pipeline.aclose()


def test_an_account_without_anything_is_no_error(
    make_way: Callable[..., Way], blobs: BlobServiceClient, queues: QueueServiceClient
) -> None:
    """Nothing was dropped yet, or the names are wrong: there is nothing to show or to send."""
    way = make_way(NER_STATE_CONTAINER="never-made", NER_RESULTS_CONTAINER="nor-this")
    for name in (way.settings.results_container, way.settings.input_container):
        blobs.delete_container(name)
    way.queue.delete_queue()
    account = Account(way.settings, blobs, queues)
    assert f"{way.settings.queue} does not exist" in shown(account, way)
    for dry_run in (True, False):
        for choice in (Choice(("a.txt",)), Choice(("a*",)), Choice(kinds=frozenset(Kind))):
            assert list(Redrive(account, choice, dry_run=dry_run).lines()) == []
