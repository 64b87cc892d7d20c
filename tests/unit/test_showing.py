"""What a person sees of results: in a terminal, in a table, in parts on the page."""

import csv
import io
import json
from collections import Counter
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from rich.console import Console

from local.account import Account, price_of
from local.app_settings import SAMPLE, AppSettingsError, read_values
from local.export import COLUMNS, Format, harmless, rows, writer
from local.in_flight import InFlight
from local.listing import Claimed, Ended, File, State
from local.poison import Poisoned
from local.reports import Report
from local.results import Result, Shown, shown
from local.show_progress import live_view, survey_json
from local.show_result import BACKGROUNDS, View, bracketed, painted, show_result, styles
from local.show_state import advices
from local.survey import Survey
from local.view.reading import DOCUMENTS_A_PART, Reading, classes, described
from shared.ner.model import Document, DocumentResult, Entity, Problem, Statistics
from shared.outcome import Outcome, OutcomeStatus, encode
from shared.settings import Settings
from shared.source import Source
from shared.state.batch import BatchKind, BatchRecord, Member, SubmittedJob
from shared.state.sweeping import SweepState, Swept

TEXT = "Ana in New York"
ANA = Entity("Ana", "guest", 0, 3, 0.9)
YORK = Entity("New York", "city", 7, 8, 0.4)
SOURCE = Source("incoming", "a.txt", "0x1", datetime(2026, 11, 24, tzinfo=UTC), 15, "utf-8")


def outcome(*documents: DocumentResult, errors: list[Problem] | None = None) -> Outcome:
    """Return an outcome."""
    status = OutcomeStatus.SUCCEEDED if documents else OutcomeStatus.FAILED
    return Outcome(status, SOURCE, {}, [], list(documents), errors or [], Statistics(1, 1, 0, 3))


def result(text: str | None, *entities: Entity, errors: list[Problem] | None = None) -> Result:
    """Return the result of a file of one document."""
    told = outcome(DocumentResult("a.txt", list(entities)), errors=errors)
    return Result("a.txt.json", encode(told), "0x9", told, [Shown("a.txt", text, list(entities), [])])


def printed(account: Account, found: Result, view: View, *, terminal: bool = False) -> str:
    """Return what `show` prints."""
    console = Console(
        file=io.StringIO(), width=100, force_terminal=terminal, color_system="truecolor" if terminal else None
    )
    show_result(console, account, found, view)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.fixture
def account() -> Account:
    """An account that nobody reads from."""
    nothing: Any = None
    return Account(nothing, nothing, nothing, price=5.0)


def test_without_a_terminal_entities_stand_in_brackets(account: Account) -> None:
    """So that a log or a file has them too."""
    said = printed(account, result(TEXT, ANA, YORK), View())
    assert "[Ana|guest] in [New York|city]" in said
    assert "3 text records, 0.015" in said
    assert "guest  1   city  1" in said


def test_in_a_terminal_each_category_has_its_colour(account: Account) -> None:
    """The text is as it is, with colours around the entities."""
    said = printed(account, result(TEXT, ANA, YORK), View(), terminal=True)
    text = painted(TEXT, [ANA, YORK], len(TEXT), styles(["guest", "city"]))
    assert text.plain == TEXT
    assert [(TEXT[span.start : span.end], str(span.style)) for span in text.spans] == [
        ("Ana", f"black on {BACKGROUNDS[1]}"),
        ("New York", f"black on {BACKGROUNDS[0]}"),
    ]
    assert "[Ana|" not in said


def test_only_what_was_asked_for_is_shown(account: Account) -> None:
    """By category, by confidence."""
    assert "[Ana|guest] in New York" in printed(account, result(TEXT, ANA, YORK), View(frozenset({"guest"})))
    assert "[Ana|guest] in New York" in printed(account, result(TEXT, ANA, YORK), View(least_confidence=0.5))


def test_a_long_text_is_shown_to_its_first_part(account: Account) -> None:
    """And the rest is counted."""
    said = printed(account, result("word " * 1000, ANA), View(most_characters=100))
    assert said.count("word") == 20 - 1  # the entity stands in the first one
    assert "... and 4,900 more characters" in said


