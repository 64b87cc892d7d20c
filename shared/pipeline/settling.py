"""Uploads that are not submitted immediately: markers, and files to which text may still be written.

Markers are never submitted. A tool may create an empty file first, and then write its text; in a hierarchical
namespace, every file begins like this. Each block of an append blob makes a new version. So such a version gets a
message for later. If there is a newer version by then, that one has an event of its own; the sweep finds it if the
event was lost.
"""

import logging
from typing import Final

import msgspec

from shared.message import FileMessage
from shared.pipeline.services import Services
from shared.storage.blobs import Upload

log = logging.getLogger("ner")

SETTLE_SECONDS: Final = 60
"""Seconds without a change after which an append blob is submitted, and an empty file fails."""


async def is_put_off(services: Services, wanted: FileMessage, upload: Upload) -> bool:
    """Return whether an upload is not submitted now; if text may still be written to it, send a message for later.

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
