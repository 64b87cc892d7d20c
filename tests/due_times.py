"""Delays of queue messages on a clock that the tests move: storage holds no message back, and nothing waits."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.storage.queue import QueueMessage
from azure.storage.queue.aio import QueueClient


@dataclass
class DueTimes:
    """When each message that the app has sent becomes visible to the tests.

    Attributes:
        clocks: the time of each queue, by the queue's name; messages of other queues stay as they are.
        due: when a message becomes visible, by its ID.
    """

    clocks: dict[str, Callable[[], datetime]] = field(default_factory=dict)
    due: dict[str, datetime] = field(default_factory=dict)

    def of(self, message: QueueMessage) -> datetime:
        """Return when a message becomes visible; one that was sent past the app is visible from the start."""
        return self.due.get(str(message.id), datetime.min.replace(tzinfo=UTC))

    def wrap(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return a call of the SDK that sends or changes a message, with its visibility delay on the tests' clock."""

        async def sent(client: QueueClient, *arguments: Any, visibility_timeout: int = 0, **named: Any) -> QueueMessage:
            clock = self.clocks.get(client.queue_name)
            delay = visibility_timeout if clock is None else 0
            message: QueueMessage = await call(client, *arguments, visibility_timeout=delay, **named)
            if clock is not None:
                self.due[str(message.id)] = clock() + timedelta(seconds=visibility_timeout)
            return message

        return sent


@contextmanager
def due_times() -> Iterator[DueTimes]:
    """Keep the delays of all messages until the block ends. The hook is the SDK, so the app's code may change."""
    times = DueTimes()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("send_message", "update_message"):
            patch.setattr(QueueClient, name, times.wrap(getattr(QueueClient, name)))
        yield times
