"""What happens just before or after a call of the app, for tests of what workers do to each other.

The hooks are the SDK and the HTTP client, so that the app's code may change. What happens there may itself make calls.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias
from urllib.parse import SplitResult, urlsplit

import httpx
import pytest
from azure.core.exceptions import ServiceRequestError
from azure.core.pipeline.transport import AioHttpTransport
from azure.storage.blob.aio import BlobClient

from shared.pipeline.running import Pipeline
from shared.storage.blobs import Upload

Action: TypeAlias = Callable[[], Awaitable[object]]


class Times:
    """So many times something happens; None is without end."""

    def __init__(self, times: int | None) -> None:
        """Begin to count."""
        self.left = times

    def take(self) -> bool:
        """Return whether it happens now."""
        if self.left is None:
            return True
        self.left -= 1
        return self.left >= 0


@contextmanager
def before_blob_call(
    method: str, beginning: str, action: Action, *, times: int | None = 1, ending: str = ""
) -> Iterator[list[str]]:
    """Let something happen before the SDK's calls for blobs with such names, as long as the block lasts.

    Args:
        method: of the SDK's blob client, such as `upload_blob`.
        beginning: of the container and the name, with a slash between them.
        action: what happens; the call is not made if it raises.
        times: how often at most.
        ending: of the name.

    Yields:
        The blobs that were called for, whether something happened then or not.
    """
    seen: list[str] = []
    count = Times(times)
    original = getattr(BlobClient, method)

    async def call(client: BlobClient, *arguments: Any, **named: Any) -> Any:
        name = f"{client.container_name}/{client.blob_name}"
        if name.startswith(beginning) and name.endswith(ending):
            seen.append(name)
            if count.take():
                await action()
        return await original(client, *arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BlobClient, method, call)
        yield seen


@contextmanager
def after_submission(action: Action, *, times: int | None = 1) -> Iterator[None]:
    """Let something happen after the service has accepted a job, and before the app learns of it."""
    count = Times(times)
    original = httpx.AsyncHTTPTransport.handle_async_request

    async def call(transport: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        response = await original(transport, request)
        is_submission = request.method == "POST" and response.status_code == 202 and ":cancel" not in request.url.path
        if is_submission and count.take():
            await action()
        return response

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", call)
        yield


@contextmanager
def after_storage_call(matches: Callable[[str, SplitResult], bool], action: Action) -> Iterator[list[int]]:
    """Let something happen once after storage has answered a call, and before the app reads the answer.

    Args:
        matches: tells by method and URL whether a call is meant.
        action: what happens.

    Yields:
        The sizes of the answers to the calls that are meant, in bytes.
    """
    sizes: list[int] = []
    count = Times(1)
    original = AioHttpTransport.send

    async def send(transport: AioHttpTransport, request: Any, **named: Any) -> Any:
        response = await original(transport, request, **named)
        if matches(request.method, urlsplit(request.url)):
            sizes.append(int(response.headers.get("Content-Length", 0)))
            if count.take():
                await action()
        return response

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AioHttpTransport, "send", send)
        yield sizes


def lists(container: str) -> Callable[[str, SplitResult], bool]:
    """Return what matches listings of a container."""
    return lambda _method, url: "comp=list" in url.query and url.path.endswith(f"/{container}")


def reads(container: str) -> Callable[[str, SplitResult], bool]:
    """Return what matches calls that read blobs of a container."""
    return lambda method, url: method == "GET" and f"/{container}/" in url.path


async def nothing() -> None:
    """Do nothing: the calls are only watched."""


async def refuse() -> None:
    """Be a storage account that does not answer."""
    raise ServiceRequestError("refused by the test")


@contextmanager
def arriving_together(pipeline: Pipeline, count: int) -> Iterator[None]:
    """Let no file reserve a seat before `count` files have been opened, as if all responses came at the same time."""
    blobs, original, left = pipeline.services.blobs, pipeline.services.blobs.open_upload, count
    have_come = asyncio.Event()

    async def open_upload(name: str, etag: str | None = None) -> Upload | None:
        nonlocal left
        try:
            upload = await original(name, etag)
        finally:
            left -= 1
            if left <= 0:
                have_come.set()
        await have_come.wait()
        return upload

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blobs, "open_upload", open_upload)
        yield