def test_entities_of_a_text_that_is_gone_are_listed(account: Account) -> None:
    """With their places."""
    assert "7: [New York|city] 0.40" in printed(account, result(None, YORK), View())


def test_what_would_steer_a_terminal_is_written_out() -> None:
    """In texts, as in names."""
    assert bracketed("a\x1b[31mb\r\nc\x9b\td", [], 13) == "a\\x1b[31mb\nc\\x9b\td"


def test_errors_are_shown_with_their_documents(account: Account) -> None:
    """A failed file says why."""
    told = outcome(errors=[Problem("EmptyFile", "The file holds no text.", "7")])
    said = printed(account, Result("a.txt.json", b"", "0x9", told, []), View())
    assert "EmptyFile: The file holds no text. (document 7)" in said


def test_documents_come_in_the_order_of_the_file_with_what_was_said_of_each() -> None:
    """Also those without entities, and those of which the text is gone."""
    told = outcome(
        DocumentResult("2", [YORK]), DocumentResult("gone", [ANA]), errors=[Problem("InvalidDocument", "Bad.", "1")]
    )
    found = list(shown(told, [Document("1", "x", ""), Document("2", TEXT, "")]))
    assert [(one.id, one.text, one.entities, len(one.problems)) for one in found] == [
        ("1", "x", [], 1),
        ("2", TEXT, [YORK], 0),
        ("gone", None, [ANA], 0),
    ]


def exported(kind: Format, *found: Entity) -> str:
    """Return what `export` writes of one document."""
    output = io.StringIO(newline="")
    write = writer(output, kind)
    for row in rows(outcome(DocumentResult("a.txt", list(found))), View()):
        write(row)
    return output.getvalue()


def test_csv_is_read_back_as_it_was() -> None:
    """With line ends and quotes in the texts, and the mark by which spreadsheets know UTF-8."""
    text = exported(Format.CSV, Entity('Cafe "Zürich"\r\n🍷', "place", 0, 16, 0.5), ANA)
    assert text.startswith("\ufeff")
    table = list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline="")))
    assert [row["text"] for row in table] == ['Cafe "Zürich"\r\n🍷', "Ana"]
    assert tuple(table[0]) == COLUMNS
    assert table[1] == {
        "file": "a.txt",
        "document": "a.txt",
        "category": "guest",
        "subcategory": "",
        "text": "Ana",
        "offset": "0",
        "length": "3",
        "confidenceScore": "0.9",
        "sourceEtag": "0x1",
        "textRecords": "3",
        "sourceLastModified": "2026-11-24T00:00:00+00:00",
    }


@pytest.mark.parametrize("text", ["=HYPERLINK(1)", "+1", "-1", "@x", "\tx", "\rx"])
def test_a_spreadsheet_takes_no_text_for_a_formula(text: str) -> None:
    """CSV gets a mark before it, JSON lines have the text as it is."""
    found = Entity(text, "x", 0, len(text), 0.5)
    table = list(csv.DictReader(io.StringIO(exported(Format.CSV, found).removeprefix("\ufeff"), newline="")))
    assert table[0]["text"] == f"'{text}"
    assert json.loads(exported(Format.JSONL, found))["text"] == text


@pytest.mark.parametrize("separator", [";", "\t", "|", ":", ",", " ", "\n", "\r\n", '"', ';"', "; ", ";;"])
@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\uff1d"])
def test_no_formula_stands_behind_another_separator(separator: str, sign: str) -> None:
    """Many countries separate by a semicolon, where the quotes of a CSV file with commas protect nothing."""
    found = Entity(f"x{separator}{sign}1+1;y", "x", 0, 1, 0.5)
    (row,) = csv.DictReader(io.StringIO(exported(Format.CSV, found).removeprefix("\ufeff"), newline=""))
    assert row["text"] == f"x{separator}'{sign}1+1;y"
    assert json.loads(exported(Format.JSONL, found))["text"] == found.text


