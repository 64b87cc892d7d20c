"""Results of many jobs become documents again: in the order of the file, with offsets into the whole text."""

import json
import random
import re
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.merging import Merger, MergeState, numbered, results_of
from shared.ner.model import (
    Document,
    DocumentResult,
    Entity,
    Job,
    JobStatus,
    Problem,
    ServiceDocument,
    ServiceEntity,
    Statistics,
)
from shared.packing import Limits, Request, pack
from shared.source import Position
from shared.state.batch import SubmittedJob
from tests.unit.test_packing import limits
from tests.unit.test_text_elements import texts

files = st.lists(texts.filter(str.strip), min_size=1, max_size=8)
CHANCE = random.Random(0)  # noqa: S311
WARNING = {"code": "LongWords", "message": "m"}


def entity(text: str, offset: int) -> Entity:
    """Return an entity at a place."""
    return Entity(text, "word", offset, len(text), 0.5)


def words(text: str) -> list[Entity]:
    """Recognise each word."""
    return [entity(match[0], match.start()) for match in re.finditer(r"\S+", text)]


def submitted(request: Request) -> SubmittedJob:
    """Return the job that a request becomes."""
    return SubmittedJob("id", len(request.documents), request.transactions_count, request.start, request.end)


def answer(request: Request, chance: random.Random) -> Job:
    """Return the job as the service might show it: by the ids it was sent, in any order."""
    results = [DocumentResult(document.id, words(document.text), [WARNING]) for document in numbered(request.documents)]
    for result in results:
        chance.shuffle(result.entities)
    chance.shuffle(results)
    return Job("id", JobStatus.SUCCEEDED, documents=results)


def merged(state: MergeState, documents: bytes, errors: bytes) -> tuple[list[Any], list[Any], MergeState]:
    """Read what was merged."""
    return json.loads(b"[" + documents + b"]"), json.loads(b"[" + errors + b"]"), state


def merge(
    jobs: list[tuple[SubmittedJob, Job | None]], chance: random.Random
) -> tuple[list[Any], list[Any], MergeState]:
    """Merge jobs, None for a lost one, with an interruption now and then; return documents, errors and the counts."""
    merger, documents, errors = Merger(MergeState()), b"", b""
    for sent, job in jobs:
        if chance.random() < 0.5:
            documents += merger.documents
            errors += merger.errors
            merger = Merger(msgspec.json.decode(msgspec.json.encode(merger.state), type=MergeState))
        if job is None:
            merger.add_missing(sent.start, sent.end, sent.documents_count, Problem("Lost", "It is lost."))
        else:
            merger.add(sent, job)
    merger.close()
    return merged(merger.state, documents + merger.documents, errors + merger.errors)


@example(["aaaa bbbb" + " " * 80, " " * 80 + "cccc"], Limits(2, 10), CHANCE)
@example(["first", " " * 40 + "second word " * 10], Limits(4, 30), CHANCE)
@given(files, limits, st.randoms(use_true_random=False))
def test_merged_offsets_point_at_the_entities_text(texts: list[str], limits: Limits, chance: random.Random) -> None:
    """Of every part of every document, once, in order; whole words where the text was not cut."""
    requests = list(pack([Document(str(number), text, "en") for number, text in enumerate(texts)], limits=limits))
    documents, errors, state = merge([(submitted(request), answer(request, chance)) for request in requests], chance)
    assert [document["id"] for document in documents] == [str(number) for number in range(len(texts))]
    assert not errors
    for text, document in zip(texts, documents, strict=True):
        found = [(part["offset"], part["text"]) for part in document["entities"]]
        assert found == sorted(found)
        assert all(text[offset : offset + len(part)] == part for offset, part in found)
        assert "".join(part for _, part in found) == "".join(text.split())
        assert document["warnings"]
    assert state.valid_documents_count == state.documents_count == len(texts)
    assert state.transactions_count == sum(request.transactions_count for request in requests)


