"""Detects the language of a text that was submitted with the language `auto`: by its script, else by frequent words."""

import re
from collections import Counter
from typing import Final, NamedTuple

AUTO: Final = "auto"
NAMES: Final = {
    "ar": "Arabic",
    "de": "German",
    "el": "Greek",
    "en": "English",
    "es": "Spanish",
    "fr": "French",
    "he": "Hebrew",
    "hi": "Hindi",
    "it": "Italian",
    "ja": "Japanese",
    "ko": "Korean",
    "nl": "Dutch",
    "pt": "Portuguese",
    "ru": "Russian",
    "th": "Thai",
    "zh": "Chinese_Simplified",
}
SCRIPTS: Final = {
    "ja": "[\u3040-\u30ff]",
    "ko": "[\uac00-\ud7af]",
    "zh": "[\u4e00-\u9fff]",
    "ru": "[\u0400-\u04ff]",
    "ar": "[\u0600-\u06ff]",
    "he": "[\u0590-\u05ff]",
    "el": "[\u0370-\u03ff]",
    "hi": "[\u0900-\u097f]",
    "th": "[\u0e00-\u0e7f]",
}
"""Japanese comes before Chinese, whose characters it also has."""
SCRIPT_SHARE: Final = 0.2
"""The part of a text's letters that decides on its language."""
WORDS: Final = {
    "de": "am auf bitte das dem den der die ein eine für ich im in ist mit nicht um und von wir zu zum zwei",
    "en": "a an and at by for from i in is it me my of on please play that the to two we with",
    "es": "a con de del el en es la las los me mi no para por que se un una y",
    "fr": "à au avec dans de des du en est et il je la le les ne pour que un une vous",
    "it": "a al alle con da del della di e è il in la le mi non per più un una",
    "nl": "aan de dat een en het ik in is met mijn niet om op te van voor we zijn",
    "pt": "a ao as com da de do e em é me na não no o os para por que um uma",
}
FREQUENT_WORDS: Final = {language: frozenset(words.split()) for language, words in WORDS.items()}


class DetectedLanguage(NamedTuple):
    """A language, and how sure the detection is, from 0 to 1."""

    language: str
    confidence_score: float

    def describe(self) -> dict[str, str | float]:
        """Return it as the API writes it."""
        return {
            "name": NAMES[self.language],
            "iso6391Name": self.language,
            "confidenceScore": round(self.confidence_score, 2),
        }


def detect(text: str) -> DetectedLanguage:
    """Return the language of a text; English, without confidence, if there is no sign of any."""
    letters = sum(character.isalpha() for character in text)
    for language, pattern in SCRIPTS.items():
        share = len(re.findall(pattern, text)) / max(letters, 1)
        if share >= SCRIPT_SHARE:
            return DetectedLanguage(language, min(share, 1.0))
    words = re.findall(r"\w+", text.lower())
    found = Counter({name: sum(word in frequent for word in words) for name, frequent in FREQUENT_WORDS.items()})
    language, count = found.most_common(1)[0]
    return DetectedLanguage(language, count / found.total()) if count else DetectedLanguage("en", 0.0)
