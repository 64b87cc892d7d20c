"""The host emulator makes the storage calls that Microsoft's own listeners were recorded to make, in their order."""

import asyncio
import base64
import itertools
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, suppress
from typing import Any, Final
from urllib.parse import unquote

import httpx
import msgspec
import pytest
from azure.storage.blob import ContentSettings
from azure.storage.blob.aio import BlobLeaseClient, BlobServiceClient
from azure.storage.queue.aio import QueueServiceClient

from local.host import blobs, locks, queues
from local.host.blobs import HOSTS_CONTAINER
from local.host.configuration import HostError, read_host_json
from local.host.functions import Function, InvocationError
from local.host.listening import Host, Options
from local.host.protocol import FunctionDescription, TypedData
from local.install import ROOT
from local.storage_emulator import Azurite
from tests.ports import free_port
from tests.proxy import Call, Proxies, ports_of, proxies, through
from tests.waiting import PATIENCE_SECONDS

RECORDED: Final = json.loads((ROOT / "tests" / "recordings" / "listeners.json").read_text(encoding="utf-8"))
MESSAGE_METADATA: Final = {
    "QueueTrigger",
    "Id",
    "PopReceipt",
    "DequeueCount",
    "ExpirationTime",
    "InsertionTime",
    "NextVisibleTime",
}
numbers = itertools.count()


def test_all_recordings_are_replayed() -> None:
    """Each by one test below."""
    assert {name for name, recorded in RECORDED.items() if "steps" not in recorded} == {
        "messages_at_once",
        "uploads_at_once",
    }


class App:
    """The functions: remembers its runs, and does in them what the recorded ones did."""

    def __init__(self, fails: list[str]) -> None:
        self.fails = fails
        self.runs: list[dict[str, Any]] = []
        self.act: Callable[[str, dict[str, TypedData]], Any] | None = None

    async def invoke(self, function: Function, data: TypedData, metadata: dict[str, TypedData], reason: str) -> None:
        """Be called for a trigger."""
        assert reason
        found = {
            name: value.text if value.kind == "string" else json.loads(value.text) for name, value in metadata.items()
        }
        run: dict[str, Any] = {"run": function.name, "metadata": found}
        if data.kind == "bytes":
            run["bytes"] = len(data.content)
        self.runs.append(run)
        if self.act is not None:
            await self.act(function.name, metadata)
        if function.name in self.fails:
            raise InvocationError(function.name)

    def reject(self, function: Function, reason: str, why: str) -> InvocationError:
        """Be told of data that the host cannot read: the function is not called."""
        return InvocationError(f"{function.name}: {reason}: {why}")


