"""What can go wrong with a call, as one exception that says who can do something about it, and when.

Every failure of the API becomes a `NerError`. Its `remedy` decides what the pipeline does: wait and try again, wait for
the operator to fix the settings, or give the file its failed outcome.
"""

import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Any, Final

import httpx
import msgspec

LONGEST_RETRY_AFTER_SECONDS: Final = 3600.0
LONGEST_MESSAGE: Final = 1000
MOST_VALUES: Final = 2_000_000
"""In a response. A request has at most 125,000 characters; an entity of one character has less than 16 values."""
LONGEST_LOGGED: Final = 300
CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
LOGGED_CODE = re.compile(
    r"[A-Z][A-Za-z]*[a-z][A-Z][A-Za-z]*|HTTP[0-9]{3}|[1-5][0-9]{2}|Unauthorized|Forbidden|Timeout|Conflict"
)
"""Codes that the log may have: those of several words, as nearly all are, and of one word those that the API has."""

CONFIGURATION_CODES: Final = frozenset(
    {"Unauthorized", "Forbidden", "ProjectNotFound", "ModelVersionIncorrect", "UnsupportedApiVersionValue"}
)
"""Error codes of a 4xx answer that no change to the file could cure (the service's own, and for the version of the API
that of Azure's guidelines for services)."""
FORGOTTEN_CODES: Final = frozenset({"NotFound", "OperationNotFound"})
"""Error codes of the API's own 404 for a job. A gateway's 404 has another code, such as `404`, or no code."""
REFUSALS: Final = frozenset({400, 413, 415, 422})
"""HTTP statuses that say that the service will never accept this submission."""
FORGOTTEN: Final = "The service no longer has the results (it keeps them for 24 hours). Upload the file again."

RESPONSE_ERRORS: Final = (
    httpx.HTTPError,
    httpx.InvalidURL,
    httpx.StreamError,
    httpx.CookieConflict,
    OSError,
    ValueError,
)
"""All that the HTTP client raises for a connection or a response; those of TLS and of host names it lets through."""


OWN_REASONS: Final = (httpx.NetworkError, httpx.TimeoutException, httpx.ProxyError, httpx.StreamError, OSError)
"""Errors in words of this machine. Those of others, such as a status line that is none, quote what the service sent."""
NOT_OF_HTTP: Final = (httpx.ProtocolError, httpx.DecodingError, httpx.UnsupportedProtocol)
"""Errors of a service that was reached."""
TO_CHECK: Final = {
    "ProjectNotFound": "NER_PROJECT_NAME and NER_DEPLOYMENT_NAME",
    "ModelVersionIncorrect": "NER_PROJECT_NAME, NER_DEPLOYMENT_NAME and NER_MODEL_ID",
    "UnsupportedApiVersionValue": "NER_API_VERSION",
}
"""App settings, by error codes."""
TO_CHECK_BY_STATUS: Final = {
    401: "NER_KEY and NER_ENDPOINT or, without a key, the role of the app's identity",
    403: "NER_KEY and NER_ENDPOINT, the role of the app's identity, and the network rules of the resource",
    404: "NER_ENDPOINT, NER_PROJECT_NAME and NER_DEPLOYMENT_NAME",
}

TOO_LARGE: Final = 413
GATEWAY_STATUSES: Final = frozenset({408, 502, 504})
"""Of a gateway that has passed a call on and got no answer."""


class Remedy(Enum):
    """What helps against a failed call."""

    WAIT = "wait"
    """The service is throttling, down or out of reach, or something else answered: the same call may work later."""
    MEND_SETTINGS = "mend settings"
    """Key, endpoint, project, deployment or model is wrong: the same call works after the operator has been."""
    NONE = "none"
    """The service refuses this very request, or the job is lost: trying again cannot help."""


class NerError(Exception):
    """A call to the API failed.

    Attributes:
        code: the API's error code, the most specific one given, or one of ours for a call that got no answer.
        message: a sentence for the person who can act. It has the service's words only if these are about this very
            text, whose uploader reads them.
        remedy: whether trying again makes sense.
        retry_after: seconds that the service asks to wait at least, or None.
        throttled: whether there were too many calls.
        is_unanswered: whether the service may have done what was asked, although it did not say so.
        for_log: what the log may say: one line of the code and our own words, since the service's may quote a text.
    """

    def __init__(
        self,
        code: str,
        message: str,
        remedy: Remedy,
        retry_after: float | None = None,
        *,
        logged: str | None = None,
        throttled: bool = False,
        is_unanswered: bool = False,
    ) -> None:
        self.code = code
        self.message = message
        self.remedy = remedy
        self.retry_after = retry_after
        self.throttled = throttled
        self.is_unanswered = is_unanswered
        self.for_log = printable(f"{code}: {message}" if logged is None else logged)[:LONGEST_LOGGED]
        super().__init__(self.for_log)


