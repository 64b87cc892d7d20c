"""Files that arrive together share a job; each has its own claim and its own outcome."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Collection, Iterable
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from azure.core.exceptions import HttpResponseError

from shared.message import BatchMessage, FileMessage, decode_message
from shared.outcome import Outcome, OutcomeStatus
from shared.state.batch import BatchKind, BatchRecord
from tests.calls import arriving_together, before_blob_call
from tests.emulator import CLIENT, documents, stats
from tests.integration.conftest import TEXT, ProxiedWay, Way
from tests.proxy import END_OF_HEAD, Answer

NAMES = ("together/1.txt", "together/2.txt", "together/3.txt", "together/4.txt")


def drop(way: Way, names: Iterable[str] = NAMES, text: bytes = TEXT) -> None:
    """Upload files with different texts."""
    for way.name in names:
        way.upload(text + b" " + way.name.encode())


async def submit(way: Way, names: Collection[str] = NAMES) -> None:
    """Report files to the app at the same time, as the host does."""
    with arriving_together(way.pipeline, len(names)):
        await asyncio.gather(*(way.pipeline.submit(name) for name in names))


def outcome_of(way: Way, name: str) -> Outcome | None:
    """Return the outcome of a file's newest version; None if there is none."""
    blob = way.blobs.get_blob_client(way.settings.input_container, name)
    way.name, way.etag = name, blob.get_blob_properties().etag.strip('"')
    return way.outcome()


def statuses(way: Way, names: Iterable[str] = NAMES) -> list[str | None]:
    """Return the status of each file's outcome; None for a file without one."""
    outcomes = [outcome_of(way, name) for name in names]
    return [outcome.status.value if outcome else None for outcome in outcomes]


def codes(way: Way, names: Iterable[str] = NAMES) -> list[list[str]]:
    """Return the codes of the errors in the outcomes of files."""
    outcomes = [outcome_of(way, name) for name in names]
    assert None not in outcomes
    return [[problem.code for problem in outcome.errors] for outcome in outcomes if outcome]


def next_batch(way: Way) -> tuple[bytes, BatchRecord]:
    """Return the body of the next message, which is about a batch, and its record."""
    body = way.message().content.encode()
    message = decode_message(body)
    assert isinstance(message, BatchMessage)
    assert message.record is not None
    return body, message.record


def job_statuses(way: Way, folder: str) -> list[str]:
    """Return the status of the jobs of a folder's files, in the order of their submission."""
    jobs = CLIENT.get(f"{way.ner_emulator}/emulator/jobs").raise_for_status().json()["jobs"]
    return [job["status"] for job in jobs if job["displayName"].startswith(f"{folder}/")]


def members(record: BatchRecord) -> list[str]:
    """Return the names of a batch's files."""
    return sorted(member.source.name for member in record.members)


async def test_files_that_arrive_together_share_a_job(way: Way) -> None:
    """They have one request, one message and one poll; each file gets the outcome of its own text."""
    names = [f"together/{number}.txt" for number in range(12)]
    drop(way, names)
    await submit(way, names)
    body, record = next_batch(way)
    assert members(record) == sorted(names)
    way.end_jobs()
    await way.pipeline.poll(body)
    jobs = set()
    for name in names:
        outcome = outcome_of(way, name)
        assert outcome is not None
        assert outcome.status is OutcomeStatus.SUCCEEDED
        assert [document.id for document in outcome.documents] == [name.rpartition("/")[2]]
        assert outcome.documents[0].entities
        assert outcome.statistics.documents_count == 1
        jobs |= {job.job_id for job in outcome.jobs}
    assert len(jobs) == 1
    assert way.in_flight() == 0
    assert way.queue.get_queue_properties().approximate_message_count == 0


async def test_a_batch_has_as_many_files_as_a_page_of_results(way: Way) -> None:
    """Further files form further batches, and each file is in one of them."""
    names = [f"many/{number:02}.txt" for number in range(50)]
    drop(way, names)
    before = stats(way.ner_emulator)["documentsPerJob"]
    way.switch(jobSeconds=0)
    await submit(way, names)
    await way.poll_until_empty()
    after = stats(way.ner_emulator)["documentsPerJob"]
    counts = {int(count): jobs - before.get(count, 0) for count, jobs in after.items()}
    assert sum(count * jobs for count, jobs in counts.items()) == 50
    assert max(count for count, jobs in counts.items() if jobs) == 20
    assert statuses(way, names) == ["succeeded"] * 50
    assert way.in_flight() == 0


