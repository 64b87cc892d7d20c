"""What can be set while the emulator runs: how fast it is, and what goes wrong."""

import random
from typing import Annotated, Literal

import msgspec

from local.ner.errors import ApiError
from local.ner.requests import MOST_TEXT_ELEMENTS

Seconds = Annotated[float, msgspec.Meta(ge=0)]


class Fault(msgspec.Struct, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """Something that happens to calls of the API.

    Attributes:
        status: HTTP status of the answer; None cuts the connection in the middle of an answer.
        method: which calls it happens to; None is all.
        retry_after: seconds for the header Retry-After.
        times: how often it still happens; None is without end.
        share: which part of the calls it happens to, 0..1.
        after: whether the service does what it was asked before the caller learns otherwise.
        page: whether a gateway before the service answers, with a page in HTML instead of an error of the API.
    """

    status: Annotated[int, msgspec.Meta(ge=400, le=599)] | None = None
    method: Literal["GET", "POST"] | None = None
    retry_after: Annotated[int, msgspec.Meta(ge=0)] | None = None
    times: Annotated[int, msgspec.Meta(ge=0)] | None = None
    share: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0
    after: bool = False
    page: bool = False


class Switches(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """The emulator's behaviour; the defaults are the service's.

    Attributes:
        job_seconds: how long a job takes, from the 202 to its end.
        seconds_per_document: how much longer a job takes for each document after the first.
        job_spread: how much that duration varies: sigma of a lognormal distribution with the duration as its median.
        latency_seconds: how long a call takes at least.
        calls_per_minute: more are answered with 429.
        page_size: documents on a page of results.
        retention_seconds: how long after its submission a job is kept.
        job_end: how jobs end; `never` keeps them running.
        most_text_elements: how many a request may have, all documents together; more are refused with 400.
        refused_marker: a request is refused with 400 if the text of any of its documents contains this; empty: none is.
        missing_marker: a document whose text contains this has neither a result nor an error; empty: none is missing.
        unknown_fields: whether every object of a response that shows a job has fields that no version of the API has.
        faults: what goes wrong; the first that fits a call happens to it.
    """

    job_seconds: Seconds = 1.0
    seconds_per_document: Seconds = 0.0
    job_spread: Annotated[float, msgspec.Meta(ge=0, le=3)] = 0.0
    latency_seconds: Seconds = 0.0
    calls_per_minute: Annotated[int, msgspec.Meta(ge=0)] = 1000
    page_size: Annotated[int, msgspec.Meta(ge=1)] = 20
    retention_seconds: Seconds = 24 * 3600.0
    job_end: Literal["succeeded", "partiallyCompleted", "failed", "cancelled", "never"] = "succeeded"
    most_text_elements: Annotated[int, msgspec.Meta(ge=1)] = MOST_TEXT_ELEMENTS
    refused_marker: str = ""
    missing_marker: str = ""
    unknown_fields: bool = False
    faults: list[Fault] = []


class ClockStep(msgspec.Struct, forbid_unknown_fields=True):
    """How far the emulator's clock moves forward, in seconds: at most as long as the service keeps a job."""

    seconds: Annotated[float, msgspec.Meta(ge=0, le=24 * 3600)]


class GatewayError(Exception):
    """A gateway before the service answers with a page of its own; `status` is that of HTTP."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(str(status))


class LostConnection(Exception):  # noqa: N818  # nothing went wrong here: it is what was asked for
    """The caller is not to get its answer."""


def raise_fault(switches: Switches, method: str, chance: random.Random, *, after: bool) -> None:
    """Let the first fault that fits happen.

    Raises:
        ApiError: the answer that the caller gets in place of its own.
        GatewayError: the same, of a gateway.
        LostConnection: the caller gets half an answer.
    """
    for fault in switches.faults:
        fits = fault.after == after and fault.method in (None, method) and fault.times != 0
        if not fits or chance.random() >= fault.share:
            continue
        if fault.times is not None:
            fault.times -= 1
        if fault.status is None:
            raise LostConnection
        if fault.page:
            raise GatewayError(fault.status)
        code = {429: "TooManyRequests", 503: "ServiceUnavailable", 504: "Timeout"}.get(fault.status)
        raise ApiError(
            fault.status, code or "InternalServerError", "The emulator was set to fail.", retry_after=fault.retry_after
        )
