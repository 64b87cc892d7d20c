"""What holds in the end, whatever was done to the app: nothing lost, nothing paid twice, nothing left over."""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
from azure.core.exceptions import AzureError, ResourceNotFoundError
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient

from local.ner.requests import digest_of
from local.watch import read_outcome
from shared.outcome import Outcome, OutcomeStatus
from shared.packing import REQUEST_LIMITS
from shared.settings import Settings
from shared.state.batch import BATCHES, BatchKind, batch_name
from shared.state.claim import CLAIMS, claim_name

PATIENCE_SECONDS = 400.0
STILL_SECONDS = 4.0
"""So long everything must stay as it is, for the run to have ended."""
JOB_ERRORS = {"InternalServerError", "JobFailed"}
GIVEN_UP = "ProcessingFailed"
"""The app gives a version up that it seems to die of."""
MIN_DEATHS = 3
"""So many workers have died before the app gives a version up."""

Stats = dict[str, dict[str, int]]


class Account(NamedTuple):
    """The storage account of a run."""

    settings: Settings
    blobs: BlobServiceClient
    queues: QueueServiceClient


class Uploaded(NamedTuple):
    """A version that was uploaded."""

    etag: str
    data: bytes
    documents: int


@dataclass
class Books:
    """What was uploaded, what may have been submitted once more than it should, and how many calls were refused.

    Attributes:
        before: the emulator's counts at the beginning.
        uploads: versions of each file.
        allowances: how many documents may have been forgotten, each time that something was done to the app.
        of_any_file: how many of them may have been those of any file.
        in_work: how many documents of a file workers may have been submitting, by its name, when something was done.
        deaths: how many workers have died before a version had its outcome, by its etag.
        deaths_count: how many workers have died.
        given_up: names of files whose outcome says that the app gave them up.
        answered: how many calls were answered in place of a server, by the kind of the action.
        after: the emulator's counts in the end.
        shared_requests: how many requests have had several files.
        shared_jobs: how many jobs are in the outcomes of several files.
    """

    before: Stats
    uploads: dict[str, list[Uploaded]] = field(default_factory=dict)
    allowances: list[int] = field(default_factory=list)
    of_any_file: int = 0
    in_work: Counter[str] = field(default_factory=Counter)
    deaths: Counter[str] = field(default_factory=Counter)
    deaths_count: int = 0
    given_up: set[str] = field(default_factory=set)
    answered: dict[str, int] = field(default_factory=dict)
    after: Stats = field(default_factory=dict)
    shared_requests: int = 0
    shared_jobs: int = 0

    def allow(self, in_work: Counter[str], most: int, of_any_file: int = 0) -> None:
        """Take note that jobs may have been forgotten.

        Args:
            in_work: documents that workers may have been submitting, by the names of their files.
            most: documents that can have been accepted.
            of_any_file: further documents, of whatever files.
        """
        self.in_work.update(in_work)
        self.of_any_file += of_any_file
        self.allowances.append(min(in_work.total(), most) + of_any_file)

    def documents(self, name: str) -> int:
        """Return how many documents all versions of a file have."""
        return sum(version.documents for version in self.uploads[name])

    def note_death(self, etags: Iterable[str]) -> None:
        """Take note that a worker has died while these versions had no outcome."""
        self.deaths_count += 1
        self.deaths.update(etags)

    def etags(self) -> set[str]:
        """Return the etags of all versions."""
        return {version.etag for versions in self.uploads.values() for version in versions}

    def counted(self, what: str, name: str) -> list[int]:
        """Return what the emulator counted in this run of each document of each version of a file: all texts differ."""
        sent = [version for version in self.uploads[name] if version.documents]
        texts = [digest_of(text) for version in sent for text in texts_of(name, version.data).values()]
        return [self.after[what].get(each, 0) - self.before[what].get(each, 0) for each in texts]

    def paid_again(self, name: str) -> int:
        """Return how many documents of a file were accepted once more than they should.

        Those whose answers the service lost are not counted.
        """
        counts = zip(self.counted("documents", name), self.counted("lostDocuments", name), strict=True)
        return sum(max(0, accepted - lost - 1) for accepted, lost in counts)

    def totals(self) -> dict[str, int]:
        """Return the figures of the run."""
        names = self.uploads
        return {
            "files": len(names),
            "versions": sum(map(len, names.values())),
            "documents of all versions": sum(map(self.documents, names)),
            "documents accepted": sum(sum(self.counted("documents", name)) for name in names),
            "of them, answers lost on the way": sum(sum(self.counted("lostDocuments", name)) for name in names),
            "of them, paid again": sum(map(self.paid_again, names)),
            "may have been forgotten": sum(self.allowances),
            "requests of several files": self.shared_requests,
            "jobs of several files": self.shared_jobs,
            "versions that workers died before": len(self.deaths),
            f"of them, {MIN_DEATHS} workers or more": sum(count >= MIN_DEATHS for count in self.deaths.values()),
            "of them, given up": len(self.given_up),
            "calls that storage refused": self.answered.get("refusals", 0),
            "odd answers of the service": self.answered.get("odd answers", 0),
        }


def claimed(account: Account, books: Books) -> Counter[str]:
    """Return how many documents of each file a worker may be submitting: the job of one request may be forgotten.

    They are those of claims without a record, of records that wait for the service, and of ledgers.
    """
    state = account.blobs.get_container_client(account.settings.state_container)
    try:
        listed = list(state.list_blobs(include=["metadata"]))
    except ResourceNotFoundError:
        return Counter()
    recorded = {blob.name: (blob.metadata or {}).get("kind", "") for blob in listed if blob.name.startswith(BATCHES)}
    claims = [blob for blob in listed if blob.name.startswith(CLAIMS)]
    kinds = [recorded.get(batch_name((claim.metadata or {}).get("batch", ""))) for claim in claims]
    names = {claim_name(name): name for name in books.uploads}
    files = [
        names[claim.name]
        for claim, kind in zip(claims, kinds, strict=True)
        if kind in (None, BatchKind.WAITING, BatchKind.LEDGER)
    ]
    most = REQUEST_LIMITS.documents
    return Counter({name: min(most, max(version.documents for version in books.uploads[name])) for name in files})


