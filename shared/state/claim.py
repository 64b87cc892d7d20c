"""The claim of a file: a blob named after it, which says which version is in flight and in which batch.

A file has at most one claim, so two versions of it cannot be processed independently of each other.
"""

from datetime import datetime
from typing import Annotated, Final
from uuid import uuid4

import msgspec

from shared.names import result_name
from shared.source import Digest, ETag, Instant, Source

CLAIMS: Final = "claims/"
"""Prefix of the names of claims in NER_STATE_CONTAINER."""
MAX_TRIES: Final = 3
"""How many workers may die of the same step, or fail to record it because storage refuses, until the file is given up.
Each time, a submission may have been accepted and charged."""

BatchId = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}\Z")]


class Claim(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The claim of a version.

    `batch` names the batch that the version is in, or is about to be in. `tries` counts the workers that have claimed
    this version. `received_date_time` is when the app first saw it. `replaces` is the ETag of an outcome of this
    version that is to be replaced. `digest` stands for the text and how it is sent: equal ones give equal entities.
    """

    source: Source
    batch: BatchId
    tries: Annotated[int, msgspec.Meta(ge=1)] = 1
    claimed_date_time: Instant
    received_date_time: Instant
    replaces: ETag | None = None
    digest: Digest = ""

    def metadata(self) -> dict[str, str]:
        """Return the metadata that a listing shows of the claim."""
        return {
            "source_etag": self.source.etag,
            "batch": self.batch,
            "claimed_date_time": self.claimed_date_time.isoformat(),
        }


def claim_name(name: str) -> str:
    """Return the name of a file's claim."""
    return CLAIMS + result_name(name)


def new_batch_id() -> str:
    """Return an ID for a new batch."""
    return uuid4().hex


def is_old(claimed: datetime, now: datetime, patience_seconds: float) -> bool:
    """Return whether the worker of a claim must have ended: every worker ends before `patience_seconds` are over."""
    return (now - claimed).total_seconds() >= patience_seconds


def encode_claim(claim: Claim) -> bytes:
    """Return the claim as JSON."""
    return msgspec.json.encode(claim)


def decode_claim(data: bytes) -> Claim:
    """Decode a claim.

    Raises:
        msgspec.DecodeError: another version of the app has written it.
    """
    return msgspec.json.decode(data, type=Claim)
