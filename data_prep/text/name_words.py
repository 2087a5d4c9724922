"""The words that tell a name from the same letters in another sense (`name_words.toml`)."""

import dataclasses
import functools
import pathlib
import re
import tomllib
from collections.abc import Iterable, Mapping

from data_prep.text import letters

FILE = pathlib.Path(__file__).with_suffix(".toml")


@dataclasses.dataclass(frozen=True, eq=False)
class Words:
    """The lists of the file in plain letters.

    `title` ends where a name starts, `honorific` starts where one ends; `particles` and `endings`
    are patterns; `common` matches what is no name where a name could stand.
    """

    title: re.Pattern
    honorific: re.Pattern
    particles: str
    abbreviations: frozenset[str]
    endings: Mapping[str, str]
    everyday: frozenset[str]
    common: re.Pattern

    def ordinary(self, word: str) -> bool:
        """Whether a word means something else in reports."""
        return word.lower() in self.everyday or bool(self.common.fullmatch(word))

    def telling(self, word: str) -> bool:
        """Whether a word is a name wherever it stands: three letters that mean nothing else."""
        return letters.count(word) >= 3 and not self.ordinary(word)


@functools.cache
def read(common: re.Pattern) -> Words:
    """The lists of the file, beside the words `common`."""
    data = tomllib.loads(FILE.read_text(encoding="utf-8"))
    # "MR" without a point is a magnetic resonance.
    titles = {form for word in _plain(data["titles"]) for form in written(word)} - {"MR"}
    any_title = any_of([*map(re.escape, titles), r"MR(?=\.)"])
    return Words(
        title=re.compile(rf"{letters.WORD_STARTS}{any_title}(?:\.[ ]?|[ ])$"),
        honorific=re.compile(f"[ ]?{any_of(_plain(data['honorifics']))}"),
        particles=any_of(_plain(data["particles"])),
        abbreviations=frozenset(data["abbreviations"].split()),
        endings={script: any_of(_plain(text)) for script, text in data["endings"].items()},
        everyday=frozenset(_plain(" ".join(data["everyday"].values()).lower())),
        common=common,
    )


def written(word: str) -> set[str]:
    """A word as it is written where it is a name."""
    return {word[:1].upper() + word[1:], word.upper()}


def any_of(patterns: Iterable[str]) -> str:
    """Any of several patterns, of which the first that fits is taken."""
    return f"(?:{'|'.join(patterns)})"


def _plain(text: str) -> list[str]:
    return letters.fold(text)[0].split()