@given(files, limits, st.randoms(use_true_random=False))
def test_a_lost_job_costs_its_part_and_no_other(texts: list[str], limits: Limits, chance: random.Random) -> None:
    """What was found elsewhere stays; a document is valid only if nothing of it is lost."""
    requests = list(pack([Document(str(number), text, "en") for number, text in enumerate(texts)], limits=limits))
    lost = [chance.random() < 0.4 for _ in requests]
    jobs = [
        (submitted(request), None if gone else answer(request, chance))
        for request, gone in zip(requests, lost, strict=True)
    ]
    documents, errors, state = merge(jobs, chance)
    parts: dict[str, list[bool]] = {}
    for request, gone in zip(requests, lost, strict=True):
        for document in request.documents:
            parts.setdefault(document.id, []).append(gone)
    assert [document["id"] for document in documents] == [name for name, gone in parts.items() if not all(gone)]
    assert state.valid_documents_count == sum(not any(gone) for gone in parts.values())
    assert [error["code"] for error in errors] == ["Lost"] * sum(lost)
    for document in documents:
        text = texts[int(document["id"])]
        for part in document["entities"]:
            assert text[part["offset"] : part["offset"] + part["length"]] == part["text"]


@pytest.mark.parametrize(
    ("start", "end", "place"),
    [
        (Position(0), Position(25), "Documents 1 to 25"),
        (Position(25), Position(26), "Document 26"),
        (Position(0), Position(0, 125_000), "Document 1, characters 1 to 125,000"),
        (Position(0, 125_000), Position(1), "Document 1, from character 125,001 to its end"),
        (Position(0, 125_000), None, "Document 1, character 125,001, to the end of the file"),
        (Position(975), None, "Document 976 to the end of the file"),
        (Position(3), Position(5, 7), "Documents 4 to 6"),
    ],
)
def test_a_lost_job_is_named_by_its_place(start: Position, end: Position | None, place: str) -> None:
    """The uploader knows the file, not the jobs."""
    merger = Merger(MergeState())
    merger.add_missing(start, end, 1, Problem("Lost", "It is lost."))
    assert json.loads(merger.errors)["message"] == f"{place}: It is lost."


def test_errors_and_warnings_stay_with_their_document() -> None:
    """Under the uploader's ids, not those that were sent; what concerns the whole job is named by its place."""
    sent = SubmittedJob("id", 3, 3, Position(25), Position(28))
    job = Job(
        "id",
        JobStatus.PARTIALLY_SUCCEEDED,
        documents=[DocumentResult("02:c:1", [entity("x", 4)], [WARNING]), DocumentResult("00:a", [])],
        problems=[Problem("InvalidDocument", "Bad.", "01:b"), Problem("Internal", "Worse.")],
        statistics=Statistics(3, 2, 1, 7),
    )
    merger = Merger(MergeState())
    merger.add(sent, job)
    documents, errors, state = merged(merger.state, bytes(merger.documents), bytes(merger.errors))
    assert [(document["id"], document["warnings"]) for document in documents] == [("a", []), ("c:1", [WARNING])]
    assert errors == [
        {"code": "InvalidDocument", "message": "Bad.", "documentId": "b"},
        {"code": "Internal", "message": "Documents 26 to 28: Worse."},
    ]
    assert (state.valid_documents_count, state.transactions_count) == (2, 7)


def test_an_id_that_was_not_sent_is_left_aside() -> None:
    """And what was sent is missed."""
    sent = SubmittedJob("id", 2, 2)
    answers = [DocumentResult(name, []) for name in ("a", "02:b", "x:c", "00:good")]
    results, problems, _ = results_of(sent, Job("id", JobStatus.SUCCEEDED, documents=answers))
    assert results == [DocumentResult("good", []), None]
    assert [problem.code for problem in problems] == ["MissingResults"]


ENGLISH, GERMAN = {"name": "English"}, {"name": "German"}