@pytest.mark.parametrize(
    "unseen", [" ", "\x00", "\x1f", "\xa0", "\xad", "\u200b", "\u202e", "\u2066", "\u3000", "\ufeff", " \xa0"]
)
@pytest.mark.parametrize("before", ["", "x;", "x\t", 'x;"'])
def test_no_formula_stands_behind_what_is_not_seen(before: str, unseen: str) -> None:
    """A spreadsheet may drop it."""
    assert harmless(f"{before}{unseen}=1+1") == f"{before}{unseen}'=1+1"


@pytest.mark.parametrize("text", ["Bern - Thun", "a=b", "ana@example.com", "e-mail", "2026-11-24T00:00:00+00:00"])
def test_usual_texts_have_no_marks(text: str) -> None:
    """A sign within a word begins no formula."""
    assert f",{text}," in exported(Format.CSV, Entity(text, "x", 0, len(text), 0.5))


def test_every_row_has_the_same_columns_of_the_same_types() -> None:
    """So that a table of any kind can be made of them."""
    lines = exported(Format.JSONL, ANA, Entity("x", "c", 1, 1, 1.0, "sub")).splitlines()
    first, second = (json.loads(line) for line in lines)
    assert tuple(first) == tuple(second) == COLUMNS
    assert (first["subcategory"], second["subcategory"]) == (None, "sub")
    assert isinstance(second["confidenceScore"], float)


@pytest.mark.parametrize(("text", "price"), [("", None), ("5", 5.0), ("0.25", 0.25)])
def test_the_price_is_a_setting(text: str, price: float | None) -> None:
    """Of 1,000 text records."""
    assert price_of({"NER_PRICE_PER_1000_TEXT_RECORDS": text}) == price


@pytest.mark.parametrize("text", ["cheap", "-1", "nan", "inf"])
def test_a_price_that_is_none_gives_a_sentence(text: str) -> None:
    """It names the setting."""
    with pytest.raises(AppSettingsError, match="NER_PRICE_PER_1000_TEXT_RECORDS must be"):
        price_of({"NER_PRICE_PER_1000_TEXT_RECORDS": text})


@pytest.mark.parametrize(
    ("records", "price", "text"),
    [(1, None, "1 text record"), (1200, None, "1,200 text records"), (1200, 5.0, "1,200 text records, 6")],
)
def test_cost_is_text_records_and_their_price(account: Account, records: int, price: float | None, text: str) -> None:
    """Without a price, only the records."""
    assert Account(account.settings, account.blobs, account.queues, price).cost_text(records) == text


def reading(*texts: str) -> Reading:
    """Return a file of such documents."""
    told = outcome(*(DocumentResult(str(number), []) for number in range(len(texts))))
    return Reading(Result("", encode(told), "0x9", told, [Shown(str(n), text, [], []) for n, text in enumerate(texts)]))


def seen_account() -> tuple[Any, Survey]:
    """Return an account with five files in flight and one that failed, and what was seen of it."""
    now = SOURCE.last_modified
    flying = []
    for number in range(5):
        source = msgspec.structs.replace(SOURCE, name=f"{number}.txt")
        claim = Claimed(f"claims/{number}.txt.json", "0" * 32, now, source.etag)
        job = SubmittedJob(f"job-{number}", 1, 3)
        record = BatchRecord(
            kind=BatchKind.JOB,
            members=[Member(source, "0x1")],
            job=job,
            received_date_time=now,
            due=now,
            tries=number,
        )
        found = InFlight(claim, source.name, source, now, record, "0x2", is_overdue=number == 4)
        flying.append((File(source.name, State.IN_FLIGHT, now, source, claim), found))
    ended = Ended("bad.pdf.json", OutcomeStatus.FAILED, now, 9)
    failed = (
        File("bad.pdf", State.FAILED, now, outcome=ended),
        Report(None, [Problem("X", "No\x1b[2J text.")]),
    )
    states = Counter({State.IN_FLIGHT: 5, State.FAILED: 1, State.SUCCEEDED: 4})
    sweep = SweepState(since=now, last=now, swept=Swept(files=10, missing=2, revived=1))
    seen = Survey(states, flying, 1, Counter({OutcomeStatus.FAILED: 1}), [failed], sweep=sweep)
    settings = Settings.from_environ(read_values(SAMPLE))
    return SimpleNamespace(blobs=SimpleNamespace(primary_hostname="here"), cost_text=str, settings=settings), seen