def comparable(outcome: Outcome | None) -> dict[str, Any]:
    """Return an outcome without ids, times and lengths of texts."""
    found: dict[str, Any] = json.loads(msgspec.json.encode(outcome))
    for document in found["documents"]:
        document["statistics"].pop("charactersCount")
    found["jobs"] = [job["status"] for job in found["jobs"]]
    found["source"].pop("etag")
    found["source"].pop("lastModified")
    return found


async def test_outcomes_are_those_of_single_files(way: Way) -> None:
    """With one document or several, in any encoding, with errors or without."""
    lines = [{"id": "a", "text": "Play some jazz."}, {"id": "b", "text": "A table in Bristol.", "language": "xx"}]
    files = {
        "kinds/plain.txt": TEXT,
        "kinds/latin.txt": "Ein Tisch für zwei in Köln, bitte, und zwar für heute Abend.".encode("latin-1"),
        "kinds/long.txt": TEXT * 60,
        "kinds/lines.jsonl": "\n".join(json.dumps(line) for line in lines).encode(),
        "kinds/list.json": json.dumps([{"id": str(number), "text": "Play jazz."} for number in range(5)]).encode(),
        "kinds/other.txt": "Wetter in München 🌦, bitte!".encode(),
    }
    way.switch(jobSeconds=0)
    found: list[list[dict[str, Any]]] = []
    for together in (False, True):
        for way.name, data in files.items():
            way.upload(data + b" " if together else data)
        if together:
            await submit(way, files)
            _, record = next_batch(way)
            assert len(record.members) == len(files)
            way.queue.clear_messages()
            await way.sweep()
        else:
            for name in files:
                await way.pipeline.submit(name)
        await way.poll_until_empty()
        found.append([comparable(outcome_of(way, name)) for name in files])
    for single, shared in zip(*found, strict=True):
        single["source"]["length"] += 1
        assert shared == single


@pytest.mark.parametrize("status", [401, 403, 404, 429, 503])
async def test_files_that_wait_for_the_service_wait_together(status: int, way: Way) -> None:
    """They have one message and, once the service accepts calls, one job."""
    drop(way)
    way.switch(jobSeconds=0, faults=[{"status": status, "method": "POST", "times": 2}])
    before = documents(way.ner_emulator)
    await submit(way)
    body, record = next_batch(way)
    assert (record.kind, members(record)) == (BatchKind.WAITING, list(NAMES))
    await way.pipeline.poll(body)
    assert way.queue.get_queue_properties().approximate_message_count == 1
    await way.poll_until_empty()
    assert statuses(way) == ["succeeded"] * 4
    assert documents(way.ner_emulator) - before == 4
    assert way.in_flight() == 0


@pytest.mark.parametrize("answer", [{"status": 504, "page": True}, {}], ids=["a gateway's", "half of it"])
async def test_an_unanswered_request_is_sent_again_as_a_whole(answer: dict[str, Any], way: Way) -> None:
    """The service may have accepted it, so it may be charged twice, like the request of a single file."""
    drop(way)
    way.switch(jobSeconds=0, faults=[{"method": "POST", "times": 1, "after": True, **answer}])
    before = documents(way.ner_emulator)
    await submit(way)
    await way.poll_until_empty()
    assert statuses(way) == ["succeeded"] * 4
    assert documents(way.ner_emulator) - before == 8


async def test_a_forgotten_job_fails_all_its_files(way: Way) -> None:
    """The job was charged; none of its files is submitted again."""
    drop(way)
    way.switch(jobSeconds=0, retentionSeconds=60)
    await submit(way)
    before = documents(way.ner_emulator)
    way.pass_time(3600)
    await way.poll_until_empty()
    assert statuses(way) == ["failed"] * 4
    assert documents(way.ner_emulator) == before


