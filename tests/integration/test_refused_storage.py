"""Calls that storage refuses are not taken for workers that died, and what was paid waits for as long as it takes."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import pytest
from azure.storage.blob import BlobLeaseClient

from shared.message import FileMessage, encode_message
from shared.outcome import OutcomeStatus
from shared.pipeline.running import RefusedError
from shared.state.claim import CLAIMS, MAX_TRIES
from tests.calls import before_blob_call, refuse
from tests.integration.conftest import TEXT, ProxiedWay, Way
from tests.integration.test_many_jobs import lines, state_blobs
from tests.proxy import Call, passing
from tests.refusals import MAX_IN_A_WINDOW, WINDOW_SECONDS

FILES = pytest.mark.parametrize(
    ("name", "data"), [("one.txt", TEXT), ("many.jsonl", lines(60))], ids=["one job", "many jobs"]
)


async def die() -> None:
    """Be a worker whose process ends."""
    raise asyncio.CancelledError


async def take_over(way: Way) -> None:
    """Let the sweep find the file, and hand over its message."""
    assert (await way.sweep()).missing == 1
    await way.pipeline.poll(way.message().content.encode())


async def test_refusals_before_a_submission_are_no_deaths(way: Way) -> None:
    """More of them between the claim and the submission than workers may die: the file still succeeds."""
    await way.pipeline.sweep()
    way.name = "refused-after-its-claim.txt"
    way.switch(jobSeconds=0)
    way.upload()
    looks = f"{way.settings.results_container}/"
    with before_blob_call("get_blob_properties", looks, refuse, times=MAX_TRIES + 2) as refused:
        await way.pipeline.poll(encode_message(FileMessage(file=way.name)).encode())
        assert way.in_flight() == 0, "the claim was not given back"
        for _ in range(MAX_TRIES + 1):
            await take_over(way)
        assert len(refused) == MAX_TRIES + 2
    await take_over(way)
    assert (await way.poll_until_outcome()).status is OutcomeStatus.SUCCEEDED
    assert way.submissions() == 1


@pytest.mark.parametrize("deaths", [1, MAX_TRIES])
async def test_refusals_after_a_death_are_no_deaths_but_the_death_is_one(deaths: int, way: Way) -> None:
    """A worker dies, and storage refuses the next one, again and again: only the deaths count."""
    await way.pipeline.sweep()
    way.name = f"refused-and-dead-{deaths}.txt"
    way.switch(jobSeconds=0)
    way.upload()
    results = f"{way.settings.results_container}/"
    body = encode_message(FileMessage(file=way.name)).encode()
    for _ in range(deaths):
        with before_blob_call("get_blob_properties", results, die), pytest.raises(asyncio.CancelledError):
            await way.pipeline.poll(body)
        for _ in range(1 if deaths > 1 else MAX_TRIES):
            with before_blob_call("get_blob_properties", results, refuse):
                await take_over(way)
        assert (await way.sweep()).missing == 1
        body = way.message().content.encode()
    await way.pipeline.poll(body)
    outcome = await way.poll_until_there()
    assert [problem.code for problem in outcome.errors] == (["ProcessingFailed"] if deaths == MAX_TRIES else [])
    assert way.submissions() == int(deaths < MAX_TRIES)


@FILES
async def test_a_paid_job_waits_past_the_deadline_for_storage(name: str, data: bytes, way: Way) -> None:
    """NER_JOB_TIMEOUT_SECONDS is for jobs that do not end, and for texts that are not submitted."""
    way.name = f"paid-{name}"
    way.switch(jobSeconds=0, retentionSeconds=1e9)
    await way.submit(data)
    paid = way.submissions()
    results = f"{way.settings.results_container}/"
    for later in (0.5, 1, 2):
        way.later = timedelta(seconds=later * way.settings.job_timeout_seconds)
        body = way.message().content.encode()
        with before_blob_call("upload_blob", results, refuse):
            await way.pipeline.poll(body)
        assert way.outcome() is None
        assert way.queue.get_queue_properties().approximate_message_count == 1
    outcome = await way.poll_until_outcome()
    assert outcome.status is OutcomeStatus.SUCCEEDED
    assert way.submissions() == paid


@FILES
async def test_a_text_that_storage_refuses_until_the_deadline_fails(name: str, data: bytes, way: Way) -> None:
    """Nothing was paid, and the outcome says whose fault it is."""
    way.name = f"unpaid-{name}"
    way.switch(faults=[{"status": 503, "method": "POST", "times": 1}])
    await way.submit(data)
    inputs = f"{way.settings.input_container}/"
    for later in (0.1, 0.5, 0.99):
        body = way.message().content.encode()
        way.later = timedelta(seconds=later * way.settings.job_timeout_seconds)
        with before_blob_call("download_blob", inputs, refuse, times=None):
            await way.pipeline.poll(body)
        assert way.outcome() is None
    body = way.message().content.encode()
    way.later = timedelta(seconds=way.settings.job_timeout_seconds)
    with before_blob_call("download_blob", inputs, refuse, times=None):
        await way.pipeline.poll(body)
    outcome = way.outcome()
    assert outcome is not None
    assert outcome.status is OutcomeStatus.FAILED
    assert [problem.code for problem in outcome.errors] == ["StorageUnavailable"]
    assert way.submissions() == way.in_flight() == 0


def lease(way: Way, blob: str) -> BlobLeaseClient:
    """Take a lease without end on a blob of the app's own, as a backup program may."""
    found = way.blobs.get_blob_client(way.settings.state_container, blob)
    return found.acquire_lease(lease_duration=-1)


