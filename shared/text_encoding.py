"""Decodes files: by byte order mark, as UTF-8, UTF-16 or UTF-32, or in a legacy encoding that is certain.

All other files are refused. The text is always `data.decode(encoding, "replace")`, and the outcome names the encoding.
So users can get the text that the offsets refer to in one line. Each broken sequence becomes U+FFFD.
"""

import codecs
import re
from typing import Final, NamedTuple

# The longer mark first: the UTF-32 one begins with the UTF-16 one.
BYTE_ORDER_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
REPLACEMENT: Final = "\ufffd"
SLICE: Final = 1024 * 1024
"""Bytes that are decoded in one step. Other threads wait during a step."""
SAMPLE_LENGTH: Final = 65_536
"""Bytes or characters that are checked to recognise binary data and mixed encodings."""
MOST_CONTROLS: Final = 0.1
"""Fraction of control characters that a text may contain. A text may contain a stray NUL; with more, it is binary."""
MIN_WIDE: Final = 12
"""Different characters of UTF-16 that are evidence, if none of them is ASCII."""
MAX_BROKEN: Final = 3
"""Broken sequences that any UTF-8 file may have. A longer file may have one for every ten valid characters."""

# Some formats of text separate fields by U+0001 and U+001C to U+001F, and old ones end with U+001A.
CONTROL = re.compile(r"[\x00\x02-\x07\x0e-\x19\x7f]")
# Switches to a two-byte character set. ESC ( B alone does not count: terminals send it to end bold type.
ISO_2022 = re.compile(rb"\x1b\$(?:[@AB]|[()][A-I@])|\x1b\([IJ]")
BROKEN = re.compile("\ufffd+")
# Western text in UTF-16, or line ends of any text in UTF-16.
WIDE_PART = re.compile(rb"(?:[\t\n\r -~]\0){4}|(?:\0[\t\n\r -~]){4}|\r\0\n\0|\0\r\0\n")
NARROW_PART = re.compile(rb"[\t\n\r -~]{12,}\Z|(?<=[\r\n])[\t\n\r -~]{24,}")
UTF8_SEQUENCE = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe1-\xef][\x80-\xbf]{2}|\xf0[\x90-\xbf][\x80-\xbf]{2}")
BEYOND_ASCII = re.compile(rb"[\x80-\xff]")

BINARY: Final = "The file is binary, not text"
MIXED: Final = "The file has parts in different encodings"


class Decoded(NamedTuple):
    """A text, and the Python codec that gives it from the file's bytes."""

    text: str
    encoding: str


class EncodingError(Exception):
    """The bytes cannot be decoded; `is_binary` says whether they are clearly not text."""

    def __init__(self, message: str, *, is_binary: bool) -> None:
        self.message = message
        self.is_binary = is_binary
        super().__init__(message)


def decode(data: bytes) -> Decoded:
    """Return the text of a file.

    Raises:
        EncodingError: the bytes are binary, or their encoding is not certain.
    """
    try:
        decoded = decode_whole(data)
        sample = decoded.text[:SAMPLE_LENGTH]
        if len(CONTROL.findall(sample)) > MOST_CONTROLS * len(sample):
            raise EncodingError(BINARY, is_binary=True)
    except EncodingError as error:
        from shared.legacy_encoding import is_joined

        if error.is_binary and (is_joined(data[:SAMPLE_LENGTH]) or is_joined(data[-SAMPLE_LENGTH:])):
            raise EncodingError(MIXED, is_binary=False) from None
        raise
    check_parts(data, decoded.encoding)
    return decoded


def decode_whole(data: bytes) -> Decoded:
    """Decode all bytes in the one encoding that they seem to be in. Raises EncodingError if there is none."""
    decoded = decode_marked(data) or decode_utf8(data) or decode_wide(data) or decode_damaged(data)
    if decoded is None:
        from shared.legacy_encoding import decode_legacy  # rarely needed, and slow to import

        return decode_legacy(data)
    return decoded


def decoded_by(data: bytes, encoding: str, errors: str = "replace") -> str:
    """Return `data.decode(encoding, errors)`, decoded in slices.

    Raises:
        UnicodeDecodeError: `errors` is "strict", and the bytes are not in this encoding.
    """
    if len(data) <= SLICE:
        return data.decode(encoding, errors)
    decoder, view = codecs.getincrementaldecoder(encoding)(errors), memoryview(data)
    starts = range(0, len(data), SLICE)
    return "".join(decoder.decode(bytes(view[start : start + SLICE]), start == starts[-1]) for start in starts)


