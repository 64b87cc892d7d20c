"""What traces and the log have of exceptions: their types, never their messages, which may quote a text or the key."""

import logging
import re
import traceback
from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from opentelemetry import trace

from shared.ner.model import loggable_job

log = logging.getLogger("ner")

ROOT: Final = f"{Path(__file__).parents[1]}/"
MAX_FRAMES: Final = 30
MAX_CAUSES: Final = 5
JOB_IN_URL: Final = re.compile(r"(?<=/jobs/)[^/:?]+")


class QuietTracers(trace.TracerProvider):
    """Makes tracers whose spans quote nothing that the service sent: no messages of exceptions, no unusual job IDs."""

    def __init__(self, tracers: trace.TracerProvider) -> None:
        """Make them of others."""
        self.tracers = tracers

    def get_tracer(self, *arguments: Any, **named: Any) -> trace.Tracer:
        """Return a tracer."""
        tracer = self.tracers.get_tracer(*arguments, **named)
        unchanged = partial(tracer.start_as_current_span, record_exception=False, set_status_on_exception=False)

        def begin(name: str, *, attributes: Mapping[str, Any], **named: Any) -> AbstractContextManager[trace.Span]:
            return unchanged(name, attributes={key: without_job(value) for key, value in attributes.items()}, **named)

        setattr(tracer, "start_as_current_span", begin)  # noqa: B010  # a method
        return tracer


def without_job(value: Any) -> Any:
    """Return an attribute; a URL without its job's ID if that is unusual."""
    return JOB_IN_URL.sub(lambda found: loggable_job(found[0]), value) if isinstance(value, str) else value


def describe_raised(error: BaseException) -> str:
    """Return types and frames of an exception and its causes, without their messages: these may quote a text."""
    parts: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(parts) < MAX_CAUSES:
        frames = [
            f"{frame.f_code.co_filename.removeprefix(ROOT)}:{line} in {frame.f_code.co_name}"
            for frame, line in traceback.walk_tb(cause.__traceback__)
        ]
        parts.append(" < ".join([type(cause).__name__, *reversed(frames[-MAX_FRAMES:])]))
        if isinstance(cause, BaseExceptionGroup):
            parts += [describe_raised(each) for each in cause.exceptions[:MAX_CAUSES]]
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return "; caused by ".join(parts)


def log_failure(
    step: str, file: str, _kind: type[BaseException] | None, error: BaseException | None, _where: TracebackType | None
) -> None:
    """Log that an invocation raised, as the exit callback of its context."""
    if isinstance(error, Exception):
        log.error("%s%s failed: %s", f"{file!r}: " if file else "", step, describe_raised(error))