def parts(*documents: DocumentResult | None) -> dict[str, Any]:
    """Return a document that was merged of parts of ten characters each, None for a lost one."""
    jobs = []
    for number, document in enumerate(documents):
        is_last = number == len(documents) - 1
        end = None if is_last else Position(0, 10 * (number + 1))
        sent = SubmittedJob("id", 1, 1, Position(0, 10 * number), end)
        jobs.append((sent, Job("id", JobStatus.SUCCEEDED, documents=[document]) if document else None))
    (merged,), _, _ = merge(jobs, CHANCE)
    found: dict[str, Any] = merged
    return found


def part(*entities: Entity, counts: Any = msgspec.UNSET, **others: Any) -> DocumentResult:
    """Return the result of a part."""
    return ServiceDocument("a", list(entities), [], counts, others)


def test_a_document_in_one_piece_keeps_its_fields() -> None:
    """Beside those that the app knows, as do its entities; other documents have none of them."""
    sent = SubmittedJob("id", 2, 2)
    found = ServiceEntity("x", "word", 4, 1, 0.5, None, {"tags": [2**70], "offsets": [4]})
    statistics = {"charactersCount": 5, "transactionsCount": 1, "more": 0.1}
    answers = [ServiceDocument("01:b", [found], [WARNING], statistics, {"parts": 1}), DocumentResult("00:a", [])]
    merger = Merger(MergeState())
    merger.add(sent, Job("id", JobStatus.SUCCEEDED, documents=answers))
    documents, _, _ = merged(merger.state, bytes(merger.documents), b"")
    entity = {"text": "x", "category": "word", "offset": 4, "length": 1, "confidenceScore": 0.5}
    assert documents == [
        {"id": "a", "entities": [], "warnings": []},
        {
            "id": "b",
            "entities": [{**entity, "tags": [2**70], "offsets": [4]}],
            "warnings": [WARNING],
            "statistics": statistics,
            "parts": 1,
        },
    ]


def test_parts_that_agree_are_one_document() -> None:
    """What is counted is added up."""
    document = parts(
        *(part(counts={"charactersCount": 10, "transactionsCount": 1}, detectedLanguage=ENGLISH) for _ in range(3))
    )
    assert document == {
        "id": "a",
        "entities": [],
        "warnings": [],
        "statistics": {"charactersCount": 30, "transactionsCount": 3},
        "detectedLanguage": ENGLISH,
    }


def test_parts_that_disagree_are_listed() -> None:
    """The document has the fields of the first part, and each listed part has all of its own."""
    document = parts(
        part(detectedLanguage=ENGLISH),
        part(detectedLanguage=GERMAN, new="a"),
        part(detectedLanguage=ENGLISH),
        part(detectedLanguage=ENGLISH, new=1),
        part(),
    )
    assert document == {
        "id": "a",
        "entities": [],
        "warnings": [],
        "detectedLanguage": ENGLISH,
        "parts": [
            {"offset": 10, "fields": {"detectedLanguage": GERMAN, "new": "a"}},
            {"offset": 30, "fields": {"detectedLanguage": ENGLISH, "new": 1}},
            {"offset": 40, "fields": {}},
        ],
    }


@pytest.mark.parametrize("first", [part(), None])
def test_a_field_that_first_appears_in_a_later_part_is_listed_there(first: DocumentResult | None) -> None:
    """Its offsets count from the beginning of that part."""
    document = parts(first, part(new={"offset": 4}), part(new={"offset": 4}))
    assert "new" not in document
    fields = {"new": {"offset": 4}}
    assert document["parts"] == [{"offset": 10, "fields": fields}, {"offset": 20, "fields": fields}]


@pytest.mark.parametrize(("value", "is_listed"), [([{"a": 4}], True), ([{"a": 4.0, "b": True, "c": "4"}], False)])
def test_a_part_with_equal_fields_is_listed_if_one_may_be_an_offset(value: object, *, is_listed: bool) -> None:
    """It is another place then. Without `fields`, they are those of the document."""
    document = parts(part(new=value), part(new=value))
    assert document["new"] == value
    assert document.get("parts", []) == [{"offset": 10}] * is_listed


