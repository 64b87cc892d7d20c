"""What the exchange between processes is worth: `submit` in one process and `poll` in two, as on Flex Consumption.

The same files are processed with the exchange (`shared/pipeline/learning.py`) and without it, in turns; each run has an
account and a service of its own. `python -m benchmarks.exchange` prints the table of the part `exchange`.
"""

import argparse
import asyncio
import itertools
import logging
import os
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import astuple, dataclass, replace
from datetime import datetime
from typing import IO, TYPE_CHECKING, Any, Final, cast

from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueMessage

from benchmarks.figures import Exchanged
from benchmarks.observing import UNLIMITED, calls_of, ended_in, jobs_of, switch
from benchmarks.running import LOGS, Emulators, emulators, letters
from benchmarks.tables import middle
from local.app_settings import SAMPLE, read_values
from local.children import Child, stop_with_parent
from local.host.configuration import LOG_FORMAT, read_host_json
from local.host.connections import open_account
from local.host.queues import QueueListener, poison_queue_for
from local.install import ROOT
from shared.delays import WAIT_WEIGHT
from shared.pipeline.learning import Exchange
from shared.pipeline.running import Pipeline
from shared.settings import Settings

if TYPE_CHECKING:
    from shared.pipeline.services import Services

ROUNDS: Final = 3
ROLES: Final = ("submit", "poll", "poll")
WARM_UP: Final = 20
"""Files before those that count: without any ended job there is nothing to exchange."""
FILES: Final = 100
PER_SECOND: Final = 2
LONGEST_SECONDS: Final = 600.0
REFUSED_FROM, REFUSED_UNTIL, RETRY_AFTER = 15, 35, 10
"""Seconds: from when to when, after the first file, the service refuses every call, and its `Retry-After`."""
WITH, WITHOUT = "with the exchange", "without"
COLUMNS: Final = {
    "GETs per job": ".2f",
    "delay in s, mean": ".1f",
    "delay in s, p95": ".1f",
    "cost": ".2f",
    "calls refused": ".0f",
}
"""The fields of Exchanged, and the form of each."""


@dataclass(frozen=True)
class Case:
    """How long each job takes, and whether the service refuses calls for a while."""

    job_seconds: int
    refuses: bool = False

    @property
    def name(self) -> str:
        """What the report calls it."""
        return f"jobs of {self.job_seconds} s{', calls refused for a while' if self.refuses else ''}"

    def switches(self, second: float) -> dict[str, Any]:
        """Return those of the emulator, so many seconds after the first file."""
        is_refusing = self.refuses and REFUSED_FROM <= second < REFUSED_UNTIL
        faults = [{"status": 429, "retryAfter": RETRY_AFTER}] if is_refusing else []
        return {"jobSeconds": self.job_seconds, "callsPerMinute": UNLIMITED, "faults": faults}


CASES: Final = (Case(8), Case(30), Case(8, refuses=True))


class Silence(Exchange):
    """Takes the place of the exchange, and exchanges nothing."""

    def begin(self, services: "Services") -> None:
        """Do nothing."""


def measure(case: Case, *, exchanging: bool) -> Exchanged:
    """Process files in three processes that have seen jobs end; return what that took."""
    warm_up, texts = letters(WARM_UP, "warm"), letters(FILES)
    with emulators(read_values(SAMPLE), case.switches(0.0)) as around, ExitStack() as opened:
        children = [
            opened.enter_context(start(role, number, around.settings, exchanging=exchanging))
            for number, role in enumerate(ROLES)
        ]
        upload(around, warm_up | texts)
        drop(around, children[0], list(warm_up), None)
        wait(children, len(warm_up))
        before = calls_of(around.service)
        drop(around, children[0], list(texts), case)
        ended = wait(children, len(warm_up) + len(texts))
        calls = calls_of(around.service) - before
        jobs = jobs_of(around.service, *(child.log for child in children))
    delays = sorted(ended[name].timestamp() - jobs[name][0].timestamp() - jobs[name][1] for name in texts)
    gets, mean = calls["GET 200"] / FILES, statistics.fmean(delays)
    return Exchanged(
        gets_per_job=gets,
        mean_delay=mean,
        p95_delay=delays[int(0.95 * len(delays))],
        cost=gets + WAIT_WEIGHT * mean / case.job_seconds,
        refused_calls=calls["GET 429"] + calls["POST 429"],
    )


def start(role: str, number: int, settings: Mapping[str, str], *, exchanging: bool) -> Child:
    """Start a process that has one of the app's functions."""
    command = [sys.executable, "-m", "benchmarks.exchange", "--role", role, *([] if exchanging else ["--silent"])]
    return Child(role, command, LOGS / f"exchange-{number}.log", environ={**os.environ, **settings}, cwd=ROOT)


