"""Behind a proxy: calls to this machine go around it."""

import os
import urllib.request

import pytest
from requests.utils import get_environ_proxies

from local import proxies
from local.proxies import exempt_loopback

PROXY = "http://proxy.example:8080"


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An environment of the test's own, without a proxy."""
    own = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    monkeypatch.setattr(os, "environ", own)
    return own


@pytest.mark.parametrize("name", ["HTTP_PROXY", "https_proxy", "ALL_PROXY"])
def test_this_machine_is_reached_directly(name: str, environ: dict[str, str]) -> None:
    """Other hosts still through the proxy; the user's own exceptions stay."""
    environ |= {name: PROXY, "NO_PROXY": "intranet.example, 10.0.0.1"}
    exempt_loopback()
    assert environ["NO_PROXY"] == environ["no_proxy"] == "intranet.example,10.0.0.1,127.0.0.1,localhost"
    assert environ[name] == PROXY
    for url in ("http://127.0.0.1:10000/devstoreaccount1", "http://localhost:10300", "https://intranet.example"):
        assert get_environ_proxies(url) == {}
    assert PROXY in get_environ_proxies("https://resource.example").values()


@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
def test_a_proxy_that_is_switched_off_stays_off(name: str, environ: dict[str, str]) -> None:
    """The star stands for every host only if nothing stands beside it."""
    environ |= {"HTTPS_PROXY": PROXY, name: "*"}
    exempt_loopback()
    for url in ("http://127.0.0.1:10000/devstoreaccount1", "https://resource.example"):
        assert get_environ_proxies(url) == {}


def test_once_is_enough(environ: dict[str, str]) -> None:
    """Every command and every emulator asks for it."""
    environ |= {"HTTP_PROXY": PROXY}
    exempt_loopback()
    exempt_loopback()
    assert environ["NO_PROXY"] == "127.0.0.1,localhost"


def test_without_a_proxy_nothing_changes(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """On macOS, a NO_PROXY alone would hide the proxies of the system's settings."""
    monkeypatch.setattr(proxies, "getproxies", urllib.request.getproxies_environment)
    before = dict(environ)
    exempt_loopback()
    assert environ == before


def test_the_systems_proxies_stay(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of macOS's settings go into the environment, which from then on is all that is read."""
    monkeypatch.setattr(proxies, "getproxies", lambda: {"https": PROXY})
    exempt_loopback()
    assert environ["https_proxy"] == PROXY
    assert get_environ_proxies("http://127.0.0.1:10000") == {}
    assert get_environ_proxies("https://resource.example")["https"] == PROXY
