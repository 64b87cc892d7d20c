"""Documents on the wire and back: numbered when they are sent, put in order and merged when they return.

A request of several documents sends them as `00:id`, `01:id` and so on: results come back by id alone, in an order
that nobody promises. The parts of a long document, each in a job of its own, become one document again, with offsets
into the whole text. What is merged is JSON text at once: a file of a million entities is never in memory as a whole.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from shared.ner.model import Document, DocumentResult, Entity, Job, JobStatus, Problem
from shared.source import Position
from shared.state.batch import SubmittedJob

encode = msgspec.json.encode


def numbered(documents: Sequence[Document]) -> list[Document]:
    """Return documents under the ids that are sent."""
    if len(documents) == 1:
        return list(documents)
    return [
        Document(f"{index:02}:{document.id}", document.text, document.language)
        for index, document in enumerate(documents)
    ]


def results_of(submitted: SubmittedJob, job: Job) -> tuple[list[DocumentResult | None], list[Problem]]:
    """Return the results of a job that ended, one for each document sent, and all that went wrong.

    A result is None where the service gave none. A job counts by what it brought, not by its status alone: a job may be
    called succeeded and still lack documents.
    """
    results: list[DocumentResult | None] = [None] * submitted.documents_count
    for document in job.documents:
        index, document_id = place_of(document.id, submitted.documents_count)
        if index is not None:
            results[index] = restored(document, document_id, submitted.start.offset if index == 0 else 0)
    problems = [
        problem
        if problem.document_id is None
        else msgspec.structs.replace(problem, document_id=place_of(problem.document_id, submitted.documents_count)[1])
        for problem in job.problems
    ]
    explained = {
        place_of(problem.document_id, submitted.documents_count)[0]
        for problem in job.problems
        if problem.document_id is not None
    }
    about_the_job = any(problem.document_id is None for problem in problems)
    missing = sum(result is None and index not in explained for index, result in enumerate(results))
    if job.status in (JobStatus.FAILED, JobStatus.CANCELLED) and not problems:
        word = "was cancelled" if job.status is JobStatus.CANCELLED else "failed"
        problems.append(Problem("JobFailed", f"The job {word} and the service gave no reason. Upload the file again."))
    elif missing and not about_the_job:
        problems.append(
            Problem(
                "MissingResults",
                f"The service returned no result for {missing} of {submitted.documents_count} documents and gave no "
                "reason. Upload the file again.",
            )
        )
    elif job.status is JobStatus.PARTIALLY_SUCCEEDED and not problems:
        problems.append(
            Problem(
                "PartialResults",
                "The service completed the job only in part and gave no reason, so entities may be missing. "
                "Upload the file again.",
            )
        )
    return results, problems


def place_of(wire_id: str, documents_count: int) -> tuple[int | None, str]:
    """Return a document's index in its request and its own id; no index for an id that was not sent."""
    if documents_count == 1:
        return 0, wire_id
    number, colon, document_id = wire_id.partition(":")
    if not colon or len(number) != 2 or not number.isascii() or not number.isdigit() or int(number) >= documents_count:
        return None, wire_id
    return int(number), document_id


def restored(document: DocumentResult, document_id: str, shift: int) -> DocumentResult:
    """Return a result under its own id, with offsets into the whole text, in reading order, which no service keeps."""
    entities = sorted(document.entities, key=lambda entity: (entity.offset, entity.length))
    if shift:
        entities = [msgspec.structs.replace(entity, offset=entity.offset + shift) for entity in entities]
    return DocumentResult(document_id, entities, document.warnings)


def transactions_of(submitted: SubmittedJob, job: Job) -> int:
    """Return the service's count of text records; some dialects give none, or zero."""
    return (job.statistics and job.statistics.transactions_count) or submitted.transactions_count


