"""Listings of containers, page by page and in the order of the blobs' names, from any page on."""

import heapq
import re
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, NamedTuple
from urllib.parse import quote, unquote, urlencode
from xml.parsers.expat import ParserCreate

from azure.core.exceptions import HttpResponseError
from azure.core.rest import HttpRequest
from azure.storage.blob.aio import ContainerClient

from shared.storage.errors import is_missing

PAGE_SIZE: Final = 5000
"""The maximum of blobs in one list call."""
CODE_UNIT: Final = 2
"""Bytes of a UTF-16 code unit."""
ARCHIVE: Final = "Archive"
"""The tier of a blob that cannot be read before it has been rehydrated."""
MARKER: Final = re.compile(r"|_SUCCESS|_(committed|started)_.*|\.(git)?keep|.*_\$folder\$", re.DOTALL)
"""The last part of the name of an empty blob that is no text: a folder's, Spark's, Databricks', Git's, Hadoop's."""
FIELDS: Final = frozenset({"Name", "Etag", "Last-Modified", "Content-Length", "AccessTier"})


class Listed(NamedTuple):
    """A blob as a listing shows it."""

    name: str
    etag: str
    modified: datetime
    length: int
    metadata: dict[str, str]
    tier: str = ""

    @property
    def is_archived(self) -> bool:
        """Whether it is in the archive tier, as it also is while it is being rehydrated."""
        return self.tier == ARCHIVE

    @property
    def is_marker(self) -> bool:
        """Whether it stands for something other than a text, as `is_marker` says."""
        return is_marker(self.name, self.length, self.metadata)


def is_marker(name: str, length: int, metadata: Mapping[str, str]) -> bool:
    """Return whether an empty blob stands for a folder, or for the end of a job of Spark: it never has any text.

    A blob with content is never one. Folders are those of a hierarchical namespace, or of a tool that has folders.
    """
    if length:
        return False
    return metadata.get("hdi_isfolder", "").lower() == "true" or MARKER.fullmatch(name.rpartition("/")[2]) is not None


class Listing:
    """A listing of a container, with metadata.

    Attributes:
        page: the continuation token that returned the current page, to begin there again.
        calls: how many pages were requested.
    """

    def __init__(self, container: ContainerClient, prefix: str = "", page: str | None = None) -> None:
        """List the blobs whose names begin with a prefix, from a page on, when iterated."""
        self.container = container
        self.prefix = prefix
        self.page = page
        self.calls = 0

    async def blobs(self) -> AsyncIterator[Listed]:
        """Yield the blobs by name, without the prefix; nothing if the container is missing.

        Raises:
            AzureError: storage refused a call.
        """
        following = self.page
        while following is not None or not self.calls:
            try:
                blobs, token = await read_page(self.container, self.prefix, following)
            except HttpResponseError as error:
                if is_missing(error):
                    return
                raise
            self.page, following = following, token
            self.calls += 1
            for blob in blobs:
                yield blob


async def read_page(container: ContainerClient, prefix: str, token: str | None) -> tuple[list[Listed], str | None]:
    """Return a page of blobs, and the token of the next one; None after the last page.

    The SDK's own listing creates objects for everything that storage reports of a blob, which takes ten times as long.
    """
    address, _, credential = container.url.partition("?")
    asked = {"restype": "container", "comp": "list", "include": "metadata", "maxresults": str(PAGE_SIZE)}
    asked |= {name: value for name, value in (("prefix", prefix), ("marker", token or "")) if value}
    query = urlencode(asked, quote_via=quote) + (f"&{credential}" if credential else "")
    request = HttpRequest("GET", f"{address}?{query}", headers={"x-ms-version": container.api_version})
    # The SDK's own policies sign and retry this call too.
    pipeline: Any = container._pipeline  # noqa: SLF001
    answer = (await pipeline.run(request, stream=True)).http_response
    if answer.status_code != 200:
        await answer.load_body()
        error = HttpResponseError(response=answer)
        error.error_code = answer.headers.get("x-ms-error-code")  # type: ignore[attr-defined]  # as the SDK's errors do
        raise error
    page = PageReader(len(prefix))
    async for piece in answer.stream_download(pipeline):
        page.parser.Parse(piece)
    page.parser.Parse(b"", True)  # it takes no names
    return page.blobs, page.token


