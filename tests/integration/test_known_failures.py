"""What went wrong in other apps of this shape, by their own issues and code: each is a test here.

Most are of pipelines that submit documents to an asynchronous service and poll for the results.
"""

import ast
import asyncio
import json
import logging
from collections.abc import Callable
from datetime import timedelta

import pytest

from local.install import ROOT
from shared.outcome import OutcomeStatus
from shared.settings import Settings, SettingsError
from shared.state.claim import MAX_TRIES
from tests.calls import after_submission, before_blob_call
from tests.emulator import documents
from tests.integration.conftest import TEXT, Way
from tests.integration.test_many_jobs import lines

SHARED = sorted((ROOT / "shared").rglob("*.py"))


async def test_a_throttled_submission_gives_up_at_its_deadline_and_waits_longer_each_time(way: Way) -> None:
    """Elsewhere a counter was read under one name and written under another: it went on for ever, at one pace."""
    way.name = "throttled-for-ever.txt"
    way.switch(faults=[{"status": 429, "method": "POST"}])
    await way.submit()
    delays = []
    for waited in (10, 100, 1000):
        body = way.message().content.encode()
        way.later = timedelta(seconds=waited)
        polled = way.now()
        await way.pipeline.poll(body)
        message = way.received()
        delays.append((way.now() - polled).total_seconds())
        way.hidden.append(message)
    assert delays[0] < 10
    assert min(delays[1:]) >= 25
    way.later = timedelta(seconds=way.settings.job_timeout_seconds + 1)
    outcome = await way.poll_until_outcome()
    assert [problem.code for problem in outcome.errors] == ["TooManyRequests"]
    assert way.submissions() == 0


async def test_the_limit_that_is_named_is_the_limit_that_counts(make_way: Callable[..., Way]) -> None:
    """Elsewhere the log named one setting and the code used another."""
    way = make_way(NER_JOB_TIMEOUT_SECONDS="100")
    way.switch(jobEnd="never")
    await way.submit()
    body = way.message().content.encode()
    way.later = timedelta(seconds=90)
    await way.pipeline.poll(body)
    assert way.outcome() is None
    way.queue.clear_messages()
    way.later = timedelta(seconds=101)
    await way.pipeline.poll(body)
    outcome = way.outcome()
    assert outcome is not None
    assert "NER_JOB_TIMEOUT_SECONDS" in outcome.errors[0].message
    await way.pipeline.aclose()


@pytest.mark.parametrize("end", ["failed", "cancelled", "partiallyCompleted"])
async def test_no_status_of_a_job_submits_its_file_again(end: str, make_way: Callable[..., Way]) -> None:
    """Elsewhere every status but two was unexpected, notStarted among them: the file was sent and paid again."""
    way = make_way(NER_POLL_MAX_SECONDS="1")
    way.name = f"status-{end}.txt"
    way.switch(jobSeconds=1000, jobEnd=end)
    await way.submit()
    await way.pipeline.poll(way.message().content.encode())
    assert way.outcome() is None, "a job that is not started yet is waited for"
    way.end_jobs()
    outcome = await way.poll_until_outcome()
    assert outcome.status is not OutcomeStatus.SUCCEEDED
    assert way.submissions() == 1
    await way.pipeline.aclose()


async def test_what_nobody_foresaw_is_raised_and_the_message_stays(way: Way) -> None:
    """Elsewhere a handler of all exceptions swallowed them, or failed itself: the message was lost without poison."""

    async def fail() -> None:
        raise ZeroDivisionError

    way.switch(jobSeconds=0)
    await way.submit()
    body = way.message().content.encode()
    with (
        before_blob_call("upload_blob", f"{way.settings.results_container}/", fail),
        pytest.raises(ZeroDivisionError),
    ):
        await way.pipeline.poll(body)
    await way.pipeline.poll(body)
    assert (await way.poll_until_outcome()).status is OutcomeStatus.SUCCEEDED


