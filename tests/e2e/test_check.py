"""`ner check`: each thing that can be wrong, produced for real, and an app that works."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient

from local.account import open_account
from local.checks.finding import Clock, Verdict
from local.checks.service import check_service
from local.checks.upload import PREFIX, Followed, check_upload, judged
from local.commands.checking import is_service_known
from local.host.event_grid import PATH
from local.stack import create_containers_and_queues
from shared.names import result_name
from shared.settings import Settings
from shared.source import Source
from shared.state.batch import BatchKind, BatchRecord, Member, batch_name, encode_batch
from shared.state.claim import CLAIMS, Claim, claim_name, encode_claim, new_batch_id
from tests.conftest import LOGS, hosted
from tests.e2e.test_command_line import local
from tests.e2e.test_identity import IDENTITY_HEADER, token_endpoint
from tests.emulator import stats
from tests.integration.test_event_grid import NOTIFICATION, event, listening
from tests.serving import QuietHandler, serving
from tests.waiting import PATIENCE_SECONDS, eventually

NEVER = "0 0 0 1 1 *"
"""A schedule for sweeps that must not find a file."""
WRONG_KEY = "0123456789abcdef0123456789abcdef"
NO_TIME = timedelta()
ALL_DAY = {"NER_SWEEP_GRACE_SECONDS": "86400", "NER_SWEEP_SCHEDULE": NEVER}


@pytest.fixture
def values(values: dict[str, str], ner_emulator: str) -> dict[str, str]:
    """App settings of the test's own, with containers and the queue."""
    values |= {"NER_ENDPOINT": ner_emulator}
    create_containers_and_queues(Settings.from_environ(values))
    return values


def storage_key(values: dict[str, str]) -> str:
    """Return the key of the storage account."""
    return values["NER_STORAGE"].partition("AccountKey=")[2].partition(";")[0]


def checked(values: dict[str, str], *options: str) -> tuple[int, str]:
    """Run the command; return its exit code and all that it printed, which never has a key."""
    result = local("check", *options, environ=values)
    printed = result.stdout + result.stderr
    assert "Traceback" not in printed
    assert storage_key(values) not in printed
    assert values["NER_KEY"] not in printed
    return result.returncode, printed


def left(values: dict[str, str], blobs: BlobServiceClient) -> list[str]:
    """Return the names of all blobs in the containers of the files and the outcomes."""
    settings = Settings.from_environ(values)
    names = []
    for container in (settings.input_container, settings.results_container):
        names += [blob.name for blob in blobs.get_container_client(container).list_blobs()]
    return names


def test_an_app_that_works(values: dict[str, str], blobs: BlobServiceClient, queues: QueueServiceClient) -> None:
    """Each line is right, the exit code 0, and nothing is left behind."""
    settings = Settings.from_environ(values)
    with hosted(values, LOGS / "host-check.log"):
        code, printed = checked(values)
        state = blobs.get_container_client(settings.state_container)
        eventually(lambda: not list(state.list_blobs(name_starts_with=CLAIMS)), "no file is in flight")
        queue = queues.get_queue_client(settings.queue)
        eventually(lambda: not queue.get_queue_properties().approximate_message_count, "the queue is empty")
    assert code == 0, printed
    assert printed.count("ok  ") == 7
    assert "wrong" not in printed
    assert "Upload: A small file had its outcome after" in printed
    assert printed.endswith("The app works.\n")
    assert left(values, blobs) == []


@pytest.mark.parametrize(
    ("changes", "said", "fix"),
    [
        ({"NER_KEY": WRONG_KEY}, "status 401", "Set NER_KEY to a key of this resource"),
        ({"NER_PROJECT_NAME": "another"}, "ProjectNotFound", "Set NER_PROJECT_NAME"),
        (
            {"NER_DEPLOYMENT_NAME": "another"},
            "NotFound: the service responded with status 404",
            "Set NER_DEPLOYMENT_NAME",
        ),
        ({"NER_ENDPOINT": "http://127.0.0.1:9"}, "could not be reached", "Check NER_ENDPOINT"),
        ({"NER_LANGUAGE": "en_US"}, "NER_LANGUAGE must be a language tag", ""),
        ({"NER_INPUT_CONTAINER": "nowhere"}, "404 ContainerNotFound", "az storage container create"),
        ({"NER_RESULTS_CONTAINER": "nowhere"}, "404 ContainerNotFound", "set NER_RESULTS_CONTAINER here"),
        ({"NER_QUEUE": "nowhere"}, "404 QueueNotFound", "az storage queue create"),
    ],
)
def test_a_wrong_setting(
    changes: dict[str, str], said: str, fix: str, values: dict[str, str], blobs: BlobServiceClient
) -> None:
    """It is named with its fix, the exit code is 1, and no file is uploaded."""
    code, printed = checked(values | changes)
    assert code == 1, printed
    assert said in printed
    assert fix in printed
    assert "A small file" not in printed
    assert left(values, blobs) == []


