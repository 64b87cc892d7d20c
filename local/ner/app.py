"""The HTTP service: the API in all its versions, and under /emulator what only an emulator has."""

import asyncio
import random
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from local.json_errors import JSON_ERRORS
from local.ner.answers import Dialect, Page, View
from local.ner.errors import ApiError, bad_request
from local.ner.generally_available import PATH, PREVIEW_VERSIONS, STABLE_VERSIONS, GenerallyAvailable
from local.ner.jobs import Jobs
from local.ner.preview import PREFIX, Preview, Seed
from local.ner.recogniser import Recogniser
from local.ner.requests import MOST_BYTES, Deployment, JobRequest, RateLimit, check_documents, digests_of
from local.ner.responses import api_error, json_response, refusal
from local.ner.switches import ClockStep, GatewayError, LostConnection, Switches, raise_fault
from local.ner.unknown_fields import with_unknown_fields
from local.own_requests import own_requests

PREVIEWS: Final[dict[str, Dialect]] = {dialect.name: dialect for dialect in (Seed(), Preview())}
BY_DATE: Final[dict[str, Dialect]] = {
    version: GenerallyAvailable(version) for version in (*STABLE_VERSIONS, *PREVIEW_VERSIONS)
}
MAX_DIGITS: Final = 9
"""Of `skip` and `top`."""
NUMBER: Final = re.compile(r"^[0-9]{2}:")

Endpoint = Callable[[Request], Awaitable[Response]]


def utc_now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


