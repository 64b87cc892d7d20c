"""Which names are refused, wherever they come from, and that no entrance is missing from the table."""

import ast
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from unittest.mock import Mock

import msgspec
import pytest
import typer

from local.cli import app as cli
from local.files import why_skipped
from local.install import ROOT
from local.view.app import View
from shared.message import FileMessage, MessageError, decode_message, encode_message
from shared.names import RefusedNameError, check_name, why_refused
from shared.source import Source
from tests.hostile import ACCEPTED, BUILDERS, ENTRANCES, REFUSED
from tests.unit.test_messages import BATCH_MESSAGE, FILE_MESSAGE, changed

NOW = datetime(2026, 1, 2, tzinfo=UTC)
OWN_FILES: Final = ("/libraries/htmx.js", "/libraries/idiomorph.js", "/libraries/chart.js", "/static")
"""Addresses of the page that take nothing from outside but a path."""
ALWAYS_BY_NAME: Final = ("get_blob_client", "from_blob_url", "delete_blobs")
BY_NAME: Final = ("upload_blob", "download_blob", "delete_blob")
"""Methods of a container's client that take a blob's name. Those of a blob's client take none."""
BLOBS: Final = ("client", "receipt")
"""Names of blobs' clients that do not end in `blob`."""


@pytest.mark.parametrize("name", REFUSED)
def test_a_hostile_name_is_refused_by_each_type(name: str, tmp_path: Path) -> None:
    """Whatever makes one of them, and wherever it was read."""
    assert why_refused(name)
    assert why_refused(name).isprintable()
    with pytest.raises(RefusedNameError):
        check_name(name)
    with pytest.raises(RefusedNameError):
        FileMessage(file=name)
    with pytest.raises(RefusedNameError):
        Source("incoming", name, "0x1", NOW, 1)
    assert why_skipped(name, tmp_path)


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize(
    ("message", "path"),
    [(FILE_MESSAGE, "file"), (BATCH_MESSAGE, "record.members.0.source.name")],
    ids=["file", "batch"],
)
def test_a_message_about_a_hostile_name_is_refused(message: FileMessage, path: str, name: str) -> None:
    """The error does not repeat the name."""
    with pytest.raises(MessageError) as caught:
        decode_message(changed(message, path, name), "incoming")
    assert str(caught.value).isprintable()
    assert "payroll" not in str(caught.value)


@pytest.mark.parametrize("name", ACCEPTED)
def test_an_odd_name_is_accepted(name: str) -> None:
    """As many as possible: a refused file has no outcome."""
    assert not why_refused(name)
    message = FileMessage(file=name)
    assert decode_message(encode_message(message)) == message


def test_a_version_cannot_get_a_hostile_name_later() -> None:
    """Nor by a copy."""
    with pytest.raises(RefusedNameError):
        msgspec.structs.replace(Source("incoming", "a.txt", "0x1", NOW, 1), name="../a.txt")


def test_no_entrance_is_missing_from_the_table() -> None:
    """Triggers, addresses of the page and commands."""
    app = ast.parse((ROOT / "function_app.py").read_text())
    functions = [node for node in ast.walk(app) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    triggers = {f"trigger {function.name}" for function in functions if is_registered(function)}
    account: Any = Mock()
    account.settings.max_blob_bytes = 1
    service: Any = View(account).app.app
    page = {f"page {route.path}" for route in service.routes} - {f"page {path}" for path in OWN_FILES}
    commands = {f"ner {command.name}" for command in typer.main.get_group(cli).commands.values()}
    assert triggers | page | commands == ENTRANCES.keys()


def is_registered(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Return whether a function is decorated by the function app, as each trigger is."""
    return any(ast.unparse(decorator).startswith("app.") for decorator in function.decorator_list)


def test_no_builder_of_a_url_is_missing_from_the_table() -> None:
    """In the app and in its tools, each maker of a blob's client has a name that cannot lead elsewhere."""
    found = set()
    for path in sorted([ROOT / "function_app.py", *(ROOT / "shared").rglob("*.py"), *(ROOT / "local").rglob("*.py")]):
        found |= {f"{path.relative_to(ROOT).as_posix()} {name}" for name in builders(ast.parse(path.read_text()))}
    assert found == BUILDERS.keys()


@pytest.mark.parametrize(
    "code",
    [
        "return account.blobs.get_blob_client('incoming', name)",
        "make = account.blobs.get_blob_client",
        "return self.container.upload_blob(name, b'')",
        "await self.inputs.download_blob(name)",
        "blobs.get_container_client('incoming').delete_blob(name)",
        "container.delete_blobs(*names)",
        "BlobClient.from_blob_url(url)",
        "BlobClient(url, 'incoming', name)",
        "return [lambda: container.get_blob_client(name)]",
    ],
)
def test_each_way_to_make_a_url_is_found(code: str) -> None:
    """Whatever the SDK offers, also outside of functions."""
    assert builders(ast.parse(f"async def make(name):\n    {code}")) == {"make"}
    assert builders(ast.parse(f"class Maker:\n    async def make(self, name):\n        {code}")) == {"make"}
    if "await" not in code and "return" not in code:
        assert builders(ast.parse(code)) == {""}


def builders(tree: ast.AST, function: str = "") -> set[str]:
    """Return the functions that make the client of a blob, or call one; empty is the name of a module's own code."""
    found = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            found |= builders(node, node.name)
            continue
        if isinstance(node, ast.Attribute):
            if node.attr in ALWAYS_BY_NAME or (node.attr in BY_NAME and not is_blob(node.value)):
                found.add(function)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "BlobClient":
            found.add(function)
        found |= builders(node, function)
    return found


def is_blob(node: ast.expr) -> bool:
    """Return whether the object of a call is the client of a blob, not that of a container: it is known by its name."""
    name = ast.unparse(node).partition("(")[0].rpartition(".")[2]
    return name.endswith("blob") or name in BLOBS
