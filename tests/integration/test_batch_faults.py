"""Faults of files that share a job, and their effects on the other files."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import httpx
import msgspec
import pytest
from azure.core.exceptions import HttpResponseError

from shared.merging import place_of
from shared.message import BatchMessage, decode_message, encode_message
from shared.ner.model import DocumentResult, Job, JobStatus, Problem
from shared.pipeline.running import RefusedError
from tests.calls import after_submission, before_blob_call, refuse
from tests.emulator import documents, stats
from tests.integration.conftest import TEXT, Way
from tests.integration.test_batches import NAMES, drop, members, next_batch, outcome_of, statuses, submit
from tests.unit.test_shares import parts_of

MARKER = b"together/2.txt"
"""Only the text of the bad file contains this."""
BAD, GOOD = NAMES[1], (NAMES[0], NAMES[2], NAMES[3])


@contextmanager
def service_answers(answer: Callable[[httpx.Request], httpx.Response | None]) -> Iterator[None]:
    """Replace the service's responses to some calls, or raise an exception instead."""
    original = httpx.AsyncHTTPTransport.handle_async_request

    async def call(transport: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        return answer(request) or await original(transport, request)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", call)
        yield


def is_bad(request: httpx.Request) -> bool:
    """Return whether a call submits the bad file, alone or with others."""
    return request.method == "POST" and MARKER in request.content


async def drain(way: Way, steps: int = 100) -> None:
    """Process messages until the queue is empty, or for this many steps."""
    for _ in range(steps):
        if not way.queue.get_queue_properties().approximate_message_count:
            return
        with suppress(RefusedError):
            await way.pipeline.poll(way.message().content.encode())


def failing(request: httpx.Request) -> httpx.Response | None:
    """Respond like a service that fails each time it gets the bad text."""
    error = {"error": {"code": "InternalServerError", "message": "It failed."}}
    return httpx.Response(500, json=error) if is_bad(request) else None


def silent(request: httpx.Request) -> httpx.Response | None:
    """Respond like a service that breaks the connection each time it gets the bad text."""
    if is_bad(request):
        raise httpx.ReadError("cut by the test", request=request)
    return None


@pytest.mark.parametrize("answer", [failing, silent])
async def test_a_text_at_which_the_service_fails_each_time_fails_alone(
    answer: Callable[[httpx.Request], httpx.Response | None], way: Way
) -> None:
    """With an error of the server, or without a response. The other files get their outcomes."""
    drop(way)
    way.switch(jobSeconds=0)
    with service_answers(answer):
        await submit(way)
        for _ in range(12):
            await drain(way, 8)
            way.pass_time(4 * 3600)
        await drain(way)
    assert statuses(way) == ["succeeded", "failed", "succeeded", "succeeded"]


async def test_an_upload_that_cannot_be_read_again_holds_up_no_other(way: Way) -> None:
    """For instance, it was archived while the batch waited for the service."""
    drop(way)
    way.switch(jobSeconds=0, faults=[{"status": 503, "method": "POST", "times": 1}])
    await submit(way)

    async def be_archived() -> None:
        error = HttpResponseError("This operation is not permitted on an archived blob.")
        error.status_code = 409
        raise error

    with before_blob_call("download_blob", f"{way.settings.input_container}/", be_archived, times=None, ending=BAD):
        for _ in range(12):
            await drain(way, 8)
            way.pass_time(4 * 3600)
    assert statuses(way, GOOD) == ["succeeded"] * 3


def test_an_error_of_a_job_is_not_lost_if_all_documents_have_results() -> None:
    """The service reports that the job is not complete, so no file may count as succeeded."""
    problem = Problem("PartialFailure", "Some entities could not be extracted.")
    results = [DocumentResult("00:a.txt", []), DocumentResult("01:b.txt", [])]
    job = Job("id", JobStatus.PARTIALLY_SUCCEEDED, documents=results, problems=[problem])
    assert [(part.status, part.problems) for part in parts_of(job, [1, 1])] == [
        (JobStatus.PARTIALLY_SUCCEEDED, [problem])
    ] * 2


async def test_a_job_that_cannot_be_recorded_is_not_lost_if_the_names_are_long(way: Way) -> None:
    """Its message carries it, although its record is longer than a message."""
    names = [f"{number:02}{'文' * 960}.txt" for number in range(20)]
    for way.name in names:
        way.upload(f"{TEXT.decode()} {way.name[:3]}".encode())
    way.switch(jobSeconds=0)
    before = documents(way.ner_emulator)
    with before_blob_call("upload_blob", f"{way.settings.state_container}/batches/", refuse, times=4):
        await submit(way, names)
    body = way.message().content.encode()
    message = decode_message(body)
    assert isinstance(message, BatchMessage)
    await way.pipeline.poll(body)
    await drain(way)
    await way.sweep()
    await drain(way)
    assert statuses(way, names) == ["succeeded"] * 20
    assert documents(way.ner_emulator) - before == 20


async def test_files_are_submitted_within_a_short_time_limit_while_the_service_throttles(
    make_way: Callable[..., Way],
) -> None:
    """The window in which a batch waits for more files is shorter than the time that an invocation has."""
    way = make_way(NER_SUBMIT_TIMEOUT_SECONDS="2")
    way.switch(jobSeconds=0)
    drop(way)
    way.pipeline.services.delays.throttle(0.0)
    try:
        await submit(way)
        next_batch(way)
    finally:
        await way.pipeline.aclose()


async def test_an_outcome_is_written_once_although_a_neighbour_cannot_be_written(way: Way) -> None:
    """A consumer has taken it away in the meantime. It is not written again."""
    drop(way)
    way.switch(jobSeconds=0)
    blob = way.blobs.get_blob_client(way.settings.results_container, f"{BAD}.json")
    blob.upload_blob(b"-")
    held = blob.acquire_lease(lease_duration=-1)
    await submit(way)
    await way.pipeline.poll(way.message().content.encode())
    assert statuses(way) == ["succeeded", None, "succeeded", "succeeded"]
    way.blobs.get_blob_client(way.settings.results_container, f"{NAMES[0]}.json").delete_blob()
    await way.pipeline.poll(way.message().content.encode())
    assert statuses(way) == [None, None, "succeeded", "succeeded"]
    held.release()


def test_a_result_that_comes_twice_is_charged_once() -> None:
    """For instance, because two pages overlap."""
    charged = [DocumentResult(f"0{n}:{n}", [], statistics={"transactionsCount": 1}) for n in (0, 1, 1)]
    parts = parts_of(Job("id", JobStatus.SUCCEEDED, documents=charged), [1, 1])
    assert [part.statistics and part.statistics.transactions_count for part in parts] == [1, 1]


async def test_a_file_that_is_saved_again_while_its_batch_waits_for_more_is_sent_once(way: Way) -> None:
    """The first version had not been sent when the same text came again."""
    way.switch(jobSeconds=0)
    way.pipeline.services.gate.window = lambda: 0.5
    before = documents(way.ner_emulator)
    way.upload()
    gate = way.pipeline.services.gate
    first = asyncio.create_task(way.pipeline.submit(way.name))
    while gate.next is None or not gate.next.files:
        await asyncio.sleep(0.001)
    way.upload()
    await asyncio.gather(first, way.pipeline.submit(way.name))
    await drain(way)
    assert statuses(way, [way.name]) == ["succeeded"]
    assert documents(way.ner_emulator) - before == 1


async def test_a_storage_refusal_is_no_reason_to_dissolve_a_batch_that_waits(way: Way) -> None:
    """No worker has died: each has reported that it could not process the message."""
    drop(way)
    way.switch(jobSeconds=0, faults=[{"status": 503, "method": "POST", "times": 1}])
    await submit(way)
    body, _ = next_batch(way)
    calls = stats(way.ner_emulator)["calls"]
    before = sum(count for call, count in calls.items() if call.startswith("POST "))
    records = f"{way.settings.state_container}/batches/"
    with before_blob_call("upload_blob", records, refuse, times=8), pytest.raises(RefusedError):
        await way.pipeline.poll(body)
    await way.pipeline.poll(body, comes_again=True)
    await drain(way)
    await way.sweep()
    await drain(way)
    assert statuses(way) == ["succeeded"] * 4
    calls = stats(way.ner_emulator)["calls"]
    assert sum(count for call, count in calls.items() if call.startswith("POST ")) - before == 1


def test_an_id_of_many_digits_is_none_that_was_sent() -> None:
    """By default, Python converts at most 4,300 digits to an integer."""
    assert place_of("1" * 5000 + ":x", 2)[0] is None


@pytest.mark.parametrize("names", [NAMES[:1], NAMES], ids=["alone", "together"])
async def test_a_file_that_was_deleted_gets_the_outcome_of_a_failed_job(names: tuple[str, ...], way: Way) -> None:
    """The file was deleted after its submission, so it still gets its outcome."""
    drop(way, names)
    way.switch(jobSeconds=0, jobEnd="failed")
    await submit(way, names)
    way.blobs.get_blob_client(way.settings.input_container, names[0]).delete_blob()
    await drain(way)
    await way.sweep()
    await drain(way)
    outcome = way.blobs.get_blob_client(way.settings.results_container, f"{names[0]}.json")
    assert outcome.exists()
    assert outcome.get_blob_properties().metadata["status"] == "failed"


async def test_the_documents_of_a_file_are_counted_when_it_is_read_again(way: Way) -> None:
    """Another version of the app, whose limits were others, may have written the record of a batch that waits."""
    lines = [{"id": "one", "text": "Play jazz in Leeds."}, {"id": "two", "text": "Play jazz in Bristol."}]
    files = {"counts/a.jsonl": "\n".join(json.dumps(line) for line in lines).encode(), "counts/b.txt": TEXT}
    for way.name, data in files.items():
        way.upload(data)
    way.switch(jobSeconds=0, faults=[{"status": 503, "method": "POST", "times": 1}])
    await submit(way, files)
    message = decode_message(way.message().content)
    assert isinstance(message, BatchMessage)
    assert message.record is not None
    known = sorted(message.record.members, key=lambda member: member.source.name)
    members = [msgspec.structs.replace(member, documents_count=1) for member in known]
    record = msgspec.structs.replace(message.record, members=members)
    await way.pipeline.poll(encode_message(msgspec.structs.replace(message, record=record)).encode())
    await drain(way)
    found = [outcome_of(way, name) for name in files]
    assert [[document.id for document in outcome.documents] if outcome else None for outcome in found] == [
        ["one", "two"],
        ["b.txt"],
    ]


@pytest.mark.usefixtures("_usual_gate")
async def test_an_old_claim_of_a_late_file_does_not_void_the_batch_of_others(way: Way) -> None:
    """It renews its claim for the next batch, so that claim is as new as those of the other files."""
    drop(way)
    way.switch(jobSeconds=0)
    before = documents(way.ner_emulator)
    way.pipeline.services.gate.window = lambda: 0.2
    claim, other = f"{way.settings.state_container}/claims/", way.another_pipeline()
    has_been_claimed = asyncio.Event()

    async def take_long() -> None:
        while way.queue.get_queue_properties().approximate_message_count == 0:  # its batch has left
            await asyncio.sleep(0.05)
        way.pass_time(0.7 * way.settings.submit_timeout_seconds)
        has_been_claimed.set()

    async def look_again() -> None:
        """Report the file again, like the host or the sweep, while the service is slow to respond."""
        way.pass_time(0.4 * way.settings.submit_timeout_seconds)
        await other.submit(BAD)

    async def submit_later(name: str) -> None:
        await has_been_claimed.wait()
        with after_submission(look_again):
            await way.pipeline.submit(name)

    with before_blob_call("upload_blob", claim, take_long, ending=f"{BAD}.json"):
        await asyncio.gather(
            way.pipeline.submit(BAD), way.pipeline.submit(GOOD[0]), *(submit_later(name) for name in GOOD[1:2])
        )
    await way.pipeline.submit(GOOD[2])
    await other.aclose()
    for _ in range(2):
        await drain(way)
        await way.sweep()
    await drain(way)
    assert statuses(way) == ["succeeded"] * 4
    assert documents(way.ner_emulator) - before == 4


async def test_a_slow_claim_of_a_file_that_is_saved_again_holds_up_no_other(way: Way) -> None:
    """Both versions take over their parts of the running job."""
    drop(way)
    await submit(way)
    drop(way, NAMES[1:3])
    hangs, held, writes = asyncio.Event(), asyncio.Event(), 0

    async def hang_at_the_second() -> None:
        """The first write finds the old claim; the second one takes it over."""
        nonlocal writes
        writes += 1
        if writes == 2:
            hangs.set()
            await held.wait()

    claims = f"{way.settings.state_container}/claims/"
    with before_blob_call("upload_blob", claims, hang_at_the_second, times=None, ending=f"{BAD}.json"):
        slow = asyncio.create_task(way.pipeline.submit(BAD))
        await hangs.wait()
        quick = asyncio.create_task(way.pipeline.submit(NAMES[2]))
        done, _ = await asyncio.wait([quick], timeout=3.0)
        held.set()
        await asyncio.gather(slow, quick)
    assert done == {quick}


async def test_a_text_at_which_the_service_fails_fails_alone_within_a_short_time_limit(
    make_way: Callable[..., Way],
) -> None:
    """NER_JOB_TIMEOUT_SECONDS may be less than an hour."""
    way = make_way(NER_JOB_TIMEOUT_SECONDS="1800")
    drop(way)
    way.switch(jobSeconds=0)
    try:
        with service_answers(failing):
            await submit(way)
            await drain(way, 400)
        assert statuses(way) == ["succeeded", "failed", "succeeded", "succeeded"]
    finally:
        await way.pipeline.aclose()


async def test_a_job_that_never_ends_because_of_one_text_fails_that_file_alone(way: Way) -> None:
    """The other files are submitted again without it."""
    drop(way)
    way.switch(jobSeconds=0)
    stuck: set[str] = set()
    original = httpx.AsyncHTTPTransport.handle_async_request

    async def call(transport: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        response = await original(transport, request)
        if is_bad(request) and response.status_code == 202:
            stuck.add(response.headers["operation-location"].partition("?")[0].rpartition("/")[2])
        if request.method == "GET" and (job := request.url.path.rpartition("/")[2]) in stuck:
            await response.aread()
            now = "2026-01-01T00:00:00Z"
            running = {"jobId": job, "status": "running", "createdDateTime": now, "lastUpdatedDateTime": now}
            return httpx.Response(200, json={**running, "tasks": {}})
        return response

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", call)
        await submit(way)
        for _ in range(3000):
            if not way.queue.get_queue_properties().approximate_message_count:
                break
            body = way.message().content.encode()
            message = decode_message(body)
            await way.pipeline.poll(body)
            names = members(message.record) if isinstance(message, BatchMessage) and message.record else []
            way.pass_time(6 * 3600 if BAD in names else 0)
    assert statuses(way) == ["succeeded", "failed", "succeeded", "succeeded"]