def upload(around: Emulators, texts: Mapping[str, bytes]) -> None:
    """Upload files of which no process hears yet."""
    with BlobServiceClient.from_connection_string(around.azurite.connection_string) as blobs:
        for name, data in texts.items():
            blobs.get_blob_client("incoming", name).upload_blob(data)


def drop(around: Emulators, submitting: Child, names: Sequence[str], case: Case | None) -> None:
    """Tell the process that submits of files, at their pace; the service meanwhile behaves as the case says."""
    pipe = cast("IO[bytes]", submitting.process.stdin)
    begin = time.monotonic()
    switches = None
    for number, name in enumerate(names):
        second = number / PER_SECOND
        time.sleep(max(begin + second - time.monotonic(), 0.0))
        if case is not None and case.switches(second) != switches:
            switches = case.switches(second)
            switch(around.service, switches)
        pipe.write(f"{name}\n".encode())
        pipe.flush()


def wait(children: Sequence[Child], count: int) -> dict[str, datetime]:
    """Wait until so many files have ended; return when each did."""
    end = time.monotonic() + LONGEST_SECONDS
    while True:
        ended = {
            name: instant
            for child in children
            for name, instant in ended_in(child.log.read_text(encoding="utf-8")).items()
        }
        if len(ended) == count:
            return ended
        for child in children:
            if not child.is_running or time.monotonic() > end:
                raise RuntimeError(f"{len(ended)} of {count} files ended. {child.last_words()}")
        time.sleep(1.0)


def rounds() -> dict[str, dict[str, list[Exchanged]]]:
    """Return the runs of each case with the exchange and without it."""
    found: dict[str, dict[str, list[Exchanged]]] = {case.name: {WITH: [], WITHOUT: []} for case in CASES}
    for number, case in itertools.product(range(ROUNDS), CASES):
        for how in (WITHOUT, WITH) if number % 2 else (WITH, WITHOUT):
            run = measure(case, exchanging=how == WITH)
            print(f"    {case.name}, {how}: {run.gets_per_job:.2f} GETs per job, {run.mean_delay:.1f} s", flush=True)
            found[case.name][how].append(run)
    return found


def table(found: Mapping[str, Mapping[str, Sequence[Exchanged]]]) -> Iterator[str]:
    """Yield the figures of each case with the exchange and without it, and their ratios, pair by pair."""
    yield f"| | | {' | '.join(COLUMNS)} |"
    yield "| --- | --- |" + " --- |" * len(COLUMNS)
    for case, runs in found.items():
        columns = {how: list(zip(*map(astuple, runs[how]), strict=True)) for how in (WITH, WITHOUT)}
        for how, values in columns.items():
            cells = map(middle, values, COLUMNS.values())
            yield f"| {case} | {how} | {' | '.join(cells)} |"
        ratios = (
            middle([one / other for one, other in zip(*pairs, strict=True)]) if all(pairs[1]) else ""
            for pairs in zip(*columns.values(), strict=True)
        )
        yield f"| | ratio | {' | '.join(ratios)} |"


async def submit_files(pipeline: Pipeline) -> None:
    """Submit the files that standard input names, until it ends."""
    async with asyncio.TaskGroup() as group:
        while name := (await asyncio.to_thread(sys.stdin.readline)).strip():
            group.create_task(pipeline.submit(name))


async def poll_messages(pipeline: Pipeline) -> None:
    """Receive messages as the host does, until the process is ended."""

    async def handle(body: bytes, message: QueueMessage) -> None:
        await pipeline.poll(body, comes_again=(message.dequeue_count or 1) > 1)

    settings, options = pipeline.services.settings, read_host_json(ROOT / "host.json").extensions.queues
    async with AsyncExitStack() as opened:
        account = await open_account(settings.storage, opened)
        await QueueListener(account.queues, settings.queue, options, handle, poison_queue_for(settings.queue)).run()


async def act(role: str, *, exchanging: bool) -> None:
    """Be one of the processes."""
    pipeline = Pipeline(Settings.from_environ(os.environ))
    if not exchanging:
        pipeline.services = replace(pipeline.services, exchange=Silence())
    await (submit_files if role == "submit" else poll_messages)(pipeline)
    await pipeline.aclose()


def main() -> None:
    """Measure, or be one of the processes that are measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.exchange", description=__doc__)
    parser.add_argument("--role", choices=ROLES, help=argparse.SUPPRESS)
    parser.add_argument("--silent", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.role is None:
        print("\n".join(table(rounds())))
        return
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    for chatty in ("azure", "httpx"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    if arguments.role == "poll":
        stop_with_parent()
    asyncio.run(act(arguments.role, exchanging=not arguments.silent))


if __name__ == "__main__":
    main()
