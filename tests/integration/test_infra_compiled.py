"""The templates, compiled: no warning, formatted, and what each documented choice of parameters deploys.

Needs a Bicep compiler: the one that BICEP names, else `bicep` on the PATH, else that of `az bicep install`. An empty
BICEP turns these tests off. After a change of the templates, run this module with WRITE_SNAPSHOTS=1 and review the
differences.
"""

import difflib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from local.install import ROOT
from shared.settings import Settings
from tests.integration.test_infra_queries import QUERIES, THRESHOLDS

INFRA = ROOT / "infra"
SNAPSHOTS = Path(__file__).with_name("snapshots")
IDS = {"subscription": "00000000-0000-0000-0000-000000000001", "tenant": "00000000-0000-0000-0000-000000000002"}
OPERATOR = "00000000-0000-0000-0000-000000000003"
GIVEN_ID = (
    "/subscriptions/00000000-0000-0000-0000-000000000009/resourceGroups/given/providers/"
    "Microsoft.CognitiveServices/accounts/language"
)
GIVEN: dict[str, Any] = {
    "environmentName": "test",
    "location": "westeurope",
    "projectName": "concierge",
    "deploymentName": "production",
    "languageResourceId": GIVEN_ID,
    "operatorId": OPERATOR,
}
CHOICES: dict[str, dict[str, Any]] = {
    "given": {},
    "lower-case": {"languageResourceId": GIVEN_ID.lower() + "/"},
    "new": {"languageResourceId": ""},
    "private": {"privateNetwork": True, "allowedAddresses": ["203.0.113.7"]},
    "private-new": {"privateNetwork": True, "languageResourceId": ""},
    "nobody": {"operatorId": "none"},
    "options": {
        "operatorType": "Group",
        "alertEmail": "operator@example.com",
        "alwaysReady": True,
        "maximumInstanceCount": 40,
        "instanceMemoryMB": 4096,
        "pythonVersion": "3.12",
        "eventTopicName": "made-by-defender",
    },
    "queue": {"blobTriggerSource": "EventGridQueue", "alwaysReady": True},
    "queue-topic": {"blobTriggerSource": "EventGridQueue", "eventTopicName": "made-by-defender"},
    "preview": {
        "loggingOptOut": True,
        "apiVersion": "v3.1-preview.ct.1",
        "modelId": "model",
        "documentLanguage": "de",
        "appSettings": {"NER_POLL_MAX_SECONDS": "30", "OTEL_TRACES_SAMPLER_ARG": "1", "NER_QUEUE": "ignored"},
    },
}
"""What differs from GIVEN, by the name of the file in snapshots/."""


def find_compiler() -> str | None:
    """Return the path of a Bicep compiler, if there is one."""
    named = os.environ.get("BICEP")
    if named is not None:
        return named or None
    installed = Path(os.environ.get("AZURE_CONFIG_DIR", Path.home() / ".azure")) / "bin" / "bicep"
    return shutil.which("bicep") or (str(installed) if installed.is_file() else None)


COMPILER = find_compiler()
pytestmark = [
    pytest.mark.skipif(COMPILER is None, reason="no Bicep compiler: set BICEP, or run az bicep install"),
    pytest.mark.timeout(1800),
]


