"""The templates and the workflow, scanned for what is open that could be closed (Checkov, in an environment of its own)."""

import json
import subprocess
from pathlib import Path

import pytest

from local.install import ROOT, STATE, environment_python, install_python_packages


@pytest.fixture(scope="module")
def checkov() -> list[str]:
    """The command."""
    environment, requirements = STATE / "checkov", ROOT / "infra" / "requirements.txt"
    install_python_packages(environment, ["-r", str(requirements)], [requirements])
    python = environment_python(environment)
    return [str(python), str(Path(python).parent / "checkov")]


@pytest.mark.parametrize(
    ("options", "least"),
    [
        pytest.param(["--config-file", "infra/.checkov.yaml"], 20, id="templates"),
        pytest.param(["--directory", ".github", "--framework", "github_actions", "--skip-download"], 10, id="workflow"),
    ],
)
def test_nothing_is_open_that_could_be_closed(options: list[str], least: int, checkov: list[str]) -> None:
    """But for what infra/.checkov.yaml names with its reason."""
    result = subprocess.run([*checkov, *options, "--output", "json"], cwd=ROOT, capture_output=True, check=False)
    found = json.loads(result.stdout)
    failed = [(check["check_id"], check["resource"]) for check in found["results"]["failed_checks"]]
    assert failed == []
    assert found["summary"]["parsing_errors"] == 0
    assert found["summary"]["passed"] >= least
