"""The triggers: each passes the data of its trigger to the pipeline, which does the work.

Settings are checked when the host loads this module, so that a wrong one stops the app before it takes a file; uploads
then stay where they are. Everything else is imported and connected at the first invocation: cold starts stay short.
"""

import logging
import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import azure.functions as func

from shared.blob_reference import PROPERTIES, BlobReference, accept_references
from shared.settings import CONNECTION, EVENT_QUEUE, Settings
from shared.source import read_instant
from shared.telemetry import invocation
from shared.time_limits import check_time_limits, read_function_timeout

if TYPE_CHECKING:
    from shared.pipeline.running import Pipeline

# The Azure SDK and httpx log every request at INFO, including its URL.
for chatty in ("azure", "httpx"):
    logging.getLogger(chatty).setLevel(logging.WARNING)

log = logging.getLogger("ner")
settings = Settings.from_environ(os.environ)
check_time_limits(settings, read_function_timeout(Path(__file__).with_name("host.json").read_text(), os.environ))
accept_references()
app = func.FunctionApp()


@cache
def pipeline() -> "Pipeline":
    """Return the pipeline of this process, created at the first invocation."""
    from shared.pipeline.running import Pipeline
    from shared.telemetry import telemetry_for

    return Pipeline(settings, telemetry=telemetry_for(os.environ))


# Only one of the two is registered, so events of both kinds do no harm while the source is being changed.
if settings.blob_trigger_source == EVENT_QUEUE:

    @app.function_name("submit")
    @app.queue_trigger(arg_name="message", queue_name=settings.event_queue, connection=CONNECTION)
    async def submit_event(message: func.QueueMessage, context: func.Context) -> None:
        """Submit the newly uploaded file that an event in the queue reports."""
        with invocation(context.invocation_id):
            await pipeline().submit_event(message.get_body())

else:

    @app.blob_trigger(
        arg_name="blob",
        path=f"{settings.input_container}/{{name}}",
        connection=CONNECTION,
        source=func.BlobSource(settings.blob_trigger_source),
        data_type=func.DataType.BINARY,
        properties=PROPERTIES,
    )
    async def submit(blob: BlobReference, context: func.Context) -> None:
        """Submit a newly uploaded file."""
        if blob.container != settings.input_container:
            # For events, the host does not check the path: outcomes would be submitted, and then theirs, endlessly.
            from shared.events import event_from

            log.error("ignored %s", event_from(blob.container, settings.input_container))
            return
        with invocation(context.invocation_id):
            await pipeline().submit(blob.blob)


@app.queue_trigger(arg_name="message", queue_name=settings.queue, connection=CONNECTION)
async def poll(message: func.QueueMessage, context: func.Context) -> None:
    """Take the next step of a file in flight."""
    with invocation(context.invocation_id):
        await pipeline().poll(message.get_body(), comes_again=(message.dequeue_count or 1) > 1)


@app.timer_trigger(arg_name="timer", schedule=settings.sweep_schedule)
async def sweep(timer: func.TimerRequest, context: func.Context) -> None:
    """Send messages for files that no trigger reported and for batches whose message was lost."""
    with invocation(context.invocation_id):
        status = getattr(timer, "schedule_status", {})  # the public type does not declare it
        await pipeline().sweep(read_instant(str(status.get("Next", ""))))
