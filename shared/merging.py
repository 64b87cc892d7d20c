"""Numbers documents when they are sent, and merges their results in the order of the file.

A request of several documents sends them as `00:id`, `01:id` and so on, because results have only the id, in any order.
The parts of a long document, each in a job of its own, become one document again, with offsets into the whole text.
Results are merged as JSON text, so a file of a million entities is never in memory as a whole. `cut_document` merges
the rest.
"""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import msgspec

from shared.cut_document import OpenDocument, in_order
from shared.ner.model import Document, DocumentResult, Entity, Job, JobStatus, Problem, flat
from shared.ner.reading import UNREADABLE
from shared.source import Position
from shared.state.batch import SubmittedJob

encode = msgspec.json.encode

REPEATED = (
    "The service returned this document more than once, with different results. The outcome contains the first one. "
    "Upload the file again."
)


class Results(NamedTuple):
    """The results of a job that ended.

    Attributes:
        documents: one for each document sent; None if the service gave no result.
        problems: all that went wrong with the job and its documents.
        erroneous: indexes of the documents that have an error; some may have a result too.
    """

    documents: list[DocumentResult | None]
    problems: list[Problem]
    erroneous: set[int | None]

    @property
    def valid_count(self) -> int:
        """How many documents have a result and no error."""
        return sum(
            document is not None and index not in self.erroneous for index, document in enumerate(self.documents)
        )


def numbered(documents: Sequence[Document]) -> list[Document]:
    """Return documents under the ids that are sent."""
    if len(documents) == 1:
        return list(documents)
    return [
        Document(f"{index:02}:{document.id}", document.text, document.language)
        for index, document in enumerate(documents)
    ]


