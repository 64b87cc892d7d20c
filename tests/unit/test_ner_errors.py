"""What a failed call means, and who can do something about it."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest

from shared.ner.errors import LONGEST_MESSAGE, Remedy, from_response, from_transport, retry_after


def answer(status: int, body: object = None, *, method: str = "POST", **headers: str) -> httpx.Response:
    """Return an answer of the service or of what stands before it."""
    request = httpx.Request(method, "https://contoso.cognitiveservices.azure.com/")
    if isinstance(body, bytes):
        return httpx.Response(status, content=body, headers=headers, request=request)
    return httpx.Response(status, json=body, headers=headers, request=request)


@pytest.mark.parametrize(
    ("status", "code", "method", "remedy"),
    [
        (429, "TooManyRequests", "POST", Remedy.WAIT),
        (408, "Timeout", "GET", Remedy.WAIT),
        (500, "InternalServerError", "POST", Remedy.WAIT),
        (503, "ServiceUnavailable", "GET", Remedy.WAIT),
        (401, "401", "POST", Remedy.MEND_SETTINGS),
        (403, "Forbidden", "GET", Remedy.MEND_SETTINGS),
        (404, "NotFound", "POST", Remedy.MEND_SETTINGS),
        (404, "ProjectNotFound", "GET", Remedy.MEND_SETTINGS),
        (301, "301", "GET", Remedy.MEND_SETTINGS),
        (400, "ModelVersionIncorrect", "POST", Remedy.MEND_SETTINGS),
        (404, "NotFound", "GET", Remedy.NONE),
        (400, "InvalidRequest", "POST", Remedy.NONE),
        (413, "RequestEntityTooLarge", "POST", Remedy.NONE),
    ],
)
def test_remedies(status: int, code: str, method: str, remedy: Remedy) -> None:
    """Wait, mend the settings, or give up."""
    error = from_response(answer(status, {"error": {"code": code, "message": "m"}}, method=method))
    assert (error.code, error.message, error.remedy) == (code, "m", remedy)


def test_the_innermost_error_speaks() -> None:
    """The outer ones say only that something was wrong."""
    inner = {"code": "EmptyRequest", "message": "Request body must be present."}
    middle = {"code": "InvalidRequest", "message": "Invalid request.", "innererror": inner}
    error = from_response(answer(400, {"error": {"code": "InvalidArgument", "message": "Bad.", "innererror": middle}}))
    assert (error.code, error.message) == ("EmptyRequest", "Request body must be present.")


@pytest.mark.parametrize("body", [b"", b"<html>busy</html>", b"[]", b'{"error": "busy"}', b'{"error": {}}', b"\xff"])
def test_a_gateway_may_answer_in_any_shape(body: bytes) -> None:
    """Then the HTTP status is what there is."""
    error = from_response(answer(502, body))
    assert (error.code, error.message, error.remedy) == ("HTTP502", "Bad Gateway", Remedy.WAIT)


def test_a_message_is_cut() -> None:
    """It goes into the outcome and the log."""
    assert len(from_response(answer(400, {"error": {"code": "c", "message": "m" * 9999}})).message) == LONGEST_MESSAGE


@pytest.mark.parametrize(
    ("value", "expected"),
    [("7", 7), ("1.5", 1.5), ("0", 0), ("-3", 0), ("99999", 3600), ("soon", None), ("", None), ("nan", None)],
)
def test_retry_after_in_seconds(value: str, expected: float | None) -> None:
    """At most an hour; an odd one counts as none."""
    assert retry_after({"retry-after": value}) == expected
    assert from_response(answer(429, None, **{"Retry-After": value})).retry_after == expected


def test_retry_after_as_a_date() -> None:
    """As RFC 9110 allows."""
    seconds = retry_after({"retry-after": format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)})
    assert seconds is not None
    assert 0 < seconds <= 100
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0


def test_without_retry_after_there_is_none() -> None:
    """The delay is then ours to choose."""
    assert retry_after({}) is None


@pytest.mark.parametrize(
    "error", [httpx.ConnectError("refused"), httpx.ReadTimeout(""), httpx.RemoteProtocolError("x")]
)
def test_a_lost_connection_is_worth_waiting(error: httpx.TransportError) -> None:
    """An outage is not a failure."""
    made = from_transport(error)
    assert made.remedy is Remedy.WAIT
    assert made.code == type(error).__name__
