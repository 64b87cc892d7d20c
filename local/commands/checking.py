"""For an operator, after a deployment: does the app work?"""

import os
from collections.abc import Iterator, Mapping
from typing import Annotated, Final

import typer

from local.account import Account, chosen_values, open_account
from local.app_settings import wants_ner_emulator
from local.checks.finding import Clock, Finding, Verdict
from local.checks.service import WHAT as SERVICE
from local.checks.service import check_service
from local.checks.storage import check_storage, options_for
from local.checks.upload import WHAT as UPLOAD
from local.checks.upload import check_upload
from local.commands.common import running_values, sentences_for_errors
from local.storage_emulator import is_azurite
from local.terminal import console, say

STYLES: Final = {Verdict.OK: "green", Verdict.WRONG: "bold red", Verdict.NOT_CHECKED: "yellow"}
WIDTH: Final = max(len(verdict) for verdict in Verdict)


def check(
    *,
    seconds: Annotated[
        float, typer.Option(min=0, help="Stop waiting for the outcome after this many seconds.")
    ] = 300.0,
) -> None:
    """Check that a deployed app works: storage, service, clock, and one small file from upload to outcome.

    The storage account is the one that NER_STORAGE names in the environment,
    else that of 'make start' while it runs, else the one in
    local.settings.json. The service is asked directly too if NER_ENDPOINT is
    set in the same place. The service charges for two text records.

    The file and its outcome are deleted. The exit code is 1 if anything is
    wrong.

    Examples:

      ner check

      NER_STORAGE__accountName=ACCOUNT ner check --seconds 120
    """
    is_wrong = False
    with sentences_for_errors():
        values = chosen_values(os.environ, running_values())
        clock = Clock()
        with open_account(values, **options_for(clock)) as account:
            say(console, f"Storage account {account.blobs.primary_hostname}")
            for found in findings(account, values, clock, seconds):
                show(found)
                is_wrong = is_wrong or found.verdict is Verdict.WRONG
    say(console, "Something is wrong: see above." if is_wrong else "The app works.")
    raise typer.Exit(1 if is_wrong else 0)


def findings(account: Account, values: Mapping[str, str], clock: Clock, seconds: float) -> Iterator[Finding]:
    """Yield what each check finds; the file is uploaded only if nothing is wrong before."""
    is_wrong = False
    for found in early_findings(account, values, clock):
        is_wrong = is_wrong or found.verdict is Verdict.WRONG
        yield found
    if is_wrong:
        yield Finding(Verdict.NOT_CHECKED, UPLOAD, "No file was uploaded, because something is wrong already.")
    else:
        say(console, f"{'':{WIDTH}}  Waiting for the outcome of a small file, for at most {seconds:.0f} s ...")
        yield from check_upload(account, seconds)


def early_findings(account: Account, values: Mapping[str, str], clock: Clock) -> Iterator[Finding]:
    """Yield what can be found out without uploading a file."""
    yield from check_storage(account, clock)
    if is_service_known(account, values):
        yield from check_service(account.settings)
    else:
        fix = "To have it asked directly, set NER_ENDPOINT, NER_PROJECT_NAME and NER_DEPLOYMENT_NAME here too."
        said = "It was not asked directly, because NER_ENDPOINT is not set here. The upload asks it."
        yield Finding(Verdict.NOT_CHECKED, SERVICE, said, fix)


def is_service_known(account: Account, values: Mapping[str, str]) -> bool:
    """Return whether the settings name the service of the account's app, rather than the emulator of the sample."""
    is_local = is_azurite(account.settings.storage.connection_string)
    return is_local or "NER_ENDPOINT" in os.environ or not wants_ner_emulator(values)


def show(found: Finding) -> None:
    """Print a finding, and how to fix it below."""
    say(console, f"{found.verdict.value:{WIDTH}}  {found.what}: {found.said}", style=STYLES[found.verdict])
    if found.fix:
        say(console, f"{'':{WIDTH}}  -> {found.fix}")
