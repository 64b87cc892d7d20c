"""What is held out of a labelled project, what a recogniser got wrong there, and what the owner is told."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from local.ner.advice import advices
from local.ner.evaluation import Evaluation, Kind, evaluate, split
from local.ner.labels import LabelledDocument, LabelsError, Project, Span
from local.ner.mistakes import Fault, mistakes
from local.ner.recogniser import Entity
from local.ner.scoring import Score

TEXT = "Play Marigold by Clara Voss."
SPANS = (Span("track", 5, 8), Span("artist", 17, 10))


def document(name: str, dataset: str = "Train", spans: Sequence[Span] = SPANS, text: str = TEXT) -> LabelledDocument:
    """Return a document with two labels, unless told otherwise."""
    return LabelledDocument(name, "en", dataset, text, tuple(spans))


def project(*documents: LabelledDocument, categories: Sequence[str] = ("artist", "track")) -> Project:
    """Return a project of the documents."""
    return Project("songs", "en", multilingual=False, categories=tuple(categories), documents=documents)


def many(count: int) -> list[LabelledDocument]:
    """Return so many documents for training."""
    return [document(f"{number}.txt") for number in range(count)]


def names(documents: Sequence[LabelledDocument]) -> set[str]:
    """Return the names of documents."""
    return {document.name for document in documents}


def test_documents_marked_for_testing_are_held_out() -> None:
    """As in the service's split by hand; without a label a document is in neither part."""
    parts = split(project(document("a"), document("b", "Test"), document("c", "Test", ()), document("d", spans=())))
    assert parts.kind is Kind.MANUAL
    assert (names(parts.training), names(parts.testing)) == ({"a"}, {"b"})


def test_a_fifth_is_held_out_where_none_is_marked() -> None:
    """Nothing is lost or in both parts, and the same seed always draws the same, whatever the order of the file."""
    documents = [*many(20), document("unlabelled", spans=()), document("test without labels", "Test", ())]
    parts = split(project(*documents))
    assert parts.kind is Kind.PERCENTAGE
    assert len(parts.testing) == 4
    assert names(parts.training) | names(parts.testing) == names(many(20))
    assert not names(parts.training) & names(parts.testing)
    assert names(split(project(*reversed(documents))).testing) == names(parts.testing)


def test_another_seed_draws_others() -> None:
    """And over many seeds every document comes to be held out."""
    drawn = [names(split(project(*many(10)), 20, seed).testing) for seed in range(40)]
    assert len({frozenset(held_out) for held_out in drawn}) > 10
    assert set().union(*drawn) == names(many(10))


def test_a_percentage_that_is_named_splits_the_documents_for_training() -> None:
    """Those marked for testing stay out of it, as in the service."""
    parts = split(project(*many(10), document("kept", "Test")), 50)
    assert parts.kind is Kind.PERCENTAGE
    assert len(parts.training) == len(parts.testing) == 5
    assert "kept" not in names(parts.training) | names(parts.testing)


@pytest.mark.parametrize(("percentage", "count"), [(1, 1), (50, 1), (99, 2)])
def test_neither_part_is_empty(percentage: int, count: int) -> None:
    """However few documents there are."""
    parts = split(project(*many(3)), percentage) if count == 2 else split(project(*many(2)), percentage)
    assert len(parts.testing) == count
    assert len(parts.training) == 1


@pytest.mark.parametrize(
    ("documents", "percentage", "sentence"),
    [
        ([document("a")], None, "Label more documents"),
        ([document("a"), document("b", "Test")], 20, "Label more documents"),
        ([document("a"), document("b", spans=())], None, "Label more documents"),
        ([document("a", "Test")], None, "dataset Train"),
        ([document("a", spans=()), document("b", "Test")], None, "dataset Train"),
    ],
)
def test_too_few_documents_are_refused(
    documents: list[LabelledDocument], percentage: int | None, sentence: str
) -> None:
    """In a sentence that names the project."""
    with pytest.raises(LabelsError, match=f"project songs: .*{sentence}"):
        split(project(*documents), percentage)


