"""The way of one file through the pipeline, on real storage and the service's emulator, without the host between.

What the host would do, these tests do: hand over the bytes, then each message once it is due. No test waits for that:
the clock of the app and of the service moves to when the message is due.
"""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx
import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueClient, QueueMessage, TextBase64DecodePolicy, TextBase64EncodePolicy

from local.stack import create_containers_and_queues
from local.watch import read_outcome
from shared.outcome import Outcome
from shared.pipeline import gate
from shared.pipeline.running import Pipeline
from shared.settings import Settings
from shared.state.batch import BATCHES
from shared.state.claim import CLAIMS
from shared.state.sweeping import Swept
from tests.due_times import DueTimes, due_times
from tests.emulator import end_jobs, move_clock, set_switches, stats, submissions
from tests.proxy import Proxies, Service, documents_in, no_pauses, ports_of, proxies, through
from tests.waiting import eventually

TEXT = b"A table for two at Blue Heron in Bristol at eight, please."

LEASE_SECONDS = 600

# Read once for all pipelines, which takes longer than a call.
CERTIFICATES = ssl.create_default_context()

NOTICE = {"Type": "BlobTrigger", "FunctionId": "Host.Functions.submit", "BlobType": "BlockBlob", "ETag": '"0x1"'}
"""What the host writes of every upload to the function `submit`."""


