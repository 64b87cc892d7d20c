"""host.json: ours is one that the host takes, and the host's own defaults hold for what is not said."""

import math
import os
from pathlib import Path

import msgspec
import pytest

from local.host.blobs import parse_path
from local.host.configuration import HostError, QueueOptions, read_host_json, seconds
from local.host.queues import Backoff
from local.install import ROOT


def test_ours_has_the_values_that_the_docs_explain() -> None:
    """A long maxPollingInterval would dominate every wait."""
    configuration = read_host_json(ROOT / "host.json")
    queues = configuration.extensions.queues
    assert seconds(queues.max_polling_interval) == 2.0
    assert seconds(queues.visibility_timeout) == 30.0
    assert queues.message_encoding == "base64"
    assert configuration.extensions.blobs.max_degree_of_parallelism == 64
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    sections = msgspec.json.decode((ROOT / "host.json").read_bytes())["extensions"]
    assert all(f"| `{name}` |" in page for name in sections["queues"] | sections["blobs"])


def test_defaults_are_those_of_the_storage_extension() -> None:
    """16 messages a batch, the next at half of that per core, a minute of back-off, five tries."""
    options = QueueOptions()
    assert (options.batch_size, options.threshold) == (16, 8 * (os.cpu_count() or 1))
    assert seconds(options.max_polling_interval) == 60.0
    assert (seconds(options.visibility_timeout), options.max_dequeue_count) == (0.0, 5)


@pytest.mark.parametrize(
    ("text", "expected"), [("00:00:02", 2), ("00:05:00", 300), ("1.02:00:00", 93600), ("00:00:00.5000000", 0.5)]
)
def test_time_spans(text: str, expected: float) -> None:
    """As .NET writes them."""
    assert seconds(text) == expected


@pytest.mark.parametrize(
    "queues",
    ['{"batchSize": 33}', '{"batchsize": 16}', '{"maxPollingInterval": "2"}', '{"messageEncoding": "utf8"}', "[]"],
)
def test_what_the_host_would_refuse_is_refused(queues: str, tmp_path: Path) -> None:
    """Out of range, misspelt, in milliseconds: each is an error that names the file."""
    path = tmp_path / "host.json"
    path.write_text(f'{{"version": "2.0", "extensions": {{"queues": {queues}}}}}')
    with pytest.raises(HostError, match=r"host\.json"):
        read_host_json(path)


def test_app_settings_stand_for_values_of_the_file() -> None:
    """As on the platform; what they hold is checked likewise."""
    queues = "AzureFunctionsJobHost__extensions__queues__"
    changed = read_host_json(
        ROOT / "host.json",
        {
            f"{queues}batchSize": "16",
            "AzureFunctionsJobHost__extensions__blobs__maxDegreeOfParallelism": "3",
            "AzureFunctionsJobHost__functionTimeout": "00:01:00",
            "AzureFunctionsWebHost__hostid": "another",
        },
    )
    assert changed.extensions.queues.batch_size == 16
    assert changed.extensions.queues.threshold == 32
    assert changed.extensions.blobs.max_degree_of_parallelism == 3
    assert changed.timeout_seconds == 60.0
    for name, value in ((f"{queues}batchSize", "33"), (f"{queues}batchSize__more", "1"), (f"{queues}size", "1")):
        with pytest.raises(HostError):
            read_host_json(ROOT / "host.json", {name: value})


def test_a_function_timeout_may_be_unlimited() -> None:
    """On most plans; it may be neither nothing nor a number of seconds."""
    name = "AzureFunctionsJobHost__functionTimeout"
    assert read_host_json(ROOT / "host.json", {name: "-1"}).timeout_seconds == math.inf
    for wrong in ("00:00:00", "300"):
        with pytest.raises(HostError):
            read_host_json(ROOT / "host.json", {name: wrong})


def test_a_missing_host_json_is_an_error(tmp_path: Path) -> None:
    """The folder is no function app."""
    with pytest.raises(HostError, match="not a function app"):
        read_host_json(tmp_path / "host.json")


def test_back_off_doubles_from_a_tenth_of_a_second_to_the_longest() -> None:
    """A message found resets it."""
    backoff = Backoff(longest=2.0)
    delays = [backoff.next_delay(found=False) for _ in range(40)]
    assert delays[0] == 0.1
    assert all(0.1 <= delay <= 2.0 for delay in delays)
    assert set(delays[8:]) == {2.0}
    backoff.next_delay(found=True)
    assert backoff.next_delay(found=False) == 0.1


@pytest.mark.parametrize(
    ("path", "blob", "expected"),
    [
        ("incoming/{name}", "a/b.txt", {"name": "a/b.txt"}),
        ("incoming/{name}.txt", "a.txt", {"name": "a"}),
        ("incoming/{name}.txt", "a.md", None),
        ("incoming", "any", {"name": "any"}),
        ("incoming/{name}", "line\nbreak.txt", {"name": "line\nbreak.txt"}),
    ],
)
def test_path_patterns(path: str, blob: str, expected: dict[str, str] | None) -> None:
    """`{name}` matches sub-folders too."""
    container, pattern = parse_path(path)
    match = pattern.fullmatch(blob)
    assert container == "incoming"
    assert (match and match.groupdict()) == expected


def test_the_container_cannot_be_an_expression() -> None:
    """The host refuses it as well."""
    with pytest.raises(HostError, match="container"):
        parse_path("{container}/{name}")
