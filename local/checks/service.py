"""The service, asked directly: does it accept the key or the identity, the project and the deployment?"""

import asyncio
from collections.abc import Iterator
from typing import Final

import httpx

from local.checks.finding import Clock, Finding, Verdict
from shared.ner.client import NerClient
from shared.ner.errors import NerError, Remedy
from shared.ner.model import Document, Job, JobStatus
from shared.settings import Settings

WHAT: Final = "Service"
TEXT: Final = "This text was sent by 'ner check'."
NAME: Final = "ner check"
MAX_SECONDS: Final = 60.0
PAUSE_SECONDS: Final = 1.0
FIXES: Final[dict[int | None, str]] = {
    401: "Set NER_KEY to a key of this resource (Keys and Endpoint), and check that NER_ENDPOINT is its URL.",
    403: "Check the resource's firewall, and whether it accepts keys at all (local authentication).",
    404: "Set NER_DEPLOYMENT_NAME to a deployment of the project, and check that NER_ENDPOINT is the URL of the "
    "Language resource that has both. Case matters.",
    429: "The service is throttling calls. Try again in a minute.",
}
"""By HTTP status."""


def check_service(settings: Settings) -> Iterator[Finding]:
    """Submit a small job, wait for its end, and yield what the service says, and how its clock compares."""
    clock = Clock()
    yield asyncio.run(ask(settings, clock))
    if clock.ahead_seconds is not None:
        yield clock.finding("the service")


async def ask(settings: Settings, clock: Clock) -> Finding:
    """Return what the service says of a small job."""
    statuses: list[int] = []

    async def note(response: httpx.Response) -> None:
        statuses.append(response.status_code)
        clock.note(response.headers.get("Date"))

    client = NerClient(settings)
    client.http.event_hooks = {"response": [note]}
    try:
        async with asyncio.timeout(MAX_SECONDS):
            job_id = await client.submit([Document("1", TEXT, settings.language)], NAME)
            job = await end_of(client, job_id)
    except NerError as error:
        return refused(settings, error, statuses[-1] if statuses else None)
    except TimeoutError:
        if statuses and statuses[0] < 300:
            return Finding(
                Verdict.OK, WHAT, f"{names(settings)}: accepted; the job takes more than {MAX_SECONDS:.0f} s."
            )
        said = f"{settings.endpoint} did not respond within {MAX_SECONDS:.0f} s."
        return Finding(Verdict.WRONG, WHAT, said, "Check NER_ENDPOINT and the network, or try again later.")
    finally:
        await client.aclose()
    return ended(settings, job)


async def end_of(client: NerClient, job_id: str) -> Job:
    """Return a job once it has ended. Raises NerError if it cannot be read."""
    submitted = client.now()
    while True:
        try:
            job = await client.look(job_id, submitted)
            if job.status.is_final:
                return job
        except NerError as error:
            if error.remedy is not Remedy.WAIT:
                raise
        await asyncio.sleep(PAUSE_SECONDS)


def names(settings: Settings) -> str:
    """Return what the service was asked for."""
    if settings.model_id and not settings.project_name:
        return f"{settings.endpoint}, model {settings.model_id!r}"
    return f"{settings.endpoint}, project {settings.project_name!r}, deployment {settings.deployment_name!r}"


def ended(settings: Settings, job: Job) -> Finding:
    """Return what the end of the job shows."""
    if job.status is JobStatus.SUCCEEDED and not job.problems:
        with_what = "the key" if settings.key else "your identity"
        return Finding(Verdict.OK, WHAT, f"{names(settings)}: it accepts {with_what}, and the job succeeded.")
    why = "; ".join(f"{problem.code}: {problem.message}" for problem in job.problems) or "no reason given"
    said = f"{names(settings)}: the job ended as {job.status.value} ({why})."
    return Finding(Verdict.WRONG, WHAT, said, "Check in Microsoft Foundry that the deployment and its model exist.")


def refused(settings: Settings, error: NerError, status: int | None) -> Finding:
    """Return what a refused call shows."""
    is_access = error.remedy is Remedy.MEND_SETTINGS and status in (None, 401, 403)
    if status is not None:
        said = f"{settings.endpoint} refused a small job: {error.code}: {error.message.rstrip('.')}."
    elif is_access:
        said = "Your identity could not get a token of Microsoft Entra ID."  # the message names every credential
    else:
        said = f"{settings.endpoint}: {error.message.rstrip('.')}."
    if is_access and settings.key is None:
        # The app has an identity of its own, which only the app can use.
        fix = (
            "To have this checked, run 'az login', and give your identity the role Cognitive Services Language Reader "
            "on the resource. Whether the app's own identity has it, the upload shows."
        )
        return Finding(Verdict.NOT_CHECKED, WHAT, said, fix)
    return Finding(Verdict.WRONG, WHAT, said, fix_for(settings, error, status))


def fix_for(settings: Settings, error: NerError, status: int | None) -> str:
    """Return what the operator can do about a refused call."""
    if error.code == "ProjectNotFound":
        return f"Set NER_PROJECT_NAME to a project of this resource; {settings.project_name!r} is none. Case matters."
    if error.remedy is Remedy.WAIT and status != 429:
        return "Check NER_ENDPOINT, the network and the proxy, or try again later."
    return FIXES.get(status, "Check NER_API_VERSION, NER_MODEL_ID and NER_LANGUAGE.")
