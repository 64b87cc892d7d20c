"""Numbers documents when they are sent, and merges their results in the order of the file.

A request of several documents sends them as `00:id`, `01:id` and so on, because results have only the id, in any order.
The parts of a long document, each in a job of its own, become one document again, with offsets into the whole text.
Results are merged as JSON text, so a file of a million entities is never in memory as a whole.

Fields that this app does not know stay with their entity or document. In a document that was cut, each has the value of
the first part that has it. `parts` lists the later parts that have other values, with these as `fields`, or entities
with unknown fields. An offset in an unknown field counts from the `offset` of the part, because the app cannot know
that it is an offset. `statistics` are sums.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from shared.ner.model import Document, DocumentResult, Entity, Job, JobStatus, Problem, flat, others_of
from shared.source import Position
from shared.state.batch import SubmittedJob

encode = msgspec.json.encode

COUNTS: Final = ("charactersCount", "transactionsCount")
"""Statistics of a document that are the sums over its parts."""
LARGEST_OPEN: Final = 64 * 1024
"""Bytes of the unknown fields of a document that was cut; the ledger has them after each step. More are not kept."""


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

    A result is None if the service gave none. The status alone does not count: a job with the status `succeeded` may
    still lack documents.
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
    """Return a result under its own id, with offsets into the whole text, sorted by position."""
    entities = sorted(document.entities, key=lambda entity: (entity.offset, entity.length))
    if shift:
        entities = [msgspec.structs.replace(entity, offset=entity.offset + shift) for entity in entities]
    return msgspec.structs.replace(document, id=document_id, entities=entities)


def transactions_of(submitted: SubmittedJob, job: Job) -> int:
    """Return the service's count of text records; if it gives none or zero, that of the app."""
    return (job.statistics and job.statistics.transactions_count) or submitted.transactions_count


class OpenDocument(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A document of which parts may be missing; `number` is its number in the file, from 0, or -1 if it is not cut.

    Attributes:
        is_written: whether its beginning has been written.
        has_entities: whether any of its entities has been.
        is_incomplete: whether a part of it gave no result.
        warnings: of all parts until now.
        statistics: sums of all parts until now.
        fields: unknown fields, each with the value of the first part that has it.
        parts: the later parts that the outcome lists.
    """

    number: int
    is_written: bool = False
    has_entities: bool = False
    is_incomplete: bool = False
    warnings: list[dict[str, Any]] = []
    statistics: dict[str, Any] = {}
    fields: dict[str, Any] = {}
    parts: list[dict[str, Any]] = []

    def with_part(self, result: DocumentResult, offset: int) -> "OpenDocument":
        """Return the document with the next part, which begins at `offset`."""
        others, statistics = others_of(result), result.statistics or {}
        differing = {
            name: value
            for name, value in others.items()
            if name in self.fields and encode(value) != encode(self.fields[name])
        }
        fields, parts = others | self.fields, self.parts
        if offset and (differing or any(others_of(entity) for entity in result.entities)):
            parts = [*parts, {"offset": offset} | ({"fields": differing} if differing else {})]
        if self.number >= 0 and len(encode((fields, parts))) > LARGEST_OPEN:
            fields, parts = self.fields, self.parts
        return msgspec.structs.replace(
            self,
            is_written=True,
            has_entities=self.has_entities or bool(result.entities),
            warnings=self.warnings + result.warnings,
            statistics=statistics | self.statistics | sums_of(statistics, self.statistics),
            fields=fields,
            parts=parts,
        )

    def end(self) -> bytes:
        """Return the JSON text that follows the entities."""
        fields, parts = self.fields, self.parts
        if parts and "parts" in fields:
            # The service has a field of this name.
            parts = [{"offset": 0, "fields": {"parts": fields["parts"]}}, *parts]
        statistics = {"statistics": self.statistics} if self.statistics else {}
        members = {"warnings": self.warnings} | statistics | fields | ({"parts": parts} if parts else {})
        return b"], " + encode(members)[1:]


def sums_of(first: dict[str, Any], second: dict[str, Any]) -> dict[str, int]:
    """Return the sums of the counts that both statistics have."""
    pairs = {name: (first.get(name), second.get(name)) for name in COUNTS}
    return {name: one + other for name, (one, other) in pairs.items() if type(one) is int and type(other) is int}


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
    its own line.
    """

    def __init__(self, state: MergeState) -> None:
        """Continue from a state."""
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
        """Add documents without results, and the reason."""
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
                # Only the last document of a request can be continued, and only then is its number needed.
                number = end.document if end is not None and is_continued and is_last else -1
                self.change(open=OpenDocument(number))
            self.write(result, start.offset if index == 0 else 0)
        if not is_continued:
            self.close()

    def write(self, result: DocumentResult | None, offset: int) -> None:
        """Write a part of the open document, which begins at `offset`."""
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
