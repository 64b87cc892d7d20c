"""The page as a person uses it: drop files, watch them, read what was found, and be told what went wrong."""

import re
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from azure.storage.blob import AccountSasPermissions, BlobServiceClient, ResourceTypes, generate_account_sas

from local.files import SAMPLES
from local.highlighting import PART_CHARACTERS
from local.install import ROOT, STATE
from local.stack import create_containers_and_queues, start_page
from local.storage_emulator import ACCOUNT, Azurite
from shared.ner.model import Entity
from shared.settings import Settings
from tests.browser.conftest import PATIENCE_MILLISECONDS, Site
from tests.conftest import LOGS
from tests.emulator import end_jobs
from tests.ports import free_port
from tests.serving import QuietHandler, serving
from tests.waiting import eventually

BOOKING = b"Please book a table at Blue Heron in Bristol for four people at eight."
HOSTILE = "<script>document.title='taken'</script><img src=x onerror=\"alert('taken')\"> & \"'{{7*7}}"


def entity(text: str, part: str, category: str, confidence: float = 0.9) -> Entity:
    """Return an entity where a part of a text is."""
    return Entity(part, category, text.index(part), len(part), confidence)


def drop(site: Site, *files: tuple[str, bytes]) -> None:
    """Drop files as a person would from a folder's window."""
    dropped = [{"name": name, "text": data.decode("latin-1")} for name, data in files]
    site.page.evaluate(
        """(files) => {
            const data = new DataTransfer();
            for (const { name, text } of files) {
                data.items.add(new File([Uint8Array.from(text, (c) => c.charCodeAt(0))], name));
            }
            const place = document.querySelector("#drop");
            for (const kind of ["dragenter", "dragover", "drop"]) {
                place.dispatchEvent(new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true }));
            }
        }""",
        dropped,
    )


def test_files_are_dropped_watched_and_read(site: Site, ner_emulator: str, switches: Callable[..., None]) -> None:
    """From nothing to highlighted entities without leaving the page."""
    switches(jobSeconds=1000)
    site.host()
    page = site.open()
    assert page.get_by_text("No file has been dropped yet.").is_visible()
    page.locator("#pick").set_input_files([{"name": "booking.txt", "mimeType": "text/plain", "buffer": BOOKING}])
    drop(site, ("twin.txt", BOOKING))
    page.get_by_text("2 of 2 uploaded", exact=False).or_(page.get_by_text("1 of 1 uploaded")).first.wait_for()
    page.locator(".state", has_text=re.compile(r"running for \d+ s")).nth(1).wait_for()
    end_jobs(ner_emulator)
    page.get_by_text("2 of 2 done").wait_for()
    progress = page.locator("#progress")
    assert (progress.get_attribute("value"), progress.get_attribute("max")) == ("2", "2")
    page.locator("#counts", has_text="2 text records, 0.01").wait_for()
    page.locator("#categories", has_text="restaurant_name").wait_for()
    assert page.locator("#chart").bounding_box()["height"] > 20
    page.get_by_role("link", name="booking.txt").click()
    site.arrive()
    assert {"Blue Heron", "Bristol"} <= set(site.marked())
    assert '"status": "succeeded"' in page.locator("#raw").inner_text()
    assert page.locator("#text").inner_text().strip() == BOOKING.decode()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy").click()
    page.get_by_text("Copied.").wait_for()
    assert '"Blue Heron"' in page.evaluate("navigator.clipboard.readText()")
    with page.expect_download() as kept:
        page.get_by_role("link", name="Download the JSON").click()
    assert kept.value.suggested_filename == "booking.txt.json"
    assert b'"Blue Heron"' in Path(kept.value.path()).read_bytes()


def test_a_file_that_is_read_too_early_shows_itself_once_it_has_ended(
    site: Site, ner_emulator: str, switches: Callable[..., None]
) -> None:
    """The file's own page follows it, too."""
    switches(jobSeconds=1000)
    site.upload("early.txt", BOOKING)
    page = site.open_file("early.txt")
    assert page.locator(".state", has_text="not started").is_visible()
    site.host()
    page.locator(".state", has_text="running for").wait_for()
    end_jobs(ner_emulator)
    page.locator("mark", has_text="Blue Heron").wait_for()
    page.get_by_label("restaurant_name").uncheck()
    assert "Blue Heron" not in site.marked()


