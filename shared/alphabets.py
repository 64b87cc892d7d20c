"""The letters of languages: a text with letters that no single language has was decoded wrongly."""

from typing import Final

import regex

# Letters of languages that share a script with others.
ALPHABETS: Final = tuple(
    frozenset(letters)
    for letters in (
        *(
            "àâæçéèêëîïôœùûüÿ",
            "äöüß",
            "áéíñóúü",
            "áâãàçéêíóôõúü",
            "àèéìîòóù",
            "éëïóöüèêç",
            "åäöé",
            "æøåéöäü",
            "áðéíóúýþæö",
        ),
        *("ąćęłńóśźż", "áčďéěíňóřšťúůýž", "áäčďéíľĺňóôŕšťúýž", "áéíóöőúüű", "čćđšž", "ăâîşţșț", "çğıöşüâîû\u0307"),
        *("ąčęėįšųūž", "āčēģīķļņšūž", "äõöüšž", "ċġħżàèìòù", "ĉĝĥĵŝŭ", "âêîôûŵŷï", "àçèéíïòóúü"),
        *("абвгдеёжзийклмнопрстуфхцчшщъыьэюя", "абвгґдеєжзиіїйклмнопрстуфхцчшщьюя", "абвгдеёжзійклмнопрстуўфхцчшыьэюя"),
        *("абвгдђежзијклљмнњопрстћуфхцчџш", "абвгдѓежзѕијклљмнњопрстќуфхцчџш"),
    )
)
IN_ALPHABET = regex.compile(r"(?=[^\x00-\x7f])[\p{Latin}\p{Cyrillic}]")


def strangers(text: str) -> float:
    """Return the fraction of the non-ASCII Latin and Cyrillic letters that are not in the best matching alphabet."""
    letters = "".join(IN_ALPHABET.findall(text)).lower()
    counts = {letter: letters.count(letter) for letter in set(letters)}
    known = (sum(count for letter, count in counts.items() if letter in alphabet) for alphabet in ALPHABETS)
    return 1 - max(known) / len(letters) if letters else 0.0
