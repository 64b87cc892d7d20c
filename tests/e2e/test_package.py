"""What is deployed: the files that azd would pack, alone in an empty folder, with their own requirements alone."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from azure.storage.blob import BlobServiceClient
from pathspec import GitIgnoreSpec

from local import stack
from local.install import ROOT, STATE, environment_python, install_python_packages
from shared.outcome import OutcomeStatus
from shared.settings import Settings
from tests.conftest import LOGS
from tests.e2e.test_whole_way import drop, outcome_of

LARGEST_PACKAGE = 200_000
"""Bytes. It holds text alone: what it needs is installed when it is deployed."""


def packed_files() -> list[Path]:
    """Return the project's files that azd packs: all but those that .funcignore names.

    Not the developer's own: the README puts a report.txt into this folder.
    """
    ignored = GitIgnoreSpec.from_lines((ROOT / ".funcignore").read_text().splitlines())
    command = ["git", "ls-files", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return sorted(Path(name) for name in listed.split("\0") if name and not ignored.match_file(name))


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The package."""
    path = tmp_path / "package.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for file in packed_files():
            packed.write(ROOT / file, file)
    return path


def test_the_package_holds_what_is_deployed_and_nothing_else(package: Path) -> None:
    """No tests, no benchmarks, nothing local, no settings; and it stays small."""
    with zipfile.ZipFile(package) as packed:
        names = packed.namelist()
    others = [name for name in names if not (name.startswith("shared/") and name.endswith(".py"))]
    assert others == ["function_app.py", "host.json", "requirements.txt"]
    assert {path.relative_to(ROOT).as_posix() for path in (ROOT / "shared").rglob("*.py")} <= set(names)
    assert package.stat().st_size < LARGEST_PACKAGE


@pytest.mark.parametrize("ignoring", [".funcignore", ".gitignore"])
def test_files_of_tools_are_neither_deployed_nor_committed(ignoring: str) -> None:
    """Azurite keeps uploaded files where it is started, and some tools make environments with other names."""
    ignored = GitIgnoreSpec.from_lines((ROOT / ignoring).read_text().splitlines())
    for name in (
        *("__azurite_db_blob__.json", "__blobstorage__/1", "__queuestorage__/1", "__tablestorage__/1"),
        *("AzuriteConfig", "venv/bin/python", ".venv-3.13/bin/python", "env/bin/python", "local.settings.json"),
    ):
        assert ignored.match_file(name), name


@pytest.mark.slow
@pytest.mark.timeout(1800)  # it installs packages
def test_the_package_works_alone(
    package: Path, tmp_path: Path, values: dict[str, str], ner_emulator: str, blobs: BlobServiceClient
) -> None:
    """A file gets its outcome from an app that sees neither this folder nor its development packages."""
    environment, app, tools = STATE / f"deployed-3.{sys.version_info.minor}", tmp_path / "app", tmp_path / "tools"
    requirements = ROOT / "requirements.txt"
    install_python_packages(environment, ["--no-compile", "-r", str(requirements)], [requirements])
    with zipfile.ZipFile(package) as packed:
        packed.extractall(app)
    # The host's stand-in is no part of the package, but has to be somewhere.
    tools.mkdir()
    (tools / "local").symlink_to(ROOT / "local")
    values |= {"NER_ENDPOINT": ner_emulator}
    settings = Settings.from_environ(values)
    stack.create_containers_and_queues(settings)
    path = os.pathsep.join([str(app), str(tools)])
    environ = {**os.environ, **values, "PYTHONPATH": path, "PYTHONSAFEPATH": "1"}
    command = [str(environment_python(environment)), "-m", "local.host", "--exit-with-stdin", "--root", str(app)]
    with stack.start_listening(command, LOGS / "host-package.log", environ, 60.0):
        etag = drop(blobs, settings, "alone.txt", b"A table at the Blue Heron in Bristol, please.")
        outcome = outcome_of(blobs, settings, "alone.txt", etag)
    assert outcome.status is OutcomeStatus.SUCCEEDED
    assert outcome.documents[0].entities[-1].text == "Bristol"