class PageReader:
    """Reads a page of a listing piece by piece, and keeps only what is needed of each blob.

    Attributes:
        blobs: blobs read so far.
        token: token of the next page.
    """

    def __init__(self, prefix_length: int) -> None:
        """Begin a page; cut this prefix off each name."""
        self.prefix_length = prefix_length
        self.blobs: list[Listed] = []
        self.token: str | None = None
        self.parser = ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self.begin
        self.parser.EndElementHandler = self.end
        self.parser.CharacterDataHandler = self.add
        self.path: list[str] = []
        self.text = ""
        self.is_encoded = False
        self.fields: dict[str, str] = {}
        self.metadata: dict[str, str] = {}

    def begin(self, name: str, attributes: dict[str, str]) -> None:
        """Begin an element."""
        is_metadata = self.path[-1:] == ["Metadata"]
        self.path.append(name)
        self.text = ""
        # The uploader chooses the names of metadata.
        if is_metadata:
            return
        if name == "Blob":
            self.fields, self.metadata = {}, {}
        elif name == "Name":
            self.is_encoded = attributes.get("Encoded") == "true"

    def add(self, text: str) -> None:
        """Add to the text of an element."""
        self.text += text

    def end(self, name: str) -> None:
        """End an element."""
        self.path.pop()
        parent = self.path[-1] if self.path else ""
        if parent == "Metadata":
            self.metadata[name] = self.text
        elif name in FIELDS:
            # If a name has characters that XML cannot contain, storage encodes all of it.
            self.fields[name] = unquote(self.text) if name == "Name" and self.is_encoded else self.text
        elif name == "Blob":
            self.blobs.append(self.listed())
        elif name == "NextMarker":
            self.token = self.text or None

    def listed(self) -> Listed:
        """Return the blob that was read."""
        return Listed(
            self.fields["Name"][self.prefix_length :],
            self.fields["Etag"].strip('"'),
            parsedate_to_datetime(self.fields["Last-Modified"]),
            int(self.fields.get("Content-Length") or 0),
            self.metadata,
            self.fields.get("AccessTier", ""),
        )


def order(name: str) -> bytes:
    """Return the sort key of a name: its UTF-16 code units, which storage orders by."""
    return name.encode("utf-16-be", "surrogatepass")


async def reordered(
    blobs: AsyncIterator[Listed], rename: Callable[[str], str], kept: int
) -> AsyncIterator[tuple[bytes, Listed]]:
    """Yield blobs in the order of other names: `a` comes before `a-b`, but `a.json` after `a-b.json`.

    Only blobs whose names begin alike are held back, so there are few.

    Args:
        blobs: blobs in the order of their names.
        rename: returns the other name of a blob.
        kept: code units at the beginning of a name that its other name keeps; of a shorter name, all.
    """
    held: list[tuple[bytes, int, Listed]] = []
    count = 0
    async for blob in blobs:
        least = order(blob.name)[: CODE_UNIT * kept]
        # No later blob's name sorts before this one, so none of their other names sorts before the part that is kept.
        while held and held[0][0] <= least:
            key, _, first = heapq.heappop(held)
            yield key, first
        count += 1
        heapq.heappush(held, (order(rename(blob.name)), count, blob))
    while held:
        key, _, first = heapq.heappop(held)
        yield key, first


class Follower:
    """A listing that is read in step with another one in the same order, by ascending keys."""

    def __init__(self, blobs: AsyncIterator[Listed]) -> None:
        """Begin before the first blob."""
        self.blobs = blobs
        self.next: Listed | None = None

    async def up_to(self, key: bytes | None) -> tuple[list[Listed], Listed | None]:
        """Read up to a key, to the end if it is None; return the blobs before it, and the one that has it."""
        passed: list[Listed] = []
        while True:
            blob = self.next or await anext(self.blobs, None)
            self.next = None
            if blob is None:
                return passed, None
            name = order(blob.name)
            if key is not None and name > key:
                self.next = blob
                return passed, None
            if name == key:
                return passed, blob
            passed.append(blob)
