"""What keeps the project small and deployable: one-way dependencies, short modules, a README that tells the truth."""

import ast
import re
import sys
from pathlib import Path

import msgspec
import pytest

from local.app_settings import SAMPLE, read_values
from local.install import ROOT
from shared import outcome as outcomes
from shared.outcome import Outcome
from shared.settings import Settings

DEPLOYED = [ROOT / "function_app.py", *sorted((ROOT / "shared").rglob("*.py"))]
SOURCES = [*DEPLOYED, *sorted((ROOT / "local").rglob("*.py")), *sorted((ROOT / "benchmarks").rglob("*.py"))]
LONGEST_MODULE = 300
PURE = [
    ROOT / "shared" / "message.py",
    ROOT / "shared" / "precedence.py",
    ROOT / "shared" / "pipeline" / "decisions.py",
    *sorted((ROOT / "shared" / "state").glob("*.py")),
]
IMPURE = {"asyncio", "azure", "httpx", "logging", "os", "random", "time"}


def imported(path: Path) -> set[str]:
    """Return the modules that a file imports, wherever in the file."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


@pytest.mark.parametrize("path", DEPLOYED, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_deployed_code_imports_only_what_is_deployed(path: Path) -> None:
    """Nothing of local/, tests/ or requirements-dev.txt is there on the Function App."""
    requirements = re.findall(r"^([a-z-]+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    deployed = {name.replace("-", ".") for name in requirements} | {"azure.core", "opentelemetry", "shared"}
    for name in imported(path):
        if name.split(".")[0] not in sys.stdlib_module_names:
            assert any(name == allowed or name.startswith(f"{allowed}.") for allowed in deployed), name


@pytest.mark.parametrize("path", DEPLOYED, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_dependencies_go_one_way(path: Path) -> None:
    """function_app -> pipeline -> storage -> documents, outcome, message, state, ner -> settings -> api_versions."""
    used = {name for name in imported(path) if name.startswith("shared")}
    part = path.relative_to(ROOT).parent.name
    if path.name == "settings.py":
        assert used == {"shared.api_versions"}
    if path.name == "api_versions.py":
        assert not used
    if path.name != "function_app.py" and part != "pipeline":
        assert not {name for name in used if name.startswith("shared.pipeline")}
    if part not in ("pipeline", "storage"):
        assert not {name for name in used if name.startswith("shared.storage")}
    if part == "ner":
        assert all(name.startswith("shared.ner") or name in ("shared.settings", "shared.api_versions") for name in used)


@pytest.mark.parametrize("path", PURE, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_decisions_are_pure(path: Path) -> None:
    """What is to be done, and what is remembered, is decided without I/O, and without a clock of its own."""
    assert not {name.split(".")[0] for name in imported(path)} & IMPURE
    nodes = list(ast.walk(ast.parse(path.read_text())))
    assert not [node for node in nodes if isinstance(node, (ast.AsyncFunctionDef, ast.Await))]
    calls = [ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)]
    assert not [call for call in calls if call.endswith((".now", ".utcnow", ".today"))]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_modules_stay_short(path: Path) -> None:
    """A module that grows past this has two ideas in it."""
    assert len(path.read_text().splitlines()) <= LONGEST_MODULE


def test_the_readme_lists_every_setting_with_its_default() -> None:
    """The table and the sample name the same settings, and the app has the defaults that the table says."""
    table = dict(re.findall(r"^\| `(\w+)` \| .* \| ([^|]+) \|$", (ROOT / "README.md").read_text(), re.MULTILINE))
    sample = read_values(SAMPLE)
    del sample["FUNCTIONS_WORKER_RUNTIME"]
    rows = {name: default for name, default in table.items() if name in sample or name.startswith("NER_")}
    assert set(rows) == set(sample)
    defaults = {
        name: text.strip("`") for name, text in rows.items() if text.startswith("`") and not text.startswith("`v")
    }
    assert len(defaults) >= 10
    without = {name: value for name, value in sample.items() if name not in defaults}
    assert Settings.from_environ(without) == Settings.from_environ(without | defaults)


def test_the_page_on_scale_quotes_what_was_measured() -> None:
    """Its table is the one at the beginning of the report that `make bench` writes."""
    page = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    section = page.partition("\n## What was measured\n")[2].partition("\n## ")[0]
    report = (ROOT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")
    table = report.partition("\n## In short\n")[2].partition("\n## ")[0].strip()
    assert len(table.splitlines()) > 8
    assert f"\n\n{table}\n" in section


def test_the_readme_shows_an_outcome_as_the_app_writes_it() -> None:
    """Every name is there and every place fits the text above it."""
    blocks = dict(re.findall(r"```(text|json)\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[:2])
    outcome = msgspec.json.decode(blocks["json"], type=Outcome)
    assert msgspec.json.decode(outcomes.encode(outcome)) == msgspec.json.decode(blocks["json"])
    assert outcome.source.length == len(blocks["text"].encode())
    for entity in outcome.documents[0].entities:
        assert blocks["text"][entity.offset : entity.offset + entity.length] == entity.text
