"""Opens the page in the browser without its token on a command line, which every user of the machine can read."""

import html
import webbrowser
from pathlib import Path

from local.private_files import open_private

LEADS_TO = '<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0; url={url}"><title>NER</title>'


def open_in_browser(url: str, folder: Path) -> None:
    """Open a URL by a file of the folder that leads there and that its owner alone can read."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "open-page.html"
    with open_private(path) as file:
        file.write(LEADS_TO.format(url=html.escape(url)).encode())
    webbrowser.open(path.as_uri())
