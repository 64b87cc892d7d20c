"""JSON files of many documents: as users and their tools write them, damaged, and made to cost time and memory."""

import json
import random
import tracemalloc
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared import json_documents, json_scanning
from shared.documents import DocumentError, Documents, read_documents, survey
from shared.json_scanning import MAX_MEMBERS
from shared.ner.model import Document, Problem

MIB = 2**20
TEXT = "Please book a table at Blue Heron in Bristol."
ROWS: list[dict[str, Any]] = [{"id": 1, "text": TEXT}, {"id": 2, "text": "Für zwei 🍷"}]
DOCUMENTS = [Document("1", TEXT, "en"), Document("2", "Für zwei 🍷", "en")]
NAMES = ["a.json", "a.jsonl"]


def open_file(name: str, data: bytes) -> Documents:
    """Return the documents of a file in English."""
    return read_documents(name, data, language="en", max_bytes=len(data))


def read(name: str, data: str | bytes) -> list[Document | Problem]:
    """Read a file twice, as the app does."""
    documents = open_file(name, data.encode() if isinstance(data, str) else data)
    survey(documents)
    return list(documents.entries())


def refusal(name: str, data: str | bytes) -> DocumentError:
    """Return why a file is refused."""
    with pytest.raises(DocumentError) as caught:
        read(name, data)
    return caught.value


def lines(rows: list[dict[str, Any]], end: str = "\n") -> str:
    """Return rows as JSON lines."""
    return "".join(json.dumps(row, ensure_ascii=False) + end for row in rows)


class Export(NamedTuple):
    """A file with the two documents, as a tool writes them."""

    tool: str
    data: str


