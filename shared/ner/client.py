"""The HTTP client of the custom NER API: submit documents, look at a job, collect its results.

The key, or the token, goes to NER_ENDPOINT only: job ids are checked before they enter a path, links in answers are
read for their page numbers alone, and redirects are not followed. An answer that quotes it loses it before it is read.
"""

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime, timedelta
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import httpx
import msgspec

from shared.ner.dialects import Request, dialect_for
from shared.ner.errors import (
    RESPONSE_ERRORS,
    Answer,
    NerError,
    Remedy,
    from_answer,
    from_transport,
)
from shared.ner.model import TIMED_OUT, Document, Job, JobStatus, Page
from shared.ner.passing_on import log_omissions, with_page
from shared.ner.rate import CallRate
from shared.ner.reading import read_job
from shared.ner.receiving import KEY_HEADER, Room, mask_for, read_body, secret_of
from shared.settings import LOOPBACK, Settings

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential

log = logging.getLogger("ner")

JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
TOKEN_SCOPE: Final = "https://cognitiveservices.azure.com/.default"  # noqa: S105
TIMEOUT = httpx.Timeout(60.0, connect=10.0)
# One connection per concurrent invocation (batchSize + newBatchThreshold in host.json), and some to spare.
LIMITS = httpx.Limits(max_connections=64, max_keepalive_connections=32, keepalive_expiry=60.0)
MOST_PAGES: Final = 25
"""Of results: a request has at most that many documents, and a page at least one."""
LONGEST_CALL_SECONDS: Final = 120.0
"""An answer that never ends must not last until functionTimeout (host.json), when the host restarts the worker."""
YOUNG: Final = timedelta(minutes=10)
"""Age up to which the service may not show a job: replicas differ for seconds, a failover takes minutes."""
DIRECTLY: Final = {f"all://{f'[{host}]' if ':' in host else host}": None for host in LOOPBACK}
"""No proxy may see a call to this machine: it would get the key and the text in clear."""


def utc_now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


