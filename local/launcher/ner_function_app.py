"""The command `ner` as pip installs it. It runs the command line of a clone, and works only if pip was given `-e`.

This is the only module that a wheel contains: the names of the packages of this project, such as `shared` and `local`,
are too common to be put where other projects can import them. `make setup` installs a launcher of its own, which needs
no build tools and also works after the clone was moved (`local/install.py`).
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NO_CLONE = (
    "ner: the program is not here, because it was installed without -e. Clone the repository, then run 'make setup' or "
    "'pip install -e .' in the clone."
)


def main() -> None:
    """Run the command line of the clone that contains this file."""
    if not (ROOT / "function_app.py").is_file():
        sys.exit(NO_CLONE)
    sys.path.insert(0, str(ROOT))  # for this process only, and before other packages of the same names
    from local.cli import main as run

    run("ner")
