"""The set-up on machines of all kinds: which Python it takes, what it does with pip and npm, and the command `ner`."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from local import install
from local.install import NPM_HINT, OLDEST, OWN_AZURITE, ROOT, InstallError

SHELL_TOOLS = ("sh", "dirname", "readlink", "cat", "env")
SUPPORTED = [f"3.{minor}" for minor in range(install.OLDEST[1], install.NEWEST[1] + 1)]


def script(path: Path, text: str) -> Path:
    """Write an executable shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder with what shell scripts need, and no Python: the PATH of a bare machine."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in SHELL_TOOLS:
        (folder / name).symlink_to(shutil.which(name) or name)
    return folder


def find_python(tools: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run local/find_python.sh on a machine that has these tools alone."""
    command = [str(tools / "sh"), "local/find_python.sh"]
    environ = {"PATH": str(tools), **environ}
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)


def test_a_supported_python_is_taken_and_a_broken_one_skipped(tools: Path) -> None:
    """A version manager leaves launchers behind for versions that are gone."""
    script(tools / "python3", "exit 127")
    script(tools / "python3.14", "exit 1")
    (tools / "python3.12").symlink_to(sys.executable)
    result = find_python(tools)
    assert (result.stdout, result.stderr) == ("python3.12\n", "")


def test_without_any_python_the_message_says_how_to_get_one(tools: Path) -> None:
    """With the commands of the usual package managers."""
    result = find_python(tools)
    assert result.returncode == 1
    assert result.stdout == ""
    for command in ("uv python install 3.13", "brew install python@3.13", "apt install", "dnf install", "PYTHON="):
        assert command in result.stderr


FAKE_UV = """
case "$*" in
    "python find "*) [ -e "$MARK" ] && echo "$FOUND" ;;
    "python install 3.13") if [ -n "$FAILS" ]; then echo "error: no network"; exit 2; fi; echo > "$MARK" ;;
    *) exit 64 ;;
esac
"""


@pytest.mark.parametrize("is_there", [True, False])
def test_uv_provides_a_python(is_there: bool, tools: Path, tmp_path: Path) -> None:
    """One that it has installed before, or installs now; its path may hold spaces."""
    script(tools / "uv", FAKE_UV)
    mark, found = tmp_path / "mark", tmp_path / "of uv" / "python3"
    found.parent.mkdir()
    found.symlink_to(sys.executable)
    if is_there:
        mark.touch()
    result = find_python(tools, MARK=str(mark), FOUND=str(found))
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"{found}\n"
    assert ("uv installs Python 3.13" in result.stderr) is not is_there


def test_a_uv_that_fails_is_quoted_and_explained(tools: Path, tmp_path: Path) -> None:
    """It may be behind a proxy; another way is named."""
    script(tools / "uv", FAKE_UV)
    result = find_python(tools, MARK=str(tmp_path / "mark"), FOUND="", FAILS="1")
    assert result.returncode == 1
    assert result.stdout == ""
    assert "error: no network" in result.stderr
    assert "uv could not provide Python 3.13" in result.stderr
    assert "apt install" in result.stderr


def test_one_range_of_versions_everywhere() -> None:
    """Installer, search, package metadata, workflow and template agree."""
    oldest, newest = install.OLDEST, install.NEWEST
    search = (ROOT / "local" / "find_python.sh").read_text()
    assert f"{oldest} <= sys.version_info[:2] <= {newest}" in search
    project = (ROOT / "pyproject.toml").read_text()
    assert f'requires-python = ">={SUPPORTED[0]},<3.{newest[1] + 1}"' in project
    workflow = (ROOT / ".github" / "workflows" / "azure-dev.yml").read_text()
    assert re.findall(r'"(3\.\d+)"', workflow) == SUPPORTED
    template = (ROOT / "infra" / "main.bicep").read_text()
    allowed = re.search(r"@allowed\(\[(.*)\]\)\nparam pythonVersion", template)
    assert allowed is not None
    assert re.findall(r"'(.*?)'", allowed[1]) == SUPPORTED


@pytest.mark.parametrize("version", [(3, OLDEST[1] - 1, 0), (3, install.NEWEST[1] + 1, 0)])
def test_another_python_is_refused_with_a_way_out(
    version: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a user who called the installer by hand, or named an interpreter."""
    monkeypatch.setattr(sys, "version_info", version)
    with pytest.raises(InstallError, match=r"uv python install.*PYTHON="):
        install.check_python()


