"""Copying the outcome of a file that was saved again with the same text: its entities are known and were charged."""

import json
import logging
import re
from collections.abc import AsyncIterator
from typing import Final

import msgspec

from shared import outcome as outcomes
from shared.outcome import OutcomeStatus
from shared.pipeline.services import Services
from shared.source import Source
from shared.state.batch import Member

log = logging.getLogger("ner")

HEAD: Final = re.compile(r'\s*\{\s*"status":\s*"\w+",\s*"source":\s*')
"""How an outcome begins."""


class ShapeError(Exception):
    """An outcome does not begin as this version of the app writes it."""


async def copy_outcome(services: Services, member: Member) -> bool:
    """Copy the existing outcome of a file, for a version with the same text.

    Returns:
        False if that is not possible: the text has to be sent.

    Raises:
        AzureError: storage refused a call.
        OutcomeConflictError: the outcome is no longer the one that was seen.
    """
    name, source = member.source.name, member.source

    async def pieces() -> AsyncIterator[bytes]:
        is_first = True
        async for piece in services.blobs.read_outcome(name, member.outcome_etag or ""):
            yield with_source(piece, source) if is_first else piece
            is_first = False
        if is_first:
            raise ShapeError

    try:
        metadata = outcomes.metadata(OutcomeStatus.SUCCEEDED, source, member.digest)
        await services.blobs.write_outcome(name, pieces, metadata, member.outcome_etag)
    except ShapeError:
        return False
    services.telemetry.ended(OutcomeStatus.SUCCEEDED.value)
    log.info("%r: copied the outcome of its last version, because the text is the same", name)
    return True


def with_source(head: bytes, source: Source) -> bytes:
    """Return the beginning of an outcome with its version replaced by `source`; the encoding stays.

    Raises:
        ShapeError: it is not the beginning of an outcome.
    """
    # The last bytes may be part of a character; they are after the source.
    text = head.decode("utf-8", "surrogateescape")
    begin = HEAD.match(text)
    if begin is None:
        raise ShapeError
    try:
        found, end = json.JSONDecoder().raw_decode(text, begin.end())
        known = msgspec.convert(found, Source)
    except (ValueError, msgspec.ValidationError):
        raise ShapeError from None
    described = msgspec.json.encode(msgspec.structs.replace(source, encoding=known.encoding))
    return text[: begin.end()].encode() + described + text[end:].encode("utf-8", "surrogateescape")