async def test_files_that_have_waited_too_long_fail_together(way: Way) -> None:
    """Nothing was charged, and each outcome gives the reason."""
    drop(way)
    way.switch(faults=[{"status": 503, "method": "POST"}])
    before = documents(way.ner_emulator)
    await submit(way)
    way.pass_time(way.settings.job_timeout_seconds)
    await way.poll_until_empty()
    assert codes(way) == [["ServiceUnavailable"]] * 4
    assert documents(way.ner_emulator) == before
    assert way.in_flight() == 0


async def test_an_event_that_comes_again_changes_nothing(way: Way) -> None:
    """Events can come again at the same time, while the files wait, while their job runs, and after their outcomes."""
    drop(way)
    way.switch(jobSeconds=3600, faults=[{"status": 503, "method": "POST", "times": 1}])
    before = documents(way.ner_emulator)
    await submit(way, NAMES * 2)
    for kind in (BatchKind.WAITING, BatchKind.JOB):
        await submit(way)
        assert way.queue.get_queue_properties().approximate_message_count == 1
        body, record = next_batch(way)
        assert (record.kind, members(record)) == (kind, list(NAMES))
        if kind is BatchKind.JOB:
            way.end_jobs()
        await way.pipeline.poll(body)
    await submit(way)
    assert way.queue.get_queue_properties().approximate_message_count == 0
    assert statuses(way) == ["succeeded"] * 4
    assert documents(way.ner_emulator) - before == 4
    assert way.in_flight() == 0


async def test_a_message_that_comes_twice_is_one_poll(way: Way) -> None:
    """The host may deliver it to two workers; afterwards, the batch has one message, or its outcomes."""
    drop(way)
    way.switch(jobSeconds=3600)
    await submit(way)
    other = way.another_pipeline(later=timedelta(seconds=1))
    for is_over in (False, True):
        body, _ = next_batch(way)
        if is_over:
            way.end_jobs()
        await asyncio.gather(way.pipeline.poll(body), other.poll(body))
        assert way.queue.get_queue_properties().approximate_message_count == 1 - is_over
    assert statuses(way) == ["succeeded"] * 4
    assert way.in_flight() == 0
    await other.aclose()


@pytest.mark.parametrize("end", ["succeeded", "partiallyCompleted"])
async def test_an_error_of_a_document_is_that_of_its_file(end: str, way: Way) -> None:
    """This does not depend on the status of the job."""
    drop(way, NAMES[:3])
    way.name = "together/odd.jsonl"
    way.upload(b'{"id": "1", "text": "Play.", "language": "xx"}\n{"id": "2", "text": "A table at Blue Heron."}')
    names = [*NAMES[:3], way.name]
    way.switch(jobSeconds=0, jobEnd=end)
    await submit(way, names)
    await way.poll_until_empty()
    assert statuses(way, names) == ["succeeded"] * 3 + ["partiallySucceeded"]
    assert codes(way, names) == [[]] * 3 + [["UnsupportedLanguageCode"]]
    assert way.in_flight() == 0


async def test_a_result_that_is_missing_fails_its_file_alone(
    make_proxied_way: Callable[..., Awaitable[ProxiedWay]],
) -> None:
    """The service reports that the job has succeeded, but returns nothing for one file."""
    way = await make_proxied_way()
    drop(way)
    way.proxies.rule = lambda call: Answer(edit=without_last_document) if call.operation == "Get Job" else None
    await submit(way)
    body, record = next_batch(way)
    await way.pipeline.poll(body)
    last = record.members[-1].source.name
    assert codes(way) == [["MissingResults"] if name == last else [] for name in NAMES]
    assert way.documents() == 4
    assert way.in_flight() == 0
    await way.aclose()


def without_last_document(response: bytes) -> bytes:
    """Return a response of the service without the results of the last document that was sent."""
    head, _, body = response.partition(END_OF_HEAD)
    job = json.loads(body)
    for task in job["tasks"]["items"]:
        found = task["results"]["documents"]
        found.remove(max(found, key=lambda document: str(document["id"])))
    edited = json.dumps(job).encode()
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length:")]
    return b"\r\n".join([*lines, b"content-length: %d" % len(edited), b"", edited])