def test_the_live_view_tells_what_is_in_flight_and_what_failed() -> None:
    """As many files as there is room for, and how many more there are; and how the sweep is doing."""
    account, seen = seen_account()
    for room, more in ((6, False), (3, True)):
        console = Console(file=io.StringIO(), width=100)
        console.print(live_view(account, seen, rows=room, now=SOURCE.last_modified))
        said = console.file.getvalue()  # type: ignore[attr-defined]  # the one given above
        assert "5 of 10 done: 4 succeeded, 0 partly succeeded, 1 failed; 5 in flight, 0 not started" in said
        assert "job running" in said
        assert ("overdue" in said) is not more
        assert ("bad.pdf" in said) is not more
        assert ("... and 3 more" in said) is more
        assert "Last sweep: 0 s ago, 10 files checked, 2 not picked up, 1 lost message sent again." in said
        assert "\x1b" not in said
    assert seen.unfinished_count == 5


def test_the_state_of_an_account_as_json() -> None:
    """With what a program wants to know of files in flight, of messages that must be lost, and of the sweep."""
    account, seen = seen_account()
    said = json.loads(survey_json(account, seen, since=None, now=SOURCE.last_modified))
    assert (said["files"]["in flight"], said["overdueMessages"], said["existing"]) == (5, 1, 0)
    assert said["inFlight"][4] == {
        "name": "4.txt",
        "receivedDateTime": "2026-11-24T00:00:00Z",
        "submittedDateTime": None,
        "waitsFor": "job running",
        "due": "2026-11-24T00:00:00Z",
        "isOverdue": True,
        "tries": 4,
        "jobIds": ["job-4"],
        "textRecords": 3,
    }
    assert (said["sweep"]["last"], said["sweep"]["missing"], said["sweep"]["isComplete"]) == (
        *("2026-11-24T00:00:00Z", 2, True),
    )
    assert (said["failed"][0]["name"], said["failed"][0]["errors"][0]["code"]) == ("bad.pdf", "X")
    nothing = json.loads(survey_json(account, Survey(), since=None, now=SOURCE.last_modified))
    assert nothing["sweep"] is None


@pytest.mark.parametrize(
    ("survey", "option"),
    [
        (Survey(), None),
        (Survey(overdue_count=1), "--in-flight"),
        (Survey(unheard=[SOURCE]), "--unheard"),
        (Survey(unheard=[SOURCE], existing_count=1), "NER_SWEEP_EXISTING"),
        (Survey(poisoned=[Poisoned("q", None, is_ours=True, names=("a.txt",))]), "--poison"),
        (Survey(poisoned=[Poisoned("q", None)], queues={"q": 1}), None),
        (Survey(counts=Counter({OutcomeStatus.FAILED: 1})), "--failed"),
    ],
)
def test_an_operator_is_told_what_to_do(survey: Survey, option: str | None) -> None:
    """One sentence for each thing that may need a hand; somebody else's poison messages need none."""
    found = advices(Settings.from_environ(read_values(SAMPLE)), survey, SOURCE.last_modified)
    assert [option in advice for advice in found if option] == ([True] if option else [])
    assert len(found) == (option is not None)


def test_a_large_text_is_read_in_parts() -> None:
    """The parts together are the text."""
    text = "A line of it.\n" * 150_000
    result = reading(text)
    assert len(result.parts) > 100
    painted = [one for number in range(len(result.parts)) for one in result.painted(number)]
    assert "".join(piece.text for one in painted for piece in one.pieces) == text


def test_short_documents_share_a_part() -> None:
    """But not too many."""
    parts = reading(*["x"] * (DOCUMENTS_A_PART + 1), "").parts
    assert [len(part) for part in parts] == [DOCUMENTS_A_PART, 2]


def test_a_piece_says_all_its_entities() -> None:
    """With their confidence, in the colour of the first."""
    entities = [YORK, Entity("York", "name", 11, 4, 1.0, "family")]
    assert described(entities) == "city 0.40; name / family 1.00"
    assert classes(entities, {"city": 3, "name": 1}) == "c3 several"
    assert reading("x").categories == Counter()
