"""JSON of others that is nested without end gives the same error as JSON that is damaged."""

import ast
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from local.app_settings import AppSettingsError, read_values
from local.commands import common
from local.host.configuration import HostError, read_host_json
from local.install import ROOT
from local.ner.errors import ApiError
from local.ner.labels import LabelsError, read_labels_file
from local.ner.requests import decode
from local.ner.switches import Switches
from local.results import ResultError, decode_outcome
from local.terminal import is_json

DEEP = b"[" * 200_000
BODIES = (DEEP, b'{"x": ' + DEEP, b'{"x": ' + DEEP + b"]" * len(DEEP) + b"}")
OWN_JSON = {
    "local/stack.py",  # what a process of this program has written
    "local/watch.py",  # the outcome that the app has just written
}


@pytest.mark.parametrize(
    ("read", "error"),
    [
        (read_values, AppSettingsError),
        (read_labels_file, LabelsError),
        (read_host_json, HostError),
        (lambda path: decode_outcome("a.json", path.read_bytes()), ResultError),
        (lambda path: decode(path.read_bytes(), Switches), ApiError),
    ],
)
@pytest.mark.parametrize("body", BODIES, ids=["list", "cut", "whole"])
def test_deep_json_gives_a_sentence(
    read: Callable[[Path], Any], error: type[Exception], body: bytes, tmp_path: Path
) -> None:
    """One such outcome would end an export, and the whole page."""
    path = tmp_path / "deep.json"
    path.write_bytes(body)
    with pytest.raises(error):
        read(path)


@pytest.mark.parametrize("body", BODIES, ids=["list", "cut", "whole"])
def test_deep_json_is_none_where_there_may_be_none(
    body: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file of a running app, and a line of output."""
    path = tmp_path / "running.json"
    path.write_bytes(body)
    monkeypatch.setattr(common, "RUNNING", path)
    assert common.read_running() is None
    assert not is_json(body.decode())


def unguarded(path: Path) -> list[int]:
    """Return the lines of a module that decode JSON and let a RecursionError pass."""
    tree = ast.parse(path.read_text())
    guarded = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.Try)
        and any(
            handler.type is not None and re.search("JSON_ERRORS|RecursionError", ast.unparse(handler.type))
            for handler in node.handlers
        )
        for statement in node.body
        for inner in ast.walk(statement)
    }
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("json.loads", "json.load", "msgspec.json.decode")
        and id(node) not in guarded
    ]


@pytest.mark.parametrize("path", sorted((ROOT / "local").rglob("*.py")), ids=lambda path: path.stem)
def test_whoever_decodes_json_expects_all_its_errors(path: Path) -> None:
    """`hand_over` leaves them to its only caller."""
    name = path.relative_to(ROOT).as_posix()
    if name not in OWN_JSON:
        assert len(unguarded(path)) == (1 if name == "local/host/event_grid.py" else 0)
