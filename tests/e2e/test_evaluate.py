"""`python -m local evaluate` as a person and as a program use it, in processes of their own."""

import json
from pathlib import Path
from typing import Any

import pytest

from local.ner.__main__ import SAMPLE_LABELS
from local.ner.labels import load_project
from tests.e2e.test_command_line import local


def write_project(folder: Path, *texts: tuple[str, str]) -> Path:
    """Write a project in which each text's dataset is named and its first word is labelled as a verb."""
    documents = []
    for number, (text, dataset) in enumerate(texts):
        (folder / f"{number}.txt").write_text(text, encoding="utf-8")
        label = {"category": "[verb]", "offset": 0, "length": len(text.split()[0])}
        documents.append({"location": f"{number}.txt", "dataset": dataset, "entities": [{"labels": [label]}]})
    content = {
        "metadata": {"projectName": "[words]", "projectKind": "CustomEntityRecognition"},
        "assets": {"entities": [{"category": "[verb]"}, {"category": "noun"}], "documents": documents},
    }
    path = folder / "labels.json"
    path.write_text(json.dumps(content))
    return path


def test_a_person_sees_a_table(tmp_path: Path) -> None:
    """Each category and the total, what may be wrong with the labels, and each mistake with the words around it."""
    labels = write_project(tmp_path, ("Play it.", "Train"), ("Play it.", "Train"), ("Sing it with me.", "Test"))
    result = local("evaluate", str(labels), "--mistakes")
    assert result.returncode == 0, result.stdout + result.stderr
    rows = {
        cells[0]: cells[1:]
        for cells in ([cell.strip() for cell in line.split("│")[1:-1]] for line in result.stdout.splitlines())
        if len(cells) == 7
    }
    assert rows["noun"] == ["0", "0", "0", "-", "-", "-"]
    assert rows["[verb]"][:2] == rows["all"][:2] == ["2", "1"]
    assert "tested on 1 document (marked Test)" in result.stdout
    assert "Categories without labels: noun." in result.stdout
    assert ("Mistakes: 0" in result.stdout) == (rows["all"][-1] == "1.00")
    assert "Traceback" not in result.stderr


def test_mistakes_are_shown_with_their_place(tmp_path: Path) -> None:
    """A word in the middle that is labelled for testing alone cannot be found."""
    labels = write_project(tmp_path, ("Play it.", "Train"), ("Play it.", "Train"), ("it is not a verb", "Test"))
    result = local("evaluate", str(labels), "--mistakes")
    assert "2.txt, line 1: missed [verb] 'it'\n    it is not a verb\n" in result.stdout


def test_a_program_gets_one_json_object() -> None:
    """With everything that the table shows, and the mistakes if asked for."""
    result = local("evaluate", str(SAMPLE_LABELS), "--json", "--mistakes")
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    told: dict[str, Any] = json.loads(result.stdout)
    project = load_project(SAMPLE_LABELS)
    kept = [document for document in project.documents if document.dataset == "Test"]
    assert told["project"] == project.name
    assert told["split"]["kind"] == "manual"
    assert told["split"]["testingDocuments"] == [document.name for document in kept]
    assert tuple(told["categories"]) == project.categories
    overall = told["overall"]
    assert overall["testingLabels"] == sum(len(document.spans) for document in kept)
    for count in ("trainingLabels", "testingLabels", "found", "correct"):
        assert overall[count] == sum(category[count] for category in told["categories"].values())
    assert overall["precision"] == overall["correct"] / overall["found"]
    assert overall["recall"] == overall["correct"] / overall["testingLabels"]
    wrong = told["mistakes"]
    assert len([mistake for mistake in wrong if mistake["label"]]) == overall["testingLabels"] - overall["correct"]
    assert len([mistake for mistake in wrong if mistake["entity"]]) == overall["found"] - overall["correct"]
    texts = {document.name: document.text for document in kept}
    for mistake in wrong:
        for place in filter(None, (mistake["label"], mistake["entity"])):
            start = place["offset"]
            assert texts[mistake["document"]][start : start + place["length"]] == place["text"]


def test_a_percentage_is_drawn_by_its_seed(tmp_path: Path) -> None:
    """And the object says which."""
    labels = write_project(tmp_path, *((f"Play number {number}.", "Train") for number in range(10)))
    options = ["--json", "--testing-split", "30", "--seed", "7"]
    split = json.loads(local("evaluate", str(labels), *options).stdout)["split"]
    assert (split["kind"], split["testingSplitPercentage"], split["seed"]) == ("percentage", 30, 7)
    assert len(split["testingDocuments"]) == 3
    assert json.loads(local("evaluate", str(labels), *options).stdout)["split"] == split


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere.json"], "nowhere.json cannot be read"),
        (["pyproject.toml"], "is not a labels file in the project import format"),
        ([], "Label more documents"),
        (["--json"], "Label more documents"),
    ],
)
def test_a_users_mistake_gives_a_sentence(arguments: list[str], sentence: str, tmp_path: Path) -> None:
    """On standard error, with exit code 1 and nothing for a program to read."""
    labels = write_project(tmp_path, ("Play it.", "Train"))
    named = [] if arguments and not arguments[0].startswith("-") else [str(labels)]
    result = local("evaluate", *named, *arguments)
    assert result.returncode == 1
    assert sentence in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_a_share_that_leaves_nothing_is_refused() -> None:
    """0 and 100 of 100."""
    for share in ("0", "100"):
        result = local("evaluate", str(SAMPLE_LABELS), "--testing-split", share)
        assert result.returncode != 0
        assert "Traceback" not in result.stderr
        assert "--testing-split" in result.stderr