ANNOTATED = [{**row, "label": [[23, 33, "restaurant"]], "Comments": []} for row in ROWS]
TASKS = [
    {"id": row["id"], "data": {"text": row["text"], "source": "a"}, "annotations": [{"result": []}], "meta": {}}
    for row in ROWS
]
PRODIGY = [
    {"text": row["text"], "_input_hash": -7, "tokens": [{"text": "Please", "id": 0}], "spans": [{"start": 0}]}
    for row in ROWS
]
RATED = [{**ROWS[0], "stars": float("nan")}, {**ROWS[1], "stars": float("-inf")}]
EXPORTS = [
    Export("list", json.dumps(ROWS)),
    Export("list, indented", json.dumps(ROWS, indent=2)),
    Export("list, indented with CRLF", json.dumps(ROWS, indent="\t").replace("\n", "\r\n")),
    Export("list, one document a line", "[" + ",\n".join(map(json.dumps, ROWS)) + "]"),
    Export("list, commas first", "[" + "\n,".join(map(json.dumps, ROWS)) + "\n]\n"),
    Export("object around a list", json.dumps({"kind": "x", "documents": ROWS, "more": {"documents": [1]}})),
    Export("request to the service", json.dumps({"documents": ROWS, "language": "en"}, indent=1)),
    Export("lines", lines(ROWS)),
    Export("lines, no end at the end", lines(ROWS).rstrip()),
    Export("lines, CRLF", lines(ROWS, "\r\n")),
    Export("lines, CR", lines(ROWS, "\r")),
    Export("lines, a mark in each", "".join("\ufeff" + lines([row], "\r\n") for row in ROWS)),
    Export("lines, a last mark", lines(ROWS) + "\ufeff"),
    Export("objects without separator", lines(ROWS, "")),
    Export("objects separated by spaces", lines(ROWS, " ")),
    Export("objects, indented", "\n".join(json.dumps(row, indent=2) for row in ROWS)),
    Export("pandas, records", json.dumps([{"id": row["id"] * 1.0, "text": row["text"], "n": None} for row in ROWS])),
    Export("pandas, lines", "".join(json.dumps({**row, "id": float(row["id"])}) + "\n" for row in ROWS)),
    Export("Python, NaN in a list", json.dumps(RATED)),
    Export("Python, NaN in lines", lines(RATED)),
    Export("Python, NaN in lines with escapes", "".join(json.dumps(row) + "\n" for row in RATED)),
    Export("NaN around the list", '{"x": [NaN, Infinity], "documents": ' + json.dumps(ROWS) + ', "y": -Infinity}'),
    Export(
        "half an emoji in fields",
        lines([{**row, "a\ud83c": "\udf77b"} for row in ROWS])
        .replace("\ud83c", "\\ud83c")
        .replace("\udf77", "\\udf77"),
    ),
    Export("half an emoji around", '{"\\ud83c": "\\udc00", "documents": ' + json.dumps(ROWS) + "}"),
    Export("doccano, lines", lines(ANNOTATED)),
    Export("doccano, data in lines", lines([{"id": row["id"], "data": row["text"], "label": []} for row in ROWS])),
    Export("doccano, data in a list", json.dumps([{"id": row["id"], "data": row["text"]} for row in ROWS])),
    Export("Label Studio", json.dumps(TASKS)),
    Export("Label Studio, in lines", lines(TASKS)),
    Export("Prodigy, lines", lines(PRODIGY)),
    Export("Prodigy, list", json.dumps(PRODIGY)),
    Export("data besides text", lines([{**row, "data": {"text": "other"}} for row in ROWS])),
    Export("wide", lines([row | {f"f{number}": [number] for number in range(MAX_MEMBERS + 5)} for row in ROWS])),
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("export", EXPORTS, ids=lambda export: export.tool)
def test_documents_are_read_as_tools_write_them(export: Export, name: str) -> None:
    """Contents decide, whatever the ending of the name."""
    assert read(name, export.data) == DOCUMENTS


def test_a_line_may_have_a_list_named_documents() -> None:
    """It is a field of the uploader's own, unless it is the whole of a file."""
    assert read("a.jsonl", lines([{"documents": [7], **row} for row in ROWS])) == DOCUMENTS
    assert read("a.jsonl", json.dumps({"documents": ROWS})) == DOCUMENTS


@pytest.mark.parametrize("name", NAMES)
def test_one_document_is_a_file_of_one_line(name: str) -> None:
    """Also over several lines."""
    assert read(name, json.dumps(ROWS[0])) == DOCUMENTS[:1]
    assert read(name, json.dumps(ROWS[0], indent=2)) == DOCUMENTS[:1]


COLUMNS = ["id", "text"]
REFUSED = {
    "pandas, columns": {name: {str(index): row[name] for index, row in enumerate(ROWS)} for name in COLUMNS},
    "pandas, index": {str(index): row for index, row in enumerate(ROWS)},
    "pandas, split": {"columns": COLUMNS, "index": [0, 1], "data": [list(row.values()) for row in ROWS]},
    "pandas, table": {"schema": {"fields": [{"name": "index", "type": "integer"}]}, "data": ROWS},
    "empty": {},
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("tool", REFUSED)
def test_an_object_that_is_no_document_is_refused_with_advice(tool: str, name: str) -> None:
    """Nothing is guessed."""
    error = refusal(name, json.dumps(REFUSED[tool]))
    assert error.code == "InvalidJson"
    assert "no list of documents" in error.message
    assert 'orient="records"' in error.message


@pytest.mark.parametrize("name", NAMES)
def test_rows_without_names_are_no_documents(name: str) -> None:
    """As pandas writes values."""
    problems = read(name, json.dumps([list(row.values()) for row in ROWS]))
    assert len(problems) == len(ROWS)
    for problem in problems:
        assert isinstance(problem, Problem)
        assert "Expected `object`, got `array`" in problem.message


@pytest.mark.parametrize(
    ("entry", "field"),
    [
        ({"id": 1, "body": TEXT, "title": "Booking", "n": 5}, "body"),
        ({"id": 1, "data": {"review": TEXT, "lang": "en"}, "title": "Booking"}, "data.review"),
        ({"_id": "a-long-identifier", "_source": {"message": TEXT}}, "_source.message"),
    ],
)
def test_a_text_under_another_name_is_named(entry: dict[str, Any], field: str) -> None:
    """But not sent: another field may be meant."""
    (problem,) = read("a.json", json.dumps([entry]))
    assert isinstance(problem, Problem)
    assert f"missing required field `text`, its longest string is in `{field}`." in problem.message


@pytest.mark.parametrize(
    "entry",
    [{"id": 1}, {"id": 1, "body": "x" * 65_536}, {"id": 1, "a\nb": TEXT}, {"id": 1, "x" * 65: TEXT}, {"id": 1, "n": 7}],
)
def test_no_odd_name_is_repeated(entry: dict[str, Any]) -> None:
    """A message stays one readable line."""
    (problem,) = read("a.json", json.dumps([entry]))
    assert isinstance(problem, Problem)
    assert "missing required field `text`. " in problem.message


@pytest.mark.parametrize("value", ["1e999", "1" * 5000, "NaN", '"\\ud800"', "[" * 400 + "]" * 400])
def test_a_value_that_nobody_uses_does_not_change_the_reason(value: str) -> None:
    """Even if no program could read it."""
    (problem,) = read("a.json", f'[{{"id": 1, "x": {value}}}]')
    assert isinstance(problem, Problem)
    assert "missing required field `text`" in problem.message
    assert read("a.json", f'[{{"id": 1, "x": {value}, "text": "a"}}]') == [Document("1", "a", "en")]


def test_documents_without_ids_are_numbered_as_in_messages() -> None:
    """By their lines, or by their places in the list."""
    rows = [{"text": "a"}, {"text": "b"}, {"text": " "}, {"text": "c"}]
    assert [getattr(entry, "id", None) for entry in read("a.jsonl", lines(rows, "\n\n"))] == ["1", "3", None, "7"]
    assert [getattr(entry, "id", None) for entry in read("a.json", json.dumps(rows))] == ["1", "2", None, "4"]


@pytest.mark.parametrize("ids", [[None, 3, None], [None, "2", None], [None, None, 2.0]])
def test_no_two_documents_have_the_same_id(ids: list[Any]) -> None:
    """Not even if only some of them are numbered: the later one is refused."""
    rows = [{"text": "a"} | ({} if value is None else {"id": value}) for value in ids]
    found = read("a.json", json.dumps(rows))
    names = [entry.id for entry in found if isinstance(entry, Document)]
    assert len(set(names)) == len(names)
    if len(names) < len(ids):
        assert [entry.code for entry in found if isinstance(entry, Problem)] == ["DuplicateId"]


def test_an_id_may_not_be_missing_where_others_have_one() -> None:
    """A number could be taken for one of theirs."""
    one, other = read("a.jsonl", lines([{"id": "a", "text": "a"}, {"text": "b"}]))
    assert one == Document("a", "a", "en")
    assert isinstance(other, Problem)
    assert "missing required field `id`" in other.message


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("1.5", "a fraction or too large"),
        ("1e300", "a fraction or too large"),
        ("9007199254740994.0", "a fraction or too large"),
        ("1e999", "out of range"),
        ("NaN", "got `null`"),
        ("true", "got `bool`"),
        ("1" * 5000, "out of range"),
        ("1" * 600, "too long"),
    ],
)
def test_numbers_that_are_no_ids(value: str, words: str) -> None:
    """They are not rounded."""
    (problem,) = read("a.json", f'[{{"id": {value}, "text": "a"}}]')
    assert isinstance(problem, Problem)
    assert words in problem.message


