"""What comes out of the poison queues: turned into an outcome, or tried once more.

The host puts there what failed five times: messages of this app, and in a queue that all apps of the account share,
uploads on which the blob trigger failed. A poison queue has no poison queue of its own: what fails here comes back
after ten minutes, for ever.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from shared.flight import Flight
from shared.following import Following
from shared.jobs import JobMessage, MessageError, SubmittedJob, decode_message
from shared.ner.model import Problem
from shared.state_storage import StateError
from shared.submissions import new_claim_id

log = logging.getLogger("ner")

GAVE_UP: Final = Problem(
    "ProcessingFailed",
    "The app failed to process this file several times. Ask its operator to check the log, then upload the file again.",
)
MOST_TRIES: Final = 3
"""Of an upload out of the poison queue: an outage of the storage account is over by then, a worker that dies is not."""
FUNCTION_ID: Final = "Host.Functions.submit"
FOREIGN_SECONDS: Final = 3600.0
"""After this long somebody else's message can be received again."""


class BlobNotice(msgspec.Struct):
    """What the host writes of an upload on which a function failed."""

    function_id: str = msgspec.field(name="FunctionId")
    container_name: str = msgspec.field(name="ContainerName")
    blob_name: str = msgspec.field(name="BlobName")


class Poison:
    """Empties the poison queues. Safe to share between concurrent invocations."""

    def __init__(self, following: Following, submit: Callable[[str], Awaitable[None]]) -> None:
        """Use these connections; `submit` submits the newest version of a file."""
        self.following = following
        self.submit = submit

    async def give_up(self, body: bytes) -> None:
        """Turn a message that failed too often into a failed outcome, unless another one follows the same version."""
        try:
            message = decode_message(body, self.following.settings.input_container)
        except MessageError as error:
            # Nobody's file: raising would only bring the message back. The host's log names its id.
            log.error("discarded a poison message of %d bytes: %s", len(body), error)  # noqa: TRY400
            return
        name = message.source.name
        with self.following.telemetry.go_on("give up", name, message.trace_parent, None):
            await self.give_up_version(message)

    async def give_up_version(self, message: JobMessage) -> None:
        """Write a failed outcome of a version, unless another message follows it."""
        name = message.source.name
        try:
            known = await self.following.state.read_submission(message.source)
        except StateError:
            known = None
        if known is not None and known.submission.message.claim_id != message.claim_id:
            log.warning("%r: discarded a poison message, because another queue message tracks this version", name)
            return
        log.error("%r: gave up, because its queue message failed too often", name)
        flight = Flight(self.following, message, is_queued=True)
        await flight.fail(GAVE_UP, await self.jobs_of(message))

    async def jobs_of(self, message: JobMessage) -> Sequence[SubmittedJob]:
        """Return the jobs of a file as far as they can be found out."""
        if not message.has_ledger:
            return message.jobs
        try:
            return (await self.following.state.read_ledger(message.source)).jobs
        except StateError as error:
            log.error("%r: %s", message.source.name, error)  # noqa: TRY400
            return []

    async def resubmit(self, body: bytes, tries: int, expires: datetime | None) -> None:
        """Submit an upload on which the blob trigger failed; give it a failed outcome if that fails again.

        Args:
            body: of the message, as the host writes it.
            tries: how often the message has been received, this time included.
            expires: when the message is deleted.
        """
        settings, storage = self.following.settings, self.following.storage
        try:
            notice = msgspec.json.decode(body, type=BlobNotice)
        except (msgspec.DecodeError, UnicodeDecodeError):
            notice = None
        ours = (FUNCTION_ID, settings.input_container)
        if notice is None or (notice.function_id, notice.container_name) != ours:
            log.info("left another app's message in queue %s", storage.blob_poison_queue.queue_name)
            left = (expires - self.following.now()) if expires else timedelta(days=7)
            if left.total_seconds() > FOREIGN_SECONDS + 1:
                await storage.put_back(body.decode(), FOREIGN_SECONDS, left.total_seconds())
            return
        name = notice.blob_name
        if tries <= MOST_TRIES:
            log.warning("%r: the submit function failed too often, submitting the file again", name)
            await self.submit(name)
            return
        source = await storage.newest_source(name)
        if source is not None:
            log.error("%r: gave up, because submitting the file again failed too often", name)
            message = JobMessage(source=source, received_date_time=self.following.now(), claim_id=new_claim_id())
            await Flight(self.following, message, is_queued=True).fail(GAVE_UP)
