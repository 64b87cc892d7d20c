"""Requests that the service refuses for their size, because it counts otherwise: they are sent in halves, once."""

import json
from collections.abc import Awaitable, Callable

import pytest

from shared.message import BatchMessage, decode_message
from shared.outcome import Outcome, OutcomeStatus
from shared.packing import REQUEST_LIMITS
from shared.pipeline.ledger_posting import STILL_REFUSED
from shared.state.batch import BATCHES
from tests.calls import before_blob_call
from tests.emulator import stats
from tests.integration.conftest import ProxiedWay, Way
from tests.integration.test_batches import statuses, submit
from tests.proxy import Answer, Call

SENTENCE = "Please book a table at Blue Heron in Bristol for four people at eight. "
LONG = SENTENCE * 1500
"""A text of one request, but of two halves."""
STRICT = {"jobSeconds": 0, "mostTextElements": 100_000}


def lines(count: int) -> bytes:
    """Return a file of long documents, twenty of which are about a request."""
    texts = [f"Table {number} at Blue Heron, please. " + SENTENCE * 80 for number in range(count)]
    return "\n".join(json.dumps({"id": f"doc {number}", "text": text}) for number, text in enumerate(texts)).encode()


def refused(way: Way) -> int:
    """Return how many requests the service has refused."""
    return stats(way.ner_emulator)["calls"].get("POST 400", 0)


def check_text(outcome: Outcome, text: str) -> None:
    """Assert that each entity of a file of one document is found once, at its place."""
    assert outcome.status is OutcomeStatus.SUCCEEDED
    (document,) = outcome.documents
    assert all(text[found.offset : found.offset + found.length] == found.text for found in document.entities)
    places = [place for place in range(len(text)) if text.startswith("Blue Heron", place)]
    assert [found.offset for found in document.entities if found.text == "Blue Heron"] == places


def check_lines(outcome: Outcome, count: int) -> None:
    """Assert that all documents are there, in order, each with its own entities."""
    assert outcome.status is OutcomeStatus.SUCCEEDED
    assert [document.id for document in outcome.documents] == [f"doc {number}" for number in range(count)]
    for number, document in enumerate(outcome.documents):
        first = next(found for found in document.entities if found.text == "Blue Heron")
        assert first.offset == len(f"Table {number} at ")


@pytest.fixture
async def strict_way(way: Way) -> Way:
    """A way to a service that accepts less than the app sends at first."""
    await way.pipeline.sweep()
    way.switch(**STRICT)
    return way


@pytest.mark.parametrize("has_waited", [False, True])
async def test_a_document_is_sent_in_two_parts(strict_way: Way, *, has_waited: bool) -> None:
    """Whether its batch is new or has waited."""
    way = strict_way
    way.name = f"halved-{has_waited}.txt"
    if has_waited:
        way.switch(**STRICT, faults=[{"status": 503, "method": "POST", "times": 1}])
    before = refused(way)
    await way.submit(LONG.encode())
    outcome = await way.poll_until_outcome()
    check_text(outcome, LONG)
    assert len(outcome.jobs) == way.submissions() == 2
    assert refused(way) - before == 1


async def test_many_documents_are_sent_in_two_requests(strict_way: Way) -> None:
    """None of them is cut."""
    way = strict_way
    way.name = "halved.jsonl"
    before = refused(way)
    await way.submit(lines(20))
    outcome = await way.poll_until_outcome()
    check_lines(outcome, 20)
    assert len(outcome.jobs) == way.submissions() == 2
    assert refused(way) - before == 1