def test_whole_numbers_are_the_same_id_however_written() -> None:
    """As 1, as 1.0, as "1"."""
    found = read("a.jsonl", '{"id": 1, "text": "a"}\n{"id": 1.0, "text": "b"}\n{"id": "1", "text": "c"}\n')
    assert found[0] == Document("1", "a", "en")
    assert [entry.code for entry in found[1:] if isinstance(entry, Problem)] == ["DuplicateId"] * 2


def test_a_missing_text_is_missing_whatever_stands_for_it() -> None:
    """NaN is what Python writes for a text that pandas has not."""
    (problem,) = read("a.json", '[{"id": 1, "text": NaN}]')
    assert isinstance(problem, Problem)
    assert "Expected `str`, got `null`" in problem.message


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.json", '[{"id": 1, "text": "a"},\n{"id": 2, "text": "b"}', "the list is not closed (line 2, column 23)"),
        ("a.jsonl", '[{"id": 1, "text": "a"},\n', "a value is missing (line 2, column 1)"),
        ("a.json", '[{"id": 1, "text": "a"},\n]', "a value is missing (line 2, column 1)"),
        ("a.json", '[{"id": 1, "text": "a"}\n {"id": 2}]', "expected `,` or `]` (line 2, column 2)"),
        ("a.json", '[\r{"id": 1, "text": "a}\r]', "control character (line 2, column 22)"),
        ("a.json", '[\n  {"id": 1, "text": "a', "a string is not closed (line 2, column 21)"),
        ("a.json", '[{"é": 1, "text": "a", "x": [1}, {}]', "(line 1, column 31)"),
        ("a.json", '[{"id": 1, "text": "a"}]\n[{"id": 2}]', "trailing characters (line 2, column 2)"),
        ("a.json", '{"documents": [{"id": 1, "text": "a"}], "x": tru}', "invalid character (line 1, column 47)"),
        ("a.json", '{"documents": [{"id": 1, "text": "a"}]', "truncated (line 1, column 39)"),
        ("a.json", '{"x": tru, "documents": [{"id": 1, "text": "a"}]}', "invalid character (line 1, column 8)"),
        ("a.json", '{"id": 1 "text": "a"}', "expected `,` or `}` (line 1, column 10)"),
        ("a.json", '{"id" 1, "text": "a"}', "expected `:` (line 1, column 7)"),
        ("a.json", '{"id": 1, "text": "a"} and more', "invalid character (line 1, column 24)"),
        ("a.json", "A table for two", "invalid character (line 1, column 1)"),
        ("a.json", "[" * 900, "nested too deeply (line 1, column 2)"),
        ("a.json", '{"a":' * 900, "nested too deeply (line 1, column 6)"),
    ],
)
def test_a_damaged_file_is_refused_with_the_place(name: str, data: str, words: str) -> None:
    """What follows the damage may be anything, so that nothing is sent."""
    error = refusal(name, data)
    assert error.code == "InvalidJson"
    assert words in error.message
    assert "Fix it and upload it again. If it is plain text, give it a name that ends in .txt." in error.message


