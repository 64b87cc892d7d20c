"""The timer listener, as in the Timers extension: one run at a time, and one at the start if one was missed."""

import asyncio
import json
import logging
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from azure.core.exceptions import AzureError, ResourceExistsError, ResourceNotFoundError
from azure.storage.blob.aio import BlobServiceClient

from local.host.blobs import HOSTS_CONTAINER
from local.host.configuration import HostError
from local.host.functions import Function, InvocationError, Invoker
from local.host.protocol import TypedData
from local.host.trigger_data import NEVER
from local.schedule import ScheduleError, read_schedule

log = logging.getLogger("host")

SHORTEST_MONITORED: Final = timedelta(minutes=1)
"""For schedules with shorter intervals, the host does not store when the last run was."""


class TimerListener:
    """Runs a function at the times of an NCRONTAB expression, until it is stopped."""

    def __init__(
        self, function: Function, workers: Invoker, blobs: BlobServiceClient, host_id: str, schedule: str
    ) -> None:
        """Prepare a listener; `run` starts it.

        Args:
            function: function to run.
            workers: runs functions.
            blobs: of the host's own account.
            host_id: the name under which the last run is stored.
            schedule: NCRONTAB: second, minute, hour, day, month, day of the week.

        Raises:
            HostError: the schedule is not valid.
        """
        self.function = function
        self.workers = workers
        self.status = blobs.get_container_client(HOSTS_CONTAINER).get_blob_client(
            f"timers/{host_id}/{function.function_id}/status"
        )
        self.container = blobs.get_container_client(HOSTS_CONTAINER)
        self.stopped = asyncio.Event()
        try:
            self.schedule = read_schedule(schedule)
        except ScheduleError as error:
            raise HostError(f"function {function.name}: its schedule is not an NCRONTAB expression: {error}") from None
        first = self.next_after(now())
        is_long = self.next_after(first) - first >= SHORTEST_MONITORED
        self.is_monitored = is_long and bool(function.binding.get("useMonitor", True))

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
        """Run the function whenever it is due."""
        last = await self.last_run()
        is_past_due = last is not None and self.next_after(last) <= now()
        if is_past_due or self.function.binding.get("runOnStartup", False):
            await self.invoke(last, is_past_due=is_past_due)
        while not self.stopped.is_set():
            due = self.next_after(now())
            with suppress(TimeoutError):
                async with asyncio.timeout(max((due - now()).total_seconds(), 0.0)):
                    await self.stopped.wait()
            if not self.stopped.is_set():
                last = await self.invoke(last, is_past_due=False)

    async def invoke(self, last: datetime | None, *, is_past_due: bool) -> datetime:
        """Run the function once; return when. A run that fails is not repeated before the next one is due."""
        begun = now()
        following = self.next_after(begun)
        status = (
            {"Last": last.isoformat() if last else NEVER, "Next": following.isoformat()} if self.is_monitored else None
        )
        info = {"Schedule": {"AdjustForDST": True}, "ScheduleStatus": status, "IsPastDue": is_past_due}
        reason = f"Timer fired at {begun.isoformat()}"
        with suppress(InvocationError):
            await self.workers.invoke(self.function, TypedData("json", json.dumps(info)), {}, reason)
        if self.is_monitored:
            await self.remember(
                {"Last": begun.isoformat(), "Next": following.isoformat(), "LastUpdated": now().isoformat()}
            )
        return begun

    async def last_run(self) -> datetime | None:
        """Return when the last run was; None if that is not stored."""
        if not self.is_monitored:
            return None
        try:
            status: dict[str, Any] = json.loads(await (await self.status.download_blob()).readall())
            return datetime.fromisoformat(status["Last"])
        except (AzureError, ValueError, KeyError):
            return None

    async def remember(self, status: dict[str, str]) -> None:
        """Store the last run."""
        body = json.dumps(status)
        try:
            try:
                await self.status.upload_blob(body, overwrite=True)
            except ResourceNotFoundError:
                with suppress(ResourceExistsError):
                    await self.container.create_container()
                await self.status.upload_blob(body, overwrite=True)
        except AzureError as error:
            log.warning("The status of timer %s cannot be written: %s", self.function.name, type(error).__name__)


def now() -> datetime:
    """Return the time in UTC, as in schedules."""
    return datetime.now(UTC)
