"""From upload to outcome on the real Functions host, that of Azure Functions Core Tools, if they are installed.

NER_TESTS_NEED_CORE_TOOLS makes these tests fail without them; the workflow sets it. All other tests use the emulator
of the host.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import httpx
import pytest
from azure.storage.blob import BlobServiceClient

from local.children import Child
from local.files import SAMPLES
from local.host.event_grid import PATH
from local.stack import create_containers_and_queues, is_core_tools, start_core_tools
from shared.outcome import OutcomeStatus
from shared.settings import Settings
from tests.conftest import LOGS
from tests.e2e.test_check import ALL_DAY, checked, reporting
from tests.e2e.test_whole_way import drop, outcome_of
from tests.ports import free_port
from tests.waiting import eventually

pytestmark = pytest.mark.timeout(900)


@cache
def core_tools() -> str | None:
    """Return the path of Core Tools, if they are installed."""
    found = shutil.which("func")
    return found if found and is_core_tools(found) else None


@contextmanager
def real_host(values: dict[str, str], name: str) -> Iterator[tuple[Child, httpx.Client]]:
    """Run the app on the real host until the block ends; yield it, and a client of its webhook."""
    command = core_tools()
    if command is None:
        if os.environ.get("NER_TESTS_NEED_CORE_TOOLS"):
            pytest.fail("no Azure Functions Core Tools: npm install --global azure-functions-core-tools@4")
        pytest.skip("no Azure Functions Core Tools")
    create_containers_and_queues(Settings.from_environ(values))
    port = free_port()
    with (
        start_core_tools(command, values, LOGS / f"core-tools-{name}.log", port) as host,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client,
    ):
        yield host, client


def test_samples_get_their_outcomes(values: dict[str, str], ner_emulator: str, blobs: BlobServiceClient) -> None:
    """The host scans for uploads, and the sweep finds those that it passes over."""
    values |= {"NER_ENDPOINT": ner_emulator}
    settings = Settings.from_environ(values)
    with real_host(values, "scan") as (host, _):
        etags = {path.name: drop(blobs, settings, path.name, path.read_bytes()) for path in sorted(SAMPLES.iterdir())}
        outcomes = [outcome_of(blobs, settings, name, etag) for name, etag in etags.items()]
        assert host.is_running
    assert {outcome.status for outcome in outcomes} == {OutcomeStatus.SUCCEEDED}


def test_events_of_event_grid(values: dict[str, str], ner_emulator: str, blobs: BlobServiceClient) -> None:
    """The webhook takes the handshake and an event, and `ner check` sees an app that works."""
    values |= ALL_DAY | {"NER_ENDPOINT": ner_emulator, "NER_BLOB_TRIGGER_SOURCE": "EventGrid"}
    validation = [
        {
            "id": "1",
            "topic": "/subscriptions/0",
            "subject": "",
            "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
            "eventTime": "2026-01-02T03:04:05Z",
            "data": {"validationCode": "512d38b6"},
            "dataVersion": "1",
            "metadataVersion": "1",
        }
    ]
    query = {"functionName": "Host.Functions.submit"}
    with real_host(values, "events") as (_, client):
        eventually(lambda: is_ready(client), "the webhook")
        headers = {"aeg-event-type": "SubscriptionValidation"}
        answer = client.post(PATH, headers=headers, json=validation, params=query)
        assert (answer.status_code, answer.json()) == (200, {"validationResponse": "512d38b6"})
        with reporting(values, blobs, client, query["functionName"]):
            code, printed = checked(values)
    assert code == 0, printed


def is_ready(client: httpx.Client) -> bool:
    """Return whether the webhook is there."""
    try:
        return client.post(PATH).status_code in (400, 401)
    except httpx.TransportError:
        return False
