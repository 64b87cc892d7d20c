"""Dropped files reach the input container as they are."""

import tracemalloc
from pathlib import Path

from azure.storage.blob import BlobServiceClient

from local.stack import create_containers_and_queues
from local.watch import upload
from shared.settings import Settings

SIZE = 80_000_000
"""More than a request holds."""


def test_a_large_file_is_not_read_into_memory(values: dict[str, str], blobs: BlobServiceClient, tmp_path: Path) -> None:
    """A file larger than memory is uploaded; a file that is gone is named."""
    settings = Settings.from_environ(values)
    create_containers_and_queues(settings)
    path = tmp_path / "large.txt"
    with path.open("wb") as file:
        file.truncate(SIZE)
    skipped: dict[str, list[Path]] = {}
    tracemalloc.start()
    try:
        dropped = upload(blobs, settings, {"large.txt": path, "gone.txt": tmp_path / "gone.txt"}, skipped)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [(file.name, file.length) for file in dropped] == [("large.txt", SIZE)]
    assert skipped == {"they cannot be read (No such file or directory)": [tmp_path / "gone.txt"]}
    assert peak < SIZE / 2
