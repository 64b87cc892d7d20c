"""The bytes of a blob, with the compression that its Content-Encoding names."""

import zlib
from typing import Final

COMPRESSIONS: Final = ("br", "compress", "deflate", "gzip", "x-compress", "x-gzip", "zstd")
"""Values of Content-Encoding that name a compression. Some uploads have other values there, such as utf-8."""
GZIP: Final = ("gzip", "x-gzip")
GZIP_BEGIN: Final = b"\x1f\x8b"
SLICE: Final = 256 * 1024
"""Bytes that are decompressed in one step, at most."""
PACKED_SLICE: Final = 4096
"""Bytes that are taken from a blob for that."""


class Content(bytes):
    """The bytes of a blob as they are stored. `compression` is empty unless the blob says that they are compressed."""

    compression: str = ""


class ContentError(Exception):
    """A blob cannot be decompressed; `message` says what to do."""

    def __init__(self, message: str) -> None:
        self.message = message
        super().__init__(message)


def content(data: bytes, content_encoding: str | None) -> bytes:
    """Return the bytes of a blob; they are `Content` if its Content-Encoding names a compression."""
    compression = (content_encoding or "").strip().lower()
    # Some programs set gzip for bytes that are not compressed, so check the first bytes.
    is_plain = compression in GZIP and not data.startswith(GZIP_BEGIN)
    parts = [part.strip() for part in compression.split(",")]
    if is_plain or not any(part in COMPRESSIONS for part in parts):
        return data
    found = Content(data)
    found.compression = compression
    return found


def unpacked(data: Content, max_bytes: int) -> bytes:
    """Return the decompressed bytes of a blob, but not more than `max_bytes` + 1.

    Raises:
        ContentError: the compression is not gzip, or the bytes are damaged.
    """
    if data.compression not in GZIP:
        raise ContentError(
            f"The blob has the Content-Encoding {data.compression[:64]}, and only gzip is decompressed. "
            "Upload it without compression."
        )
    pieces: list[bytes] = []
    length, start = 0, 0
    try:
        while data.startswith(GZIP_BEGIN, start):  # a file may have several members
            member = zlib.decompressobj(16 + zlib.MAX_WBITS)
            while not member.eof:
                # Fed in slices: what a member leaves unused is copied.
                packed = data[start : start + PACKED_SLICE]
                piece = member.decompress(packed, min(SLICE, max_bytes + 1 - length))
                start += len(packed) - len(member.unconsumed_tail) - len(member.unused_data)
                if not piece and not packed:
                    raise zlib.error
                pieces.append(piece)
                length += len(piece)
                if length > max_bytes:
                    return b"".join(pieces)
        if data[start:].strip(b"\0"):
            raise zlib.error
    except zlib.error:
        raise ContentError(
            "The blob has the Content-Encoding gzip, but its bytes are damaged. Upload it again."
        ) from None
    return b"".join(pieces)