@pytest.mark.parametrize("kind", ["text", "lines"])
async def test_a_file_of_many_jobs_goes_on_in_halves(
    kind: str, strict_way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the refused request on, whichever invocation posts the next ones: they divide the file in the same way."""
    way = strict_way
    way.name = f"many-halved-{kind}.{'txt' if kind == 'text' else 'jsonl'}"
    monkeypatch.setattr("shared.pipeline.ledger_posting.WORKING_SHARE", 0.0)
    way.switch(jobSeconds=0)
    before = refused(way)
    text = SENTENCE * 5000
    await way.submit(text.encode() if kind == "text" else lines(60))
    assert way.submissions() == 1
    way.switch(**STRICT)
    kept = []
    while (outcome := way.outcome()) is None:
        body = way.message().content.encode()
        message = decode_message(body)
        assert isinstance(message, BatchMessage)
        assert message.record is not None
        kept.append(message.record.is_halved)
        await way.pipeline.poll(body)
    check_text(outcome, text) if kind == "text" else check_lines(outcome, 60)
    assert refused(way) - before == 1
    assert kept[0] is False
    assert all(kept[1:])
    assert len(outcome.jobs) == way.submissions() == 1 + 4
    assert way.in_flight() == 0


async def test_a_worker_that_dies_after_the_refusal_leaves_the_halves_to_the_next_one(strict_way: Way) -> None:
    """Before it has recorded them, the next one is refused as well; that costs nothing."""
    way = strict_way
    way.name = "halved-by-another.txt"
    seen = refused(way)

    async def die() -> None:
        raise KeyboardInterrupt

    with (
        before_blob_call("append_block", f"{way.settings.state_container}/{BATCHES}", die),
        pytest.raises(KeyboardInterrupt),
    ):
        await way.submit(LONG.encode())
    assert (await way.sweep()).revived == 1
    outcome = await way.poll_until_outcome()
    check_text(outcome, LONG)
    assert way.submissions() == 2
    assert refused(way) - seen == 1


async def test_halves_that_are_refused_too_end_the_file(way: Way) -> None:
    """Its outcome says so."""
    way.name = "refused-in-halves.txt"
    way.switch(jobSeconds=0, mostTextElements=1000)
    before = refused(way)
    await way.submit(LONG.encode())
    outcome = await way.poll_until_outcome()
    assert outcome.status is OutcomeStatus.FAILED
    assert [problem.code for problem in outcome.errors] == ["InvalidDocumentBatch"] * 2
    assert all(problem.message.endswith(STILL_REFUSED) for problem in outcome.errors)
    assert outcome.errors[0].message.startswith("Document 1, characters 1 to ")
    assert way.submissions() == 0
    assert refused(way) - before == 3


@pytest.mark.parametrize("reason", ["small", "content"])
async def test_other_refusals_end_the_file_at_once(reason: str, way: Way) -> None:
    """A request that is small already, or one that is not refused for its size."""
    way.name = f"refused-{reason}.txt"
    way.switch(jobSeconds=0, **({"mostTextElements": 1000} if reason == "small" else {"refusedMarker": "Bristol"}))
    before = refused(way)
    await way.submit((LONG[:60_000] if reason == "small" else LONG).encode())
    outcome = await way.poll_until_outcome()
    assert outcome.status is OutcomeStatus.FAILED
    assert len(outcome.errors) == refused(way) - before == 1
    assert STILL_REFUSED not in outcome.errors[0].message


async def test_several_files_are_sent_one_by_one(strict_way: Way) -> None:
    """Each of them is accepted as it is."""
    way = strict_way
    names = [f"halved/{number}.txt" for number in range(3)]
    before = refused(way)
    for number, way.name in enumerate(names):
        way.upload((SENTENCE * 580 + str(number)).encode())
    await submit(way, names)
    await way.poll_until_empty()
    assert statuses(way, names) == ["succeeded"] * 3
    assert refused(way) - before == 1


async def test_a_gateway_that_refuses_large_bodies_gets_halves(
    make_proxied_way: Callable[..., Awaitable[ProxiedWay]],
) -> None:
    """It answers with its own page and 413."""
    way = await make_proxied_way()
    way.name = "halved-for-a-gateway.txt"
    sizes: list[int] = []

    def limit(call: Call) -> Answer | None:
        if call.operation != "Submit Job":
            return None
        sizes.append(len(call.body))
        return Answer(413) if sizes[-1] > 100_000 else None

    way.proxies.rule = limit
    await way.submit(LONG.encode())
    outcome = await way.poll_until_outcome()
    check_text(outcome, LONG)
    assert [size > 100_000 for size in sizes] == [True, False, False]
    await way.aclose()


def test_the_refused_texts_are_of_one_request() -> None:
    """Or else these tests would show nothing."""
    assert REQUEST_LIMITS.units / 2 < 100_000 < len(LONG) <= REQUEST_LIMITS.units
