"""Decodes text in a legacy encoding, such as cp1252. An encoding that is not certain is refused.

A detector compares the bytes with models of languages. Only guesses that give a plausible text count. If two of them
give different texts, the best one must fit better by a margin.
"""

import codecs
import re
import unicodedata
from typing import Final

import regex

from shared.alphabets import strangers
from shared.text_encoding import (
    BEYOND_ASCII,
    BINARY,
    MIXED,
    SLICE,
    UTF8_SEQUENCE,
    Decoded,
    EncodingError,
    decoded_strictly,
)
from shared.western import LETTER, is_western

MODEL_LENGTH: Final = 16_384
"""Bytes that the detector compares with its models."""
MARGIN: Final = 1.15
"""Factor by which the best guess must fit better than one that gives another text."""
MAX_FAULTS: Final = 0.02
"""Fraction of the non-ASCII characters that may be in implausible positions."""
PENALTY: Final = 20
"""Weight of the faults: if 2 % of the non-ASCII characters are faults, a guess loses 40 % of its fit."""
PRIOR: Final = 1.2
"""Factor that favours cp1252, the most common legacy encoding."""
UNKNOWN: Final = "The file's encoding is not certain"

# The more common of two similar encodings; it is used if it gives the same text.
COMMON: Final = {
    "iso8859-1": "cp1252",
    "iso8859-15": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-2": "cp1250",
    "iso8859-7": "cp1253",
    "iso8859-8": "cp1255",
    "iso8859-13": "cp1257",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "euc_kr": "cp949",
    "shift_jis_2004": "cp932",
}
RARE: Final = ("cp1006", "iso8859-16")
"""Encodings that are hardly ever used, and that the detector confuses with others."""
UNSURE: Final = ("johab",)
"""Encodings that are refused because the detector is often wrong about them."""
WIDE: Final = ("gb18030", "cp932", "euc_jis_2004", "big5hkscs", "cp949", "johab")
FAULT = regex.compile(
    r"[\x80-\x9f\ufffd\p{Cn}\p{Co}]"  # controls of ISO 8859, and what is not assigned
    r"|(?<=[\p{L}\p{M}])[^\p{L}\p{M}\p{Nd}\s\x00-\x7f’‘ʼ·‧‑–—…\xad\u200b-\u200f\u3000-\u30ff\uff00-\uffef](?=\p{L})"
    r"|(?<=\p{Ll})(?=[^\x00-\x7f]|(?<=[^\x00-\x7f]))\p{Lu}"
    r"|\p{Lu}\p{Lu}(?=\p{Ll})(?:(?<=[^\x00-\x7f])|(?<=[^\x00-\x7f].))"
    r"|[\u2500-\u259f](?=\p{L})|(?<=\p{L})[\u2500-\u259f]"
    r"|(?<=\p{Latin})[\p{Cyrillic}\p{Greek}\p{Hebrew}\p{Arabic}\p{Thai}]"
    r"|(?<=[\p{Cyrillic}\p{Greek}\p{Hebrew}\p{Arabic}\p{Thai}])\p{Latin}"
    r"|(?<=\p{Latin})[\p{Han}\p{Hangul}]+(?=\p{Latin})"
    r"|(?<=\p{Cyrillic})\p{Greek}|(?<=\p{Greek})\p{Cyrillic}"
    r"|(?<![\p{L}\p{M}])[\u0300-\u036f]"
    r"|(?<=\p{L})[€¤£¢¥¦§¨¬¯±´¸¶¼½¾÷×√∫≈≠≤≥∞∆∂∑∏◊ˆ˜˘˙˚˝˛ˇ†‡‰¡¿‹„‚](?!\p{L})"
    r"|[©®ª¶¹²³](?=\p{L})"
    r"|[¦¤¨¬¯±´¸÷×√∫≈≠≤≥∞∆∂∑∏◊ˆ˜˘˙˚˝˛ˇ†‡‰](?=[\p{L}¨¬¯´¸ˆ˜˘˙˚˝˛ˇ])"
)
# Characters of two bytes beyond ASCII (EUC, GBK), or of four bytes (GB 18030).
PAIRS = re.compile(rb"(?:[\x00-\x7f]|\x8f[\xa1-\xfe]{2}|[\x81-\xfe][\x80-\xfe])+")
RUN = re.compile(rb"[\x80-\xff]+")
FOUR = re.compile(rb"[\x81-\xfe][0-9][\x81-\xfe][0-9]")
WIDE_CODECS: Final = frozenset(
    (
        *WIDE,
        "gb2312",
        "gbk",
        "hz",
        "shift_jis",
        "shift_jis_2004",
        "euc_jp",
        "big5",
        "euc_kr",
        "iso2022_jp",
        "iso2022_kr",
    )
)
MIN_RUNS: Final = 6
MIN_WIDE: Final = 8
"""Different characters of two bytes that are evidence."""
MIN_LETTERS: Final = 3
"""Different letters beyond ASCII that are evidence in other encodings."""
MIN_FOURS: Final = 3
LETTERS = regex.compile(r"[\p{L}\p{M}\p{Nd}]")
SPACE = regex.compile(r"\s")
UNSPACED = regex.compile(r"[\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}]")
EAST_ASIAN = regex.compile(r"[\p{Han}\p{Hangul}\p{Hiragana}\p{Katakana}\p{Yi}\p{Bopomofo}]")
UTF_16: Final = ("utf-16-le", "utf-16-be")
CONTROL_BYTE = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
PRINTABLE = re.compile(rb"[\t\n\r -~]+")
NATIONAL: Final = ("gb2312", "cp932", "big5", "euc_kr")


