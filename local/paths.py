"""Folders and files that a local run writes: in .local/, or in the folder that NER_LOCAL_STATE names.

Installed packages and trained models are not among them: every run of this clone shares those.
"""

import os
from pathlib import Path
from typing import Final

from local.install import ROOT
from local.install import STATE as INSTALLED

OVERRIDE: Final = "NER_LOCAL_STATE"
"""The environment variable; a relative path starts at the clone, so that child processes read it alike."""
STATE: Final = ROOT / os.environ[OVERRIDE] if os.environ.get(OVERRIDE) else INSTALLED

AZURITE_DATA: Final = STATE / "azurite"
LOGS: Final = STATE / "logs"
RESULTS: Final = STATE / "results"
RUNNING: Final = STATE / "running.json"
"""Written by `start` for commands in another terminal."""


def shown(path: Path) -> str:
    """Return a path as messages name it: relative to the current folder if it is inside."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
