"""What a failed call means, and who can do something about it."""

import ssl
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import msgspec
import pytest

from shared.ner.errors import (
    FORGOTTEN,
    LONGEST_LOGGED,
    LONGEST_MESSAGE,
    Answer,
    NerError,
    Remedy,
    decode,
    describe,
    from_answer,
    from_transport,
    remedy_for,
    retry_after,
)


def refused(status: int, body: object = None, *, submitting: bool = True, retry_after: str = "") -> NerError:
    """Return the error that an answer of the service, or of what stands before it, is turned into."""
    content = body if isinstance(body, bytes) else msgspec.json.encode(body)
    answer = Answer(status, {"retry-after": retry_after}, content)
    return from_answer(answer, submitting=submitting)


@pytest.mark.parametrize(
    ("status", "code", "submitting", "about_a_job"),
    [
        (408, "Timeout", Remedy.WAIT, Remedy.WAIT),
        (429, "TooManyRequests", Remedy.WAIT, Remedy.WAIT),
        (500, "InternalServerError", Remedy.WAIT, Remedy.WAIT),
        (503, "HTTP503", Remedy.WAIT, Remedy.WAIT),
        (503, "ProjectNotFound", Remedy.WAIT, Remedy.WAIT),
        (999, "HTTP999", Remedy.WAIT, Remedy.WAIT),
        (301, "HTTP301", Remedy.MEND_SETTINGS, Remedy.MEND_SETTINGS),
        (401, "401", Remedy.MEND_SETTINGS, Remedy.MEND_SETTINGS),
        (403, "Forbidden", Remedy.MEND_SETTINGS, Remedy.MEND_SETTINGS),
        (400, "ModelVersionIncorrect", Remedy.MEND_SETTINGS, Remedy.MEND_SETTINGS),
        (400, "UnsupportedApiVersionValue", Remedy.MEND_SETTINGS, Remedy.MEND_SETTINGS),
        (404, "ProjectNotFound", Remedy.MEND_SETTINGS, Remedy.MEND_SETTINGS),
        (404, "NotFound", Remedy.MEND_SETTINGS, Remedy.NONE),
        (404, "OperationNotFound", Remedy.MEND_SETTINGS, Remedy.NONE),
        (404, "404", Remedy.MEND_SETTINGS, Remedy.WAIT),
        (404, "ResourceNotFound", Remedy.MEND_SETTINGS, Remedy.WAIT),
        (404, "HTTP404", Remedy.MEND_SETTINGS, Remedy.WAIT),
        (410, "NotFound", Remedy.WAIT, Remedy.WAIT),
        (400, "InvalidRequest", Remedy.NONE, Remedy.WAIT),
        (400, "HTTP400", Remedy.NONE, Remedy.WAIT),
        (413, "RequestEntityTooLarge", Remedy.NONE, Remedy.WAIT),
        (415, "HTTP415", Remedy.NONE, Remedy.WAIT),
        (422, "InvalidRequest", Remedy.NONE, Remedy.WAIT),
        (402, "HTTP402", Remedy.WAIT, Remedy.WAIT),
        (405, "HTTP405", Remedy.WAIT, Remedy.WAIT),
        (409, "Conflict", Remedy.WAIT, Remedy.WAIT),
        (421, "HTTP421", Remedy.WAIT, Remedy.WAIT),
        (101, "HTTP101", Remedy.WAIT, Remedy.WAIT),
    ],
)
def test_remedies(status: int, code: str, submitting: Remedy, about_a_job: Remedy) -> None:
    """A submission may be refused; a job, which is paid, is ended by the API alone, and not while it is young."""
    assert remedy_for(status, code, submitting=True) is submitting
    assert remedy_for(status, code, submitting=False) is about_a_job
    young = Remedy.WAIT if about_a_job is Remedy.NONE else about_a_job
    assert remedy_for(status, code, submitting=False, is_young=True) is young


@pytest.mark.parametrize(
    ("body", "remedy"),
    [
        ({"error": {"code": "NotFound", "message": "m", "innererror": {"code": "OperationNotFound"}}}, Remedy.NONE),
        ({"error": {"code": "NotFound", "message": "m"}}, Remedy.NONE),
        ({"error": {"code": "404", "message": "Resource not found"}}, Remedy.WAIT),
        ({"statusCode": 404, "message": "Resource not found"}, Remedy.WAIT),
        ({"error": "NotFound"}, Remedy.WAIT),
        (b"<html>404 Web Site not found</html>", Remedy.WAIT),
        (b"", Remedy.WAIT),
    ],
)
def test_only_the_api_says_that_it_has_forgotten_a_job(body: object, remedy: Remedy) -> None:
    """A gateway's 404 is about a path, or about nothing at all."""
    error = refused(404, body, submitting=False)
    assert error.remedy is remedy
    assert (error.message == FORGOTTEN) is (remedy is Remedy.NONE)


