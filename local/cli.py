"""The command line. Each command is a function of local/commands/, named as it is called."""

import sys
from io import TextIOWrapper

import typer

from local.commands import labels, operating, page, results, running
from local.proxies import exempt_loopback

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
COMMANDS = (
    *(running.run, running.start, running.drop),
    *(operating.status, operating.redrive),
    *(page.view, results.show, results.export),
    labels.evaluate,
)
for command in COMMANDS:
    app.command()(command)


def main(name: str) -> None:
    """Run the command line under the name that it was called by."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal or a pipe whose encoding lacks a letter gets a question mark instead of a traceback.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    exempt_loopback()
    app(prog_name=name)