def faults(text: str) -> float:
    """Return the fraction of the non-ASCII characters that are in implausible positions."""
    beyond = len(text) - len(text.encode("ascii", "ignore"))
    unpaired = abs(text.count("«") - text.count("»"))
    return (len(FAULT.findall(text)) + unpaired) / beyond if beyond else 0.0


def is_wide_text(text: str) -> bool:
    """Return whether data that was decoded as UTF-16 or UTF-32 is text, and not other data."""
    sample = text[:4096]
    if len(sample) < 2 or "\ufffd" in sample[:-1] or any(unicodedata.category(c) in ("Cn", "Co") for c in sample):
        return False
    controls = sum(unicodedata.category(c) == "Cc" and c not in "\t\n\r\f\x1b\x0b\x85" for c in sample)
    if controls > 0.02 * len(sample):
        return False
    letters = LETTERS.findall(sample)
    east = EAST_ASIAN.findall(sample)
    if len(east) > 0.1 * len(sample):
        known = max(sum(len(letter.encode(name, "ignore")) == 2 for letter in east) for name in NATIONAL)
        return known >= 0.97 * len(east) and is_of_few_blocks(letters, east)
    if len(letters) + len(SPACE.findall(sample)) < 0.6 * len(sample):
        return False
    has_spaces = len(sample) < 40 or SPACE.search(sample) or UNSPACED.search(sample)
    return bool(has_spaces) and is_of_few_blocks(letters, east) and faults(sample) <= 2 * MAX_FAULTS


