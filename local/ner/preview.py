"""The two previews of the API: `v3.1-preview.ct.1` as it was documented, `v3.2-preview.2` as it was recorded."""

from datetime import datetime
from typing import Any, Generic, TypeVar

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
from local.ner.jobs import JobStatus
from local.ner.recogniser import Entity
from local.ner.requests import AnalysisInput, Deployment, JobRequest, TaskRequest, decode
from local.ner.string_index import StringIndexType

PREFIX = "/text/analytics"

Parameters = TypeVar("Parameters")


class ModelParameters(msgspec.Struct, frozen=True, rename="camel"):
    """`parameters` of a task of v3.1."""

    model_id: str
    string_index_type: StringIndexType = StringIndexType.TEXT_ELEMENTS


class DeploymentParameters(msgspec.Struct, frozen=True):
    """`parameters` of a task of v3.2."""

    project_name: str = msgspec.field(name="project-name")
    deployment_name: str = msgspec.field(name="deployment-name")
    string_index_type: StringIndexType = msgspec.field(name="stringIndexType", default=StringIndexType.TEXT_ELEMENTS)


class Task(msgspec.Struct, Generic[Parameters], frozen=True, rename="camel"):
    """A task of a submission."""

    parameters: Parameters
    task_name: str = ""


class Tasks(msgspec.Struct, Generic[Parameters], frozen=True, rename="camel"):
    """`tasks` of a submission."""

    custom_entity_recognition_tasks: list[Task[Parameters]]


class Submission(msgspec.Struct, Generic[Parameters], frozen=True, rename="camel"):
    """The body of a submission."""

    analysis_input: AnalysisInput
    tasks: Tasks[Parameters]
    display_name: str | None = None


def job_request(submission: Submission[Any], tasks: list[Task[Any]], models: list[dict[str, str]]) -> JobRequest:
    """Return a submission as a request for a job."""
    if not tasks:
        raise bad_request("InvalidRequest", "The request contains no task.")
    return JobRequest(
        submission.display_name,
        submission.analysis_input.documents,
        [
            TaskRequest(task.task_name, task.parameters.string_index_type, model)
            for task, model in zip(tasks, models, strict=True)
        ],
    )


def location(version: str, job_id: str) -> str:
    """Return the path of a job."""
    return f"{PREFIX}/{version}/analyze/jobs/{job_id}"


def next_link(version: str, view: View) -> dict[str, str]:
    """Return the link to the next page, if there is one."""
    if view.next_page is None:
        return {}
    query = f"$skip={view.next_page.skip}&$top={view.next_page.top}"
    return {"@nextLink": f"{view.endpoint}{location(version, view.job.job_id)}?{query}"}


class Seed:
    """`v3.1-preview.ct.1`: tasks within tasks, `completed` for an end, 202 for every answer."""

    name: str = "v3.1-preview.ct.1"
    get_status: int = 202

    def read(self, body: bytes, deployment: Deployment) -> JobRequest:
        """Read a submission; raises ApiError."""
        submission = decode(body, Submission[ModelParameters])
        tasks = submission.tasks.custom_entity_recognition_tasks
        for task in tasks:
            deployment.check_model_id(task.parameters.model_id)
        return job_request(submission, tasks, [{} for _ in tasks])

    def location(self, job_id: str, _query: dict[str, str]) -> str:
        """Return the path of a job."""
        return location(self.name, job_id)

    def show(self, view: View) -> dict[str, Any]:
        """Return the JSON of a job."""
        job, status = view.job, self.word(view.status)
        name = job.request.display_name
        update = milliseconds(job.last_update(view.now))
        shown: dict[str, Any] = {
            "createdDateTime": milliseconds(job.created),
            "displayName": name,
            "expirationDateTime": milliseconds(job.expires),
            "jobId": job.job_id,
            "lastUpdateDateTime": update,
            "status": status,
            "errors": job_errors(view),
            "tasks": {"details": {"name": name, "lastUpdateDateTime": update, "status": status}, **counts(view)},
            **next_link(self.name, view),
        }
        if view.status.has_ended:
            tasks = [self.show_task(view, task) for task in job.request.tasks]
            shown["tasks"]["tasks"] = {"customEntityRecognitionTasks": tasks}
        return shown

    def show_task(self, view: View, task: TaskRequest) -> dict[str, Any]:
        """Return the JSON of a task that has ended."""
        shown: dict[str, Any] = {
            "lastUpdateDateTime": milliseconds(view.job.last_update(view.now)),
            "name": view.job.request.display_name,
            "status": self.word(view.task_status),
        }
        if view.status.has_results:
            shown["results"] = {
                "documents": documents_of(view, task, by_offset),
                "errors": document_errors_of(view),
                "statistics": statistics_of(view),
            }
        return shown

    @staticmethod
    def word(status: JobStatus) -> str:
        """Return the word for a status; this version says `completed`."""
        return "completed" if status is JobStatus.SUCCEEDED else status.value


class Preview:
    """`v3.2-preview.2`: tasks by kind with a `state`, entities in no order that helps, no statistics."""

    name: str = "v3.2-preview.2"
    get_status: int = 200

    def read(self, body: bytes, deployment: Deployment) -> JobRequest:
        """Read a submission; raises ApiError."""
        submission = decode(body, Submission[DeploymentParameters])
        tasks = submission.tasks.custom_entity_recognition_tasks
        models = []
        for task in tasks:
            project, name = task.parameters.project_name, task.parameters.deployment_name
            deployment.check(project, name)
            models.append({"projectName": project, "deploymentName": name})
        return job_request(submission, tasks, models)

    def location(self, job_id: str, _query: dict[str, str]) -> str:
        """Return the path of a job."""
        return location(self.name, job_id)

    def show(self, view: View) -> dict[str, Any]:
        """Return the JSON of a job."""
        job = view.job
        shown: dict[str, Any] = {
            "jobId": job.job_id,
            "lastUpdateDateTime": instant(job.last_update(view.now)),
            "createdDateTime": instant(job.created),
            "expirationDateTime": instant(job.expires),
            "status": view.status.value,
            "errors": job_errors(view),
            **({"displayName": job.request.display_name} if job.request.display_name else {}),
            "tasks": counts(view),
            **next_link(self.name, view),
        }
        if view.status.has_ended:
            tasks = [self.show_task(view, task) for task in job.request.tasks]
            shown["tasks"]["customEntityRecognitionTasks"] = tasks
        return shown

    def show_task(self, view: View, task: TaskRequest) -> dict[str, Any]:
        """Return the JSON of a task that has ended."""
        shown: dict[str, Any] = {
            "lastUpdateDateTime": seven_decimals(view.job.last_update(view.now)),
            **({"taskName": task.name} if task.name else {}),
            "state": view.task_status.value,
        }
        if view.status.has_results:
            documents = documents_of(view, task, by_category)
            shown["results"] = {"documents": documents, "errors": document_errors_of(view), **task.model}
        return shown


def by_category(entity: Entity) -> tuple[str, int]:
    """Order entities as the recorded service did: not by their place."""
    return entity.category, -entity.offset


def milliseconds(when: datetime) -> str:
    """Return a time with three decimals."""
    return f"{when:%Y-%m-%dT%H:%M:%S}.{when.microsecond // 1000:03}Z"


def seven_decimals(when: datetime) -> str:
    """Return a time with the seven decimals of .NET."""
    return f"{when:%Y-%m-%dT%H:%M:%S.%f}0Z"
