"""Labelled projects in the service's import and export format."""

import json
from pathlib import Path
from typing import Any

import pytest

from local.ner.__main__ import SAMPLE_LABELS
from local.ner.labels import LabelsError, Span, load_project

TEXT = "Tea 🍵 at Café Lumière"


def label(category: str, offset: int, length: int) -> dict[str, Any]:
    """Return a label, its place in UTF-16 units."""
    return {"category": category, "offset": offset, "length": length}


def write(folder: Path, *labels: dict[str, Any], **changes: Any) -> Path:
    """Write a project of one text and return its labels file."""
    (folder / "a.txt").write_text(TEXT, encoding="utf-8")
    document = {"location": "a.txt", "language": "fr", "entities": [{"labels": list(labels)}]}
    content = {
        "projectFileVersion": "2022-05-01",
        "stringIndexType": "Utf16CodeUnit",
        "metadata": {"projectName": "tea", "projectKind": "CustomEntityRecognition", "language": "en"},
        "assets": {
            "projectKind": "CustomEntityRecognition",
            "entities": [{"category": "drink"}, {"category": "place"}],
            "documents": [document],
        },
        **changes,
    }
    path = folder / "labels.json"
    path.write_text(json.dumps(content))
    return path


def test_places_become_code_points(tmp_path: Path) -> None:
    """Language Studio counts UTF-16 units; labels come in the order of the text."""
    project = load_project(write(tmp_path, label("place", 10, 12), label("drink", 0, 3)))
    (document,) = project.documents
    assert document.spans == (Span("drink", 0, 3), Span("place", 9, 12))
    assert [document.text[span.offset : span.offset + span.length] for span in document.spans] == [
        "Tea",
        "Café Lumière",
    ]
    assert (document.language, document.dataset) == ("fr", "Train")
    assert (project.name, project.categories, project.multilingual) == ("tea", ("drink", "place"), False)


@pytest.mark.parametrize(
    ("labels", "changes", "sentence"),
    [
        ([label("place", 9, 99)], {}, "does not fit the text"),
        ([label("place", 5, 2)], {}, "does not fit the text"),
        ([label("meal", 0, 3)], {}, "category meal is not declared"),
        ([label("drink", 0, 0)], {}, "is empty"),
        ([label("drink", 0, 3), label("place", 2, 2)], {}, "overlap"),
        ([], {}, "no text has a label"),
        ([], {"metadata": {"projectName": "x", "projectKind": "CustomSingleLabelClassification"}}, "kind is Custom"),
        ([], {"assets": None}, "is not a labels file"),
        ([], {"stringIndexType": "Bytes"}, "is not a labels file"),
    ],
)
def test_labels_that_do_not_fit_are_refused(
    labels: list[dict[str, Any]], changes: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    """Each with the file's name and what to mend."""
    with pytest.raises(LabelsError, match=sentence) as caught:
        load_project(write(tmp_path, *labels, **changes))
    assert "labels.json" in str(caught.value)


def test_texts_that_are_missing_or_outside_are_refused(tmp_path: Path) -> None:
    """A labels file may come from anyone."""
    path = write(tmp_path, label("drink", 0, 3))
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(LabelsError, match="not UTF-8"):
        load_project(path)
    (tmp_path / "a.txt").unlink()
    with pytest.raises(LabelsError, match=r"a\.txt cannot be read"):
        load_project(path)
    path.write_text(path.read_text().replace('"a.txt"', '"../a.txt"'))
    with pytest.raises(LabelsError, match="outside the folder"):
        load_project(path)


def test_a_missing_or_broken_labels_file_is_refused(tmp_path: Path) -> None:
    """In a sentence."""
    with pytest.raises(LabelsError, match=r"nowhere\.json cannot be read"):
        load_project(tmp_path / "nowhere.json")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(LabelsError, match="Export the labels"):
        load_project(tmp_path / "broken.json")


def test_the_sample_project_is_in_order() -> None:
    """Enough sentences to learn from, some kept for a test, every category used, no label with space at its ends."""
    project = load_project(SAMPLE_LABELS)
    assert project.name == "concierge"
    assert {document.dataset for document in project.documents} == {"Train", "Test"}
    sentences = sum(len([line for line in document.text.splitlines() if line]) for document in project.documents)
    assert sentences >= 150
    used = {span.category for document in project.documents for span in document.spans}
    assert used == set(project.categories)
    for document in project.documents:
        for span in document.spans:
            text = document.text[span.offset : span.offset + span.length]
            assert text == text.strip()
            assert "\n" not in text
