"""Quality of the local recogniser: trains it on four fifths of a labelled data set and scores it on the rest.

The data is the custom intent engines benchmark of June 2017 (sonos/nlu-benchmark, CC0 1.0): a folder of JSON files,
each `{"intent": [{"data": [{"text", "entity"?}, ...]}, ...]}`. It is not part of this project; set NER_BENCH_DATA to
its folder.
"""

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from local.install import ROOT
from local.ner.evaluation import Kind, Split, evaluate
from local.ner.labels import LabelledDocument, Span

DATA: Final = Path(os.environ.get("NER_BENCH_DATA") or ROOT.parent / "shared" / "data" / "snips")
LEAST_F1: Final = 0.85
EVERY: Final = 5
"""Every fifth sentence is kept for the test."""


def read_sentences(folder: Path) -> Iterator[LabelledDocument]:
    """Return the labelled sentences of all files."""
    for path in sorted(folder.glob("*.json")):
        for sentences in json.loads(path.read_text(encoding="utf-8", errors="replace")).values():
            for number, sentence in enumerate(sentences):
                yield read_sentence(f"{path.stem}-{number}", sentence["data"])


def read_sentence(name: str, pieces: list[dict[str, str]]) -> LabelledDocument:
    """Put a sentence together from its pieces; the labelled ones are its spans."""
    text, spans = "", []
    for piece in pieces:
        if "entity" in piece and piece["text"].strip():
            spans.append(Span(piece["entity"], len(text), len(piece["text"])))
        text += piece["text"]
    return LabelledDocument(name, "en", "Train", text, tuple(spans))


def main() -> int:
    """Print the scores; the exit code is 1 when F1 is below what the project promises."""
    sentences = list(read_sentences(DATA))
    if not sentences:
        print(f"No labelled sentences in {DATA}, so nothing was measured. Set NER_BENCH_DATA to their folder.")
        return 0
    kept = [sentence for number, sentence in enumerate(sentences) if number % EVERY == EVERY - 1]
    learnt = [sentence for number, sentence in enumerate(sentences) if number % EVERY != EVERY - 1]
    categories = sorted({span.category for sentence in sentences for span in sentence.spans})
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.crfsuite"
        result = evaluate(Split(Kind.MANUAL, tuple(learnt), tuple(kept)), categories, model)
        size = model.stat().st_size
    overall = result.overall
    characters = sum(len(sentence.text) for sentence in kept)
    print(f"{len(learnt)} sentences for training, {len(kept)} for the test, {len(categories)} categories")
    print(
        f"training {result.training_seconds:.1f} s, model {size / 1e6:.1f} MB, "
        f"recognising {characters / result.recognising_seconds:,.0f} characters/s"
    )
    print(f"precision {overall.precision:.3f}, recall {overall.recall:.3f}, F1 {overall.f1:.3f} (at least {LEAST_F1})")
    return 0 if overall.f1 >= LEAST_F1 else 1


if __name__ == "__main__":
    sys.exit(main())
