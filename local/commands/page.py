"""`view` serves the page for any account; `start` does so too."""

import json
import os
import socket
from typing import Annotated

import typer
import uvicorn

from local import stack
from local.account import Account, chosen_values, opened
from local.children import stop_with_parent
from local.commands.common import flag, running_app, sentences_for_errors
from local.files import FilesError
from local.install import STATE
from local.storage_emulator import is_azurite
from local.terminal import console, tell
from local.view.access import forwarded_hosts, new_token, page_url
from local.view.app import View
from local.view.opening import open_in_browser


def view(
    *,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 selects a free one.")
    ] = stack.PAGE_PORT,
    browser: Annotated[bool, flag("--open", "Open the page in the browser.")] = False,
    exit_with_stdin: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Serve a web page to drop files on, watch their progress and read their entities.

    The storage account is the one that NER_STORAGE names in the environment,
    else that of 'make start' while it runs, else the one in
    local.settings.json. Unless it is the local storage emulator, the URL
    contains a token. Keep the URL secret: anyone who has it can read and drop
    files with your access rights.

    Examples:

      ner view --open

      NER_STORAGE__accountName=ACCOUNT ner view --port 8000
    """
    if exit_with_stdin:
        stop_with_parent()
    with sentences_for_errors():
        running = running_app()
        if (
            running
            and port == stack.PAGE_PORT
            and not exit_with_stdin
            and chosen_values(os.environ, running.values) == running.values
        ):
            console.print(f"The page is at {running.page}\n'make start' serves it.", highlight=False, soft_wrap=True)
            if browser:
                open_in_browser(running.page, STATE)
            return
        with opened(running.values if running else None) as account:
            serve(account, port, browser=browser, exit_with_stdin=exit_with_stdin)


def serve(account: Account, port: int, *, browser: bool, exit_with_stdin: bool) -> None:
    """Serve the page for an account until Ctrl-C; raises FilesError if the port cannot be used."""
    try:
        listening = socket.create_server(("127.0.0.1", port))
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise FilesError(f"Port {port} cannot be used ({reason}): choose another with --port") from None
    token = None if is_azurite(account.settings.storage.connection_string) else new_token()
    port = listening.getsockname()[1]
    url = page_url(port, token)
    page = View(account, token=token, hosts=forwarded_hosts(os.environ, port))
    if exit_with_stdin:
        tell(json.dumps({"url": url}))  # for the process that started this one
    else:
        console.print(f"The page is at {url}\nPress Ctrl-C to stop it.", highlight=False, soft_wrap=True)
    if browser:
        open_in_browser(url, STATE)
    config = uvicorn.Config(page.app, log_level="warning", access_log=False, timeout_graceful_shutdown=2)
    uvicorn.Server(config).run(sockets=[listening])
