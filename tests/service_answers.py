"""The answers that the NER service, or what stands before it, gives and the emulator does not, as a table.

A gateway answers in its own shape; a library that unpacks or decodes an answer may fail in its own way. None of it is
the end of a file, unless the service itself says so of this very request.
"""

import gzip
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from tests.proxy import END_OF_HEAD, Answer, Call

HTML: Final = b"<html><body>This page is not available</body></html>"
DEEP: Final = b'{"status": "running", "error": ' + b"[" * 100_000
JSON_TYPE: Final = {"Content-Type": "application/json; charset=utf-8"}
ALL: Final = ("Submit Job", "Get Job")
COGNITIVE: Final = "https://learn.microsoft.com/azure/ai-services/language-service/"
LIMITS: Final = COGNITIVE + "custom-named-entity-recognition/service-limits"
GATEWAYS: Final = "https://learn.microsoft.com/azure/api-management/api-management-error-handling-policies"
HTTP: Final = "https://www.rfc-editor.org/rfc/rfc9110"


@dataclass(frozen=True)
class ServiceAnswer:
    """An answer of the service.

    Attributes:
        name: of the row.
        operations: that can get it.
        status: of the answer; None cuts the connection, or leaves it silent.
        headers: of the answer.
        body: of the answer.
        edit: changes the service's own answer, which has been carried out.
        never: nothing is ever sent.
        after: the call has been carried out, and its answer is lost.
        lasts: whether it can stay for hours.
        source: where it is known from.
    """

    name: str
    operations: tuple[str, ...]
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    edit: Callable[[bytes], bytes] | None = None
    never: bool = False
    after: bool = False
    lasts: bool = True
    source: str = ""

    @property
    def code(self) -> str:
        """No code: what names a refusal in the log is its status."""
        return ""

    def fits(self, call: Call) -> bool:
        """Return whether a call can get it."""
        return call.operation in self.operations

    def to(self, _call: Call) -> Answer:
        """Return what the caller gets."""
        return Answer(self.status, self.headers, self.body, carried_out=self.after, never=self.never, edit=self.edit)


def with_status(status: int) -> Callable[[bytes], bytes]:
    """Return what changes the status of an answer."""
    return lambda response: b"HTTP/1.1 %d Changed\r\n" % status + response.partition(b"\r\n")[2]


def with_location(change: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """Return what changes the address of the job that was accepted."""

    def edit(response: bytes) -> bytes:
        head, _, body = response.partition(END_OF_HEAD)
        lines = [
            b"operation-location: " + change(line.partition(b": ")[2])
            if line.lower().startswith(b"operation-location:")
            else line
            for line in head.split(b"\r\n")
        ]
        return b"\r\n".join(lines) + END_OF_HEAD + body

    return edit


def in_another_host(location: bytes) -> bytes:
    """Return an address with the name that the service has behind its gateway."""
    path = location.partition(b"://")[2].partition(b"/")[2]
    return b"https://westeurope.internal.example/" + path


def unpackable(response: bytes) -> bytes:
    """Return an answer that says that its body is packed, which it is not."""
    head, _, body = response.partition(END_OF_HEAD)
    kept = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length:")]
    body = body or b"not packed"
    return b"\r\n".join([*kept, b"Content-Encoding: gzip", b"Content-Length: %d" % len(body)]) + END_OF_HEAD + body


def refusal(code: str) -> bytes:
    """Return an error of the service's own shape."""
    return b'{"error": {"code": "%s", "message": "It is not available."}}' % code.encode()


SERVICE_ANSWERS: Final = (
    *(
        ServiceAnswer(f"{status} of a gateway", ALL, status, {"Content-Type": "text/html"}, HTML, source=GATEWAYS)
        for status in (400, 404, 409, 421, 502, 503)
    ),
    ServiceAnswer("not visible yet", ("Get Job",), 404, JSON_TYPE, refusal("NotFound"), lasts=False, source=HTTP),
    ServiceAnswer("page instead of an answer", ("Get Job",), 200, {"Content-Type": "text/html"}, HTML, source=GATEWAYS),
    ServiceAnswer("busy, packed badly", ALL, 503, {"Content-Encoding": "gzip"}, b"not packed", source=HTTP),
    ServiceAnswer(
        "busy, packed halfway", ALL, 503, {"Content-Encoding": "gzip"}, gzip.compress(HTML)[:20], source=HTTP
    ),
    ServiceAnswer("busy, nested deeply", ALL, 503, JSON_TYPE, DEEP, source=HTTP),
    ServiceAnswer("job nested deeply", ("Get Job",), 200, JSON_TYPE, DEEP, source=HTTP),
    ServiceAnswer("job packed badly", ("Get Job",), edit=unpackable, source=HTTP),
    ServiceAnswer("throttled", ALL, 429, {"Retry-After": "7", **JSON_TYPE}, refusal("429"), source=LIMITS),
    ServiceAnswer(
        "throttled until a year that is none",
        ALL,
        429,
        {"Retry-After": "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"},
        source=HTTP,
    ),
    ServiceAnswer(
        "throttled in a zone that is none",
        ALL,
        429,
        {"Retry-After": "Mon, 01 Jan 2026 00:00:00 +999999999999999"},
        source=HTTP,
    ),
    ServiceAnswer("busy for ever", ALL, 503, {"Retry-After": "1e400"}, source=HTTP),
    ServiceAnswer("busy until the past", ALL, 503, {"Retry-After": "-5"}, source=HTTP),
    ServiceAnswer("reset", ALL, source=HTTP),
    ServiceAnswer("silence", ALL, never=True, source=HTTP),
    ServiceAnswer("answer lost", ("Submit Job",), after=True, source=HTTP),
    ServiceAnswer("accepted as 200", ("Submit Job",), edit=with_status(200), source=GATEWAYS),
    ServiceAnswer("accepted as 201", ("Submit Job",), edit=with_status(201), source=GATEWAYS),
    ServiceAnswer(
        "accepted behind another name", ("Submit Job",), edit=with_location(in_another_host), source=GATEWAYS
    ),
    ServiceAnswer("accepted, packed badly", ("Submit Job",), edit=unpackable, source=HTTP),
)
"""All of them."""
