"""Cost of a text before it is sent: processor time for splitting and packing, and memory for a large file.

Time is relative to reading the same documents as JSON ten times with the standard library, in the same process. Memory
is the growth of a process's peak, divided by the file's size. It includes the file itself, which the app reads as a
whole. It is measured twice: in a fresh process that reads, checks and packs, and in the worker of a running app from
the upload to the outcome. Run it with `make bench-text`.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from azure.storage.blob import BlobServiceClient

from benchmarks.observing import peak_of, processes_of
from local import stack
from local.app_settings import SAMPLE, read_values
from local.install import STATE
from local.watch import read_outcome
from shared.documents import read_documents, survey
from shared.json_documents import MAX_DOCUMENTS
from shared.names import result_name
from shared.ner.model import Document
from shared.outcome import Outcome
from shared.packing import pack

BYTES = 20 * 1024 * 1024
RUNS = 5
SAMPLES = {
    "English": "We met Dr. Smith at the Blue Heron in New York, and it was late.\nNobody knew why.\n\n",
    "English, typographic": "We met Dr. Smith at the “Blue Heron” – in Zürich’s café. Nobody knew why…\n\n",
    "Russian": "Мы встретили доктора в Петербурге, и было поздно. Никто не знал почему.\n",
    "Chinese": "今天天气很好，我们去北京的公园散步。没有人知道为什么。\n",
    "Korean": "우리는 서울에서 의사를 만났고 늦었습니다. 아무도 이유를 몰랐습니다.\n",
    "Hindi": "हम दिल्ली में डॉक्टर से मिले, और देर हो चुकी थी। कोई नहीं जानता था।\n",
    "emoji": "We met at the Blue Heron 🍷 with the family 👨‍👩‍👧 and it was fine 👍🏽.\n",
}


def text_of(sample: str) -> str:
    """Return about twenty megabytes of a text."""
    return sample * (BYTES // len(sample.encode()))


def seconds(work: Callable[[], object]) -> float:
    """Return the processor's time for some work."""
    start = time.process_time()
    work()
    return time.process_time() - start


def ratios(documents: list[Document]) -> tuple[list[float], int]:
    """Return packing's time over ten times reading, for some runs, and the requests."""
    body = json.dumps([{"id": d.id, "text": d.text} for d in documents], ensure_ascii=False).encode()
    requests = len(list(pack(documents)))
    found = []
    for _ in range(RUNS):
        reading = sum(seconds(lambda: json.loads(body)) for _ in range(10))
        found.append(seconds(lambda: list(pack(documents))) / reading)
    return found, requests


def show_time() -> None:
    """Print the ratios."""
    print(
        f"Packing {BYTES // 2**20} MiB: processor time relative to reading it as JSON ten times "
        f"(median of {RUNS} runs, range)"
    )
    cases = {name: [Document("1", text_of(sample), "en")] for name, sample in SAMPLES.items()}
    letter = SAMPLES["English"] * 20
    cases["English, many documents"] = [
        Document(str(number), letter, "en") for number in range(BYTES // len(letter.encode()))
    ]
    for name, documents in cases.items():
        found, requests = ratios(documents)
        middle = statistics.median(found)
        print(f"  {name:26} {middle:5.2f}  ({min(found):.2f} to {max(found):.2f})  {requests} requests")


def large_file(kind: str) -> tuple[str, bytes]:
    """Return name and content of a large file."""
    if kind == "lines":
        letter = SAMPLES["English"] * 20
        line = json.dumps({"id": "00000000", "text": letter})
        count = BYTES // (len(line) + 1)
        return "a.jsonl", "\n".join(line.replace("00000000", f"{number:08}") for number in range(count)).encode()
    if kind == "shortest lines":
        return "a.jsonl", b"\n".join(b'{"id":%d,"text":"a"}' % number for number in range(MAX_DOCUMENTS))
    return "a.txt", text_of(SAMPLES[kind]).encode()


def measure_reading(path: Path) -> None:
    """Read, check and pack a file as the app does; print the growth of the peak over the file's size."""
    # Everything that is made once has been made.
    list(pack([Document("1", "\u00e9\u0301" * 10, "en")]))
    before = peak_of(os.getpid())
    data = path.read_bytes()
    documents = read_documents(path.name, data, language="en", max_bytes=2 * BYTES)
    survey(documents)
    for request in pack(documents.entries()):
        msgspec.json.encode(request.documents)
    print((peak_of(os.getpid()) - before) / len(data))


def show_memory() -> None:
    """Print the growth of fresh processes."""
    print("Peak memory for reading, checking and packing a file, relative to the file's size")
    for kind in [*SAMPLES, "lines", "shortest lines"]:
        with tempfile.TemporaryDirectory() as folder:
            name, data = large_file(kind)
            path = Path(folder) / name
            path.write_bytes(data)
            command = [sys.executable, "-m", "benchmarks.text", str(path)]
            answer = subprocess.run(command, capture_output=True, text=True, check=True)
        print(f"  {kind:26} {float(answer.stdout):5.2f}")


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
    _, data = large_file("English")
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


if __name__ == "__main__":
    if sys.argv[1:]:
        measure_reading(Path(sys.argv[1]))
    else:
        show_time()
        show_memory()
        show_way()
