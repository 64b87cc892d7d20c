"""What to drop: files and folders of this machine, and the blob names they get."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from local.install import ROOT

SAMPLES: Final = ROOT / "local" / "sample" / "documents"


class FilesError(Exception):
    """The files cannot be dropped as they were named; the message says why."""


def blob_names(paths: Iterable[Path]) -> dict[str, Path]:
    """Return the files by blob name: a file's own name, and for a folder's files their path from the folder on.

    Raises:
        FilesError: a path does not exist, a folder is empty, or two files would get one name.
    """
    named: dict[str, Path] = {}
    for path in paths:
        if path.is_dir():
            files = {
                file.relative_to(path.parent).as_posix(): file for file in sorted(path.rglob("*")) if file.is_file()
            }
            if not files:
                raise FilesError(f"{path} contains no files: name a file, or a folder with files")
        elif path.is_file():
            files = {path.name: path}
        else:
            raise FilesError(f"{path} does not exist: name an existing file or folder")
        for name, file in files.items():
            if name in named:
                raise FilesError(
                    f"{named[name]} and {file} would both be uploaded as {name}: rename one, or drop its folder instead"
                )
            named[name] = file
    return named
