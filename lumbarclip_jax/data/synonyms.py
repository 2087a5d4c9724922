"""Interchangeable wordings of reports, and the words that carry meaning (`synonyms.toml`)."""

import collections
import pathlib
import re
import tomllib
from collections.abc import Sequence

import numpy as np

FILE = pathlib.Path(__file__).with_suffix(".toml")

# A hyphen joins words, but for one that opens an item of a list. The full stop of an abbreviation,
# as in "Lt. foraminal", would end a sentence behind a word that is written out.
_START = r"(?<!\w)(?<!\w-)"
_END = r"(?![\w'’])(?!-\w)(?!\.[ \t]+(?-i:[a-z]))"
_PHRASE = re.compile(r"\w(.*\w)?")
_PART = re.compile(r"[^\W_]+")


class Synonyms:
    """Groups of phrases that say the same, and words that are protected.

    Args:
      path: a TOML file, written as the head of `synonyms.toml` explains.

    Attributes:
      groups: the phrases of each group, in the order of the file.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is not of that form; a group is empty, is of one phrase, has a phrase of
        another, or mixes phrases that deny with some that do not.
    """

    def __init__(self, path: str | pathlib.Path = FILE):
        path = pathlib.Path(path)
        table = _read(path)
        self.groups = _groups(table["groups"], path)
        protected = _protected(table["protected"], path)
        self._protected = _Words([word for words in protected.values() for word in words])
        self._negation = _Words(protected["negation"])
        for number, group in enumerate(self.groups, start=1):
            self._check_denials(group, f"{path}, group {number}")
        self._others = {
            _plain(phrase): [other for other in group if other != phrase]
            for group in self.groups
            for phrase in group
        }
        # Of the phrases that start at one place, the first alternative is found.
        longest_first = sorted(self._others, key=len, reverse=True)
        phrases = "|".join(re.escape(phrase).replace(r"\ ", r"[ \t]+") for phrase in longest_first)
        self._pattern = re.compile(f"{_START}({phrases}){_END}", re.IGNORECASE)

    def replaced(self, text: str, probability: float, rng: np.random.Generator) -> str:
        """The text with each phrase of a group replaced with this probability.

        In its place stands one of the others of its group, each as likely, with a capital where it
        had one. Phrases are found whole, in any case, the longest first, and within a line.
        """

        def other(match: re.Match) -> str:
            if rng.random() >= probability:
                return match[0]
            others = self._others[_plain(match[0])]
            phrase = others[rng.integers(len(others))]
            return phrase[0].upper() + phrase[1:] if match[0][0].isupper() else phrase

        return self._pattern.sub(other, text)

    def count(self, text: str) -> int:
        """How many phrases of a text can be replaced."""
        return len(self._pattern.findall(text))

    def protects(self, word: str) -> bool:
        """Whether a word is protected: a part of it is listed or has a digit."""
        return self._protected.some_in(word) or any(map(str.isdigit, word))

    def denies(self, statement: str) -> bool:
        """Whether a word of the statement is listed as a negation."""
        return self._negation.some_in(statement)

    def _check_denials(self, group: Sequence[str], where: str) -> None:
        deny = list(map(self.denies, group))
        if any(deny) and not all(deny):
            raise ValueError(
                f"{where}: {group[deny.index(True)]!r} denies and {group[deny.index(False)]!r} does"
                " not: put them into groups of their own"
            )


class _Words:
    """Words and, with a star, starts of words."""

    def __init__(self, listed: Sequence[str]):
        self._whole = frozenset(word for word in listed if not word.endswith("*"))
        self._starts = tuple(word[:-1] for word in listed if word.endswith("*"))

    def some_in(self, text: str) -> bool:
        parts = _PART.findall(text.lower())
        return any(part in self._whole or part.startswith(self._starts) for part in parts)


def _read(path: pathlib.Path) -> dict:
    if not path.is_file():
        raise FileNotFoundError(f"there is no table of synonyms {path}: correct its path")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a TOML file ({error}): correct it") from error
    for name, kind in (("groups", list), ("protected", dict)):
        if not isinstance(table.get(name), kind):
            raise ValueError(f"{path} has no {name}: add them as in {FILE}")
    return table


def _groups(listed: list, path: pathlib.Path) -> tuple[tuple[str, ...], ...]:
    group_of: dict[str, int] = {}
    for number, group in enumerate(listed, start=1):
        where = f"{path}, group {number}"
        if not isinstance(group, list) or not all(isinstance(phrase, str) for phrase in group):
            raise ValueError(f"{where} is {group!r}: make it a list of phrases in quotes")
        if len(group) < 2:
            raise ValueError(
                f"{where}, {group}, has nothing to replace a phrase with: give it two phrases or "
                "more, or delete it"
            )
        for phrase in group:
            if not _PHRASE.fullmatch(phrase):
                raise ValueError(
                    f"{where}: the phrase {phrase!r} does not start and end with a letter or digit:"
                    " correct it"
                )
            if (first := group_of.setdefault(_plain(phrase), number)) != number:
                raise ValueError(
                    f"{where}: the phrase {phrase!r} is in group {first} too: keep it in one"
                )
        counts = collections.Counter(map(_plain, group))
        if twice := [phrase for phrase, count in counts.items() if count > 1]:
            raise ValueError(f"{where}: the phrase {twice[0]!r} is there twice: delete one")
    if not listed:
        raise ValueError(f"{path} has no group: add one as in {FILE}")
    return tuple(map(tuple, listed))


def _protected(listed: dict, path: pathlib.Path) -> dict[str, list[str]]:
    for name, text in {"negation": None, **listed}.items():
        if not isinstance(text, str):
            raise ValueError(
                f"{path}: protected.{name} is {text!r}: make it words in quotes with blanks between"
            )
        if wrong := [word for word in text.split() if not re.fullmatch(r"[^\W_A-Z]+\*?", word)]:
            raise ValueError(
                f"{path}, protected.{name}: {wrong[0]!r} is no word in lower case, nor the start of"
                " one and a star: correct it"
            )
    return {name: text.split() for name, text in listed.items()}


def _plain(phrase: str) -> str:
    return " ".join(phrase.lower().split())
