"""Which `func` hosts the app: Azure Functions Core Tools, and nothing else that is called so."""

from pathlib import Path

import pytest

from local import stack
from local.children import ChildError
from local.stack import CORE_TOOLS, find_core_tools


@pytest.fixture
def func(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only `func` on the PATH, not written yet."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv(CORE_TOOLS, raising=False)
    return tmp_path / "func"


def write(func: Path, text: str) -> Path:
    """Write a program."""
    func.write_text(text)
    func.chmod(0o755)
    stack.is_core_tools.cache_clear()
    return func


@pytest.mark.parametrize("version", ["4.0.5455", "4.6.0", "A new version is there.\n4.0.7030"])
def test_core_tools_are_found(version: str, func: Path) -> None:
    """By their version, whatever else they say."""
    write(func, f"#!/bin/sh\ncat <<'END'\n{version}\nEND\n")
    assert find_core_tools() == str(func)


@pytest.mark.parametrize(
    "text",
    [
        "#!/bin/sh\necho v1.16.1\n",
        "#!/bin/sh\necho 3.0.4484\n",
        "#!/bin/sh\necho 4.0.5455; exit 127\n",
        "#!/nowhere/node\n",
        "MZ\x00",
    ],
)
def test_another_func_is_ignored(text: str, func: Path) -> None:
    """Knative's, an old one, or a Windows program that WSL puts on the PATH."""
    write(func, text)
    assert find_core_tools() is None


def test_they_can_be_switched_off_or_named(func: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment has the last word."""
    write(func, "#!/bin/sh\necho 4.0.5455\n")
    monkeypatch.setenv(CORE_TOOLS, "off")
    assert find_core_tools() is None
    own = write(tmp_path / "own func", "#!/bin/sh\necho 4.0.1\n")
    monkeypatch.setenv(CORE_TOOLS, str(own))
    assert find_core_tools() == str(own)
    monkeypatch.setenv(CORE_TOOLS, str(tmp_path / "nowhere"))
    with pytest.raises(ChildError, match=r"NER_CORE_TOOLS names .*nowhere, which is not"):
        find_core_tools()