class Way:
    """One file's way: a pipeline whose clock the tests set, the file, its messages, its outcome."""

    def __init__(
        self, values: dict[str, str], blobs: BlobServiceClient, ner_emulator: str, messages_due: DueTimes
    ) -> None:
        self.settings = Settings.from_environ(values)
        self.queue = QueueClient.from_connection_string(
            values["NER_STORAGE"],
            self.settings.queue,
            message_encode_policy=TextBase64EncodePolicy(),
            message_decode_policy=TextBase64DecodePolicy(),
            use_env_settings=False,  # reading the environment takes a third of a call
        )
        self.blobs = blobs
        self.create()
        self.ner_emulator = ner_emulator
        # A clock that stands, so that no pause of a busy machine looks like waiting.
        self.begun = datetime.now(UTC)
        self.later = timedelta()
        self.messages_due = messages_due
        messages_due.clocks[self.settings.queue] = self.now
        self.pipeline = self.another_pipeline()
        self.hidden: list[QueueMessage] = []
        self.name = "a.txt"
        self.etag = ""
        self.accepted_before = self.accepted()

    def create(self) -> None:
        """Create the containers and the queue."""
        create_containers_and_queues(self.settings)

    @property
    def app_settings(self) -> Settings:
        """The settings of the pipelines; all that the tests do themselves goes by `settings`."""
        return self.settings

    def another_pipeline(self, later: timedelta = timedelta()) -> Pipeline:
        """Return a pipeline as in another instance of the app, whose clock is so much later."""
        transport = httpx.AsyncHTTPTransport(verify=CERTIFICATES)

        def now() -> datetime:
            return self.now() + later

        pipeline = Pipeline(self.app_settings, transport=transport, now=now)
        pipeline.services.delays.clock = lambda: now().timestamp()
        # After throttling, batches wait for more files by the event loop's clock, which these tests do not move.
        pipeline.services.gate.window = lambda: 0.0
        return pipeline

    def now(self) -> datetime:
        """Return the time of the pipeline."""
        return self.begun + self.later

    def upload(self, data: bytes = TEXT) -> None:
        """Upload the file."""
        blob = self.blobs.get_blob_client(self.settings.input_container, self.name)
        self.etag = str(blob.upload_blob(data, overwrite=True)["etag"]).strip('"')

    async def submit(self, data: bytes = TEXT) -> None:
        """Upload the file and tell the app of it, as the host does."""
        self.upload(data)
        await self.pipeline.submit(self.name)

    async def sweep(self) -> Swept:
        """Let the sweep look at everything, once everything is old enough, however slow the machine is."""
        self.pass_time(3600 + self.settings.sweep_grace_seconds + self.settings.submit_timeout_seconds)
        return await self.pipeline.sweep()

    def message(self) -> QueueMessage:
        """Let time pass until a message is due; take it from the queue, as the host does after a success."""
        message = self.received()
        self.queue.delete_message(message)
        return message

    def received(self) -> QueueMessage:
        """Let time pass until a message is due; hide it from others, as the host does while it works on it."""
        first = eventually(self.receive, "a message")
        self.pass_time((self.messages_due.of(first) - self.now()).total_seconds())
        return first

    def receive(self) -> QueueMessage | None:
        """Hide all messages, and return the one that is due first if it still is in the queue."""
        self.hidden += self.queue.receive_messages(max_messages=32, visibility_timeout=LEASE_SECONDS)
        if not self.hidden:
            return None
        first = min(self.hidden, key=self.messages_due.of)
        self.hidden.remove(first)
        try:
            first.pop_receipt = self.queue.update_message(first, visibility_timeout=LEASE_SECONDS).pop_receipt
        except ResourceNotFoundError:
            return None  # a test has cleared the queue
        return first

    def pass_time(self, seconds: float) -> None:
        """Let time pass for the app and for the service."""
        if seconds > 0:
            self.later += timedelta(seconds=seconds)
            move_clock(self.ner_emulator, seconds)

    async def poll_until_outcome(self) -> Outcome:
        """Hand over message after message until there is an outcome, which then is the end of the messages."""
        outcome = await self.poll_until_there()
        await self.poll_until_empty()
        assert self.outcome() == outcome
        assert self.in_flight() == 0
        return outcome

    async def poll_until_there(self) -> Outcome:
        """Hand over message after message until there is an outcome."""
        while (outcome := self.outcome()) is None:
            await self.pipeline.poll(self.message().content.encode())
        return outcome

    async def poll_until_empty(self) -> None:
        """Hand over message after message until there is none."""
        while self.queue.get_queue_properties().approximate_message_count:
            await self.pipeline.poll(self.message().content.encode())

    def in_flight(self) -> int:
        """Return how many blobs there are about versions in flight."""
        state = self.blobs.get_container_client(self.settings.state_container)
        try:
            return sum(blob.name.startswith((CLAIMS, BATCHES)) for blob in state.list_blobs())
        except ResourceNotFoundError:
            return 0

    def outcome(self) -> Outcome | None:
        """Return the outcome of the version that was uploaded last."""
        return read_outcome(self.blobs, self.settings, self.name, self.etag)

    def switch(self, **switches: Any) -> None:
        """Set the service's switches."""
        set_switches(self.ner_emulator, **switches)

    def end_jobs(self) -> None:
        """Let all jobs of the service end now."""
        end_jobs(self.ner_emulator)

    def accepted(self) -> dict[str, int]:
        """Return how many jobs the service has accepted so far, by the names of files: tests use the same ones."""
        return stats(self.ner_emulator)["submissions"]

    def submissions(self) -> int:
        """Return how many jobs the service has accepted under the file's name since the way began."""
        return submissions(self.ner_emulator, self.name) - self.accepted_before.get(self.name, 0)


