"""How likely bytes are in each legacy encoding, according to models of languages.

A model holds the frequencies of pairs of bytes in one language and encoding. The likelihoods of the pairs in a text are
multiplied; their logarithms are summed. So each word adds evidence: a short text leaves several encodings nearly
equally likely, and a long text leaves one. Each word may be in another language than the text, at a cost, since names
often are. A repeated word is counted once, since it is no new evidence.
"""

import math
from functools import cache
from typing import Final, NamedTuple

MAX_WORDS: Final = 200
"""Words with characters beyond ASCII, and words without, that are compared with the models."""
MAX_LENGTH: Final = 256
"""Bytes of a word that are compared. Some languages have no spaces."""
SMOOTHING: Final = 0.05
"""Frequency of pairs that a model does not have. A model's most frequent pair has 255."""
COST_OF_A_LANGUAGE: Final = 8.0
"""Logarithm of the factor by which a word in another language than the text is less likely."""
MAX_MISSING: Final = 10.0
"""Logarithm of the factor by which it may be unlikely that a text has no other letters than it has."""
MAX_FEW: Final = 2
"""Different letters of a text in which others may be missing."""
NOT_A_LANGUAGE: Final = "zxx"
ENCODINGS: Final = frozenset(
    (
        *("big5hkscs", "cp932", "cp949", "euc_jis_2004", "euc_kr", "gb18030", "johab"),
        *("cp1250", "cp1251", "cp1252", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp1258", "cp874"),
        *("cp437", "cp720", "cp737", "cp775", "cp850", "cp852", "cp855", "cp856", "cp857", "cp858", "cp860"),
        *("cp861", "cp862", "cp863", "cp864", "cp865", "cp866", "cp869", "cp1125"),
        *("iso8859-1", "iso8859-2", "iso8859-3", "iso8859-4", "iso8859-5", "iso8859-6", "iso8859-7", "iso8859-8"),
        *("iso8859-9", "iso8859-10", "iso8859-13", "iso8859-14", "iso8859-15", "tis-620"),
        *("koi8-r", "koi8-t", "koi8-u", "kz1048", "ptcp154"),
        *("mac-cyrillic", "mac-greek", "mac-iceland", "mac-latin2", "mac-roman", "mac-turkish"),
    )
)
"""Encodings that texts are compared with: all that are in use, keep ASCII, and are not told by escape sequences."""

Pairs = list[tuple[int, int]]
"""Of a word, the first byte of each pair, and the pair as a number."""


class Likelihood(NamedTuple):
    """How likely bytes are in an encoding.

    Attributes:
        total: the logarithm, for comparison with other encodings of the same bytes.
        fit: the mean logarithm for a pair in the words with characters beyond ASCII: how usual they are.
        language: the language in which the bytes are most likely.
    """

    total: float
    fit: float
    language: str


class Model:
    """The frequencies of pairs of bytes in a language and an encoding."""

    def __init__(self, table: bytes) -> None:
        self.table = table
        self.rows: dict[int, float] = {}

    def likelihood(self, pairs: Pairs) -> float:
        """Return the logarithm of how likely the second byte of each pair is after the first."""
        total = 0.0
        for first, pair in pairs:
            row = self.rows.get(first)
            if row is None:
                row = self.rows[first] = math.log(sum(self.table[first << 8 : first + 1 << 8]) + 256 * SMOOTHING)
            total += logarithms()[self.table[pair]] - row
        return total


@cache
def logarithms() -> list[float]:
    """Return the logarithm of each frequency that a model may have."""
    return [math.log(frequency + SMOOTHING) for frequency in range(256)]


@cache
def models() -> dict[str, dict[str, Model]]:
    """Return the models by encoding and language."""
    from chardet.models import load_models

    found: dict[str, dict[str, Model]] = {encoding: {} for encoding in ENCODINGS}
    tables = load_models()
    for key, table in tables.items():
        language, encoding = key.split("/")
        if encoding in ENCODINGS and language != NOT_A_LANGUAGE:
            found[encoding][language] = Model(table)
    # English words and quotation marks are in texts of all languages.
    english = tables["en/cp1252"]
    pairs = [
        (bytes((pair >> 8, pair & 255)).decode("cp1252", "replace"), frequency)
        for pair, frequency in enumerate(english)
        if frequency
    ]
    for encoding, by_name in found.items():
        if "en" not in by_name:
            by_name["en"] = Model(encoded(pairs, encoding))
    return found


def encoded(pairs: list[tuple[str, int]], encoding: str) -> bytes:
    """Return a model in an encoding, made from frequencies of pairs of characters."""
    table = bytearray(65536)
    for characters, frequency in pairs:
        pair = characters.encode(encoding, "replace")
        if len(pair) == 2:
            table[pair[0] << 8 | pair[1]] = max(table[pair[0] << 8 | pair[1]], frequency)
    return bytes(table)


def pairs_of(word: bytes) -> Pairs:
    """Return the pairs in a word between spaces."""
    spaced = b" " + word[:MAX_LENGTH] + b" "
    return [(spaced[i], spaced[i] << 8 | spaced[i + 1]) for i in range(len(spaced) - 1)]


def by_language(words: list[Pairs], known: dict[str, Model]) -> tuple[dict[str, float], float]:
    """Return the likelihood of words in a text of each language, and in a text of a language without a model."""
    found = {language: [model.likelihood(word) for word in words] for language, model in known.items()}
    foreign = [max(likelihoods) - COST_OF_A_LANGUAGE for likelihoods in zip(*found.values(), strict=True)]
    return {language: sum(map(max, own, foreign)) for language, own in found.items()}, sum(foreign)


class Evidence:
    """Bytes to compare with models."""

    def __init__(self, sample: bytes) -> None:
        words = list(dict.fromkeys(sample.split()))
        self.words = [pairs_of(word) for word in words if not word.isascii()][:MAX_WORDS]
        # These are the same in all encodings, but tell the language of the text.
        ascii_words = [pairs_of(word) for word in words if word.isascii() and word.upper() != word.lower()][:MAX_WORDS]
        known = {language: model for by_name in models().values() for language, model in by_name.items()}
        self.languages, _ = by_language(ascii_words, known)

    def likelihood(self, encoding: str) -> Likelihood:
        """Return how likely the bytes are in an encoding, in the language in which they are most likely."""
        own, foreign = by_language(self.words, models()[encoding])
        total, part, language = max(
            (rest + (p := own.get(name, foreign)), p, name) for name, rest in self.languages.items()
        )
        return Likelihood(total, part / max(sum(map(len, self.words)), 1), language)

    def is_one_sided(self, encoding: str, language: str) -> bool:
        """Return whether letters that are common in a language are missing, so that the text is in another language."""
        model = models()[encoding].get(language)
        letters = [byte for byte in range(128, 256) if bytes((byte,)).decode(encoding, "replace").isalpha()]
        if model is None or not letters:
            return False
        found = [byte for word in self.words for byte, _ in word if byte in letters]
        if len(set(found)) > MAX_FEW:
            return False
        common = {byte: sum(model.table[byte << 8 : byte + 1 << 8]) for byte in letters}
        share = sum(common[byte] for byte in set(found)) / max(sum(common.values()), 1)
        return len(found) * -math.log(max(share, SMOOTHING)) > MAX_MISSING