@pytest.mark.parametrize(
    "first", ['{"id": 1, "text": "a"', '{"id": 1, "text": "a', '{"id": 1} x', "{", "[[", "no JSON"][:4]
)
def test_a_damaged_first_line_hurts_no_other(first: str) -> None:
    """Lines are lines even if the first one is none of JSON."""
    problem, document = read("a.jsonl", f'{first}\n{{"id": 2, "text": "b"}}\n')
    assert isinstance(problem, Problem)
    assert problem.message.startswith("Line 1 is not a document")
    assert document == Document("2", "b", "en")


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.text(max_size=4).filter(lambda name: name not in ("id", "data"))
ROW = st.dictionaries(FIELDS, JSON_VALUES, max_size=4).flatmap(
    lambda fields: st.text(min_size=1, max_size=20).map(lambda text: {**fields, "text": f"a{text}"})
)
SPACES = st.lists(st.sampled_from(["", " ", "\n", "\r\n", "\t", "\r"]), min_size=40, max_size=40)


def spaced(rows: list[dict[str, Any]], spaces: list[str], *, ascii_only: bool) -> str:
    """Return a list with spaces wherever JSON may have some, between its items and within them."""
    parts = iter(spaces * 99)
    encode = json.JSONEncoder(ensure_ascii=ascii_only)
    items = (",".join(next(parts) + encode.encode(row).replace('{"', '{ "', 1) + next(parts) for row in rows),)
    return "".join((next(parts), "[", *items, next(parts), "]", next(parts)))


@given(st.lists(ROW, max_size=6), SPACES, st.booleans(), st.sampled_from([12, 13, 31, 2**20]))
@example([{"text": 'a"\\ \ud83c'}, {"text": "[{"}], [""] * 40, True, 12)
def test_a_list_is_what_the_json_module_reads(
    rows: list[dict[str, Any]], spaces: list[str], ascii_only: bool, size: int
) -> None:
    """Whatever its spaces, its nesting and its escapes, and wherever a step of reading ends."""
    text = spaced(rows, spaces, ascii_only=ascii_only)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_scanning, "SLICE", size)
        found = list(open_file("a.json", text.encode()).entries()) if rows else []
    wanted = [row["text"].encode("utf-16", "surrogatepass").decode("utf-16", "replace") for row in json.loads(text)]
    assert [entry.text for entry in found if isinstance(entry, Document)] == wanted


