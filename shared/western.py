"""Text in cp1252 with few characters beyond ASCII, where a comparison with models of languages says little.

Most files that are not in Unicode are in this encoding, and English ones have a sign or an accented name only now and
then. Such a text is more likely if each character beyond ASCII is one that people write, at a position where they write
it, and that is no letter of another language in a neighbouring encoding.
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
    r"(?<![^\W\d_])[\u2018\u201c\u201d«»§©®™\u2022](?![\u2022§©®])|(?<!\w)\u2026(?!\w)"
    r"|(?<=[^\W\d_])[\u201d»®™\xb7](?!\w)|(?<=[^\W\d_])\u2026(?=\s*(?:\Z|[A-Z\n\"”’)]))|(?<=[^\W_])\u2019(?!\w)"
    r"|(?<=[A-Za-z])\u2019(?=(?:[stdmST]|re|ve|ll|em)\b)|(?<=\b[lLdDnNcCjJsSmMtTO])\u2019(?=[aeiouhyéèêâAEIOUHYÉ])"
    r"|(?<=[qQ]u)\u2019(?=[aeiouéêAEIOUÉ])|(?<![^\W\d_])\u2019(?=(?:[snt]|em|til|tis|twas|cause)\b|\d\d)"
    r"|(?<=[\W\d])[\u2019\u201d](?!\w)"
    r"|(?<![^\W\d_])[\u2013\u2014](?![^\W\d_])"
    r"|(?<![^\W_])\xa0(?![^\W_])|(?<=\d)\xa0(?=\w)|(?<=[^\W\d_])\xa0(?=[\d;:!?»%€])"
    r"|(?<=[\d\s(/])[°±×÷µ](?=[\s\dCFKmgsl).,;:%]|\Z)|(?<=\d)[°º](?=[\s.,;:)]|\Z)|(?<=[Nn])[°º](?=[\s\d])"
    r"|(?<=[\d\s])[\xbd\xbc\xbe](?=[\s.,;:)\-]|\Z)|(?<=[mM])[²³](?!\w)|(?<=\d )[²³](?!\w)"
    r"|(?<![^\W_])[€£](?=\s?\d)|(?<=\d)[€£](?!\w)|(?<=\d\s)[€£](?!\w)"
    r"|(?<![^\W\d_])[¡¿](?=[^\W\d_])"
    r"|(?<![áíóúéäöü])[éíóúô]|(?<=[aeio])ë|(?<=[aou])î|(?<=[aou])ï|(?<![aeiouäöü])á|(?<=[cgqCGQJ]u)á"
    r"|(?<![^\W\d_])[ÉÁÍÓÚÖÜÄÇÎÂÔ](?=[a-z])|(?<=[A-Z])[ÉÁÍÓÚÖÜÄÇ](?=[A-Z])"
    r"|(?<=[a-zA-Z])[öüä](?=[a-zA-Z])|(?<![^\W\d_])[öüä](?=[a-z])|(?<=[aeiouäöü])ß(?![A-Z])|ç(?=[aouãõ])"
    r"|[ñÑ](?=[aeouiáéíóúAEOU])|(?<=[bcdfgjlmnprstvBCDFGJLMNPRSTV])è(?=[bcdfglmnprstv])|(?<=i)è(?=re)"
    r"|(?<![^\W\d_])[àÀ](?!\w)|(?<=l)à(?!\w)|ã(?=o(?!\w))"
)
ALONE = re.compile(r"(?<![^\W_])[éíóúáäöüÉÍÓÚÁÄÖÜ](?![^\W_])")
OPENING = re.compile(r"(?<!\w)\u201d(?=\w)")
CLOSING = re.compile(r"(?<=[^\W_sS])\u2019(?!\w)")
AT_VOWEL = re.compile(r"aá|áa|eé|ée|ií|íi|oó|óo|uú|úu")


def is_western(text: str) -> bool:
    """Return whether a text that was decoded as cp1252 was most probably written in it."""
    if len(set(LETTER.findall(text))) > MAX_LETTERS or AT_VOWEL.search(text):
        return False
    # A mark that begins a question, a cry or a quotation has one that ends it; an end without a beginning is a letter.
    if any(text.count(begin) > text.count(end) for begin, end in ("¿?", "¡!", "\u2018\u2019", "\u201c\u201d")):
        return False
    if text.count("\u201d") > 2 * (text.count("\u201c") + len(OPENING.findall(text))) or ALONE.search(text):
        return False
    if len(CLOSING.findall(text)) > text.count("\u2018"):
        return False
    return all(PLAUSIBLE.match(text, found.start()) for found in BEYOND_ASCII.finditer(text))


def is_numeric(text: str) -> bool:
    """Return whether a text has no characters beyond ASCII except signs that people write at numbers."""
    return all(found.group() in "°±×÷µ²³½¼¾€£§©®™º" for found in BEYOND_ASCII.finditer(text))
