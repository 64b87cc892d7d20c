"""The usual sample with the official client's asyncio version: blocks its invocation, but no thread."""

import json
import logging
import os
from functools import cache

import azure.functions as func
from azure.ai.textanalytics.aio import TextAnalyticsClient
from azure.core.credentials import AzureKeyCredential
from azure.storage.blob.aio import BlobServiceClient

for chatty in ("azure", "httpx"):
    logging.getLogger(chatty).setLevel(logging.WARNING)

log = logging.getLogger("sample")
app = func.FunctionApp()


@cache
def text_analytics() -> TextAnalyticsClient:
    """Return the client of the service."""
    return TextAnalyticsClient(os.environ["NER_ENDPOINT"], AzureKeyCredential(os.environ["NER_KEY"]))


@cache
def blobs() -> BlobServiceClient:
    """Return the client of the storage account."""
    return BlobServiceClient.from_connection_string(os.environ["NER_STORAGE"])


@app.blob_trigger(arg_name="blob", path="incoming/{name}", connection="NER_STORAGE", source=func.BlobSource.EVENT_GRID)
async def recognize(blob: func.InputStream) -> None:
    """Recognise the entities of an uploaded file."""
    name = (blob.name or "").removeprefix("incoming/")
    poller = await text_analytics().begin_recognize_custom_entities(
        [blob.read().decode()],
        project_name=os.environ["NER_PROJECT_NAME"],
        deployment_name=os.environ["NER_DEPLOYMENT_NAME"],
        display_name=name,
    )
    found = [document async for document in await poller.result() if not document.is_error]
    entities = [
        {"text": entity.text, "category": entity.category, "offset": entity.offset, "length": entity.length}
        for document in found
        for entity in document.entities
    ]
    await blobs().get_blob_client("results", f"{name}.json").upload_blob(json.dumps(entities), overwrite=True)
    log.info("%r: wrote the outcome", name)
