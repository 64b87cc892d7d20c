"""Azurite, the storage emulator, as a child process."""

import base64
import fcntl
import os
import secrets
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from local.children import Child, ChildError
from local.install import AZURITE_NODE_MODULES, AZURITE_PACKAGE, OWN_AZURITE, ROOT, node_command
from local.proxies import LOOPBACK, exempt_loopback

BLOB_PORT: Final = 10000
PORTS_COUNT: Final = 3
LAST_TO_LISTEN: Final = b"Azurite Table service is successfully listening"
"""In its log. A port that takes connections would not do: the server on it may be another process's."""
LOADED_FIRST: Final = ("stop_with_parent.cjs", "indexes.cjs")
"""What Node.js loads before Azurite."""
STOP_SECONDS: Final = 10.0
"""How long an Azurite whose parent was killed may take to write its data and to end."""

ACCOUNT: Final = "devstoreaccount1"
KEY_FILE: Final = ".key"
"""Within the data folder: the account's key, for its owner alone. Azurite checks no host names, so with the published
key of the emulator, any web page could have its own name lead to this machine and read the files."""
KEY_BYTES: Final = 64
OWN_ACCOUNTS: Final = "AZURITE_ACCOUNTS"
"""The environment variable from which Azurite takes accounts and keys."""


class DataInUseError(ChildError):
    """Another Azurite works on the data folder; two of them would overwrite each other's files."""


def is_azurite(connection_string: str | None) -> bool:
    """Return whether a connection string is that of an emulator's account on this machine, with the account's key."""
    pairs = (part.partition("=") for part in (connection_string or "").split(";"))
    fields = {name.strip().lower(): value.strip() for name, _, value in pairs}
    if fields.get("usedevelopmentstorage") == "true":
        return "developmentstorageproxyuri" not in fields
    endpoints = [urlsplit(fields.get(f"{service}endpoint", "")) for service in ("blob", "queue")]
    return (
        fields.get("accountname") == ACCOUNT
        and "accountkey" in fields
        and all(endpoint.hostname in LOOPBACK and endpoint.path.strip("/") == ACCOUNT for endpoint in endpoints)
    )


def kept_key(data: Path) -> str:
    """Return the account's key that is kept in a data folder; make one if there is none."""
    file = data / KEY_FILE
    try:
        key = file.read_text(encoding="ascii").strip()
        if len(base64.b64decode(key, validate=True)) == KEY_BYTES:
            return key
    except (FileNotFoundError, ValueError):
        pass
    key = new_key()
    file.unlink(missing_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as written:
        written.write(key)
    return key


def new_key() -> str:
    """Return a random key of an account."""
    return base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()


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
            self.key = new_key() if data is None else kept_key(data)
            environ = {**os.environ, OWN_ACCOUNTS: f"{ACCOUNT}:{self.key}"}
            # The process inherits the lock, which then lasts exactly as long as it works on the data.
            super().__init__("Azurite", command, log, environ=environ, cwd=ROOT, keep_open=lock)
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
            f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={self.key};"
            f"BlobEndpoint=http://127.0.0.1:{blob}/{ACCOUNT};QueueEndpoint=http://127.0.0.1:{queue}/{ACCOUNT};"
            f"TableEndpoint=http://127.0.0.1:{table}/{ACCOUNT};"
        )


def azurite_program() -> Path:
    """Return the path of Azurite's program: the one that NER_AZURITE names, else the one in .local.

    Raises:
        ChildError: there is no such file.
    """
    own = os.environ.get(OWN_AZURITE)
    if not own:
        program = AZURITE_NODE_MODULES / "azurite" / "dist" / "src" / "azurite.js"
        if not program.is_file():
            raise ChildError(
                f"Azurite is not installed: run 'make setup', or set {OWN_AZURITE} to the path of 'azurite'."
            )
        return program
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
