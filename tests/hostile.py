"""Hostile names of blobs, and every entrance through which a name gets into the app or its tools.

The tests compare the entrances with the code: a new trigger, address of the page or command fails until it is here.
"""

import http.client
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import quote, urlsplit

from azure.storage.blob import AccountSasPermissions, ResourceTypes, Services, generate_account_sas

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
UNLISTABLE: Final = (
    "a\0b",
    "\x01",
    "\x1b[2J",
    "a\nERROR forged line",
    "a\r",
    "\t",
    "\x7f",
    "\x9b2J",
    "a\ufffe",
    "\uffff",
)
"""Azurite stores these, and then answers each listing with 500 for some of them."""
REFUSED: Final = ("", *LEADING_OUT, *UNLISTABLE)
ACCEPTED: Final = (
    *("...", ".a", "a..", "..a/b..", "a/.../b", ".well-known/a.txt", "a/b/", "a//b", "1.2.3", "~", "~a/~b"),
    *("100% #1?.txt", "a%00b", "%", "%2", "a%2fb%2e", "2%2e5", "a&b=c+d;e", "a?comp=list", "a b", " a ", "a:b@c"),
    *("a\\b", "<b>'\".txt", "[red]*.txt", "é🍷", "\u2028", "\u202ea", "\ufb01\uffee", "$(touch x);`y`", "n" * 1000),
)

ENTRANCES: Final = frozenset(
    {
        *("trigger submit", "trigger poll", "trigger sweep"),
        *("page /file", "page /file/part", "page /file/outcome", "page /file/text", "page /drop"),
        *("ner show", "ner export", "ner redrive", "ner drop", "ner run"),
    }
)
NAMELESS: Final = frozenset({"page /", "page /files", "ner start", "ner status", "ner view", "ner evaluate"})
"""These take no name of a blob. What they list has passed the rule in `Account.listed`."""
BUILDERS: Final = {
    "local/account.py blob": "asks the rule",
    "local/watch.py read_outcome": "asks the rule",
    "local/watch.py upload": "asks the rule",
    "local/host/blobs.py execute": "asks the rule for what leads out",
    "local/host/blobs.py notify": "asks the rule for what leads out",
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
        AccountSasPermissions.from_string("rwdlacup"),
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
