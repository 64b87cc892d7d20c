"""What stands in a storage account about files: in flight, ended badly, poisoned. Only reads, and changes nothing."""

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec
from azure.core.exceptions import ResourceNotFoundError

from local.account import Account
from shared.jobs import JobMessage, MessageError, decode_message, utc_now
from shared.ledger import decode_ledger, ledger_name
from shared.ner.model import Problem
from shared.outcome import LONGEST_BLOB_NAME, OutcomeStatus, blob_name, utf16_length
from shared.poison import FUNCTION_ID, BlobNotice
from shared.settings import BLOB_POISON_QUEUE, Settings
from shared.source import Source
from shared.state_storage import SUBMISSION_SUFFIX
from shared.storage import source_of
from shared.submissions import Submission, decode_submission

HEAD_BYTES: Final = 64 * 1024
"""What is read of an outcome: its source stands at the beginning, and one that failed is mostly no longer."""
HEAD: Final = re.compile(r'\s*\{\s*"status":\s*"\w+",\s*"source":\s*')


@dataclass(frozen=True)
class Record:
    """A record of a version in flight, in NER_STATE_CONTAINER.

    Attributes:
        blob: its name.
        submission: what it says; None where it is none of this app's, and `problem` says why.
    """

    blob: str
    submission: Submission | None
    problem: str = ""


def record_blobs(account: Account) -> dict[str, datetime]:
    """Return the names of all records, and when each was written last."""
    blobs = account.listed(account.settings.state_container)
    return {blob.name: blob.last_modified for blob in blobs if blob.name.endswith(SUBMISSION_SUFFIX)}


def read_record(account: Account, name: str) -> Record | None:
    """Return a record; None if it is gone."""
    try:
        data = account.blobs.get_blob_client(account.settings.state_container, name).download_blob().readall()
    except ResourceNotFoundError:
        return None
    try:
        submission = decode_submission(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return Record(name, None, f"cannot be read, so another version of this app wrote it: {error}")
    container = submission.message.source.container
    if container != account.settings.input_container:
        return Record(name, None, f"is about the container {container!r}, which is not NER_INPUT_CONTAINER")
    return Record(name, submission)


def record_of(account: Account, source: Source) -> Record | None:
    """Return the record of a version; None if it is not in flight."""
    return read_record(account, ledger_name(source) + SUBMISSION_SUFFIX)


def jobs_count(account: Account, submission: Submission) -> int | None:
    """Return how many jobs a version has by now; None where its ledger cannot be read."""
    message = submission.message
    if not message.has_ledger:
        return len(message.jobs)
    name = ledger_name(message.source)
    blob = account.blobs.get_blob_client(account.settings.state_container, f"{name}.ledger.jsonl")
    try:
        return len(decode_ledger(name, blob.download_blob().readall()).jobs)
    except (ResourceNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
        return None


@dataclass(frozen=True)
class Ended:
    """An outcome blob as a listing shows it, and when it was written."""

    blob: str
    status: OutcomeStatus
    modified: datetime
    size: int

    @property
    def name(self) -> str | None:
        """The file's name; None where the blob's name may be a shortened one."""
        if utf16_length(self.blob) >= LONGEST_BLOB_NAME - 1:
            return None
        return self.blob.removesuffix(".json")


def ended(account: Account, since: datetime | None = None) -> Iterator[Ended]:
    """Yield all outcomes that were written since then, without reading any."""
    known = {status.value: status for status in OutcomeStatus}
    for blob in account.listed(account.settings.results_container, include=["metadata"]):
        status = known.get((blob.metadata or {}).get("status", ""))
        if status and (since is None or blob.last_modified >= since):
            yield Ended(blob.name, status, blob.last_modified, blob.size)


def unheard(account: Account) -> list[Source]:
    """Return the uploads that have neither a record nor an outcome, although the app had time to hear of them."""
    settings, since = account.settings, utc_now()
    # In this order: what the app comes to meanwhile is found in one of the later listings.
    uploads = [
        source_of(settings.input_container, blob.name, blob) for blob in account.listed(settings.input_container)
    ]
    records = record_blobs(account)
    blobs = account.listed(settings.results_container, include=["metadata"])
    outcomes = {blob.name: (blob.metadata or {}).get("source_etag", "") for blob in blobs}
    return [
        source
        for source in uploads
        if (since - source.last_modified).total_seconds() > settings.submit_timeout_seconds
        and ledger_name(source) + SUBMISSION_SUFFIX not in records
        and outcomes.get(blob_name(source.name)) != source.etag
    ]


@dataclass(frozen=True)
class Report:
    """What an outcome says at its beginning.

    Attributes:
        etag: of the outcome blob, without quotes.
        status: as it is now.
        source: the version that it is the outcome of; None if it cannot be read.
        problems: None if there are too many to read here.
    """

    etag: str
    status: str
    source: Source | None
    problems: list[Problem] | None


class Problems(msgspec.Struct):
    """The part of an outcome that says what went wrong."""

    errors: list[Problem]


def read_report(account: Account, blob: str) -> Report | None:
    """Return what an outcome says; None if it is gone."""
    client = account.blobs.get_blob_client(account.settings.results_container, blob)
    try:
        download = client.download_blob(offset=0, length=HEAD_BYTES)
        data = download.readall()
    except ResourceNotFoundError:
        return None
    properties = download.properties
    try:
        problems = msgspec.json.decode(data, type=Problems).errors
    except (msgspec.DecodeError, UnicodeDecodeError):
        problems = None
    status = (properties.metadata or {}).get("status", "")
    return Report(properties.etag.strip('"'), status, read_source(data), problems)


def read_source(head: bytes) -> Source | None:
    """Return the version that stands at the beginning of an outcome, however long the rest is."""
    text = head.decode("utf-8", "ignore")
    begin = HEAD.match(text)
    try:
        return msgspec.convert(json.JSONDecoder().raw_decode(text, begin.end())[0], Source) if begin else None
    except (ValueError, msgspec.ValidationError):
        return None


@dataclass(frozen=True)
class Poisoned:
    """A message in a poison queue.

    Attributes:
        name: of the file; None where it is none of this app's messages.
        inserted: when it went there.
        message: what it was to do; None where it is the host's notice of an upload.
        text: of the message.
    """

    queue: str
    name: str | None
    inserted: datetime | None
    message: JobMessage | None = None
    text: str = ""


def read_poisoned(settings: Settings, queue: str, content: object, inserted: datetime | None) -> Poisoned:
    """Return what a message in a poison queue is about; `content` is its text as it stands there."""
    try:
        body = base64.b64decode(str(content or ""), validate=True)
        if queue == BLOB_POISON_QUEUE:
            notice = msgspec.json.decode(body, type=BlobNotice)
            ours = (notice.function_id, notice.container_name) == (FUNCTION_ID, settings.input_container)
            return Poisoned(queue, (notice.blob_name or None) if ours else None, inserted)
        message = decode_message(body, settings.input_container)
    except (ValueError, MessageError):  # of base64, of UTF-8, of JSON
        return Poisoned(queue, None, inserted)
    return Poisoned(queue, message.source.name, inserted, message, body.decode())


def peeked(account: Account, queue: str) -> list[Poisoned]:
    """Return what stands first in a poison queue: storage shows 32 messages, and only those visible."""
    try:
        messages = account.queues.get_queue_client(queue).peek_messages(max_messages=32)
    except ResourceNotFoundError:
        return []
    return [read_poisoned(account.settings, queue, message.content, message.inserted_on) for message in messages]