def results_of(submitted: SubmittedJob, job: Job) -> Results:
    """Return the results of a job that ended, and all that went wrong.

    The status alone does not count: a job with the status `succeeded` may still lack documents. If the service returned
    a document twice, the first result counts; if they differ, that is an error, because either may be wrong.
    """
    count = submitted.documents_count
    results: list[DocumentResult | None] = [None] * count
    repeated: dict[int, Problem] = {}
    for document in job.documents:
        index, document_id = place_of(document.id, count)
        if index is None:
            continue
        found, first = restored(document, document_id, submitted.start.offset if index == 0 else 0), results[index]
        if first is None:
            results[index] = found
        elif in_order(flat(found)) != in_order(flat(first)):
            repeated[index] = Problem(UNREADABLE, REPEATED, first.id)
    problems = list(repeated.values())
    explained: set[int | None] = set(repeated)
    for problem in job.problems:
        if problem.document_id is None:
            problems.append(problem)
        else:
            index, document_id = place_of(problem.document_id, count)
            problems.append(msgspec.structs.replace(problem, document_id=document_id))
            explained.add(index)
    about_the_job = any(problem.document_id is None for problem in problems)
    missing = sum(result is None and index not in explained for index, result in enumerate(results))
    if job.status in (JobStatus.FAILED, JobStatus.CANCELLED) and not problems:
        word = "was cancelled" if job.status is JobStatus.CANCELLED else "failed"
        problems.append(Problem("JobFailed", f"The job {word} and the service gave no reason. Upload the file again."))
    elif missing and not about_the_job:
        problems.append(
            Problem(
                "MissingResults",
                f"The service returned no result for {missing} of {count} documents and gave no "
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
    return Results(results, problems, explained)


def place_of(wire_id: str, documents_count: int) -> tuple[int | None, str]:
    """Return a document's index in its request and its own id; no index for an id that was not sent."""
    if documents_count == 1:
        return 0, wire_id
    number, colon, document_id = wire_id.partition(":")
    if not colon or len(number) != 2 or not number.isascii() or not number.isdigit() or int(number) >= documents_count:
        return None, wire_id
    return int(number), document_id


def restored(document: DocumentResult, document_id: str, shift: int) -> DocumentResult:
    """Return a result under its own id, with offsets into the whole text, sorted by position."""
    entities = sorted(document.entities, key=lambda entity: (entity.offset, entity.length))
    if shift:
        entities = [msgspec.structs.replace(entity, offset=entity.offset + shift) for entity in entities]
    return msgspec.structs.replace(document, id=document_id, entities=entities)


def transactions_of(submitted: SubmittedJob, job: Job) -> int:
    """Return the service's count of text records; if it gives none or zero, that of the app."""
    return (job.statistics and job.statistics.transactions_count) or submitted.transactions_count


class MergeState(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The state of the merging, with which another worker can continue it."""

    documents_count: int = 0
    valid_documents_count: int = 0
    errors_count: int = 0
    transactions_count: int = 0
    entities_count: int = 0
    open: OpenDocument | None = None


class Merger:
    """Merges the jobs of a file, in their order, into the members of two JSON lists.

    `documents` and `errors` are the text written since the merger was created: members of the outcome's lists, each on
    its own line. `omitted_count` is the number of fields that were left out of the documents.
    """

    def __init__(self, state: MergeState) -> None:
        """Continue from a state."""
        self.documents = bytearray()
        self.errors = bytearray()
        self.omitted_count = 0
        self.state = state

    def add(self, submitted: SubmittedJob, job: Job) -> None:
        """Add the next job, which has ended."""
        results = results_of(submitted, job)
        self.add_results(submitted.start, submitted.end, results.documents, results.erroneous)
        place = describe_place(submitted.start, submitted.end)
        for problem in results.problems:
            self.add_problem(problem if problem.document_id is not None else located(problem, place))
        self.change(transactions_count=self.state.transactions_count + transactions_of(submitted, job))

    def add_missing(self, start: Position, end: Position | None, documents_count: int, problem: Problem) -> None:
        """Add documents without results, and the reason."""
        self.add_results(start, end, [None] * documents_count)
        self.add_problem(located(problem, describe_place(start, end)))

    def add_results(
        self,
        start: Position,
        end: Position | None,
        results: Sequence[DocumentResult | None],
        erroneous: Collection[int | None] = (),
    ) -> None:
        """Write the documents of one request; `erroneous` are the indexes of those that have an error."""
        opened = self.state.open
        continues = opened is not None and start.offset > 0 and start.document == opened.number
        is_continued = end is not None and end.offset > 0
        for index, result in enumerate(results):
            if not (index == 0 and continues):
                self.close()
                is_last = index == len(results) - 1
                # Only the last document of a request can be continued, and only then is its number needed.
                number = end.document if end is not None and is_continued and is_last else -1
                self.change(open=OpenDocument(number))
            self.write(result, start.offset if index == 0 else 0, is_erroneous=index in erroneous)
        if not is_continued:
            self.close()

    def write(self, result: DocumentResult | None, offset: int, *, is_erroneous: bool) -> None:
        """Write a part of the open document, which begins at `offset`."""
        opened = self.state.open
        if opened is None:
            raise ValueError("no document is open")
        if result is None or is_erroneous:
            opened = msgspec.structs.replace(opened, is_incomplete=True)
        if result is None:
            self.change(open=opened)
            return
        if not opened.is_written:
            beginning = b'{"id": ' + encode(result.id) + b', "entities": ['
            self.documents += in_line(beginning, is_first=not self.state.documents_count)
            self.change(documents_count=self.state.documents_count + 1)
        self.write_entities(result.entities, is_first=not opened.has_entities)
        self.change(
            entities_count=self.state.entities_count + len(result.entities),
            open=opened.with_part(result, offset),
        )

    def write_entities(self, entities: Sequence[Entity], *, is_first: bool) -> None:
        """Write entities into the open document."""
        if entities:
            self.documents += b"" if is_first else b", "
            self.documents += b", ".join(encode(flat(entity)) for entity in entities)

    def close(self) -> None:
        """End the open document, if there is one."""
        opened = self.state.open
        if opened is None:
            return
        if opened.is_written:
            self.documents += opened.end()
            self.omitted_count += opened.omitted_count
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
    """Return a member of one of the outcome's lists on its own line, after the separator."""
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
