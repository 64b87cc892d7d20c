"""What a sweep costs that finds nothing to do, by the number of files: `python -m benchmarks.sweeping --files 100000`.

The listings come from a server of this program, page by page as storage sends them, so that what is measured is the
app: writing so many blobs to a storage emulator would take half an hour.
"""

import argparse
import asyncio
import resource
import time
from collections.abc import Iterator
from typing import Final
from xml.sax.saxutils import escape

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from local.app_settings import SAMPLE, read_values
from local.storage_emulator import KEY
from shared.pipeline.running import Pipeline
from shared.settings import Settings
from tests.ports import free_port

PAGE: Final = 5000
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


def entries(first: int, last: int, *, ending: str) -> Iterator[str]:
    """Yield what a listing says of each file, or of each outcome."""
    for number in range(first, last):
        name = escape(f"letters/{number // 1000:03}/letter {number:06}.txt{ending}")
        metadata = METADATA.format(number=number, digest="0" * 64) if ending else "<Metadata/>"
        properties = PROPERTIES.format(number=number)
        yield f"<Blob><Name>{name}</Name><Properties>{properties}</Properties>{metadata}</Blob>"


def make_server(files: int) -> Starlette:
    """Return a storage account with so many files, each of which has its outcome."""

    async def answer(request: Request) -> Response:
        query = request.query_params
        if request.method == "PUT":
            return Response(status_code=201, headers={"ETag": '"0x1"', "Last-Modified": "Wed, 25 Nov 2026 08:00:00 GMT"})
        if query.get("comp") != "list":
            code = "BlobNotFound" if "ner-state" in request.url.path else "QueueNotFound"
            return Response(status_code=404, headers={"x-ms-error-code": code})
        container = request.url.path.rpartition("/")[2]
        first, last, ending = int(query.get("marker") or 0), 0, ".json" if container == "results" else ""
        body = ""
        if container in ("incoming", "results"):
            last = min(first + PAGE, files)
            body = "".join(entries(first, last, ending=ending))
        marker = f"<NextMarker>{last}</NextMarker>" if last < files and last else "<NextMarker/>"
        text = f"<EnumerationResults><Blobs>{body}</Blobs>{marker}</EnumerationResults>"
        return Response(text, media_type="application/xml")

    return Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "HEAD", "PUT"])])


async def measure(files: int, port: int) -> None:
    """Sweep twice, and print what the second one took."""
    at = f"http://127.0.0.1:{port}/devstoreaccount1"
    connection = f"AccountName=devstoreaccount1;AccountKey={KEY};BlobEndpoint={at};QueueEndpoint={at};"
    values = {**read_values(SAMPLE), "NER_STORAGE": connection, "AzureWebJobsStorage": connection}
    pipeline = Pipeline(Settings.from_environ(values))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun, used = time.perf_counter(), time.process_time()
    swept = await pipeline.sweep()
    seconds, cpu = time.perf_counter() - begun, time.process_time() - used
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    print(
        f"{swept.files:,} files, {swept.missing} of them need a message: {swept.calls} list calls, {seconds:.1f} s, "
        f"{cpu:.1f} s of processor time, {grown} MB more memory; complete: {swept.is_complete}"
    )
    await pipeline.aclose()


def main() -> None:
    """Serve the listings in another process, and sweep."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sweeping", description=__doc__)
    parser.add_argument("--files", type=int, default=100_000, help="how many files the account has")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        uvicorn.run(make_server(arguments.files), port=arguments.serve, log_level="warning")
        return
    import subprocess
    import sys

    port = free_port()
    command = [sys.executable, "-m", "benchmarks.sweeping", "--files", str(arguments.files), "--serve", str(port)]
    with subprocess.Popen(command) as server:
        time.sleep(2.0)
        try:
            asyncio.run(measure(arguments.files, port))
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
