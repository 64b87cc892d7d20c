"""The tables of answers: each row has its own name and a source, and its code is written as the service writes it."""

from collections import Counter

import pytest
from azure.storage.blob import StorageErrorCode

from tests.azure_answers import ANSWERS, AzureAnswer
from tests.proxy import Call, Service
from tests.service_answers import SERVICE_ANSWERS

KNOWN_CODES = {code.value.lower(): code.value for code in StorageErrorCode}


def test_names_are_unique() -> None:
    """Of each table."""
    for table in (ANSWERS, SERVICE_ANSWERS):
        assert max(Counter(row.name for row in table).values()) == 1


@pytest.mark.parametrize("row", [*ANSWERS, *SERVICE_ANSWERS], ids=lambda row: row.name)
def test_each_answer_says_where_it_is_known_from(row: AzureAnswer) -> None:
    """By an address."""
    assert row.source.startswith("https://")


@pytest.mark.parametrize("row", ANSWERS, ids=lambda row: row.name)
def test_codes_are_written_as_the_sdk_knows_them(row: AzureAnswer) -> None:
    """Some are newer than the SDK."""
    assert KNOWN_CODES.get(row.code.lower(), row.code) == row.code


@pytest.mark.parametrize(
    ("service", "request_line", "operation", "container", "blob"),
    [
        (Service.BLOB, "GET /account/c/a%20b/c%2Fd.txt", "Get Blob", "c", "a b/c/d.txt"),
        (Service.BLOB, "HEAD /account/c/b", "Get Blob Properties", "c", "b"),
        (Service.BLOB, "PUT /account/c/b?comp=block&blockid=AA%3D%3D", "Put Block", "c", "b"),
        (Service.BLOB, "PUT /account/c/b?comp=tags", "PUT blob tags", "c", "b"),
        (Service.BLOB, "PUT /account/c?restype=container", "Create Container", "c", ""),
        (Service.BLOB, "GET /account/c?restype=container&comp=list&prefix=x", "List Blobs", "c", ""),
        (Service.BLOB, "GET /account?comp=list", "List Containers", "", ""),
        (Service.QUEUE, "POST /account/q/messages?visibilitytimeout=0", "Put Message", "q", ""),
        (Service.QUEUE, "GET /account/q/messages?peekonly=true", "Peek Messages", "q", ""),
        (Service.QUEUE, "DELETE /account/q/messages/id?popreceipt=x", "Delete Message", "q", ""),
        (Service.QUEUE, "GET /account/q?comp=metadata", "Get Queue Metadata", "q", ""),
        (Service.NER, "POST /language/analyze-text/jobs?api-version=x", "Submit Job", "", ""),
        (Service.NER, "POST /language/analyze-text/jobs/1:cancel?api-version=x", "Cancel Job", "", ""),
    ],
)
def test_calls_are_known_by_what_they_are_on_the_wire(
    service: Service, request_line: str, operation: str, container: str, blob: str
) -> None:
    """By service, method and address."""
    method, target = request_line.split(" ")
    call = Call(1, service, method, target, {})
    assert (call.operation, call.container, call.blob) == (operation, container, blob)
