"""An emulator whose time the tests set, called without an HTTP server in front."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from local.ner.app import Emulator
from local.ner.recogniser import Recogniser
from local.ner.requests import Deployment
from local.ner.switches import Switches

GA = "/language/analyze-text/jobs"
TEXT = "Book a table at Café Lumière 🍷 in Zürich for four people at eight."
KEY = {"Ocp-Apim-Subscription-Key": "key"}


class Service:
    """An emulator, a client that has its key, and the clock of both."""

    def __init__(self, recogniser: Recogniser) -> None:
        self.seconds = 0.0
        self.emulator = Emulator(
            recogniser,
            Deployment("concierge", "production", "model", "en", multilingual=False),
            "key",
            switches=Switches(job_seconds=10),
            now=lambda: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds),
            clock=lambda: self.seconds,
        )
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(self.emulator.app), base_url="http://localhost:1", headers=KEY
        )

    async def post(self, body: object, version: str = "2023-04-01", **options: Any) -> httpx.Response:
        """Submit to a version of the generally available API."""
        return await self.http.post(GA, params={"api-version": version}, json=body, **options)

    async def submit(self, *texts: str, **parameters: str) -> str:
        """Submit texts and return where the job is."""
        response = await self.post(submission(*texts, **parameters))
        assert response.status_code == 202, response.text
        return str(response.headers["operation-location"])

    async def show(self, location: str) -> dict[str, Any]:
        """Return a job, its results computed if it has ended."""
        for job in self.emulator.jobs.all():
            await job.answers
        response = await self.http.get(location)
        assert response.status_code == 200, response.text
        return dict(response.json())


def submission(*texts: str, **parameters: str) -> dict[str, Any]:
    """Return the body for texts that are called 0, 1, 2 and so on."""
    task = {
        "kind": "CustomEntityRecognition",
        "taskName": "mine",
        "parameters": {"projectName": "concierge", "deploymentName": "production", **parameters},
    }
    documents = [{"id": str(number), "language": "en", "text": text} for number, text in enumerate(texts)]
    return {"displayName": "name", "analysisInput": {"documents": documents}, "tasks": [task]}
