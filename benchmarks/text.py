"""Cost of a text before it is sent: processor time, pauses of the event loop, and memory for a large file.

Time is that of all work on a text file before its requests are sent (decode, check, divide into requests), relative to
reading the same text from JSON ten times with the standard library, in the same process. A pause is the longest time
for which other files have to wait while four files of the largest size are processed at the same time, as the app does
it. Memory is the growth of a process's peak, divided by the file's size. It includes the file itself, which the app
reads as a whole. It is measured twice: in a fresh process that reads, checks and packs, and in the worker of a running
app from the upload to the outcome. Run it with `make bench-text`; it fails if a text takes longer than is promised.
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
from azure.storage.blob import BlobServiceClient

from benchmarks.observing import peak_of, processes_of
from benchmarks.text_samples import BYTES, HOSTILE, SCRIPTS, files, text_of
from local import stack
from local.app_settings import SAMPLE, read_values
from local.install import STATE
from local.watch import read_outcome
from shared.documents import DocumentError, read_documents, survey
from shared.names import result_name
from shared.ner.model import Document
from shared.outcome import Outcome
from shared.packing import Request, pack
from shared.pipeline.texts import Text, TextThread, digest_of, read_text
from shared.settings import Settings
from shared.source import Source

RUNS: Final = 5
TIMED_BYTES: Final = 4 * 1024 * 1024
MAX_RATIO: Final = 1.0
MAX_PAUSE_SECONDS: Final = 0.1
PAUSE_RUNS: Final = 3
LARGE_FILES: Final = 4
BEAT_SECONDS: Final = 0.001
MEASURED_REQUESTS: Final = 100


def seconds(work: Callable[[], object]) -> float:
    """Return the processor's time for some work."""
    start = time.process_time()
    work()
    return time.process_time() - start


def requests_of(data: bytes) -> list[Request]:
    """Return the requests of a text file, after all that the app does before."""
    documents = read_documents("a.txt", data, language="en", max_bytes=2 * BYTES)
    survey(documents)
    return list(pack(documents.entries()))


def ratios(text: str) -> list[float]:
    """Return the time for a text over that for reading it from JSON ten times, for some runs."""
    data, body = text.encode(), json.dumps({"id": "1", "text": text}, ensure_ascii=False).encode()
    found = []
    for _ in range(RUNS):
        reading = sum(seconds(lambda: json.loads(body)) for _ in range(10))
        found.append(seconds(lambda: requests_of(data)) / reading)
    return found


def show_time() -> list[str]:
    """Print the ratios; return the texts that take longer than is promised."""
    print(
        f"Processor time to decode, check and divide {TIMED_BYTES // 2**20} MiB of text, relative to ten json.loads of "
        f"it\n(median of {RUNS} runs, range; promised: at most {MAX_RATIO:.2f})"
    )
    slow = []
    for name, sample in (SCRIPTS | HOSTILE).items():
        found = ratios(text_of(sample, TIMED_BYTES))
        middle = statistics.median(found)
        print(f"  {name:36} {middle:5.2f}  ({min(found):.2f} to {max(found):.2f})", flush=True)
        if middle > MAX_RATIO:
            slow.append(f"{name}: {middle:.2f} times as long as ten json.loads")
    return slow


async def process(thread: TextThread, settings: Settings, name: str, data: bytes) -> None:
    """Do all that the app does with a file before its requests are sent, or until it is refused."""
    source = Source("incoming", name, "etag", datetime.now(UTC), len(data))

    def read() -> Text:
        return read_text(settings, source, data)

    await thread.run(len(data), lambda: digest_of({}, "en", name, data))
    try:
        text = await thread.run(len(data), read)
    except DocumentError:
        return
    requests = pack(text.documents.entries())
    for _ in range(MEASURED_REQUESTS):
        await thread.run(len(data), lambda: next(requests, None))


async def longest_pause(settings: Settings, name: str, data: bytes) -> float:
    """Return the longest time for which the event loop does nothing else while files are processed.

    It is the process's processor time, so that other programs do not add to it.
    """
    thread, longest = TextThread(), 0.0

    async def beat() -> None:
        nonlocal longest
        last = time.process_time()
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            now = time.process_time()
            longest, last = max(longest, now - last), now

    beating = asyncio.create_task(beat())
    await asyncio.gather(*(process(thread, settings, name, data) for _ in range(LARGE_FILES)))
    beating.cancel()
    with suppress(asyncio.CancelledError):
        await beating
    return longest