async def test_files_that_change_while_they_wait_drop_out(way: Way) -> None:
    """A deleted file and a replaced version are not sent. The newer version is sent by its own message."""
    drop(way)
    way.switch(jobSeconds=0, faults=[{"status": 503, "method": "POST", "times": 1}])
    before = documents(way.ner_emulator)
    await submit(way)
    way.blobs.get_blob_client(way.settings.input_container, NAMES[0]).delete_blob()
    way.name = NAMES[1]
    way.upload(b"Play some jazz in Leeds.")
    await way.pipeline.submit(NAMES[1])
    await way.poll_until_empty()
    assert statuses(way, NAMES[1:]) == ["succeeded"] * 3
    assert documents(way.ner_emulator) - before == 3
    await way.sweep()
    assert way.in_flight() == 0


async def test_a_file_that_changes_while_the_job_runs_gets_its_own_outcome(way: Way) -> None:
    """The other files get theirs from the job, which is not cancelled. No outcome is written for the old version."""
    names = [f"changes/{number}.txt" for number in range(4)]
    drop(way, names)
    await submit(way, names)
    way.name = names[1]
    way.upload(b"Play some jazz in Leeds.")
    await way.pipeline.submit(names[1])
    way.end_jobs()
    await way.poll_until_empty()
    assert statuses(way, names) == ["succeeded"] * 4
    outcome = outcome_of(way, names[1])
    assert outcome is not None
    assert "Leeds" in [entity.text for entity in outcome.documents[0].entities]
    assert job_statuses(way, "changes") == ["succeeded"] * 2
    assert way.in_flight() == 0


async def test_a_file_that_is_deleted_while_the_job_runs_gets_its_outcome(way: Way) -> None:
    """Like a single file, because it was charged."""
    drop(way)
    await submit(way)
    blob = way.blobs.get_blob_client(way.settings.input_container, NAMES[1])
    etag = blob.get_blob_properties().etag.strip('"')
    blob.delete_blob()
    way.end_jobs()
    await way.poll_until_empty()
    assert statuses(way, [name for name in NAMES if name != NAMES[1]]) == ["succeeded"] * 3
    way.name, way.etag = NAMES[1], etag
    assert way.outcome() is not None
    assert way.in_flight() == 0


async def test_a_file_that_is_saved_again_takes_over_its_part_of_the_job(way: Way) -> None:
    """The text is the same, so nothing is charged again, and the other files are not delayed."""
    drop(way)
    await submit(way)
    before = documents(way.ner_emulator)
    drop(way, NAMES[2:3])
    await way.pipeline.submit(NAMES[2])
    way.end_jobs()
    await way.poll_until_empty()
    assert statuses(way) == ["succeeded"] * 4
    assert documents(way.ner_emulator) == before
    assert way.in_flight() == 0


async def test_an_outcome_that_cannot_be_written_holds_up_no_other(way: Way) -> None:
    """Another program holds a lease on it. Once the lease is released, the outcome is written."""
    drop(way)
    way.switch(jobSeconds=0)
    blob = way.blobs.get_blob_client(way.settings.results_container, f"{NAMES[1]}.json")
    blob.upload_blob(b"-")
    held = blob.acquire_lease(lease_duration=-1)
    await submit(way)
    body, _ = next_batch(way)
    await way.pipeline.poll(body)
    assert statuses(way) == ["succeeded", None, "succeeded", "succeeded"]
    held.release()
    await way.poll_until_empty()
    assert statuses(way) == ["succeeded"] * 4
    assert way.in_flight() == 0


async def test_files_with_the_longest_names_share_a_job(way: Way) -> None:
    """A batch has only as many such files as fit the record in a message."""
    names = [f"{number:02}{'文' * 960}.txt" for number in range(20)]
    for way.name in names:
        way.upload(f"{TEXT.decode()} {way.name[:3]}".encode())
    before = documents(way.ner_emulator)
    way.switch(jobSeconds=0)
    await submit(way, names)
    messages = [decode_message(message.content) for message in way.queue.peek_messages(max_messages=32)]
    assert all(isinstance(message, BatchMessage) and message.record for message in messages)
    assert len(messages) < 4
    await way.poll_until_empty()
    assert statuses(way, names) == ["succeeded"] * 20
    assert documents(way.ner_emulator) - before == 20
    assert way.in_flight() == 0


