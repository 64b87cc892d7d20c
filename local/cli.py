"""The command line. Each command is a function of local/commands/, named as it is called."""

import tomllib
from typing import Annotated

import typer

from local.commands import labels, operating, page, results, running
from local.install import ROOT

HELP = """Drop text files, watch their progress and read their entities, on this machine or on Azure.

Start with 'ner start' or 'ner run'. The other commands work on any storage
account, except 'evaluate', which needs none.
"""

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help=HELP)
COMMANDS = (
    *(running.run, running.start, running.drop),
    *(operating.status, operating.redrive),
    *(page.view, results.show, results.export),
    labels.evaluate,
)
for command in COMMANDS:
    app.command()(command)


def version() -> str:
    """Return the version of this project."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["version"])


def print_version(wanted: bool) -> None:
    """Print the version and exit, if that is wanted."""
    if wanted:
        typer.echo(f"ner {version()}")
        raise typer.Exit


@app.callback()
def options(
    *,
    _version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Hold the options of `ner` itself."""