def test_every_clone_gets_the_same_line_ends(tmp_path: Path) -> None:
    """Git for Windows converts them; labels then would not fit their texts, and `sh` could not read the scripts."""
    shutil.copy(ROOT / ".gitattributes", tmp_path)
    (tmp_path / "a.txt").write_bytes(b"one\r\ntwo\n")
    (tmp_path / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    git = ("git", "-c", "core.autocrlf=true", "-c", "core.safecrlf=false")
    for arguments in ("init --quiet", "add .", "checkout-index --all --prefix=clone/"):
        subprocess.run([*git, *arguments.split()], cwd=tmp_path, check=True)
    assert (tmp_path / "clone" / "a.txt").read_bytes() == b"one\ntwo\n"
    assert (tmp_path / "clone" / "b.png").read_bytes() == b"\x89PNG\r\n\x1a\n"


AS_ON_WINDOWS = "import runpy, shutil, subprocess, sys; sys.platform = 'win32'; sys.argv[1:] = ['status']; "


@pytest.mark.parametrize(
    "program", ["runpy.run_module('local')", "runpy.run_path('local/install.py', None, '__main__')"]
)
def test_windows_is_refused_in_one_sentence(program: str) -> None:
    """Before anything is imported that does not exist there."""
    command = [sys.executable, "-c", AS_ON_WINDOWS + program]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "WSL 2" in result.stderr
    assert len(result.stderr.splitlines()) == 1


Seen = Callable[[], tuple[list[str], Mapping[str, str]]]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Seen]:
    """Return what makes a program that notes how it was called; it stands for pip's Python and for npm."""

    def make(name: str, then: str = "") -> Seen:
        folder = tmp_path / "fakes"
        script(folder / name, f'printf "%s\\n" "$@" > "$0.arguments"; env > "$0.environ"; {then}')
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

        def seen() -> tuple[list[str], Mapping[str, str]]:
            lines = (folder / f"{name}.environ").read_text().splitlines()
            environ = dict(line.split("=", 1) for line in lines if "=" in line)
            return (folder / f"{name}.arguments").read_text().splitlines(), environ

        return seen

    return make


@pytest.fixture
def manifests(tmp_path: Path) -> Path:
    """A folder with a package.json and its lock file."""
    folder = tmp_path / "manifests"
    folder.mkdir()
    for name in ("package.json", "package-lock.json"):
        (folder / name).write_text("{}")
    return folder


def install_node_packages(tmp_path: Path, manifests: Path) -> None:
    """Install from the manifests into a folder of the test's own."""
    install.install_node_packages("it", tmp_path, manifests, tmp_path / "package" / "node_modules", NPM_HINT)


def test_npm_needs_no_home_folder_and_does_not_wait_long(
    fake: Callable[..., Seen], tmp_path: Path, manifests: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cache is inside the clone and goes with the installation; one retry is enough to tell a blocked network."""
    monkeypatch.setattr(install, "STATE", tmp_path / "state")
    monkeypatch.setattr(install, "node_command", lambda _: ["node"])
    seen = fake("npm", f'mkdir -p "{tmp_path}/state/npm-cache"')
    install_node_packages(tmp_path, manifests)
    arguments, _ = seen()
    assert arguments[0] == "ci"
    assert arguments[arguments.index("--cache") + 1] == str(tmp_path / "state" / "npm-cache")
    assert "--fetch-retries=1" in arguments
    assert not (tmp_path / "state" / "npm-cache").exists()


def test_a_blocked_npm_names_the_settings(
    fake: Callable[..., Seen], tmp_path: Path, manifests: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What npm says comes without Node's stack trace."""
    monkeypatch.setattr(install, "STATE", tmp_path / "state")
    monkeypatch.setattr(install, "node_command", lambda _: ["node"])
    fake("npm", "echo 'npm error code ECONNREFUSED'; echo 'npm error     at ClientRequest.emit (node:events)'; exit 1")
    with pytest.raises(InstallError, match=r"(?s)ECONNREFUSED.*npm_config_registry.*NODE_EXTRA_CA_CERTS") as caught:
        install_node_packages(tmp_path, manifests)
    assert "ClientRequest" not in str(caught.value)
    with pytest.raises(InstallError):  # it is tried again, since nothing was installed
        install_node_packages(tmp_path, manifests)


def test_pip_installs_into_the_environment_whatever_its_configuration_says(
    fake: Callable[..., Seen], monkeypatch: pytest.MonkeyPatch
) -> None:
    """PIP_USER=1 is common on shared machines."""
    monkeypatch.setenv("PIP_USER", "1")
    seen = fake("pip")
    install.run("installing", ["pip", "install"], install.PIP_HINT)
    assert seen()[1]["PIP_USER"] == "0"


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("ERROR: Could not find a version", r"PIP_INDEX_URL.*PIP_CERT"),
        ("error: Failed building wheel for python-crfsuite", "compiler"),
    ],
)
def test_a_pip_that_fails_is_quoted_with_what_to_do(said: str, hint: str, fake: Callable[..., Seen]) -> None:
    """The network, or a machine for which a package has to be compiled."""
    fake("pip", f"echo '{said}' >&2; exit 1")
    with pytest.raises(InstallError, match=f"(?s){said}.*{hint}"):
        install.run("installing", ["pip", "install"], install.PIP_HINT)