def without_outcome(account: Account, books: Books) -> list[str]:
    """Return the etags of the newest versions that have no outcome yet."""
    results = account.blobs.get_container_client(account.settings.results_container)
    ended = {(blob.metadata or {}).get("source_etag", "") for blob in results.list_blobs(include=["metadata"])}
    newest = [versions[-1].etag for versions in books.uploads.values()]
    return [etag for etag in newest if etag not in ended]


def wait_for_the_end(account: Account, books: Books, stats: Callable[[], Stats]) -> None:
    """Wait until nothing is missing and nothing moves, then check that nothing was paid twice.

    Raises:
        AssertionError: something does not hold; the message names it.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    quiet_since: float | None = None
    while True:
        try:
            missing = unfinished(account, books)
        except AzureError as error:
            missing = [type(error).__name__]
        if missing:
            quiet_since = None
        elif quiet_since is None:
            quiet_since = time.monotonic()
        elif time.monotonic() - quiet_since >= STILL_SECONDS:
            break
        assert time.monotonic() < deadline, f"never came: {missing}"
        time.sleep(0.5)
    books.after = stats()
    books.shared_jobs = count_shared_jobs(account, books)
    check_submissions(books)
    check_given_up(books)


def count_shared_jobs(account: Account, books: Books) -> int:
    """Return how many jobs are in the outcomes of several files."""
    files: Counter[str] = Counter()
    for name, versions in books.uploads.items():
        outcome = read_outcome(account.blobs, account.settings, name, versions[-1].etag)
        files.update(job.job_id for job in (outcome.jobs if outcome else []))
    return sum(count > 1 for count in files.values())


def unfinished(account: Account, books: Books) -> list[str]:
    """Return what is missing, or left over."""
    found = []
    for name, versions in books.uploads.items():
        outcome = read_outcome(account.blobs, account.settings, name, versions[-1].etag)
        if outcome is None:
            found.append(f"the outcome of {name!r}")
        else:
            check_outcome(name, versions[-1], outcome, books)
    results = list(account.blobs.get_container_client(account.settings.results_container).list_blobs())
    if len(results) > len(books.uploads):
        raise AssertionError(f"{len(results)} outcomes of {len(books.uploads)} files")
    state = account.blobs.get_container_client(account.settings.state_container)
    if state.exists():
        found += [f"the end of {blob.name}" for blob in state.list_blobs() if blob.name.startswith((CLAIMS, BATCHES))]
    settings = account.settings
    for queue in account.queues.list_queues():
        if queue.name == settings.queue:
            properties = account.queues.get_queue_client(queue.name).get_queue_properties()
            found += [f"{properties.approximate_message_count} messages of {queue.name}"] * bool(
                properties.approximate_message_count
            )
    return found


def check_outcome(name: str, version: Uploaded, outcome: Outcome, books: Books) -> None:
    """Assert that an outcome is that of the version, and right."""
    assert outcome.source.name == name
    assert outcome.source.length == len(version.data), name
    codes = {problem.code for problem in outcome.errors}
    if codes == {GIVEN_UP} and outcome.status is OutcomeStatus.FAILED:
        deaths = books.deaths[version.etag]
        assert deaths >= MIN_DEATHS, f"{name!r}: given up after {deaths} deaths"
        books.given_up.add(name)
        return
    if not version.documents:
        assert outcome.status is OutcomeStatus.FAILED, name
        assert codes <= {"EmptyFile", "BinaryFile", "UnsupportedType"}, (name, codes)
        return
    if outcome.status is not OutcomeStatus.SUCCEEDED:
        assert codes, name
        assert codes <= JOB_ERRORS, (name, codes)
        return
    texts = texts_of(name, version.data)
    assert [document.id for document in outcome.documents] == list(texts), name
    for document in outcome.documents:
        text = texts[document.id]
        for entity in document.entities:
            assert text[entity.offset : entity.offset + entity.length] == entity.text, name


def check_given_up(books: Books) -> None:
    """Assert that each version that was given up had a worker of its own that died: the last try is made alone."""
    most = max(books.deaths_count - (MIN_DEATHS - 1), 0)
    assert len(books.given_up) <= most, f"given up after {books.deaths_count} deaths: {sorted(books.given_up)}"


def texts_of(name: str, data: bytes) -> dict[str, str]:
    """Return the documents of a file by their ids."""
    text = data.decode()
    if not name.endswith(".jsonl"):
        return {name.rpartition("/")[2]: text}
    lines = [msgspec.json.decode(line, type=dict[str, str]) for line in text.splitlines()]
    return {line["id"]: line["text"] for line in lines}


def check_submissions(books: Books) -> None:
    """Assert that each document was paid once, but for those whose acceptance nobody could record."""
    spare = sum(books.allowances)
    for name, versions in books.uploads.items():
        accepted, more = books.counted("documents", name), books.paid_again(name)
        may_be = min(spare, books.in_work[name] + books.of_any_file)
        assert more <= may_be, f"{name!r}: {more} documents were paid again, of {may_be} that may have been forgotten"
        newest = 0 if name in books.given_up else versions[-1].documents
        submitted = sum(map(bool, accepted[len(accepted) - newest :]))
        assert submitted == newest, f"{name!r}: {submitted} documents for {newest}"
        spare -= more
