"""Answers that storage and the service may give to a share of the app's calls, drawn from all that are known."""

import json
import random
import re
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from shared.settings import Settings
from shared.state.claim import CLAIMS
from tests.proxy import Answer, Call, Service, documents_in
from tests.refusals import Row, rows_of

SHARE: Final = 0.4
"""Of the calls, while they are refused."""
OF_SEVERAL: Final = re.compile(r" and \d+ more$")
"""The end of a job's display name, if it has several files."""
RECORDED_SECONDS: Final = 10.0
"""Within which an accepted job is recorded: the longest claim of a run."""
SLOW: Final = frozenset({"silence"})
"""Answers that would only make a run longer: each holds an invocation until its deadline."""


class Refusing:
    """The rule of a run: for a while, answers a share of the calls itself.

    Attributes:
        answered: how many calls it has answered, by the kind of the action.
        unread: documents that the service has accepted with an answer that the app may not understand.
        unrecorded: calls that would have written to records, and were refused.
        posted: when documents were submitted, and how many.
        shared: how many requests have had several files.
        begun: when storage began to refuse calls.
    """

    def __init__(self, seed: int, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        """Refuse nothing yet."""
        self.chance = random.Random(seed)  # noqa: S311
        self.settings = settings
        self.clock = clock
        self.until = {"refusals": 0.0, "odd answers": 0.0}
        self.answered: Counter[str] = Counter()
        self.unread = 0
        self.unrecorded: set[str] = set()
        self.posted: list[tuple[float, int]] = []
        self.shared = 0
        self.begun: list[tuple[float, float]] = []

    def begin(self, kind: str, seconds: float) -> None:
        """Refuse calls for a time."""
        now = self.clock()
        self.until[kind] = now + seconds
        if kind == "refusals":
            self.begun.append((now, now + seconds))

    def end(self) -> None:
        """Refuse nothing any more."""
        self.until = dict.fromkeys(self.until, 0.0)

    def posted_lately(self) -> int:
        """Return how many documents were submitted so lately that their jobs may not be recorded yet."""
        since = self.clock() - RECORDED_SECONDS
        return sum(count for when, count in self.posted if when >= since)

    @property
    def forgotten(self) -> int:
        """How many documents the app may not know the jobs of: those of as many requests as records were refused."""
        posted = sorted(
            count
            for when, count in self.posted
            if any(begin - RECORDED_SECONDS <= when < end for begin, end in self.begun)
        )
        return self.unread + sum(posted[-len(self.unrecorded) :] if self.unrecorded else [])

    def __call__(self, call: Call) -> Answer | None:
        """Say what a caller gets."""
        if call.operation == "Submit Job":
            self.posted.append((self.clock(), documents_in(call)))
            self.shared += bool(OF_SEVERAL.search(json.loads(call.body).get("displayName", "")))
        kind = "odd answers" if call.service is Service.NER else "refusals"
        if self.clock() >= self.until[kind] or not self.is_the_apps(call) or self.chance.random() >= SHARE:
            return None
        if rows := [row for row in rows_of(call, self.settings) if row.name not in SLOW]:
            row = self.chance.choice(rows)
            self.answered[kind] += 1
            self.note(call, row)
            return row.to(call)
        return None

    def is_the_apps(self, call: Call) -> bool:
        """Return whether the app makes such calls; the host has containers and queues of its own."""
        settings = self.settings
        mine = (settings.input_container, settings.results_container, settings.state_container, settings.queue)
        return call.service is Service.NER or (call.container in mine and call.operation != "Get Messages")

    def note(self, call: Call, row: Row) -> None:
        """Take note of a call after which the app may not know that a job was accepted."""
        is_claim = call.blob.startswith(CLAIMS)
        if call.operation == "Submit Job":
            self.unread += documents_in(call) if row.to(call).needs_server else 0
        elif call.container == self.settings.state_container and call.method == "PUT" and not is_claim:
            self.unrecorded.add(call.headers["x-ms-client-request-id"])
