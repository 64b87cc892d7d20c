"""`python -m local.host`: runs the function app of a folder with the app settings of the environment."""

import argparse
import asyncio
import logging
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from local.children import stop_with_parent
from local.host.configuration import LOG_FORMAT, MESSAGE_LEASE_SECONDS, HostConfiguration, HostError, read_host_json
from local.host.worker_process import WorkerProcess, start_worker
from local.host.workers import RESTART_SECONDS
from local.proxies import exempt_loopback

if TYPE_CHECKING:
    from local.host.listening import Options

log = logging.getLogger("host")

LOSSLESS, AS_RECORDED = "lossless", "as-recorded"


async def serve(options: "Options", configuration: HostConfiguration, worker: WorkerProcess) -> None:
    """Run the host until SIGTERM or SIGINT."""
    from local.host.listening import Host

    host = Host(options, os.environ, configuration)
    running = asyncio.create_task(host.run(worker))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, host.stop, running)
    try:
        await running
    except asyncio.CancelledError:
        log.debug("Some invocations had not ended")
    log.info("Stopped")


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m local.host", description="Run a function app with the app settings of the environment."
    )
    parser.add_argument(
        "--root", type=Path, default=Path.cwd(), help="folder of the function app (default: the current folder)"
    )
    parser.add_argument("--exit-with-stdin", action="store_true", help="stop when standard input ends")
    parser.add_argument("--port", type=int, help="port on 127.0.0.1 for the Event Grid webhook (default: no webhook)")
    parser.add_argument("--webhook-key", help="key that the webhook asks for as ?code= (default: none)")
    parser.add_argument(
        "--lease-seconds",
        type=int,
        default=MESSAGE_LEASE_SECONDS,
        help="seconds until the message of a killed host becomes visible again (default: 600, as in the host)",
    )
    parser.add_argument(
        "--scan",
        choices=(LOSSLESS, AS_RECORDED),
        default=AS_RECORDED,
        help="whether a scan misses a blob as old as the newest of the last scan, as the host does on a storage "
        f"emulator ({AS_RECORDED}, the default), or finds it ({LOSSLESS})",
    )
    parser.add_argument(
        "--stop-seconds",
        type=float,
        default=5.0,
        help="seconds that running invocations may take to end after SIGTERM (default: 5; about 40 in the host)",
    )
    parser.add_argument(
        "--restart-seconds",
        type=float,
        default=RESTART_SECONDS,
        help="seconds between two replacements of the worker process (default: 10, as in the host)",
    )
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Run the host; return the exit code of the process."""
    worker = start_worker(arguments.root)
    errors: list[BaseException] = []
    try:
        configuration = read_host_json(arguments.root / "host.json", os.environ)
        # Import this while the worker imports the app.
        from local.host.listening import Options

        options = Options(
            arguments.root,
            arguments.port,
            arguments.webhook_key,
            arguments.lease_seconds,
            arguments.stop_seconds,
            arguments.restart_seconds,
            arguments.scan == LOSSLESS,
        )
        asyncio.run(serve(options, configuration, worker))
    except* HostError as group:
        errors += leaves(group)
    finally:
        worker.kill()
    for error in errors:
        log.error("%s", error)
    return 1 if errors else 0


def leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    """Return the exceptions of a group and of the groups in it."""
    found: list[BaseException] = []
    for error in group.exceptions:
        found += leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


def main() -> int:
    """Parse the command line and run the host; return the exit code."""
    arguments = make_parser().parse_args()
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    # The Azure SDK logs every request at INFO, including its URL.
    logging.getLogger("azure").setLevel(logging.WARNING)
    if arguments.exit_with_stdin:
        stop_with_parent()
    exempt_loopback()
    log.info("This host emulator replaces the Azure Functions host in tests and for offline use.")
    return run(arguments)


if __name__ == "__main__":
    code = 1
    try:
        code = main()
    except Exception:  # noqa: BLE001  # a fault of this emulator
        traceback.print_exc()
    logging.shutdown()
    sys.stdout.flush()
    # The app's worker process has ended. Open connections need not be closed.
    os._exit(code)