class ProxiedWay(Way):
    """A way whose pipelines reach storage and the service through proxies, and all others directly.

    Attributes:
        proxies: their rule says what the pipelines get instead of an answer, their calls are what they asked for.
        containers: that have been created for ways side by side.
    """

    def __init__(
        self,
        values: dict[str, str],
        blobs: BlobServiceClient,
        ner_emulator: str,
        messages_due: DueTimes,
        *,
        proxies: Proxies,
        containers: set[str],
    ) -> None:
        self.proxies = proxies
        self.containers = containers
        connection = through(values["NER_STORAGE"], proxies.ports)
        endpoint = f"http://127.0.0.1:{proxies.ports[Service.NER]}"
        self.proxied_settings = Settings.from_environ(
            {**values, "AzureWebJobsStorage": connection, "NER_STORAGE": connection, "NER_ENDPOINT": endpoint}
        )
        super().__init__(values, blobs, ner_emulator, messages_due)

    def create(self) -> None:
        """Create the queue, and the containers unless another way has them already."""
        for name in {self.settings.input_container, self.settings.results_container} - self.containers:
            self.blobs.create_container(name)
            self.containers.add(name)
        self.queue.create_queue()

    @property
    def app_settings(self) -> Settings:
        """The settings of the pipelines."""
        return self.proxied_settings

    def accepted(self) -> dict[str, int]:
        """Return nothing: these ways count themselves, since there are many of them."""
        return {}

    def submissions(self) -> int:
        """Return how many jobs the service has accepted from the pipelines."""
        posted = [call.number for call in self.proxies.calls if call.operation == "Submit Job"]
        return sum(self.proxies.statuses.get(number) == 202 for number in posted)

    def documents(self) -> int:
        """Return how many documents the service has accepted from the pipelines, in all jobs."""
        posted = [call for call in self.proxies.calls if call.operation == "Submit Job"]
        return sum(documents_in(call) for call in posted if self.proxies.statuses.get(call.number) == 202)

    def pass_time(self, seconds: float) -> None:
        """Let time pass for the app alone: ways that run side by side share the service."""
        self.later += timedelta(seconds=max(seconds, 0.0))

    async def aclose(self) -> None:
        """Close all connections."""
        await self.pipeline.aclose()
        await self.proxies.aclose()
        self.queue.close()


USUAL_GATE: Final = {name: getattr(gate, name) for name in ("ON_THE_WAY_SECONDS", "OPEN_SECONDS")}


@pytest.fixture(autouse=True)
def _patient_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let files that arrive together share a batch, however slow the machine is."""
    for name in USUAL_GATE:
        monkeypatch.setattr(gate, name, 60.0)


@pytest.fixture
def _usual_gate(_patient_gate: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let batches leave without late files, as in the app."""
    for name, seconds in USUAL_GATE.items():
        monkeypatch.setattr(gate, name, seconds)


@pytest.fixture
def messages_due() -> Iterator[DueTimes]:
    """When the messages of the test's pipelines are due."""
    with due_times() as times:
        yield times


@pytest.fixture
def make_way(
    values: dict[str, str], blobs: BlobServiceClient, ner_emulator: str, messages_due: DueTimes
) -> Iterator[Callable[..., Way]]:
    """Return what makes a way, with app settings of the test's own; the service behaves again afterwards."""
    ways: list[Way] = []

    def make(**changes: str) -> Way:
        ways.append(Way({**values, "NER_ENDPOINT": ner_emulator, **changes}, blobs, ner_emulator, messages_due))
        return ways[-1]

    yield make
    for way in ways:
        way.queue.close()
        way.switch()


@pytest.fixture
async def way(make_way: Callable[..., Way]) -> AsyncIterator[Way]:
    """A way with the usual settings."""
    way = make_way()
    yield way
    await way.pipeline.aclose()


@pytest.fixture
async def make_proxied_way(
    values: dict[str, str], blobs: BlobServiceClient, ner_emulator: str, messages_due: DueTimes
) -> AsyncIterator[Callable[..., Awaitable[ProxiedWay]]]:
    """Return what makes a way behind proxies of its own, whose calls the SDK repeats without a pause.

    The service ends jobs at once and takes any number of calls, since its clock stands while those of the ways move.
    """
    async with AsyncExitStack() as stack:
        stack.enter_context(no_pauses())
        containers: set[str] = set()
        set_switches(ner_emulator, jobSeconds=0, callsPerMinute=10**9, retentionSeconds=1e9)

        async def make(**changes: str) -> ProxiedWay:
            own = {**values, "NER_ENDPOINT": ner_emulator, **changes}
            running = await stack.enter_async_context(proxies(ports_of(own["NER_STORAGE"], ner_emulator), hurry=True))
            way = ProxiedWay(own, blobs, ner_emulator, messages_due, proxies=running, containers=containers)
            stack.callback(way.queue.close)
            return way

        stack.callback(set_switches, ner_emulator)
        stack.callback(move_clock, ner_emulator, 61)  # the service's limits are per minute
        yield make
