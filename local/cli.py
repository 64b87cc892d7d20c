"""The command line. Each command is a function of local/commands/, named as it is called."""

import typer

from local.commands import labels, operating, page, results, running

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
COMMANDS = (
    *(running.run, running.start, running.drop),
    *(operating.status, operating.redrive),
    *(page.view, results.show, results.export),
    labels.evaluate,
)
for command in COMMANDS:
    app.command()(command)