def test_a_failure_says_why(site: Site) -> None:
    """In the list and on the file's page, in the words of the outcome."""
    site.host()
    page = site.open()
    drop(site, ("scan.pdf", b"%PDF"))
    page.locator(".state.failed", has_text="failed: The name is that of a PDF document (application/pdf).").wait_for()
    page.get_by_role("link", name="scan.pdf").click()
    page.locator(".problem", has_text="UnsupportedType").wait_for()
    assert "Save its text as a .txt or .md file" in page.locator("#main").inner_text()


def test_what_is_too_large_is_refused_with_the_limit(site: Site) -> None:
    """Before it is sent; and nothing is uploaded."""
    page = site.open()
    page.evaluate("document.querySelector('#drop').dataset.largest = '10'")
    drop(site, ("large.txt", BOOKING))
    page.locator("#uploads .refused", has_text="more than NER_MAX_BLOB_BYTES allows (10)").wait_for()
    assert not list(site.blobs.get_container_client(site.settings.input_container).list_blobs())


def test_entities_are_filtered_by_category_and_confidence(site: Site) -> None:
    """What is not asked for loses its highlight and nothing else."""
    text = "Ana flies to Lisbon at noon, Ben to Porto."
    site.end(
        "a.txt",
        text,
        *(entity(text, "Ana", "guest", 0.99), entity(text, "Ben", "guest", 0.3)),
        *(entity(text, "Lisbon", "city", 0.8), entity(text, "noon", "time", 0.5), entity(text, "Porto", "city", 0.2)),
    )
    page = site.open_file("a.txt")
    assert site.marked() == ["Ana", "Lisbon", "noon", "Ben", "Porto"]
    assert page.locator("mark", has_text="Lisbon").get_attribute("title") == "city 0.80"
    page.get_by_label("guest").uncheck()
    assert site.marked() == ["Lisbon", "noon", "Porto"]
    page.get_by_label("Minimum confidence").fill("0.5")
    assert site.marked() == ["Lisbon", "noon"]
    page.get_by_role("button", name="none").click()
    assert site.marked() == []
    page.get_by_role("button", name="all", exact=True).click()
    page.get_by_label("Minimum confidence").fill("0")
    assert site.marked() == ["Ana", "Lisbon", "noon", "Ben", "Porto"]
    assert page.locator("#text").inner_text().strip() == text


def test_hostile_names_and_texts_do_nothing(site: Site) -> None:
    """They are shown as what they are: text. (The site itself fails on any dialog, error or request elsewhere.)"""
    name = f"{HOSTILE.replace('/', '')}.txt"
    text = f"{HOSTILE}\u202e reversed {HOSTILE}\x00\x1b[31m"
    category = "<b onclick=alert(1)>'\""
    site.end(name, text, entity(text, HOSTILE, category), entity(text, "reversed", category))
    site.end("plain.txt", "plain")
    page = site.open()
    page.get_by_role("link", name=name, exact=True).wait_for()
    page.locator("#categories bdi", has_text=category).wait_for()
    page.get_by_role("link", name=name, exact=True).click()
    site.arrive()
    assert page.title() == name
    assert site.marked() == [HOSTILE, "reversed"]
    page.locator("mark").first.hover()
    page.get_by_label(category).uncheck()
    assert site.marked() == []
    assert page.locator("#main script, #main img, #main b").count() == 0
    site.page.get_by_role("link", name="All files").click()
    search = page.get_by_label("Find")
    search.fill('"><script>alert(1)</script>')
    page.get_by_text("No file matches.").wait_for()
    search.fill("PLAIN")
    page.get_by_role("link", name="plain.txt").wait_for()
    eventually(lambda: page.locator(".files tbody tr").count() == 1, "the list has the one file that was asked for")


def test_a_dropped_name_is_kept_as_it_is(site: Site) -> None:
    """Whatever it holds, the blob has it."""
    names = ["été 🍷 100% #1?.txt", "<img src=x onerror=alert(1)>.txt", "a..%2f&name=b.txt"]
    page = site.open()
    drop(site, *((name, BOOKING) for name in names))
    page.get_by_text("3 of 3 uploaded").wait_for()
    found = [blob.name for blob in site.blobs.get_container_client(site.settings.input_container).list_blobs()]
    assert sorted(found) == sorted(names)


