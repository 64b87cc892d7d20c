"""Posting a text to the service, and recording the job that it accepts.

Between the service's response and the record is the one gap: if a worker dies in it, the text is charged again.
"""

import logging

import msgspec
from azure.core.exceptions import AzureError

from shared.ner.errors import NerError
from shared.packing import Request
from shared.pipeline.calling import after_failed_call, next_poll, submit_request
from shared.pipeline.finishing import cancel
from shared.pipeline.ledger_posting import post_all
from shared.pipeline.rescheduling import send, take_baton
from shared.pipeline.services import Services
from shared.pipeline.texts import Text
from shared.state.batch import BatchKind, BatchRecord, SubmittedJob
from shared.state.claim import BatchId
from shared.state.ledger import Ledger
from shared.storage.errors import describe

log = logging.getLogger("ner")


async def post_text(services: Services, batch: BatchId, record: BatchRecord, baton: str | None, text: Text) -> None:
    """Post the text of a file: as one job if it fits one request, else as many jobs with a ledger.

    Args:
        services: connections.
        batch: ID of the batch, whose only member is the file.
        record: the batch's record.
        baton: ETag of the record; None if it has not been written yet.
        text: what was read of the file.
    """
    if text.first is not None and text.is_one_request:
        await post(services, batch, record, baton, text.first)
        return
    begun = msgspec.structs.replace(record, kind=BatchKind.LEDGER)
    etag = await take_baton(services, batch, begun, baton)
    if etag is not None:
        await post_all(services, batch, begun, etag, text, ledger=Ledger(batch))


async def post(services: Services, batch: BatchId, record: BatchRecord, baton: str | None, request: Request) -> None:
    """Post a batch of one request, and record the job."""
    source = record.members[0].source
    try:
        job_id = await submit_request(services, request, source)
    except NerError as error:
        await after_failed_call(services, batch, record, baton, error)
        return
    services.telemetry.job(job_id)
    log.info("%r: submitted as job %s", source.name, job_id)
    job = SubmittedJob(job_id, len(request.documents), request.transactions_count)
    submitted = msgspec.structs.replace(
        record.after_progress(),
        kind=BatchKind.JOB,
        job=job,
        submitted_date_time=services.now(),
        due=services.in_seconds(next_poll(services, job, 0.0)),
    )
    try:
        etag = await services.state.write_batch(batch, submitted, baton)
    except AzureError as error:
        # The job has been charged, so its message is sent anyway; the worker that receives it writes the record.
        log.warning("%r: job %s could not be recorded yet: %s", source.name, job_id, describe(error))
        await send(services, batch, submitted, baton)
        return
    if etag is None:
        log.warning(
            "%r: another worker took over, because this one was slower than NER_SUBMIT_TIMEOUT_SECONDS", source.name
        )
        await cancel(services, source.name, job_id)
        return
    services.telemetry.submitted()
    await send(services, batch, submitted, etag)
