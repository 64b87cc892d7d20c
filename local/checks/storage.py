"""The storage account: is it there, does it accept the key or the identity, has it the containers and the queue?"""

from collections.abc import Callable, Iterator
from typing import Any, Final

from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError

from local.account import Account
from local.checks.finding import Clock, Finding, Verdict
from shared.settings import EVENT_QUEUE
from shared.storage.account import patience
from shared.storage.errors import ADVICE, describe, error_code, is_missing

PATIENCE_SECONDS: Final = 60.0
"""A call without a response fails after a third of it."""


def options_for(clock: Clock) -> dict[str, Any]:
    """Return options for storage clients: no call waits for long, and each response shows its clock."""
    return {
        **patience(PATIENCE_SECONDS),
        "raw_response_hook": lambda response: clock.note(response.http_response.headers.get("Date")),
    }


def check_storage(account: Account, clock: Clock) -> Iterator[Finding]:
    """Yield a finding for each container and the queue, until storage refuses to say, then one for the clock."""
    settings, refused = account.settings, False
    wanted = [
        ("container", "NER_INPUT_CONTAINER", settings.input_container),
        ("container", "NER_RESULTS_CONTAINER", settings.results_container),
        ("queue", "NER_QUEUE", settings.queue),
    ]
    if settings.blob_trigger_source == EVENT_QUEUE:
        wanted.append(("queue", "NER_QUEUE", settings.event_queue))
    for kind, setting, name in wanted:
        what = f"{kind.capitalize()} {name}"
        try:
            call_for(account, kind, name)()
        except AzureError as error:
            refused = not is_missing(error)
            fix = fix_refused(account, error) if refused else fix_missing(account, kind, name, setting)
            yield Finding(Verdict.WRONG, what, f"{reason(error)}.", fix)
        else:
            yield Finding(Verdict.OK, what, f"It exists, and {who(account)} may read it.")
        if refused:
            break
    yield clock.finding("the storage account")


def call_for(account: Account, kind: str, name: str) -> Callable[[], object]:
    """Return the call that asks for the properties of a container or a queue."""
    if kind == "queue":
        return account.queues.get_queue_client(name).get_queue_properties
    return account.blobs.get_container_client(name).get_container_properties


def who(account: Account) -> str:
    """Return how this machine identifies itself to storage."""
    return "the key in NER_STORAGE" if account.settings.storage.connection_string else "your identity"


def reason(error: AzureError) -> str:
    """Return what a refused call has shown, without anything secret, as the beginning of a sentence."""
    if isinstance(error, ClientAuthenticationError) and error.response is None:
        return "There is no identity that can be used"
    said, code = describe(error), error_code(error)
    if code.startswith("Authorization"):
        said = said.removesuffix(f": {ADVICE.get(code)}")  # it is about the app's identity, not about this one
    return said[:1].upper() + said[1:]


def fix_missing(account: Account, kind: str, name: str, setting: str) -> str:
    """Return what the operator can do if a container or a queue does not exist."""
    host = account.blobs.account_name
    created = f"az storage {kind} create --auth-mode login --account-name {host} --name {name}"
    return f"Create it ('azd provision', or: {created}), or set {setting} here and in the app to the one that exists."


def fix_refused(account: Account, error: AzureError) -> str:
    """Return what the operator can do about another refused call."""
    response = error.response if isinstance(error, HttpResponseError) else None
    if response is None and not isinstance(error, ClientAuthenticationError):
        return "Check the account's name in NER_STORAGE, the network and the proxy."
    if response is not None and response.status_code not in (401, 403):
        return "Try again in some minutes. If that does not help, look for the account's state in the Azure portal."
    return fix_access(account)


def fix_access(account: Account) -> str:
    """Return what the operator can do if storage does not accept the key or the identity."""
    if account.settings.storage.connection_string:
        return (
            "The key in NER_STORAGE is wrong or was replaced: copy the connection string again, here and for the app "
            "(Access keys of the account). If the key is right, the account's firewall refuses this machine, or its "
            "clock is wrong."
        )
    return (
        "Run 'az login', and give your identity the roles Storage Blob Data Contributor and Storage Queue Data "
        "Contributor on the account. A new role takes effect after up to ten minutes. If the account's firewall "
        "refuses this machine, run the command inside its network."
    )
