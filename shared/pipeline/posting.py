"""Posting a text to the service, and recording the job that it accepts.

Between the service's response and the record is the one gap: if a worker dies in it, the text is charged again.
"""

import logging
from collections.abc import Sequence

from azure.core.exceptions import AzureError

from shared.ner.errors import NerError
from shared.ner.model import loggable_job
from shared.packing import Request
from shared.pipeline.calling import after_failed_call, host_of, next_poll, submit_request
from shared.pipeline.dissolving import dissolve
from shared.pipeline.finishing import cancel
from shared.pipeline.ledger_posting import can_be_halved, post_all, post_halved
from shared.pipeline.rescheduling import Turn, send, take_baton
from shared.pipeline.services import Services
from shared.pipeline.texts import File, joined, placed
from shared.state.batch import BatchKind, SubmittedJob
from shared.state.ledger import Ledger
from shared.storage.errors import describe

log = logging.getLogger("ner")


async def post_files(services: Services, turn: Turn, files: Sequence[File]) -> None:
    """Post the texts of a batch, whose members are these files: as one job, or a long file as many, with a ledger."""
    files = placed(files)
    turn = turn.changed(members=[file.member for file in files])
    request = joined(files)
    if request is not None:
        await post(services, turn, files, request)
    elif len(files) > 1:
        await dissolve(services, turn, "they do not fit one request")
    else:
        ledger = turn.changed(kind=BatchKind.LEDGER, host=host_of(services))
        taken = await take_baton(services, ledger)
        if taken is not None:
            await post_all(services, taken, files, ledger=Ledger(turn.batch))


async def post(services: Services, turn: Turn, files: Sequence[File], request: Request) -> None:
    """Post the request of a batch, and record the job."""
    try:
        job_id = await submit_request(services, request, turn.record.members)
    except NerError as error:
        if len(files) == 1 and can_be_halved(error, request, turn.record):
            await post_halved(services, turn, files, ledger=Ledger(turn.batch))
            return
        await after_failed_call(services, turn, error)
        return
    services.telemetry.job(job_id)
    log.info("%s: submitted as job %s of batch %s", turn.names, loggable_job(job_id), turn.batch)
    job = SubmittedJob(job_id, len(request.documents), request.transactions_count)
    submitted = turn.after_progress().changed(
        kind=BatchKind.JOB,
        job=job,
        host=host_of(services),
        submitted_date_time=services.now(),
        due=services.in_seconds(next_poll(services, job, 0.0)),
    )
    try:
        etag = await services.state.write_batch(*submitted)
    except AzureError as error:
        # The job has been charged, so its message is sent anyway; the worker that receives it writes the record.
        log.warning("%s: job %s could not be recorded yet: %s", turn.names, loggable_job(job_id), describe(error))
        services.telemetry.submitted(len(turn.record.members))
        await send(services, submitted)
        return
    if etag is None:
        log.warning(
            "%s: another worker took over, because this one was slower than NER_SUBMIT_TIMEOUT_SECONDS", turn.names
        )
        await cancel(services, turn.names, job_id)
        return
    services.telemetry.submitted(len(turn.record.members))
    await send(services, submitted._replace(baton=etag))
