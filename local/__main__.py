"""`python -m local`: see local/cli.py."""

import sys

from local.install import InstallError, check_system

try:
    check_system()
except InstallError as error:
    sys.exit(str(error))

# Not before the check: much of what this imports does not exist on Windows.
from local.cli import main

main("python -m local")