def test_several_things_are_wrong(values: dict[str, str]) -> None:
    """All of them are found at once."""
    code, printed = checked(values | {"NER_QUEUE": "nowhere", "NER_RESULTS_CONTAINER": "gone", "NER_KEY": WRONG_KEY})
    assert code == 1
    assert [printed.count(words) for words in ("wrong  ", "not checked  ")] == [3, 1]


def test_a_wrong_key_of_storage(values: dict[str, str]) -> None:
    """Storage is asked once, and neither key is printed."""
    wrong = values["NER_STORAGE"].replace(storage_key(values), "d3Jvbmc=")
    code, printed = checked(values | {"NER_STORAGE": wrong})
    assert code == 1, printed
    assert "Storage answered 403" in printed
    assert "the app's role" not in printed
    assert "copy the connection string again" in printed
    assert printed.count("wrong  ") == 1
    assert "d3Jvbmc=" not in printed


@contextmanager
def passing_on(port: int, *, ahead: timedelta = NO_TIME, refused: str = "") -> Iterator[str]:
    """Pass calls on to a port until the block ends, with another time in the responses; yield the address.

    Calls of the refused method are answered as Azure answers an identity without a role.
    """

    class Handler(QuietHandler):
        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = [(name, value) for name, value in self.headers.items() if name.lower() != "host"]
            address = f"http://127.0.0.1:{port}{self.path}"
            if self.command == refused:
                self.send_response(403)
                self.send_header("x-ms-error-code", "AuthorizationPermissionMismatch")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            answer = httpx.request(self.command, address, headers=headers, content=body, timeout=PATIENCE_SECONDS)
            self.send_response_only(answer.status_code)
            for name, value in answer.headers.multi_items():
                if name not in ("date", "transfer-encoding", "connection", "content-length"):
                    self.send_header(name, value)
            self.send_header("Date", format_datetime(datetime.now(UTC) + ahead, usegmt=True))
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.content)

        do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = pass_on  # noqa: N815  # the names are looked up

    with serving(Handler) as address:
        yield address


def storage_ports(values: dict[str, str]) -> list[int]:
    """Return the ports of the blob and of the queue service."""
    return [int(part.partition("/")[0]) for part in values["NER_STORAGE"].split("http://127.0.0.1:")[1:3]]


@pytest.mark.parametrize(
    ("method", "found"),
    [("PUT", ["Upload"]), ("DELETE", ["Upload", "Clean-up", "Clean-up"])],
    ids=["upload", "clean-up"],
)
def test_a_role_that_only_reads(
    method: str, found: list[str], values: dict[str, str], blobs: BlobServiceClient
) -> None:
    """The containers can be seen, but the file cannot be uploaded, or not be deleted."""
    port = storage_ports(values)[0]
    with passing_on(port, refused=method) as address:
        changed = values | {"NER_STORAGE": values["NER_STORAGE"].replace(f"http://127.0.0.1:{port}", address)}
        with open_account(changed) as account:
            findings = check_upload(account, 0)
    assert [finding.what for finding in findings] == found
    assert {finding.verdict for finding in findings} == {Verdict.WRONG}
    assert f"403 AuthorizationPermissionMismatch to {method}" in findings[-1].said
    assert "the app's identity" not in findings[-1].said
    assert bool(left(values, blobs)) is (method == "DELETE")


@pytest.mark.parametrize(("minutes", "direction"), [(-10, "ahead of"), (10, "behind")])
def test_the_clock_of_this_machine_is_wrong(minutes: int, direction: str, values: dict[str, str]) -> None:
    """The responses of storage and of the service show it."""
    ports = storage_ports(values)
    storage, ahead = values["NER_STORAGE"], timedelta(minutes=minutes)
    with passing_on(ports[0], ahead=ahead) as blob, passing_on(ports[1], ahead=ahead) as queue:
        for port, address in zip(ports, (blob, queue), strict=True):
            storage = storage.replace(f"http://127.0.0.1:{port}", address)
        code, printed = checked(values | {"NER_STORAGE": storage})
    assert code == 1, printed
    assert f"seconds {direction} that of the storage account" in printed
    assert "Clock: It agrees with that of the service." in printed
    service = int(values["NER_ENDPOINT"].rpartition(":")[2])
    with passing_on(service, ahead=ahead) as address:
        code, printed = checked(values | {"NER_ENDPOINT": address})
    assert code == 1, printed
    assert f"seconds {direction} that of the service" in printed


