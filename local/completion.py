"""Completion of words in shells that would run what is in a file's name."""

import os
import re
import shlex
from typing import Final

from typer._click.shell_completion import CompletionItem, add_completion_class
from typer._completion_classes import BashComplete, PowerShellComplete, ZshComplete

PLAIN: Final = re.compile(r"[\w%+=:,./@-]+\Z")
"""A word that no shell takes apart."""
PATTERN: Final = re.compile(r"[*?\[]|[+@!]\(")
"""What bash expands in a list of words, quoted or not, if a file of the current folder matches."""
NOT_IN_DOUBLE_QUOTES: Final = frozenset('$`"\\!')
NOT_IN_ZSH: Final = frozenset("\\'\"")


def open_quote(words: list[str], number: int) -> str | None:
    """Return the quote that is open in the word to complete; empty if there is none, None if it is not known."""
    try:
        for word in words[:number]:
            shlex.split(word)
    except ValueError:  # a word of several lines: the words are not those that bash counts
        return None
    word = words[number] if number < len(words) else ""
    quote = word[:1] if word[:1] in ("'", '"') else ""
    return None if any(mark in word[len(quote) :] for mark in "'\"\\$`") else quote


def quoted_for_bash(value: str, quote: str | None) -> str | None:
    """Return a word as it is inserted behind a quote; None if that is not safe."""
    if PLAIN.match(value):
        return value
    if quote is None or not value.isprintable() or PATTERN.search(value):
        return None
    if not quote:
        return shlex.quote(value)
    forbidden = {"'"} if quote == "'" else NOT_IN_DOUBLE_QUOTES
    return None if forbidden & set(value) else value


class QuotingBash(BashComplete):
    """Bash inserts each word as it gets it, so that the words must be quoted."""

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem]:
        """Return the words that can be inserted, as they are inserted."""
        quote = open_quote(os.environ["COMP_WORDS"].split("\n"), int(os.environ["COMP_CWORD"]))
        found = (quoted_for_bash(item.value, quote) for item in super().get_completions(args, incomplete))
        return [CompletionItem(value) for value in found if value is not None]


class CarefulZsh(ZshComplete):
    """Zsh evaluates the list of words. Typer escapes `$` in it, but no backslash before that, and it drops quotes."""

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem]:
        """Return the words that reach the shell as they are."""
        return [item for item in super().get_completions(args, incomplete) if not NOT_IN_ZSH & set(item.value)]


class PlainPowerShell(PowerShellComplete):
    """PowerShell inserts each word as it gets it: only plain ones are offered."""

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem]:
        """Return the words that need no quotes."""
        return [item for item in super().get_completions(args, incomplete) if PLAIN.match(item.value)]


def protect_completion() -> None:
    """Replace Typer's classes; call this after Typer has registered them."""
    add_completion_class(QuotingBash, "bash")
    add_completion_class(CarefulZsh, "zsh")
    for name in ("powershell", "pwsh"):
        add_completion_class(PlainPowerShell, name)
