"""Dropped files on their way: uploaded, submitted, running, done."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath

import httpx
import msgspec
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import BlobServiceClient

from local.files import Skipped, unreadable
from shared.names import check_name, result_name
from shared.outcome import Outcome
from shared.settings import Settings


class Stage(StrEnum):
    """Where a file stands."""

    UPLOADED = "uploaded"
    SUBMITTED = "submitted"
    RUNNING = "running"
    DONE = "done"


JOB_STAGES = {"notStarted": Stage.SUBMITTED}


@dataclass
class Dropped:
    """One uploaded version of a file."""

    name: str
    etag: str
    length: int
    stage: Stage = Stage.UPLOADED
    outcome: Outcome | None = None


def upload(blobs: BlobServiceClient, settings: Settings, files: dict[str, Path], skipped: Skipped) -> list[Dropped]:
    """Upload files into the input container, in place of older versions; `skipped` gets those that cannot be read."""
    container = blobs.get_container_client(settings.input_container)
    dropped = []
    for name, path in files.items():
        try:
            # A stream: a file may be larger than memory.
            with path.open("rb") as file:
                length = os.fstat(file.fileno()).st_size
                answer = container.get_blob_client(check_name(name)).upload_blob(file, overwrite=True)
        except OSError as error:
            skipped.setdefault(unreadable(error), []).append(path)
            continue
        dropped.append(Dropped(name, answer["etag"].strip('"'), length))
    return dropped


def read_outcome(blobs: BlobServiceClient, settings: Settings, name: str, etag: str) -> Outcome | None:
    """Return the outcome of one version of a file, or None while it has none."""
    blob = blobs.get_blob_client(settings.results_container, result_name(check_name(name)))
    try:
        download = blob.download_blob()
        if download.properties.metadata.get("source_etag") != etag:
            return None
        return msgspec.json.decode(download.readall(), type=Outcome)
    except ResourceNotFoundError:
        return None


def job_stages(ner_emulator: str | None) -> dict[str, Stage]:
    """Return how far the NER emulator is with its jobs, by their names and by the IDs of their documents."""
    if ner_emulator is None:
        return {}
    answer = httpx.get(f"{ner_emulator}/emulator/jobs", trust_env=False, timeout=30.0).raise_for_status()
    return {
        name: JOB_STAGES.get(job["status"], Stage.RUNNING)
        for job in answer.json()["jobs"]
        for name in (job["displayName"], *job["documentIds"])
    }


def watch(
    blobs: BlobServiceClient, settings: Settings, dropped: list[Dropped], ner_emulator: str | None, seconds: float
) -> Iterator[None]:
    """Bring the files' stages up to date, again and again, until all are done or the time is over."""
    deadline = time.monotonic() + seconds
    waiting = list(dropped)
    while waiting and time.monotonic() < deadline:
        stages = job_stages(ner_emulator)
        for file in waiting:
            file.outcome = read_outcome(blobs, settings, file.name, file.etag)
            # A job of several files has the name of one of them; a text's document has the name of its file.
            stage = stages.get(file.name) or stages.get(PurePosixPath(file.name).name) or file.stage
            file.stage = Stage.DONE if file.outcome else stage
        waiting = [file for file in waiting if file.outcome is None]
        yield
        if waiting:
            time.sleep(0.2)
