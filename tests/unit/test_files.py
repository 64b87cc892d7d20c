"""Files and folders of this machine, and the blob names they get."""

import os
from pathlib import Path

import pytest

from local.files import MARKERS, NOT_UTF8, TOO_LONG, FilesError, Skipped, blob_names, sentences


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


def test_what_is_no_text_or_has_no_name_for_a_blob_is_left_out(tmp_path: Path) -> None:
    """The others of its folder are uploaded. A marker that has a text is none."""
    folder = tmp_path / "out"
    deep = folder / "/".join(["d" * 200] * 6)
    deep.mkdir(parents=True)
    strange = Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.txt"))
    for file in (folder / "a.txt", strange, deep / "b.txt", folder / "_committed_1"):
        file.write_text("text")
    for name in ("_SUCCESS", ".keep", ".gitkeep", "_started_1", "empty.txt"):
        (folder / name).touch()
    skipped: Skipped = {}
    assert sorted(blob_names([folder], skipped)) == ["out/_committed_1", "out/a.txt", "out/empty.txt"]
    assert {reason: sorted(file.name for file in files) for reason, files in skipped.items()} == {
        MARKERS: [".gitkeep", ".keep", "_SUCCESS", "_started_1"],
        NOT_UTF8: [strange.name],
        TOO_LONG: ["b.txt"],
    }


def test_there_is_one_sentence_for_each_reason() -> None:
    """However many files there are."""
    files = [Path(f"{number}.txt") for number in range(12)]
    assert sentences({"of this": files, "of that": files[:1]}) == [
        "Not uploaded, because of this: 0.txt, 1.txt, 2.txt, 3.txt, 4.txt and 7 more",
        "Not uploaded, because of that: 0.txt",
    ]
