"""The answers that an Azure storage account gives and the storage emulator does not, as a table.

Each row says which operations can get it and where that is known from. What the SDK makes of an answer depends on its
status, its code and whether there is a body, so these are as Azure has them: a HEAD has no body, and what a gateway
says has no code.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from tests.proxy import Answer, Call, Service

REST: Final = "https://learn.microsoft.com/rest/api/storageservices/"
COMMON_CODES: Final = REST + "common-rest-api-error-codes"
BLOB_CODES: Final = REST + "blob-service-error-codes"
QUEUE_CODES: Final = REST + "queue-service-error-codes"
DELETE_CONTAINER: Final = REST + "delete-container"
DELETE_QUEUE: Final = REST + "delete-queue3"
HNS_ISSUES: Final = "https://learn.microsoft.com/azure/storage/blobs/data-lake-storage-known-issues"
GATEWAYS: Final = "https://learn.microsoft.com/azure/application-gateway/http-response-codes"

Fits = Callable[[Call], bool]


@dataclass(frozen=True)
class AzureAnswer:
    """An answer of storage.

    Attributes:
        name: of the row.
        fits: whether a call can get it.
        status: of the answer; None resets the connection.
        code: the error code; empty if whoever answers gives none.
        message: as the body has it, with `{signature}` for the request's own.
        source: where it is known from.
        after: the call has been carried out, and only its answer is lost.
        cut: half of the server's own answer comes.
        never: no answer comes.
        lasts: whether it can stay for hours. What comes and goes with other callers, or with one answer on its way,
            does not.
        together: an answer that other operations on the same container or queue get as long as this one lasts.
    """

    name: str
    fits: Fits = field(repr=False)
    status: int | None
    code: str = ""
    message: str = ""
    source: str = ""
    after: bool = False
    cut: bool = False
    never: bool = False
    lasts: bool = True
    together: "AzureAnswer | None" = None

    def to(self, call: Call) -> Answer:
        """Return what the caller gets."""
        if self.status is None:
            return Answer(cut=self.cut, carried_out=self.after, never=self.never)
        headers = {
            "Server": "Windows-Azure-Blob/1.0 Microsoft-HTTPAPI/2.0",
            "x-ms-request-id": f"00000000-0000-0000-0000-{call.number:012d}",
            "x-ms-version": call.headers.get("x-ms-version", "2021-12-02"),
        }
        if not self.code:
            return Answer(self.status, {"Content-Type": "text/html"}, self.message.encode(), carried_out=self.after)
        headers |= {"x-ms-error-code": self.code, "Content-Type": "application/xml"}
        return Answer(self.status, headers, self.body(call).encode(), carried_out=self.after)

    def body(self, call: Call) -> str:
        """Return the XML, with a byte order mark in front as Azure sends it."""
        signature = re.sub(r".*:", "", call.headers.get("authorization", ""))
        message = self.message.replace("{signature}", signature) or "The operation cannot be carried out now."
        details = f"RequestId:00000000-0000-0000-0000-{call.number:012d}\nTime:2026-01-01T00:00:00.0000000Z"
        return (
            f'\ufeff<?xml version="1.0" encoding="utf-8"?><Error><Code>{self.code}</Code>'
            f"<Message>{message}\n{details}</Message></Error>"
        )


def of(*operations: str, condition: str | None = None, service: Service | None = None) -> Fits:
    """Return what fits these operations, with this condition if one is given."""

    def fits(call: Call) -> bool:
        return (
            (not operations or call.operation in operations)
            and condition in (None, call.condition)
            and (call.service is service if service else call.service is not Service.NER)
        )

    return fits


def any_of(*alternatives: Fits) -> Fits:
    """Return what fits whatever one of these does."""
    return lambda call: any(fits(call) for fits in alternatives)


BLOB_WRITES: Final = ("Put Blob", "Put Block", "Put Block List", "Append Block", "Delete Blob")
BLOB_READS: Final = ("Get Blob", "Get Blob Properties")
MESSAGE_CHANGES: Final = ("Update Message", "Delete Message")


def changes(call: Call) -> bool:
    """Return whether a call changes something: then it matters whether it was carried out."""
    return call.service is not Service.NER and call.method not in ("GET", "HEAD")


overwrites: Final = any_of(of("Put Blob", condition="If-Match"), of("Put Block List", "Delete Blob"))
"""What changes a blob that is there already."""
is_message_call: Final = any_of(
    of("Put Message", "Get Queue Metadata", *MESSAGE_CHANGES),
)

CONTAINER_BEING_DELETED: Final = AzureAnswer(
    "container being deleted",
    any_of(of("Create Container"), of(*BLOB_WRITES)),
    409,
    "ContainerBeingDeleted",
    "The specified container is being deleted. Try operation later.",
    DELETE_CONTAINER,
)
QUEUE_BEING_DELETED: Final = AzureAnswer(
    "queue being deleted",
    of("Create Queue"),
    409,
    "QueueBeingDeleted",
    "The specified queue is being deleted.",
    DELETE_QUEUE,
)

ANSWERS: Final = (
    # Somebody else's rule on the blob, or on its container.
    AzureAnswer(
        "retention policy",
        any_of(overwrites, of("Append Block")),
        409,
        "BlobImmutableDueToPolicy",
        "This operation is not permitted as the blob is immutable due to a policy.",
        BLOB_CODES,
    ),
    AzureAnswer(
        "legal hold",
        any_of(overwrites, of("Append Block")),
        409,
        "BlobImmutableDueToLegalHold",
        "This operation is not permitted as the blob is immutable due to one or more legal holds.",
        BLOB_CODES,
    ),
    AzureAnswer(
        "archived",
        any_of(of("Get Blob"), of("Put Blob", condition="If-Match"), of("Put Block List")),
        409,
        "BlobArchived",
        "This operation is not permitted on an archived blob.",
        BLOB_CODES,
    ),
    AzureAnswer(
        "being rehydrated",
        any_of(of("Put Blob", condition="If-Match"), of("Put Block List")),
        409,
        "BlobBeingRehydrated",
        "This operation is not permitted because the blob is being rehydrated.",
        BLOB_CODES,
    ),
    AzureAnswer(
        "other blob type",
        of("Put Blob", "Put Block", "Put Block List", "Append Block"),
        409,
        "InvalidBlobType",
        "The blob type is invalid for this operation.",
        BLOB_CODES,
    ),
    AzureAnswer(
        "snapshots",
        of("Delete Blob"),
        409,
        "SnapshotsPresent",
        "This operation is not permitted while the blob has snapshots.",
        BLOB_CODES,
    ),
    AzureAnswer(
        "too many blocks",
        of("Append Block"),
        409,
        "BlockCountExceedsLimit",
        "The committed block count cannot exceed the maximum limit of 50,000 blocks.",
        BLOB_CODES,
    ),
    AzureAnswer(
        "lease",
        any_of(overwrites, of("Append Block")),
        412,
        "LeaseIdMissing",
        "There is currently a lease on the blob and no lease ID was specified in the request.",
        BLOB_CODES,
    ),
    # A hierarchical namespace.
    AzureAnswer(
        "data lake",
        of("Put Block", "Put Block List"),
        409,
        "BlobOperationNotSupported",
        "The operation is not supported in this scenario.",
        BLOB_CODES,
    ),
    AzureAnswer(
        "path conflict",
        any_of(of("Put Blob", condition="If-None-Match"), of("Put Block List")),
        409,
        "PathConflict",
        "The specified path, or an element of the path, exists and its resource type is invalid for this operation.",
        HNS_ISSUES,
    ),
    # The container or the queue.
    CONTAINER_BEING_DELETED,
    AzureAnswer(
        "container missing",
        of(*BLOB_READS, *BLOB_WRITES),
        404,
        "ContainerNotFound",
        "The specified container does not exist.",
        BLOB_CODES,
        together=CONTAINER_BEING_DELETED,
    ),
    AzureAnswer(
        "container disabled",
        of(*BLOB_READS, *BLOB_WRITES, "Create Container"),
        409,
        "ContainerDisabled",
        "The specified container has been disabled by the administrator.",
        BLOB_CODES,
    ),
    QUEUE_BEING_DELETED,
    AzureAnswer(
        "queue missing",
        is_message_call,
        404,
        "QueueNotFound",
        "The specified queue does not exist.",
        QUEUE_CODES,
        together=QUEUE_BEING_DELETED,
    ),
    AzureAnswer(
        "queue disabled",
        any_of(is_message_call, of("Create Queue")),
        409,
        "QueueDisabled",
        "The specified queue has been disabled by the administrator.",
        QUEUE_CODES,
    ),
    # The account, and who may use it.
    AzureAnswer(
        "firewall",
        of(),
        403,
        "AuthorizationFailure",
        "This request is not authorized to perform this operation.",
        COMMON_CODES,
    ),
    AzureAnswer(
        "role",
        of(),
        403,
        "AuthorizationPermissionMismatch",
        "This request is not authorized to perform this operation using this permission.",
        COMMON_CODES,
    ),
    AzureAnswer(
        "key",
        of(),
        403,
        "AuthenticationFailed",
        "Server failed to authenticate the request. Make sure the value of Authorization header is formed correctly "
        "including the signature.</Message><AuthenticationErrorDetail>The MAC signature found in the HTTP request "
        "'{signature}' is not the same as any computed signature.</AuthenticationErrorDetail><Message>",
        COMMON_CODES,
    ),
    AzureAnswer(
        "no keys",
        of(),
        403,
        "KeyBasedAuthenticationNotPermitted",
        "Key based authentication is not permitted on this storage account.",
        COMMON_CODES,
    ),
    AzureAnswer("account disabled", of(), 403, "AccountIsDisabled", "The specified account is disabled.", COMMON_CODES),
    # Load, partition moves, and what is between.
    AzureAnswer("busy", of(), 503, "ServerBusy", "The server is busy.", COMMON_CODES),
    AzureAnswer(
        "timed out",
        of(),
        500,
        "OperationTimedOut",
        "Operation could not be completed within the specified time.",
        COMMON_CODES,
    ),
    AzureAnswer(
        "timed out, but done",
        changes,
        500,
        "OperationTimedOut",
        "Operation could not be completed within the specified time.",
        COMMON_CODES,
        after=True,
        lasts=False,
    ),
    AzureAnswer(
        "internal error",
        of(),
        500,
        "InternalError",
        "The server encountered an internal error. Please retry the request.",
        COMMON_CODES,
    ),
    AzureAnswer("reset", of(), None, source=COMMON_CODES),
    AzureAnswer("silence", of(), None, source=COMMON_CODES, never=True),
    AzureAnswer("answer lost", changes, None, source=COMMON_CODES, after=True, lasts=False),
    AzureAnswer("half an answer", of("Get Blob"), None, source=COMMON_CODES, cut=True, lasts=False),
    AzureAnswer("gateway's 404", of(), 404, message="<html>404 Web Site not found</html>", source=GATEWAYS),
    AzureAnswer("gateway's 429", of(), 429, message="<html>Too Many Requests</html>", source=GATEWAYS),
    AzureAnswer("gateway's 502", of(), 502, message="<html>502 Bad Gateway</html>", source=GATEWAYS),
    # Lost races: these alone mean that another writer was faster.
    AzureAnswer(
        "lost race, first",
        of("Put Blob", condition="If-None-Match"),
        409,
        "BlobAlreadyExists",
        "The specified blob already exists.",
        BLOB_CODES,
    ),
    AzureAnswer(
        "lost race",
        any_of(of("Put Blob", "Put Block List", "Delete Blob", condition="If-Match")),
        412,
        "ConditionNotMet",
        "The condition specified using HTTP conditional header(s) is not met.",
        COMMON_CODES,
    ),
    AzureAnswer(
        "lost race, append",
        of("Append Block", condition="appendpos"),
        412,
        "AppendPositionConditionNotMet",
        "The append position condition specified was not met.",
        BLOB_CODES,
    ),
    AzureAnswer(
        "lost race, blocks",
        of("Put Block List"),
        400,
        "InvalidBlockList",
        "The specified block list is invalid.",
        BLOB_CODES,
    ),
    AzureAnswer(
        "message gone",
        of(*MESSAGE_CHANGES),
        404,
        "MessageNotFound",
        "The specified message does not exist.",
        QUEUE_CODES,
    ),
    AzureAnswer(
        "message received",
        of(*MESSAGE_CHANGES),
        400,
        "PopReceiptMismatch",
        "The specified pop receipt did not match the pop receipt for a dequeued message.",
        QUEUE_CODES,
    ),
)
"""All of them; those of one call differ in status, code, or in what has been carried out."""

BY_NAME: Final = {answer.name: answer for answer in ANSWERS}


def answers_to(call: Call) -> Iterator[AzureAnswer]:
    """Yield what storage can answer to a call in place of doing it."""
    return (answer for answer in ANSWERS if answer.fits(call))
