"""Why files wait: what `run` shows of the host's log."""

from io import StringIO
from pathlib import Path

from rich.console import Console

from local.install import ROOT
from local.show_way import Reasons

BEGIN = "2026-11-25 17:20:03,194 WARNING ner: "
REASON = "retrying later, because a service call failed: ConnectError: Name or service not known"


def test_each_reason_is_shown_once(tmp_path: Path) -> None:
    """With the first file that it holds up, once its line is whole."""
    log, output = tmp_path / "host.log", StringIO()
    reasons = Reasons(Console(file=output, width=200))
    log.write_text(f"{BEGIN}'a.txt': submitted as job 1\n{BEGIN}'b [c].txt': {REASON}\n{BEGIN}'d.txt': {REASON[:20]}")
    reasons.show_new(log)
    assert output.getvalue() == f"  'b [c].txt': {REASON}\n"
    with log.open("a") as file:
        file.write(f"{REASON[20:]}\n{BEGIN}'a.txt': waiting until the app settings are fixed: 401: Access denied\n")
    reasons.show_new(log)
    reasons.show_new(log)
    assert output.getvalue().splitlines()[1:] == [
        "  'a.txt': waiting until the app settings are fixed: 401: Access denied"
    ]


def test_the_words_are_those_of_the_app() -> None:
    """Otherwise nothing would ever be shown."""
    app = (ROOT / "shared" / "pipeline" / "calling.py").read_text(encoding="utf-8")
    assert '"%s: retrying later, because a service call failed: %s"' in app
    assert '"%s: waiting until the app settings are fixed: %s"' in app
