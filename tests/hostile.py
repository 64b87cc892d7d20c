"""Hostile names, texts, answers and messages, and every entrance through which they get into the app or its tools.

The tests compare the entrances with the code: a new trigger, address of the page or command fails until it is here.
"""

import gzip
import http.client
import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import quote, urlsplit

import msgspec
from azure.storage.blob import AccountSasPermissions, ResourceTypes, Services, generate_account_sas

from shared.message import Message
from tests.proxy import END_OF_HEAD, Answer
from tests.unit.test_messages import BATCH_MESSAGE, FILE_MESSAGE, changed

PAYROLL: Final = "payroll"
"""A container that is not the app's."""
SECRET: Final = b"Salaries of the board at Blue Heron in Bristol"
"""The content of the blob that must not be read."""
LEADING_OUT: Final = (
    "../payroll/salaries.txt",
    "a/../../payroll/salaries.txt",
    "..//../payroll/salaries.txt",
    "%2e%2e/payroll/salaries.txt",
    ".%2E%2Fpayroll%2Fsalaries.txt",
    "%252e%252e%252fpayroll%252fsalaries.txt",
    "..\\payroll\\salaries.txt",
    "a%5c..\\..%5Cpayroll/salaries.txt",
    "../../../../payroll/salaries.txt",
    "./a.txt",
    "a/./b.txt",
    "a/.",
    "a/..",
    ".",
    "..",
)
CONTROLS: Final = ("a\nERROR ner forged line", "a\r", "\t", "\x7f")
"""Azure refuses these. The storage emulator stores and lists them."""
UNLISTABLE: Final = ("a\0b", "\x01", "\x1b[2J", "a\ufffe", "\uffff")
"""The storage emulator stores these, and then cannot list the container."""
REFUSED: Final = ("", *LEADING_OUT, *CONTROLS, *UNLISTABLE)
ACCEPTED: Final = (
    *("...", ".a", "a..", "..a/b..", "a/.../b", ".well-known/a.txt", "a/b/", "a//b", "1.2.3", "~", "~a/~b"),
    *("100% #1?.txt", "a%00b", "%", "%2", "a%2fb%2e", "2%2e5", "a&b=c+d;e", "a?comp=list", "a b", " a ", "a:b@c"),
    *(
        "/a",
        "//127.0.0.1/a",
        "/a\\",
        " ../a",
        ".. /a",
        "\uff0e\uff0e\uff0fa",
        "\u2025/a",
        "%c0%ae%c0%ae/a",
        "%u002e./a",
    ),
    *("C:/a", "con", "a.txt.", "e\u0301", "\xe9", "\ufeffa"),
    *("a\\b", "<b>'\".txt", "[red]*.txt", "é🍷", "\u2028", "\u202ea", "\x85\x9b2J", "\ufb01\uffee"),
    *("$(touch x);`y`", "n" * 1000),
)

TAGS: Final = "<script>alert(1)</script><img src=x onerror=alert(1)>'\"[red]:boom:"
MARKS: Final = f"{TAGS} \x1b]0;PWNED\x07\x9b31m\u202e\u2028\x08"
"""Breaks out of HTML, of a log line, of the styles of a terminal, and steers it."""
QUOTE: Final = f"=1+1;=2+2\n\tERROR ner forged line {MARKS}"
PACKED: Final = gzip.compress(bytes(65_000_000), 1)
"""Unpacked, it is longer than the app reads."""
SENTENCE: Final = "Table at Blue Heron in Bristol."
TEXTS: Final = {
    "marks": f"{MARKS}\r\n{SENTENCE}\r=1+1".encode(),
    "combining marks": f"e{chr(0x301) * 20_000} {SENTENCE}".encode(),
    "joiners": f"{(chr(0x1F468) + chr(0x200D)) * 10_000} {SENTENCE}".encode(),
    "flags": f"{chr(0x1F1E9) * 20_001} {SENTENCE}".encode(),
    "Hangul": f"{chr(0x1100) * 20_000} {SENTENCE}".encode(),
    "quotes": b'"' * 50_000,
    "NULs": bytes(50_000),
    "half of a UTF-16": f"{SENTENCE}".encode("utf-16")[:-1],
    "a lone surrogate in UTF-16": b"\xff\xfe\x00\xd8" + SENTENCE.encode("utf-16-le"),
    "a slash of two bytes in UTF-8": SENTENCE.encode() + b"\xc0\xaf..\xc0\xaf",
    "ISO-2022": b"\x1b$B$3$s\x1b(B " + SENTENCE.encode(),
    "UTF-7": b"+ADw-script+AD4- " + SENTENCE.encode(),
    "an id used twice": json.dumps([{"id": "1", "text": SENTENCE}] * 2).encode(),
    "ids that are paths": json.dumps(
        [{"id": f"../{number}{MARKS}", "language": MARKS, "text": SENTENCE + MARKS} for number in range(3)]
    ).encode(),
    "an id of many digits": b'[{"id": ' + b"9" * 50_000 + b', "text": "a"}]',
    "deep JSON": b"[" * 50_000,
    "deep JSON behind a document": b'[{"id": "1", "text": "a", "more": ' + b'{"a":' * 50_000,
    "numbers that are no documents": b"[" + b"1," * 10_000 + b"1]",
    "nothing": b"",
}
"""Uploads: each gets an outcome."""


