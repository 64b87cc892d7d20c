"""Files and folders of this machine, and the blob names they get."""

import errno
import os
from pathlib import Path

import pytest

from local.files import LINKS, MARKERS, NOT_UTF8, TOO_LONG, FilesError, Skipped, blob_names, sentences


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


def test_links_out_of_a_folder_are_left_alone_and_named(tmp_path: Path) -> None:
    """A folder that another person packed does not select other files. Links within it do no harm."""
    folder, outside = tmp_path / "mail", tmp_path / "private"
    for made in (folder, outside):
        made.mkdir()
        (made / "a.txt").write_text("text")
    targets = {
        "inside.txt": folder / "a.txt",
        "key.txt": outside / "a.txt",
        "relative.txt": Path("../private/a.txt"),
        "again.txt": folder / "key.txt",
        "folder": outside,
        "dangling.txt": outside / "none.txt",
        "loop.txt": folder / "loop.txt",
    }
    for name, target in targets.items():
        (folder / name).symlink_to(target)
    skipped: Skipped = {}
    assert sorted(blob_names([folder], skipped)) == ["mail/a.txt", "mail/inside.txt"]
    left = ["again.txt", "dangling.txt", "folder", "key.txt", "loop.txt", "relative.txt"]
    assert {reason: [file.name for file in files] for reason, files in skipped.items()} == {LINKS: left}
    assert list(blob_names([folder / "key.txt"], {})) == ["key.txt"]


def test_a_folder_that_is_named_by_dots_has_its_own_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Storage would read dots in a blob's name as a way into another container."""
    (tmp_path / "mail" / "sub").mkdir(parents=True)
    (tmp_path / "mail" / "a.txt").write_text("text")
    monkeypatch.chdir(tmp_path / "mail" / "sub")
    assert list(blob_names([Path("..")], {})) == ["mail/a.txt"]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others of its folder are uploaded."""
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("text")
    is_file = Path.is_file

    def refuse(path: Path) -> bool:
        if path.name == "a.txt":
            raise PermissionError(errno.EACCES, "Permission denied")
        return is_file(path)

    monkeypatch.setattr(Path, "is_file", refuse)
    skipped: Skipped = {}
    assert list(blob_names([tmp_path], skipped)) == [f"{tmp_path.name}/b.txt"]
    assert skipped == {"they cannot be read (Permission denied)": [tmp_path / "a.txt"]}