@pytest.mark.parametrize("date", [None, "", "yesterday", "Thu, 99 Nov 2026 10:00:00 GMT"])
def test_a_response_without_a_usable_date(date: str | None) -> None:
    """It shows nothing about the clock."""
    clock = Clock()
    clock.note(date)
    assert clock.finding("the service").verdict is Verdict.NOT_CHECKED


def test_an_app_that_is_down(values: dict[str, str], blobs: BlobServiceClient) -> None:
    """The file is not begun until the deadline; it is deleted."""
    code, printed = checked(values, "--seconds", "1")
    assert code == 1, printed
    assert "The app did not begin a small file within 1 s." in printed
    assert "Check that the app is running" in printed
    assert left(values, blobs) == []


def test_an_app_that_waits_for_its_settings(values: dict[str, str], blobs: BlobServiceClient) -> None:
    """A file in flight is recognised by its claim and the record of its batch."""
    settings, now = Settings.from_environ(values), datetime.now(UTC)
    source = Source(settings.input_container, f"{PREFIX}1.txt", "0x1", now, 9)
    claim = Claim(source=source, batch=new_batch_id(), claimed_date_time=now, received_date_time=now)
    state = blobs.create_container(settings.state_container)
    claimed = state.upload_blob(claim_name(source.name), encode_claim(claim), metadata=claim.metadata())
    member = Member(source, claim_etag=claimed.get_blob_properties().etag.strip('"'))
    record = BatchRecord(kind=BatchKind.WAITING, members=[member], received_date_time=now, due=now)
    state.upload_blob(batch_name(claim.batch), encode_batch(record), metadata=record.metadata())
    with open_account(values) as account:
        found = judged(account, source.name, Followed(None, 1.0, 300.0))
    assert found.verdict is Verdict.WRONG
    assert found.said.endswith("it had no outcome within 300 s. It is: retrying submission.")
    assert "NER_KEY or the role of the app's identity" in found.fix


def test_an_app_that_fails_the_file(values: dict[str, str], blobs: BlobServiceClient) -> None:
    """The reason is that of the outcome, which is deleted too."""
    with hosted(values | {"NER_MAX_BLOB_BYTES": "1"}, LOGS / "host-check-fails.log"):
        code, printed = checked(values)
    assert code == 1, printed
    assert "The outcome of a small file is failed: FileTooLarge" in printed
    assert left(values, blobs) == []


@contextmanager
def reporting(values: dict[str, str], blobs: BlobServiceClient, client: httpx.Client, function: str) -> Iterator[None]:
    """Report each upload as Event Grid does, to the function that its subscription names, until the block ends."""
    container = blobs.get_container_client(values["NER_INPUT_CONTAINER"])
    ended = threading.Event()
    answers = []

    def report() -> None:
        seen: set[str] = set()
        while not ended.wait(0.1):
            for name in {blob.name for blob in container.list_blobs()} - seen:
                seen.add(name)
                with suppress(httpx.TransportError):
                    url = container.get_blob_client(name).url
                    answers.append(
                        client.post(
                            PATH, headers=NOTIFICATION, json=event(url), params={"functionName": function}
                        ).status_code
                    )

    thread = threading.Thread(target=report)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    assert answers == [202]


def test_events_arrive(values: dict[str, str], blobs: BlobServiceClient) -> None:
    """The subscription names the function of the app."""
    values |= ALL_DAY | {"NER_BLOB_TRIGGER_SOURCE": "EventGrid"}
    with listening(values) as (client, _), reporting(values, blobs, client, "Host.Functions.submit"):
        code, printed = checked(values)
    assert code == 0, printed


def test_events_name_a_function_that_does_not_exist(values: dict[str, str], blobs: BlobServiceClient) -> None:
    """The host accepts them all the same, so only the missing outcome shows it."""
    values |= ALL_DAY | {"NER_BLOB_TRIGGER_SOURCE": "EventGrid"}
    with listening(values) as (client, _), reporting(values, blobs, client, "Host.Functions.other"):
        code, printed = checked(values, "--seconds", "2")
    assert code == 1, printed
    assert "functionName=Host.Functions.submit" in printed
    assert left(values, blobs) == []


