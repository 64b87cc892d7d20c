"""The meaning of a refused call to storage, by its error code: only some responses of a status mean a lost race.

Codes: https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes and .../queue-service-error-codes.
"""

from typing import Any, Final
from urllib.parse import unquote, urlsplit

from azure.core.exceptions import AzureError, HttpResponseError

LOST_RACE: Final = frozenset({"BlobAlreadyExists", "ConditionNotMet", "AppendPositionConditionNotMet"})
"""Another caller has written since this one read. 409 and 412 have many other meanings, which never go away."""
MISSING: Final = frozenset({"BlobNotFound", "ContainerNotFound", "QueueNotFound", "MessageNotFound"})
"""The resource does not exist. A gateway's 404 has no such code, and does not show this."""
ARCHIVED: Final = frozenset({"BlobArchived", "BlobBeingRehydrated"})
EXISTS: Final = frozenset({"ContainerAlreadyExists", "QueueAlreadyExists", "BlobAlreadyExists"})
LONGEST_CODE: Final = 64
ADVICE: Final = {
    "LeaseIdMissing": "another program holds a lease on it, which must be released",
    "BlobImmutableDueToPolicy": "a retention policy or a legal hold forbids replacing or deleting it",
    "BlobArchived": "it is in the archive tier and must be rehydrated",
    "BlobBeingRehydrated": "it is being rehydrated from the archive tier",
    "InvalidBlobType": "a blob of another type has this name and must be deleted or renamed",
    "ContainerBeingDeleted": "the container was deleted a moment ago",
    "QueueBeingDeleted": "the queue was deleted a moment ago",
    "AuthorizationFailure": "the account's firewall or the app's role assignment does not allow it",
    "AuthorizationPermissionMismatch": "the app's identity lacks a role on the account",
    "AccountIsDisabled": "the account is disabled",
}
"""What an operator should know about errors that do not go away by themselves, or not immediately."""


def error_code(error: AzureError) -> str:
    """Return the storage service's error code; empty if it gave none or did not respond at all."""
    code = getattr(error, "error_code", None)
    return str(getattr(code, "value", code) or "")


def is_lost_race(error: AzureError) -> bool:
    """Return whether a conditional call failed only because another caller has changed the blob."""
    return error_code(error) in LOST_RACE


def is_missing(error: AzureError) -> bool:
    """Return whether storage reports that the blob, container, message or queue does not exist."""
    return error_code(error) in MISSING


def is_archived(error: AzureError) -> bool:
    """Return whether storage reports that the blob is in the archive tier, perhaps while it is being rehydrated."""
    return error_code(error) in ARCHIVED


def exists_already(error: AzureError) -> bool:
    """Return whether what was to be created exists."""
    return error_code(error) in EXISTS


def describe(error: AzureError) -> str:
    """Return a log line about a refused call: method, path, status and code; not the query, which may be a SAS."""
    response = error.response if isinstance(error, HttpResponseError) else None
    if response is None:
        return f"the storage account could not be reached ({type(error).__name__})"
    code = error_code(error)
    named = code[:LONGEST_CODE] if code.isascii() and code.isalnum() else "without an error code"
    request: Any = response.request  # its type depends on the SDK's transport
    path = unquote(urlsplit(request.url).path)
    advice = f": {ADVICE[code]}" if code in ADVICE else ""
    return f"storage answered {response.status_code} {named} to {request.method} {path!r}{advice}"


def reason_of(error: Exception) -> str:
    """Return why an invocation could not finish its work, as one log line."""
    if isinstance(error, AzureError):
        return describe(error)
    if isinstance(error, TimeoutError):
        return "the invocation has reached its time limit (NER_SUBMIT_TIMEOUT_SECONDS)"
    return "other invocations changed the same blob each time"
