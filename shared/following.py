"""What all versions of files on their way share: connections, the law of the delays, the clock."""

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from shared.delays import Delays
from shared.jobs import JobMessage, is_overdue, waiting_delay
from shared.ner.dialects import STRING_INDEX_TYPE, dialect_for
from shared.settings import Settings
from shared.source import Source
from shared.state_storage import StateStorage
from shared.storage import Storage
from shared.submissions import CLAIM_SHARE
from shared.telemetry import Telemetry

LONGEST_STORAGE_DELAY_SECONDS: Final = 600
"""Some refusals last until somebody acts, such as a lease without end; each try costs calls of storage and service."""


class Following:
    """What all versions on their way share. Safe to share between concurrent invocations."""

    def __init__(
        self,
        settings: Settings,
        storage: Storage,
        state: StateStorage,
        telemetry: Telemetry,
        now: Callable[[], datetime],
    ) -> None:
        """Use these connections; `now` gives the time in UTC."""
        self.settings = settings
        self.storage = storage
        self.state = state
        self.telemetry = telemetry
        self.now = now
        self.delays = Delays(least=settings.poll_min_seconds, most=settings.poll_max_seconds)
        self.random = random.Random()  # noqa: S311  # spreads looks, guards nothing
        self.patience = timedelta(seconds=settings.submit_timeout_seconds)
        self.call_seconds = settings.submit_timeout_seconds * CLAIM_SHARE
        model = dialect_for(settings).describe_model()
        self.api = {"version": settings.api_version, **model, "stringIndexType": STRING_INDEX_TYPE}

    def storage_delay(self, message: JobMessage) -> float:
        """Return in how many seconds to go on with a file where storage has refused a call or has not answered."""
        return waiting_delay(
            self.now() - message.since,
            least=self.settings.poll_min_seconds,
            most=max(self.settings.poll_max_seconds, LONGEST_STORAGE_DELAY_SECONDS),
            jitter=self.random.random(),
        )

    def is_overdue(self, message: JobMessage) -> bool:
        """Tell whether a file has been waited for long enough."""
        return is_overdue(message, self.now(), self.settings.job_timeout_seconds)

    async def newest(self, source: Source) -> str | None:
        """Return the etag of the version that is in the input container now."""
        newest = await self.storage.newest_source(source.name)
        return newest.etag if newest else None

    def throttle(self, retry_after: float | None) -> None:
        """Take note that the service has refused a call since there were too many; it takes more in so many seconds."""
        before = self.delays.closed_seconds
        self.delays.throttle(retry_after)
        self.telemetry.throttled(max(self.delays.closed_seconds - before, 0.0))
