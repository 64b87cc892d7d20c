"""Calls that apply to one version of a blob only, and containers and queues created when needed."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobProperties
from azure.storage.blob.aio import BlobClient

from shared.storage.errors import exists_already, is_lost_race, is_missing

T = TypeVar("T")


def only_if(etag: str) -> dict[str, Any]:
    """Return the options of a call that applies only to this version of a blob."""
    return {"etag": f'"{etag}"', "match_condition": MatchConditions.IfNotModified}


def in_place_of(etag: str | None) -> dict[str, Any]:
    """Return the options of an upload that replaces only this version of a blob or, if None, no blob at all."""
    return {"overwrite": False} if etag is None else {"overwrite": True, **only_if(etag)}


async def creating_if_missing(create: Callable[[], Awaitable[object]], write: Callable[[], Awaitable[T]]) -> T:
    """Write; if the container or queue is missing, create it and write again. If it exists, this costs no call."""
    try:
        return await write()
    except HttpResponseError as error:
        if not is_missing(error):
            raise
    try:
        await create()
    except HttpResponseError as error:
        if not exists_already(error):  # another invocation was faster
            raise
    return await write()


async def properties_of(blob: BlobClient) -> BlobProperties | None:
    """Return the properties of a blob; None if it does not exist."""
    try:
        return await blob.get_blob_properties()
    except HttpResponseError as error:
        if not is_missing(error):
            raise
        return None


async def delete_version(blob: BlobClient, etag: str | None) -> bool:
    """Delete a blob, or only this version of it if an ETag is given; return whether it did."""
    try:
        await blob.delete_blob(**(only_if(etag) if etag else {}))
    except HttpResponseError as error:
        if not is_missing(error) and not is_lost_race(error):
            raise
        return False
    return True