def test_each_category_is_counted(tmp_path: Path) -> None:
    """Labels to learn from, labels that were held out, in the project's order; one that is nowhere has zeros."""
    songs = project(*many(4), document("held out", "Test", SPANS[:1]), categories=("track", "artist", "album"))
    result = evaluate(split(songs), songs.categories, tmp_path / "model")
    assert [(category.name, category.training_labels) for category in result.categories] == [
        ("track", 4),
        ("artist", 4),
        ("album", 0),
    ]
    assert [category.score for category in result.categories] == [Score(1, 1, 1), Score(0, 1, 0), Score(0, 0, 0)]
    assert result.overall == Score(1, 2, 1)
    assert result.training_labels == 8


def entity(category: str, offset: int, length: int) -> Entity:
    """Return an entity of TEXT."""
    return Entity(TEXT[offset : offset + length], category, offset, length, 0.5)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([entity("track", 5, 8), entity("artist", 17, 10)], []),
        ([entity("artist", 17, 10)], [(Fault.MISSED, 5, None)]),
        (
            [entity("track", 5, 8), entity("artist", 17, 10), entity("city", 0, 4)],
            [(Fault.SPURIOUS, None, 0)],
        ),
        ([entity("album", 5, 8), entity("artist", 17, 10)], [(Fault.CONFUSED, 5, 5)]),
        ([entity("track", 5, 8), entity("artist", 23, 4)], [(Fault.BOUNDS, 17, 23)]),
        ([entity("track", 5, 22)], [(Fault.BOUNDS, 5, 5), (Fault.MISSED, 17, None)]),
        (
            [entity("track", 5, 8), entity("artist", 17, 5), entity("artist", 23, 4)],
            [(Fault.BOUNDS, 17, 17), (Fault.SPURIOUS, None, 23)],
        ),
        ([], [(Fault.MISSED, 5, None), (Fault.MISSED, 17, None)]),
    ],
)
def test_mistakes_are_told_apart(found: list[Entity], expected: list[tuple[Fault, int | None, int | None]]) -> None:
    """Each label and each entity is in one mistake at most; a wrong one beside the label that it overlaps most."""
    told = mistakes([document("a")], [found])
    assert {
        (mistake.fault, mistake.label and mistake.label.offset, mistake.entity and mistake.entity.offset)
        for mistake in told
    } == set(expected)
    assert len(told) == len(expected)


def test_a_mistake_tells_where_it_is() -> None:
    """The line, and the words around it without the line's end."""
    text = f"{'Nothing here. ' * 10}\n{TEXT}\nThen stop."
    start = text.index("Clara")
    (mistake,) = mistakes([document("a", spans=[Span("artist", start, 10)], text=text)], [[]])
    assert mistake.line == 2
    assert mistake.context.startswith("…")
    assert mistake.context.endswith("Play Marigold by Clara Voss. Then stop.")
    assert "\n" not in mistake.context


def evaluated(songs: Project, folder: Path) -> Evaluation:
    """Return the evaluation of a project."""
    return evaluate(split(songs), songs.categories, folder / "model")


def test_a_small_project_is_told_so(tmp_path: Path) -> None:
    """Documents, labels to learn from, labels held out, categories; each with its number or name."""
    spans = [Span("track", 5, 8), Span("singer", 17, 10)]
    songs = project(
        document("a", spans=spans),
        document("b", "Test", spans[:1]),
        document("c", spans=()),
        categories=("track", "singer", "album"),
    )
    told = "\n".join(advices(songs, evaluated(songs, tmp_path)))
    for sentence in (
        "Documents without labels: c.",
        "this project has 2",
        "Categories without labels: album.",
        "Categories with fewer than 15 training labels: track (1), singer (1).",
        "Categories without test labels: singer.",
        "Only 1 label is held out",
    ):
        assert sentence in told


def test_labels_that_do_not_fit_the_words_are_told(tmp_path: Path) -> None:
    """They could never be found; the first few are named."""
    wrong = [Span("track", 6, 7), Span("artist", 16, 11)]
    songs = project(*(document(f"{number}.txt", spans=wrong) for number in range(4)))
    told = "\n".join(advices(songs, evaluated(songs, tmp_path)))
    assert "0.txt (track 'arigold'), 0.txt (artist ' Clara Voss'), 1.txt" in told
    assert "and 3 more" in told


def test_nothing_is_said_of_labels_that_are_in_order(tmp_path: Path) -> None:
    """Enough documents, enough labels of each category in both parts."""
    songs = project(*many(15), *(document(f"test {number}", "Test") for number in range(15)))
    assert advices(songs, evaluated(songs, tmp_path)) == []