def test_overlaps_emoji_and_right_to_left_text_are_highlighted_where_they_are(site: Site) -> None:
    """Every piece is highlighted once, and says all its entities."""
    text = "Family 👨‍👩‍👧‍👦 of أحمد الخطيب at the New York Times Café 🍷.\r\nשלום עולם, e\u0301clair.\n"
    site.end(
        "mixed.txt",
        text,
        *(
            entity(text, "👨‍👩‍👧‍👦", "party"),
            entity(text, "أحمد الخطيب", "guest"),
            entity(text, "New York Times", "paper"),
        ),
        *(entity(text, "New York", "city"), entity(text, "Times Café", "place"), entity(text, "🍷", "drink")),
        *(entity(text, "עולם", "world"), entity(text, "e\u0301clair", "dish")),
    )
    page = site.open_file("mixed.txt")
    assert site.marked() == [
        *("👨‍👩‍👧‍👦", "أحمد الخطيب", "New York", " ", "Times", " Café", "🍷", "עולם", "e\u0301clair"),
    ]
    titles = [mark.get_attribute("title") for mark in page.locator("mark").all()]
    assert titles[2:6] == ["paper 0.90; city 0.90", "paper 0.90", "paper 0.90; place 0.90", "place 0.90"]
    page.get_by_label("paper").uncheck()
    assert site.marked() == ["👨‍👩‍👧‍👦", "أحمد الخطيب", "New York", "Times", " Café", "🍷", "עולם", "e\u0301clair"]
    # Each line reads in the direction of its own words.
    assert page.locator(".text").evaluate("element => getComputedStyle(element).unicodeBidi") == "plaintext"