class Answer(msgspec.Struct):
    """A response of the service, or of a gateway before it.

    Attributes:
        status: HTTP status.
        headers: by names in any case; neither they nor the body hold the app's key.
        body: empty if it could not be read.
        fault: why the body could not be read, or None.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    fault: NerError | None = None

    @property
    def is_success(self) -> bool:
        """Whether the status is one of success."""
        return 200 <= self.status < 300


def from_answer(answer: Answer, *, submitting: bool, is_young: bool = False) -> NerError:
    """Turn an answer that is not a success into the exception to raise.

    The body is optional: a gateway before the service answers in its own shape, or with none.

    Args:
        answer: what came.
        submitting: whether a job was submitted; otherwise the call was about a job.
        is_young: whether the job was accepted so recently that the service may not show it yet.
    """
    status = answer.status
    body = decode(answer.body)
    described = describe(body.get("error")) if isinstance(body, dict) else None
    code, message = described or (f"HTTP{status}", "")
    remedy = remedy_for(status, code, submitting=submitting, is_young=is_young)
    if remedy is Remedy.NONE and described is None and status != TOO_LARGE:
        remedy = Remedy.WAIT  # a gateway's words, which say nothing about the text
    own = own_words(status, code, remedy)
    if remedy is not Remedy.NONE:
        message = own
    elif not submitting:
        message = FORGOTTEN
    return NerError(
        code,
        message or own,
        remedy,
        retry_after(answer.headers),
        logged=f"{loggable(code)}: {own}",
        throttled=status == 429,
        is_unanswered=status in GATEWAY_STATUSES,
    )


def own_words(status: int, code: str, remedy: Remedy) -> str:
    """Return what an answer that is not a success means, in words of ours, since those of the service may be quotes."""
    phrase = httpx.codes.get_reason_phrase(status)
    said = f"the service responded with status {status}" + (f" ({phrase})" if phrase else "")
    if remedy is not Remedy.MEND_SETTINGS:
        return said
    return f"{said}: check {TO_CHECK.get(code) or TO_CHECK_BY_STATUS.get(status, 'NER_ENDPOINT')}"


def from_transport(error: Exception) -> NerError:
    """Turn a connection that failed, or a response that could not be read, into the exception to raise."""
    if isinstance(error, TimeoutError):
        return NerError("Timeout", "the service did not respond in time", Remedy.WAIT, is_unanswered=True)
    is_connection = isinstance(error, (httpx.TransportError, OSError)) and not isinstance(error, NOT_OF_HTTP)
    what = "the service could not be reached" if is_connection else "the service's response could not be read"
    if isinstance(error, OWN_REASONS):
        what += f" ({str(error)[:LONGEST_LOGGED] or 'no detail'})"
    is_unanswered = not isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout))
    return NerError(type(error).__name__, what, Remedy.WAIT, is_unanswered=is_unanswered)


def remedy_for(status: int, code: str, *, submitting: bool, is_young: bool = False) -> Remedy:
    """Decide from an HTTP status and an error code whether trying again makes sense.

    | Answer | to a submission | to a call about a job |
    | --- | --- | --- |
    | 408, 429, 5xx | wait | wait |
    | 3xx, 401, 403, a code of the configuration | settings | settings |
    | 404 | settings: no file can cause it | wait; none if the API itself says so of a job that is not young |
    | a refusal | none | wait |
    | anything else | wait | wait |

    A job is paid for, so only the API itself can end it; the deadline ends what waits in vain.
    """
    if status in (408, 429) or status >= 500:
        return Remedy.WAIT
    if status in (401, 403) or 300 <= status < 400 or (status >= 400 and code in CONFIGURATION_CODES):
        return Remedy.MEND_SETTINGS
    if submitting:
        return Remedy.MEND_SETTINGS if status == 404 else Remedy.NONE if status in REFUSALS else Remedy.WAIT
    return Remedy.NONE if status == 404 and code in FORGOTTEN_CODES and not is_young else Remedy.WAIT


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that Retry-After asks for, at most an hour; None if it is absent or odd.

    It is a number of seconds or an HTTP date (RFC 9110).
    """
    value = headers.get("retry-after", "").strip()
    try:
        seconds = float(value)
    except ValueError:
        try:
            when = parsedate_to_datetime(value)
            when = when if when.tzinfo else when.replace(tzinfo=UTC)
            seconds = (when - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError, IndexError, OverflowError):
            return None
    if not seconds < float("inf"):
        return None
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER_SECONDS)


def decode(body: bytes) -> Any:
    """Return the value of a JSON body, or None if it is not JSON, or has more values than an honest one.

    Short values take 20 times as much memory as their JSON.
    What is JSON except for its characters or its numbers is read all the same: results that were paid for must not be
    lost with half of an emoji, a byte order mark, a NaN or a number that is too large.
    """
    if count_values(body) > MOST_VALUES:
        return None
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    except RecursionError:
        return None
    try:
        text = body.decode("utf-8-sig", "replace")
        answer = json.loads(text, parse_constant=lambda _name: None, parse_float=finite)
        text = json.dumps(answer, ensure_ascii=False).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return None


def count_values(body: bytes) -> int:
    """Return how many values a JSON body may have at most."""
    return sum(map(body.count, (b",", b"[", b"{")))


def finite(number: str) -> float | None:
    """Return a number; None for one that is too large for any program."""
    value = float(number)
    return value if math.isfinite(value) else None


def describe(error: Any) -> tuple[str, str] | None:
    """Return code and message of an error object of the API: those of its innermost `innererror` that has them.

    Shape: `{"code", "message", "details"?, "innererror"?: {"code", "message", "innererror"?}}` (OpenAPI 2023-04-01).
    """
    code = message = ""
    while isinstance(error, dict):
        code = words(error.get("code")) or code
        message = words(error.get("message")) or message
        error = error.get("innererror") or error.get("innerError")
    if not code and not message:
        return None
    return code if CODE.fullmatch(code) else "UnknownError", message[:LONGEST_MESSAGE] or "The service gave no message."


def loggable(code: str) -> str:
    """Return an error code for the log, where another word or number could be all the text of a document."""
    return code if LOGGED_CODE.fullmatch(code) else "UnknownError"


def words(value: Any) -> str:
    """Return a string as it is, a short number as a string, and anything else as no words."""
    return str(value) if isinstance(value, str) or (type(value) is int and abs(value) < 10**9) else ""


def printable(text: str) -> str:
    """Return a text of others as one line that cannot be taken for several."""
    return "".join(character if character.isprintable() else " " for character in text)
