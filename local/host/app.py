"""The app in its worker process: found through `azure.functions`, and called as the Python worker calls it."""

import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from azure.functions import Context, FunctionApp
from azure.functions import blob as blob_binding
from azure.functions import queue as queue_binding
from azure.functions import timer as timer_binding
from azure.functions.decorators.function_app import Function as DeclaredFunction
from azure.functions.meta import Datum

from local.host.configuration import HostError
from local.host.protocol import FunctionDescription, Invocation

CONVERTERS: Final[dict[str, Any]] = {
    "blobTrigger": blob_binding.BlobConverter,
    "queueTrigger": queue_binding.QueueMessageInConverter,
    "timerTrigger": timer_binding.TimerRequestConverter,
}


class AppFunction:
    """A function of the app."""

    def __init__(self, name: str, call: Callable[..., Any], binding: dict[str, Any]) -> None:
        self.description = FunctionDescription(name, binding)
        self.call = call
        self.argument = str(binding["name"])
        self.converter = CONVERTERS[str(binding["type"])]
        self.is_coroutine = inspect.iscoroutinefunction(call)
        self.wants_context = "context" in inspect.signature(call).parameters

    def arguments(self, invocation: Invocation) -> dict[str, Any]:
        """Return the arguments of a call.

        Raises:
            ValueError: the trigger data is not what the converter expects.
        """
        data = Datum(invocation.data.value, invocation.data.kind)
        metadata = {name: Datum(found.value, found.kind) for name, found in invocation.metadata.items()}
        arguments = {self.argument: self.converter.decode(data, trigger_metadata=metadata)}
        if self.wants_context:
            arguments["context"] = InvocationContext(invocation.id, self)
        return arguments


def load_functions(root: Path) -> dict[str, AppFunction]:
    """Import function_app.py and return its functions by name.

    Raises:
        HostError: there is no such file, no FunctionApp in it, or a trigger that the host emulator does not know.
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
    return {function.description.name: function for function in map(describe, apps[0].get_functions())}


def describe(declared: DeclaredFunction) -> AppFunction:
    """Return a function as its decorators declare it."""
    name = str(declared.get_function_name())
    bindings = declared.get_bindings_dict()["bindings"]
    triggers = [binding for binding in bindings if str(binding["type"]) in CONVERTERS]
    if len(triggers) != 1 or len(bindings) != 1:
        kinds = ", ".join(str(binding["type"]) for binding in bindings)
        raise HostError(
            f"function {name} has the bindings {kinds}, but the host emulator supports only one blobTrigger, "
            "queueTrigger or timerTrigger per function. Install Azure Functions Core Tools to run it."
        )
    call = declared.get_user_function()
    wanted = set(inspect.signature(call).parameters) - {"context"}
    if wanted != {triggers[0]["name"]}:
        raise HostError(f"function {name}: its parameters {sorted(wanted)} must be the arg_name of its trigger")
    return AppFunction(name, call, triggers[0])


class InvocationContext(Context):
    """The context of an invocation. Like the host, this emulator sends no trace context."""

    def __init__(self, invocation_id: str, function: AppFunction) -> None:
        self._invocation_id = invocation_id
        self._function = function

    @property
    def invocation_id(self) -> str:
        """The ID of the invocation in the log."""
        return self._invocation_id

    @property
    def function_name(self) -> str:
        """The function's name."""
        return self._function.description.name

    @property
    def function_directory(self) -> str:
        """Where the function's code is."""
        return str(Path(inspect.getfile(self._function.call)).parent)

    @property
    def thread_local_storage(self) -> Any:
        """Unsupported."""
        raise NotImplementedError

    @property
    def trace_context(self) -> Any:
        """Unsupported."""
        raise NotImplementedError

    @property
    def retry_context(self) -> Any:
        """Unsupported."""
        raise NotImplementedError
