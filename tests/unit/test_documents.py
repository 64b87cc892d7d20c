"""What a dropped file says, and why some files say nothing: a table of odd files, each with what becomes of it."""

import codecs
import json
from typing import NamedTuple

import pytest

from shared.documents import MOST_PROBLEMS, DocumentError, read_documents, survey
from shared.json_scanning import MAX_NESTING
from shared.ner.model import Document, Problem

TEXT = "Crème brûlée 🍮\r\nat Café Lumière"
LONG_NAME = "a" * 1000 + "/" + "b" * 20 + ".txt"


def read(name: str, data: bytes, max_bytes: int = 1_000_000) -> list[Document | Problem]:
    """Read a file in English."""
    return list(read_documents(name, data, language="en", max_bytes=max_bytes).entries())


class Odd(NamedTuple):
    """A file and the text of its one document."""

    name: str
    data: bytes
    text: str
    encoding: str


ODD_TEXTS = [
    Odd("utf-8.txt", TEXT.encode(), TEXT, "utf-8"),
    Odd("utf-8-with-mark.txt", codecs.BOM_UTF8 + TEXT.encode(), TEXT, "utf-8-sig"),
    Odd("utf-16-le.txt", codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"), TEXT, "utf-16"),
    Odd("utf-16-be.txt", codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"), TEXT, "utf-16"),
    Odd("utf-32-le.txt", codecs.BOM_UTF32_LE + TEXT.encode("utf-32-le"), TEXT, "utf-32"),
    Odd("utf-32-be.txt", codecs.BOM_UTF32_BE + TEXT.encode("utf-32-be"), TEXT, "utf-32"),
    Odd("utf-16-unmarked.txt", "A table for four".encode("utf-16-le"), "A table for four", "utf-16-le"),
    Odd("windows.txt", "Café “Blue Heron” – 5 €".encode("cp1252"), "Café “Blue Heron” – 5 €", "cp1252"),
    Odd("latin-1.txt", "Señor Muñoz irá a España".encode("latin-1"), "Señor Muñoz irá a España", "cp1252"),
    Odd("polish.txt", "Zażółć gęślą jaźń w Łodzi".encode("cp1250"), "Zażółć gęślą jaźń w Łodzi", "cp1250"),
    Odd("russian.txt", "Забронируйте столик".encode("cp1251"), "Забронируйте столик", "cp1251"),
    Odd("koi8.txt", "Забронируйте столик".encode("koi8-r"), "Забронируйте столик", "koi8-r"),
    Odd("shift-jis.txt", "東京で寿司を食べたい。".encode("cp932"), "東京で寿司を食べたい。", "cp932"),
    Odd("euc-jp.txt", "東京で寿司を食べたい。".encode("euc_jp"), "東京で寿司を食べたい。", "euc_jis_2004"),
    Odd("iso-2022-jp.txt", "東京で寿司".encode("iso2022_jp"), "東京で寿司", "iso2022_jp"),
    Odd("gb18030.txt", "我们想在北京预订桌子".encode("gb18030"), "我们想在北京预订桌子", "gb18030"),
    Odd("korean.txt", "서울에서 저녁 식사를".encode("cp949"), "서울에서 저녁 식사를", "cp949"),
    Odd("nul.txt", b"a stray \x00 in a text", "a stray \0 in a text", "utf-8"),
    Odd("nul-in-windows.txt", b"a stray \x00 in a caf\xe9", "a stray \0 in a café", "cp1252"),
    Odd("damaged.txt", "Crème brûlée, café".encode()[:-1], "Crème brûlée, caf\ufffd", "utf-8"),
    Odd("surrogate.txt", b"caf\xc3\xa9 " * 9 + b"\xed\xa0\x80!", "café " * 9 + "\ufffd" * 3 + "!", "utf-8"),
    Odd("odd-utf-16.txt", codecs.BOM_UTF16_LE + "abc".encode("utf-16-le") + b"x", "abc\ufffd", "utf-16"),
    Odd("lone.txt", codecs.BOM_UTF16_LE + b"a\x00\x00\xd8b\x00", "a\ufffdb", "utf-16"),
    Odd("private.txt", "\ue000 Blue \U000f0000 Heron".encode(), "\ue000 Blue \U000f0000 Heron", "utf-8"),
    Odd("old-mac.txt", b"one\rtwo\r\rthree", "one\rtwo\r\rthree", "utf-8"),
    Odd("mixed\u2028lines.txt", "a\r\nb\nc\u2028d\x85e\x0cf".encode(), "a\r\nb\nc\u2028d\x85e\x0cf", "utf-8"),
    Odd("notes.md", b"# Title\n\n*text*", "# Title\n\n*text*", "utf-8"),
    Odd("table.csv", b"a;b\n1;2", "a;b\n1;2", "utf-8"),
    Odd("page.html", b"<p>text</p>", "<p>text</p>", "utf-8"),
    Odd("README", b"text", "text", "utf-8"),
    Odd("SHOUT.TXT", b"text", "text", "utf-8"),
    Odd("a.b.unheard-of", b"text", "text", "utf-8"),
    Odd("a #1 100% + ü?&=.txt", b"text", "text", "utf-8"),
    Odd(LONG_NAME, b"text", "text", "utf-8"),
    Odd("{json}.txt", b'{"id": "1", "text": "t"}', '{"id": "1", "text": "t"}', "utf-8"),
]


ODD_FAILURES = [
    ("empty.txt", b"", "EmptyFile", "no text"),
    ("blank.txt", b" \r\n\t\xc2\xa0", "EmptyFile", "no text"),
    ("mark.txt", codecs.BOM_UTF8, "EmptyFile", "no text"),
    (
        "png.txt",
        b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06",
        "BinaryFile",
        "png",
    ),
    ("zip.txt", b"PK\x03\x04" + bytes(range(256)), "BinaryFile", "zip"),
    ("pdf.txt", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "BinaryFile", "pdf"),
    ("nuls.txt", b"a\x00\x00\x07\x00" * 9, "BinaryFile", "binary"),
    ("marked.txt", codecs.BOM_UTF16_LE + b"\x01\x00\x02\x00\x03\x00a\x00", "BinaryFile", "binary"),
    ("noise.txt", bytes(range(256)) * 4, "BinaryFile", "binary"),
    ("a.pdf", b"%PDF-1.7", "UnsupportedType", "application/pdf"),
    ("a.DOCX", b"PK", "UnsupportedType", "wordprocessingml"),
    ("a.txt.gz", b"\x1f\x8b", "UnsupportedType", "gzip"),
    ("large.txt", b"x" * 1025, "FileTooLarge", "1,025 bytes"),
    ("a.json", b"{broken", "InvalidJson", "line 1"),
    ("a.json", b'[\n {"id": "1", "text": }\n]', "InvalidJson", "line 2, column 22"),
    ("a.json", b'"text"', "InvalidJson", "list of documents"),
    ("a.json", b'{"name": "t", "version": 1}', "InvalidJson", "list of documents"),
    ("deep.json", b"[" * 900, "InvalidJson", "JSON"),
    ("a.json", b"", "EmptyFile", "no text"),
    ("a.json", b"[]", "EmptyFile", "no documents"),
    ("a.json", b'{"documents": []}', "EmptyFile", "no documents"),
    ("a.jsonl", b"\n \r\n", "EmptyFile", "no text"),
]


@pytest.mark.parametrize("odd", ODD_TEXTS, ids=lambda odd: odd.name[:30])
def test_odd_texts_are_read(odd: Odd) -> None:
    """In whichever encoding; the outcome's encoding gives everybody the text that offsets count."""
    documents = read_documents(f"folder/{odd.name}", odd.data, language="en", max_bytes=1_000_000)
    assert list(documents.entries()) == [Document(odd.name.rpartition("/")[2], odd.text, "en")]
    assert documents.encoding == odd.encoding
    assert odd.data.decode(documents.encoding, "replace") == odd.text


@pytest.mark.parametrize(("name", "data", "code", "words"), ODD_FAILURES)
def test_what_cannot_be_sent_says_why(name: str, data: bytes, code: str, words: str) -> None:
    """Each with a code for programs and a sentence that tells what is wrong."""
    with pytest.raises(DocumentError) as caught:
        survey(read_documents(name, data, language="en", max_bytes=1024))
    assert caught.value.code == code
    assert words in caught.value.message
    assert caught.value.message.endswith(".")


DOCUMENTS = [Document("doc1", "A table for two", "en"), Document("2", "Ein Tisch\r\nfür zwei 🍷", "de-DE")]
OBJECTS = [
    {"id": "doc1", "text": "A table for two", "label": "is ignored"},
    {"id": 2, "text": "Ein Tisch\r\nfür zwei 🍷", "language": "de-DE"},
]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", json.dumps(OBJECTS, ensure_ascii=False)),
        ("a.json", json.dumps(OBJECTS, indent=2)),
        ("a.json", json.dumps({"documents": OBJECTS, "other": [1]}, ensure_ascii=False)),
        ("a.jsonl", "\n".join(json.dumps(item, ensure_ascii=False) for item in OBJECTS)),
        ("a.JSONL", "\r\n\r\n".join(json.dumps(item) for item in OBJECTS) + "\r\n\r\n"),
        ("a.ndjson", "\n\t".join(json.dumps(item, ensure_ascii=False) for item in OBJECTS)),
    ],
)
def test_many_documents_in_one_file(name: str, content: str, encoding: str) -> None:
    """As a list, within an object, as lines."""
    assert read(name, content.encode(encoding)) == DOCUMENTS


