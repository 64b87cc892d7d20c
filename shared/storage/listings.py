"""Listings of whole containers, page by page and in the order of their names, from any page on."""

import heapq
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Any, Final, NamedTuple

from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobProperties
from azure.storage.blob.aio import ContainerClient

from shared.storage.errors import is_missing

PAGE_SIZE: Final = 5000
"""The most that the service lists in one call."""
CODE_UNIT: Final = 2
"""Bytes of a UTF-16 code unit."""


class Listed(NamedTuple):
    """A blob as a listing shows it."""

    name: str
    etag: str
    modified: datetime
    length: int
    metadata: dict[str, str]

    @property
    def is_folder(self) -> bool:
        """Whether it stands for a folder of a hierarchical namespace, or of a tool that has folders."""
        return self.name.endswith("/") or self.metadata.get("hdi_isfolder", "").lower() == "true"


class Listing:
    """A listing of a container, with metadata.

    Attributes:
        page: the continuation token that the current page was asked for with, to begin there again.
    """

    def __init__(self, container: ContainerClient, prefix: str = "", page: str | None = None) -> None:
        """List the blobs whose names begin with a prefix, from a page on."""
        self.container = container
        self.prefix = prefix
        self.page = page
        self.calls = 0

    async def blobs(self) -> AsyncIterator[Listed]:
        """Yield the blobs by name; nothing if the container is missing. The prefix is cut off."""
        pages: Any = self.container.list_blobs(
            name_starts_with=self.prefix or None, include=["metadata"], results_per_page=PAGE_SIZE
        ).by_page(self.page)
        try:
            while True:
                token = pages.continuation_token if self.calls else self.page
                try:
                    page = await anext(pages)
                except StopAsyncIteration:
                    return
                self.page, self.calls = token, self.calls + 1
                async for properties in page:
                    yield listed(properties, len(self.prefix))
        except HttpResponseError as error:
            if not is_missing(error):
                raise


def listed(properties: BlobProperties, prefix_length: int) -> Listed:
    """Return what a listing shows of a blob."""
    return Listed(
        properties.name[prefix_length:],
        str(properties.etag).strip('"'),
        properties.last_modified,
        properties.size,
        properties.metadata or {},
    )


def order(name: str) -> bytes:
    """Return what names are ordered by: UTF-16 code units, as the service counts them."""
    return name.encode("utf-16-be", "surrogatepass")


async def reordered(
    blobs: AsyncIterator[Listed], rename: Callable[[str], str], kept: int
) -> AsyncIterator[tuple[bytes, Listed]]:
    """Yield blobs in the order of other names: `a` comes before `a-b`, but `a.json` after `a-b.json`.

    What is held back begins alike, so it is never much.

    Args:
        blobs: in the order of their names.
        rename: returns the other name of a blob.
        kept: code units at the beginning of a name that are in its other name too; of a shorter one, all are.
    """
    held: list[tuple[bytes, int, Listed]] = []
    count = 0
    async for blob in blobs:
        least = order(blob.name)[: CODE_UNIT * kept]
        # Whatever comes has a name that is not before this one, so its other name is not before what this one keeps.
        while held and held[0][0] <= least:
            key, _, first = heapq.heappop(held)
            yield key, first
        count += 1
        heapq.heappush(held, (order(rename(blob.name)), count, blob))
    while held:
        key, _, first = heapq.heappop(held)
        yield key, first


class Follower:
    """Blobs beside those of another listing in the same order: asked for by key, in ascending order."""

    def __init__(self, blobs: AsyncIterator[Listed]) -> None:
        """Begin before the first one."""
        self.blobs = blobs
        self.next: Listed | None = None

    async def up_to(self, key: bytes | None) -> tuple[list[Listed], Listed | None]:
        """Go on to a key, to the end if it is None; return the blobs before it, and the one that has it."""
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
