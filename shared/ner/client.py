"""The HTTP client of the custom NER API: submit documents, look at a job, collect its results.

The key, or the token, goes to NER_ENDPOINT only: job ids are checked before they enter a path, links in answers are
read for their page numbers alone, and redirects are not followed.
"""

import asyncio
import re
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import httpx
import msgspec

from shared.ner.dialects import Request, dialect_for
from shared.ner.errors import NerError, Remedy, from_response, from_transport
from shared.ner.model import Document, Job, Page, read_job
from shared.settings import Settings

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential

JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
TOKEN_SCOPE: Final = "https://cognitiveservices.azure.com/.default"  # noqa: S105
TIMEOUT = httpx.Timeout(60.0, connect=10.0)
# One connection per concurrent invocation (batchSize + newBatchThreshold in host.json), and some to spare.
LIMITS = httpx.Limits(max_connections=64, max_keepalive_connections=32, keepalive_expiry=60.0)
MOST_PAGES: Final = 1000


class KeyAuth(httpx.Auth):
    """Sends the resource's key."""

    def __init__(self, key: str) -> None:
        self.key = key

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Add the key to the request."""
        request.headers["Ocp-Apim-Subscription-Key"] = self.key
        yield request


class EntraAuth(httpx.Auth):
    """Sends a Microsoft Entra ID token; the credential keeps it until it is about to expire."""

    def __init__(self, credential: "AsyncTokenCredential") -> None:
        self.credential = credential

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Add a token to the request."""
        from azure.core.exceptions import ClientAuthenticationError

        try:
            token = await self.credential.get_token(TOKEN_SCOPE)
        except ClientAuthenticationError as error:
            message = f"the app's identity could not get a Microsoft Entra ID token: {error.message}"
            raise NerError("Unauthorized", message, Remedy.MEND_SETTINGS) from error
        request.headers["Authorization"] = f"Bearer {token.token}"
        yield request


class NerClient:
    """Talks to one resource in one dialect. Safe to share between concurrent invocations."""

    def __init__(
        self,
        settings: Settings,
        *,
        credential: "AsyncTokenCredential | None" = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Make a client; without a key, tokens come from `credential` (DefaultAzureCredential if None)."""
        self.dialect = dialect_for(settings)
        self.hostname = urlsplit(settings.endpoint).hostname
        self.credential = credential
        if settings.key is None and credential is None:
            from azure.identity.aio import DefaultAzureCredential

            self.credential = DefaultAzureCredential()
        auth = KeyAuth(settings.key) if settings.key else EntraAuth(self.credential)  # type: ignore[arg-type]
        self.http = httpx.AsyncClient(
            base_url=settings.endpoint, auth=auth, timeout=TIMEOUT, limits=LIMITS, transport=transport
        )

    async def submit(self, documents: list[Document], display_name: str, within_seconds: float | None = None) -> str:
        """Submit a job and return its id.

        Args:
            documents: what to recognise entities in.
            display_name: of the job, in the service's own lists.
            within_seconds: how long it may take; None is as long as the connection lives.

        Raises:
            NerError: the service did not accept the job, or accepted it without a usable `operation-location`.
        """
        try:
            async with asyncio.timeout(within_seconds):
                response = await self.send("POST", self.dialect.submit(documents, display_name))
        except TimeoutError:
            raise NerError("Timeout", "the service did not respond to a submission in time", Remedy.WAIT) from None
        return self.job_id_of(response)

    def job_id_of(self, response: httpx.Response) -> str:
        """Return the id of the job that the service accepted.

        Raises:
            NerError: it names none; once it has accepted, it may have been paid, and must not be asked again.
        """
        if response.status_code != 202:
            raise NerError(
                "InvalidResponse",
                f"the service responded with status {response.status_code} instead of 202: check NER_ENDPOINT",
                Remedy.MEND_SETTINGS,
            )
        try:
            location = urlsplit(response.headers.get("operation-location", ""))
        except ValueError:
            location = urlsplit("")
        if location.hostname not in (None, self.hostname):
            raise NerError(
                "InvalidResponse",
                "The service accepted the text, but its job is on another host than NER_ENDPOINT, which the app does "
                "not call. Ask the app's operator to set NER_ENDPOINT to the resource's own URL, then upload the file "
                "again.",
                Remedy.NONE,
            )
        # Real answers hold a doubled slash where the endpoint setting ended in one.
        job_id: str = location.path.rstrip("/").rpartition("/")[2]
        if not JOB_ID.fullmatch(job_id):
            raise NerError(
                "InvalidResponse",
                "The service accepted the text but returned no job id. Upload the file again.",
                Remedy.NONE,
            )
        return job_id

    async def cancel(self, job_id: str) -> bool:
        """Cancel a job, where this version of the API can; return whether it was asked to.

        Raises:
            NerError: the service did not take it.
        """
        request = self.dialect.cancel(job_id) if JOB_ID.fullmatch(job_id) else None
        if request is not None:
            await self.send("POST", request)
        return request is not None

    async def look(self, job_id: str) -> Job:
        """Return the job as it stands; once it has ended, with the results of all pages.

        Raises:
            NerError: the job could not be read; a 404 means that the service has forgotten it.
        """
        if not JOB_ID.fullmatch(job_id):
            raise NerError(
                "InvalidJobId", "The job id in the queue message is not valid. Upload the file again.", Remedy.NONE
            )
        job = await self.look_at_page(job_id, None)
        documents, problems, page = list(job.documents), list(job.problems), job.next_page
        for _ in range(MOST_PAGES):
            if page is None:
                break
            more = await self.look_at_page(job_id, page)
            documents += more.documents
            # Errors of the job itself stand on every page.
            problems += [problem for problem in more.problems if problem not in problems]
            # A page that leads back would be read for ever.
            page = more.next_page if more.next_page and more.next_page.skip > page.skip else None
        return msgspec.structs.replace(job, documents=documents, problems=problems, next_page=None)

    async def look_at_page(self, job_id: str, page: Page | None) -> Job:
        """Return one page of a job."""
        response = await self.send("GET", self.dialect.retrieve(job_id, page))
        return read_job(job_id, response.content)

    async def send(self, method: str, request: Request) -> httpx.Response:
        """Send a request and return its answer, or raise what went wrong as a NerError."""
        # msgspec writes UTF-8 as it is; escapes would make up to six bytes of one character, of a 1 MB limit.
        content = None if request.body is None else msgspec.json.encode(request.body)
        headers = {} if content is None else {"Content-Type": "application/json"}
        try:
            response = await self.http.request(
                method, request.path, params=request.query, content=content, headers=headers
            )
        except httpx.TransportError as error:
            raise from_transport(error) from error
        if not response.is_success:
            raise from_response(response)
        return response

    async def aclose(self) -> None:
        """Close the connections."""
        await self.http.aclose()
        if self.credential is not None:
            await self.credential.close()
