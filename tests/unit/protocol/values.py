"""What the model is made of: versions, blobs, messages, payments and jobs."""

from datetime import datetime
from enum import Enum
from typing import Generic, NamedTuple, TypeVar

from shared.outcome import OutcomeStatus
from shared.precedence import PresentOutcome
from shared.source import Source

T = TypeVar("T")


class Text(Enum):
    """What a version holds."""

    SMALL = "small"
    """One request."""
    LARGE = "large"
    """REQUESTS requests, so it needs a ledger."""
    BAD = "bad"
    """No text: it ends before anything is sent."""
    REFUSED = "refused"
    """The service refuses each request with it."""
    FAILING = "failing"
    """The service fails each job with it as a whole."""
    DEADLY = "deadly"
    """A worker dies of making a request with it."""
    DEADLY_RESULTS = "deadly results"
    """A worker dies of the results of a job with it."""

    @property
    def is_innocent(self) -> bool:
        """Whether nothing is wrong with it."""
        return self in (Text.SMALL, Text.LARGE)


class Version(NamedTuple):
    """A text of a file; versions with the same text share what befalls them."""

    name: str
    digest: str


class DiedError(Exception):
    """A worker dies of a text."""

    def __init__(self, version: Version) -> None:
        """Name the text."""
        super().__init__(version)
        self.version = version


class Upload(NamedTuple):
    """A version in the input container, and what it holds; equal digests stand for equal texts."""

    source: Source
    text: Text
    digest: str


class Stored(NamedTuple, Generic[T]):
    """A blob and its etag."""

    value: T
    etag: str


class Payment(NamedTuple):
    """What the service is paid for: a request of a version."""

    name: str
    etag: str
    request: int


class Part(NamedTuple):
    """What a job has of one of the files that it was made of."""

    job_id: str
    payment: Payment


class Outcome(NamedTuple):
    """An outcome blob, and the parts of jobs whose entities it holds."""

    present: PresentOutcome
    status: OutcomeStatus
    parts: list[Part]


class Queued(NamedTuple):
    """A queue message: its text, when it becomes visible, and how often it was delivered before."""

    text: str
    visible: datetime
    deliveries: int = 0


class JobState(Enum):
    """How far the service has come with a job."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
