"""Text in cp1252 with few characters beyond ASCII, where a comparison with models of languages says nothing.

Most files that are not in Unicode are in this encoding, and English ones have a sign or an accented name only now and
then. Such a text is taken if each character beyond ASCII is one that people write, at a position where they write it,
and that is no letter of another language in a neighbouring encoding.
"""

import re
from typing import Final

import regex

MAX_LETTERS: Final = 4
"""Different letters beyond ASCII; with more of them, models of languages are better evidence."""
BEYOND_ASCII = re.compile(r"[^\x00-\x7f]")
LETTER = regex.compile(r"(?=[^\x00-\x7f])\p{L}")
# What may stand there: typographic signs, letters that cp1250 has at the same position, and some that only Western
# languages have between such neighbours.
PLAUSIBLE = re.compile(
    r"(?<![^\W\d_])[\u2018\u201c\u201d\u2026«»§©®™\u2022](?![\u2022§©®])"
    r"|(?<=[^\W\d_])[\u201d\u2026»®™\xb7]|(?<=[^\W_])\u2019(?!\w)"
    r"|(?<=[A-Za-z])\u2019(?=(?:[stdmST]|re|ve|ll|em)\b)|(?<=\b[lLdDnNcCjJsSmMtTO])\u2019(?=\w)|(?<=[qQ]u)\u2019(?=\w)"
    r"|(?<![^\W\d_])\u2019(?=\w)|(?<=[\W\d])[\u2019\u201d](?!\w)"
    r"|[\u2013\u2014]"
    r"|(?<![^\W_])\xa0|\xa0(?![^\W_])|(?<=\d)\xa0(?=\d)|(?<=[^\W\d_])\xa0(?=\d)"
    r"|(?<=[\d\s(/])[°±×÷µ](?=[\s\dCFKmgsl).,;:%]|\Z)|(?<=\d)[°º](?=[\s.,;:)]|\Z)|(?<=[Nn])[°º](?=[\s\d])"
    r"|(?<=[\d\s])[\xbd\xbc\xbe](?=[\s.,;:)\-]|\Z)|(?<=[mM])[²³](?!\w)|(?<=\d )[²³](?!\w)"
    r"|(?<![^\W_])[€£](?=\s?\d)|(?<=\d)[€£](?!\w)|(?<=\d\s)[€£](?!\w)"
    r"|(?<![^\W\d_])[¡¿](?=[^\W\d_])"
    r"|(?<![áíóúéäöü])[éíóúëôîâ]|(?<![aeiouäöü])á|(?<=[cgqCGQJ]u)á|(?<![^\W\d_])[ÉÁÍÓÚÖÜÄÇÎÂÔ](?=[a-z])|(?<=[A-Z])[ÉÁÍÓÚÖÜÄÇ](?=[A-Z])"
    r"|(?<=[a-zA-Z])[öüä](?=[a-zA-Z])|(?<![^\W\d_])[öüä](?=[a-z])|(?<=[aeiouäöü])ß(?![A-Z])|ç(?=[aouãõ])"
    r"|[ñÑ](?=[aeouiáéíóúAEOU])|(?<=[bcdfgjlmnprstvBCDFGJLMNPRSTV])è(?=[bcdfglmnprstv])|(?<=i)è(?=re)|(?<![^\W\d_])[àÀ](?!\w)|(?<=l)à(?!\w)|ã(?=o(?!\w))"
)
AT_VOWEL = re.compile(r"aá|áa|eé|ée|ií|íi|oó|óo|uú|úu")


def is_western(text: str) -> bool:
    """Return whether a text that was decoded as cp1252 was certainly written in it."""
    if len(set(LETTER.findall(text))) > MAX_LETTERS or AT_VOWEL.search(text):
        return False
    # A mark that begins a question or a cry has one that ends it.
    if text.count("¿") > text.count("?") or text.count("¡") > text.count("!"):
        return False
    return all(PLAUSIBLE.match(text, found.start()) for found in BEYOND_ASCII.finditer(text))
