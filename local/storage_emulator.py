"""Azurite, the storage emulator, as a child process."""

import fcntl
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from local.children import Child, ChildError
from local.install import AZURITE_NODE_MODULES, AZURITE_PACKAGE, OWN_AZURITE, ROOT, node_command
from local.proxies import exempt_loopback

BLOB_PORT: Final = 10000
PORTS_COUNT: Final = 3
LAST_TO_LISTEN: Final = b"Azurite Table service is successfully listening"
"""In its log. A port that takes connections would not do: the server on it may be another process's."""
LOADED_FIRST: Final = ("stop_with_parent.cjs", "indexes.cjs")
"""What Node.js loads before Azurite."""
STOP_SECONDS: Final = 10.0
"""How long an Azurite whose parent was killed may take to write its data and to end."""

# Published by Microsoft for every installation of the emulator; it opens nothing else.
ACCOUNT: Final = "devstoreaccount1"
KEY: Final = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


class DataInUseError(ChildError):
    """Another Azurite works on the data folder; two of them would overwrite each other's files."""


def is_azurite(connection_string: str | None) -> bool:
    """Tell whether a connection string is that of the emulator."""
    return connection_string is not None and (
        "UseDevelopmentStorage=true" in connection_string or f"AccountName={ACCOUNT}" in connection_string
    )


class Azurite(Child):
    """A running Azurite with its three services."""

    def __init__(
        self,
        log: Path,
        *,
        ports: tuple[int, int, int],
        data: Path | None = None,
        access_log: bool = False,
        options: Sequence[str] = (),
    ) -> None:
        """Start it and wait until it answers.

        Args:
            log: file for what it prints.
            data: folder that keeps the data; None keeps it in memory until the process ends.
            ports: of the blob, queue and table service.
            access_log: whether a line for each call is among what it prints.
            options: more of its own.

        Raises:
            DataInUseError: another Azurite works on the data folder.
            ChildError: it did not come up.
        """
        exempt_loopback()
        self.ports = ports
        where = ["--inMemoryPersistence"] if data is None else ["--location", str(data)]
        services = [
            option
            for service, port in zip(("blob", "queue", "table"), self.ports, strict=True)
            for option in (f"--{service}Host", "127.0.0.1", f"--{service}Port", str(port))
        ]
        command = [
            *node_command(Path(sys.prefix)),
            *(f"--require={AZURITE_PACKAGE / script}" for script in LOADED_FIRST),
            str(azurite_program()),
            # The SDK speaks newer API versions than Azurite lists; --loose takes the parameters that came with them.
            *("--skipApiVersionCheck", "--disableTelemetry", *([] if access_log else ["--silent"]), "--loose"),
            *where,
            *services,
            *options,
        ]
        lock = () if data is None else (locked(data),)
        try:
            # The process inherits the lock, which then lasts exactly as long as it works on the data.
            super().__init__("Azurite", command, log, environ=os.environ, cwd=ROOT, keep_open=lock)
        finally:
            for descriptor in lock:
                os.close(descriptor)
        try:
            self.wait_until(lambda: LAST_TO_LISTEN in log.read_bytes())
        except BaseException:
            self.stop()
            raise

    @property
    def connection_string(self) -> str:
        """The connection string of its account."""
        blob, queue, table = self.ports
        return (
            f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};"
            f"BlobEndpoint=http://127.0.0.1:{blob}/{ACCOUNT};QueueEndpoint=http://127.0.0.1:{queue}/{ACCOUNT};"
            f"TableEndpoint=http://127.0.0.1:{table}/{ACCOUNT};"
        )


def azurite_program() -> Path:
    """Return the path of Azurite's program: the one that NER_AZURITE names, else the one in .local."""
    own = os.environ.get(OWN_AZURITE)
    if not own:
        return AZURITE_NODE_MODULES / "azurite" / "dist" / "src" / "azurite.js"
    program = Path(own).expanduser().resolve()
    if not program.is_file():
        raise ChildError(f"{OWN_AZURITE} names {own}, which is not a file: set it to the path of 'azurite'")
    return program


def locked(data: Path) -> int:
    """Return a descriptor that keeps other Azurites from a data folder until every process has closed it.

    Raises:
        DataInUseError: another Azurite works on it.
    """
    data.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(data / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + STOP_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() < deadline:
                time.sleep(0.1)
                continue
            os.close(descriptor)
            raise DataInUseError(
                f"Another process works on the stored files in {data}, perhaps a 'make start' that is starting or "
                "stopping. Wait for it or stop it, then run the same command again."
            ) from None
        except OSError:
            pass  # some network file systems have no locks
        return descriptor
