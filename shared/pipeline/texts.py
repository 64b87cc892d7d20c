"""The text of an upload: its valid documents, its requests and its digest."""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple, TypeVar

import msgspec

from shared.content import Content
from shared.documents import Documents, Survey, check_length, read_documents, survey
from shared.packing import REQUEST_LIMITS, Request, pack
from shared.settings import Settings
from shared.source import Position, Source
from shared.state.batch import Member
from shared.text_encoding import decode_utf8

T = TypeVar("T")

SHORT: Final = 16 * 1024
"""Bytes of the largest file that is processed without a thread. A thread takes as long as 50,000 bytes of text, but
16,000 bytes of invalid lines already delay other files for much longer than that."""


class TextThread:
    """Processes long texts in a thread, so that the event loop is free for other files. One per process.

    There is only one thread. Two would not be faster, because a call into C blocks all other threads, and the event
    loop would wait for both.
    """

    def __init__(self) -> None:
        """Create it; no thread starts here."""
        self.turn = asyncio.Lock()

    async def run(self, length: int, work: Callable[[], T]) -> T:
        """Return the result of `work` on a file of that many bytes; raise its errors."""
        if length <= SHORT:
            return work()
        async with self.turn:
            return await asyncio.to_thread(work)

    async def read(self, settings: Settings, source: Source, data: bytes | None) -> "Text":
        """Return the text of an upload, as `read_text` does."""
        length = len(data or b"")
        # A few compressed bytes can become millions, and to find an older encoding takes long for any text.
        if isinstance(data, Content) or (data and length <= SHORT and decode_utf8(data) is None):
            length = SHORT + 1
        return await self.run(length, lambda: read_text(settings, source, data))


@dataclass(frozen=True)
class Text:
    """The documents of an upload that can be sent.

    `source` has the encoding. `first` is the first request; it holds the whole file if its `end` is None.
    """

    source: Source
    documents: Documents
    found: Survey
    first: Request | None

    @property
    def is_one_request(self) -> bool:
        """Whether the file is one request from its beginning, and nothing is wrong with it.

        If only its beginning is blank and not sent, the file needs a ledger, which records where the request begins.
        """
        first = self.first
        return first is not None and first.end is None and not first.start.offset and not self.found.problems


class File(NamedTuple):
    """A file that is ready to be sent.

    Attributes:
        member: its version, as a member of its batch.
        text: its text, which can be sent.
        received: when the app first saw the version.
        unsure: how many submissions of it may have been accepted, as in BatchRecord.
    """

    member: Member
    text: Text
    received: datetime
    unsure: int = 0


def read_text(settings: Settings, source: Source, data: bytes | None) -> Text:
    """Return the text of an upload; `data` is None if it is too large to be read.

    Raises:
        DocumentError: nothing can be sent; the message says what to do.
    """
    if data is None:
        check_length(source.length, settings.max_blob_bytes)
    documents = read_documents(source.name, data or b"", language=settings.language, max_bytes=settings.max_blob_bytes)
    found = survey(documents)
    first = next(pack(documents.entries())) if found.erroneous_count < found.documents_count else None
    return Text(msgspec.structs.replace(source, encoding=documents.encoding), documents, found, first)


def ready(member: Member, text: Text, received: datetime) -> File:
    """Return a file that is ready to be sent, whose member says how many documents and text records it has."""
    counts = {}
    if text.first is not None:
        first = text.first
        counts = {"documents_count": len(first.documents), "transactions_count": first.transactions_count}
    return File(msgspec.structs.replace(member, source=text.source, **counts), text, received)


def placed(files: Sequence[File]) -> list[File]:
    """Return files whose members say where their documents begin in the request that they share."""
    found, first = [], 0
    for file in files:
        found.append(file._replace(member=msgspec.structs.replace(file.member, first_document=first)))
        first += file.member.documents_count
    return found


def joined(files: Sequence[File]) -> Request | None:
    """Return one request for several files; None if they do not fit one."""
    request = Request(Position())
    for file in files:
        first = file.text.first
        if first is None or not file.text.is_one_request:
            return None
        request.documents += first.documents
        request.transactions_count += first.transactions_count
        request.units_count += first.units_count
    return request if request.fits(REQUEST_LIMITS) else None


def digest_of(api: dict[str, str], language: str, name: str, data: bytes | None) -> str:
    """Return a hash of a text and how it is sent: equal ones give equal entities. Empty without data."""
    if data is None:
        return ""
    compression = [data.compression] if isinstance(data, Content) else []
    way = msgspec.json.encode([sorted(api.items()), language, name, *compression])
    found = hashlib.sha256(way + b"\n")
    found.update(data)
    return found.hexdigest()
