"""What a refused call to storage means."""

from types import SimpleNamespace
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ServiceRequestError
from azure.storage.blob import StorageErrorCode

from shared.storage.errors import describe, error_code, exists_already, is_lost_race, is_missing

URL = "http://127.0.0.1:10000/devstoreaccount1/results/folder/a%20b.txt.json?sig=SECRET&timeout=30"


def refused(status: int, code: Any, url: str = URL) -> HttpResponseError:
    """Return an error as the SDK raises it."""
    response: Any = SimpleNamespace(
        status_code=status, reason="no", headers={}, request=SimpleNamespace(method="PUT", url=url)
    )
    error = HttpResponseError("refused", response=response)
    error.error_code = code  # type: ignore[attr-defined]  # the SDK sets it so
    return error


@pytest.mark.parametrize(
    ("status", "code", "lost", "missing", "exists"),
    [
        (409, StorageErrorCode.BLOB_ALREADY_EXISTS, True, False, True),
        (412, StorageErrorCode.CONDITION_NOT_MET, True, False, False),
        (412, "AppendPositionConditionNotMet", True, False, False),
        (409, "BlobImmutableDueToPolicy", False, False, False),
        (409, "BlobArchived", False, False, False),
        (409, "InvalidBlobType", False, False, False),
        (409, "ContainerBeingDeleted", False, False, False),
        (409, "ContainerAlreadyExists", False, False, True),
        (409, "PathConflict", False, False, False),
        (412, "LeaseIdMissing", False, False, False),
        (404, "BlobNotFound", False, True, False),
        (404, "ContainerNotFound", False, True, False),
        (404, "QueueNotFound", False, True, False),
        (404, "MessageNotFound", False, True, False),
        (404, None, False, False, False),
        (404, "ResourceNotFound", False, False, False),
        (403, "AuthorizationFailure", False, False, False),
        (503, "ServerBusy", False, False, False),
    ],
)
def test_the_code_decides_what_a_refusal_means(status: int, code: Any, lost: bool, missing: bool, exists: bool) -> None:
    """Never the status alone: 409 and 412 are lost races at times, and refusals for good at others."""
    error = refused(status, code)
    assert (is_lost_race(error), is_missing(error), exists_already(error)) == (lost, missing, exists)


def test_the_log_names_the_call_and_what_is_in_the_way() -> None:
    """Method, path, status and code, and what to do; no query, since it may be a SAS."""
    line = describe(refused(412, StorageErrorCode.LEASE_ID_MISSING))
    assert "412 LeaseIdMissing to PUT '/devstoreaccount1/results/folder/a b.txt.json'" in line
    assert "lease" in line.partition("json'")[2]
    assert "SECRET" not in line


def test_a_refusal_makes_one_line_of_the_log() -> None:
    """Whatever a gateway answers, and whatever the file is called."""
    line = describe(refused(502, "x\nERROR forged", "http://127.0.0.1/results/a%0Ab%1B%5B2J.txt"))
    assert "without an error code" in line
    assert line.isprintable()


def test_an_account_out_of_reach_has_no_code() -> None:
    """No answer came."""
    error = ServiceRequestError("Cannot connect to host 127.0.0.1:10000")
    assert error_code(error) == ""
    assert not is_missing(error)
    assert "could not be reached (ServiceRequestError)" in describe(error)
