"""The text of an upload: what can be sent of it, and its digest."""

import hashlib
from dataclasses import dataclass

import msgspec

from shared.documents import Documents, Survey, check_length, read_documents, survey
from shared.packing import Request, pack
from shared.pipeline.services import Services
from shared.source import Source


@dataclass(frozen=True)
class Text:
    """What can be sent of an upload.

    `source` has the encoding. `first` is the first request; it holds the whole file if its `end` is None.
    """

    source: Source
    documents: Documents
    found: Survey
    first: Request | None

    @property
    def is_one_request(self) -> bool:
        """Whether the file is one request and nothing is wrong with it."""
        return self.first is not None and self.first.end is None and not self.found.problems


def read_text(services: Services, source: Source, data: bytes | None) -> Text:
    """Return what can be sent of an upload; `data` is None if it is too large to be read.

    Raises:
        DocumentError: nothing can be sent; the message says what to do.
    """
    if data is None:
        check_length(source.length, services.settings.max_blob_bytes)
    documents = read_documents(
        source.name, data or b"", language=services.settings.language, max_bytes=services.settings.max_blob_bytes
    )
    found = survey(documents)
    first = next(pack(documents.entries())) if found.erroneous_count < found.documents_count else None
    return Text(msgspec.structs.replace(source, encoding=documents.encoding), documents, found, first)


def digest_of(services: Services, name: str, data: bytes | None) -> str:
    """Return a hash of a text and how it is sent: equal ones give equal entities. Empty without data."""
    if data is None:
        return ""
    way = msgspec.json.encode([sorted(services.api.items()), services.settings.language, name])
    return hashlib.sha256(way + b"\n" + data).hexdigest()
