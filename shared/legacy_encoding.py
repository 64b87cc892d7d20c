"""Decodes text in a legacy encoding, such as cp1252. An encoding that is not certain is refused.

The encoding must be more likely than each one that gives another text, by a margin. Its text must have characters
only in positions where people write them, and must be usual in a language that is known.
"""

import codecs
import math
import re
import unicodedata
from typing import Final, NamedTuple

import regex

from shared.likelihood import ENCODINGS, Evidence
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
from shared.western import is_numeric, is_western

MODEL_LENGTH: Final = 16_384
"""Bytes that the detector compares with its models."""
MARGIN: Final = 6.0
"""Logarithm of the factor by which an encoding must be more likely than one that gives another text."""
NEAR: Final = 60.0
"""Logarithm of the factor by which the text of an encoding may be less likely and still have fewer faults."""
MAX_FAULTS: Final = 0.02
"""Fraction of the non-ASCII characters that may be in implausible positions."""
COST_OF_A_FAULT: Final = 3.0
"""Logarithm of the factor by which each of them makes a text less likely."""
PRIOR: Final = 2.0
"""Logarithm of the factor by which encodings of Windows are more common than others."""
PRIOR_OF_CP1252: Final = 3.0
"""The same for cp1252, the most common of them."""
WESTERN: Final = 8.0
"""The same for cp1252 if its few characters beyond ASCII are all where people write them."""
SIGNS: Final = 14.0
"""The same if they are all signs at numbers, which no language has."""
MIN_FIT: Final = -5.2
"""Mean logarithm of the likelihoods of pairs. Text in an unknown language or encoding has less."""
MAX_NULS: Final = 0.1
MAX_CONTROLS: Final = 0.01
"""Fractions of NUL and of other control bytes that a text in a legacy encoding may have."""
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
}
ESCAPED: Final = ("iso2022_jp", "iso2022_jp_ext", "iso2022_jp_2004", "iso2022_kr", "iso2022_jp_2")
"""Encodings that switch between character sets by escape sequences, the most common first."""
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
MIN_RUNS: Final = 6
MIN_WIDE: Final = 5
"""Different characters of two bytes that are evidence."""
MIN_LETTERS: Final = 4
"""Different letters of a script other than the Latin one that are evidence."""
MIN_FOURS: Final = 3
OTHER_SCRIPT = regex.compile(r"(?=\p{L})\P{Latin}(?<![ªºµ])")
LETTERS = regex.compile(r"[\p{L}\p{M}\p{Nd}]")
SPACE = regex.compile(r"\s")
UNSPACED = regex.compile(r"[\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}]")
JAPANESE: Final = ("cp932", "euc_jis_2004")
KANA = regex.compile(r"[\p{Hiragana}\p{Katakana}]")
EAST_ASIAN = regex.compile(r"[\p{Han}\p{Hangul}\p{Hiragana}\p{Katakana}\p{Yi}\p{Bopomofo}]")
WORDS_OF_EAST_ASIA = re.compile(r"[\s\u3000-\u30ff\u4e00-\u9fff\uac00-\ud7a3\uff01-\uff65]+")
UTF_16: Final = ("utf-16-le", "utf-16-be")
CONTROL_BYTE = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
PRINTABLE = re.compile(rb"[\t\n\r -~]+")
NATIONAL: Final = ("gb2312", "cp932", "big5", "euc_kr")


def beyond_ascii(text: str) -> int:
    """Return the number of non-ASCII characters."""
    return len(text) - len(text.encode("ascii", "ignore"))


def faults(text: str) -> float:
    """Return the fraction of the non-ASCII characters that are in implausible positions."""
    beyond = beyond_ascii(text)
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


def is_scarce(text: str, encoding: str) -> bool:
    """Return whether a text has too few different letters of its script to be evidence, or is Japanese without kana."""
    if encoding in WIDE:
        return len(set(EAST_ASIAN.findall(text))) < MIN_WIDE or (encoding in JAPANESE and not KANA.search(text))
    others = OTHER_SCRIPT.findall(text)
    return bool(others) and len(set(others)) < MIN_LETTERS


def decode_escaped(data: bytes) -> Decoded | None:
    """Decode ASCII that switches between character sets; None if the bytes are not such."""
    for encoding in ESCAPED if data.isascii() else ():
        text = decoded_strictly(data, encoding)
        if text is not None:
            return Decoded(text, encoding)
    return None


class Guess(NamedTuple):
    """An encoding that bytes may be in: how likely it is, whether its text is in no known language, and its text."""

    total: float
    is_odd: bool
    encoding: str
    text: str


def guesses_of(sample: bytes) -> list[Guess]:
    """Return the encodings that a sample may be in, the best first."""
    evidence = Evidence(sample)
    found: list[Guess] = []
    for encoding in ENCODINGS:
        text = sampled(sample, encoding)
        if text is None:
            continue
        common = COMMON.get(encoding, "cp1252")
        name = common if sampled(sample, common) == text else encoding
        total, fit, language = evidence.likelihood(encoding)
        is_certain = name == "cp1252" and is_western(text)
        if name == "cp1252":
            total += PRIOR_OF_CP1252 + (SIGNS if is_numeric(text) else WESTERN) * is_certain
        elif name.startswith("cp125"):
            total += PRIOR
        is_odd = not is_certain and (fit < MIN_FIT or evidence.is_one_sided(encoding, language))
        found.append(Guess(total, is_odd, codecs.lookup(name).name, text))
    found.sort(reverse=True)
    # Looking for faults takes longer.
    near = [guess for guess in found if guess.total >= found[0].total - NEAR]
    costs = {text: COST_OF_A_FAULT * faults(text) * beyond_ascii(text) for text in {guess.text for guess in near}}
    return sorted((guess._replace(total=guess.total - costs[guess.text]) for guess in near), reverse=True)


def decode_legacy(data: bytes) -> Decoded:
    """Decode in the legacy encoding that the bytes are certainly in.

    Raises:
        EncodingError: the bytes are binary, or no encoding is certain.
    """
    escaped = decode_escaped(data)
    if escaped is not None:
        return escaped
    sample = sample_of(data)
    nuls, controls = sample.count(0), len(CONTROL_BYTE.findall(sample))
    if nuls > MAX_NULS * len(sample) or controls - nuls > MAX_CONTROLS * len(sample):
        raise EncodingError(BINARY, is_binary=True)
    is_mixed = sum(len(part) for part in UTF8_SEQUENCE.findall(sample)) > 0.2 * len(BEYOND_ASCII.findall(sample))
    uncertain = EncodingError(MIXED if is_mixed else UNKNOWN, is_binary=False)
    guesses = guesses_of(sample)
    if not guesses:
        raise uncertain
    total, is_odd, encoding, text = guesses[0]
    rival = max((other for other, _, _, different in guesses if different != text), default=-math.inf)
    is_doubtful = is_scarce(text, encoding) or (encoding not in WIDE and is_paired(sample))
    if total < rival + MARGIN or is_odd or faults(text) > MAX_FAULTS or is_doubtful:
        raise uncertain
    whole = decoded_strictly(data, encoding)
    if whole is None or (encoding not in WIDE and is_utf16_of_east_asia(sample)):
        raise uncertain
    return Decoded(whole, encoding)


def is_utf16_of_east_asia(sample: bytes) -> bool:
    """Return whether bytes may be a few words of East Asia in UTF-16, whose bytes can all be letters and signs."""
    texts = (decoded_strictly(sample, name) for name in UTF_16 if len(sample) % 2 == 0)
    return any(text is not None and WORDS_OF_EAST_ASIA.fullmatch(text) for text in texts)