def test_only_the_sweep_finds_the_file(values: dict[str, str], blobs: BlobServiceClient) -> None:
    """No event arrives, but the file has its outcome: uploads would be minutes late."""
    values |= {
        "NER_BLOB_TRIGGER_SOURCE": "EventGrid",
        "NER_SWEEP_GRACE_SECONDS": "3",
        "NER_SWEEP_SCHEDULE": "* * * * * *",
    }
    with listening(values):
        code, printed = checked(values)
    assert code == 1, printed
    assert "its event was lost, and the sweep found the file" in printed
    assert "azd hooks run postdeploy" in printed
    assert left(values, blobs) == []


def test_leftovers_are_deleted(
    values: dict[str, str], blobs: BlobServiceClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What checks that were killed have left; not a check that is running, and not the files of users."""
    incoming, results = (
        blobs.get_container_client(values[name]) for name in ("NER_INPUT_CONTAINER", "NER_RESULTS_CONTAINER")
    )
    running, gone, own = f"{PREFIX}{'a' * 16}.txt", f"{PREFIX}{'b' * 16}.txt", f"{PREFIX}list.txt"
    for name in (running, own):
        incoming.upload_blob(name, b"a")
    for name in (running, gone, own, f"{PREFIX}old.txt", "report.txt"):
        results.upload_blob(result_name(name), b"{}")
    with open_account(values) as account:
        (found,) = check_upload(account, 0)
        expected = {running, own, *map(result_name, (running, own, f"{PREFIX}old.txt", "report.txt"))}
        assert set(left(values, blobs)) == expected
        monkeypatch.setattr("local.checks.upload.LEFT_SECONDS", -1.0)  # now the running one was killed long ago
        check_upload(account, 0)
    assert found.verdict is Verdict.WRONG
    assert set(left(values, blobs)) == expected - {running, result_name(running)}


def test_ctrl_c_leaves_nothing_behind(
    values: dict[str, str], blobs: BlobServiceClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is deleted although nobody waits for its outcome any longer."""

    def interrupt(_seconds: float) -> None:
        assert len(left(values, blobs)) == 1
        raise KeyboardInterrupt

    monkeypatch.setattr("local.checks.upload.time.sleep", interrupt)
    with open_account(values) as account, pytest.raises(KeyboardInterrupt):
        check_upload(account, 300)
    assert left(values, blobs) == []


def test_an_identity_that_may_not_ask_the_service(values: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The app has another identity, so nothing is wrong with it."""
    settings = Settings.from_environ({name: value for name, value in values.items() if name != "NER_KEY"})
    with token_endpoint() as (endpoint, _):
        monkeypatch.setenv("IDENTITY_ENDPOINT", endpoint)
        monkeypatch.setenv("IDENTITY_HEADER", IDENTITY_HEADER)
        found, clock = check_service(settings)
    assert found.verdict is Verdict.NOT_CHECKED
    assert "status 401" in found.said
    assert "Cognitive Services Language Reader" in found.fix
    assert clock.verdict is Verdict.OK


def test_no_identity_at_all(values: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator learns to log in; the list of all credentials that were tried stays away."""
    settings = Settings.from_environ({name: value for name, value in values.items() if name != "NER_KEY"})

    async def no_token(*_scopes: str) -> None:
        raise ClientAuthenticationError("DefaultAzureCredential failed\nAttempted credentials:")

    monkeypatch.setattr("azure.identity.aio.DefaultAzureCredential.get_token", lambda _self, *scopes: no_token(*scopes))
    (found,) = check_service(settings)
    assert (found.verdict, "az login" in found.fix) == (Verdict.NOT_CHECKED, True)
    assert found.said == "Your identity could not get a token of Microsoft Entra ID."


def test_the_service_is_asked_only_if_it_is_the_apps(values: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The sample's emulator is not the service of an account in Azure."""
    with open_account(values) as account:
        assert is_service_known(account, values)
    monkeypatch.delenv("NER_ENDPOINT", raising=False)
    remote = values | {
        "NER_STORAGE": f"AccountName=account;AccountKey={storage_key(values)};EndpointSuffix=core.windows.net"
    }
    with open_account(remote) as account:
        assert not is_service_known(account, remote)
        assert is_service_known(account, remote | {"NER_ENDPOINT": "https://resource.cognitiveservices.azure.com"})


def test_the_price_of_a_check(values: dict[str, str], ner_emulator: str) -> None:
    """One text record for the direct question; the upload costs another one."""
    before: Any = stats(ner_emulator)["submissions"].get("ner check", 0)
    checked(values, "--seconds", "0")
    assert stats(ner_emulator)["submissions"]["ner check"] == before + 1
