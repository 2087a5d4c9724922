"""A sentence as words: lower case, spelling corrected, each disc level one token."""

import dataclasses
import re
from collections.abc import Callable

from data_prep.labeling.levels import LevelReader, Place
from data_prep.labeling.phrases import LEVEL
from data_prep.labeling.rules import Rules

# Letters and digits stand apart, so that "atL4/L5level" falls into its parts.
_PIECE = re.compile(r"[^\W\d_]+(?:['’`][^\W\d_]{1,2})?|\d+(?:\.\d+)?|[^\w\s]|_")


@dataclasses.dataclass(frozen=True)
class Token:
    """A word or mark; `start` and `end` are its characters in the sentence."""

    word: str
    start: int
    end: int
    place: Place | None = None


def tokenizer(rules: Rules) -> Callable[[str], list[Token]]:
    """Makes the function that takes a sentence to its tokens."""
    reader = LevelReader(rules.levels)
    glued = rules.levels.prepositions | rules.levels.list_words | rules.levels.pair_words

    def pieces(text: str) -> list[tuple[str, int, int]]:
        found = []
        for match in _PIECE.finditer(text):
            word, start, end = match[0], match.start(), match.end()
            next_is_digit = text[end : end + 1].isdecimal()
            joined = len(word) > 1 and word[-1] in "CDTLScdtls" and word[:-1].isalpha()
            if next_is_digit and joined and (word[:-1].lower() in glued or word[-2:-1].islower()):
                found += [(word[:-1], start, end - 1), (word[-1], end - 1, end)]
            else:
                found.append((word, start, end))
        return [(re.sub(r"['’`]", "", word).lower(), start, end) for word, start, end in found]

    def tokens(text: str) -> list[Token]:
        raw = pieces(text)
        words = [word for word, _, _ in raw]
        found = []
        at = 0
        while at < len(raw):
            word, start, end = raw[at]
            expression = reader.read(words, at)
            vertebra = None if expression else reader.vertebra(words, at)
            if expression:
                place, after = expression
                found.append(Token(LEVEL, start, raw[after - 1][2], place))
                at = after
            elif vertebra:
                found.append(Token(word + words[at + 1], start, raw[vertebra[1] - 1][2]))
                at = vertebra[1]
            else:
                spelt = rules.speller(word) if word.isalpha() else (word,)
                found += [Token(part, start, end) for part in spelt]
                at += 1
        return found

    return tokens
