"""What the owner of a labelled project should know before trusting its scores, in sentences."""

from collections.abc import Iterable, Iterator
from typing import Final

from local.ner.evaluation import Evaluation
from local.ner.features import sequences
from local.ner.labels import LabelledDocument, Project, Span

FEWEST_LABELS: Final = 15
"""Of a category, for training: with fewer the service warns too."""
FEWEST_TESTED: Final = 30
"""Labels held out altogether: with fewer, one more mistake moves F1 by several points."""
FEWEST_DOCUMENTS: Final = 10
"""The service takes no smaller project."""
MOST_NAMED: Final = 5


def advices(project: Project, evaluation: Evaluation) -> list[str]:
    """Return what may be wrong with the labels, or with what the scores can tell, as sentences."""
    return [*about_documents(project), *about_categories(project, evaluation), *about_testing(evaluation)]


def about_documents(project: Project) -> Iterator[str]:
    """Yield what the documents lack, and which labels no recogniser could find as they are."""
    bare = [document.name for document in project.documents if not document.spans]
    if bare:
        yield f"Documents without labels: {listed(bare)}. They are left out."
    labelled = len(project.documents) - len(bare)
    if labelled < FEWEST_DOCUMENTS:
        yield f"The service needs at least {FEWEST_DOCUMENTS} labelled documents; this project has {labelled}."
    cut = [
        f"{document.name} ({span.category} '{document.text[span.offset : span.offset + span.length]}')"
        for document in project.documents
        for span in within_words(document)
    ]
    if cut:
        yield (
            "Labels that begin or end inside a word, or include a space around it, cannot be found. Correct them: "
            f"{listed(cut)}."
        )


def about_categories(project: Project, evaluation: Evaluation) -> Iterator[str]:
    """Yield which categories have too few labels to be learnt or tested."""
    used = {span.category for document in project.documents for span in document.spans}
    unused = [name for name in project.categories if name not in used]
    if unused:
        yield f"Categories without labels: {listed(unused)}. Label some text, or remove the category."
    few = [
        f"{category.name} ({category.training_labels})"
        for category in evaluation.categories
        if category.name in used and category.training_labels < FEWEST_LABELS
    ]
    if few:
        yield (
            f"Categories with fewer than {FEWEST_LABELS} training labels: {listed(few)}. Label more: the service "
            "recommends about 50 for each category."
        )
    untested = [
        category.name for category in evaluation.categories if category.name in used and not category.score.expected
    ]
    if untested:
        yield f"Categories without test labels: {listed(untested)}. They have no score. Label more."


def about_testing(evaluation: Evaluation) -> Iterator[str]:
    """Yield whether too little was held out."""
    count = evaluation.overall.expected
    if count < FEWEST_TESTED:
        are = "label is" if count == 1 else "labels are"
        yield (
            f"Only {count} {are} held out, so one mistake changes the scores a lot. Label more, or compare "
            "several seeds (--testing-split 20 --seed 1, 2, ...)."
        )


def within_words(document: LabelledDocument) -> list[Span]:
    """Return the labels that do not begin where a word or sign does, or do not end where one does."""
    tokens = [token for tokens in sequences(document.text) for token in tokens]
    starts, ends = {token.start for token in tokens}, {token.end for token in tokens}
    return [span for span in document.spans if span.offset not in starts or span.offset + span.length not in ends]


def listed(names: Iterable[str]) -> str:
    """Return the first few names and how many there are besides."""
    names = list(names)
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more