class OpenDocument(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A document whose parts have not all come yet; `number` is its place in the file.

    Attributes:
        is_written: whether its beginning has been written.
        has_entities: whether any of its entities has been.
        is_incomplete: whether a part of it gave no result.
        warnings: of all parts until now.
    """

    number: int
    is_written: bool = False
    has_entities: bool = False
    is_incomplete: bool = False
    warnings: list[dict[str, Any]] = []


class MergeState(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """How far the merging has come; all that is needed to go on with it elsewhere."""

    documents_count: int = 0
    valid_documents_count: int = 0
    errors_count: int = 0
    transactions_count: int = 0
    entities_count: int = 0
    open: OpenDocument | None = None


class Merger:
    """Merges the jobs of a file, in their order, into the members of two JSON lists.

    `documents` and `errors` are what was written since the merger was made: parts of the text between the brackets of
    the outcome's lists, each member in a line of its own.
    """

    def __init__(self, state: MergeState) -> None:
        """Go on where a state says."""
        self.documents = bytearray()
        self.errors = bytearray()
        self.state = state

    def add(self, submitted: SubmittedJob, job: Job) -> None:
        """Add the next job, which has ended."""
        results, problems = results_of(submitted, job)
        self.add_results(submitted.start, submitted.end, results)
        place = describe_place(submitted.start, submitted.end)
        for problem in problems:
            self.add_problem(problem if problem.document_id is not None else located(problem, place))
        self.change(transactions_count=self.state.transactions_count + transactions_of(submitted, job))

    def add_missing(self, start: Position, end: Position | None, documents_count: int, problem: Problem) -> None:
        """Add documents for which there is nothing but the reason."""
        self.add_results(start, end, [None] * documents_count)
        self.add_problem(located(problem, describe_place(start, end)))

    def add_results(self, start: Position, end: Position | None, results: Sequence[DocumentResult | None]) -> None:
        """Write the documents of one request."""
        opened = self.state.open
        continues = opened is not None and start.offset > 0 and start.document == opened.number
        is_continued = end is not None and end.offset > 0
        for index, result in enumerate(results):
            if not (index == 0 and continues):
                self.close()
                is_last = index == len(results) - 1
                # Only the last document of a request goes on, and only then its number is of use.
                number = end.document if end is not None and is_continued and is_last else -1
                self.change(open=OpenDocument(number))
            self.write(result)
        if not is_continued:
            self.close()

    def write(self, result: DocumentResult | None) -> None:
        """Write a part of the open document."""
        opened = self.state.open
        if opened is None:
            raise ValueError("no document is open")
        if result is None:
            self.change(open=msgspec.structs.replace(opened, is_incomplete=True))
            return
        if not opened.is_written:
            beginning = b'{"id": ' + encode(result.id) + b', "entities": ['
            self.documents += in_line(beginning, is_first=not self.state.documents_count)
            self.change(documents_count=self.state.documents_count + 1)
        self.write_entities(result.entities, is_first=not opened.has_entities)
        self.change(
            entities_count=self.state.entities_count + len(result.entities),
            open=msgspec.structs.replace(
                opened,
                is_written=True,
                has_entities=opened.has_entities or bool(result.entities),
                warnings=opened.warnings + result.warnings,
            ),
        )

    def write_entities(self, entities: Sequence[Entity], *, is_first: bool) -> None:
        """Write entities into the open document."""
        if entities:
            self.documents += b"" if is_first else b", "
            self.documents += b", ".join(encode(entity) for entity in entities)

    def close(self) -> None:
        """End the open document, if there is one."""
        opened = self.state.open
        if opened is None:
            return
        if opened.is_written:
            self.documents += b'], "warnings": ' + encode(opened.warnings) + b"}"
        is_valid = opened.is_written and not opened.is_incomplete
        self.change(open=None, valid_documents_count=self.state.valid_documents_count + is_valid)

    def add_problem(self, problem: Problem) -> None:
        """Write an error."""
        self.errors += in_line(encode(problem), is_first=not self.state.errors_count)
        self.change(errors_count=self.state.errors_count + 1)

    def change(self, **changes: Any) -> None:
        """Change the state."""
        self.state = msgspec.structs.replace(self.state, **changes)


def in_line(member: bytes, *, is_first: bool) -> bytes:
    """Return a member of one of the outcome's lists in a line of its own, with what parts it from the one before."""
    return (b"\n    " if is_first else b",\n    ") + member


def located(problem: Problem, place: str) -> Problem:
    """Return a problem that says which part of the file it is about."""
    return msgspec.structs.replace(problem, message=f"{place}: {problem.message}")


def describe_place(start: Position, end: Position | None) -> str:
    """Return which part of a file a job is about, counted from one."""
    first, last = start.document + 1, None if end is None else end.document + (1 if end.offset else 0)
    if first == last:
        if not start.offset and end is not None and not end.offset:
            return f"Document {first}"
        if end is not None and end.offset:
            return f"Document {first}, characters {start.offset + 1:,} to {end.offset:,}"
        return f"Document {first}, from character {start.offset + 1:,} to its end"
    if last is None:
        character = f", character {start.offset + 1:,}," if start.offset else ""
        return f"Document {first}{character} to the end of the file"
    return f"Documents {first} to {last}"
