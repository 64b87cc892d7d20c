"""Receives an answer: of a bounded size, and without the app's own key or token, which gateways may quote."""

import re
import zlib
from collections.abc import Callable
from functools import lru_cache
from typing import Final, cast

import httpx
import msgspec

from shared.ner.errors import MOST_VALUES, NerError, Remedy, count_values

KEY_HEADER: Final = "Ocp-Apim-Subscription-Key"
LARGEST_ANSWER: Final = 125_000 * 512
"""Bytes. A request has at most 125,000 characters; an entity of one character takes less than 512 bytes."""
PACKED: Final = ("gzip", "x-gzip", "deflate")
"""Values of Content-Encoding that the app reads; it asks for gzip alone."""
MASK: Final = b"***"
SHORTEST: Final = 16
"""Characters of a secret. Shorter ones are those of tests, and may be words that any answer has."""
JSON_ESCAPED: Final = '"\\/'
"""Characters that JSON may have behind a backslash."""


def mask_for(secret: str) -> Callable[[bytes], bytes]:
    """Return what replaces a secret by asterisks, also if JSON has it with escapes."""
    literal = secret.encode()
    if len(literal) < SHORTEST:
        return bytes
    has_escaped = any(character in JSON_ESCAPED for character in secret)

    def mask(data: bytes) -> bytes:
        data = data.replace(literal, MASK)
        # A search for escapes takes ten times as long, and few answers need it.
        return escaped(secret).sub(MASK, data) if b"\\u00" in data or (has_escaped and b"\\" in data) else data

    return mask


class Room(msgspec.Struct):
    """What the pages of a job may have in all: the limits of a single response follow from the job's text, too."""

    size: int = msgspec.field(default_factory=lambda: LARGEST_ANSWER)
    values: int = msgspec.field(default_factory=lambda: MOST_VALUES)

    def take(self, page: bytes) -> None:
        """Take the room of a page. Raises NerError if there is not enough left."""
        self.size -= len(page)
        self.values -= count_values(page)
        if self.size < 0 or self.values < 0:
            raise NerError("InvalidResponse", "the pages of the results are larger than any results are", Remedy.WAIT)


@lru_cache(maxsize=4)
def escaped(secret: str) -> re.Pattern[bytes]:
    """Return the pattern of a secret of which JSON has any characters as escapes."""
    return re.compile(b"".join(character_pattern(character) for character in secret))


def character_pattern(character: str) -> bytes:
    """Return the pattern of a character, as it is or as an escape of JSON."""
    digits = "".join(f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in f"{ord(character):04x}")
    choices = [re.escape(character), rf"\\u{digits}"]
    if character in JSON_ESCAPED:
        choices.append(rf"\\{re.escape(character)}")
    return f"(?:{'|'.join(reversed(choices))})".encode()


def secret_of(request: httpx.Request) -> str:
    """Return the key or the token that a request was sent with."""
    headers = request.headers
    return str(headers.get(KEY_HEADER) or headers.get("Authorization", "").removeprefix("Bearer "))


async def read_body(response: httpx.Response) -> bytes:
    """Return the body of a response, up to a size that no honest one has, and let the connection go.

    What httpx unpacks has no bound: some kilobytes may become gigabytes.
    """
    body = bytearray()
    received = 0
    is_packed = response.headers.get("content-encoding", "").strip().lower() in PACKED
    packed = zlib.decompressobj(32 + zlib.MAX_WBITS) if is_packed else None
    try:
        async for chunk in cast("httpx.AsyncByteStream", response.stream):
            received += len(chunk)
            body += chunk if packed is None else packed.decompress(chunk, LARGEST_ANSWER + 1 - len(body))
            if max(received, len(body)) > LARGEST_ANSWER:
                raise httpx.StreamError(f"it is longer than {LARGEST_ANSWER:,} bytes")
    except zlib.error:
        raise httpx.DecodingError("it is packed badly") from None
    finally:
        await response.aclose()
    return bytes(body)
