"""What happens in a run: a list of actions that is a function of the seed alone."""

import json
import random
from dataclasses import dataclass, field, replace
from typing import Any, Final

PLACES: Final = ("Blue Heron in Bristol", "Café Lumière in Zürich", "the Red Lion in London")
PARTIES: Final = ("two", "four people", "six")

KINDS: Final = (
    ("upload", 16),
    ("burst", 16),
    ("overwrite", 14),
    ("duplicate events", 14),
    ("redelivered message", 8),
    ("host kill", 8),
    ("worker kill", 8),
    ("function timeout", 2),
    ("second instance", 6),
    ("storage restart", 3),
    ("outage", 5),
    ("throttling", 5),
    ("lost answers", 4),
    ("slow service", 4),
    ("failing jobs", 3),
    ("refusals", 5),
    ("odd answers", 5),
    ("calm", 10),
)
"""Kinds of actions and how often each is drawn."""

SWITCHES: Final[dict[str, dict[str, Any]]] = {
    "outage": {"faults": [{"status": 503}]},
    "throttling": {"faults": [{"status": 429, "retryAfter": 1, "share": 0.6}]},
    "lost answers": {"faults": [{"after": True, "share": 0.5}, {"after": True, "status": 504, "share": 0.3}]},
    "slow service": {"jobSeconds": 4.0, "latencySeconds": 0.3},
    "failing jobs": {"jobEnd": "failed"},
    "calm": {},
}
"""The emulator's switches by the kind of action that sets them, until another one does."""


@dataclass(frozen=True)
class Action:
    """Something that is done, and the seconds until the next.

    Attributes:
        kind: one of KINDS.
        pause: seconds.
        name: of the file, where it is about one.
        data: what is uploaded.
        documents: how many the service gets of it.
        others: uploads at the same time.
        times: how many events or deaths, or for how long a second instance runs, or calls are refused.
    """

    kind: str
    pause: float
    name: str = ""
    data: bytes = field(default=b"", repr=False)
    documents: int = 0
    others: "tuple[Action, ...]" = ()
    times: int = 0


def make_plan(seed: int, count: int) -> list[Action]:
    """Return the actions of a run; each kind comes at least once if there are enough of them."""
    chance = random.Random(seed)  # noqa: S311
    drawn = chance.choices([kind for kind, _ in KINDS], [weight for _, weight in KINDS], k=count)
    for kind, _ in KINDS:
        spare = [place for place, other in enumerate(drawn) if drawn.count(other) > 1]
        if kind not in drawn and spare:
            drawn[chance.choice(spare)] = kind
    names: list[str] = []
    actions = [new_file(chance, names)]
    for kind in drawn:
        pause = round(chance.choice([0.0, 0.1, 0.3, 0.8]), 1)
        if kind == "upload":
            actions.append(new_file(chance, names))
        elif kind == "burst":
            first, *others = [new_file(chance, names) for _ in range(chance.randint(3, 12))]
            actions.append(replace(first, kind=kind, others=tuple(others)))
        elif kind == "overwrite":
            actions.append(version("overwrite", chance, chance.choice(names), pause))
        elif kind in ("duplicate events", "redelivered message"):
            actions.append(Action(kind, pause, chance.choice(names), times=chance.choice([1, 2, 20])))
        elif kind == "worker kill":
            actions.append(Action(kind, pause, times=chance.choice([1, 1, 1, 3])))
        else:
            actions.append(Action(kind, pause, times=chance.randint(1, 4)))
    return actions


def new_file(chance: random.Random, names: list[str]) -> Action:
    """Return the upload of a new file."""
    ending = chance.choice(["txt", "txt", "txt", "txt", "jsonl", "jsonl", "bad.txt", "pdf"])
    names.append(f"folder {len(names) % 3}/file {len(names)}.{ending}")
    return version("upload", chance, names[-1], chance.choice([0.0, 0.0, 0.2]))


def version(kind: str, chance: random.Random, name: str, pause: float) -> Action:
    """Return the upload of a version; no two have the same text."""
    text = f"Please book a table at {chance.choice(PLACES)} for {chance.choice(PARTIES)}. {chance.getrandbits(64)}"
    if name.endswith(".jsonl"):
        count = chance.choice([2, 30, 60, 130])
        own = name.rpartition("/")[2]
        lines = [json.dumps({"id": f"{own} {number}", "text": f"{number}: {text}"}) for number in range(count)]
        return Action(kind, pause, name, "\n".join(lines).encode(), count)
    if name.endswith(".bad.txt"):
        return Action(kind, pause, name, b"\x00" * chance.randrange(0, 200, 7), 0)
    if name.endswith(".pdf"):
        return Action(kind, pause, name, b"%PDF-1.7 " + text.encode(), 0)
    return Action(kind, pause, name, text.encode(), 1)