class KeyAuth(httpx.Auth):
    """Sends the resource's key."""

    def __init__(self, key: str) -> None:
        self.key = key

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Add the key to the request."""
        request.headers[KEY_HEADER] = self.key
        yield request


class EntraAuth(httpx.Auth):
    """Sends a Microsoft Entra ID token; the credential keeps it until it is about to expire."""

    def __init__(self, credential: "AsyncTokenCredential") -> None:
        self.credential = credential

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Add a token to the request."""
        from azure.core.exceptions import AzureError, ClientAuthenticationError

        try:
            token = await self.credential.get_token(TOKEN_SCOPE)
        except AzureError as error:
            message = f"the app's identity could not get a Microsoft Entra ID token: {error.message}"
            if isinstance(error, ClientAuthenticationError):
                raise NerError("Unauthorized", message, Remedy.MEND_SETTINGS) from error
            raise NerError(type(error).__name__, message, Remedy.WAIT) from error
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
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        """Make a client; without a key, tokens come from `credential` (DefaultAzureCredential if None)."""
        self.dialect = dialect_for(settings)
        self.hostname = urlsplit(settings.endpoint).hostname
        self.is_another_host_told = False
        self.now = now
        self.rate = CallRate()
        self.credential = credential
        if settings.key is None and credential is None:
            from azure.identity.aio import DefaultAzureCredential

            self.credential = DefaultAzureCredential()
        auth = KeyAuth(settings.key) if settings.key else EntraAuth(self.credential)  # type: ignore[arg-type]
        # Gateways set cookies. The API needs none, and one of odd characters would make every later request fail.
        cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
        self.http = httpx.AsyncClient(
            base_url=settings.endpoint,
            auth=auth,
            headers={"Accept-Encoding": "gzip"},
            timeout=TIMEOUT,
            limits=LIMITS,
            transport=transport,
            mounts=DIRECTLY,
            cookies=cookies,
        )

    async def submit(
        self, documents: list[Document], display_name: str, within_seconds: float = LONGEST_CALL_SECONDS
    ) -> str:
        """Submit a job and return its id.

        Args:
            documents: what to recognise entities in.
            display_name: of the job, in the service's own lists.
            within_seconds: how long it may take.

        Raises:
            NerError: the service did not accept the job, or accepted it without a usable `operation-location`.
        """
        answer = await self.send("POST", self.dialect.submit(documents, display_name), within_seconds)
        if not answer.is_success:
            raise from_answer(answer, submitting=True)
        # A gateway may change the status and the body, but a response that names a job has accepted one.
        job_id = self.job_id_of(answer)
        if job_id is not None:
            return job_id
        if answer.status == 202 or "operation-location" in answer.headers or not (answer.body or answer.fault):
            # It may have been paid, so it must not be asked again.
            raise NerError(
                "InvalidResponse",
                "The service accepted the text but returned no job id, so the app cannot retrieve the results. Ask the "
                "app's operator to check NER_ENDPOINT, then upload the file again.",
                Remedy.NONE,
                is_unanswered=True,
            )
        raise answer.fault or NerError(
            "InvalidResponse",
            f"the service responded with status {answer.status} and without a job instead of 202: check NER_ENDPOINT",
            Remedy.MEND_SETTINGS,
        )

    def job_id_of(self, answer: Answer) -> str | None:
        """Return the id of the job that an answer names; None if it names none.

        The job may be on another host, as a gateway sees it. The app calls NER_ENDPOINT all the same.
        """
        try:
            location = urlsplit(answer.headers.get("operation-location", ""))
        except ValueError:
            return None
        # Real answers hold a doubled slash where the endpoint setting ended in one.
        job_id = location.path.rstrip("/").rpartition("/")[2]
        if not JOB_ID.fullmatch(job_id):
            return None
        if location.hostname not in (None, self.hostname) and not self.is_another_host_told:
            self.is_another_host_told = True
            log.warning(
                "the service names another host for its jobs, not that of NER_ENDPOINT: the app looks for them at "
                "NER_ENDPOINT. If it does not find them, set NER_ENDPOINT to the resource's own URL"
            )
        return job_id

    async def cancel(self, job_id: str) -> bool:
        """Cancel a job, where this version of the API can; return whether it was asked to.

        Raises:
            NerError: the service did not take it.
        """
        request = self.dialect.cancel(job_id) if JOB_ID.fullmatch(job_id) else None
        if request is not None:
            answer = await self.send("POST", request, LONGEST_CALL_SECONDS)
            if not answer.is_success:
                raise from_answer(answer, submitting=False)
        return request is not None

    async def look(self, job_id: str, submitted: datetime | None = None) -> Job:
        """Return the job as it stands; once it has ended, with the results of all pages.

        Args:
            job_id: of the job.
            submitted: when it was accepted. The service may not show a young job yet; None means that it must.

        Raises:
            NerError: the job could not be read; without a remedy, the service has forgotten it.
        """
        if not JOB_ID.fullmatch(job_id):
            raise NerError(
                "InvalidJobId", "The job id in the queue message is not valid. Upload the file again.", Remedy.NONE
            )
        is_young = submitted is not None and self.now() - submitted < YOUNG
        try:
            async with asyncio.timeout(LONGEST_CALL_SECONDS):
                job = await self.look_at_pages(job_id, is_young=is_young)
        except TimeoutError:
            raise from_transport(TimeoutError()) from None
        log_omissions(job)
        return explained(job, self.dialect.cancel_after)

    async def look_at_pages(self, job_id: str, *, is_young: bool) -> Job:
        """Return the job with the results of all pages."""
        room = Room()
        job = await self.look_at_page(job_id, None, room, is_young=is_young)
        documents, problems, page, others = list(job.documents), list(job.problems), job.next_page, job.others
        for _ in range(MOST_PAGES):
            if page is None:
                break
            more = await self.look_at_page(job_id, page, room, is_young=is_young, has_documents=bool(documents))
            if not more.status.is_final:
                raise NerError("InvalidResponse", "the service says of an ended job that it is running", Remedy.WAIT)
            documents += more.documents
            others = with_page(others, more.others)
            # Errors of the job itself stand on every page.
            problems += [problem for problem in more.problems if problem not in problems]
            # A page that leads back would be read for ever.
            page = more.next_page if more.next_page and more.next_page.skip > page.skip else None
        return msgspec.structs.replace(job, documents=documents, problems=problems, next_page=None, others=others)

    async def look_at_page(
        self, job_id: str, page: Page | None, room: Room, *, is_young: bool = False, has_documents: bool = False
    ) -> Job:
        """Return one page of a job."""
        answer = await self.send("GET", self.dialect.retrieve(job_id, page))
        if not answer.is_success:
            raise from_answer(answer, submitting=False, is_young=is_young)
        if answer.fault is not None:
            raise answer.fault
        room.take(answer.body)
        return read_job(job_id, answer.body, has_documents=has_documents)

    async def send(self, method: str, request: Request, within_seconds: float | None = None) -> Answer:
        """Send a request and return its answer, with a fault if its body could not be read.

        Raises:
            NerError: no answer came.
        """
        # msgspec writes UTF-8 as it is; escapes would make up to six bytes of one character, of a 1 MB limit.
        content = None if request.body is None else msgspec.json.encode(request.body)
        headers = {} if content is None else {"Content-Type": "application/json"}
        answer = None
        self.rate.add()
        try:
            async with asyncio.timeout(within_seconds):
                built = self.http.build_request(
                    method, request.path, params=request.query, content=content, headers=headers
                )
                response = await self.http.send(built, stream=True)
                mask = mask_for(secret_of(built))
                headers_received = [(name, mask(value)) for name, value in response.headers.raw]
                answer = Answer(response.status_code, httpx.Headers(headers_received))
                answer.body = mask(await read_body(response))
        except RESPONSE_ERRORS as error:
            if answer is None:
                raise from_transport(error) from None  # the cause may quote what the service sent
            answer.fault = from_transport(error)
        return answer

    async def aclose(self) -> None:
        """Close the connections."""
        await self.http.aclose()
        if self.credential is not None:
            await self.credential.close()


def explained(job: Job, cancel_after: int | None) -> Job:
    """Return a job with the reason if the service cancelled it because it took longer than `cancel_after` seconds."""
    is_cancelled = job.status is JobStatus.CANCELLED and not job.problems
    if is_cancelled and cancel_after is not None and (job.seconds or 0.0) >= cancel_after:
        return msgspec.structs.replace(job, problems=[TIMED_OUT])
    return job
