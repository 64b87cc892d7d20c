"""What the blob trigger gets from the host: which blob it is, never its bytes."""

import json
from types import SimpleNamespace
from typing import Any

import azure.functions as func
import pytest
from azure.functions.blob import BlobConverter
from azure.functions.meta import Datum

from shared.blob_reference import PROPERTIES, REFERENCE, BlobReference, accept_references

NAMES = ["a.txt", "folder/sub dir/a b.txt", "Zürich 🍷 + & ' \".txt", "..\\a\nb.txt", "a/b/", "%2e%2E.txt"]


@pytest.fixture(autouse=True)
def _accepting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Accept references in these tests alone."""
    monkeypatch.setattr(BlobConverter, "decode", BlobConverter.decode)
    accept_references()


def decoded(data: Datum, metadata: dict[str, Datum] | None = None) -> Any:
    """Return what the function gets, as the worker asks for it."""
    return BlobConverter.decode(data, trigger_metadata=metadata or {})


def reference(name: str, container: str = "incoming", *, encode: bool = True) -> Datum:
    """Return what the host sends of a blob."""
    text = json.dumps({"Connection": "NER_STORAGE", "ContainerName": container, "BlobName": name})
    content = text.encode() if encode else text
    binding = SimpleNamespace(
        version="1.0", source="AzureStorageBlobs", content_type="application/json", content=content
    )
    return Datum(binding, REFERENCE)


@pytest.mark.parametrize("encode", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_a_reference_names_the_blob_exactly(name: str, *, encode: bool) -> None:
    """Whatever characters are in the name."""
    blob = decoded(reference(name, "elsewhere", encode=encode))
    assert isinstance(blob, BlobReference)
    assert (blob.container, blob.blob) == ("elsewhere", name)


@pytest.mark.parametrize("name", NAMES)
def test_bytes_become_a_reference_too(name: str) -> None:
    """A host that does not know references sends the bytes: the function is the same for both."""
    metadata = {"BlobTrigger": Datum(f"incoming/{name}", "string"), "Uri": Datum("http://127.0.0.1/x", "string")}
    blob = decoded(Datum(b"text", "bytes"), metadata)
    assert isinstance(blob, BlobReference)
    assert (blob.container, blob.blob) == ("incoming", name)


def test_a_reference_has_no_bytes() -> None:
    """Reading it is an error and not an empty file."""
    blob = decoded(reference("a.txt"))
    with pytest.raises(TypeError, match="reference"):
        blob.read()


@pytest.mark.parametrize("content", [b"", b"[]", b'{"ContainerName": "incoming"}'])
def test_a_reference_of_another_shape_is_an_error(content: bytes) -> None:
    """Such an upload ends in the host's poison queue, and the sweep finds the file."""
    with pytest.raises((KeyError, TypeError, ValueError)):
        decoded(Datum(SimpleNamespace(content=content), REFERENCE))


def test_the_worker_takes_the_functions_annotation() -> None:
    """It checks the type of the parameter when it loads the app."""
    assert BlobConverter.check_input_type_annotation(BlobReference)


def test_the_trigger_asks_the_host_for_a_reference() -> None:
    """In the function's own metadata, which the worker hands to the host."""
    app = func.FunctionApp()

    @app.blob_trigger(arg_name="blob", path="incoming/{name}", connection="NER_STORAGE", properties=PROPERTIES)
    async def submit(blob: BlobReference) -> None:
        del blob

    (function,) = app.get_functions()
    (binding,) = json.loads(str(function))["bindings"]
    assert binding["properties"] == {"SupportsDeferredBinding": True}
