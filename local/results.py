"""A file's outcome together with the text that it is about, read from an account."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import msgspec
from azure.core.exceptions import ResourceNotFoundError

from local.account import Account
from local.json_errors import JSON_ERRORS
from shared.content import content
from shared.documents import DocumentError, read_documents
from shared.names import check_name, result_name
from shared.ner.model import Document, Entity, Problem
from shared.outcome import Outcome

CONNECTIONS: Final = 4
"""For a blob of more than 32 MiB."""


class ResultError(Exception):
    """There is no result to show; the message says why."""


@dataclass(frozen=True)
class Shown:
    """A document of a file with its entities.

    Attributes:
        id: of the document.
        text: of it; None where the file has none of this id, or cannot be read any more.
        entities: that were found in it.
        problems: what the outcome says went wrong with it.
    """

    id: str
    text: str | None
    entities: list[Entity]
    problems: list[Problem]


@dataclass(frozen=True)
class Result:
    """A file's outcome and its documents.

    Attributes:
        blob: name of the outcome.
        raw: what it holds.
        etag: of it, without quotes.
        outcome: of the newest version that has one.
        documents: of the file in its order, those without entities too.
        missing: why the text cannot be shown; empty if it can.
    """

    blob: str
    raw: bytes
    etag: str
    outcome: Outcome
    documents: list[Shown]
    missing: str = ""


def read_raw_outcome(account: Account, blob: str) -> tuple[bytes, str]:
    """Return what a blob of the results container holds, and its etag. Raises ResultError if there is none."""
    client = account.blob(account.settings.results_container, blob)
    try:
        download = client.download_blob(max_concurrency=CONNECTIONS)
        return download.readall(), download.properties.etag.strip('"')
    except ResourceNotFoundError:
        raise ResultError(f"There is no outcome {blob}.") from None


def decode_outcome(blob: str, raw: bytes) -> Outcome:
    """Read an outcome. Raises ResultError if it is none of this app's."""
    try:
        return msgspec.json.decode(raw, type=Outcome)
    except JSON_ERRORS as error:
        raise ResultError(f"{blob} is not an outcome of this version of the app: {error}") from None


def read_result(account: Account, name: str) -> Result:
    """Return the outcome of a file with its text.

    Args:
        account: to read from.
        name: of the file within the input container.

    Raises:
        ResultError: it has no outcome.
        RefusedNameError: no file of the app has this name.
    """
    blob = result_name(check_name(name))
    raw, etag = read_raw_outcome(account, blob)
    outcome = decode_outcome(blob, raw)
    texts, missing = read_texts(account, outcome)
    return Result(blob, raw, etag, outcome, list(shown(outcome, texts)), missing)


def read_texts(account: Account, outcome: Outcome) -> tuple[list[Document], str]:
    """Return the documents of the version that an outcome is about, or why there are none."""
    source = outcome.source
    # A writer of outcomes must not choose what a reader's own rights open.
    if source.container != account.settings.input_container:
        return [], f"The outcome is about a file in container {source.container!r}, which is not NER_INPUT_CONTAINER."
    try:
        download = account.blob(source.container, source.name).download_blob(
            max_concurrency=CONNECTIONS, decompress=False
        )
        data = content(download.readall(), download.properties.content_settings.content_encoding)
    except ResourceNotFoundError:
        return [], "The file is no longer in the input container."
    if download.properties.etag.strip('"') != source.etag:
        return [], "The file has been replaced by a newer version, which has no outcome yet."
    try:
        found = read_documents(
            source.name, data, language="", max_bytes=max(len(data), account.settings.max_blob_bytes)
        )
        return [entry for entry in found.entries() if isinstance(entry, Document)], ""
    except DocumentError as error:
        return [], error.message


def shown(outcome: Outcome, texts: list[Document]) -> Iterator[Shown]:
    """Yield the documents of a file, each with what its outcome says about it."""
    problems: dict[str, list[Problem]] = {}
    for problem in outcome.errors:
        if problem.document_id is not None:
            problems.setdefault(problem.document_id, []).append(problem)
    left = {document.id: document.entities for document in outcome.documents}
    for text in texts:
        yield Shown(text.id, text.text, left.pop(text.id, []), problems.get(text.id, []))
    for document_id, entities in left.items():
        yield Shown(document_id, None, entities, problems.get(document_id, []))
