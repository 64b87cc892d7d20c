"""What stands in a storage account about files: in flight, ended badly, poisoned. Only reads, and changes nothing."""

import base64
import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec
from azure.core.exceptions import ResourceNotFoundError
from shared.jobs import JobMessage, MessageError, decode_message
from shared.ledger import decode_ledger, ledger_name
from shared.poison import FUNCTION_ID, BlobNotice
from shared.state_storage import record_name
from shared.submissions import Submission, decode_submission

from local.account import Account
from shared.ner.model import Problem, Statistics
from shared.settings import BLOB_POISON_QUEUE, Settings
from shared.source import Source

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


def read_record(account: Account, name: str) -> Record | None:
    """Return a record; None if it is gone."""
    try:
        data = account.blobs.get_blob_client(account.settings.state_container, name).download_blob().readall()
    except ResourceNotFoundError:
        return None
    try:
        submission = decode_submission(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return Record(name, None, f"cannot be read, because another version of this app wrote it: {error}")
    container = submission.message.source.container
    if container != account.settings.input_container:
        return Record(name, None, f"belongs to container {container!r}, which is not NER_INPUT_CONTAINER")
    return Record(name, submission)


def record_of(account: Account, source: Source) -> Record | None:
    """Return the record of a version; None if it is not in flight."""
    return read_record(account, record_name(source))


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
class Report:
    """What an outcome says at its beginning.

    Attributes:
        etag: of the outcome blob, without quotes.
        status: as it is now.
        source: the version that it is the outcome of; None if it cannot be read.
        problems: None if there are too many to read here.
        text_records: that were paid for; None where `problems` is.
    """

    etag: str
    status: str
    source: Source | None
    problems: list[Problem] | None
    text_records: int | None = None


class Problems(msgspec.Struct):
    """The part of an outcome that says what went wrong, and what it cost all the same."""

    errors: list[Problem]
    statistics: Statistics


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
        told = msgspec.json.decode(data, type=Problems)
    except (msgspec.DecodeError, UnicodeDecodeError):
        told = None
    status = (properties.metadata or {}).get("status", "")
    etag, source = properties.etag.strip('"'), read_source(data)
    if told is None:
        return Report(etag, status, source, None)
    return Report(etag, status, source, told.errors, told.statistics.transactions_count)


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
