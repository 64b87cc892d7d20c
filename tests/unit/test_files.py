"""Files and folders of this machine, and the blob names they get."""

from pathlib import Path

import pytest

from local.files import FilesError, blob_names


def test_a_file_keeps_its_name_and_a_folder_its_paths(tmp_path: Path) -> None:
    """A file is called by its own name, a folder's files by their path from the folder on."""
    (tmp_path / "letters" / "old").mkdir(parents=True)
    for name in ("letters/a.txt", "letters/old/a.txt", "note.md"):
        (tmp_path / name).write_text("x")
    named = blob_names([tmp_path / "letters", tmp_path / "note.md"], {})
    assert named == {name: tmp_path / name for name in ("letters/a.txt", "letters/old/a.txt", "note.md")}


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    """The second would replace the first without a word."""
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.txt").write_text(folder)
    with pytest.raises(FilesError, match=r"both be uploaded as a\.txt"):
        blob_names([tmp_path / "one" / "a.txt", tmp_path / "two" / "a.txt"], {})


def test_what_is_missing_or_empty_is_named(tmp_path: Path) -> None:
    """The message holds the path."""
    with pytest.raises(FilesError, match=r"nowhere\.txt does not exist"):
        blob_names([tmp_path / "nowhere.txt"], {})
    (tmp_path / "empty").mkdir()
    with pytest.raises(FilesError, match="empty contains no files"):
        blob_names([tmp_path / "empty"], {})
