"""Uploads that are not submitted at once: markers never are, and a text that may still be on the way gets some time.

A tool may create a file first, and then write its text. In a hierarchical namespace, each file begins like that, and
each block of an append blob makes a new version. So the version that an event is about gets a message for later. If
there is a newer one by then, that one has an event of its own, and the sweep finds it if the event was lost.
"""

import logging
from typing import Final

import msgspec

from shared.message import FileMessage
from shared.pipeline.services import Services
from shared.storage.blobs import Upload

log = logging.getLogger("ner")

SETTLE_SECONDS: Final = 60
"""How long an empty file or an append blob must stay as it is, after an event, before it fails or is submitted."""


async def is_put_off(services: Services, wanted: FileMessage, upload: Upload) -> bool:
    """Return whether an upload is not submitted now; if its text may still be on the way, send a message for later.

    Raises:
        AzureError: storage refused the call.
    """
    name, etag = wanted.file, upload.source.etag
    if upload.is_marker:
        log.info("%r: an empty marker, such as for a folder, nothing to do", name)
        return True
    if wanted.etag not in (None, etag):
        log.info("%r: has changed while the app waited for its text, leaving it to its next event", name)
        return True
    if wanted.due is not None or not upload.may_grow:
        return False
    seconds = min(SETTLE_SECONDS, services.settings.sweep_grace_seconds)
    log.info("%r: submitting in %d s, unless more text comes by then", name, seconds)
    later = msgspec.structs.replace(wanted, etag=etag, due=services.in_seconds(seconds))
    await services.queue.send(later, seconds)
    return True