def test_no_handler_takes_all_exceptions() -> None:
    """Nor a bare `except`: what is caught is named."""
    for path in SHARED:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ExceptHandler):
                assert node.type is not None, path
                assert ast.unparse(node.type) not in ("Exception", "BaseException"), path


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408, 429])
async def test_a_server_error_of_a_poll_is_not_the_end(status: int, way: Way) -> None:
    """Elsewhere one 5xx ended the file, and Retry-After was never read."""
    way.name = f"poll-{status}.txt"
    await way.submit()
    way.switch(jobSeconds=0, faults=[{"status": status, "method": "GET", "times": 2, "retryAfter": 2}])
    body = way.message().content.encode()
    asked = way.now()
    await way.pipeline.poll(body)
    again = way.message().content.encode()
    assert way.now() - asked >= timedelta(seconds=2)
    await way.pipeline.poll(again)
    assert (await way.poll_until_outcome()).status is OutcomeStatus.SUCCEEDED
    assert way.submissions() == 1


async def test_one_upload_is_one_submission_however_many_events(way: Way) -> None:
    """Elsewhere one upload became three to six paid runs: events without a name to tell them apart."""
    way.name = "six-events.txt"
    way.upload()
    await asyncio.gather(*(way.pipeline.submit(way.name) for _ in range(6)))
    outcome = await way.poll_until_outcome()
    for _ in range(6):
        await way.pipeline.submit(way.name)
    assert way.submissions() == 1
    assert way.outcome() == outcome


def test_settings_are_read_in_one_place_and_complain_all_at_once() -> None:
    """Elsewhere thirty variables were read while modules were imported, and failed one by one."""
    with pytest.raises(SettingsError) as caught:
        Settings.from_environ({})
    assert len(caught.value.problems) >= 3
    readers = [path.name for path in SHARED if "environ[" in path.read_text() or "os.environ" in path.read_text()]
    assert readers == []


async def test_one_client_serves_all_messages(way: Way) -> None:
    """Elsewhere each message that was sent made a client of its own."""
    services = way.pipeline.services
    client, http = services.queue.client, services.ner.http
    for _ in range(3):
        await way.submit()
        await way.poll_until_outcome()
    assert way.pipeline.services is services
    assert services.queue.client is client
    assert services.ner.http is http
    assert not http.is_closed


async def test_a_type_that_is_not_supported_is_said_to_the_uploader(way: Way) -> None:
    """Elsewhere it was `skipped` in a log that no uploader sees."""
    way.name = "picture.png"
    await way.submit(b"\x89PNG")
    outcome = way.outcome()
    assert outcome is not None
    assert outcome.status is OutcomeStatus.FAILED
    assert outcome.errors[0].message


@pytest.mark.parametrize("end", ["failed", "cancelled"])
async def test_a_failed_job_is_never_a_success(end: str, way: Way) -> None:
    """Elsewhere the status was read and not looked at, or throttling was taken for an empty result."""
    way.switch(jobSeconds=0, jobEnd=end)
    await way.submit()
    outcome = await way.poll_until_outcome()
    assert outcome.status is OutcomeStatus.FAILED
    assert outcome.errors


async def test_throttling_while_results_are_read_is_never_a_success_without_them(way: Way) -> None:
    """Elsewhere the pages that were refused were missing, and the file was done."""
    way.name = "pages.jsonl"
    way.switch(jobSeconds=0, pageSize=1)
    await way.submit(lines(20))
    way.switch(
        jobSeconds=0, pageSize=1, faults=[{"status": 429, "method": "GET", "share": 0.2, "times": 5, "retryAfter": 1}]
    )
    outcome = await way.poll_until_outcome()
    assert outcome.status is OutcomeStatus.SUCCEEDED
    assert [document.id for document in outcome.documents] == [f"doc {number}" for number in range(20)]


