"""What the host sends the Python worker with an invocation: the data of the trigger and its metadata.

As recorded from the Functions host 4.1037 with the Storage extensions 5.3.10.
"""

import base64
import json
import re
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

from azure.storage.blob import BlobProperties
from azure.storage.queue import QueueMessage

from local.host.protocol import TypedData, encodable

NEVER: Final = "0001-01-01T00:00:00+00:00"
""".NET's value of a time that is not set."""
BLOB_TYPES: Final = ("BlockBlob", "PageBlob", "AppendBlob")
LEASE_DURATIONS: Final = ("infinite", "fixed")
LEASE_STATES: Final = ("available", "leased", "expired", "breaking", "broken")
LEASE_STATUSES: Final = ("locked", "unlocked")
ISO_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,7})?(Z|[+-]\d\d:\d\d)?")
"""What Newtonsoft.Json reads as a time."""


def of_message(text: str, message: QueueMessage) -> tuple[TypedData, dict[str, TypedData]]:
    """Return a queue message's data and metadata.

    The host adds the properties of a message that is a JSON object to the metadata, where they replace others.
    """
    times = {
        "ExpirationTime": message.expires_on,
        "InsertionTime": message.inserted_on,
        "NextVisibleTime": message.next_visible_on,
    }
    metadata = {
        "QueueTrigger": TypedData("string", text),
        "Id": TypedData("string", str(message.id)),
        "PopReceipt": TypedData("string", str(message.pop_receipt)),
        "DequeueCount": TypedData("json", json.dumps(message.dequeue_count)),
        **{name: TypedData("json", json.dumps(time.isoformat())) for name, time in times.items() if time},
    }
    names = {name.lower(): name for name in metadata}
    for key, value in properties_of(text).items():
        # The first spelling of a name stays.
        metadata[names.setdefault(key.lower(), key)] = value
    return TypedData("string", text), metadata


def properties_of(text: str) -> dict[str, TypedData]:
    """Return the properties of a JSON object as the host writes them; none if the text is not a JSON object."""
    stripped = text.strip()
    if not (stripped.startswith("{") and stripped.endswith("}")):
        return {}
    try:
        document = json.loads(stripped)
    except (ValueError, RecursionError):
        return {}
    return {encodable(key): as_metadata(value) for key, value in document.items() if not isinstance(value, list)}


def as_metadata(value: Any) -> TypedData:
    """Return a property of a JSON object: an object as JSON, anything else as .NET writes it."""
    match value:
        case dict():
            text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
            return TypedData("json", encodable(text))
        case None:
            text = ""
        case float() if value.is_integer() and abs(value) < 1e15:
            text = str(int(value))
        case float():
            text = repr(value).upper()
        case str() if ISO_TIME.fullmatch(value):
            text = as_dotnet_time(value)
        case _:
            text = str(value)
    return TypedData("string", encodable(text))


def as_dotnet_time(text: str) -> str:
    """Return an ISO time as the host writes a time that it found in JSON; other text unchanged."""
    try:
        # .NET's fractions have one digit more than Python's.
        moment = datetime.fromisoformat(re.sub(r"(\.\d{6})\d", r"\1", text))
    except ValueError:
        return text
    return (moment.astimezone(UTC) if moment.tzinfo else moment).strftime("%m/%d/%Y %H:%M:%S")


def of_blob(
    account: str, properties: BlobProperties, content: bytes | None, pattern: re.Pattern[str], connection: str = ""
) -> tuple[TypedData, dict[str, TypedData]]:
    """Return a blob's data and metadata.

    Args:
        account: the URL of the account.
        properties: properties of the blob.
        content: the blob's bytes; None if the function gets a reference.
        pattern: pattern of names in the trigger's path.
        connection: `connection` of the trigger.
    """
    container, name = str(properties.container), str(properties.name)
    match = pattern.fullmatch(name)
    uri = f"{account.rstrip('/')}/{container}/{quote(name, safe='/~')}"
    metadata = {
        "BlobTrigger": TypedData("string", f"{container}/{name}"),
        "Uri": TypedData("json", json.dumps(uri)),
        "Properties": TypedData("json", compact(as_dotnet(properties))),
        "Metadata": TypedData("json", compact(properties.metadata or {})),
        **{name: TypedData("string", value) for name, value in (match.groupdict() if match else {}).items()},
    }
    if content is None:
        reference = {"Connection": connection, "ContainerName": container, "BlobName": name}
        return TypedData("model_binding_data", json.dumps(reference, separators=(",", ":"))), metadata
    return TypedData("bytes", content=content), metadata


def compact(document: dict[str, Any]) -> str:
    """Return JSON without spaces, as .NET writes it."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def as_dotnet(properties: BlobProperties) -> dict[str, Any]:
    """Return a blob's properties as the host serialises those of the .NET SDK."""
    settings, lease = properties.content_settings, properties.lease
    return {
        "LastModified": properties.last_modified.isoformat(),
        "CreatedOn": properties.creation_time.isoformat(),
        "Metadata": properties.metadata or {},
        "ObjectReplicationDestinationPolicyId": None,
        "ObjectReplicationSourceProperties": None,
        "BlobType": number(BLOB_TYPES, properties.blob_type, 0),
        "CopyCompletedOn": NEVER,
        "CopyStatusDescription": None,
        "CopyId": None,
        "CopyProgress": None,
        "CopySource": None,
        "CopyStatus": 0,
        "BlobCopyStatus": None,
        "IsIncrementalCopy": False,
        "DestinationSnapshot": None,
        "LeaseDuration": number(LEASE_DURATIONS, lease.duration, 0),
        "LeaseState": number(LEASE_STATES, lease.state, 0),
        "LeaseStatus": number(LEASE_STATUSES, lease.status, 1),
        "ContentLength": properties.size,
        "ContentType": settings.content_type,
        # The serialiser finds no public property in the SDK's ETag type.
        "ETag": {},
        "ContentHash": base64.b64encode(settings.content_md5).decode() if settings.content_md5 else None,
        "ContentEncoding": settings.content_encoding,
        "ContentDisposition": settings.content_disposition,
        "ContentLanguage": settings.content_language,
        "CacheControl": settings.cache_control,
        "BlobSequenceNumber": 0,
        "AcceptRanges": "bytes",
        "BlobCommittedBlockCount": 0,
        "IsServerEncrypted": bool(properties.server_encrypted),
        "EncryptionKeySha256": None,
        "EncryptionScope": properties.encryption_scope,
        "AccessTier": properties.blob_tier,
        "AccessTierInferred": bool(properties.blob_tier_inferred),
        "ArchiveStatus": properties.archive_status,
        "AccessTierChangedOn": (properties.blob_tier_change_time or properties.last_modified).isoformat(),
        "VersionId": None,
        "IsLatestVersion": False,
        "TagCount": properties.tag_count or 0,
        "ExpiresOn": NEVER,
        "IsSealed": False,
        "RehydratePriority": None,
        "LastAccessed": NEVER,
        "ImmutabilityPolicy": {"ExpiresOn": None, "PolicyMode": None},
        "HasLegalHold": bool(properties.has_legal_hold),
    }


def number(names: tuple[str, ...], name: object, default: int) -> int:
    """Return the number of a .NET enumeration's value."""
    text = str(getattr(name, "value", name) or "")
    return names.index(text) if text in names else default
