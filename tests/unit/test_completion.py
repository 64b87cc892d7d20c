"""Words that shells complete: those that a shell would take apart are left out."""

from unittest.mock import MagicMock

import pytest
from azure.storage.blob import BlobProperties
from typer._click.shell_completion import CompletionItem
from typer._completion_classes import ZshComplete

from local.commands import results
from local.completion import CarefulZsh


@pytest.mark.parametrize("name", ["a\\$(touch x).txt", "a\\`touch x`.txt", "a'b.txt", 'a"b.txt', "a\\"])
def test_zsh_is_offered_no_word_that_typer_cannot_quote(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backslash before `$` ends its escape, and zsh evaluates the list; a quote would be lost."""
    offered = [CompletionItem(name), CompletionItem("a$(touch x) `y`; é.txt")]
    monkeypatch.setattr(ZshComplete, "get_completions", lambda *_arguments: offered)
    careful = CarefulZsh.__new__(CarefulZsh)
    assert [item.value for item in careful.get_completions([], "a")] == ["a$(touch x) `y`; é.txt"]


def test_no_file_is_offered_as_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    """One whose name begins with a dash would be one."""
    opened = MagicMock()
    listed = opened.return_value.__enter__.return_value.listed
    listed.return_value = [BlobProperties(name=name) for name in ("--json", "-x;y", "a-b.txt", "line\nend", "b--json")]
    monkeypatch.setattr(results, "opened", opened)
    monkeypatch.setattr(results, "running_values", dict)
    assert results.complete_name("") == ["a-b.txt", "b--json"]
