"""What the unit tests share: the sample project and a recogniser that was trained on it."""

import pytest

from local.ner.__main__ import SAMPLE_LABELS
from local.ner.labels import Project, load_project
from local.ner.recogniser import Recogniser
from local.stack import MODELS


@pytest.fixture(scope="session")
def project() -> Project:
    """The sample project."""
    return load_project(SAMPLE_LABELS)


@pytest.fixture(scope="session")
def recogniser(project: Project) -> Recogniser:
    """The sample project's recogniser, trained when its labels or its code have changed."""
    return Recogniser.load_or_train(project, MODELS)
