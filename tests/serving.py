"""A small HTTP server of a test's own, for what the app calls besides storage and the service."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class QuietHandler(BaseHTTPRequestHandler):
    """Answers requests without a line for each."""

    def log_message(self, *_arguments: Any) -> None:
        """Keep quiet."""


@contextmanager
def serving(handler: type[QuietHandler]) -> Iterator[str]:
    """Serve on this machine until the block ends; yield the address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