async def test_files_that_are_saved_again_together_take_over_their_job(way: Way) -> None:
    """Each changes the record of the batch, and no file is charged again or lost."""
    names = [f"again/{number:02}.txt" for number in range(20)]
    drop(way, names)
    await submit(way, names)
    before = documents(way.ner_emulator)
    drop(way, names)
    await submit(way, names)
    way.end_jobs()
    await way.poll_until_empty()
    assert statuses(way, names) == ["succeeded"] * 20
    assert documents(way.ner_emulator) == before
    assert way.in_flight() == 0


async def test_small_files_of_several_documents_share_requests(way: Way) -> None:
    """The documents of a file are counted after it has its seat; a file that does not fit goes with the next batch."""
    line = json.dumps({"id": "{}", "text": "Play jazz."})
    names = [f"lines/{number:02}.jsonl" for number in range(12)]
    for way.name in names:
        way.upload("\n".join(line.replace("{}", f"{way.name} {number}") for number in range(5)).encode())
    way.switch(jobSeconds=0)
    before = stats(way.ner_emulator)["documentsPerJob"]
    await submit(way, names)
    await way.poll_until_empty()
    after = stats(way.ner_emulator)["documentsPerJob"]
    counts = {int(count): jobs - before.get(count, 0) for count, jobs in after.items()}
    assert sum(count * jobs for count, jobs in counts.items()) == 60
    assert sum(counts.values()) <= 6
    assert statuses(way, names) == ["succeeded"] * 12


async def test_a_version_that_is_replaced_before_its_batch_leaves_is_not_sent(way: Way) -> None:
    """The newer version takes over the claim and joins the batch instead."""
    gate = way.pipeline.services.gate
    gate.window = lambda: 60.0
    way.switch(jobSeconds=0)
    drop(way)
    before = documents(way.ner_emulator)
    first = asyncio.create_task(submit(way))
    while not any(len(group.files) == len(NAMES) for group in gate.forming):
        await asyncio.sleep(0.01)
    (group,) = gate.forming
    way.name = NAMES[0]
    way.upload(b"Play some jazz in Leeds.")
    newer = asyncio.create_task(way.pipeline.submit(NAMES[0]))
    while not any(file.member.source.etag == way.etag for file in group.files):
        await asyncio.sleep(0.01)
    group.leave()
    await asyncio.gather(first, newer)
    await way.poll_until_empty()
    assert statuses(way) == ["succeeded"] * 4
    assert documents(way.ner_emulator) - before == 4
    assert way.in_flight() == 0


async def test_a_file_that_cannot_be_read_does_not_hold_up_its_batch(way: Way) -> None:
    """For instance, it was moved to the archive tier. The other files are sent immediately, each alone."""
    drop(way)
    way.switch(jobSeconds=0, faults=[{"status": 503, "method": "POST", "times": 1}])
    await submit(way)

    async def refuse() -> None:
        raise HttpResponseError("refused by the test")

    body, _ = next_batch(way)
    with before_blob_call("download_blob", f"{way.settings.input_container}/{NAMES[0]}", refuse):
        await way.pipeline.poll(body)
    await way.poll_until_empty()
    assert statuses(way) == ["succeeded"] * 4


async def test_a_batch_that_the_service_fails_to_accept_for_long_is_dissolved(way: Way) -> None:
    """One of its texts may be the cause, and must not delay the other files for a day."""
    drop(way)
    way.switch(jobSeconds=0, faults=[{"status": 500, "method": "POST"}])
    await submit(way)
    begun = way.now()
    body, record = next_batch(way)
    while way.now() - begun < timedelta(hours=1):
        assert len(record.members) == len(NAMES)
        await way.pipeline.poll(body)
        message = decode_message(body := way.message().content.encode())
        if isinstance(message, FileMessage):
            break
        assert message.record is not None
        record = message.record
    way.switch(jobSeconds=0, refusedMarker=NAMES[0])
    await way.pipeline.poll(body)
    await way.poll_until_empty()
    assert sorted(map(str, statuses(way))) == ["failed", *["succeeded"] * 3]