def test_the_innermost_error_speaks() -> None:
    """The outer ones say only that something was wrong."""
    inner = {"code": "EmptyRequest", "message": "Request body must be present."}
    middle = {"code": "InvalidRequest", "message": "Invalid request.", "innererror": inner}
    error = refused(400, {"error": {"code": "InvalidArgument", "message": "Bad.", "innererror": middle}})
    assert (error.code, error.message) == ("EmptyRequest", "Request body must be present.")


@pytest.mark.parametrize("body", [b"", b"<html>busy</html>", b"[]", b'{"error": "busy"}', b'{"error": {}}', b"\xff"])
def test_a_gateway_may_answer_in_any_shape(body: bytes) -> None:
    """Then the HTTP status is what there is."""
    error = refused(502, body)
    assert (error.code, error.message, error.remedy) == (
        "HTTP502",
        "the service responded with status 502 (Bad Gateway)",
        Remedy.WAIT,
    )


def test_a_message_is_cut() -> None:
    """It goes into the outcome and the log."""
    assert len(refused(400, {"error": {"code": "c", "message": "m" * 9999}}).message) == LONGEST_MESSAGE


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *[("7", 7), ("1.5", 1.5), ("0", 0), ("-3", 0), ("99999", 3600), ("soon", None), ("", None), ("nan", None)],
        *[("1" * 5000, None), ("inf", None), ("-inf", 0), ("1e999", None), ("\x00", None), ("Mon,", None)],
        ("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", None),
        ("Mon, 01 Jan 2026 00:00:00 +999999999999999", None),
        ("Mon, 01 Jan 0001 00:00:00 +2359", 0),
        ("Fri, 31 Dec 9999 23:59:59 -2359", 3600),
    ],
)
def test_retry_after_in_seconds(value: str, expected: float | None) -> None:
    """At most an hour; an odd one counts as none."""
    assert retry_after({"retry-after": value}) == expected
    assert refused(429, retry_after=value).retry_after == expected


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
    "error",
    [
        *[httpx.ConnectError("refused"), httpx.ReadTimeout(""), httpx.RemoteProtocolError("x" * 9999)],
        *[httpx.DecodingError("bad gzip"), httpx.TooManyRedirects("x"), httpx.InvalidURL("x"), httpx.StreamClosed()],
        *[ssl.SSLError("bad record"), OSError("x")],
    ],
)
def test_a_lost_connection_is_worth_waiting(error: Exception) -> None:
    """An outage is not a failure; nor is an answer that the HTTP client cannot read."""
    made = from_transport(error)
    assert made.remedy is Remedy.WAIT
    assert made.code == type(error).__name__
    assert len(made.message) < LONGEST_LOGGED + 100


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a": 1}', {"a": 1}),
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        (b'["\\ud83d", "\\ud83c\\udf77", "\\\\ud83d"]', ["\ufffd", "\U0001f377", "\\ud83d"]),
        (b'{"\\ud83d": 1}', {"\ufffd": 1}),
        (b'["\xff"]', ["\ufffd"]),
        (b"[NaN, -Infinity, 1e999]", [None, None, None]),
        *[(body, None) for body in (b"", b"<html>", b"[" * 100_000, b"1" * 5000, b"\xff", b"{")],
    ],
)
def test_what_is_almost_json_is_read(body: bytes, value: object) -> None:
    """Half of an emoji must not lose the results of a job."""
    assert decode(body) == value


@pytest.mark.parametrize(
    ("error", "described"),
    [
        ({"code": 401, "message": "m"}, ("401", "m")),
        ({"code": ["c"], "message": {"m": 1}}, None),
        ({"code": True, "message": 10**5000}, None),
        ({"code": "c", "message": None, "innererror": 7}, ("c", "The service gave no message.")),
        ({"code": "c", "innererror": {"code": None, "message": "m"}}, ("c", "m")),
        *[(None, None), (7, None), ("text", None), ([], None), ({}, None)],
    ],
)
def test_an_error_of_odd_types_is_described_as_far_as_it_can_be(error: Any, described: object) -> None:
    """Words are taken for words, and nothing else is."""
    assert describe(error) == described
