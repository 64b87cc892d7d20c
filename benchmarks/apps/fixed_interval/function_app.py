"""A submitting function and a looking one with a fixed interval (POLL_SECONDS) between looks; no more than that."""

import json
import logging
import os
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import azure.functions as func
import httpx
from azure.storage.blob.aio import BlobServiceClient
from azure.storage.queue import TextBase64EncodePolicy
from azure.storage.queue.aio import QueueClient

for chatty in ("azure", "httpx"):
    logging.getLogger(chatty).setLevel(logging.WARNING)

JOBS = "/language/analyze-text/jobs"
VERSION = {"api-version": "2023-04-01"}

log = logging.getLogger("sample")
app = func.FunctionApp()


@cache
def service() -> httpx.AsyncClient:
    """Return the client of the service."""
    headers = {"Ocp-Apim-Subscription-Key": os.environ["NER_KEY"]}
    return httpx.AsyncClient(base_url=os.environ["NER_ENDPOINT"], headers=headers, params=VERSION, timeout=60)


@cache
def queue() -> QueueClient:
    """Return the client of the queue."""
    return QueueClient.from_connection_string(
        os.environ["NER_STORAGE"], os.environ["NER_QUEUE"], message_encode_policy=TextBase64EncodePolicy()
    )


@cache
def blobs() -> BlobServiceClient:
    """Return the client of the storage account."""
    return BlobServiceClient.from_connection_string(os.environ["NER_STORAGE"])


async def look_later(message: dict[str, str]) -> None:
    """Send the message that brings the next look."""
    await queue().send_message(json.dumps(message), visibility_timeout=int(os.environ["POLL_SECONDS"]))


@app.blob_trigger(arg_name="blob", path="incoming/{name}", connection="NER_STORAGE", source=func.BlobSource.EVENT_GRID)
async def submit(blob: func.InputStream) -> None:
    """Submit an uploaded file."""
    name = (blob.name or "").removeprefix("incoming/")
    parameters = {"projectName": os.environ["NER_PROJECT_NAME"], "deploymentName": os.environ["NER_DEPLOYMENT_NAME"]}
    body = {
        "displayName": name,
        "analysisInput": {"documents": [{"id": "1", "language": "en", "text": blob.read().decode()}]},
        "tasks": [{"kind": "CustomEntityRecognition", "parameters": parameters}],
    }
    response = (await service().post(JOBS, json=body)).raise_for_status()
    job_id = urlsplit(response.headers["operation-location"]).path.rsplit("/", 1)[1]
    await look_later({"name": name, "jobId": job_id})


@app.queue_trigger(arg_name="message", queue_name="%NER_QUEUE%", connection="NER_STORAGE")
async def look(message: func.QueueMessage) -> None:
    """Look at a job; write its entities once it has ended."""
    body: dict[str, str] = json.loads(message.get_body())
    job: dict[str, Any] = (await service().get(f"{JOBS}/{body['jobId']}")).raise_for_status().json()
    if job["status"] in ("notStarted", "running"):
        await look_later(body)
        return
    documents = job["tasks"]["items"][0]["results"]["documents"]
    entities = [entity for document in documents for entity in document["entities"]]
    await blobs().get_blob_client("results", f"{body['name']}.json").upload_blob(json.dumps(entities), overwrite=True)
    log.info("%r: wrote the outcome", body["name"])
