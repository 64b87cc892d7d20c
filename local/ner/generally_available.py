"""The generally available API, `2022-05-01` and later, after the OpenAPI document of 2023-04-01.

Later versions add the language `auto` and `cancelAfter`.
"""

from typing import Annotated, Any, Final
from urllib.parse import urlencode

import msgspec

from local.ner.answers import (
    View,
    by_offset,
    counts,
    document_errors_of,
    documents_of,
    instant,
    job_errors,
    statistics_of,
)
from local.ner.errors import bad_request
from local.ner.requests import AnalysisInput, Deployment, JobRequest, TaskRequest, decode
from local.ner.string_index import StringIndexType

STABLE_VERSIONS: Final = ("2022-05-01", "2023-04-01", "2024-11-01", "2025-11-01", "2026-05-01")
PREVIEW_VERSIONS: Final = ("2024-11-15-preview", "2025-05-15-preview", "2025-11-15-preview", "2026-05-15-preview")
FIRST_AUTO: Final = "2025-05-15"
"""The first version that detects languages."""
FIRST_CANCEL_AFTER: Final = "2026-05-01"
"""The first version that cancels jobs that take too long."""

PATH = "/language/analyze-text/jobs"
KIND = "CustomEntityRecognition"


class Parameters(msgspec.Struct, frozen=True, rename="camel"):
    """`parameters` of a task."""

    project_name: str
    deployment_name: str
    string_index_type: StringIndexType = StringIndexType.TEXT_ELEMENTS
    logging_opt_out: bool = False


class Task(msgspec.Struct, frozen=True, rename="camel"):
    """A task of a submission."""

    kind: str
    parameters: Parameters
    task_name: str | None = None


class Submission(msgspec.Struct, frozen=True, rename="camel"):
    """The body of a submission."""

    analysis_input: AnalysisInput
    tasks: list[Task]
    display_name: str | None = None
    cancel_after: Annotated[float, msgspec.Meta(gt=0)] | None = None


class GenerallyAvailable:
    """A version by date."""

    name: str = "generally available"
    get_status: int = 200

    def __init__(self, version: str) -> None:
        """Speak as a version of the API does."""
        self.version = version

    def read(self, body: bytes, deployment: Deployment) -> JobRequest:
        """Read a submission; raises ApiError."""
        submission = decode(body, Submission)
        if not submission.tasks:
            raise bad_request("InvalidRequest", "The request contains no task.")
        tasks = []
        for number, task in enumerate(submission.tasks):
            if task.kind != KIND:
                raise bad_request(
                    "InvalidParameterValue", f"Tasks of kind {task.kind!r} are not supported, only {KIND}."
                )
            project, name = task.parameters.project_name, task.parameters.deployment_name
            deployment.check(project, name)
            tasks.append(
                TaskRequest(
                    task.task_name or f"{KIND}LROTask{number}",
                    task.parameters.string_index_type,
                    {"projectName": project, "deploymentName": name},
                )
            )
        return JobRequest(
            submission.display_name,
            submission.analysis_input.documents,
            tasks,
            detects_languages=self.version >= FIRST_AUTO,
            cancel_after=submission.cancel_after if self.version >= FIRST_CANCEL_AFTER else None,
        )

    def location(self, job_id: str, query: dict[str, str]) -> str:
        """Return path and query of a job."""
        return f"{PATH}/{job_id}?{urlencode({'api-version': query['api-version']})}"

    def show(self, view: View) -> dict[str, Any]:
        """Return the JSON of a job."""
        job = view.job
        shown: dict[str, Any] = {
            "jobId": job.job_id,
            "lastUpdatedDateTime": instant(job.last_update(view.now)),
            "createdDateTime": instant(job.created),
            "expirationDateTime": instant(job.expires),
            "status": view.status.value,
            "errors": job_errors(view),
            **({"displayName": job.request.display_name} if job.request.display_name else {}),
            "tasks": counts(view),
        }
        if view.status.has_ended:
            shown["tasks"]["items"] = [self.show_task(view, task) for task in job.request.tasks]
        if view.next_page is not None:
            query = {**view.query, "skip": view.next_page.skip, "top": view.next_page.top}
            shown["nextLink"] = f"{view.endpoint}{PATH}/{job.job_id}?{urlencode(query)}"
        return shown

    def show_task(self, view: View, task: TaskRequest) -> dict[str, Any]:
        """Return the JSON of a task that has ended."""
        shown: dict[str, Any] = {
            "kind": f"{KIND}LROResults",
            "taskName": task.name,
            "lastUpdateDateTime": instant(view.job.last_update(view.now)),
            "status": view.task_status.value,
        }
        if view.status.has_results:
            documents = documents_of(view, task, by_offset, statistics=view.show_stats)
            statistics = {"statistics": statistics_of(view)} if view.show_stats else {}
            shown["results"] = {
                "documents": documents,
                "errors": document_errors_of(view),
                **statistics,
                **task.model,
            }
        return shown