def show_pauses() -> list[str]:
    """Print the pauses; return the files with longer ones than is promised."""
    settings = Settings.from_environ({**read_values(SAMPLE), "NER_MAX_BLOB_BYTES": str(2 * BYTES)})
    most = MAX_PAUSE_SECONDS * 1000
    print(
        f"Longest pause of the event loop, in ms, while {LARGE_FILES} files of {BYTES // 2**20} MiB are processed\n"
        f"(processor time; median of {PAUSE_RUNS} runs; promised: at most {most:.0f})"
    )
    slow = []
    for kind, (name, data) in files().items():
        pause = statistics.median(asyncio.run(longest_pause(settings, name, data)) for _ in range(PAUSE_RUNS))
        print(f"  {kind:36} {pause * 1000:5.0f}", flush=True)
        if pause > MAX_PAUSE_SECONDS:
            slow.append(f"{kind}: a pause of {pause * 1000:.0f} ms")
    return slow


def measure_reading(path: Path) -> None:
    """Read, check and pack a file as the app does; print the growth of the peak over the file's size."""
    # Everything that is made once has been made.
    list(pack([Document("1", "\u00e9\u0301" * 10, "en")]))
    before = peak_of(os.getpid())
    data = path.read_bytes()
    with suppress(DocumentError):
        documents = read_documents(path.name, data, language="en", max_bytes=2 * BYTES)
        survey(documents)
        for request in pack(documents.entries()):
            msgspec.json.encode(request.documents)
    print((peak_of(os.getpid()) - before) / len(data))


def show_memory() -> None:
    """Print the growth of fresh processes."""
    print("Peak memory for reading, checking and packing a file, relative to the file's size")
    for kind, (name, data) in files().items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            path.write_bytes(data)
            command = [sys.executable, "-m", "benchmarks.text", str(path)]
            answer = subprocess.run(command, capture_output=True, text=True, check=True)
        print(f"  {kind:36} {float(answer.stdout):5.2f}")


def send(running: stack.Stack, blobs: BlobServiceClient, name: str, data: bytes) -> Outcome:
    """Drop a file and wait for its outcome."""
    blob = blobs.get_blob_client(running.settings.input_container, name)
    etag = str(blob.upload_blob(data)["etag"]).strip('"')
    while (outcome := read_outcome(blobs, running.settings, name, etag)) is None:
        running.check()
        time.sleep(0.5)
    return outcome


def show_way() -> None:
    """Print the growth of a running app's worker."""
    print("Peak memory of the worker from upload to outcome, relative to the file's size")
    data = text_of(SCRIPTS["English"]).encode()
    with (
        stack.running(read_values(SAMPLE), data=None, logs=STATE / "logs" / "bench") as running,
        BlobServiceClient.from_connection_string(running.values["NER_STORAGE"]) as blobs,
    ):
        send(running, blobs, "small.txt", data[:1000])
        worker = processes_of(running.host)[-1]
        before = peak_of(worker)
        outcome = send(running, blobs, "large.txt", data)
        grown = peak_of(worker) - before
        blob = blobs.get_blob_client(running.settings.results_container, result_name("large.txt"))
        size = blob.get_blob_properties().size
    entities = sum(len(document.entities) for document in outcome.documents)
    print(
        f"  {grown / len(data):.2f}, with {len(outcome.jobs)} jobs, {entities} entities, "
        f"an outcome of {size / len(data):.2f} of the file's size ({outcome.status.value})"
    )


def main() -> None:
    """Measure everything; fail if a promise is broken."""
    broken = show_time() + show_pauses()
    show_memory()
    show_way()
    for promise in broken:
        print(f"Not as promised: {promise}")
    if broken:
        sys.exit(1)
    print("All texts are as promised.")


if __name__ == "__main__":
    if sys.argv[1:]:
        measure_reading(Path(sys.argv[1]))
    else:
        main()
