"""Templates and workflow, scanned for what is open that could be closed, and checked against their published schemas.

The tools are in an environment of their own, since they want other versions of what the app uses.
"""

import json
import subprocess
from pathlib import Path

import pytest

from local.install import ROOT, STATE, environment_python, install_python_packages

# Installing the tools takes most of a minute, and several on a machine that is busy with other things.
pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def tools() -> Path:
    """The folder of the tools."""
    environment, requirements = STATE / "scans", ROOT / "infra" / "requirements.txt"
    install_python_packages(environment, ["--no-compile", "-r", str(requirements)], [requirements])
    return environment_python(environment).parent


def test_the_templates_leave_nothing_open(tools: Path) -> None:
    """But for what infra/.checkov.yaml names with its reason."""
    command = [
        str(tools / "python"),
        str(tools / "checkov"),
        "--config-file",
        "infra/.checkov.yaml",
        "--output",
        "json",
    ]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    found = json.loads(result.stdout)
    failed = [(check["check_id"], check["resource"]) for check in found["results"]["failed_checks"]]
    assert failed == []
    assert found["summary"]["parsing_errors"] == 0
    assert found["summary"]["passed"] > 20


def test_the_workflow_leaves_nothing_open(tools: Path) -> None:
    """No injection, no credentials that stay, no more permissions than are used."""
    result = subprocess.run(
        [tools / "zizmor", "--offline", "--no-progress", ".github"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("schema", "file"),
    [
        ("vendor.github-workflows", "workflows/azure-dev.yml"),
        ("vendor.dependabot", "dependabot.yml"),
        ("vendor.github-issue-forms", "ISSUE_TEMPLATE/bug.yml"),
        ("vendor.github-issue-forms", "ISSUE_TEMPLATE/feature.yml"),
        ("vendor.github-issue-config", "ISSUE_TEMPLATE/config.yml"),
    ],
)
def test_the_workflow_is_as_its_schema_has_it(schema: str, file: str, tools: Path) -> None:
    """And dependabot's settings, and the forms for issues."""
    command = [str(tools / "check-jsonschema"), "--builtin-schema", schema, f".github/{file}"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