def test_the_encoding_is_found_wherever_it_shows() -> None:
    """A long report may name its first café on the last page."""
    text = "A plain table for four. " * 20_000 + "Café Lumière in Zürich, s’il vous plaît – à huit heures."
    documents = read_documents("a.txt", text.encode("cp1252"), language="en", max_bytes=1_000_000)
    assert documents.encoding == "cp1252"
    assert next(documents.entries()) == Document("a.txt", text, "en")


def test_separators_of_unicode_end_no_line() -> None:
    """A JSON string may hold them as they are."""
    line = json.dumps({"id": "1", "text": "a\u2028b\u0085c\x0cd"}, ensure_ascii=False)
    assert read("a.jsonl", line.encode()) == [Document("1", "a\u2028b\u0085c\x0cd", "en")]


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ('{"id": "b", "text": "t"', "InvalidDocument", "truncated"),
        ("not json", "InvalidDocument", "malformed"),
        ("[1]", "InvalidDocument", "Expected `object`"),
        ('{"text": "t"}', "InvalidDocument", "missing required field `id`"),
        ('{"id": "b"}', "InvalidDocument", "missing required field `text`"),
        ('{"id": "b", "text": 7}', "InvalidDocument", "Expected `str`, got `int`"),
        ('{"id": null, "text": "t"}', "InvalidDocument", "got `null`"),
        ('{"id": "", "text": "t"}', "InvalidDocument", "has an id that is empty or too long"),
        ('{"id": "' + "x" * 513 + '", "text": "t"}', "InvalidDocument", "1 to 512"),
        ('{"id": "b", "text": " \\n"}', "EmptyDocument", "no text"),
        ('{"id": "b", "text": "t", "language": "the tongue"}', "InvalidLanguage", "language tag"),
        ('{"id": "good 1", "text": "again"}', "DuplicateId", "same id as line 1"),
        (
            '{"id": "b", "text": "t", "x": ' + "[" * 100_000 + "]" * 100_000 + "}",
            "InvalidDocument",
            "nested too deeply",
        ),
    ],
)
def test_a_bad_line_is_named_and_hurts_no_other(line: str, code: str, words: str) -> None:
    """The good ones of the same file stay."""
    content = '{"id": "good 1", "text": "t"}\n\n' + line + '\n{"id": "good 2", "text": "t"}\n'
    first, problem, last = read("a.jsonl", content.encode())
    assert [first, last] == [Document("good 1", "t", "en"), Document("good 2", "t", "en")]
    assert isinstance(problem, Problem)
    assert problem.code == code
    assert problem.message.startswith("Line 3 ")
    assert words in problem.message


