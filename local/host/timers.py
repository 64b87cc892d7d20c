"""The timer listener, as in the Timers extension: one run at a time, and one at the start if one was missed."""

import asyncio
import json
import logging
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from azure.core.exceptions import AzureError, ResourceExistsError, ResourceNotFoundError
from azure.storage.blob.aio import BlobServiceClient

from local.host.blobs import HOSTS_CONTAINER
from local.host.configuration import HostError
from local.host.functions import Function, InvocationError, Invoker
from local.host.locks import ListenerLock, pause
from local.host.protocol import TypedData
from local.host.trigger_data import NEVER
from local.json_errors import JSON_ERRORS
from local.schedule import ScheduleError, read_schedule

log = logging.getLogger("host")

SHORTEST_MONITORED: Final = timedelta(minutes=1)
"""For schedules with shorter intervals, the host does not store when the last run was."""


AT_NO_TIME: Final = datetime.fromisoformat(NEVER)


class Status(NamedTuple):
    """What the host stores about a timer.

    Attributes:
        last: when it ran; None if it never did.
        next: when it is due.
        updated: when the host wrote this.
    """

    last: datetime | None
    next: datetime
    updated: datetime | None

    def to_json(self) -> dict[str, str]:
        """Return it as the host stores it and passes it to the function."""
        return {
            "Last": self.last.isoformat() if self.last else NEVER,
            "Next": self.next.isoformat(),
            "LastUpdated": self.updated.isoformat() if self.updated else NEVER,
        }


class TimerListener:
    """Runs a function at the times of an NCRONTAB expression, until it is stopped."""

    def __init__(
        self, function: Function, workers: Invoker, blobs: BlobServiceClient, host_id: str, schedule: str
    ) -> None:
        """Run nothing yet.

        Args:
            function: to run.
            workers: run functions.
            blobs: of the host's own account.
            host_id: the name under which the last run is remembered.
            schedule: NCRONTAB: second, minute, hour, day, month, day of the week.

        Raises:
            HostError: the schedule is no such expression.
        """
        self.function = function
        self.workers = workers
        self.status_blob = blobs.get_container_client(HOSTS_CONTAINER).get_blob_client(
            f"timers/{host_id}/{function.function_id}/status"
        )
        self.container = blobs.get_container_client(HOSTS_CONTAINER)
        self.lock = ListenerLock(self.container, f"{host_id}/{function.function_id}.Listener")
        self.stopped = asyncio.Event()
        try:
            self.schedule = read_schedule(schedule)
        except ScheduleError as error:
            raise HostError(f"function {function.name}: its schedule is not an NCRONTAB expression: {error}") from None
        first = self.next_after(now())
        is_long = self.next_after(first) - first >= SHORTEST_MONITORED
        self.is_monitored = is_long and bool(function.binding.get("useMonitor", True))
        self.status = Status(None, first, None)

    def next_after(self, moment: datetime) -> datetime:
        """Return the next time of the schedule after a moment."""
        found = self.schedule.next_after(moment)
        if found is None:
            raise HostError(f"function {self.function.name}: its schedule has no next time")
        return found

    def stop(self) -> None:
        """Start no more runs; `run` returns when the current one has ended."""
        self.stopped.set()

    async def run(self) -> None:
        """Run the function, if no other host does."""
        await self.lock.run_alone(self.listen, self.stopped)

    async def listen(self) -> None:
        """Run the function whenever it is due; a run that becomes due during another one comes right after it."""
        self.status = await self.remembered()
        is_past_due = now() > self.status.next
        if is_past_due or self.function.binding.get("runOnStartup", False):
            await self.invoke(is_past_due=is_past_due, is_planned=False)
        while not self.stopped.is_set():
            await self.pause((self.status.next - now()).total_seconds())
            if not self.stopped.is_set():
                await self.invoke(is_past_due=False, is_planned=True)

    async def pause(self, seconds: float) -> None:
        """Wait that long, or until the listener is stopped."""
        await pause(seconds, self.stopped)

    async def invoke(self, *, is_past_due: bool, is_planned: bool) -> None:
        """Run the function once. A run that fails is not repeated before the next one is due."""
        begun = now()
        # What the function is told is from before: its next run is this one.
        status = self.status.to_json() if self.is_monitored else None
        info = {"Schedule": {"AdjustForDST": True}, "ScheduleStatus": status, "IsPastDue": is_past_due}
        reason = f"Timer fired at {begun.isoformat()}"
        with suppress(InvocationError):
            await self.workers.invoke(self.function, TypedData("json", json.dumps(info)), {}, reason)
        # A timer that fires a little early would fire for the same time again.
        last = max(begun, self.status.next) if is_planned else begun
        self.status = Status(last, self.next_after(last), last)
        await self.remember()

    async def remembered(self) -> Status:
        """Return the stored status; if the schedule has changed, with the next time by the new one."""
        status = Status(None, self.next_after(now()), None)
        if not self.is_monitored:
            return status
        try:
            stored: dict[str, Any] = json.loads(await (await self.status_blob.download_blob()).readall())
            last, updated = (datetime.fromisoformat(stored[name]) for name in ("Last", "LastUpdated"))
            status = Status(None if last == AT_NO_TIME else last, datetime.fromisoformat(stored["Next"]), updated)
        except (AzureError, *JSON_ERRORS, KeyError, TypeError):
            # What is due until the first run is missed if the host is down then, unless it is remembered.
            self.status = status._replace(updated=now())
            await self.remember()
            return self.status
        expected = self.next_after(status.last or updated)
        if expected != status.next:
            self.status = status._replace(next=expected if expected >= now() else self.next_after(now()))
            await self.remember()
            return self.status
        return status

    async def remember(self) -> None:
        """Store the status, if the timer is monitored."""
        if not self.is_monitored:
            return
        body = json.dumps(self.status.to_json())
        try:
            try:
                await self.status_blob.upload_blob(body, overwrite=True)
            except ResourceNotFoundError:
                with suppress(ResourceExistsError):
                    await self.container.create_container()
                await self.status_blob.upload_blob(body, overwrite=True)
        except AzureError as error:
            log.warning("The status of timer %s cannot be written: %s", self.function.name, type(error).__name__)


def now() -> datetime:
    """Return the time in UTC, as in schedules."""
    return datetime.now(UTC)
