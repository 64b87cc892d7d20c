"""The three dialects of the API: where a job is submitted and looked up, and how the model is named in the request."""

from typing import Any, Final, NamedTuple, Protocol

from shared.api_versions import PREVIEW_API_VERSION, SEED_API_VERSION, takes_cancel_after
from shared.ner.model import Document, Page
from shared.settings import Settings

STRING_INDEX_TYPE: Final = "UnicodeCodePoint"
"""With it `text[offset:offset + length]` is the entity in Python, whatever the emoji."""

TASK_NAME: Final = "entities"


class Request(NamedTuple):
    """What differs between the dialects in one HTTP request; `path` begins with a slash."""

    path: str
    query: dict[str, str]
    body: dict[str, Any] | None = None


MAX_CANCEL_AFTER_SECONDS: Final = 24 * 3600
"""The service forgets a job after that time anyway."""


class Dialect(Protocol):
    """How one version of the API wants to be asked.

    `cancel_after` is the number of seconds after which the service cancels a job; None if it never does.
    """

    cancel_after: int | None

    def submit(self, documents: list[Document], display_name: str) -> Request:
        """Return the request that submits a job."""
        ...

    def retrieve(self, job_id: str, page: Page | None) -> Request:
        """Return the request for a job and the first or another page of its results."""
        ...

    def cancel(self, job_id: str) -> Request | None:
        """Return the request that cancels a job; None if this version of the API cannot."""
        ...

    def describe_model(self) -> dict[str, str]:
        """Return how the model is named, in the outcome's words."""
        ...


def dialect_for(settings: Settings) -> Dialect:
    """Return the dialect that NER_API_VERSION names."""
    version = settings.api_version
    options = {"loggingOptOut": True} if settings.logging_opt_out else {}
    if version == SEED_API_VERSION:
        by_id = {"modelId": settings.model_id}
        return Preview(version, by_id | options, by_id)
    project, deployment = settings.project_name, settings.deployment_name
    model = {"projectName": project, "deploymentName": deployment}
    if version == PREVIEW_API_VERSION:
        return Preview(version, {"project-name": project, "deployment-name": deployment, **options}, model)
    seconds = min(settings.job_timeout_seconds, MAX_CANCEL_AFTER_SECONDS)
    cancel_after = seconds if takes_cancel_after(version) else None
    return GenerallyAvailable(version, model | options, model, cancel_after)


class Preview:
    """`v3.1-preview.ct.1` and `v3.2-preview.2`: the version is part of the path, tasks are grouped by kind."""

    cancel_after: int | None = None

    def __init__(self, version: str, parameters: dict[str, Any], model: dict[str, str]) -> None:
        self.path = f"/text/analytics/{version}/analyze"
        self.parameters = parameters
        self.model = model

    def submit(self, documents: list[Document], display_name: str) -> Request:
        """Return the request that submits a job."""
        task = {"parameters": {**self.parameters, "stringIndexType": STRING_INDEX_TYPE}}
        body = {
            "displayName": display_name,
            "analysisInput": {"documents": documents},
            "tasks": {"customEntityRecognitionTasks": [task]},
        }
        return Request(self.path, {}, body)

    def retrieve(self, job_id: str, page: Page | None) -> Request:
        """Return the request for a job and the first or another page of its results."""
        return Request(f"{self.path}/jobs/{job_id}", {"showStats": "true", **page_query(page, "$")})

    def cancel(self, _job_id: str) -> Request | None:
        """Return None: the previews cannot cancel."""
        return None

    def describe_model(self) -> dict[str, str]:
        """Return how the model is named, in the outcome's words."""
        return self.model


class GenerallyAvailable:
    """`2022-05-01`, `2023-04-01` and later dates: the version is a query parameter, tasks are a list."""

    PATH: Final = "/language/analyze-text/jobs"

    def __init__(
        self, version: str, parameters: dict[str, Any], model: dict[str, str], cancel_after: int | None
    ) -> None:
        self.version = {"api-version": version}
        self.parameters = parameters
        self.model = model
        self.cancel_after = cancel_after

    def submit(self, documents: list[Document], display_name: str) -> Request:
        """Return the request that submits a job."""
        task = {
            "kind": "CustomEntityRecognition",
            "taskName": TASK_NAME,
            "parameters": {**self.parameters, "stringIndexType": STRING_INDEX_TYPE},
        }
        body: dict[str, Any] = {
            "displayName": display_name,
            "analysisInput": {"documents": documents},
            "tasks": [task],
        }
        if self.cancel_after is not None:
            body["cancelAfter"] = self.cancel_after
        return Request(self.PATH, self.version, body)

    def retrieve(self, job_id: str, page: Page | None) -> Request:
        """Return the request for a job and the first or another page of its results."""
        return Request(f"{self.PATH}/{job_id}", {**self.version, "showStats": "true", **page_query(page, "")})

    def cancel(self, job_id: str) -> Request | None:
        """Return the request that cancels a job."""
        return Request(f"{self.PATH}/{job_id}:cancel", self.version)

    def describe_model(self) -> dict[str, str]:
        """Return how the model is named, in the outcome's words."""
        return self.model


def page_query(page: Page | None, prefix: str) -> dict[str, str]:
    """Return the query parameters that ask for a page of the results."""
    if page is None:
        return {}
    top = {} if page.top is None else {f"{prefix}top": str(page.top)}
    return {f"{prefix}skip": str(page.skip), **top}
