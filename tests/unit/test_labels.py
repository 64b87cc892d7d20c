"""Labelled projects in the service's import and export format."""

import json
from pathlib import Path
from typing import Any

import pytest

from local.install import ROOT
from local.ner.__main__ import SAMPLE_LABELS
from local.ner.advice import within_words
from local.ner.evaluation import labels_by_category
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
    """An export of the portal counts UTF-16 units; labels come in the order of the text."""
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
        ([], {}, "no document has a label"),
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
    """Enough labels to learn from, some kept for a test, every category in both parts, each label of whole words."""
    project = load_project(SAMPLE_LABELS)
    assert project.name == "concierge"
    assert {document.dataset for document in project.documents} == {"Train", "Test"}
    for dataset, fewest in (("Train", 50), ("Test", 5)):
        labels = labels_by_category([document for document in project.documents if document.dataset == dataset])
        assert set(labels) == set(project.categories)
        assert min(labels.values()) >= fewest, labels
    for document in project.documents:
        assert document.spans
        assert not within_words(document), document.name
        assert not any("\n" in document.text[span.offset : span.offset + span.length] for span in document.spans)


def test_the_samples_test_holds_new_names_alone() -> None:
    """What the recogniser scores there it has not learnt by heart; hours, numbers and kitchens come again anywhere."""
    project = load_project(SAMPLE_LABELS)
    names: dict[str, set[str]] = {"Train": set(), "Test": set()}
    for document in project.documents:
        for span in document.spans:
            if span.category not in ("time", "party_size", "cuisine", "room"):
                names[document.dataset].add(document.text[span.offset : span.offset + span.length].casefold())
    assert len(names["Test"]) >= 50
    assert not names["Train"] & names["Test"]


def test_the_page_on_labels_shows_the_sample_as_it_is() -> None:
    """Its table has each category with the numbers of labels that it has."""
    project = load_project(SAMPLE_LABELS)
    rows = [
        [cell.strip() for cell in line.split("│")[1:4]]
        for line in (ROOT / "docs" / "labels.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("│")
    ]
    counts = {
        dataset: labels_by_category([document for document in project.documents if document.dataset == dataset])
        for dataset in ("Train", "Test")
    }
    expected = [[name, str(counts["Train"][name]), str(counts["Test"][name])] for name in project.categories]
    assert rows == [*expected, ["all", str(counts["Train"].total()), str(counts["Test"].total())]]


@pytest.mark.parametrize("location", ["a\0b.txt", "\ud800.txt"])
def test_a_location_that_no_file_can_have_gives_a_sentence(location: str, tmp_path: Path) -> None:
    """JSON can hold it, a file system cannot."""
    labels = write(tmp_path, label("drink", 0, 3))
    labels.write_text(labels.read_text().replace("a.txt", json.dumps(location)[1:-1]))
    with pytest.raises(LabelsError, match=r"(cannot be the name of a file|is not a labels file)"):
        load_project(labels)
