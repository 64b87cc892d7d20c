"""Keeps calls to this machine away from proxies: those of the commands, and those of the processes they start."""

import os
from typing import Final
from urllib.request import getproxies

LOOPBACK: Final = ("127.0.0.1", "localhost")
SCHEMES: Final = ("http", "https", "all")


def exempt_loopback() -> None:
    """Add this machine to NO_PROXY and no_proxy if a proxy is set: the emulators cannot be reached through it."""
    proxies = {scheme: proxy for scheme, proxy in getproxies().items() if scheme in SCHEMES}
    if not proxies:
        return
    for scheme, proxy in proxies.items():
        # macOS has proxies in its settings too, which are not read if the environment mentions any.
        if f"{scheme.upper()}_PROXY" not in os.environ:
            os.environ.setdefault(f"{scheme}_proxy", proxy)
    # Some libraries read the one, some the other.
    given = [host.strip() for name in ("no_proxy", "NO_PROXY") for host in os.environ.get(name, "").split(",")]
    # A star, for no proxy at all, counts only if nothing stands beside it.
    hosts = "*" if "*" in given else ",".join(dict.fromkeys(host for host in (*given, *LOOPBACK) if host))
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = hosts