def decoded_strictly(data: bytes, encoding: str) -> str | None:
    """Return the text of bytes in an encoding; None if they are not in it."""
    try:
        return decoded_by(data, encoding, "strict")
    except UnicodeError:
        return None


def decode_marked(data: bytes) -> Decoded | None:
    """Decode by byte order mark; None if there is none."""
    encoding = next((encoding for mark, encoding in BYTE_ORDER_MARKS if data.startswith(mark)), None)
    return None if encoding is None else Decoded(decoded_by(data, encoding), encoding)


def decode_utf8(data: bytes) -> Decoded | None:
    """Decode as UTF-8; None if the bytes are not UTF-8, or are more likely in another encoding."""
    text = decoded_strictly(data, "utf-8")
    if text is None:
        return None
    # UTF-16 of many scripts is also valid UTF-8, in which every other character is a control character.
    sample = text[:SAMPLE_LENGTH]
    is_riddled = len(CONTROL.findall(sample)) > MOST_CONTROLS * len(sample)
    is_switched = data.isascii() and is_escaped(data)
    return None if is_riddled or is_switched else Decoded(text, "utf-8")


def is_escaped(data: bytes) -> bool:
    """Return whether ASCII bytes switch to a two-byte character set."""
    start = data.find(b"\x1b")
    return start >= 0 and ISO_2022.search(data, start, start + SAMPLE_LENGTH) is not None


def decode_wide(data: bytes) -> Decoded | None:
    """Decode as UTF-16 or UTF-32 without a byte order mark; None if the bytes are in neither."""
    from shared.legacy_encoding import is_wide_text

    for encoding, width in (("utf-32-le", 4), ("utf-32-be", 4), ("utf-16-le", 2), ("utf-16-be", 2)):
        sample = data[:SAMPLE_LENGTH]
        # The length does not fit a truncated file; NUL bytes then show that it may be UTF-16.
        if len(data) < width or (len(data) % width and (width == 4 or b"\0" not in sample)):
            continue
        text = sample.decode(encoding, "replace")
        # Without any space or line end, a few bytes of another encoding would do, and so would words.
        is_scarce = b"\0" not in sample and (len(set(text)) < MIN_WIDE or looks_ascii(sample))
        if not is_scarce and is_wide_text(text):
            return Decoded(decoded_by(data, encoding), encoding)
    return None


def decode_damaged(data: bytes) -> Decoded | None:
    """Decode as UTF-8 with a few broken sequences; None if there are more."""
    text = decoded_by(data, "utf-8")
    beyond_ascii = broken = runs = 0
    for start in range(0, len(text), SLICE):
        piece = text[start : start + SLICE]
        beyond_ascii += len(piece) - len(piece.encode("ascii", "ignore"))
        if REPLACEMENT in piece:
            broken += piece.count(REPLACEMENT)
            runs += len(BROKEN.findall(piece))
        # Text in another encoding has almost no valid sequences; a damaged file has mostly valid ones.
        if runs > max(MAX_BROKEN, len(data) / 10):
            return None
    good = beyond_ascii - broken
    return Decoded(text, "utf-8") if good > broken and runs <= max(MAX_BROKEN, good / 10) else None


def check_parts(data: bytes, encoding: str) -> None:
    """Raise EncodingError if a part of a text is clearly in another encoding, for example because it was appended.

    Args:
        data: the file.
        encoding: the encoding that was found for the whole file.
    """
    tail = data[-SAMPLE_LENGTH:]
    if encoding.startswith("utf-16"):
        # UTF-16 reads two ASCII letters as one character, so ASCII words appear only in parts that are not UTF-16.
        odd = (part[0] for sample in (tail, data[:SAMPLE_LENGTH]) for part in NARROW_PART.finditer(sample))
        is_mixed = any(looks_ascii(part) for part in odd)
    elif encoding.startswith("utf-32"):
        is_mixed = False
    else:
        start = data.find(b"\0")
        is_mixed = start >= 0 and any(
            WIDE_PART.search(sample) for sample in (data[max(start - 8, 0) : start + SAMPLE_LENGTH], tail)
        )
        if encoding == "utf-8-sig":
            # The mark says nothing about lines that another program has appended.
            is_mixed = is_mixed or (decoded_strictly(data, encoding) is None and decode_damaged(data) is None)
    if is_mixed:
        raise EncodingError(MIXED, is_binary=False)


def looks_ascii(part: bytes) -> bool:
    """Return whether printable bytes are words, and not characters of two bytes each."""
    letters = sum(part.count(letter) for letter in b" etaoinsrhldcu")
    return letters > 0.5 * len(part) and (b" " in part or b"\n" in part)
