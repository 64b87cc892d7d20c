"""The messages between the host process and its worker process, which communicate over a socket pair.

Each message is its length, in four bytes (big-endian), and a MessagePack map whose `type` names one of the structs
below. The worker begins with `Functions`, or with `Refused` if the app cannot be hosted. Then the host sends an
`Invocation` for each trigger, and the worker a `Result` for each invocation that ended. When the stream ends, the other
process has ended.
"""

from typing import Any, BinaryIO, Final, Literal, NamedTuple

import msgspec

HEADER_BYTES: Final = 4


class TypedData(msgspec.Struct, frozen=True, array_like=True):
    """A value, and its type in the host's messages to the Python worker."""

    kind: Literal["string", "json", "bytes", "model_binding_data"]
    text: str = ""
    content: bytes = b""

    @property
    def value(self) -> "str | bytes | ModelBindingData":
        """The value: bytes, a string, or a reference."""
        if self.kind == "model_binding_data":
            return ModelBindingData(self.text)
        return self.content if self.kind == "bytes" else self.text


class ModelBindingData(NamedTuple):
    """A reference to a blob, which the host sends instead of the bytes: JSON with the connection and the blob."""

    content: str
    version: str = "1.0"
    source: str = "AzureStorageBlobs"
    content_type: str = "application/json"


class FunctionDescription(msgspec.Struct, frozen=True):
    """A function and its trigger, with the properties that its decorators declare."""

    name: str
    binding: dict[str, Any]


class Functions(msgspec.Struct, frozen=True, tag=True):
    """The functions of the app; the worker is ready for invocations."""

    functions: list[FunctionDescription]


class Refused(msgspec.Struct, frozen=True, tag=True):
    """The app cannot be hosted; the reason says what to do about it."""

    reason: str


class Invocation(msgspec.Struct, frozen=True, tag=True):
    """A call of a function."""

    id: str
    function: str
    data: TypedData
    metadata: dict[str, TypedData]


class Result(msgspec.Struct, frozen=True, tag=True):
    """The end of an invocation; `error` is the traceback of a failed one, else empty."""

    id: str
    error: str = ""


ENCODER: Final = msgspec.msgpack.Encoder(enc_hook=str)
FROM_WORKER: Final = msgspec.msgpack.Decoder(Functions | Refused | Result)
FROM_HOST: Final = msgspec.msgpack.Decoder(Invocation)


def frame(message: Functions | Refused | Result | Invocation) -> bytearray:
    """Return a message preceded by its length."""
    buffer = bytearray()
    ENCODER.encode_into(message, buffer, HEADER_BYTES)
    buffer[:HEADER_BYTES] = (len(buffer) - HEADER_BYTES).to_bytes(HEADER_BYTES, "big")
    return buffer


def read_frame(stream: BinaryIO) -> bytes | None:
    """Return the next message from a blocking stream, without its length; None if the other process has ended."""
    header = stream.read(HEADER_BYTES)
    if len(header) < HEADER_BYTES:
        return None
    length = int.from_bytes(header, "big")
    body = stream.read(length)
    return body if len(body) == length else None


def encodable(text: str) -> str:
    """Return a text with `?` for the lone surrogates that JSON can contain and UTF-8 cannot."""
    return text.encode(errors="replace").decode()
