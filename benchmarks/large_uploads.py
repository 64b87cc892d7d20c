"""The memory that uploads far above NER_MAX_BLOB_BYTES cost the worker: `python -m benchmarks.large_uploads`.

One is a new file, the other one replaces a file in flight. Both get a failed outcome, and are never read.
"""

import time
from dataclasses import dataclass
from typing import Final

import msgspec
from azure.storage.blob import BlobBlock, BlobClient

from benchmarks.observing import peak_of, processes_of, switch
from benchmarks.running import THIS_APP, Run, letters, running
from shared.names import result_name
from shared.outcome import Outcome

MEGABYTES: Final = 600
BLOCK: Final = 4 * 1024 * 1024
TIMES: Final = {"jobSeconds": 1.0, "callsPerMinute": 10**9}
CODE: Final = "FileTooLarge"


@dataclass(frozen=True)
class Grown:
    """By how many bytes the worker's peak memory grew, and what it was."""

    grown: int
    before: int


def measure() -> Grown:
    """Upload the files; return what they cost the worker of a warm app."""
    with running(THIS_APP, switches=TIMES) as run:
        run.measure(letters(1, "small"))
        worker = processes_of(run.host)[-1]
        before = peak_of(worker)
        end_too_large(run, "new.txt")
        switch(run.emulator, TIMES | {"jobEnd": "never"})
        run.upload({"replaced.txt": b"Please book a table at the Blue Heron."})
        run.announce(["replaced.txt"])
        while run.calls()["POST 202"] < 2:
            time.sleep(0.1)
        end_too_large(run, "replaced.txt")
        if processes_of(run.host)[-1] != worker:
            raise RuntimeError(f"The worker was replaced. {run.host.last_words()}")
        return Grown(peak_of(worker) - before, before)


def end_too_large(run: Run, name: str) -> None:
    """Upload a large file and wait for its outcome.

    Raises:
        RuntimeError: the outcome is another one.
    """
    etag = upload(run.blobs.get_blob_client("incoming", name))
    before = len(run.ended())
    run.announce([name])
    run.wait_for(1, before)
    data = run.blobs.get_blob_client("results", result_name(name)).download_blob().readall()
    outcome = msgspec.json.decode(data, type=Outcome)
    if outcome.source.etag != etag or [error.code for error in outcome.errors] != [CODE]:
        raise RuntimeError(f"{name} ended otherwise: {outcome}")


def upload(blob: BlobClient) -> str:
    """Write a large blob block by block, so that it is never in the memory of this process; return its etag."""
    ids = [f"{number:05}" for number in range(MEGABYTES * 1024 * 1024 // BLOCK)]
    for block_id in ids:
        blob.stage_block(block_id, b"Please book a table. " * (BLOCK // 21))
    return str(blob.commit_block_list([BlobBlock(block_id) for block_id in ids])["etag"]).strip('"')


def main() -> None:
    """Print the growth."""
    found = measure()
    print(f"{found.grown / 1e6:.1f} MB more than {found.before / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
