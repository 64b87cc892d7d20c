"""One small file through the whole app: the only proof that uploads are reported to it and that it may do its work.

Event Grid, for example, gets a 202 from the host even if the URL of its subscription names a function that does not
exist, and the sweep hides that for as long as it runs.
"""

import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

import msgspec
from azure.core.exceptions import AzureError, ResourceNotFoundError

from local.account import Account
from local.checks.finding import Finding, Verdict
from local.checks.storage import fix_refused, reason
from local.in_flight import read_in_flight, waits_for
from local.listing import list_file
from local.watch import read_outcome
from shared.names import result_name
from shared.outcome import Outcome, OutcomeStatus
from shared.settings import EVENT_QUEUE
from shared.state.claim import claim_name

WHAT: Final = "Upload"
PREFIX: Final = "ner-check-"
OWN_NAME: Final = re.compile(r"ner-check-[0-9a-f]{16}\.txt")
"""Names that only checks give. Users may have files whose names begin with PREFIX too."""
TEXT: Final = b"This file was uploaded by 'ner check', which deletes it."
PAUSE_SECONDS: Final = 0.5
LEFT_SECONDS: Final = 3600.0
"""Age from which the file of a check is what a check that was killed has left."""
EVENT_URL: Final = "/runtime/webhooks/blobs?functionName=Host.Functions.submit&code=..."


@dataclass(frozen=True)
class Followed:
    """An upload at the end of the wait.

    Attributes:
        outcome: of the file; None if there is none.
        begun_after: seconds until the app had begun the file; None if it has not.
        seconds: how long the wait took.
    """

    outcome: Outcome | None
    begun_after: float | None
    seconds: float


def check_upload(account: Account, seconds: float) -> list[Finding]:
    """Upload a small file, wait for its outcome for at most this time, delete both, and return what was found."""
    name = f"{PREFIX}{secrets.token_hex(8)}.txt"
    left: list[Finding] = []
    try:
        delete_leftovers(account)
        begun = time.monotonic()
        with uploaded(account, name, left) as etag:
            followed = follow(account, name, etag, begun, seconds)
            found = judged(account, name, followed)
    except AzureError as error:
        found = Finding(Verdict.WRONG, WHAT, f"{reason(error)}.", fix_refused(account, error))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        said = f"The outcome is not one of this version of the app: {error}"
        found = Finding(Verdict.WRONG, WHAT, said, "Use the command of the version that is deployed.")
    return [found, *left]


@contextmanager
def uploaded(account: Account, name: str, left: list[Finding]) -> Iterator[str]:
    """Upload the file and yield its version; in the end, delete it and its outcome. `left` gets what that refuses."""
    settings = account.settings
    answer = account.blob(settings.input_container, name).upload_blob(TEXT)
    try:
        yield str(answer["etag"]).strip('"')
    finally:
        for container, blob in (
            (settings.input_container, name),
            (settings.results_container, result_name(name)),
        ):
            try:
                delete(account, container, blob)
            except AzureError as error:
                fix = f"Delete {container}/{blob}. {fix_refused(account, error)}"
                left.append(Finding(Verdict.WRONG, "Clean-up", f"{reason(error)}.", fix))


def delete(account: Account, container: str, blob: str) -> None:
    """Delete a blob if it exists."""
    with suppress(ResourceNotFoundError):
        account.blob(container, blob).delete_blob()


def delete_leftovers(account: Account) -> None:
    """Delete outcomes that came after their check had ended, and files of checks that were killed."""
    settings = account.settings
    kept = set()
    for file in account.listed(settings.input_container, name_starts_with=PREFIX):
        if not OWN_NAME.fullmatch(file.name):
            continue
        if time.time() - file.last_modified.timestamp() > LEFT_SECONDS:
            delete(account, settings.input_container, file.name)
        else:
            kept.add(result_name(file.name))  # another check may be running
    for outcome in account.listed(settings.results_container, name_starts_with=PREFIX):
        if outcome.name not in kept and OWN_NAME.fullmatch(outcome.name.removesuffix(".json")):
            delete(account, settings.results_container, outcome.name)