def is_json(text: str) -> bool:
    """Return whether the json module takes a text for JSON."""
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def read_or_none(name: str, text: str) -> list[Document | Problem] | None:
    """Return the entries of a file; None if it is refused, which is the only exception."""
    try:
        return list(open_file(name, text.encode()).entries())
    except DocumentError:
        return None


@given(st.lists(ROW, min_size=1, max_size=4), SPACES, st.randoms(use_true_random=False), st.sampled_from([12, 2**20]))
def test_a_damaged_list_ends_as_an_error(
    rows: list[dict[str, Any]], spaces: list[str], chance: random.Random, size: int
) -> None:
    """Never as another exception, and never as if nothing were wrong."""
    text = spaced(rows, spaces, ascii_only=chance.random() < 0.5)
    for _ in range(chance.randint(1, 3)):
        place = chance.randrange(len(text) + 1)
        text = text[:place] + chance.choice(["", *'"\\[]{},:x0-.N\x00\n']) + text[place + chance.randint(0, 2) :]
    if not text.strip():
        return
    for name in NAMES:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(json_scanning, "SLICE", size)
            found = read_or_none(name, text)
        if name == "a.json" and found is not None and not any(isinstance(entry, Problem) for entry in found):
            assert is_json(text) or not text.lstrip().startswith("[")


@given(st.text(alphabet='"\\[]{},:1NaIu \n', max_size=40), st.sampled_from([12, 2**20]))
def test_noise_ends_as_an_error(text: str, size: int) -> None:
    """Of what JSON is made of, in any order."""
    if text.isspace() or not text:
        return
    for name in NAMES:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(json_scanning, "SLICE", size)
            found = read_or_none(name, text)
        assert not any(isinstance(entry, Document) for entry in found or [])


MANY = 2 * MIB
FEW = 10_000


class Hostile(NamedTuple):
    """A file that could cost time or memory: of which kind, and how it ends."""

    name: str
    data: bytes
    code: str
    words: str = ""


