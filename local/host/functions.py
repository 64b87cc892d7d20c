"""The functions of an app: found through `azure.functions`, called as the Python worker calls them."""

import asyncio
import importlib.util
import inspect
import logging
import re
import sys
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from azure.functions import Context, FunctionApp
from azure.functions import blob as blob_binding
from azure.functions import queue as queue_binding
from azure.functions.decorators.function_app import Function as DeclaredFunction
from azure.functions.meta import Datum

from local.host.configuration import HostError

log = logging.getLogger("host")

CONVERTERS: Final[dict[str, Any]] = {
    "blobTrigger": blob_binding.BlobConverter,
    "queueTrigger": queue_binding.QueueMessageInConverter,
}
WORKER_THREADS: Final = 1000
"""What the host sets for the worker's pool of plain functions (PYTHON_THREADPOOL_THREAD_COUNT)."""


class InvocationError(Exception):
    """A function raised, or ran longer than functionTimeout; it has been logged."""


class Function:
    """One function with its trigger."""

    def __init__(self, name: str, call: Callable[..., Any], binding: Mapping[str, Any]) -> None:
        self.name = name
        self.call = call
        self.trigger = str(binding["type"])
        self.argument = str(binding["name"])
        self.binding = binding
        self.wants_context = "context" in inspect.signature(call).parameters

    @property
    def function_id(self) -> str:
        """The name by which receipts and internal messages know the function."""
        return f"Host.Functions.{self.name}"

    def text(self, key: str, environ: Mapping[str, str]) -> str:
        """Return a property of the binding with `%SETTING%` put in.

        Raises:
            HostError: the setting is missing; the real host refuses to start the function then.
        """

        def look_up(match: re.Match[str]) -> str:
            try:
                return environ[match[1]]
            except KeyError:
                raise HostError(
                    f"function {self.name}: its {key} names the app setting {match[1]}, which is missing: set it"
                ) from None

        return re.sub(r"%([^%]+)%", look_up, str(self.binding[key]))


def load_functions(root: Path) -> list[Function]:
    """Import function_app.py and return its functions.

    Raises:
        HostError: there is no such file, no FunctionApp in it, or a trigger that this stand-in does not know.
    """
    path = root / "function_app.py"
    if not path.is_file():
        raise HostError(f"{path} is missing, so this folder is not a function app: choose another one with --root")
    sys.path.insert(0, str(root))
    spec = importlib.util.spec_from_file_location("function_app", path)
    if spec is None or spec.loader is None:
        raise HostError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules["function_app"] = module
    spec.loader.exec_module(module)
    apps = [value for value in vars(module).values() if isinstance(value, FunctionApp)]
    if len(apps) != 1:
        raise HostError(f"{path} must have exactly one FunctionApp, but has {len(apps)}")
    return [describe(declared) for declared in apps[0].get_functions()]


def describe(declared: DeclaredFunction) -> Function:
    """Return a function as its decorators declare it."""
    name = str(declared.get_function_name())
    bindings = declared.get_bindings_dict()["bindings"]
    triggers = [binding for binding in bindings if str(binding["type"]) in CONVERTERS]
    if len(triggers) != 1 or len(bindings) != 1:
        kinds = ", ".join(str(binding["type"]) for binding in bindings)
        raise HostError(
            f"function {name} has the bindings {kinds}, but the host emulator supports only one blobTrigger or "
            "queueTrigger per function. Install Azure Functions Core Tools to run it."
        )
    call = declared.get_user_function()
    wanted = set(inspect.signature(call).parameters) - {"context"}
    if wanted != {triggers[0]["name"]}:
        raise HostError(f"function {name}: its parameters {sorted(wanted)} must be the arg_name of its trigger")
    return Function(name, call, triggers[0])


class InvocationContext(Context):
    """What a function is told about its invocation. The host's own trace is none of it: this stand-in has none."""

    def __init__(self, invocation_id: str, function: Function) -> None:
        self._invocation_id = invocation_id
        self._function = function

    @property
    def invocation_id(self) -> str:
        """By which the log tells invocations apart."""
        return self._invocation_id

    @property
    def function_name(self) -> str:
        """The function's name."""
        return self._function.name

    @property
    def function_directory(self) -> str:
        """Where the function's code is."""
        return str(Path(inspect.getfile(self._function.call)).parent)

    @property
    def thread_local_storage(self) -> Any:
        """Nothing here."""
        raise NotImplementedError

    @property
    def trace_context(self) -> Any:
        """Nothing here."""
        raise NotImplementedError

    @property
    def retry_context(self) -> Any:
        """Nothing here."""
        raise NotImplementedError


class Worker:
    """Calls functions, as the Python worker does: coroutines on the loop, plain functions in threads."""

    def __init__(self, timeout_seconds: float) -> None:
        self.timeout_seconds = timeout_seconds
        self.threads = ThreadPoolExecutor(WORKER_THREADS, thread_name_prefix="worker")

    async def invoke(self, function: Function, data: Datum, metadata: dict[str, Datum], reason: str) -> None:
        """Call a function with trigger data of the form that the host sends.

        Raises:
            InvocationError: the function failed.
        """
        invocation = uuid.uuid4()
        log.info("Executing 'Functions.%s' (Reason='%s', Id=%s)", function.name, reason, invocation)
        argument = CONVERTERS[function.trigger].decode(data, trigger_metadata=metadata)
        try:
            async with asyncio.timeout(self.timeout_seconds):
                await self.call(function, argument, InvocationContext(str(invocation), function))
        except Exception as error:
            log.exception("Executed 'Functions.%s' (Failed, Id=%s)", function.name, invocation)
            raise InvocationError(function.name) from error
        log.info("Executed 'Functions.%s' (Succeeded, Id=%s)", function.name, invocation)

    async def call(self, function: Function, argument: object, context: "InvocationContext") -> None:
        """Call the function; what it returns must be None, since it has no output binding."""
        arguments = {function.argument: argument, **({"context": context} if function.wants_context else {})}
        if inspect.iscoroutinefunction(function.call):
            result = await function.call(**arguments)
        else:
            loop = asyncio.get_running_loop()
            result = await loop.run_in_executor(self.threads, lambda: function.call(**arguments))
        if result is not None:
            raise TypeError(f"function {function.name} returned a value without an output binding")

    def close(self) -> None:
        """End the threads."""
        self.threads.shutdown(wait=False, cancel_futures=True)
