"""How many calls this process makes: the service limits them per minute."""

import time
from collections import deque
from collections.abc import Callable
from typing import Final

CALLS_PER_MINUTE: Final = 1000
"""The service's limit for all calls to a resource, https://learn.microsoft.com/azure/ai-services/language-service/
concepts/data-limits. Lower ones, of the free tier for instance, show as refused calls."""
MINUTE_SECONDS: Final = 60.0


class CallRate:
    """Counts the calls of the last minute. For one process; not for several threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin without calls; `clock` returns seconds."""
        self.clock = clock
        self.calls: deque[float] = deque()

    def add(self) -> None:
        """Count a call that is being made now."""
        self.calls.append(self.clock())

    @property
    def in_last_minute(self) -> int:
        """How many calls were made within the last minute."""
        since = self.clock() - MINUTE_SECONDS
        while self.calls and self.calls[0] <= since:
            self.calls.popleft()
        return len(self.calls)
