"""What to drop: files and folders of this machine, and the blob names they get."""

from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import Final

from local.install import ROOT
from shared.names import LONGEST_BLOB_NAME, utf16_length, why_refused
from shared.storage.listings import is_marker

SAMPLES: Final = ROOT / "local" / "sample" / "documents"

MARKERS: Final = "they are empty markers without text"
NOT_UTF8: Final = "their names are not UTF-8, as the name of a blob must be. Rename them"
LINKS: Final = "they are links that lead out of the dropped folder. Name the files themselves"
TOO_LONG: Final = f"their names have more than {LONGEST_BLOB_NAME:,} characters. Drop the folders in them one by one"
MOST_NAMED: Final = 5

Skipped = dict[str, list[Path]]
"""Files that are not uploaded, by reason."""


class FilesError(Exception):
    """The files cannot be dropped as they were named; the message says why."""


def blob_names(paths: Iterable[Path], skipped: Skipped) -> dict[str, Path]:
    """Return the files by blob name: a file's own name, and for a folder's files their path from the folder on.

    Args:
        paths: files and folders.
        skipped: gets the files that cannot be uploaded, or have no text.

    Raises:
        FilesError: a path does not exist, a folder is empty, or two files would get one name.
    """
    named: dict[str, Path] = {}
    for path in paths:
        if path.is_dir():
            files = files_in(path, skipped)
        elif path.is_file():
            files = {path.name: path}
        else:
            raise FilesError(f"{path} does not exist: name an existing file or folder")
        for name, file in files.items():
            if name in named:
                raise FilesError(
                    f"{named[name]} and {file} would both be uploaded as {name}: rename one, or drop its folder instead"
                )
            if reason := why_skipped(name, file):
                skipped.setdefault(reason, []).append(file)
            else:
                named[name] = file
    return named


def files_in(folder: Path, skipped: Skipped) -> dict[str, Path]:
    """Return the files of a folder by blob name; `skipped` gets those that are outside of it or cannot be read.

    A folder that another person packed must not select the files that are sent: links may only lead to its own files.

    Raises:
        FilesError: the folder contains no files.
    """
    end = folder.resolve()
    top = end.name if folder.name == ".." else folder.name
    files: dict[str, Path] = {}
    is_empty = True
    for file in sorted(folder.rglob("*")):
        try:
            if file.is_symlink() and not leads_into(file, end):
                reason = LINKS
            elif file.is_file():
                reason = ""
            else:
                continue
        except OSError as error:
            reason = unreadable(error)
        is_empty = False
        if reason:
            skipped.setdefault(reason, []).append(file)
        else:
            files[(PurePath(top) / file.relative_to(folder)).as_posix()] = file
    if is_empty:
        raise FilesError(f"{folder} contains no files: name a file, or a folder with files")
    return files


def leads_into(link: Path, folder: Path) -> bool:
    """Return whether a link ends in a folder, however many links there are on the way."""
    try:
        return link.resolve().is_relative_to(folder)
    except RuntimeError:  # a loop
        return False


def unreadable(error: OSError) -> str:
    """Return the reason why files are not uploaded after an error."""
    return f"they cannot be read ({error.strerror or error})"


def why_skipped(name: str, file: Path) -> str:
    """Return why a file is not uploaded; empty if it is."""
    try:
        length = utf16_length(name)
    except UnicodeEncodeError:  # Python reads other bytes in a name as surrogates
        return NOT_UTF8
    if length > LONGEST_BLOB_NAME:
        return TOO_LONG
    if why := why_refused(name):
        return f"{why}. Rename them"
    try:
        return MARKERS if is_marker(name, file.stat().st_size, {}) else ""
    except OSError as error:
        return unreadable(error)


def sentences(skipped: Skipped) -> list[str]:
    """Return a sentence for each reason why files are not uploaded."""
    return [
        f"Not uploaded, because {reason}: {', '.join(map(str, files[:MOST_NAMED]))}"
        + (f" and {len(files) - MOST_NAMED:,} more" if len(files) > MOST_NAMED else "")
        for reason, files in skipped.items()
    ]