def test_ctrl_c_leaves_no_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The set-up goes on with the next call."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(install, "install_python_packages", interrupt)
    assert install.main() == 130
    assert capsys.readouterr().err == "Stopped. Run the same command again to continue.\n"


def test_an_azurite_that_is_there_needs_no_npm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the registry is blocked, the app runs with it; only the page lacks its libraries."""
    asked: list[str] = []

    def blocked(what: str, *_: object) -> None:
        asked.append(what)
        raise InstallError("npm is blocked")

    monkeypatch.setattr(sys, "argv", ["install.py", str(tmp_path)])
    monkeypatch.setattr(install, "install_python_packages", lambda *_: (tmp_path / "bin").mkdir(exist_ok=True))
    monkeypatch.setattr(install, "install_node_packages", blocked)
    assert install.main() == 1
    monkeypatch.setenv(OWN_AZURITE, "/usr/local/bin/azurite")
    assert install.main() == 0
    assert asked == ["Azurite", "the page's libraries"]
    assert "npm is blocked" in capsys.readouterr().err


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A stand-in for a clone in a folder that is not easy to quote; its command line prints what it is given."""
    folder = tmp_path / "Mein Ördner ü" / "it's $HOME"
    (folder / "local").mkdir(parents=True)
    (folder / "local" / "__init__.py").touch()
    (folder / "local" / "cli.py").write_text("import sys\ndef main(name): print(name, sys.path[0], *sys.argv[1:])\n")
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "python").symlink_to(sys.executable)
    return folder


def install_launcher(clone: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Install `ner` into a clone; return its path."""
    monkeypatch.setattr(install, "ROOT", clone)
    install.install_launcher(clone / ".venv")
    return clone / ".venv" / "bin" / "ner"


def call(*command: str | Path, cwd: Path) -> str:
    """Return what a command prints."""
    said = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert said.stderr == ""
    return said.stdout


def test_ner_works_in_any_folder_and_after_a_move(clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its path, through a link and through the PATH; the folder may be renamed afterwards."""
    (tmp_path / "local").mkdir()  # a package of the user's own with the same name
    ner = install_launcher(clone, monkeypatch)
    assert call(ner, "a b", "c", cwd=tmp_path).startswith(f"ner {ner.parent}/../..")
    assert call(ner, "a b", "c", cwd=tmp_path).endswith(" a b c\n")
    moved = clone.rename(tmp_path / "moved")
    link = tmp_path / "ner link"
    link.symlink_to(Path("moved") / ".venv" / "bin" / "ner")
    assert call(link, "status", cwd=tmp_path).startswith(f"ner {moved}/.venv/bin/../..")
    monkeypatch.setenv("PATH", f"{moved}/.venv/bin{os.pathsep}{os.environ['PATH']}")
    assert call("ner", "status", cwd=tmp_path).endswith(" status\n")


def test_ner_is_written_again_if_its_text_differs(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An older version's, or a broken one."""
    ner = install_launcher(clone, monkeypatch)
    text = ner.read_text()
    ner.write_text("#!/nowhere/python\n")
    assert install_launcher(clone, monkeypatch).read_text() == text


def test_a_moved_environment_can_still_be_activated(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`source .venv/bin/activate` puts the new folder on the PATH once `make setup` has run."""
    shutil.rmtree(clone / ".venv")
    command = [sys.executable, "-m", "venv", "--without-pip", str(clone / ".venv")]
    subprocess.run(command, check=True)
    moved = clone.rename(tmp_path / "moved here")
    install_launcher(moved, monkeypatch)
    shell = f'. "{moved}/.venv/bin/activate"; command -v ner'
    assert call("sh", "-c", shell, cwd=tmp_path) == f"{moved}/.venv/bin/ner\n"