class Stage:
    """Storage with names of its own, and the listeners of the recorded app behind proxies that note all calls."""

    def __init__(self, azurite: Azurite, between: Proxies, recorded: dict[str, Any], patch: pytest.MonkeyPatch) -> None:
        self.direct = azurite.connection_string
        self.between = between
        self.recorded = recorded
        self.patch = patch
        self.number = next(numbers)
        self.app = App(recorded.get("fails", []))
        self.blobs = BlobServiceClient.from_connection_string(self.direct)
        self.queues = QueueServiceClient.from_connection_string(self.direct)
        self.container, self.queue = f"recorded-{self.number}", f"recorded-jobs-{self.number}"
        self.poison, self.host_id = f"recorded-blobs-{self.number}-poison", f"recorded-host-{self.number}"
        self.lease_seconds = 600
        self.first_call = 0
        self.is_locked = False
        self.scans = asyncio.Semaphore(0)
        self.scanned_second = ""
        self.needs_scan = False
        self.port: int | None = None
        self.running: list[asyncio.Task[None]] = []
        self.host: Host | None = None
        self.stack = AsyncExitStack()

    def as_recorded(self, text: str) -> str:
        """Return a text with the recorded names."""
        names = {
            self.host_id: "righost",
            self.poison: "webjobs-blobtrigger-poison",
            self.queue: "ner-jobs",
            self.container: "incoming",
        }
        for name, recorded in names.items():
            text = re.sub(rf"{name}(?!\d)", recorded, text)
        return re.sub(r'(\\?")0x[0-9A-Z]+\\?"', r"\1ETAG\1", text)

    def calls(self) -> list[str]:
        """Return the calls that change storage or read blobs, in the form of the recordings."""
        found, ids = [], dict[str, str]()
        for call in self.between.calls:
            path = self.as_recorded(unquote(call.target.partition("?")[0]).removeprefix("/devstoreaccount1/"))
            if call.number <= self.first_call or is_left_out(call, path) or call.number not in self.between.statuses:
                continue
            status = self.between.statuses[call.number]
            if message := re.fullmatch(r"(.*/messages/)(.*)", path):
                path = message[1] + ids.setdefault(message[2], f"ID{len(ids) + 1}")
            query = {name: call.query[name] for name in ("comp", "visibilitytimeout") if name in call.query}
            if path.startswith("ner-jobs/") and "visibilitytimeout" in query:
                query["visibilitytimeout"] = "N"
            suffix = "?" + "&".join(f"{name}={value}" for name, value in query.items()) if query else ""
            found.append(f"{call.method} {path}{suffix} {status}")
        return found

    def lock_calls(self) -> list[str]:
        """Return the calls on the lock: their method, and the action on its lease."""
        calls = [call for call in self.between.calls[self.first_call :] if "/locks/" in call.target]
        return [f"{call.method} {call.headers.get('x-ms-lease-action', '')}".strip() for call in calls]

    def has_scanned(self) -> bool:
        """Return whether the listeners have listed the container."""
        calls = [call for call in self.between.calls[self.first_call :] if call.query.get("comp") == "list"]
        return any(call.container == self.container and call.number in self.between.statuses for call in calls)

    async def start(self) -> None:
        """Start the listeners."""
        by_events = self.recorded.get("by_events", False)
        self.port = free_port() if by_events else None
        connection = through(self.direct, self.between.ports)
        environ = {"NER_STORAGE": connection, "AzureFunctionsWebHost__hostid": self.host_id}
        configuration = read_host_json(ROOT / "host.json")
        if self.recorded.get("retries_at_once"):
            options = msgspec.structs.replace(configuration.extensions.queues, visibility_timeout="00:00:00")
            configuration.extensions = msgspec.structs.replace(configuration.extensions, queues=options)
        self.host = Host(Options(ROOT, self.port, None, self.lease_seconds, 5.0, 10.0, False), environ, configuration)
        submit: dict[str, Any] = {"type": "blobTrigger", "path": f"{self.container}/{{name}}"}
        if by_events:
            submit["source"] = "EventGrid"
        if self.recorded.get("by_reference"):
            submit["properties"] = {"SupportsDeferredBinding": "True"}
        of_queues = {"poll": self.queue, "give_up": f"{self.queue}-poison", "resubmit": self.poison}
        bindings = {"submit": submit} | {
            name: {"type": "queueTrigger", "queueName": queue} for name, queue in of_queues.items()
        }
        functions = [
            Function(FunctionDescription(name, {**binding, "name": "it", "connection": "NER_STORAGE"}))
            for name, binding in bindings.items()
        ]
        await self.host.open(functions, self.app, self.stack)
        self.running = [asyncio.create_task(listener.run()) for listener in self.host.listeners]
        if by_events:
            await eventually(self.accepts_events)
        else:
            await eventually(self.lock_calls if self.is_locked else self.has_scanned)

    async def accepts_events(self) -> bool:
        """Return whether the webhook listens."""
        with suppress(httpx.TransportError):
            async with httpx.AsyncClient() as client:
                return (await client.get(f"http://127.0.0.1:{self.port}/")).status_code > 0
        return False

    async def stop(self) -> None:
        """Stop the listeners."""
        assert self.host
        for listener in self.host.listeners:
            listener.stop()
        self.scans.release()
        await asyncio.gather(*self.running, return_exceptions=True)

    async def kill(self) -> None:
        """End the listeners as if killed: their lock stays."""
        with self.patch.context() as patch:
            patch.setattr(BlobLeaseClient, "release", keep)
            for task in self.running:
                task.cancel()
            await asyncio.gather(*self.running, return_exceptions=True)
        self.first_call = self.between.count
        self.is_locked = True

    async def upload(self, step: dict[str, Any]) -> None:
        """Upload a blob, later than the last scan by the seconds of the emulator."""
        settings = ContentSettings(content_type=step.get("type", "application/octet-stream"))
        blob = self.blobs.get_blob_client(self.container, step["upload"])
        while True:
            await blob.upload_blob(
                step["content"].encode(), overwrite=True, metadata=step.get("metadata"), content_settings=settings
            )
            if str((await blob.get_blob_properties()).last_modified) != self.scanned_second:
                break
            await asyncio.sleep(0.05)
        self.needs_scan = not self.recorded.get("by_events", False)

    async def scan(self) -> None:
        """Let the listener scan, and remember the second of the newest blob."""
        self.needs_scan = False
        container = self.blobs.get_container_client(self.container)
        self.scanned_second = max([str(blob.last_modified) async for blob in container.list_blobs()], default="")
        self.scans.release()

    async def post(self, step: dict[str, Any]) -> None:
        """Post events, and compare the response."""
        body = step["post"].replace("/incoming/", f"/{self.container}/")
        async with httpx.AsyncClient() as client:
            response = await client.post(
                f"http://127.0.0.1:{self.port}/runtime/webhooks/blobs?{step['query']}",
                content=body,
                headers={"Content-Type": "application/json", **step["headers"]},
            )
        assert response.status_code == step["status"]
        if step["body"]:
            assert response.json() == json.loads(step["body"])

    async def replay(self) -> None:
        """Do what was done when the recording was made, and wait for each run that was recorded before the next."""
        expected: list[dict[str, Any]] = []
        for step in self.recorded["steps"]:
            if "run" in step:
                expected.append(step)
                if self.needs_scan:
                    await self.scan()
            else:
                await eventually(lambda: len(self.app.runs) >= len(expected))
                await self.do(step)
        await eventually(lambda: len(self.app.runs) >= len(expected))
        await eventually(lambda: len(self.calls()) >= len(self.recorded["storage"]))
        runs = [self.comparable(run) for run in self.app.runs]
        assert Counter(map(short, runs)) == Counter(map(short, expected))
        # The metadata of repeated runs was not recorded.
        assert [step for step in expected if is_whole(step) and step not in runs] == []

    async def do(self, step: dict[str, Any]) -> None:
        """Do what a step says."""
        match step:
            case {"start": _}:
                await self.start()
            case {"stop": _}:
                await eventually(self.is_quiet)
                await self.stop()
                self.first_call = self.between.count
            case {"kill": _}:
                await self.kill()
            case {"upload": _}:
                await self.upload(step)
            case {"delete": name}:
                await self.blobs.get_blob_client(self.container, name).delete_blob()
            case {"send": content}:
                await self.queues.get_queue_client(self.queue).send_message(content)
            case {"post": _}:
                await self.post(step)
            case {"ends": _}:
                ended, _ = await asyncio.wait(self.running, return_when=asyncio.FIRST_EXCEPTION)
                errors = [task.exception() for task in ended]
                assert any(isinstance(error, ExceptionGroup) and error.subgroup(HostError) for error in errors)

    async def is_quiet(self) -> bool:
        """Return whether all messages are processed."""
        return not any((await self.left())["queues"].values())

    def comparable(self, run: dict[str, Any]) -> dict[str, Any]:
        """Return a run in the form of the recordings, without what differs each time."""
        metadata = dict(run["metadata"])
        if run["run"] == "submit":
            properties = metadata.pop("Properties")
            metadata |= {name: properties[name] for name in ("ContentLength", "ContentType", "ContentHash", "ETag")}
            metadata["Uri"] = metadata["Uri"].partition("/devstoreaccount1/")[2]
        else:
            assert set(metadata) >= MESSAGE_METADATA
            metadata = {name: metadata[name] for name in ("QueueTrigger", "DequeueCount")}
        texts = {name: self.as_recorded(value) for name, value in metadata.items() if isinstance(value, str)}
        return {**run, "metadata": metadata | texts}

    async def left(self) -> dict[str, Any]:
        """Return the messages and the receipts that are left."""
        counts = {}
        async for queue in self.queues.list_queues():
            if (name := self.as_recorded(str(queue.name))) != queue.name:
                properties = await self.queues.get_queue_client(queue.name).get_queue_properties()
                counts[name] = properties.approximate_message_count
        receipts = []
        hosts = self.blobs.get_container_client(HOSTS_CONTAINER)
        async for blob in hosts.list_blobs(f"blobreceipts/{self.host_id}/", include=["metadata"]):
            name = self.as_recorded(str(blob.name))
            receipts.append({"name": name, "metadata": blob.metadata or {}, "lease": str(blob.lease.state)})
        return {"queues": counts, "receipts": sorted(receipts, key=lambda receipt: str(receipt["name"]))}


