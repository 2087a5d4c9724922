"""A sentence as words: lower case, spelling corrected, each disc level and each sign one token."""

import dataclasses
import re
from collections.abc import Iterator, Mapping

from data_prep.label_reports.levels import LevelReader, Place
from data_prep.label_reports.phrases import LEVEL
from data_prep.label_reports.rules import Rules

# Letters and digits stand apart, so that "atL4/L5level" falls into its parts.
_APOSTROPHE = re.compile("['’`]")
_PIECE = re.compile(r"[^\W\d_]+(?:['’`][^\W\d_]{1,2})?|\d+(?:\.\d+)?|[^\w\s]|_")
MIN_PREFIXED_LETTERS = 4


@dataclasses.dataclass(frozen=True)
class Token:
    """A word or mark; `start` and `end` are its characters in the sentence."""

    word: str
    start: int
    end: int
    place: Place | None = None


class Tokenizer:
    """Takes a sentence to its tokens."""

    def __init__(self, rules: Rules):
        self._spell = rules.speller
        self._levels = LevelReader(rules.levels)
        self._glued = rules.levels.prepositions | rules.levels.list_words | rules.levels.pair_words
        self._signs = rules.assertions.signs
        self._sign = _sign_pattern(self._signs)
        # "Noncompressive" and "non-compressive" are two words, of which the first denies.
        prefixes = "|".join(map(re.escape, rules.assertions.prefixes))
        self._prefixed = re.compile(rf"({prefixes})(?=[^\W\d_]{{{MIN_PREFIXED_LETTERS}}})", re.I)
        self._hyphenated = re.compile(rf"\b(?:{prefixes})([-‐‑])(?=[^\W\d_])", re.I)

    def __call__(self, sentence: str) -> list[Token]:
        pieces = list(self._pieces(sentence))
        spelt = [self._spell(word) for word, _, _ in pieces]
        # Levels are read from words already corrected: "L4-L5 amnd L5-S1" is a list, too.
        words = [" ".join(parts) for parts in spelt]
        tokens = []
        at = 0
        while at < len(pieces):
            start, end = pieces[at][1:]
            expression = self._levels.read(words, at)
            vertebra = None if expression else self._levels.vertebra(words, at)
            if expression:
                place, at = expression
                tokens.append(Token(LEVEL, start, pieces[at - 1][2], place))
            elif vertebra:
                at = vertebra[1]
                tokens.append(Token("".join(words[at - 2 : at]), start, pieces[at - 1][2]))
            else:
                tokens += [Token(part, start, end) for part in spelt[at]]
                at += 1
        return tokens

    def _pieces(self, sentence: str) -> Iterator[tuple[str, int, int]]:
        """(lower-case word or mark, start, end); the letter of a vertebra stands alone."""
        signs = {
            match.start(match.lastgroup or 0): match for match in self._sign.finditer(sentence)
        }
        hyphens = {match.start(1) for match in self._hyphenated.finditer(sentence)}
        done = 0
        for match in _PIECE.finditer(sentence):
            word, start, end = match[0], match.start(), match.end()
            before = word[:-1]
            prefix = self._prefixed.match(word)
            if start < done or start in hyphens:
                continue
            if start in signs:
                sign = signs[start]
                done = sign.end()
                yield self._word_of(sign), start, done
            elif prefix:
                yield prefix[1].lower(), start, start + prefix.end()
                yield word[prefix.end() :].lower(), start + prefix.end(), end
            elif (
                sentence[end : end + 1].isdecimal()
                and word[-1] in "CDTLScdtls"
                and (before.lower() in self._glued or before[-1:].islower())
            ):
                yield before.lower(), start, end - 1
                yield word[-1].lower(), end - 1, end
            else:
                yield _APOSTROPHE.sub("", word).lower().replace(LEVEL, "at"), start, end

    def _word_of(self, sign: re.Match) -> str:
        where = sign.lastgroup or ""
        return self._signs[where][sign[where].lower()]


def _sign_pattern(signs: Mapping[str, Mapping[str, str]]) -> re.Pattern:
    def any_of(where: str) -> str:
        return "|".join(re.escape(sign) for sign in sorted(signs[where], key=len, reverse=True))

    opening = rf"(?:^|(?<=[,;]))\s*(?P<opening>{any_of('opening')})(?=\s*\w)"
    anywhere = rf"(?P<anywhere>{any_of('anywhere')})(?!\w)"
    closing = rf"(?<=[^\W\d]|[\s:)])(?P<closing>{any_of('closing')})(?=\s*(?:$|[,;.)]|and\b))"
    return re.compile(f"{opening}|{anywhere}|{closing}", re.I)
