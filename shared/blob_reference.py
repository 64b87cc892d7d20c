"""The blob trigger by reference: the host sends the name of the blob, not its bytes.

The bytes would pass through the memory of host and worker, whatever their size, before the app could refuse them, and
the host does not say which version they are. The app reads the blob itself, so it knows what it has read.

A trigger with `PROPERTIES` gets a reference from every host that knows these (Functions host 4, Storage extension 5).
`azure.functions` has no converter for it; `accept_references` adds one.
"""

import json
from typing import Any, Final

from azure.functions.blob import BlobConverter, InputStream
from azure.functions.meta import Datum

PROPERTIES: Final = {"SupportsDeferredBinding": True}
"""What a blob trigger declares in order to get a reference."""
REFERENCE: Final = "model_binding_data"


class BlobReference(InputStream):
    """The blob that a trigger is about; it has no bytes to read."""

    def __init__(self, container: str, blob: str) -> None:
        super().__init__(data=b"", name=f"{container}/{blob}")
        self.container = container
        self.blob = blob

    def read(self, size: int | None = -1) -> bytes:
        """Raise TypeError: the bytes are in storage."""
        del size
        raise TypeError("a reference has no bytes: read the blob from the storage account")


def decode_reference(data: Datum) -> BlobReference:
    """Return the blob that a trigger is about.

    Raises:
        KeyError, ValueError: the reference does not have the host's form.
    """
    content = json.loads(data.value.content)
    return BlobReference(content["ContainerName"], content["BlobName"])


def accept_references() -> None:
    """Make `azure.functions` decode references for blob triggers, in addition to bytes."""
    decode_bytes = BlobConverter.decode

    def decode(data: Datum, *, trigger_metadata: Any) -> Any:
        if data.type == REFERENCE:
            return decode_reference(data)
        stream = decode_bytes(data, trigger_metadata=trigger_metadata)
        container, _, name = (getattr(stream, "name", None) or "").partition("/")
        return BlobReference(container, name)

    BlobConverter.decode = decode  # type: ignore[method-assign]  # there is no public way to add to a converter