HOSTILE = {
    "scalars in a list": Hostile("a.json", b"[" + b"1," * MANY + b"1]", "TooManyDocuments", "10,000 are invalid"),
    "objects in a list": Hostile("a.json", b"[" + b"{}," * MANY + b"{}]", "TooManyDocuments", "10,000 are invalid"),
    "scalars in lines": Hostile("a.jsonl", b"1\n" * MANY, "TooManyDocuments", "Line 1 is not a document"),
    "brackets in lines": Hostile("a.jsonl", b"{\n" * MANY, "TooManyDocuments", "Line 1 is not a document"),
    "no separator": Hostile("a.json", b'{"text":"a"}' * MANY, "TooManyDocuments", "Split it"),
    "list in an object": Hostile("a.json", b'{"documents":[' + b"1," * MANY, "TooManyDocuments", "invalid"),
    "brackets": Hostile("a.json", b"[" * 8 * MIB, "InvalidJson", "nested too deeply"),
    "brackets in a line": Hostile("a.jsonl", b'{"a":' * 2 * MIB, "InvalidDocument", "nested too deeply"),
    "an open list": Hostile(
        "a.json", b'[{"id":1,"text":"a"}' + b" " * 8 * MIB, "InvalidJson", "the list is not closed"
    ),
    "an open string": Hostile("a.json", b'[{"text":"' + b"a" * 8 * MIB, "InvalidJson", "a string is not closed"),
    "open quotes": Hostile("a.json", b'[{"text":"' + b'\\"' * 4 * MIB, "InvalidJson", "a string is not closed"),
    "fields": Hostile("a.json", b"{" + b'"":1,' * MIB + b'"a":1}', "InvalidJson", "no list of documents"),
    "digits": Hostile("a.json", b'[{"id":' + b"1" * 4 * MIB + b"}]", "InvalidDocument", "out of range"),
    "nested lists": Hostile("a.json", b'[{"text":"a","x":[' + b"[[[]]]," * (MIB // 4) + b"[]]}]", ""),
    "NaN": Hostile("a.json", b'[{"text":"a","x":[' + b"NaN," * 2 * MIB + b"NaN]}]", ""),
    "surrogates": Hostile("a.json", b'[{"text":"a' + b"\\ud800" * MIB + b'"}]', ""),
    "strings": Hostile("a.json", b'[{"text":"a\\ud800","x":[' + b'"",' * 2 * MIB + b"1]}]", ""),
    "marks": Hostile("a.jsonl", b'{"text":"a"}\n' + b"\xef\xbb\xbf\n" * MIB, ""),
    "line ends": Hostile("a.jsonl", b'{"text":"a"}' + b"\r\n\t" * 2 * MIB, ""),
}
LARGEST_GROWTH = 32 * MIB


@pytest.mark.parametrize("kind", HOSTILE)
def test_no_file_costs_much_memory(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond its own text, whatever it holds millions of."""
    monkeypatch.setattr(json_documents, "MAX_DOCUMENTS", FEW)
    file = HOSTILE[kind]
    documents = open_file(file.name, file.data)
    tracemalloc.start()
    try:
        problems = survey(documents).problems
    except DocumentError as error:
        problems = [Problem(error.code, error.message)]
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert [problem.code for problem in problems] == [file.code] * bool(file.code)
    assert not problems or file.words in problems[0].message
    assert peak < LARGEST_GROWTH


def escaped(name: str) -> str:
    """Return a name with an escape for each character."""
    return "".join(f"\\u{ord(character):04x}" for character in name)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "data",
    [
        f'{{"{escaped("text")}": "Play."}}',
        '{"\\u0074ext": "Play.", "documents": []}',
        f'{{"{escaped("data")}": "Play."}}',
        f'{{"data": {{"{escaped("text")}": "Play."}}}}',
        f'{{"{escaped("documents")}": [{{"text": "Play."}}]}}',
    ],
)
def test_names_of_fields_may_be_written_with_escapes(data: str, name: str) -> None:
    """They mean the same to every JSON parser."""
    if name.endswith(".json") and '"documents"' in data:
        data = data.replace(', "documents": []', "")
    (found,) = read(name, data)
    assert isinstance(found, Document)
    assert found.text == "Play."


def test_names_with_invalid_or_many_escapes_are_other_names() -> None:
    """They take no more time than others."""
    long = f'"{escaped("a" * 10)}"'.encode()
    assert json_scanning.without_escapes(long) == long
    for name in ("\\ud800", "\\x", "\\u0074" * MIB):
        error = refusal("a.json", f'{{"{name}": "Play."}}')
        assert error.code == "InvalidJson"


@pytest.mark.parametrize("form", ["lines", "list"])
def test_a_file_may_have_as_many_documents_as_the_limit(form: str) -> None:
    """And is refused with one more, before anything is sent."""
    rows = [b'{"id":%d,"text":"a"}' % number for number in range(250_001)]

    def found(count: int) -> int:
        data = b"\n".join(rows[:count]) if form == "lines" else b"[" + b",".join(rows[:count]) + b"]"
        return survey(open_file("a.json", data)).documents_count

    assert found(250_000) == 250_000
    with pytest.raises(DocumentError) as caught:
        found(250_001)
    assert caught.value.code == "TooManyDocuments"
    assert caught.value.message == "The file has more than 250,000 documents. Split it into smaller files."


@pytest.mark.parametrize("language", ["auto", "AUTO", "Auto"])
def test_the_language_auto_is_sent_as_the_service_writes_it(language: str) -> None:
    """As with NER_LANGUAGE: case does not matter in language tags."""
    data = json.dumps({"text": "one", "language": language}).encode()
    documents = read_documents("a.jsonl", data, language="en", max_bytes=1000)
    assert list(documents.entries()) == [Document("1", "one", "auto")]


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
@pytest.mark.parametrize("other", ['"documents"', r'"docu\u006dents"'])
def test_no_list_of_documents_is_skipped(name: str, other: str) -> None:
    """Two lists in one object: readers of JSON take one of them and say nothing about the other."""
    one, two = '[{"id": "1", "text": "one"}]', '[{"id": "2", "text": "two"}]'
    data = f'{{"documents": {one}, "more": 1, {other}: {two}}}'.encode()
    documents = read_documents(name, data, language="en", max_bytes=1000)
    if name == "a.json":
        with pytest.raises(DocumentError, match="`documents` occurs twice") as caught:
            survey(documents)
        assert caught.value.code == "InvalidJson"
    else:
        (problem,) = documents.entries()
        assert isinstance(problem, Problem)
