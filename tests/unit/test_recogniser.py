"""The recogniser learns, says how sure it is, and keeps what it has learnt."""

import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from local.ner.features import LONGEST_SEQUENCE, sequences
from local.ner.labels import LabelledDocument, LabelsError, Project, Span
from local.ner.recogniser import Recogniser, tags_for, training_documents
from local.ner.scoring import Score, score


def test_it_finds_entities_in_texts_that_it_has_not_seen(project: Project, recogniser: Recogniser) -> None:
    """The documents kept for the test hold names that no other document holds (`test_labels.py` sees to it)."""
    kept = [document for document in project.documents if document.dataset == "Test"]
    scores = score([document.spans for document in kept], [recogniser.recognise(document.text) for document in kept])
    assert scores.overall.f1 >= 0.85
    assert all(scores.categories[name].f1 >= 0.5 for name in project.categories), scores.categories


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n ",
        "🍷" * 50,
        "Book a table at Café Lumière 🍷 for four 👨‍👩‍👧‍👦\r\nat eight.\r\n\r\nPlay Nadia Verlaine.",
        "x " * 3000,
        "a\0b \ud800",
    ],
)
def test_places_are_those_of_the_text(text: str, recogniser: Recogniser) -> None:
    """In order, not overlapping, with a probability, whatever the text."""
    found = recogniser.recognise(text)
    for entity in found:
        assert text[entity.offset : entity.offset + entity.length] == entity.text
        assert entity.text.strip() == entity.text
        assert 0 <= entity.confidence_score <= 1
    for one, other in itertools.pairwise(found):
        assert one.offset + one.length <= other.offset


def test_several_threads_may_ask_at_once(project: Project, recogniser: Recogniser) -> None:
    """The model underneath holds one sequence at a time."""
    texts = [document.text for document in project.documents] * 5
    with ThreadPoolExecutor(8) as pool:
        at_once = list(pool.map(recogniser.recognise, texts))
    assert at_once == [recogniser.recognise(text) for text in texts]


def test_a_model_is_trained_once_for_the_same_labels(project: Project, tmp_path: Path) -> None:
    """Other labels give another model."""
    Recogniser.load_or_train(project, tmp_path)
    (model,) = tmp_path.iterdir()
    before = model.stat().st_mtime_ns
    Recogniser.load_or_train(project, tmp_path)
    assert model.stat().st_mtime_ns == before
    first = project.documents[0]
    changed = replace(first, spans=first.spans[1:])
    Recogniser.load_or_train(replace(project, documents=(changed, *project.documents[1:])), tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_documents_without_labels_are_not_learnt_from(project: Project) -> None:
    """They may be waiting for their labels."""
    first, *others = project.documents
    assert first in training_documents(project)
    bare = replace(first, spans=())
    assert training_documents(replace(project, documents=(bare, *others))) == [
        document for document in training_documents(project) if document is not first
    ]


def test_without_training_documents_there_is_nothing_to_learn(project: Project, tmp_path: Path) -> None:
    """The service takes only those of the dataset Train, too."""
    documents = tuple(replace(document, dataset="Test") for document in project.documents)
    with pytest.raises(LabelsError, match="dataset Train"):
        Recogniser.load_or_train(replace(project, documents=documents), tmp_path)


def test_tags_follow_the_labels() -> None:
    """B at the beginning, I within; two labels side by side are two."""
    text = "Play Café Noir Nadia Verlaine now"
    spans = (Span("track", 5, 9), Span("artist", 15, 14))
    (tokens,) = sequences(text)
    assert tags_for(tokens, spans) == ["O", "B-track", "I-track", "B-artist", "I-artist", "O"]
    assert LabelledDocument("a", "en", "Train", text, spans).text[5:14] == "Café Noir"


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Clara Voss's album", ["Clara", "Voss", "'s", "album"]),
        ("Mirela’s, Lettres d'hiver", ["Mirela", "’s", ",", "Lettres", "d'hiver"]),
        ("2026-03-06,19:30,Blue Heron,4", ["2026", "-", "03", "-", "06", ",", "19:30", ",", "Blue", "Heron", ",", "4"]),
        ("at 7.30 or 14.3.2026", ["at", "7.30", "or", "14.3.2026"]),
        ("Smoke & Barrel's ribs 🍖", ["Smoke", "&", "Barrel", "'s", "ribs", "🍖"]),
    ],
)
def test_labels_can_begin_and_end_where_names_do(text: str, tokens: list[str]) -> None:
    """A name ends before its possessive, a cell of a table before the comma."""
    (found,) = sequences(text)
    assert [token.text for token in found] == tokens


def test_a_long_paragraph_is_cut_without_losing_a_token() -> None:
    """So that memory does not grow with the text."""
    text = "word " * (2 * LONGEST_SEQUENCE + 1)
    cut = list(sequences(text))
    assert [len(tokens) for tokens in cut] == [LONGEST_SEQUENCE, LONGEST_SEQUENCE, 1]
    assert [token.start for tokens in cut for token in tokens] == list(range(0, len(text), 5))


def test_scores() -> None:
    """Only exact matches count."""
    expected = [[Span("a", 0, 1), Span("b", 2, 3)], [Span("a", 0, 1)]]
    found = [[Span("a", 0, 1), Span("b", 2, 2)], []]
    scores = score(expected, found)
    assert scores.overall == Score(expected=3, found=2, correct=1)
    assert (scores.overall.precision, scores.overall.recall) == (1 / 2, 1 / 3)
    assert scores.overall.f1 == 2 / 5
    assert scores.categories["b"].f1 == 0
    assert Score(0, 0, 0).f1 == 0
