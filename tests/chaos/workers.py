"""What is done to the worker process of a host, and what the host's log says about it."""

import os
import re
import signal
from typing import Final

from local.children import Child
from tests.waiting import eventually

STARTED: Final = re.compile(rb"Worker process started and initialized\. Pid=(\d+)")
TIMED_OUT: Final = b"A function timeout has occurred. Restarting worker process"
TOO_MANY_DEATHS: Final = b"Exceeded language worker restart retry count"


def starts(host: Child) -> list[int]:
    """Return the process IDs of the workers that a host has started; the last one runs, unless it has just died."""
    return [int(pid) for pid in STARTED.findall(host.log.read_bytes())]


def kill_worker(host: Child) -> None:
    """End the worker of a host without warning, as the kernel does when memory runs out."""
    os.kill(starts(host)[-1], signal.SIGKILL)


def await_replacement(host: Child, count: int) -> bool:
    """Wait until a host has started more than so many workers; return False if it has ended after too many deaths."""
    eventually(lambda: len(starts(host)) > count or not host.is_running, "another worker, or the end of the host")
    assert host.is_running or TOO_MANY_DEATHS in host.log.read_bytes(), host.last_words()
    return host.is_running


class Frozen:
    """The worker of a host, stopped until its host kills it: whatever runs in it exceeds functionTimeout."""

    def __init__(self, host: Child) -> None:
        """Stop the worker."""
        self.host = host
        self.count = len(starts(host))
        self.timeouts = self.timed_out()
        os.kill(starts(host)[-1], signal.SIGSTOP)

    def timed_out(self) -> int:
        """Return how many workers the host has killed because of a timeout."""
        return self.host.log.read_bytes().count(TIMED_OUT)

    def await_end(self) -> None:
        """Wait until the host has killed the worker and started another one."""
        assert await_replacement(self.host, self.count), self.host.last_words()
        assert self.timed_out() > self.timeouts, self.host.last_words()
