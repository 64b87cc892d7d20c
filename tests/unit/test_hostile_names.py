"""Which names are refused, wherever they come from, and that no entrance is missing from the table."""

import ast
import re
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from local.cli import COMMANDS
from local.files import why_skipped
from local.install import ROOT
from shared.message import FileMessage, MessageError, decode_message, encode_message
from shared.names import RefusedNameError, check_name, why_refused
from shared.source import Source
from tests.hostile import ACCEPTED, BUILDERS, ENTRANCES, REFUSED
from tests.unit.test_messages import BATCH_MESSAGE, FILE_MESSAGE, changed

NOW = datetime(2026, 1, 2, tzinfo=UTC)


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
    functions = [node for node in ast.walk(app) if isinstance(node, ast.AsyncFunctionDef)]
    triggers = {f"trigger {function.name}" for function in functions if function.decorator_list}
    page = re.findall(r'Route\(\s*"(/[^"]*)"', (ROOT / "local" / "view" / "app.py").read_text())
    commands = {f"ner {command.__name__}" for command in COMMANDS}
    assert triggers | {f"page {path}" for path in page} | commands == ENTRANCES.keys()


def test_no_builder_of_a_url_is_missing_from_the_table() -> None:
    """In the app and in its tools, whoever makes a blob's client has a name that cannot lead elsewhere."""
    found = set()
    for path in sorted([*(ROOT / "shared").rglob("*.py"), *(ROOT / "local").rglob("*.py")]):
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)) and builds(function):
                found.add(f"{path.relative_to(ROOT).as_posix()} {function.name}")
    assert found == BUILDERS.keys()


def builds(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Return whether a function makes the client of a blob, itself rather than in a function within it."""
    stack: list[ast.AST] = list(function.body)
    while stack:
        node = stack.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            called = ast.unparse(node.func)
            if node.func.attr == "get_blob_client" or called == "container.upload_blob":
                return True
        stack.extend(ast.iter_child_nodes(node))
    return False