@given(
    st.lists(
        st.none() | st.dictionaries(st.sampled_from(["a", "b", "parts"]), st.sampled_from([1, 1.0, True, "x"])),
        min_size=2,
        max_size=5,
    ).filter(any)
)
def test_the_fields_of_every_part_and_their_base_can_be_told(found: list[dict[str, Any] | None]) -> None:
    """By the rule of the documentation alone; a part without a result is None."""
    document = parts(*(None if fields is None else part(**fields) for fields in found))
    listed = {entry["offset"]: entry for entry in document.get("parts", [])}
    own = {name: value for name, value in document.items() if name in ("a", "b")}
    first = listed.get(0, {}).get("fields", own)
    for number, fields in enumerate(found):
        if fields is None:
            assert 10 * number not in listed
            continue
        entry = listed.get(10 * number, {})
        assert json.dumps(entry.get("fields", first), sort_keys=True) == json.dumps(fields, sort_keys=True)
        assert number == 0 or entry or not any(type(value) is int for value in fields.values())


@pytest.mark.parametrize("first", [part(), None])
def test_a_part_with_new_fields_of_entities_is_listed(first: DocumentResult | None) -> None:
    """Offsets in these count from where it begins; those of entities are into the whole text, as ever."""
    found = ServiceEntity("x", "word", 4, 1, others={"metadata": {"offset": 4}})
    document = parts(first, part(found))
    assert [(entity["offset"], entity["metadata"]) for entity in document["entities"]] == [(14, {"offset": 4})]
    assert document["parts"] == [{"offset": 10}]


def test_a_field_called_parts_is_not_lost() -> None:
    """In a document that was cut, `parts` is always the list of the app, which then begins with the first part."""
    document = parts(part(parts="all", new=1), part(parts="all", new=2))
    assert document["new"] == 1
    assert document["parts"] == [
        {"offset": 0, "fields": {"parts": "all", "new": 1}},
        {"offset": 10, "fields": {"parts": "all", "new": 2}},
    ]
    assert parts(part(parts="all"), part(parts="all"))["parts"] == [{"offset": 0, "fields": {"parts": "all"}}]
    assert parts(part(), part(parts="all"))["parts"] == [{"offset": 10, "fields": {"parts": "all"}}]
    assert parts(part(parts="all"))["parts"] == "all"


def test_a_document_that_begins_with_much_blank_text_lists_its_part() -> None:
    """The blank text is not sent, so the first part begins later."""
    merger = Merger(MergeState())
    sent = SubmittedJob("id", 1, 1, Position(0, 125_000))
    merger.add(sent, Job("id", JobStatus.SUCCEEDED, documents=[part(words("x")[0], new=[0])]))
    ((document,), _, _) = merged(merger.state, bytes(merger.documents), b"")
    assert document["entities"][0]["offset"] == 125_000
    assert document["parts"] == [{"offset": 125_000, "fields": {"new": [0]}}]


def test_statistics_of_parts_that_are_no_counts_are_listed() -> None:
    """Only counts are added up."""
    document = parts(
        part(counts={"charactersCount": 10, "new": "a"}),
        part(counts={"charactersCount": 10, "new": "b"}),
        part(counts={"charactersCount": "ten"}),
    )
    assert document["statistics"] == {"charactersCount": 20, "new": "a"}
    assert document["parts"] == [
        {"offset": 10, "fields": {"statistics": {"new": "b"}}},
        {"offset": 20, "fields": {"statistics": {"charactersCount": "ten"}}},
    ]


