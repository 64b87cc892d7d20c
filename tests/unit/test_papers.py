"""The documentation: its links lead somewhere, and every command, option and module that it names exists."""

import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest
import typer
from markdown_it import MarkdownIt
from markdown_it.token import Token
from typer.core import TyperGroup, TyperOption
from typer.testing import CliRunner

from local.cli import app
from local.commands.version import version
from local.install import ROOT

README = ROOT / "README.md"
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [README, *DOCS, ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", ROOT / "CHANGELOG.md"]
MAX_README_LINES = 250
OPTION = re.compile(r"(?<![\w-])--?[a-z][a-z-]*")

with_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


def tokens_of(page: Path) -> Iterator[Token]:
    """Yield the Markdown tokens of a page, with the parts of each paragraph after it."""
    markdown = MarkdownIt("commonmark").enable("table")
    for token in markdown.parse(page.read_text(encoding="utf-8")):
        yield token
        yield from token.children or []


def anchors_of(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    tokens = list(tokens_of(page))
    headings = [after.content for token, after in itertools.pairwise(tokens) if token.type == "heading_open"]
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.replace(" ", "-") for heading in plain}


def links_of(page: Path) -> Iterator[str]:
    """Yield the targets of the links and pictures of a page."""
    for token in tokens_of(page):
        target = token.attrGet("href") if token.type == "link_open" else token.attrGet("src")
        if target is not None:
            yield str(target)


def code_of(page: Path) -> Iterator[str]:
    """Yield each line of code in a page, in a block or in a sentence."""
    for token in tokens_of(page):
        if token.type == "code_inline":
            yield token.content
        elif token.type in ("fence", "code_block"):
            yield from token.content.replace("\\\n", " ").splitlines()


def command_line() -> TyperGroup:
    """Return the commands of `ner`."""
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    return group


def options_of(name: str) -> set[str]:
    """Return the options of a command of `ner`, except hidden ones."""
    found = {"--help"}
    for parameter in command_line().commands[name].params:
        if isinstance(parameter, TyperOption) and not parameter.hidden:
            found |= {*parameter.opts, *parameter.secondary_opts}
    return found


def ner_calls(line: str) -> Iterator[list[str]]:
    """Yield the words after `ner` of each call in a line of code."""
    for call in re.findall(r"(?:^|[\s/])ner +([^|#;&]+)", line):
        yield shlex.split(call)


@with_page
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    """A relative link names a file of the project and, after `#`, one of its headings."""
    for link in links_of(page):
        if "://" in link:
            continue
        path, _, anchor = unquote(link).partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors_of(target), link


@with_page
def test_make_targets_of_a_page_exist(page: Path) -> None:
    """Every word after `make` is a target, up to the first variable."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = [re.match(r"make((?: [a-z-]+)+)", line) for line in code_of(page)]
    assert {target for match in named if match for target in match[1].split()} <= targets


@with_page
def test_commands_of_a_page_exist(page: Path) -> None:
    """Every call of `ner` names a command and options that this command has."""
    commands = command_line().commands
    for line in code_of(page):
        for words in ner_calls(line):
            if words[0].startswith("-"):
                continue
            assert words[0] in commands, line
            options = {word for word in words[1:] if word.startswith("-")}
            assert options <= options_of(words[0]), line


def sections_on_commands() -> dict[str, str]:
    """Return the part of the page on the command line that is about each command; a part can be about two."""
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    parts = re.findall(r"^## (`.*)\n((?:(?!^## ).*\n)*)", text, re.MULTILINE)
    return {name: body for heading, body in parts for name in re.findall(r"`(\w+)`", heading)}


def options_in_help(*command: str) -> set[str]:
    """Return the options in the list that `--help` prints."""
    said = CliRunner(env={"COLUMNS": "400", "TERMINAL_WIDTH": "400"}).invoke(app, [*command, "--help"]).stdout
    return set(OPTION.findall("".join(re.findall(r"^\W*?((?:--?[a-z][a-z-]* +)+)", said, re.MULTILINE))))


def options_in_list(text: str) -> set[str]:
    """Return the options that the items of a list begin with."""
    items = re.findall(r"^- (`-[^`]*`(?:[,;] `-[^`]*`)*)(?: \(.*\))?:", text, re.MULTILINE)
    return set(OPTION.findall(" ".join(items)))


@pytest.mark.parametrize("command", sorted(command_line().commands))
def test_page_on_command_line_has_the_options_of_help(command: str) -> None:
    """All of them, except `--help` itself, and no others."""
    section = sections_on_commands()[command]
    others = rf"^- .*\(`(?!{command}`)\w+` only\).*$"  # options of the other command of the section
    section = re.sub(others, "", section, flags=re.MULTILINE)
    assert options_in_list(section) == options_in_help(command) - {"--help"}


@pytest.mark.parametrize("command", sorted(command_line().commands))
def test_page_on_command_line_has_examples_and_exit_codes(command: str) -> None:
    """An example, what it prints, and when it fails."""
    section = sections_on_commands()[command]
    calls = [words for line in re.findall(r"^.*\bner .*$", section, re.MULTILINE) for words in ner_calls(line)]
    assert command in [words[0] for words in calls]
    assert "```text\n" in section
    assert re.search(r"\bexit code\b", section, re.IGNORECASE)


def test_page_on_command_line_has_every_command_and_no_other() -> None:
    """In its table and in its sections, and the options of `ner` itself."""
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    commands = set(command_line().commands)
    assert set(sections_on_commands()) == commands
    assert set(re.findall(r"^\| \[`ner (\w+)`\]", text, re.MULTILINE)) == commands
    assert options_in_list(text.partition("\n## ")[0]) == options_in_help()
    assert set(OPTION.findall(" ".join(re.findall(r"`(-[^`]*)`", text)))) - {"-e"} <= set().union(
        options_in_help(), *(options_of(name) for name in commands)
    )


def test_index_of_decisions_has_every_page() -> None:
    """And each page has the same sections."""
    index = ROOT / "docs" / "decisions" / "README.md"
    pages = set(index.parent.glob("*.md")) - {index}
    assert {index.parent / link for link in links_of(index) if "/" not in link} == pages
    for page in pages:
        headings = re.findall(r"^## (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
        wanted = ["Decision", "Why", "What it costs", "Alternatives", "What would change our mind"]
        assert [heading for heading in headings if heading in wanted] == wanted, page.name


def test_readme_leads_to_every_page() -> None:
    """The README stays short, and links to each page of docs/."""
    assert len(README.read_text(encoding="utf-8").splitlines()) <= MAX_README_LINES
    linked = {(README.parent / unquote(link).partition("#")[0]).resolve() for link in links_of(README)}
    assert {page for page in DOCS if page.parent.name == "docs"} <= linked


def test_map_of_the_code_names_every_deployed_module() -> None:
    """And every module or folder that the map names exists."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:shared|local)/[\w/.]*)`", text))
    assert all((ROOT / name).exists() for name in named)
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "shared").rglob("*.py") if path.stem != "__init__"}
    assert {module for module in modules if module not in named and f"{Path(module).parent}/" not in named} == set()


def test_newest_release_is_the_version_of_the_project() -> None:
    """In the changelog, in azure.yaml, and for `ner --version`."""
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    releases = re.findall(r"^## \[(\d+\.\d+\.\d+)\] - \d{4}-\d{2}-\d{2}$", changelog, re.MULTILINE)
    assert releases[0] == version()
    assert f"template: ner-function-app@{version()}\n" in (ROOT / "azure.yaml").read_text(encoding="utf-8")
    assert CliRunner().invoke(app, ["--version"]).stdout == f"ner {version()}\n"
