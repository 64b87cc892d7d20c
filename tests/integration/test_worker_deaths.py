"""A file that kills each worker ends with a failed outcome after three of them, and takes no other file with it."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from shared.message import BatchMessage, decode_message
from shared.outcome import OutcomeStatus
from shared.pipeline.submitting import LARGE_FILE
from shared.state.claim import MAX_TRIES
from tests.emulator import CLIENT
from tests.integration.conftest import ProxiedWay
from tests.proxy import Answer, Call
from tests.walks import CASES, RETRY_SECONDS, SWEEP_SECONDS, Case, Host

MakeWay = Callable[..., Awaitable[ProxiedWay]]


@dataclass
class Poison:
    """Kills the worker at each call of a kind, before it is carried out.

    Calls of that kind are meant whose paths have `path` as a part, and that `matches` says so of.
    """

    operation: str
    kill: Callable[[], None]
    path: str = "/"
    matches: Callable[[Call], bool] = lambda _call: True
    times: list[datetime] = field(default_factory=list)
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    @property
    def deaths(self) -> int:
        """How many workers were killed."""
        return len(self.times)

    def __call__(self, call: Call) -> Answer | None:
        """Kill the worker if the call is one of them."""
        if call.operation != self.operation or self.path not in call.target or not self.matches(call):
            return None
        self.times.append(self.now())
        return Answer(never=True, then=self.kill)


@pytest.mark.parametrize(
    ("case", "operation"),
    [
        *((case, "Submit Job") for case in CASES if case.name in ("one job", "many jobs", "throttled")),
        *((case, "Get Job") for case in CASES if case.name in ("one job", "many jobs")),
    ],
    ids=lambda value: getattr(value, "name", value),
)
@pytest.mark.parametrize("forgets", [False, True], ids=["comes again", "never comes again"])
async def test_three_workers_may_die_of_a_file(
    case: Case, operation: str, forgets: bool, make_proxied_way: MakeWay
) -> None:
    """The outcome says that the app gave up, whether the host hands things over again or not."""
    number = f"deadly {operation} {forgets}".lower().replace(" ", "-")
    way = await make_proxied_way(**case.own_names(number))
    way.name = case.file_name(number)
    host = Host(way, forgets=forgets)
    poison = Poison(operation, host.kill, now=way.now)
    way.proxies.rule = poison
    await way.pipeline.sweep()
    await case.walk(host, case.data, case.newer)
    outcome = way.outcome()
    assert outcome is not None
    assert outcome.status is OutcomeStatus.FAILED
    assert [problem.code for problem in outcome.errors] == ["ProcessingFailed"]
    assert poison.deaths == MAX_TRIES
    # The host ends itself at the third death of its workers within half an hour.
    assert poison.times[2] - poison.times[1] >= timedelta(minutes=30)
    await way.aclose()


@pytest.mark.parametrize(("operation", "batches"), [("Submit Job", 1), ("Get Job", 2)])
@pytest.mark.parametrize("forgets", [False, True], ids=["comes again", "never comes again"])
async def test_a_file_of_which_workers_die_takes_none_of_its_batch_with_it(
    operation: str, batches: int, forgets: bool, make_proxied_way: MakeWay
) -> None:
    """The batch is dissolved once. After that, only the file that kills workers is given up.

    A job of several files has been charged, so as many workers may die of it as of a job of one file. After that, as
    many may die of the job of that file alone.
    """
    case = next(case for case in CASES if case.is_of_several)
    number = f"guilty {operation} {forgets}".lower().replace(" ", "-")
    way = await make_proxied_way(**case.own_names(number))
    way.name = case.file_name(number)
    guilty = f"2 {way.name}"

    def is_about_guilty(call: Call) -> bool:
        if operation == "Submit Job":
            texts = [document["text"] for document in json.loads(call.body)["analysisInput"]["documents"]]
            return any(text.endswith(guilty) for text in texts)
        jobs = CLIENT.get(f"{way.ner_emulator}/emulator/jobs").raise_for_status().json()["jobs"]
        return any(guilty in job["documentIds"] for job in jobs if job["jobId"] in call.target)

    host = Host(way, forgets=forgets)
    poison = Poison(operation, host.kill, matches=is_about_guilty, now=way.now)
    way.proxies.rule = poison
    await way.pipeline.sweep()
    await case.walk(host, case.data, case.newer)
    ended = dict(zip((way.name, *host.others), host.outcomes(), strict=True))
    failed = ended.pop(guilty)
    assert failed is not None
    assert [problem.code for problem in failed.errors] == ["ProcessingFailed"]
    assert {outcome.status if outcome else None for outcome in ended.values()} == {OutcomeStatus.SUCCEEDED}
    assert poison.deaths == batches * MAX_TRIES
    assert poison.times[2] - poison.times[1] >= timedelta(minutes=30)
    assert way.documents() == (batches - 1) * 3 + 2 + (operation == "Get Job")
    await way.aclose()


@pytest.mark.parametrize("step", ["reading a large file", "copying the outcome"])
async def test_three_workers_may_die_before_a_submission(step: str, make_proxied_way: MakeWay) -> None:
    """Of a file that is too much for their memory, and of the outcome of its last version."""
    case = CASES[0]
    way = await make_proxied_way(**case.own_names(step.replace(" ", "-")))
    way.name = case.file_name(step)
    host = Host(way, forgets=True)
    await way.pipeline.sweep()
    data, place = b"A word. " * (3 * LARGE_FILE // 8), way.settings.input_container
    if step == "copying the outcome":
        data, place = case.data, way.settings.results_container
        await case.walk(host, data, b"")
    poison = Poison("Get Blob", host.kill, path=f"/{place}/", now=way.now)

    def kill_once_claimed(call: Call) -> Answer | None:
        # The first piece of a large file is read before it is claimed.
        is_first = call.headers.get("x-ms-range", "").startswith("bytes=0-")
        return None if is_first and place == way.settings.input_container else poison(call)

    way.proxies.rule = kill_once_claimed
    await case.walk(host, data, b"")
    outcome = way.outcome()
    assert outcome is not None
    assert [problem.code for problem in outcome.errors] == ["ProcessingFailed"]
    assert poison.deaths == MAX_TRIES
    await way.aclose()


@pytest.mark.parametrize("operation", ["Submit Job", "Get Job"])
async def test_deaths_with_answers_between_them_are_not_in_a_row(operation: str, make_proxied_way: MakeWay) -> None:
    """An outage is not a failure, even if workers are stopped now and then while it lasts."""
    way = await make_proxied_way()
    way.name = "apart.txt"
    await way.pipeline.sweep()
    host = Host(way)
    poison = Poison(operation, host.kill, now=way.now)
    seen = 0

    def die_now_and_then(call: Call) -> Answer | None:
        nonlocal seen
        seen += call.operation == operation
        if call.operation != operation or seen > 40:
            return None
        return poison(call) if seen % 10 == 0 else Answer(503)

    way.proxies.rule = die_now_and_then
    await CASES[0].walk(host, CASES[0].data, b"")
    outcome = way.outcome()
    assert outcome is not None
    assert outcome.status is OutcomeStatus.SUCCEEDED
    assert poison.deaths > MAX_TRIES
    await way.aclose()


async def test_files_in_work_beside_it_are_not_given_up(make_proxied_way: MakeWay) -> None:
    """All that a dead worker had in hand is as suspect at first, and comes again together with what killed it."""
    way = await make_proxied_way()
    await way.pipeline.sweep()
    names = [f"beside-{number}.txt" for number in range(6)]
    etags = {}
    for way.name in names:
        await way.submit()
        etags[way.name] = way.etag
    messages = [way.message().content.encode() for _ in names]
    deadly = decode_message(messages[2])
    assert isinstance(deadly, BatchMessage)
    assert deadly.record is not None
    assert deadly.record.job is not None
    running: list[asyncio.Future[None]] = []

    def kill() -> None:
        for task in running:
            task.cancel()

    poison = Poison("Get Job", kill, path=deadly.record.job.job_id)
    way.proxies.rule = poison
    for _ in range(MAX_TRIES + 2):
        # What was in hand comes again at once, and then never more.
        for comes_again in (False, True):
            # The SDK opens a session for each of several first calls, and closes one.
            await way.pipeline.services.state.read_sweep()
            await way.pipeline.services.queue.length()
            running[:] = [asyncio.ensure_future(way.pipeline.poll(body, comes_again=comes_again)) for body in messages]
            ended = await asyncio.gather(*running, return_exceptions=True)
            assert all(end is None or isinstance(end, asyncio.CancelledError) for end in ended)
            messages = [body for body, end in zip(messages, ended, strict=True) if end is not None]
            await way.pipeline.aclose()
            way.pipeline = way.another_pipeline()
            way.pass_time(RETRY_SECONDS)
        way.pass_time(SWEEP_SECONDS)
        await way.pipeline.sweep()
        count = way.queue.get_queue_properties().approximate_message_count or 0
        messages = [way.message().content.encode() for _ in range(count)]
    statuses = {}
    for way.name in names:
        way.etag = etags[way.name]
        outcome = way.outcome()
        statuses[way.name] = outcome.status.value if outcome else None
    assert statuses.pop(deadly.record.members[0].source.name) == "failed"
    assert set(statuses.values()) == {"succeeded"}
    assert poison.deaths == MAX_TRIES
    await way.aclose()
