"""What a sweep costs, by the number of files and the share of them that nobody has told the app of.

For example `python -m benchmarks.sweeping --files 100000 --missing 10` for every tenth file. The listings come from a
server of this program, page by page as storage sends them, so that what is measured is the app: writing so many blobs
to a storage emulator would take half an hour. A second sweep goes through a proxy, which counts its calls;
`docs/scale.md` has what they come to in a month.
"""

import argparse
import asyncio
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Final
from xml.sax.saxutils import escape

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from local.app_settings import SAMPLE, read_values
from local.storage_emulator import ACCOUNT, new_key
from shared.pipeline.running import Pipeline
from shared.settings import Settings
from tests.ports import free_port
from tests.proxy import Service, proxies

PAGE: Final = 5000
SWEEPS_PER_MONTH: Final = 30 * 24 * 12
"""One every five minutes."""
WRITTEN: Final = "Wed, 25 Nov 2026 08:00:00 GMT"
PROPERTIES: Final = (
    "<Creation-Time>Wed, 25 Nov 2026 08:00:00 GMT</Creation-Time><Last-Modified>Wed, 25 Nov 2026 08:00:00 GMT"
    "</Last-Modified><Etag>0x8DD{number:08X}</Etag><Content-Length>1200</Content-Length><Content-Type>text/plain"
    "</Content-Type><BlobType>BlockBlob</BlobType><LeaseStatus>unlocked</LeaseStatus><LeaseState>available</LeaseState>"
    "<ServerEncrypted>true</ServerEncrypted><AccessTier>Hot</AccessTier><AccessTierInferred>true</AccessTierInferred>"
)
METADATA: Final = (
    "<Metadata><status>succeeded</status><source_etag>0x8DD{number:08X}</source_etag><source_last_modified>"
    "2026-11-25T08:00:00+00:00</source_last_modified><digest>{digest}</digest></Metadata>"
)


SENT: Final = (
    f"<QueueMessagesList><QueueMessage><MessageId>1</MessageId><InsertionTime>{WRITTEN}</InsertionTime>"
    f"<ExpirationTime>{WRITTEN}</ExpirationTime><PopReceipt>1</PopReceipt><TimeNextVisible>{WRITTEN}</TimeNextVisible>"
    "</QueueMessage></QueueMessagesList>"
)


def entries(first: int, last: int, *, ending: str, missing: int) -> Iterator[str]:
    """Yield what a listing says of each file, or of each outcome; every so many-th file has none."""
    for number in range(first, last):
        if ending and missing and number % missing == 0:
            continue
        name = escape(f"letters/{number // 1000:03}/letter {number:06}.txt{ending}")
        metadata = METADATA.format(number=number, digest="0" * 64) if ending else "<Metadata/>"
        properties = PROPERTIES.format(number=number)
        yield f"<Blob><Name>{name}</Name><Properties>{properties}</Properties>{metadata}</Blob>"


def make_server(files: int, missing: int) -> Starlette:
    """Return a storage account with so many files; every so many-th one has no outcome, none of them if that is 0."""

    async def answer(request: Request) -> Response:
        query = request.query_params
        if request.method == "PUT":
            return Response(
                status_code=201, headers={"ETag": '"0x1"', "Last-Modified": "Wed, 25 Nov 2026 08:00:00 GMT"}
            )
        if request.method == "POST":
            return Response(SENT, status_code=201, media_type="application/xml")
        if query.get("comp") != "list":
            code = "BlobNotFound" if "ner-state" in request.url.path else "QueueNotFound"
            return Response(status_code=404, headers={"x-ms-error-code": code})
        container = request.url.path.rpartition("/")[2]
        first, last, ending = int(query.get("marker") or 0), 0, ".json" if container == "results" else ""
        body = ""
        if container in ("incoming", "results"):
            last = min(first + PAGE, files)
            body = "".join(entries(first, last, ending=ending, missing=missing))
        marker = f"<NextMarker>{last}</NextMarker>" if last < files and last else "<NextMarker/>"
        text = f"<EnumerationResults><Blobs>{body}</Blobs>{marker}</EnumerationResults>"
        return Response(text, media_type="application/xml")

    return Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "HEAD", "PUT", "POST"])])


def open_pipeline(blobs: int, queues: int) -> Pipeline:
    """Return the app's pipeline on a storage account at these ports."""
    at = {"BlobEndpoint": blobs, "QueueEndpoint": queues}
    endpoints = "".join(f"{name}=http://127.0.0.1:{port}/{ACCOUNT};" for name, port in at.items())
    connection = f"AccountName={ACCOUNT};AccountKey={new_key()};{endpoints}"
    values = {**read_values(SAMPLE), "NER_STORAGE": connection, "AzureWebJobsStorage": connection}
    return Pipeline(Settings.from_environ(values))


async def measure(port: int) -> None:
    """Sweep, and print what it took."""
    pipeline = open_pipeline(port, port)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun, used = time.perf_counter(), time.process_time()
    swept = await pipeline.sweep()
    seconds, cpu = time.perf_counter() - begun, time.process_time() - used
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    print(
        f"{swept.files:,} files, {swept.missing:,} of them need a message: {swept.calls} list calls, "
        f"{swept.sent:,} messages sent, {seconds:.1f} s, "
        f"{cpu:.1f} s of processor time, {grown} MB more memory; complete: {swept.is_complete}"
    )
    await pipeline.aclose()


async def count(port: int) -> None:
    """Sweep through a proxy, and print the calls of storage, and how many they are in a month."""
    async with proxies({Service.BLOB: port, Service.QUEUE: port}) as between:
        pipeline = open_pipeline(between.ports[Service.BLOB], between.ports[Service.QUEUE])
        await pipeline.sweep()
        await pipeline.aclose()
        calls = Counter(call.operation for call in between.calls)
    for operation, number in calls.items():
        print(f"{operation}: {number} a sweep, {number * SWEEPS_PER_MONTH:,} a month")


def main() -> None:
    """Serve the listings in another process, and sweep."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sweeping", description=__doc__)
    parser.add_argument("--files", type=int, default=100_000, help="how many files the account has")
    parser.add_argument("--missing", type=int, default=0, help="every so many-th file has no outcome; 0 for none")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        uvicorn.run(make_server(arguments.files, arguments.missing), port=arguments.serve, log_level="warning")
        return
    port = free_port()
    account = ["--files", str(arguments.files), "--missing", str(arguments.missing)]
    command = [sys.executable, "-m", "benchmarks.sweeping", *account, "--serve", str(port)]
    with subprocess.Popen(command) as server:
        time.sleep(2.0)
        try:
            asyncio.run(measure(port))
            asyncio.run(count(port))
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
