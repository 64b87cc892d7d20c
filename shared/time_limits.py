"""The time limit of the host, and the check that invocations can end before it."""

import json
import math
import re
from collections.abc import Mapping
from typing import Final

from shared.settings import Settings, SettingsError

FUNCTION_TIMEOUT_SHARE: Final = 0.5
"""The largest part of functionTimeout that NER_SUBMIT_TIMEOUT_SECONDS may be. At functionTimeout, the host ends the
worker process with everything that it is working on."""
DEFAULT_FUNCTION_TIMEOUT_SECONDS: Final = 300.0
"""Of the Consumption plan; the other plans have a longer one."""
UNLIMITED: Final = "-1"
FUNCTION_TIMEOUT_SETTING: Final = "AzureFunctionsJobHost__functionTimeout"
"""The app setting that overrides the value in host.json."""
TIME_SPAN = re.compile(r"(?:(\d+)\.)?(\d{1,2}):(\d{2}):(\d{2})(?:\.(\d{1,7}))?")


def read_time_span(text: str) -> float | None:
    """Return the seconds of a .NET time span, `[d.]hh:mm:ss[.fffffff]`; None if it has another form."""
    match = TIME_SPAN.fullmatch(text)
    if match is None:
        return None
    days, hours, minutes, whole, fraction = match.groups(default="0")
    return ((int(days) * 24 + int(hours)) * 60 + int(minutes)) * 60 + int(whole) + float(f"0.{fraction}")


def read_function_timeout(host_json: str, environ: Mapping[str, str]) -> float:
    """Return functionTimeout in seconds; infinite if it is unlimited.

    Args:
        host_json: the text of host.json.
        environ: the app settings, one of which may override the value in the file.

    Raises:
        SettingsError: it is not a time span.
    """
    override = [value for name, value in environ.items() if name.lower() == FUNCTION_TIMEOUT_SETTING.lower()]
    value = override[0] if override else json.loads(host_json).get("functionTimeout")
    if value is None:
        return DEFAULT_FUNCTION_TIMEOUT_SECONDS
    seconds = math.inf if value == UNLIMITED else read_time_span(str(value))
    if seconds is None:
        raise SettingsError([f"functionTimeout in host.json must be a time span such as 00:05:00, not {value!r}"])
    return seconds


def check_time_limits(settings: Settings, function_timeout_seconds: float) -> None:
    """Check that every invocation can end itself before the host ends its worker.

    Raises:
        SettingsError: NER_SUBMIT_TIMEOUT_SECONDS is too long for functionTimeout.
    """
    longest = function_timeout_seconds * FUNCTION_TIMEOUT_SHARE
    if settings.submit_timeout_seconds > longest:
        problem = (
            f"NER_SUBMIT_TIMEOUT_SECONDS ({settings.submit_timeout_seconds}) must be at most half of functionTimeout "
            f"in host.json ({function_timeout_seconds:g} seconds)"
        )
        raise SettingsError([problem])
