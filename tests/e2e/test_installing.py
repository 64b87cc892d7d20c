"""The command `ner` as pip installs it: from a clone with `-e`, and nothing that could clash without."""

import shutil
import subprocess
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

from local.commands.version import version
from local.install import ROOT, environment_python
from local.launcher.ner_function_app import NO_CLONE

OFFLINE = ("--quiet", "--disable-pip-version-check", "--no-index", "--no-deps", "--no-build-isolation")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone of this project, in a folder that is not easy to quote."""
    folder = tmp_path / "Mein Ördner"
    wanted = ["pyproject.toml", "LICENSE", "requirements.txt", "function_app.py", "host.json", "local", "shared"]
    command = ["git", "ls-files", "-z", "--", *wanted]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in listed.rstrip("\0").split("\0"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """The interpreter of a new environment, which also has the packages of this one."""
    environment = tmp_path / "environment"
    venv.create(environment, symlinks=True)
    python = environment_python(environment)
    command = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    packages = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    (Path(packages) / "shared_with_tests.pth").write_text(sysconfig.get_path("purelib"))
    return python


def pip(python: Path, *words: str | Path) -> None:
    """Run pip."""
    said = subprocess.run([python, "-m", "pip", *words], capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr


def importable(python: Path, cwd: Path) -> list[str]:
    """Return those of this project's packages and modules that a program in another folder can import."""
    names = ("function_app", "local", "shared", "tests", "ner_function_app")
    program = f"from importlib.util import find_spec; print(*[name for name in {names} if find_spec(name)])"
    return subprocess.run([python, "-c", program], cwd=cwd, capture_output=True, text=True, check=True).stdout.split()


def test_editable_install_gives_the_command(clone: Path, python: Path, tmp_path: Path) -> None:
    """It works in a folder with packages of the same names, and makes none of this project's importable."""
    pip(python, "install", *OFFLINE, "-e", clone)
    elsewhere = tmp_path / "elsewhere"
    for name in ("local", "shared"):
        (elsewhere / name).mkdir(parents=True)
        (elsewhere / name / "__init__.py").write_text("raise SystemExit('imported the wrong package')")
    ner = python.with_name("ner")
    said = subprocess.run([ner, "--version"], cwd=elsewhere, capture_output=True, text=True, check=False)
    assert (said.returncode, said.stdout, said.stderr) == (0, f"ner {version()}\n", "")
    said = subprocess.run([ner, "drop", "--help"], cwd=elsewhere, capture_output=True, text=True, check=False)
    assert "--no-wait" in said.stdout
    assert importable(python, tmp_path) == ["ner_function_app"]


def test_a_wheel_clashes_with_no_other_project(clone: Path, python: Path, tmp_path: Path) -> None:
    """`azd restore` makes one. Its command says how to install the program, and the clone's root stays as it was."""
    before = {path.name for path in clone.iterdir()}
    pip(python, "wheel", *OFFLINE, "--wheel-dir", tmp_path, clone)
    assert {path.name for path in clone.iterdir()} - before <= {".local"}
    wheel = next(tmp_path.glob("*.whl"))
    with zipfile.ZipFile(wheel) as packed:
        assert {name for name in packed.namelist() if ".dist-info/" not in name} == {"ner_function_app.py"}
    pip(python, "install", *OFFLINE, wheel)
    said = subprocess.run([python.with_name("ner"), "status"], capture_output=True, text=True, check=False)
    assert (said.returncode, said.stdout, said.stderr) == (1, "", f"{NO_CLONE}\n")
    assert importable(python, tmp_path) == ["ner_function_app"]


def test_package_requires_what_the_command_imports() -> None:
    """The requirements of the deployed app and of local/, which those for development contain too."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    files = project["tool"]["setuptools"]["dynamic"]["dependencies"]["file"]
    development = (ROOT / "requirements-dev.txt").read_text(encoding="utf-8").splitlines()
    assert [line.removeprefix("-r ") for line in development if line.startswith("-r ")] == files
    # setuptools reads neither options nor other files in them.
    lines = [line for file in files for line in (ROOT / file).read_text(encoding="utf-8").splitlines()]
    assert not [line for line in lines if line.startswith("-")]
    assert project["project"]["scripts"] == {"ner": "ner_function_app:main"}
