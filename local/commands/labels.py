"""The command for labels of one's own."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from local import show_evaluation
from local.commands.common import console, sentences_for_errors
from local.ner import evaluation
from local.ner.labels import load_project


def evaluate(
    labels: Annotated[
        Path, typer.Argument(metavar="LABELS.json", help="Exported from Language Studio, with the texts beside it.")
    ],
    *,
    testing_split: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=99,
            metavar="PERCENT",
            help="Hold out so many of 100 documents for training, drawn by chance. Without it those marked Test are "
            f"held out or, where there are none, {evaluation.USUAL_PERCENTAGE} of 100.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Another number draws other documents.")] = 0,
    mistakes: Annotated[bool, typer.Option("--mistakes", help="Show each mistake with the words around it.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Train the local recogniser on labels of your own, and score it on documents that it has not seen.

    Examples:

      evaluate local/sample/project/labels.json

      evaluate labels.json --testing-split 20 --seed 1 --mistakes
    """
    with sentences_for_errors():
        project = load_project(labels)
        parts = evaluation.split(project, testing_split, seed)
        if not as_json:
            console.print(f"Learning from {len(parts.training)} documents ...")
        with tempfile.TemporaryDirectory() as folder:
            result = evaluation.evaluate(parts, project.categories, Path(folder) / "model.crfsuite")
    if as_json:
        percentage = evaluation.USUAL_PERCENTAGE if testing_split is None else testing_split
        typer.echo(show_evaluation.as_json(project, result, percentage=percentage, seed=seed, with_mistakes=mistakes))
    else:
        show_evaluation.show_evaluation(console, project, result, with_mistakes=mistakes)