def test_two_megabytes_come_in_parts(site: Site) -> None:
    """The first screen is there without the rest, which comes as somebody reads on."""
    line = "We flew to Lisbon with Ana and had dinner at eight.\n"
    text = line * (2_000_000 // len(line))
    places = range(0, len(text), len(line))
    site.end(
        "large.txt",
        text,
        *(Entity("Lisbon", "city", place + 11, 6, 0.9) for place in places),
        *(Entity("Ana", "guest", place + 23, 3, 0.9) for place in places),
    )
    page = site.open_file("large.txt")
    # Only what can be seen, and perhaps the next part, is there yet.
    seen = len(page.locator("#text").inner_text())
    assert 0 < seen <= 3 * PART_CHARACTERS
    assert set(site.marked()) == {"Lisbon", "Ana"}
    page.get_by_label("guest").uncheck()
    page.locator(".more").scroll_into_view_if_needed()
    eventually(lambda: len(page.locator("#text").inner_text()) > seen, "the next part")
    assert set(site.marked()) == {"Lisbon"}, "what comes later is filtered too"
    assert page.get_by_text("Only the beginning is shown.").is_visible()


def test_the_keyboard_is_enough(site: Site) -> None:
    """`/` finds, Enter opens, `n` and `p` go through the entities, Esc goes back."""
    text = "Ana flies to Lisbon."
    site.end("a.txt", text, entity(text, "Ana", "guest"), entity(text, "Lisbon", "city"))
    page = site.open()
    page.get_by_role("link", name="a.txt").wait_for()
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.name") == "q"
    page.keyboard.type("a.t")
    page.get_by_role("link", name="a.txt").focus()
    page.keyboard.press("Enter")
    site.arrive()
    said = page.locator("#said")
    for key, heard in (("n", "Ana: guest 0.90"), ("n", "Lisbon: city 0.90"), ("n", "Ana: "), ("p", "Lisbon: ")):
        page.keyboard.press(key)
        assert heard in said.inner_text()
    page.keyboard.press("Escape")
    page.locator("#files").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_it_fits_a_phone_and_the_night(site: Site, scheme: str, width: int) -> None:
    """Nothing is wider than the screen, and texts can be read on their colours."""
    text = "Ana flies to Lisbon. " + "x" * 300
    site.end(f"{'long' * 30}.txt", text, entity(text, "Ana", "guest"), entity(text, "x" * 300, "noise"))
    site.page.set_viewport_size({"width": width, "height": 700})
    site.page.emulate_media(color_scheme=scheme)
    page = site.open()
    page.get_by_role("link", name="long").wait_for()
    overflow = "document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth"
    assert page.evaluate(overflow) <= 0
    page.get_by_role("link", name="long").click()
    site.arrive()
    assert page.evaluate(overflow) <= 0
    assert contrast(page, "mark") >= 4.5
    assert contrast(page, "body") >= 7


def contrast(page: Any, selector: str) -> float:
    """Return the least contrast of text and ground of some elements, as WCAG 2 counts it (1 to 21)."""
    ratio: float = page.evaluate(
        """(selector) => {
            const light = (colour) => {
                const [red, green, blue] = colour.match(/[\\d.]+/g).slice(0, 3).map((value) => {
                    const part = value / 255;
                    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
                });
                return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
            };
            return Math.min(...[...document.querySelectorAll(selector)].map((element) => {
                const style = getComputedStyle(element);
                const [more, less] = [light(style.color), light(style.backgroundColor)].sort((a, b) => b - a);
                return (more + 0.05) / (less + 0.05);
            }));
        }""",
        selector,
    )
    return ratio


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_that_shuts_anybody_out(site: Site, scheme: str) -> None:
    """Names, roles, contrast and order, as far as axe-core can tell."""
    from axe_playwright_python.sync_playwright import Axe

    text = "Ana flies to Lisbon."
    site.end("a.txt", text, entity(text, "Ana", "guest"), entity(text, "Lisbon", "city"))
    site.upload("new.txt", b"x")
    # The page's policy keeps axe-core out as well.
    with site.page.context.browser.new_context(bypass_csp=True, color_scheme=scheme) as context:
        page = context.new_page()
        for path in ("/", "/file?name=a.txt", "/file?name=new.txt"):
            page.goto(site.url + path)
            found = Axe().run(page)
            assert found.violations_count == 0, found.generate_report()


def test_the_samples_make_the_picture_of_the_readme(site: Site, request: pytest.FixtureRequest) -> None:
    """The page with the samples on it; `make screenshot` puts the picture where the README shows it."""
    site.host()
    page = site.open()
    samples = sorted(SAMPLES.iterdir())
    page.locator("#pick").set_input_files(samples)
    page.get_by_text(f"{len(samples)} of {len(samples)} done").wait_for()
    page.locator("#categories", has_text=f"In {len(samples)} outcomes").wait_for()
    page.locator("#said").evaluate("element => { element.textContent = ''; }")
    picture = STATE / "screenshots" / "list.png"
    page.screenshot(path=picture)
    page.get_by_role("link", name="night-log.md").click()
    site.arrive()
    picture = STATE / "screenshots" / "page.png"
    page.screenshot(path=picture)
    if request.config.getoption("--screenshot"):
        for name in ("list.png", "page.png"):
            shutil.copy(STATE / "screenshots" / name, ROOT / "docs" / name)


def test_a_page_with_a_token_works_and_other_ports_do_not_learn_it(
    browser: Any, azurite: Azurite, values: dict[str, str], blobs: BlobServiceClient
) -> None:
    """Of an account that others on this machine cannot read. A server on another port is the same site."""
    asked: list[dict[str, str]] = []

    class Other(QuietHandler):
        """A server of another user of this machine."""

        def do_GET(self) -> None:  # noqa: N802  # the name that the base class calls
            """Note the request; respond with a page that asks for more."""
            asked.append({"path": self.path, **{name.lower(): value for name, value in self.headers.items()}})
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>Other</title><img src=/image.png><a href=/again>again</a>")

    settings = Settings.from_environ(values)
    create_containers_and_queues(settings)
    signature = generate_account_sas(
        ACCOUNT,
        azurite.key,
        ResourceTypes(service=True, container=True, object=True),
        AccountSasPermissions(read=True, write=True, list=True, create=True, add=True),
        datetime.now(UTC) + timedelta(hours=1),
    )
    signed = re.sub(r"AccountName=.*?AccountKey=[^;]*;", "", azurite.connection_string)
    values = {**values, "NER_STORAGE": f"{signed}SharedAccessSignature={signature}"}
    served, url = start_page(values, LOGS / "page-token.log", free_port())
    with served, serving(Other) as other, browser.new_context() as context:
        token = urlsplit(url).path.strip("/")
        assert len(token) > 20
        context.set_default_timeout(PATIENCE_MILLISECONDS)
        page = context.new_page()
        page.goto(url)
        page.locator("#pick").set_input_files([{"name": "a.txt", "mimeType": "text/plain", "buffer": b"A table."}])
        page.get_by_role("link", name="a.txt", exact=True).click()
        page.get_by_role("heading", name="a.txt").wait_for()
        page.locator("#back").click()
        page.get_by_role("link", name="a.txt", exact=True).wait_for()
        assert page.url == url
        assert not context.cookies()
        # A link on the page leads there, and a link there leads on.
        page.evaluate("url => { location.href = url; }", other)
        page.get_by_role("link", name="again").click()
        page.wait_for_url("**/again")
    assert {request["path"] for request in asked} >= {"/", "/again", "/image.png"}
    assert token not in str(asked)
    assert "a.txt" in {blob.name for blob in blobs.get_container_client(settings.input_container).list_blobs()}
