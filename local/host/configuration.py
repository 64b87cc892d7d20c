"""host.json as the host reads it: the documented defaults, and an error for what the host would reject."""

import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec

from local.json_errors import JSON_ERRORS

LOG_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"
"""For the host and its worker process, which share a log."""
MESSAGE_LEASE_SECONDS: Final = 600
"""The host receives each queue message for ten minutes, as fixed in its source."""
LONGEST_BLOB_POLLING_SECONDS: Final = 60.0
"""The back-off limit of the blob trigger's internal queue, whatever host.json says."""

UNLIMITED: Final = "-1"
"""A functionTimeout without a limit, which most plans accept."""
OVERRIDE: Final = "AzureFunctionsJobHost__"
"""Prefix of an app setting that overrides a value of host.json; `__` separates the names in the path to it."""

TIME_SPAN = re.compile(r"(?:(\d+)\.)?(\d{1,2}):(\d{2}):(\d{2})(?:\.(\d{1,7}))?")


class HostError(Exception):
    """The function app cannot be hosted; the message says what to do about it."""


def seconds(time_span: str) -> float:
    """Return the seconds of a .NET time span, `[d.]hh:mm:ss[.fffffff]`.

    Raises:
        HostError: it has another form. The host would take a bare number for days.
    """
    match = TIME_SPAN.fullmatch(time_span)
    if match is None:
        raise HostError(f"host.json: {time_span!r} is not a time span: write it as hh:mm:ss")
    days, hours, minutes, whole, fraction = match.groups(default="0")
    return ((int(days) * 24 + int(hours)) * 60 + int(minutes)) * 60 + int(whole) + float(f"0.{fraction}")


class QueueOptions(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """`extensions.queues`; the defaults are those of the Storage Queues extension 5.x."""

    batch_size: Annotated[int, msgspec.Meta(ge=1, le=32)] = 16
    new_batch_threshold: Annotated[int, msgspec.Meta(ge=0)] | None = None
    max_polling_interval: str = "00:01:00"
    visibility_timeout: str = "00:00:00"
    max_dequeue_count: Annotated[int, msgspec.Meta(ge=1)] = 5
    message_encoding: Literal["base64", "none"] = "base64"

    @property
    def threshold(self) -> int:
        """The next batch is fetched once at most this many messages are being processed."""
        if self.new_batch_threshold is not None:
            return self.new_batch_threshold
        return self.batch_size // 2 * (os.cpu_count() or 1)


class BlobOptions(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """`extensions.blobs`; the defaults are those of the Storage Blobs extension 5.x."""

    max_degree_of_parallelism: Annotated[int, msgspec.Meta(ge=1)] | None = None
    poison_blob_threshold: Annotated[int, msgspec.Meta(ge=1)] = 5

    @property
    def internal_queue(self) -> QueueOptions:
        """The options of the internal queue behind all blob triggers."""
        parallel = self.max_degree_of_parallelism or 8 * (os.cpu_count() or 1)
        batch_size = min(32, parallel // 2 + 1)
        return QueueOptions(
            batch_size=batch_size,
            new_batch_threshold=max(parallel - batch_size, 0),
            max_polling_interval="00:01:00",
            max_dequeue_count=self.poison_blob_threshold,
        )


class Extensions(msgspec.Struct):
    """`extensions`: what this emulator supports."""

    queues: QueueOptions = msgspec.field(default_factory=QueueOptions)
    blobs: BlobOptions = msgspec.field(default_factory=BlobOptions)


class HostConfiguration(msgspec.Struct, rename="camel"):
    """host.json."""

    version: Literal["2.0"]
    function_timeout: str = "00:05:00"
    extensions: Extensions = msgspec.field(default_factory=Extensions)
    extension_bundle: dict[str, Any] | None = None

    @property
    def timeout_seconds(self) -> float:
        """The longest time that a function may take."""
        return math.inf if self.function_timeout == UNLIMITED else seconds(self.function_timeout)


def read_host_json(path: Path, environ: Mapping[str, str] | None = None) -> HostConfiguration:
    """Read and check host.json.

    Args:
        path: path of the file.
        environ: the app settings, which may override values of the file.

    Raises:
        HostError: it is missing, or contains what the host would reject.
    """
    try:
        document = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        override(document, environ or {})
        # Values of app settings are strings; the host treats those of the file as strings, too.
        configuration = msgspec.convert(document, HostConfiguration, strict=False)
    except FileNotFoundError:
        raise HostError(
            f"{path} is missing, so this folder is not a function app: choose another one with --root"
        ) from None
    except JSON_ERRORS as error:
        raise HostError(f"{path} is invalid: {error}") from None
    queues = configuration.extensions.queues
    for time_span in (queues.max_polling_interval, queues.visibility_timeout):
        seconds(time_span)
    if not configuration.timeout_seconds:
        raise HostError(f"{path}: functionTimeout must be at least 00:00:01")
    return configuration


def override(document: dict[str, Any], environ: Mapping[str, str]) -> None:
    """Override values of host.json with those of app settings.

    Raises:
        HostError: a setting's name uses a value as a section.
    """
    for name, value in environ.items():
        if name.startswith(OVERRIDE):
            *sections, key = name.removeprefix(OVERRIDE).split("__")
            place: Any = document
            for section in sections:
                place = place.setdefault(section, {})
                if not isinstance(place, dict):
                    raise HostError(
                        f"the app setting {name} names a section {section}, but host.json has a value there: rename it"
                    )
            place[key] = value