async def poll_refused(way: Way) -> bytes:
    """Hand over a message that the app cannot do anything about; return it, since the host hands it over again."""
    body = str(way.message().content).encode()
    with pytest.raises(RefusedError, match="LeaseIdMissing"):
        await way.pipeline.poll(body)
    return body


@FILES
async def test_a_file_with_a_leased_claim_ends_once_the_lease_is_gone(
    name: str, data: bytes, way: Way, caplog: pytest.LogCaptureFixture
) -> None:
    """Its outcome is there, and its claim cannot be released: that is tried again, and nothing is paid again."""
    way.name = f"leased-claim-{name}"
    way.switch(jobSeconds=0)
    await way.submit(data)
    paid = way.submissions()
    claim = f"{CLAIMS}{way.name}.json"
    held = lease(way, claim)
    outcome = await way.poll_until_there()
    for _ in range(2):
        await way.pipeline.poll(way.message().content.encode())
    assert way.queue.get_queue_properties().approximate_message_count == 1
    assert [line for line in caplog.messages if "LeaseIdMissing" in line and claim in line]
    held.release()
    assert await way.poll_until_outcome() == outcome
    assert outcome.status is OutcomeStatus.SUCCEEDED
    assert way.submissions() == paid


@pytest.mark.parametrize("kind", ["event", "message"])
async def test_a_leased_claim_is_taken_over_once_the_lease_is_gone(kind: str, way: Way) -> None:
    """It is an older version's, or a dead worker's: the file waits, and is paid once in the end."""
    await way.pipeline.sweep()
    way.name = f"leased-claim-of-another-{kind}.txt"
    way.switch(jobSeconds=0)
    way.upload()
    with (
        before_blob_call("get_blob_properties", f"{way.settings.results_container}/", die),
        pytest.raises(asyncio.CancelledError),
    ):
        await way.pipeline.submit(way.name)
    held = lease(way, f"{CLAIMS}{way.name}.json")
    if kind == "event":
        way.upload(TEXT + b" Newer.")
        await way.pipeline.submit(way.name)
    else:
        assert (await way.sweep()).missing == 1
    await way.pipeline.poll(way.message().content.encode())
    assert way.submissions() == 0
    held.release()
    await take_over(way)
    assert (await way.poll_until_there()).status is OutcomeStatus.SUCCEEDED
    assert way.submissions() == 1


@pytest.mark.parametrize("finds", ["host", "sweep"])
@pytest.mark.parametrize("state", ["waiting", "job", "ledger"])
async def test_a_file_with_a_leased_record_goes_on_once_the_lease_is_gone(state: str, finds: str, way: Way) -> None:
    """The host hands its message over again; if it has given the message up, the sweep sends another one."""
    await way.pipeline.sweep()
    way.name = f"leased-record-{state}-{finds}.jsonl"
    way.switch(jobSeconds=10**5, faults=[{"status": 503, "method": "POST", "times": 1}] if state == "waiting" else [])
    await way.submit(lines(60) if state == "ledger" else lines(1))
    paid = way.submissions()
    (record,) = [blob for blob in state_blobs(way, ".json") if not blob.startswith((CLAIMS, "app/"))]
    held = lease(way, record)
    body = await poll_refused(way)
    assert way.submissions() == paid
    assert way.outcome() is None
    held.release()
    if finds == "host":
        await way.pipeline.poll(body, comes_again=True)
    else:
        assert (await way.sweep()).revived == 1
    way.switch(jobSeconds=0)
    way.end_jobs()
    assert (await way.poll_until_outcome()).status is OutcomeStatus.SUCCEEDED
    assert way.submissions() == (paid or 1)


async def test_an_outcome_that_is_leased_is_replaced_once_the_lease_is_gone(
    make_proxied_way: Callable[..., Awaitable[ProxiedWay]],
    sample_values: dict[str, str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The newer version's job is paid once, and meanwhile its outcome is tried a few times, each named in the log."""
    way = await make_proxied_way(NER_POLL_MIN_SECONDS=sample_values["NER_POLL_MIN_SECONDS"])
    assert (way.settings.poll_min_seconds, way.settings.poll_max_seconds) == (2, 60)
    way.name = "leased-outcome.txt"
    await way.submit()
    await way.poll_until_outcome()
    outcome = f"{way.name}.json"
    held = way.blobs.get_blob_client(way.settings.results_container, outcome).acquire_lease(lease_duration=-1)
    writes: list[datetime] = []

    def watch(call: Call) -> None:
        if call.operation == "Put Blob" and call.blob == outcome:
            writes.append(way.now())

    way.proxies.rule = watch
    passing.set(way.pass_time)
    await way.submit(TEXT + b" Newer.")
    while not writes or way.now() - writes[0] < timedelta(seconds=WINDOW_SECONDS):
        assert way.outcome() is None
        assert len(writes) <= MAX_IN_A_WINDOW
        await way.pipeline.poll(way.message().content.encode())
    assert len(writes) >= 2
    (refused, *_) = [line for line in caplog.messages if "LeaseIdMissing" in line]
    assert f"/{way.settings.results_container}/{outcome}'" in refused
    held.release()
    assert (await way.poll_until_outcome()).status is OutcomeStatus.SUCCEEDED
    assert way.submissions() == 2
    await way.aclose()
