"""A browser on a page that shows a real account, with the app running on it where a test wants it.

The browser is the machine's own Chromium. Without one these tests are skipped, unless NER_TESTS_NEED_BROWSER is set.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import pytest
from azure.storage.blob import BlobServiceClient

from local.stack import create_containers_and_queues, start_page
from shared.ner.model import Entity
from shared.settings import Settings
from tests import finished
from tests.conftest import LOGS, hosted
from tests.ports import free_port

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = ("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync")
PATIENCE_MILLISECONDS = 60_000


# Not for the whole session: while Playwright is up, its event loop runs, and no test could run one of its own.
@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    """The machine's Chromium, without a window."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None or find_spec("playwright") is None:
        missing = (
            "no Chromium on this machine (on Debian and Ubuntu: apt install chromium)"
            if found is None
            else ("Playwright is not installed ('make test' does that)")
        )
        if os.environ.get("NER_TESTS_NEED_BROWSER"):
            pytest.fail(f"The page cannot be tested: {missing}")
        pytest.skip(f"The page is not tested: {missing}")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Within a container, Chromium's own sandbox cannot start for root.
        sandbox = os.name != "posix" or os.geteuid() != 0
        running = playwright.chromium.launch(executable_path=found, args=list(OPTIONS), chromium_sandbox=sandbox)
        yield running
        running.close()


@dataclass
class Site:
    """A page on an account of its own.

    Attributes:
        page: of the browser.
        url: where the page is served.
        settings: of the app on the account.
        blobs: its blobs.
        host: starts the app on the account; it runs until the test ends.
    """

    page: Any
    url: str
    settings: Settings
    blobs: BlobServiceClient
    host: Callable[[], None]

    def upload(self, name: str, data: bytes) -> None:
        """Upload a file."""
        finished.upload(self.blobs, self.settings, name, data)

    def end(self, name: str, text: str, *entities: Entity) -> None:
        """Upload a text with an outcome that holds these entities."""
        finished.succeed(self.blobs, self.settings, name, text, *entities)

    def open(self, path: str = "/") -> Any:
        """Go to a page; return it."""
        self.page.goto(self.url + path)  # returns once all has been loaded
        return self.page

    def open_file(self, name: str) -> Any:
        """Go to a file by its link in the list."""
        self.open().get_by_role("link", name=name, exact=True).click()
        return self.arrive()

    def arrive(self) -> Any:
        """Wait until a file's page is there with its scripts; return it."""
        self.page.wait_for_url("**/file?*")
        return self.page

    def marked(self) -> list[str]:
        """Return the texts that are highlighted now."""
        return [str(text) for text in self.page.locator("mark:not(.off)").all_text_contents()]


@pytest.fixture
def site(
    browser: Any, values: dict[str, str], ner_emulator: str, blobs: BlobServiceClient, request: pytest.FixtureRequest
) -> Iterator[Site]:
    """A page on an account of its own, in a browser that must not be made to do anything by what it shows."""
    values = {**values, "NER_ENDPOINT": ner_emulator, "NER_PRICE_PER_1000_TEXT_RECORDS": "5"}
    settings = Settings.from_environ(values)
    create_containers_and_queues(settings)
    log = LOGS / f"page-{request.node.name}.log"
    with ExitStack() as opened:
        served, url = start_page(values, log, free_port())
        opened.enter_context(served)
        context = browser.new_context(viewport={"width": 1280, "height": 860})
        context.set_default_timeout(PATIENCE_MILLISECONDS)
        page = context.new_page()
        surprises: list[str] = []

        def refuse(dialog: Any) -> None:
            surprises.append(f"dialog: {dialog.message}")
            dialog.dismiss()

        page.on("dialog", refuse)
        page.on("pageerror", lambda error: surprises.append(f"error: {error}"))
        page.on("console", lambda line: surprises.append(line.text) if line.type == "error" else None)
        page.on("request", lambda asked: None if asked.url.startswith((url, "data:")) else surprises.append(asked.url))

        def host() -> None:
            opened.enter_context(hosted(values, LOGS / f"host-{request.node.name}.log"))

        yield Site(page, url, settings, blobs, host)
        context.close()
        assert not surprises
        assert "Traceback" not in log.read_text()
