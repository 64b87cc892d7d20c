"""Reads a labelled project: a labels file in the service's import and export format, with the texts beside it."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final, Literal

import msgspec

from local.json_errors import JSON_ERRORS
from local.ner.string_index import StringIndex, StringIndexError, StringIndexType

PROJECT_KIND: Final = "CustomEntityRecognition"


class LabelsError(Exception):
    """The project cannot be used; the message tells the user what to mend, and where."""


@dataclass(frozen=True, slots=True)
class Span:
    """A labelled stretch of a text; offset and length in code points."""

    category: str
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class LabelledDocument:
    """A text and its labels, in the order of their offsets and never overlapping.

    `dataset` is "Train" or "Test".
    """

    name: str
    language: str
    dataset: str
    text: str
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Project:
    """A labelled project."""

    name: str
    language: str
    multilingual: bool
    categories: tuple[str, ...]
    documents: tuple[LabelledDocument, ...]


class Metadata(msgspec.Struct, rename="camel"):
    """The part `metadata` of a labels file."""

    project_name: str
    project_kind: str
    language: str = "en"
    multilingual: bool = False


class Category(msgspec.Struct):
    """An item of `assets.entities`."""

    category: str


class Label(msgspec.Struct):
    """An item of `assets.documents[].entities[].labels`; offset and length in the file's stringIndexType."""

    category: str
    offset: int
    length: int


class Region(msgspec.Struct):
    """An item of `assets.documents[].entities`: offsets of its labels count from the document's start all the same."""

    labels: list[Label] = []


class Document(msgspec.Struct):
    """An item of `assets.documents`."""

    location: str
    language: str | None = None
    dataset: Literal["Train", "Test"] | None = None
    entities: list[Region] = []


class Assets(msgspec.Struct, rename="camel"):
    """The part `assets` of a labels file."""

    entities: list[Category]
    documents: list[Document]
    project_kind: str = PROJECT_KIND


class LabelsFile(msgspec.Struct, rename="camel"):
    """A labels file, as far as training needs it."""

    metadata: Metadata
    assets: Assets
    string_index_type: StringIndexType = StringIndexType.UTF16_CODE_UNIT


def load_project(labels: Path) -> Project:
    """Read a labels file and the texts that it names.

    Args:
        labels: the JSON file; the UTF-8 texts lie beside it under the names in `location`.

    Raises:
        LabelsError: a file is missing or unreadable, or the labels do not fit the texts.
    """
    file = read_labels_file(labels)
    categories = tuple(dict.fromkeys(entity.category for entity in file.assets.entities))
    documents: dict[str, LabelledDocument] = {}
    for document in file.assets.documents:
        where = f"{labels}, document {document.location}"
        if document.location in documents:
            raise LabelsError(f"{where}: listed twice. Remove one of the entries.")
        text = read_text(labels.parent, document.location, where)
        index = StringIndex(text, file.string_index_type)
        documents[document.location] = LabelledDocument(
            name=document.location,
            language=document.language or file.metadata.language,
            dataset=document.dataset or "Train",
            text=text,
            spans=read_spans(document.entities, index, categories, where),
        )
    if not any(document.spans for document in documents.values()):
        raise LabelsError(
            f"{labels}: no document has a label, so no model can be trained. Label some and export them again."
        )
    metadata = file.metadata
    return Project(
        metadata.project_name, metadata.language, metadata.multilingual, categories, tuple(documents.values())
    )


def read_labels_file(labels: Path) -> LabelsFile:
    """Read and check the JSON alone.

    Raises:
        LabelsError: it is missing, is not JSON of the import format, or belongs to another kind of project.
    """
    try:
        file = msgspec.json.decode(labels.read_bytes().removeprefix(b"\xef\xbb\xbf"), type=LabelsFile)
    except OSError as error:
        raise LabelsError(f"{labels} cannot be read ({error.strerror}). Name an existing labels file.") from error
    except JSON_ERRORS as error:
        raise LabelsError(
            f"{labels} is not a labels file in the project import format: {error}. "
            "Export the labels of a custom named entity recognition project from Microsoft Foundry (until March 2027 "
            "also Language Studio)."
        ) from error
    for kind in (file.metadata.project_kind, file.assets.project_kind):
        if kind != PROJECT_KIND:
            raise LabelsError(f"{labels}: the project's kind is {kind}. Use a project of kind {PROJECT_KIND}.")
    return file


def read_text(folder: Path, location: str, where: str) -> str:
    """Read a text as it is, line ends included: labels count them.

    Raises:
        LabelsError: the file is missing, outside the folder, or not UTF-8.
    """
    path = folder / location
    try:
        is_inside = path.resolve().is_relative_to(folder.resolve())
    except ValueError:
        raise LabelsError(f"{location!r} cannot be the name of a file. Correct the location of the document.") from None
    if not is_inside:
        raise LabelsError(f"{where}: the text is outside the folder of the labels file. Put it into that folder.")
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise LabelsError(
            f"{where}: {path} cannot be read ({error.strerror}). Put the text into the folder of the labels file."
        ) from error
    except UnicodeDecodeError as error:
        raise LabelsError(f"{where}: the text is not UTF-8 at byte {error.start}. Save it as UTF-8.") from error


def read_spans(
    regions: Iterable[Region], index: StringIndex, categories: tuple[str, ...], where: str
) -> tuple[Span, ...]:
    """Return a document's labels in the order of their offsets.

    Raises:
        LabelsError: a label has an undeclared category, is empty, does not fit the text, or overlaps another.
    """
    spans = []
    for label in (label for region in regions for label in region.labels):
        if label.category not in categories:
            raise LabelsError(f"{where}: category {label.category} is not declared. Add it to assets.entities.")
        try:
            offset, length = index.to_code_points(label.offset, label.length)
        except StringIndexError as error:
            raise LabelsError(
                f"{where}: a label {label.category} does not fit the text: {error}. "
                "Check that this is the text that was labelled, and check stringIndexType."
            ) from error
        if length == 0:
            raise LabelsError(f"{where}: the label {label.category} at {label.offset} is empty. Remove it.")
        spans.append(Span(label.category, offset, length))
    spans.sort(key=lambda span: span.offset)
    for one, other in pairwise(spans):
        if one.offset + one.length > other.offset:
            raise LabelsError(
                f"{where}: the labels {one.category} at code point {one.offset} and {other.category} at {other.offset} "
                "overlap. Remove one of them."
            )
    return tuple(spans)