def test_nothing_sleeps() -> None:
    """Elsewhere a function slept five seconds for each page of results, and was stopped by its time limit."""
    for path in [*SHARED, ROOT / "function_app.py"]:
        calls = [ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        assert not [call for call in calls if call.endswith("sleep")], path


async def test_hundreds_of_pages_come_to_an_end(way: Way) -> None:
    """Elsewhere documents of more than two hundred pages never did."""
    way.name = "hundreds.jsonl"
    way.switch(jobSeconds=0, pageSize=1)
    await way.submit(lines(250))
    outcome = await way.poll_until_outcome()
    assert len(outcome.documents) == 250


async def test_a_file_in_flight_can_always_be_found(way: Way, caplog: pytest.LogCaptureFixture) -> None:
    """Elsewhere files were stuck in progress without a line in any log."""
    caplog.set_level(logging.INFO, "ner")
    way.name = "stuck.txt"
    way.switch(faults=[{"status": 503}])
    await way.submit()
    way.queue.clear_messages()
    state = way.blobs.get_container_client(way.settings.state_container)
    claim = json.loads(state.download_blob("claims/stuck.txt.json").readall())
    assert claim["source"]["name"] == way.name
    record = json.loads(state.download_blob(f"batches/{claim['batch']}.json").readall())
    assert record["kind"] == "waiting"
    assert "'stuck.txt': retrying later" in caplog.text
    # Its message is lost; the sweep sends another one.
    way.switch(jobSeconds=0)
    assert (await way.sweep()).revived == 1
    assert "'stuck.txt': its message was lost" in caplog.text
    assert (await way.poll_until_outcome()).status is OutcomeStatus.SUCCEEDED


def lose_messages(way: Way) -> None:
    """Lose all messages, as when each worker dies of them until the host gives them up."""
    way.queue.clear_messages()
    way.hidden.clear()


@pytest.mark.parametrize("waits", [True, False], ids=["waiting", "paid"])
@pytest.mark.parametrize(("name", "data"), [("one.txt", TEXT), ("many.jsonl", lines(60))], ids=["one job", "many jobs"])
async def test_a_file_is_not_given_up_because_its_messages_get_lost(
    name: str, data: bytes, waits: bool, way: Way
) -> None:
    """Nobody may have received them, as where `poll` was disabled."""
    way.name = f"{'waiting' if waits else 'paid'}-{name}"
    way.switch(jobSeconds=10**6, faults=[{"status": 503, "method": "POST"}] if waits else [])
    await way.submit(data)
    paid = way.submissions()
    for _ in range(MAX_TRIES + 2):
        lose_messages(way)
        assert (await way.sweep()).revived == 1
    way.switch(jobSeconds=0)
    way.end_jobs()
    assert (await way.poll_until_outcome()).status is OutcomeStatus.SUCCEEDED
    assert way.submissions() == (paid or 1 + 2 * (data != TEXT))


async def test_a_file_of_which_workers_die_once_it_is_paid_is_given_up(
    way: Way, caplog: pytest.LogCaptureFixture
) -> None:
    """Between the service's answer and the record: each costs a submission, so few may try, and the outcome says so."""

    async def die() -> None:
        raise asyncio.CancelledError

    await way.pipeline.sweep()
    way.name = "paid-and-dead.txt"
    way.upload()
    with after_submission(die, times=None):
        with pytest.raises(asyncio.CancelledError):
            await way.pipeline.submit(way.name)
        for _ in range(MAX_TRIES - 1):
            assert (await way.sweep()).missing == 1
            with pytest.raises(asyncio.CancelledError):
                await way.pipeline.poll(way.message().content.encode())
        assert (await way.sweep()).missing == 1
        await way.pipeline.poll(way.message().content.encode())
    assert way.submissions() == MAX_TRIES
    outcome = way.outcome()
    assert outcome is not None
    assert [problem.code for problem in outcome.errors] == ["ProcessingFailed"]
    assert f"gave up, because {MAX_TRIES} workers failed" in caplog.text
    # The records that kept late workers from recording their jobs stand for some time.
    way.later += timedelta(hours=1)
    await way.sweep()
    assert way.in_flight() == 0


async def test_hundreds_of_files_at_once_are_not_sent_over_and_over(make_way: Callable[..., Way]) -> None:
    """Elsewhere a burst met the service's limit, and each retry of the trigger sent all of it again."""
    way = make_way()
    way.switch(jobSeconds=0, faults=[{"status": 429, "method": "POST", "times": 40, "retryAfter": 1}])
    names = [f"burst-{number}.txt" for number in range(60)]
    for way.name in names:
        way.upload(TEXT)
    before = documents(way.ner_emulator)
    await asyncio.gather(*(way.pipeline.submit(name) for name in names))
    await way.poll_until_empty()
    assert documents(way.ner_emulator) - before == len(names)
    assert way.in_flight() == 0
    await way.pipeline.aclose()