@pytest.mark.parametrize(
    ("documents", "names", "kept"),
    [
        ((part(small=1, large="x" * 65_536), part()), "`large` at offset 0. ", {"small": 1}),
        ((part(small=1), part(large="x" * 65_536, new=2)), "`large` at offset 10. ", {"small": 1}),
        ((part(a="x" * 40_000), part(b="x" * 40_000)), "`b` at offset 10. ", {"a": "x" * 40_000}),
        ((part(**{f"{n:02}": "x" * 65_536 for n in range(12)}), part()), "`02` at offset 0 and 2 more. ", {}),
    ],
)
def test_a_long_document_keeps_new_fields_up_to_a_size(
    documents: tuple[DocumentResult, ...], names: str, kept: dict[str, Any]
) -> None:
    """Because its state is written after each step. The largest are left out, and a warning names them."""
    document = parts(*documents)
    (warning,) = document.pop("warnings")
    assert warning["code"] == "FieldsOmitted"
    assert names in warning["message"]
    assert "65,536 bytes" in warning["message"]
    listed = document.pop("parts", [])
    assert {name: value for name, value in document.items() if name not in ("id", "entities")} == kept
    assert "x" * 65_536 not in json.dumps(listed)
    assert len(json.dumps([document, listed])) < 66_000
    if "new" in getattr(documents[1], "others", {}):
        assert listed == [{"offset": 10, "fields": {"new": 2}}]


def test_a_document_in_one_piece_keeps_new_fields_of_any_size() -> None:
    """And so does one that was cut, up to 64 KiB in all."""
    large = "x" * 65_536
    assert parts(part(large=large)) == {"id": "a", "entities": [], "warnings": [], "large": large}
    medium = "x" * 30_000
    assert parts(part(medium=medium), part(medium=medium + "y")) == {
        "id": "a",
        "entities": [],
        "warnings": [],
        "medium": medium,
        "parts": [{"offset": 10, "fields": {"medium": medium + "y"}}],
    }


SAME = DocumentResult("00:a", [entity("x", 4), entity("y", 0)], [WARNING])


def twice(second: DocumentResult) -> tuple[list[DocumentResult | None], list[Problem], Job]:
    """Return the results of a job of two documents with another result for the first one, and the job."""
    job = Job("id", JobStatus.SUCCEEDED, documents=[SAME, DocumentResult("01:b", []), second])
    results, problems, _ = results_of(SubmittedJob("id", 2, 2), job)
    return results, problems, job


def test_the_same_result_twice_is_one_result() -> None:
    """Whatever the order of its entities."""
    results, problems, _ = twice(msgspec.structs.replace(SAME, entities=SAME.entities[::-1]))
    assert [result.id for result in results if result] == ["a", "b"]
    assert not problems


@pytest.mark.parametrize(
    "second",
    [
        DocumentResult("00:a", [], [WARNING]),
        ServiceDocument("00:a", SAME.entities, [WARNING], others={"new": 1}),
        DocumentResult("00:other", SAME.entities, [WARNING]),
    ],
)
def test_different_results_for_a_document_are_an_error(second: DocumentResult) -> None:
    """The first one is kept, since it was paid for, but no reader may take it for certain."""
    results, problems, job = twice(second)
    first = results[0]
    assert first is not None
    assert [found.offset for found in first.entities] == [0, 4]
    assert [(problem.code, problem.document_id) for problem in problems] == [("InvalidResponse", "a")]
    assert "more than once" in problems[0].message
    merger = Merger(MergeState())
    merger.add(SubmittedJob("id", 2, 2), job)
    documents, errors, state = merged(merger.state, bytes(merger.documents), bytes(merger.errors))
    assert [document["id"] for document in documents] == ["a", "b"]
    assert [error["documentId"] for error in errors] == ["a"]
    assert (state.documents_count, state.valid_documents_count) == (2, 1)


def test_a_document_with_a_result_and_an_error_is_not_valid() -> None:
    """Both are in the outcome."""
    job = Job("id", JobStatus.SUCCEEDED, documents=[SAME], problems=[Problem("Bad", "It is bad.", "00:a")])
    merger = Merger(MergeState())
    merger.add(SubmittedJob("id", 2, 2), msgspec.structs.replace(job, documents=[SAME, DocumentResult("01:b", [])]))
    documents, errors, state = merged(merger.state, bytes(merger.documents), bytes(merger.errors))
    assert [document["id"] for document in documents] == ["a", "b"]
    assert [error["documentId"] for error in errors] == ["a"]
    assert state.valid_documents_count == 1
