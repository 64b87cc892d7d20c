"""The three dialects of the API: where a job is submitted and looked up, and how the model is named in the request."""

from typing import Any, Final, NamedTuple, Protocol

from shared.ner.model import Document, Page
from shared.settings import PREVIEW_API_VERSION, SEED_API_VERSION, Settings

STRING_INDEX_TYPE: Final = "UnicodeCodePoint"
"""With it `text[offset:offset + length]` is the entity in Python, whatever the emoji."""

TASK_NAME: Final = "entities"


class Request(NamedTuple):
    """What differs between the dialects in one HTTP request; `path` begins with a slash."""

    path: str
    query: dict[str, str]
    body: dict[str, Any] | None = None


class Dialect(Protocol):
    """How one version of the API wants to be asked."""

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
    if settings.api_version == SEED_API_VERSION:
        return Preview(settings.api_version, {"modelId": settings.model_id}, {"modelId": settings.model_id})
    project, deployment = settings.project_name, settings.deployment_name
    model = {"projectName": project, "deploymentName": deployment}
    if settings.api_version == PREVIEW_API_VERSION:
        return Preview(settings.api_version, {"project-name": project, "deployment-name": deployment}, model)
    return GenerallyAvailable(settings.api_version, model)


class Preview:
    """`v3.1-preview.ct.1` and `v3.2-preview.2`: the version is part of the path, tasks are grouped by kind."""

    def __init__(self, version: str, parameters: dict[str, str], model: dict[str, str]) -> None:
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

    def __init__(self, version: str, model: dict[str, str]) -> None:
        self.version = {"api-version": version}
        self.model = model

    def submit(self, documents: list[Document], display_name: str) -> Request:
        """Return the request that submits a job."""
        task = {
            "kind": "CustomEntityRecognition",
            "taskName": TASK_NAME,
            "parameters": {**self.model, "stringIndexType": STRING_INDEX_TYPE},
        }
        body = {"displayName": display_name, "analysisInput": {"documents": documents}, "tasks": [task]}
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
