"""Azurite, the storage emulator: started on the usual ports, or on free ones where those are taken."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from local.children import Child, accepts_connections, free_port
from local.install import AZURITE_NODE_MODULES, AZURITE_PACKAGE, ROOT, node_command

BLOB_PORT: Final = 10000
QUEUE_PORT: Final = 10001
TABLE_PORT: Final = 10002

# Published by Microsoft for every installation of the emulator; it opens nothing else.
ACCOUNT: Final = "devstoreaccount1"
KEY: Final = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


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
        data: Path | None = None,
        ports: tuple[int, int, int] | None = None,
        access_log: bool = False,
        options: Sequence[str] = (),
    ) -> None:
        """Start it and wait until it answers.

        Args:
            log: file for what it prints.
            data: folder that keeps the data; None keeps it in memory until the process ends.
            ports: of the blob, queue and table service; None takes the usual ones, or free ones.
            access_log: whether a line for each call is among what it prints.
            options: more of its own.

        Raises:
            ChildError: it did not come up.
        """
        self.ports = ports or (free_port(BLOB_PORT), free_port(QUEUE_PORT), free_port(TABLE_PORT))
        where = ["--inMemoryPersistence"] if data is None else ["--location", str(data)]
        if data is not None:
            data.mkdir(parents=True, exist_ok=True)
        services = [
            option
            for service, port in zip(("blob", "queue", "table"), self.ports, strict=True)
            for option in (f"--{service}Host", "127.0.0.1", f"--{service}Port", str(port))
        ]
        command = [
            *node_command(Path(sys.prefix)),
            "--require",
            str(AZURITE_PACKAGE / "stop_with_parent.cjs"),
            str(AZURITE_NODE_MODULES / "azurite" / "dist" / "src" / "azurite.js"),
            # The SDK speaks newer API versions than Azurite lists; --loose takes the parameters that came with them.
            *("--skipApiVersionCheck", "--disableTelemetry", *([] if access_log else ["--silent"]), "--loose"),
            *where,
            *services,
            *options,
        ]
        super().__init__("Azurite", command, log, environ=os.environ, cwd=ROOT)
        try:
            self.wait_until(lambda: all(accepts_connections(port) for port in self.ports))
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