def with_head(changes: dict[str, str]) -> Callable[[bytes], bytes]:
    """Return the change of a response that replaces some of its headers."""

    def edit(response: bytes) -> bytes:
        head, _, body = response.partition(END_OF_HEAD)
        names = {name.lower() for name in changes}
        kept = [line for line in head.split(b"\r\n") if line.partition(b":")[0].decode().lower() not in names]
        new = [f"{name}: {value}".encode() for name, value in changes.items()]
        return b"\r\n".join([*kept, *new]) + END_OF_HEAD + body

    return edit


def with_job(**changes: Any) -> Callable[[bytes], bytes]:
    """Return the change of a response that is a job: QUOTE in all fields that are texts, and other fields as given."""

    def edit(response: bytes) -> bytes:
        job = json.loads(response.partition(END_OF_HEAD)[2])
        if "tasks" not in job:  # an error
            return response
        job |= {"displayName": QUOTE, "errors": [{"code": QUOTE, "message": QUOTE}], "new": QUOTE, **changes}
        for task in job["tasks"].get("items", []):
            task |= {"taskName": QUOTE, **{name: changes[name] for name in changes.keys() & {"kind"}}}
            results = task["results"]
            results["errors"] = [{"id": QUOTE, "error": {"code": QUOTE, "message": QUOTE}}]
            for document in results["documents"]:
                document["warnings"] = [{"code": QUOTE, "message": QUOTE}]
                for entity in document["entities"]:
                    entity |= {"category": QUOTE, "subcategory": QUOTE, "text": QUOTE}
        body = json.dumps(job).encode()
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body

    return edit


def answers(elsewhere: str) -> dict[str, tuple[str, Answer]]:
    """Return responses of the service, each with the operation that gets it; some lead to the URL of another server."""
    error = json.dumps({"error": {"code": QUOTE, "message": QUOTE, "innererror": {"code": QUOTE, "message": QUOTE}}})
    submit, get = "Submit Job", "Get Job"
    found = {
        f"redirect {status} of {operation}": (operation, Answer(status, {"Location": f"{elsewhere}/jobs/1"}))
        for status in (301, 302, 307, 308)
        for operation in (submit, get)
    }
    found |= {
        f"error {status} of {operation}": (operation, Answer(status, {}, error.encode()))
        for status in (400, 401, 404, 429, 500)
        for operation in (submit, get)
    }
    locations = (f"{elsewhere}/jobs/{'0' * 36}", "/jobs/..%2f..%2fother", "/jobs/", f"/jobs/{'1' * 9000}")
    found |= {
        f"location {location[:30]}": (submit, Answer(edit=with_head({"operation-location": location})))
        for location in locations
    }
    found |= {
        "marks": (get, Answer(edit=with_job())),
        "a link to elsewhere": (get, Answer(edit=with_job(nextLink=f"{elsewhere}/jobs/1?skip=1"))),
        "a link of many digits": (get, Answer(edit=with_job(nextLink="?skip=" + "9" * 6000))),
        "a kind that is a number": (get, Answer(edit=with_job(kind=5))),
        "a job of another id": (get, Answer(edit=with_job(jobId="../../other"))),
        "nested deeply": (get, Answer(200, {}, b'{"a":' * 50_000)),
        "packed": (get, Answer(200, {"Content-Encoding": "gzip"}, PACKED)),
    }
    return found


BATCH_CHANGES: Final[tuple[tuple[str, object], ...]] = (
    ("record.members.0.source.container", PAYROLL),
    ("record.members.0.source.etag", "*"),
    ("record.members.0.source.etag", "a\r\nx-ms-forged: 1"),
    ("record.members.0.source.length", 10**18),
    ("record.members.0.source.length", 10**40),
    ("record.members.0.source.encoding", "../../etc/passwd"),
    ("record.members.0.claimEtag", MARKS),
    ("record.members.0.outcomeEtag", MARKS),
    ("record.members.0.digest", MARKS),
    ("record.members", []),
    ("record.job.jobId", "../../other"),
    ("record.job.documentsCount", 10**40),
    ("record.due", "0001-01-01T00:00:00Z"),
    ("record.due", "9999-12-31T23:59:59Z"),
    ("record.kind", "ledger"),
    ("record.traceParent", f"00-{MARKS}"),
    ("batch", "../sweep"),
    ("etag", "x" * 129),
    ("etag", "*"),
    ("etag", "a\r\nx-ms-forged: 1"),
)
FILE_CHANGES: Final[tuple[tuple[str, object], ...]] = (
    ("due", "9999-12-31T23:59:59Z"),
    ("traceParent", MARKS),
    ("replaces", "*"),
    ("replaces", "a\r\nx-ms-forged: 1"),
    ("etag", MARKS),
    ("unsure", 10**40),
)


