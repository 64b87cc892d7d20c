"""The command line. Each command is a function of local/commands/, named as it is called."""

import typer

from local import terminal
from local.commands import checking, labels, operating, page, results, running, version
from local.completion import protect_completion
from local.proxies import exempt_loopback

HELP = """Drop text files, watch their progress and read their entities, on this machine or on Azure.

Start with 'ner start' or 'ner run'. The other commands work on any storage
account, except 'evaluate', which needs none.
"""

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help=HELP)
COMMANDS = (
    *(running.run, running.start, running.drop),
    *(checking.check, operating.status, operating.redrive),
    *(page.view, results.show, results.export),
    labels.evaluate,
)
app.callback()(version.options)
for command in COMMANDS:
    app.command()(command)


def main(name: str) -> None:
    """Run the command line under the name that it was called by."""
    terminal.prepare()
    exempt_loopback()
    command = typer.main.get_command(app)
    protect_completion()
    command(prog_name=name)
