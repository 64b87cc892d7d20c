"""What can go wrong with a call, as one exception that says who can do something about it, and when.

Every failure of the API becomes a `NerError`. Its `remedy` decides what the pipeline does: wait and try again, wait for
the operator to mend the settings, or give the file its failed outcome.
"""

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
LONGEST_LOGGED: Final = 300
CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}")

CONFIGURATION_CODES: Final = frozenset({"Unauthorized", "Forbidden", "ProjectNotFound", "ModelVersionIncorrect"})
"""Error codes of a 4xx answer that no change to the file could cure (see the service's error codes)."""


class Remedy(Enum):
    """What helps against a failed call."""

    WAIT = "wait"
    """The service is throttling, down or out of reach: the same call may work later."""
    MEND_SETTINGS = "mend settings"
    """Key, endpoint, project, deployment or model is wrong: the same call works after the operator has been."""
    NONE = "none"
    """The service refuses this very request, or the job is lost: trying again cannot help."""


class NerError(Exception):
    """A call to the API failed.

    Attributes:
        code: the API's error code, the most specific one given, or one of ours for a call that got no answer.
        message: a sentence for the person who can act; never holds document text or the key.
        remedy: whether trying again makes sense.
        retry_after: seconds that the service asks to wait at least, or None.
        throttled: whether there were too many calls.
        for_log: what the log may say: one line, without a message that might quote the text of a document.
    """

    def __init__(
        self,
        code: str,
        message: str,
        remedy: Remedy,
        retry_after: float | None = None,
        *,
        may_quote: bool = False,
        throttled: bool = False,
    ) -> None:
        self.code = code
        self.message = message
        self.remedy = remedy
        self.retry_after = retry_after
        self.throttled = throttled
        self.for_log = code if may_quote else f"{code}: {printable(message)[:LONGEST_LOGGED]}"
        super().__init__(self.for_log)


def from_response(response: httpx.Response) -> NerError:
    """Turn an answer that is not a success into the exception to raise.

    The body is optional: a gateway before the service answers in its own shape, or with none.
    """
    status = response.status_code
    code, message = describe(error_object(response)) or (
        f"HTTP{status}",
        response.reason_phrase or "no reason given",
    )
    submitting = response.request.method == "POST"
    remedy = remedy_for(status, code, submitting=submitting)
    # What is wrong with settings or quota has nothing to do with a text; other messages may quote what was sent.
    throttled = status == 429
    may_quote = remedy is not Remedy.MEND_SETTINGS and not throttled
    seconds = retry_after(response.headers)
    return NerError(code, message, remedy, seconds, may_quote=may_quote, throttled=throttled)


def from_transport(error: httpx.TransportError) -> NerError:
    """Turn a connection that failed, or an answer that did not come in time, into the exception to raise."""
    # A request's text never goes into the message: httpx puts only the cause there.
    reason = str(error) or "no detail"
    return NerError(type(error).__name__, f"the service could not be reached ({reason})", Remedy.WAIT)


def remedy_for(status: int, code: str, *, submitting: bool) -> Remedy:
    """Decide from an HTTP status and an error code whether trying again makes sense."""
    if status in (408, 429) or status >= 500:
        return Remedy.WAIT
    if submitting and status == 404:
        # No file can cause it: the endpoint, the project or the deployment is not there. Of a job, it is forgotten.
        return Remedy.MEND_SETTINGS
    if status in (401, 403) or code in CONFIGURATION_CODES or 300 <= status < 400:
        return Remedy.MEND_SETTINGS
    return Remedy.NONE


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
        except ValueError:
            return None
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
        seconds = (when - datetime.now(UTC)).total_seconds()
    if not seconds < float("inf"):
        return None
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER_SECONDS)


def error_object(response: httpx.Response) -> Any:
    """Return the `error` object of a body, or None."""
    try:
        body = msgspec.json.decode(response.content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return body.get("error") if isinstance(body, dict) else None


def describe(error: Any) -> tuple[str, str] | None:
    """Return code and message of an error object of the API: those of its innermost `innererror` that has them.

    Shape: `{"code", "message", "details"?, "innererror"?: {"code", "message", "innererror"?}}` (OpenAPI 2023-04-01).
    """
    code = message = ""
    while isinstance(error, dict):
        code = str(error.get("code") or code)
        message = str(error.get("message") or message)
        error = error.get("innererror") or error.get("innerError")
    if not code and not message:
        return None
    return code if CODE.fullmatch(code) else "UnknownError", message[:LONGEST_MESSAGE] or "The service gave no message."


def printable(text: str) -> str:
    """Return a text of others as one line that cannot be taken for several."""
    return "".join(character if character.isprintable() else " " for character in text)
