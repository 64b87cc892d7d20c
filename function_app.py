"""The triggers: each decodes what the host hands over and calls the pipeline, which does the work.

Settings are checked when the host loads this module, so that a wrong one stops the app before it takes a file: uploads
then wait where they are. Everything else is imported and connected at the first invocation: cold starts stay short.
"""

import asyncio
import logging
import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import azure.functions as func

from shared.settings import BLOB_POISON_QUEUE, CONNECTION, Settings
from shared.telemetry import invocation
from shared.time_limits import check_time_limits, read_function_timeout

if TYPE_CHECKING:
    from shared.pipeline import Pipeline

# The Azure SDK and httpx log every request at INFO, URLs and all.
for chatty in ("azure", "httpx"):
    logging.getLogger(chatty).setLevel(logging.WARNING)

log = logging.getLogger("ner")
settings = Settings.from_environ(os.environ)
check_time_limits(settings, read_function_timeout(Path(__file__).with_name("host.json").read_text(), os.environ))
app = func.FunctionApp()


@cache
def pipeline() -> "Pipeline":
    """Return the pipeline of this process, made at the first invocation."""
    from shared.pipeline import Pipeline
    from shared.telemetry import telemetry_for

    return Pipeline(settings, telemetry=telemetry_for(os.environ))


@app.blob_trigger(
    arg_name="blob",
    path=f"{settings.input_container}/{{name}}",
    connection=CONNECTION,
    source=func.BlobSource(settings.blob_trigger_source),
    data_type=func.DataType.BINARY,
)
async def submit(blob: func.InputStream, context: func.Context) -> None:
    """Submit a newly uploaded file."""
    from shared.source import from_trigger

    container, _, name = (blob.name or "").partition("/")
    if container != settings.input_container:
        # After an event the host does not look at the path: outcomes would be submitted, and theirs, without end.
        log.error(
            "ignored an event from container %r, which is not NER_INPUT_CONTAINER: filter the Event Grid subscription "
            "to subjects that begin with /blobServices/default/containers/%s/",
            container,
            settings.input_container,
        )
        return
    data = blob.read()
    properties = getattr(blob, "blob_properties", None)  # the public type does not declare it
    with invocation(context.invocation_id):
        await pipeline().submit(name, data, from_trigger(container, name, len(data), properties))


@app.queue_trigger(arg_name="message", queue_name=settings.queue, connection=CONNECTION)
async def poll(message: func.QueueMessage, context: func.Context) -> None:
    """Look at the jobs of a file in flight."""
    with invocation(context.invocation_id):
        await pipeline().poll(message.get_body())


@app.queue_trigger(arg_name="message", queue_name=settings.poison_queue, connection=CONNECTION)
async def give_up(message: func.QueueMessage, context: func.Context) -> None:
    """Turn a message that failed too often into an outcome."""
    with invocation(context.invocation_id):
        async with asyncio.timeout(settings.deadline_seconds):
            await pipeline().poison.give_up(message.get_body())


@app.queue_trigger(arg_name="message", queue_name=BLOB_POISON_QUEUE, connection=CONNECTION)
async def resubmit(message: func.QueueMessage, context: func.Context) -> None:
    """Submit an upload on which `submit` failed too often."""
    with invocation(context.invocation_id):
        async with asyncio.timeout(settings.deadline_seconds):
            await pipeline().poison.resubmit(message.get_body(), message.dequeue_count or 1, message.expiration_time)