def test_a_bad_item_of_a_list_is_named_by_number_and_line() -> None:
    """Lists may be written over many lines, or all in one."""
    content = '[\n{"id": "1", "text": "t"}, {"id": "1",\n"text": "t"},\n\n5, {"id": 1, "text": "t"}]'
    problems = [entry for entry in read("a.json", content.encode()) if isinstance(entry, Problem)]
    assert [problem.message.split(")")[0] for problem in problems] == [
        "Document 2 (line 2",
        "Document 3 (line 5",
        "Document 4 (line 5",
    ]
    assert "same id as document 1." in problems[2].message


def nested(levels: int) -> str:
    """Return an entry of that many levels."""
    return '{"id": "b", "text": "[[", "x": ' + "[" * (levels - 1) + "]" * (levels - 1) + "}"


@pytest.mark.parametrize("levels", [MAX_NESTING + 1, 2_000, 100_000])
def test_nesting_has_the_same_limit_on_every_python(levels: int) -> None:
    """An entry of a line is refused, and so is a file that is one list."""
    (problem,) = read("a.jsonl", nested(levels).encode())
    assert isinstance(problem, Problem)
    assert "nested too deeply" in problem.message
    with pytest.raises(DocumentError, match="nested too deeply"):
        read("a.json", f"[{nested(levels)}]".encode())


def test_nesting_up_to_the_limit_is_ignored() -> None:
    """Fields of the uploader's own are no matter of ours, and brackets in a text are no nesting."""
    text = "[{" * MAX_NESTING
    assert read("a.jsonl", nested(MAX_NESTING).encode()) == [Document("b", "[[", "en")]
    assert read("a.json", json.dumps([{"id": "b", "text": text}]).encode()) == [Document("b", text, "en")]


def test_half_an_emoji_in_an_escape_is_replaced() -> None:
    """Many programs cut their strings so; the rest of the text is good."""
    (document,) = read("a.jsonl", b'{"id": "\\udc00", "text": "\\ud83c wine \\ud83c\\udf77"}')
    assert document == Document("\ufffd", "\ufffd wine 🍷", "en")


def test_a_survey_counts_everything_and_names_the_first() -> None:
    """A file of a million bad lines does not make an outcome of a million errors."""
    lines = [b'{"id": "good", "text": "t"}'] + [b"bad"] * (MOST_PROBLEMS + 5)
    found = survey(read_documents("a.jsonl", b"\n".join(lines), language="en", max_bytes=1_000_000))
    assert (found.documents_count, found.erroneous_count) == (MOST_PROBLEMS + 6, MOST_PROBLEMS + 5)
    assert len(found.problems) == MOST_PROBLEMS + 1
    assert found.problems[-1].message.startswith("5 more documents")
