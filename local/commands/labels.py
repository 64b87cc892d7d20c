"""The command for labels of one's own."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from local import show_evaluation
from local.commands.common import sentences_for_errors
from local.ner import evaluation
from local.ner.labels import load_project
from local.terminal import console, tell


def evaluate(
    labels: Annotated[
        Path,
        typer.Argument(
            metavar="LABELS.json",
            help="Labels file exported from Microsoft Foundry (until March 2027 also Language Studio), with its texts "
            "next to it.",
        ),
    ],
    *,
    testing_split: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=99,
            metavar="PERCENT",
            help="Percentage of the training documents to hold out, drawn at random. Default: hold out the documents "
            f"marked Test or, if there are none, {evaluation.USUAL_PERCENTAGE}%.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the random draw. Another seed draws other documents.")] = 0,
    mistakes: Annotated[bool, typer.Option("--mistakes", help="Show each mistake with the words around it.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Train the local recogniser on your labels and score it on the held-out documents.

    Your texts stay on this machine. The local recogniser is a small model: use
    the scores to compare versions of your labels, not to predict the quality
    of the service.

    Examples:

      ner evaluate local/sample/project/labels.json

      ner evaluate labels.json --testing-split 20 --seed 1 --mistakes
    """
    with sentences_for_errors():
        project = load_project(labels)
        parts = evaluation.split(project, testing_split, seed)
        if not as_json:
            console.print(f"Training on {show_evaluation.documents_text(parts.training)} ...")
        with tempfile.TemporaryDirectory() as folder:
            result = evaluation.evaluate(parts, project.categories, Path(folder) / "model.crfsuite")
    if as_json:
        percentage = evaluation.USUAL_PERCENTAGE if testing_split is None else testing_split
        tell(show_evaluation.as_json(project, result, percentage=percentage, seed=seed, with_mistakes=mistakes))
    else:
        show_evaluation.show_evaluation(console, project, result, with_mistakes=mistakes)
