"""From bytes to text: byte order mark, else UTF-8, else the encoding that a detector finds; binary files are refused.

Whatever the encoding, the text is `data.decode(encoding, "replace")`: anybody who has the file gets the text that the
offsets count by that one line, since the outcome names the encoding. Each broken sequence becomes U+FFFD.
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
SAMPLE_LENGTH: Final = 65_536
"""Bytes, or characters, that binary data is recognised by."""
MOST_CONTROLS: Final = 0.1
"""Part of the characters that may be controls in a text: a stray NUL is none's fault, a riddled file is binary."""
TIE: Final = 0.7
"""The commonest legacy encoding is taken unless another fits better than by this: short texts fit many."""

SLICE: Final = 1024 * 1024
"""Bytes that are decoded in one call, which keeps all other threads waiting."""

# Code pages of DOS that next to no file still has; short texts would be taken for them.
RARE: Final = tuple(f"cp{page}" for page in (737, 775, 855, 856, 857, 860, 861, 862, 863, 864, 865, 869))

CONTROL = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
# The escapes of ISO-2022, the only common encoding that looks like ASCII and is not.
ISO_2022 = re.compile(rb"\x1b[$(][@-J]|\x1b\$[()]")
BEYOND_ASCII = re.compile(rb"[\x80-\xff]")
PRINTABLE = re.compile(rb"[\t\n\r -~]")


class Decoded(NamedTuple):
    """A text, and the Python codec that gives it from the file's bytes."""

    text: str
    encoding: str


class EncodingError(Exception):
    """The bytes are no text; `is_binary` tells whether they plainly are something else."""

    def __init__(self, message: str, *, is_binary: bool) -> None:
        self.message = message
        self.is_binary = is_binary
        super().__init__(message)


def decode(data: bytes) -> Decoded:
    """Return the text of a file.

    Raises:
        EncodingError: the bytes are binary, or in an encoding that nobody could guess.
    """
    decoded = decode_marked(data) or decode_utf8(data) or decode_detected(data)
    sample = decoded.text[:SAMPLE_LENGTH]
    if len(CONTROL.findall(sample)) > MOST_CONTROLS * len(sample):
        raise EncodingError("The file is binary, not text", is_binary=True)
    return decoded


def decode_marked(data: bytes) -> Decoded | None:
    """Decode by byte order mark; None where there is none."""
    encoding = next((encoding for mark, encoding in BYTE_ORDER_MARKS if data.startswith(mark)), None)
    return None if encoding is None else Decoded(data.decode(encoding, "replace"), encoding)


def decode_utf8(data: bytes) -> Decoded | None:
    """Decode as UTF-8; None where the bytes are rather something else."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = in_slices(data, "utf-8", "replace")
        # Text in another encoding has next to no valid sequence; a damaged file has mostly such.
        broken = text.count(REPLACEMENT)
        beyond_ascii = len(text) - len(text.encode("ascii", "ignore"))
        return Decoded(text, "utf-8") if beyond_ascii > 2 * broken else None
    # UTF-16 of Western text without its mark is valid UTF-8 too, with a NUL for every other character.
    sample = text[:SAMPLE_LENGTH]
    riddled = sample.count("\0") > MOST_CONTROLS * len(sample)
    return None if riddled or ISO_2022.search(data) else Decoded(text, "utf-8")


def decode_detected(data: bytes) -> Decoded:
    """Decode as the detector says.

    Raises:
        EncodingError: it recognises binary data, or nothing.
    """
    from chardet import EncodingEra, detect_all  # rarely needed, and slow to import

    # What is not ASCII decides, wherever it begins; four bytes are the longest unit of an encoding.
    begin = BEYOND_ASCII.search(data)
    start = max(begin.start() - SAMPLE_LENGTH // 2, 0) // 4 * 4 if begin else 0
    sample = data[start : start + SAMPLE_LENGTH]
    # A few NULs are no sign of UTF-16 where most bytes are plain ASCII.
    plain = len(PRINTABLE.findall(sample)) > 0.7 * len(sample)
    guesses = detect_all(
        sample.replace(b"\0", b" ") if plain else sample,
        prefer_superset=True,
        compat_names=False,
        encoding_era=EncodingEra.MODERN_WEB | EncodingEra.LEGACY_ISO | EncodingEra.DOS,
        exclude_encodings=RARE,
    )
    best = guesses[0]
    if best["encoding"] is None:
        kind = best["mime_type"] or "application/octet-stream"
        raise EncodingError(f"The file is binary ({kind}), not text", is_binary=True)
    common = (guess for guess in guesses if guess["encoding"] == "cp1252")
    if any(guess["confidence"] >= TIE * best["confidence"] for guess in common):
        best = {**best, "encoding": "cp1252"}
    encoding = codecs.lookup(best["encoding"] or "").name
    try:
        text = in_slices(data, encoding)
    except UnicodeDecodeError as error:
        raise EncodingError(
            f"The file's encoding is unknown: it looks like {encoding}, but byte {error.start} is not valid in it",
            is_binary=False,
        ) from None
    return Decoded(text, encoding)


def in_slices(data: bytes, encoding: str, errors: str = "strict") -> str:
    """Return the text of bytes, decoded in slices, so that other threads have their turns.

    Raises:
        UnicodeDecodeError: a byte is not valid in the encoding.
    """
    decoder = codecs.getincrementaldecoder(encoding)(errors)
    starts = range(0, len(data), SLICE)
    try:
        return "".join(decoder.decode(data[start : start + SLICE], start + SLICE >= len(data)) for start in starts)
    except UnicodeError:
        return data.decode(encoding, errors)  # its error names the position in the whole; or a slice ends oddly
