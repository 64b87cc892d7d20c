"""A small named entity recogniser: a conditional random field, trained on a labelled project."""

import hashlib
import tempfile
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import pycrfsuite

from local.ner import features as features_module
from local.ner.features import Token, features, sequences
from local.ner.labels import LabelledDocument, LabelsError, Project, Span

OUTSIDE: Final = "O"
# c1 drops the features that say little, which keeps the model small; more iterations do not improve F1.
PARAMETERS: Final = {"c1": 0.05, "c2": 0.02, "max_iterations": 80, "feature.possible_transitions": True}


@dataclass(frozen=True, slots=True)
class Entity:
    """An entity that was found; offset and length in code points, confidence 0..1."""

    text: str
    category: str
    offset: int
    length: int
    confidence_score: float


class Recogniser:
    """A trained model. Safe to use from several threads."""

    def __init__(self, model: Path) -> None:
        """Open a model that `train` wrote."""
        self._tagger = pycrfsuite.Tagger()
        self._tagger.open(str(model))
        # A tagger holds the sequence that it was last given.
        self._lock = threading.Lock()

    @classmethod
    def load_or_train(cls, project: Project, cache: Path) -> Self:
        """Return the project's recogniser; it is trained once and then kept in the folder `cache`.

        Raises:
            LabelsError: no document of the project is for training.
        """
        model = cache / f"{digest(project)}.crfsuite"
        if not model.is_file():
            train(training_documents(project), model)
        return cls(model)

    def recognise(self, text: str) -> list[Entity]:
        """Return the entities of a text, in the order of their offsets."""
        found: list[Entity] = []
        for tokens in sequences(text):
            rows = features(tokens)
            with self._lock:
                self._tagger.set(rows)
                tags = self._tagger.tag()
                certainties = [self._tagger.marginal(tag, at) for at, tag in enumerate(tags)]
            found += entities(text, tokens, tags, certainties)
        return found


def entities(text: str, tokens: Sequence[Token], tags: Sequence[str], certainties: Sequence[float]) -> list[Entity]:
    """Join tagged tokens to entities; one is as certain as its least certain token."""
    found = []
    at = 0
    while at < len(tags):
        first, category = at, tags[at][2:]
        at += 1
        if not category:
            continue
        while at < len(tags) and tags[at] == f"I-{category}":
            at += 1
        start, end = tokens[first].start, tokens[at - 1].end
        certainty = min(1.0, max(0.0, min(certainties[first:at])))
        found.append(Entity(text[start:end], category, start, end - start, certainty))
    return found


def tags_for(tokens: Iterable[Token], spans: Sequence[Span]) -> list[str]:
    """Return for each token `B-category` where a label begins, `I-category` within one, else `O`."""
    tags = []
    waiting = iter(spans)
    span = next(waiting, None)
    begun = False
    for token in tokens:
        while span is not None and token.start >= span.offset + span.length:
            span, begun = next(waiting, None), False
        if span is None or token.end <= span.offset:
            tags.append(OUTSIDE)
        else:
            tags.append(f"{'I' if begun else 'B'}-{span.category}")
            begun = True
    return tags


def train(documents: Iterable[LabelledDocument], model: Path) -> None:
    """Train on documents and write the model; a run that is interrupted leaves no half of one."""
    trainer = pycrfsuite.Trainer(verbose=False)
    for document in documents:
        for tokens in sequences(document.text):
            trainer.append(features(tokens), tags_for(tokens, document.spans))
    trainer.select("lbfgs")
    trainer.set_params(PARAMETERS)
    model.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=model.parent) as folder:
        unfinished = Path(folder) / model.name
        trainer.train(str(unfinished))
        unfinished.replace(model)


def training_documents(project: Project) -> list[LabelledDocument]:
    """Return the documents whose `dataset` is Train, as the service takes them: without any label, they are left out.

    Raises:
        LabelsError: there are none.
    """
    documents = [document for document in project.documents if document.dataset == "Train" and document.spans]
    if not documents:
        raise LabelsError(
            f"project {project.name}: no labelled document has the dataset Train. Set it for some documents."
        )
    return documents


def digest(project: Project) -> str:
    """Return what names a model: everything that training depends on."""
    code = b"".join(Path(path).read_bytes() for path in (__file__, features_module.__file__))
    content = repr([(document.text, document.spans) for document in training_documents(project)])
    return hashlib.sha256(code + content.encode("utf-8", "surrogatepass")).hexdigest()[:32]
