"""The functions of an app, as the host sees them."""

import re
from collections.abc import Mapping
from typing import Protocol

from local.host.configuration import HostError
from local.host.protocol import FunctionDescription, TypedData


class InvocationError(Exception):
    """An invocation failed: the function raised, timed out or lost its worker process. It has been logged."""


class Function:
    """One function with its trigger."""

    def __init__(self, description: FunctionDescription) -> None:
        self.name = description.name
        self.binding = description.binding
        self.trigger = str(self.binding["type"])

    @property
    def function_id(self) -> str:
        """The function's name in receipts and internal messages."""
        return f"Host.Functions.{self.name}"

    def text(self, key: str, environ: Mapping[str, str]) -> str:
        """Return a property of the binding, with each `%SETTING%` replaced.

        Raises:
            HostError: the setting is missing; the real host then does not start the function.
        """

        def look_up(match: re.Match[str]) -> str:
            try:
                return environ[match[1]]
            except KeyError:
                raise HostError(
                    f"function {self.name}: its {key} names the app setting {match[1]}, which is missing: set it"
                ) from None

        return re.sub(r"%([^%]+)%", look_up, str(self.binding[key]))


class Invoker(Protocol):
    """Runs functions for the listeners."""

    async def invoke(self, function: Function, data: TypedData, metadata: dict[str, TypedData], reason: str) -> None:
        """Run a function; raises InvocationError if it fails."""

    def reject(self, function: Function, reason: str, why: str) -> InvocationError:
        """Return the failure of an invocation whose data the host itself cannot read; no worker process sees it."""
