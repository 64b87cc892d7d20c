"""Files that their owner alone can read, whatever the umask is: they may hold texts, keys or tokens."""

import os
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

PRIVATE_UMASK: Final = 0o077


def open_private(path: Path) -> BinaryIO:
    """Open a file for writing, empty, that its owner alone can read, even if an older version made it for all."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with suppress(OSError):  # some file systems have no modes
        os.fchmod(descriptor, 0o600)
    return os.fdopen(descriptor, "wb")
