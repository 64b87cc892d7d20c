"""Ports for servers of the tests: other ones in each process, and none that the system gives to connections."""

import os

from local.children import is_free

FIRST, LAST, EACH = 12_000, 32_000, 250
"""The range, and how many ports of it belong to one process."""

_first = FIRST + os.getpid() % ((LAST - FIRST) // EACH) * EACH
_next = 0


def free_port(count: int = 1) -> int:
    """Return a free port of the loopback interface that no other test gets soon, or the first of adjacent ones."""
    global _next  # noqa: PLW0603  # one count for the process is the purpose
    while True:
        _next = 0 if _next + count > EACH else _next
        port, _next = _first + _next, _next + count
        if all(is_free(port + number) for number in range(count)):
            return port


def free_ports() -> tuple[int, int, int]:
    """Return ports for Azurite: the usual ones may belong to the developer's own."""
    first = free_port(3)
    return first, first + 1, first + 2