class Emulator:
    """The service with its jobs; `app` is its ASGI application."""

    def __init__(
        self,
        recogniser: Recogniser,
        deployment: Deployment,
        key: str,
        *,
        switches: Switches | None = None,
        now: Callable[[], datetime] = utc_now,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make the service.

        Args:
            recogniser: finds the entities.
            deployment: the names that requests must give.
            key: what `Ocp-Apim-Subscription-Key` must hold; without one, any bearer token is taken.
            switches: its behaviour at the beginning.
            now: the time in UTC.
            clock: seconds, for the rate limit.
        """
        self.deployment = deployment
        self.key = key
        self.switches = switches or Switches()
        self.ahead = timedelta()
        self.jobs = Jobs(recogniser, deployment, lambda: now() + self.ahead)
        self.rate_limit = RateLimit(lambda: clock() + self.ahead.total_seconds())
        self.chance = random.Random(0)  # noqa: S311  # the same faults in every run
        self.calls: Counter[str] = Counter()
        self.submissions: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        self.documents_per_job: Counter[int] = Counter()
        self.documents: Counter[str] = Counter()
        self.lost_documents: Counter[str] = Counter()
        self.app = Starlette(
            routes=[
                Route(PREFIX + "/{version}/analyze", self.guarded(self.submit), methods=["POST"]),
                Route(PREFIX + "/{version}/analyze/jobs/{job_id}", self.guarded(self.show), methods=["GET"]),
                Route(PATH, self.guarded(self.submit), methods=["POST"]),
                Route(PATH + "/{job_id}:cancel", self.guarded(self.cancel), methods=["POST"]),
                Route(PATH + "/{job_id}", self.guarded(self.show), methods=["GET"]),
                Route("/emulator/clock", self.move_clock, methods=["POST"]),
                Route("/emulator/health", self.show_health),
                Route("/emulator/jobs", self.show_jobs),
                Route("/emulator/jobs/end", self.end_jobs, methods=["POST"]),
                Route("/emulator/stats", self.show_stats),
                Route("/emulator/switches", self.set_switches, methods=["GET", "PUT"]),
                Route("/{path:path}", self.guarded(self.refuse_path), methods=["GET", "POST"]),
            ],
            lifespan=self.lifespan,
            middleware=own_requests(),
            exception_handlers={ApiError: api_error},
        )

    @asynccontextmanager
    async def lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        """Stop working with the server."""
        yield
        self.jobs.close()

    def guarded(self, endpoint: Endpoint) -> Endpoint:
        """Put before a call of the API what the service does with every call: key, rate limit, and set faults."""

        async def answer(request: Request) -> Response:
            try:
                if self.switches.latency_seconds:
                    await asyncio.sleep(self.switches.latency_seconds)
                raise_fault(self.switches, request.method, self.chance, after=False)
                self.check_key(request)
                self.rate_limit.take(self.switches.calls_per_minute)
                response = await endpoint(request)
                raise_fault(self.switches, request.method, self.chance, after=True)
            except (ApiError, GatewayError, LostConnection) as error:
                response = refusal(error)
                # Accepted, but the caller does not learn it.
                accepted: JobRequest | None = getattr(request.state, "accepted", None)
                if accepted is not None:
                    self.lost[accepted.display_name or ""] += 1
                    self.lost_documents.update(digests_of(accepted))
            self.calls[f"{request.method} {response.status_code}"] += 1
            return response

        return answer

    def check_key(self, request: Request) -> None:
        """Raise ApiError if the caller may not call."""
        bearer = request.headers.get("authorization", "").startswith("Bearer ")
        allowed = request.headers.get("ocp-apim-subscription-key") == self.key if self.key else bearer
        if not allowed:
            # A gateway before the service answers this, with the status as the code.
            raise ApiError(401, "401", "Access denied: the key is missing or is not a key of this resource.")

    async def submit(self, request: Request) -> Response:
        """`POST`: accept a job."""
        dialect = dialect_of(request)
        body = await read_body(request)
        asked = dialect.read(body, self.deployment)
        check_documents(asked.documents, self.switches.refused_marker, self.switches.most_text_elements)
        job = self.jobs.submit(dialect.name, asked, self.switches)
        self.submissions[asked.display_name or ""] += 1
        self.documents_per_job[len(asked.documents)] += 1
        self.documents.update(digests_of(asked))
        request.state.accepted = asked
        location = endpoint_of(request) + dialect.location(job.job_id, dict(request.query_params))
        return Response(status_code=202, headers={"operation-location": location})

    async def show(self, request: Request) -> Response:
        """`GET`: show a job."""
        dialect = dialect_of(request)
        job = self.jobs.find(dialect.name, request.path_params["job_id"])
        query = dict(request.query_params)
        top = min(read_number(query, "top", self.switches.page_size), self.switches.page_size)
        view = View(
            job=job,
            now=self.jobs.now(),
            page=Page(read_number(query, "skip", 0), max(1, top)),
            show_stats=query.get("showStats", "").lower() == "true",
            endpoint=endpoint_of(request),
            query=query,
        )
        shown = dialect.show(view)
        if self.switches.unknown_fields:
            shown = with_unknown_fields(shown)
        return json_response(shown, dialect.get_status)

    async def cancel(self, request: Request) -> Response:
        """`POST :cancel`: cancel a job."""
        dialect = dialect_of(request)
        job = self.jobs.find(dialect.name, request.path_params["job_id"])
        self.jobs.cancel(job)
        location = endpoint_of(request) + dialect.location(job.job_id, dict(request.query_params))
        return Response(status_code=202, headers={"operation-location": location})

    async def refuse_path(self, _request: Request) -> Response:
        """Refuse a path that the service does not have."""
        raise ApiError(404, "404", "The resource does not exist.")

    async def show_health(self, _request: Request) -> Response:
        """`/emulator/health`: which model is served."""
        names = {
            "projectName": self.deployment.project_name,
            "deploymentName": self.deployment.deployment_name,
            "modelId": self.deployment.model_id,
        }
        return json_response({"status": "ready", **names})

    async def show_jobs(self, _request: Request) -> Response:
        """`/emulator/jobs`: all jobs in the order of their submission, without their texts."""
        now = self.jobs.now()
        shown = [
            {
                "jobId": job.job_id,
                "displayName": job.request.display_name,
                "status": job.status(now).value,
                "createdDateTime": job.created,
                "seconds": job.seconds,
                "documentsCount": len(job.request.documents),
                "documentIds": ids_of(job.request),
            }
            for job in self.jobs.all()
        ]
        return json_response({"jobs": shown})

    async def move_clock(self, request: Request) -> Response:
        """`POST /emulator/clock`: move the service's clock forward by `seconds`; recognition in progress ends first."""
        try:
            step = msgspec.json.decode(await read_body(request), type=ClockStep)
        except JSON_ERRORS as error:
            return json_response(bad_request("InvalidRequestBodyFormat", str(error)).body, 400)
        await asyncio.gather(*(job.answers for job in self.jobs.all()), return_exceptions=True)
        self.ahead += timedelta(seconds=step.seconds)
        return Response(status_code=204)

    async def end_jobs(self, _request: Request) -> Response:
        """`POST /emulator/jobs/end`: let all jobs end now, however long they were to take."""
        self.jobs.end_all()
        return Response(status_code=204)

    async def show_stats(self, _request: Request) -> Response:
        """`/emulator/stats`: calls by method and status; jobs by display name and number of documents;
        documents by the digest of their text; jobs and documents whose response was lost.
        """
        counts = {
            "calls": self.calls,
            "submissions": self.submissions,
            "lost": self.lost,
            "documentsPerJob": self.documents_per_job,
            "documents": self.documents,
            "lostDocuments": self.lost_documents,
        }
        return json_response(counts)

    async def set_switches(self, request: Request) -> Response:
        """`/emulator/switches`: show them, or set all of them; what is left out goes back to its default."""
        if request.method == "PUT":
            try:
                self.switches = msgspec.json.decode(await read_body(request), type=Switches)
            except JSON_ERRORS as error:
                return json_response(bad_request("InvalidRequestBodyFormat", str(error)).body, 400)
        return json_response(self.switches)


def ids_of(asked: JobRequest) -> list[str]:
    """Return the IDs of the documents of a request, without the number that the app puts before each of several."""
    is_numbered = len(asked.documents) > 1
    return [NUMBER.sub("", document.id) if is_numbered else document.id for document in asked.documents]


def dialect_of(request: Request) -> Dialect:
    """Return the dialect that a path is written in; raises ApiError if the service has no such version."""
    version = request.path_params.get("version")
    if version is None:
        asked = request.query_params.get("api-version", "")
        if not asked:
            raise ApiError(400, "MissingApiVersionParameter", "The api-version query parameter is required.")
        if asked not in BY_DATE:
            supported = ", ".join((*STABLE_VERSIONS, PREVIEW_VERSIONS[-1]))
            message = f"Unsupported api-version '{asked[:64]}'. The supported api-versions are '{supported}'."
            raise ApiError(400, "UnsupportedApiVersionValue", message)
        return BY_DATE[asked]
    if version not in PREVIEWS:
        raise ApiError(404, "404", "The resource does not exist.")
    return PREVIEWS[version]


async def read_body(request: Request) -> bytes:
    """Return the body; raises ApiError if there is too much of it."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            raise ApiError(413, "RequestEntityTooLarge", f"The body has more than {MOST_BYTES} bytes.")
    return body


def read_number(query: dict[str, str], name: str, default: int) -> int:
    """Return `skip` or `top`, which the previews write with a dollar sign; raises ApiError if it is no number."""
    value = query.get(name) or query.get(f"${name}")
    if value is None:
        return default
    if not value.isascii() or not value.isdigit() or len(value) > MAX_DIGITS:
        raise bad_request("InvalidParameterValue", f"{name} must be a whole number, not {value[:20]!r}.")
    return int(value)


def endpoint_of(request: Request) -> str:
    """Return the address of the service as the caller wrote it, without a slash at the end."""
    return str(request.base_url).rstrip("/")