async def keep(*_: object, **__: object) -> None:
    """Release nothing."""


def short(run: dict[str, Any]) -> str:
    """Return what is known of each run: its function, its blob or message, and the number of bytes."""
    names = ("name", "QueueTrigger", "DequeueCount")
    about = {name: run["metadata"][name] for name in names if name in run["metadata"]}
    return json.dumps({**run, "metadata": about}, sort_keys=True)


def is_whole(step: dict[str, Any]) -> bool:
    """Return whether all metadata of a run was recorded."""
    return step["run"] != "submit" or "Uri" in step["metadata"]


def is_left_out(call: Call, path: str) -> bool:
    """Return whether the recordings leave a call out: lists, existence checks, receives, and those on the lock."""
    is_look = call.method == "GET" and (call.query.get("comp") in ("list", "metadata") or path.endswith("/messages"))
    return is_look or path == HOSTS_CONTAINER or "/locks/" in path


async def eventually(condition: Callable[[], Any]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not ((found := condition()) if not asyncio.iscoroutine(found := condition()) else await found):
            await asyncio.sleep(0.02)


def in_order(calls: list[str]) -> list[str]:
    """Return calls with those on a receipt before those that its notice, which was enqueued meanwhile, brings about."""
    found: list[str] = []
    enqueued: int | None = None
    for call in calls:
        if call.startswith("POST azure-webjobs-blobtrigger-righost"):
            enqueued = len(found) + 1
        elif "/blobreceipts/" in call and enqueued is not None:
            found.insert(enqueued, call)
            enqueued += 1
            continue
        found.append(call)
    return found


def by_resource(calls: list[str]) -> list[list[str]]:
    """Return the calls on each blob and each message, for recordings in which several overlapped."""
    found: dict[str, list[str]] = {}
    for call in calls:
        path = call.split(" ", 1)[1].rsplit(" ", 1)[0].partition("?comp")[0].partition("?visib")[0]
        found.setdefault(path, []).append(re.sub(r"/ID\d+", "/ID", call))
    return sorted(found.values())


@pytest.fixture
async def stage(
    request: pytest.FixtureRequest, azurite: Azurite, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Stage]:
    """A stage for a recording."""
    async with proxies(ports_of(azurite.connection_string)) as between:
        made = Stage(azurite, between, RECORDED[request.param], monkeypatch)

        async def pause(_seconds: float, stopped: asyncio.Event) -> None:
            if not stopped.is_set():
                await made.scans.acquire()

        monkeypatch.setattr(blobs, "pause", pause)
        monkeypatch.setattr(locks, "pause", pause)
        monkeypatch.setattr(blobs, "POISON_QUEUE", made.poison)
        async with made.blobs, made.queues, made.stack:
            await made.blobs.create_container(made.container)
            await made.queues.create_queue(made.queue)
            yield made
            await made.stop()


def scenarios(*names: str) -> pytest.MarkDecorator:
    """Return the mark of a test that replays these recordings."""
    return pytest.mark.parametrize("stage", names, indirect=True)


async def check(stage: Stage) -> None:
    """Replay a recording, and compare the calls and what they leave."""
    await stage.replay()
    recorded = stage.recorded["storage"]
    if stage.recorded.get("overlapping"):
        assert by_resource(stage.calls()) == by_resource(recorded)
    else:
        assert in_order(stage.calls()) == in_order(recorded)
    assert await stage.left() == stage.recorded["left"]


SPECIAL: Final = {"upload_replaced", "message_replaced", "message_taken_long", "killed"}


@scenarios(*(name for name, recorded in RECORDED.items() if "steps" in recorded and name not in SPECIAL))
async def test_storage_calls_are_those_that_were_recorded(stage: Stage) -> None:
    """And so are the runs, with their metadata, and the messages and receipts that are left."""
    await check(stage)


@scenarios("upload_replaced")
async def test_two_versions_of_a_blob_overlap_as_recorded(stage: Stage) -> None:
    """The second runs while the first does."""

    async def act(_function: str, _metadata: dict[str, TypedData]) -> None:
        if len(stage.app.runs) == 1:
            await eventually(lambda: len(stage.app.runs) == 2)

    stage.app.act = act
    await check(stage)


@scenarios("message_replaced")
async def test_a_message_that_the_function_changes_is_left_as_recorded(stage: Stage) -> None:
    """The receipt of the host is old then."""
    times = 0

    async def act(_function: str, metadata: dict[str, TypedData]) -> None:
        nonlocal times
        queue = stage.queues.get_queue_client(stage.queue)
        message, receipt = metadata["Id"].text, metadata["PopReceipt"].text
        if metadata["QueueTrigger"].text == "delete":
            await queue.delete_message(message, receipt)
        else:
            times += 1
            await queue.update_message(message, receipt, visibility_timeout=0 if times < 3 else 600)

    stage.app.act = act
    await check(stage)


@scenarios("message_taken_long")
async def test_the_lease_of_a_message_is_renewed_as_recorded(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each time half of it has passed."""
    monkeypatch.setattr(queues, "RENEWED_AFTER", 0.0005)

    async def act(_function: str, _metadata: dict[str, TypedData]) -> None:
        await eventually(lambda: any("visibilitytimeout" in call for call in stage.calls()))

    stage.app.act = act
    await check(stage)


@scenarios("killed")
async def test_what_a_killed_host_leaves_is_taken_over_as_recorded(stage: Stage) -> None:
    """The lock once it has expired, the messages once their leases have; what has its receipt is not enqueued again."""
    stage.lease_seconds = 1

    async def act(_function: str, _metadata: dict[str, TypedData]) -> None:
        if len(stage.app.runs) <= 2:
            await asyncio.Event().wait()

    stage.app.act = act
    start = stage.start

    async def start_again() -> None:
        await start()
        if len(stage.app.runs) == 2:
            lock = stage.blobs.get_blob_client(HOSTS_CONTAINER, f"locks/{stage.host_id}/{blobs.LOCK}")
            assert stage.lock_calls() == ["HEAD"], "another host holds it"
            # As if it had expired.
            await BlobLeaseClient(lock).break_lease(0)
            stage.scans.release()

    stage.start = start_again  # type: ignore[method-assign]
    await check(stage)
    assert stage.lock_calls() == ["HEAD", "HEAD", "PUT acquire"]


@pytest.mark.parametrize("stage", ["messages_at_once", "uploads_at_once"], indirect=True)
async def test_as_many_run_at_once_as_recorded(stage: Stage) -> None:
    """If all take the same time."""
    most, running, free = stage.recorded["most at once"], 0, asyncio.Event()
    counts: list[int] = []

    async def act(_function: str, _metadata: dict[str, TypedData]) -> None:
        nonlocal running, free
        running += 1
        counts.append(running)
        mine = free
        if running == most:
            mine.set()
            free = asyncio.Event()
        await mine.wait()
        running -= 1

    stage.app.act = act
    number = 2 * most
    if stage.recorded is RECORDED["messages_at_once"]:
        queue = stage.queues.get_queue_client(stage.queue)
        for index in range(number):
            await queue.send_message(base64.b64encode(str(index).encode()).decode())
    await stage.start()
    if stage.recorded is RECORDED["uploads_at_once"]:
        for index in range(number):
            await stage.upload({"upload": f"{index}.txt", "content": "text"})
        await stage.scan()
    await eventually(lambda: len(stage.app.runs) == number)
    assert max(counts) == most
