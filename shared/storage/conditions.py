"""Calls that work on one version of a blob alone, and places that are created once they are needed."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobProperties
from azure.storage.blob.aio import BlobClient

from shared.storage.errors import exists_already, is_lost_race, is_missing

T = TypeVar("T")


def only_if(etag: str) -> dict[str, Any]:
    """Return the options of a call that works on this version of a blob alone."""
    return {"etag": f'"{etag}"', "match_condition": MatchConditions.IfNotModified}


def in_place_of(etag: str | None) -> dict[str, Any]:
    """Return the options of an upload that replaces this version of a blob alone, or, without one, none at all."""
    return {"overwrite": False} if etag is None else {"overwrite": True, **only_if(etag)}


async def creating_if_missing(create: Callable[[], Awaitable[object]], write: Callable[[], Awaitable[T]]) -> T:
    """Write; where the place to write to is missing, create it and write again. No call is spent where it exists."""
    try:
        return await write()
    except HttpResponseError as error:
        if not is_missing(error):
            raise
    try:
        await create()
    except HttpResponseError as error:
        if not exists_already(error):  # as where another invocation was faster
            raise
    return await write()


async def properties_of(blob: BlobClient) -> BlobProperties | None:
    """Return the properties of a blob; None if it is not there."""
    try:
        return await blob.get_blob_properties()
    except HttpResponseError as error:
        if not is_missing(error):
            raise
        return None


async def delete_version(blob: BlobClient, etag: str | None) -> bool:
    """Delete a blob, this version of it alone if an etag is given; return whether it was there."""
    try:
        await blob.delete_blob(**(only_if(etag) if etag else {}))
    except HttpResponseError as error:
        if not is_missing(error) and not is_lost_race(error):
            raise
        return False
    return True