def is_joined(sample: bytes) -> bool:
    """Return whether bytes are text in UTF-8 and then in UTF-16, or the other way round."""
    sample = sample.removeprefix(codecs.BOM_UTF8)
    try:
        end = len(sample.decode().encode())
    except UnicodeDecodeError as error:
        end = error.start
    control = CONTROL_BYTE.search(sample, 0, end)
    end = control.start() if control else end
    for begin in {sample.rfind(b"\n", 0, end) + 1, end - 1, end}:
        rest = sample[begin:]
        if begin > 1 and any(is_wide_text(rest[: len(rest) // 2 * 2].decode(name, "replace")) for name in UTF_16):
            return True
    last = sample.rfind(b"\0")
    for name, begin in zip(UTF_16, (last + 1, last + 2), strict=True):
        tail = sample[begin:]
        if len(tail) >= 8 and PRINTABLE.fullmatch(tail) and is_wide_text(sample[:begin].decode(name, "replace")):
            return True
    return False


def is_of_few_blocks(letters: list[str], east: list[str]) -> bool:
    """Return whether nearly all letters are of one alphabet, apart from the Latin one and those of East Asia."""
    counts: dict[int, int] = {}
    for letter in letters:
        counts[ord(letter) >> 8] = counts.get(ord(letter) >> 8, 0) + 1
    skipped = len(east) + sum(counts.pop(block, 0) for block in (0, 1, 0x1E, 0xFF))
    if east:
        return skipped >= 0.9 * len(letters)
    top = sum(sorted(counts.values())[-2:])
    return top + skipped >= 0.97 * len(letters)


def next_high(data: bytes, start: int) -> int:
    """Return the position of the next non-ASCII byte; -1 if there is none."""
    for begin in range(start, len(data), SLICE):
        piece = data[begin : begin + SLICE]
        found = None if piece.isascii() else BEYOND_ASCII.search(piece)
        if found is not None:
            return begin + found.start()
    return -1


def sample_of(data: bytes) -> bytes:
    """Return lines with non-ASCII bytes from anywhere in a file, since only these show the encoding."""
    pieces: list[bytes] = []
    length, end = 0, 0
    while length < MODEL_LENGTH and (begin := next_high(data, end)) >= 0:
        # Begin after a line end, so that no two-byte character is cut. A very long line is cut anywhere.
        start = max(data.rfind(b"\n", end, begin) + 1, end, begin - 1024)
        stop = data.find(b"\n", begin, begin + 4096) + 1 or begin + 4096
        pieces.append(data[start:stop])
        length, end = length + stop - start, stop
    return b"".join(pieces)[:MODEL_LENGTH] or data[:MODEL_LENGTH]


def sampled(sample: bytes, encoding: str) -> str | None:
    """Return the text of a sample, whose last character may be cut; None if it is not in the encoding."""
    try:
        return codecs.getincrementaldecoder(encoding)("strict").decode(sample, len(sample) < MODEL_LENGTH)
    except UnicodeError:
        return None


def is_paired(sample: bytes) -> bool:
    """Return whether all non-ASCII bytes are in pairs, and enough of them to rule out coincidence."""
    if len(FOUR.findall(sample)) >= MIN_FOURS:
        return True
    pairs = PAIRS.match(sample)
    runs = RUN.findall(sample)
    return (
        len(runs) >= MIN_RUNS and pairs is not None and pairs.end() >= len(sample) - 3 and any(len(r) > 1 for r in runs)
    )


def decode_western(data: bytes, sample: bytes) -> Decoded | None:
    """Decode as cp1252 with few letters beyond ASCII; None if that is not certain."""
    text = None if sample.isascii() else sampled(sample, "cp1252")
    whole = decoded_strictly(data, "cp1252") if text is not None and is_western(text) else None
    return None if whole is None else Decoded(whole, "cp1252")


def is_scarce(text: str, encoding: str) -> bool:
    """Return whether a text has so few different letters beyond ASCII that its language is no evidence.

    Turkish in cp1254 is nearly plausible as cp1252: it then has letters that otherwise only Icelandic and Faroese have,
    but not the vowels of these.
    """
    letters = set(LETTER.findall(text.lower()))
    if encoding == "cp1252" and letters & set("þðý") and not letters & set("áíóúæ"):
        return True
    return len(letters) < (MIN_WIDE if encoding in WIDE_CODECS else MIN_LETTERS)


def decode_legacy(data: bytes) -> Decoded:
    """Decode in the legacy encoding that the bytes are certainly in.

    Raises:
        EncodingError: the bytes are binary, or no encoding is certain.
    """
    from chardet import EncodingEra, detect_all

    sample = sample_of(data)
    western = decode_western(data, sample)
    if western is not None:
        return western
    # The space keeps words such as BMW from being taken for the first bytes of another format.
    guesses = detect_all(
        b" " + sample.replace(b"\0", b" "),
        prefer_superset=False,
        compat_names=False,
        ignore_threshold=True,
        encoding_era=EncodingEra.ALL & ~EncodingEra.MAINFRAME,
        exclude_encodings=RARE,
    )
    if sample.count(0) > 0.1 * len(sample) or guesses[0]["encoding"] is None:
        raise EncodingError(BINARY, is_binary=True)
    found: list[tuple[float, str, str]] = []
    for guess in guesses:
        name = guess["encoding"] or ""
        text = sampled(sample, name)
        if text is None:
            continue
        common = COMMON.get(name)
        if common is not None and sampled(sample, common) == text:
            name = common
        part = faults(text)
        if part <= MAX_FAULTS:
            fit = guess["confidence"] * (1 - part * PENALTY) * max(1 - 2 * strangers(text), 0.1)
            found.append((fit * PRIOR if name == "cp1252" else fit, codecs.lookup(name).name, text))
    found.sort(key=lambda guess: -guess[0])
    high = len(BEYOND_ASCII.findall(sample))
    is_mixed = sum(len(part) for part in UTF8_SEQUENCE.findall(sample)) > 0.2 * high
    if not found:
        raise EncodingError(MIXED if is_mixed else UNKNOWN, is_binary=False)
    confidence, encoding, text = found[0]
    rival = next((other for other, _, different in found if different != text), 0.0)
    is_doubtful = (
        encoding in UNSURE
        or is_scarce(text, encoding)
        or (encoding not in WIDE and not sample.isascii() and is_paired(sample))
    )
    if confidence < MARGIN * rival or is_doubtful:
        raise EncodingError(UNKNOWN, is_binary=False)
    whole = decoded_strictly(data, encoding)
    if whole is None:
        raise EncodingError(MIXED if is_mixed else UNKNOWN, is_binary=False)
    return Decoded(whole, encoding)
