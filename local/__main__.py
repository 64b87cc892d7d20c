"""`python -m local`: see local/cli.py."""

from local.cli import app

app(prog_name="python -m local")