def follow(account: Account, name: str, etag: str, begun: float, seconds: float) -> Followed:
    """Wait for the outcome of a version whose upload began at a time of the monotonic clock."""
    begun_after = None
    while True:
        outcome = read_outcome(account.blobs, account.settings, name, etag)
        waited = time.monotonic() - begun
        is_begun = outcome or account.properties(account.settings.state_container, claim_name(name))
        begun_after = waited if begun_after is None and is_begun else begun_after
        if outcome or waited >= seconds:
            return Followed(outcome, begun_after, waited)
        time.sleep(min(PAUSE_SECONDS, seconds - waited))


def judged(account: Account, name: str, followed: Followed) -> Finding:
    """Return what the end of the wait shows."""
    outcome, after = followed.outcome, followed.begun_after
    if outcome is None:
        return no_outcome(account, name, followed)
    if outcome.status is not OutcomeStatus.SUCCEEDED:
        why = "; ".join(f"{problem.code}: {problem.message}" for problem in outcome.errors[:3])
        said = f"The outcome of a small file is {outcome.status.value}: {why}"
        return Finding(Verdict.WRONG, WHAT, said, "Search the log of the app for the name 'ner-check-'.")
    if after is not None and is_swept(account, after):
        said = f"The app began a small file only after {after:.0f} s: its event was lost, and the sweep found the file."
        return Finding(Verdict.WRONG, WHAT, said, fix_events(account))
    return Finding(Verdict.OK, WHAT, f"A small file had its outcome after {followed.seconds:.0f} s.")


def is_swept(account: Account, after: float) -> bool:
    """Return whether an event must have been lost: the sweep begins a file no sooner than this."""
    settings = account.settings
    # Times of uploads are whole seconds.
    return settings.blob_trigger_source in ("EventGrid", EVENT_QUEUE) and after >= settings.sweep_grace_seconds - 1


def no_outcome(account: Account, name: str, followed: Followed) -> Finding:
    """Return what the state of a file without an outcome shows."""
    file = list_file(account, name)
    flight = read_in_flight(account, file.claim) if file and file.claim else None
    if followed.begun_after is None:
        said = f"The app did not begin a small file within {followed.seconds:.0f} s."
        fix = (
            "Check that the app is running and lists its functions: the portal shows them, and the log names wrong app "
            f"settings. {fix_events(account)}"
        )
        return Finding(Verdict.WRONG, WHAT, said, fix)
    state = f" It is: {waits_for(flight)}." if flight else ""
    said = f"The app began a small file, but it had no outcome within {followed.seconds:.0f} s.{state}"
    fix = (
        "Search the log of the app for the name 'ner-check-'. If it has 'waiting until the app settings are fixed', "
        "check NER_KEY or the role of the app's identity on the Language resource, and NER_ENDPOINT, NER_PROJECT_NAME "
        "and NER_DEPLOYMENT_NAME of the app. If the outcome still comes, the next 'ner check' deletes it."
    )
    return Finding(Verdict.WRONG, WHAT, said, fix)


def fix_events(account: Account) -> str:
    """Return how the operator can have uploads reported to the app."""
    container = account.settings.input_container
    if account.settings.blob_trigger_source == EVENT_QUEUE:
        return (
            "Run 'azd provision', or check the Event Grid subscription by hand: it must deliver into the "
            f"queue {account.settings.event_queue}, and its subjects must begin with "
            f"/blobServices/default/containers/{container}/."
        )
    return (
        "If Event Grid reports uploads, run 'azd hooks run postdeploy', or check the subscription by hand: its URL "
        f"must end in {EVENT_URL} with the current key blobs_extension, and its subjects must begin "
        f"with /blobServices/default/containers/{container}/."
    )
