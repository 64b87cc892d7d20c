"""What the recogniser sees of a text: its tokens in sequences, and the features of each token."""

from collections.abc import Iterator
from typing import Final, NamedTuple
from unicodedata import category

import regex

TOKEN: Final = regex.compile(
    r"['’]s\b|[\p{L}\p{M}]+(?:(?!['’]s\b)['’&-][\p{L}\p{M}]+)*|\p{N}+(?:[.:]\p{N}+)*|[^\s\p{C}]"
)
"""A possessive 's is none of the name before it, and a comma between numbers may be that of a table."""
PARAGRAPH_END: Final = regex.compile(r"\n\s*\n|\r\n\s*\r\n")
SENTENCE_END: Final = frozenset(".!?;:。")
LONGEST_SEQUENCE: Final = 400
"""Tokens; a longer paragraph is cut where a sentence begins, so that memory does not grow with it."""
NEIGHBOURS: Final = (-2, -1, 1, 2)


class Token(NamedTuple):
    """A word, a number or a sign; `start` and `end` in code points, `begins` at a line's or a sentence's beginning."""

    text: str
    start: int
    end: int
    begins: bool


def sequences(text: str) -> Iterator[list[Token]]:
    """Return the tokens of each paragraph, in the order of the text."""
    start = 0
    ends = [(match.start(), match.end()) for match in PARAGRAPH_END.finditer(text)]
    for end, following in [*ends, (len(text), len(text))]:
        tokens = list(tokenise(text, start, end))
        begin = 0
        while len(tokens) - begin > LONGEST_SEQUENCE:
            most = begin + LONGEST_SEQUENCE
            cut = next((place for place in range(most, begin, -1) if tokens[place].begins), most)
            yield tokens[begin:cut]
            begin = cut
        if tokens:
            yield tokens[begin:]
        start = following


def tokenise(text: str, start: int, end: int) -> Iterator[Token]:
    """Return the tokens between two places of a text."""
    last, begins = start, True
    for match in TOKEN.finditer(text, start, end):
        begins = begins or "\n" in text[last : match.start()]
        word = match.group()
        yield Token(word, match.start(), match.end(), begins)
        last, begins = match.end(), word in SENTENCE_END


def features(tokens: list[Token]) -> list[list[str]]:
    """Return the features of each token of a sequence."""
    lower = [token.text.lower() for token in tokens]
    shapes = [shape(token.text) for token in tokens]
    found = []
    for position, token in enumerate(tokens):
        word = lower[position]
        row = [
            "bias",
            f"w={word}",
            f"shape={shapes[position]}",
            f"first={word[:1]}",
            f"prefix={word[:3]}",
            f"suffix={word[-2:]}",
            f"suffix3={word[-3:]}",
        ]
        if token.begins:
            row.append(f"begins,{shapes[position]}")
        for distance in NEIGHBOURS:
            other = position + distance
            if 0 <= other < len(tokens):
                row += (f"{distance}:w={lower[other]}", f"{distance}:shape={shapes[other]}")
            else:
                row.append(f"{distance}:none")
        if position:
            row.append(f"w-1,w={lower[position - 1]} {word}")
            row.append(f"w-1,shape={lower[position - 1]} {shapes[position]}")
        if position + 1 < len(tokens):
            row.append(f"shape,w+1={shapes[position]} {lower[position + 1]}")
            if tokens[position + 1].begins:
                row.append("+1:begins")
        if position > 1:
            row.append(f"w-2,w-1={lower[position - 2]} {lower[position - 1]}")
        found.append(row)
    return found


def shape(word: str) -> str:
    """Return what kind of word it is: `Xx` capitalised, `X` capitals, `x` small, `9` a number, else a sign."""
    if word[0].isnumeric():
        return "9" * min(len(word), 4)
    if not word[0].isalpha():
        return word if word.isascii() else category(word[0])
    if word.isupper():
        return "X" if len(word) > 1 else "X1"
    return "Xx" if word[0].isupper() else "x"