def changes(kind: str, message: Message, values: Iterable[tuple[str, object]]) -> dict[str, bytes]:
    """Return the bodies of a message with one value changed in each."""
    return {f"{kind}, {path} {str(value)[:20]!r}": changed(message, path, value).encode() for path, value in values}


MESSAGES: Final = {
    "not JSON": b"{",
    "not UTF-8": b"\xff\xfe",
    "deep": b"[" * 40_000,
    "nothing": b"",
    "no object": b"[]",
    **changes("batch", BATCH_MESSAGE, BATCH_CHANGES),
    # Without an ETag, the record in the message is taken for the newest.
    **changes("unrecorded batch", msgspec.structs.replace(BATCH_MESSAGE, etag=None), BATCH_CHANGES),
    **changes("file", FILE_MESSAGE, FILE_CHANGES),
}
"""Bodies of messages: no file of theirs is in the input container."""

NAMES, CONTENT, ANSWERS, QUEUED = "names", "texts", "answers", "messages"
ENTRANCES: Final = {
    "trigger submit": {NAMES, CONTENT},
    "trigger submit_event": {NAMES, QUEUED},
    "trigger poll": {NAMES, ANSWERS, QUEUED},
    "trigger sweep": {NAMES, QUEUED},
    "page /": {CONTENT, ANSWERS},
    "page /files": {CONTENT, ANSWERS},
    "page /file": {NAMES, CONTENT, ANSWERS},
    "page /file/part": {NAMES, CONTENT, ANSWERS},
    "page /file/outcome": {NAMES, CONTENT, ANSWERS},
    "page /file/text": {NAMES, CONTENT},
    "page /drop": {NAMES, CONTENT},
    "ner show": {NAMES, CONTENT, ANSWERS},
    "ner export": {NAMES, CONTENT, ANSWERS},
    "ner redrive": {NAMES, ANSWERS, QUEUED},
    "ner status": {CONTENT, ANSWERS, QUEUED},
    "ner check": {ANSWERS},
    "ner drop": {NAMES, CONTENT},
    "ner run": {NAMES, CONTENT},
    "ner start": set[str](),  # as `ner run`, without files
    "ner view": set[str](),  # serves the page
    "ner evaluate": set[str](),  # labels, by a user's own name of a file
}
"""What may be hostile where something gets in, or is shown. Each combination has an attempt in the tests."""


def entrances(kind: str) -> set[str]:
    """Return the entrances that have to do with a kind of input."""
    return {entrance for entrance, kinds in ENTRANCES.items() if kind in kinds}


BUILDERS: Final = {
    "local/account.py blob": "asks the rule",
    "local/watch.py read_outcome": "asks the rule",
    "local/watch.py upload": "asks the rule",
    "local/event_grid.py report": "makes a URL for an event, and calls none",
    "local/host/blobs.py execute": "asks the rule for what leads out",
    "local/host/blobs.py notify": "asks the rule for what leads out",
    "local/host/locks.py __init__": "a name of its own",
    "local/host/timers.py __init__": "a name of its own",
    "shared/pipeline/sweeping.py revive_batches": "asks the rule",
    "shared/storage/blobs.py newest": "the name of a Source or a FileMessage",
    "shared/storage/blobs.py open_upload": "the name of a FileMessage",
    "shared/storage/blobs.py present_outcome": "the name of a Source",
    "shared/storage/blobs.py read_outcome": "the name of a Source",
    "shared/storage/blobs.py write": "the name of a Source",
    "shared/storage/ledgers.py ledger_blob": "a BatchId",
    "shared/storage/ledgers.py results_blob": "a BatchId",
    "shared/storage/state.py batch_blob": "a BatchId, or a name that the sweep has checked",
    "shared/storage/state.py claim_blob": "the name of a Source",
    "shared/storage/state.py read_learned": "a name of its own",
    "shared/storage/state.py read_sweep": "a name of its own",
    "shared/storage/state.py release_listed_claim": "a name that the sweep has checked",
    "shared/storage/state.py write_learned": "a name of its own",
    "shared/storage/state.py write_sweep": "a name of its own",
}
"""The functions that make the URL of a blob, each with the reason why it leads to no other blob."""


def sas_of(connection_string: str) -> str:
    """Return a signature that opens the whole account, as a deployment may have one."""
    parts = dict(part.split("=", 1) for part in connection_string.split(";") if part)
    return generate_account_sas(
        parts["AccountName"],
        parts["AccountKey"],
        ResourceTypes(service=True, container=True, object=True),
        AccountSasPermissions(
            read=True, write=True, delete=True, list=True, add=True, create=True, update=True, process=True
        ),
        datetime.now(UTC) + timedelta(hours=1),
        services=Services(blob=True, queue=True),
    )


def put_unfolded(container_url: str, query: str, name: str, data: bytes) -> bool:
    """Upload a blob under exactly this name, as no library does; return whether storage took it."""
    parts = urlsplit(container_url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
    try:
        headers = {"x-ms-blob-type": "BlockBlob", "x-ms-version": "2021-12-02", "content-length": str(len(data))}
        connection.request("PUT", f"{parts.path}/{quote(name, safe='')}?{query}", data, headers)
        return connection.getresponse().status == http.client.CREATED
    finally:
        connection.close()