def bicep(*arguments: str | Path, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run the compiler."""
    environ = {"DOTNET_SYSTEM_GLOBALIZATION_INVARIANT": "1"} | os.environ
    return subprocess.run(
        [str(COMPILER), *arguments], cwd=folder, env=environ, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("name", ["main", "subscription"])
def test_the_compiler_and_its_linter_have_nothing_to_say(name: str) -> None:
    """They exit with 0 if there are only warnings."""
    for arguments in (["build", "--stdout"], ["lint"]):
        result = bicep(arguments[0], INFRA / f"{name}.bicep", *arguments[1:])
        assert result.returncode == 0, result.stderr
        assert not re.findall(r".*\b(?:Warning|Error)\b.*", result.stderr)


def test_templates_are_formatted(tmp_path: Path) -> None:
    """They are as `bicep format` writes them."""
    copies = shutil.copytree(INFRA, tmp_path / "infra")
    assert bicep("format", "--pattern", "*.bicep", folder=copies).returncode == 0
    for path in sorted(INFRA.glob("*.bicep")):
        assert (copies / path.name).read_text() == path.read_text()


def literal(value: Any) -> str:
    """Return a value as a Bicep file has it."""
    if isinstance(value, dict):
        return "{\n" + "".join(f"  {key}: {literal(each)}\n" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(literal, value)) + "]"
    return f"'{value}'" if isinstance(value, str) else json.dumps(value)


def evaluate(folder: Path, parameters: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """Write main.snapshot.json: what the template deploys with these parameters."""
    using = Path(os.path.relpath(INFRA / "main.bicep", folder)).as_posix()
    lines = [f"using '{using}'", *(f"param {name} = {literal(value)}" for name, value in parameters.items())]
    (folder / "main.bicepparam").write_text("\n".join(lines))
    options = ["--mode", "overwrite", "--location", "westeurope", "--deployment-name", "test"]
    for name, value in IDS.items():
        options += [f"--{name}-id", value]
    return bicep("snapshot", folder / "main.bicepparam", *options, folder=folder)


@cache
def deployed(name: str) -> list[dict[str, Any]]:
    """Return the resources that the template deploys with one of the choices."""
    with TemporaryDirectory() as folder:
        result = evaluate(Path(folder), GIVEN | CHOICES[name])
        assert result.returncode == 0, result.stderr
        snapshot = json.loads((Path(folder) / "main.snapshot.json").read_text())
    assert snapshot["diagnostics"] == []
    resources: list[dict[str, Any]] = snapshot["predictedResources"]
    return resources


def flat(value: Any, path: str) -> Iterator[str]:
    """Yield a line for each value within a value."""
    if isinstance(value, dict) and value:
        for key in sorted(value):
            yield from flat(value[key], f"{path}.{key}" if path else key)
    elif isinstance(value, list) and value:
        for index, each in enumerate(value):
            yield from flat(each, f"{path}[{index}]")
    else:
        yield f"{path} = {json.dumps(value)}"


LEFT_OUT = re.compile(r"apiVersion|location|tags\..*|id|type|name|.*\.(?:query|serializedData|dependsOn)(?:\[.*)?")
"""Properties that other tests compare, or that say nothing about a choice."""


def lines_of(resources: list[dict[str, Any]]) -> list[str]:
    """Return what is compared: each resource, and its properties below it."""
    blocks = []
    for resource in resources:
        kind = resource["type"].removeprefix("Microsoft.")
        name = resource["name"]
        if kind == "Authorization/roleAssignments":
            properties = resource["properties"]
            on = re.sub(r"(/providers/Microsoft.Authorization/|', ').*|^.*?(?=/subscr)", "", resource["id"])
            name = f"{properties['roleDefinitionId'].rpartition('/')[2]} for {properties['principalType']} on {on}"
        lines = [line for line in flat(resource, "") if not LEFT_OUT.fullmatch(line.partition(" = ")[0])]
        blocks.append([shortened(f"{kind} {name}"), *sorted(f"  {shortened(line)}" for line in lines)])
    return [line for block in sorted(blocks) for line in block]


def shortened(line: str) -> str:
    """Return a line without the parts of ids that are the same everywhere."""
    line = re.sub(r"/subscriptions/[0-9]{8}-[0-9-]*1/(resourceGroups/rg-test/)?(providers/)?(Microsoft\.)?", "/", line)
    return re.sub(r"reference\('/ManagedIdentity[^)]*\)", "the app's identity", line)


@pytest.mark.parametrize("name", [name for name in CHOICES if name != "lower-case"])
def test_each_choice_deploys_what_its_snapshot_says(name: str) -> None:
    """The first snapshot is whole; those of the other choices are the differences from it."""
    found = lines_of(deployed(name))
    if name != "given":
        difference = difflib.unified_diff(lines_of(deployed("given")), found, n=0, lineterm="")
        found = [line for line in difference if not line.startswith(("---", "+++", "@@"))]
    snapshot = SNAPSHOTS / f"{name}.txt"
    if os.environ.get("WRITE_SNAPSHOTS"):
        snapshot.write_text("\n".join(found) + "\n")
    assert found == snapshot.read_text().splitlines()


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"languageResourceId": "https://language.cognitiveservices.azure.com/"}, "languageResourceId must be"),
        ({"languageResourceId": "language"}, "languageResourceId must be"),
        ({"apiVersion": "v3.1-preview.ct.1"}, "Set NER_MODEL_ID"),
    ],
)
def test_a_wrong_parameter_is_explained(parameters: dict[str, str], words: str, tmp_path: Path) -> None:
    """Before anything is deployed."""
    result = evaluate(tmp_path, GIVEN | parameters)
    output = result.stdout + result.stderr
    written = tmp_path / "main.snapshot.json"
    output += written.read_text() if written.is_file() else ""
    assert words in output


def test_ids_in_another_case_are_taken() -> None:
    """Some tools print them in lower case, or with a slash at the end."""
    found, given = (lines_of(deployed(name)) for name in ("lower-case", "given"))
    assert [line.lower() for line in found] == [line.lower() for line in given]


def test_rules_of_alerts_use_the_tested_queries_and_thresholds() -> None:
    """What test_infra_queries takes for the threshold is in the template, and new workspaces do not refuse a rule."""
    rules = [each for each in deployed("given") if each["type"] == "Microsoft.Insights/scheduledQueryRules"]
    (criteria,) = zip(*(rule["properties"]["criteria"]["allOf"] for rule in rules), strict=True)
    assert {each["query"] for each in criteria} == set(QUERIES.values())
    names = {query: name for name, query in QUERIES.items()}
    assert {names[each["query"]]: each["threshold"] for each in criteria if each["threshold"]} == THRESHOLDS
    assert all(rule["properties"]["skipQueryValidation"] for rule in rules)


@pytest.mark.parametrize("name", ["given", "private-new", "preview", "queue"])
def test_the_app_takes_its_settings(name: str) -> None:
    """Values that are known only during a deployment are replaced by an example."""
    (settings,) = [each for each in deployed(name) if each["name"].endswith("/appsettings")]
    values = {
        key: "https://example.com" if value.startswith("[") else value for key, value in settings["properties"].items()
    }
    read = Settings.from_environ(values)
    assert read.queue == "ner-jobs"
    assert read.blob_trigger_source == ("EventGridQueue" if name == "queue" else "EventGrid")
    assert read.logging_opt_out is (name == "preview")
    assert read.poll_max_seconds == (30 if name == "preview" else 60)
    assert read.model_id == ("model" if name == "preview" else "")
