"""The words of variants (`wordings.toml`)."""

import functools
import itertools
import pathlib
import tomllib
from collections.abc import Collection, Sequence

from data_prep.records.findings import FINDINGS

FILE = pathlib.Path(__file__).with_suffix(".toml")
_PARTS = (
    "effects",
    "adverbs",
    "modifiers",
    "companions",
    "dependents",
    "relatives",
    "unnamed",
    "joints",
)


class Wordings:
    """The words of variants.

    Args:
      path: a TOML file, written as `wordings.toml` explains.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is no TOML file, an entry is missing, or a finding is unknown.
    """

    def __init__(self, path: pathlib.Path = FILE):
        if not path.is_file():
            raise FileNotFoundError(f"there is no file of wordings {path}")
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
            nouns = table["findings"]
            self._nouns = {name: nouns[name] for name in FINDINGS}
            unknown = (nouns.keys() | table["entails"].keys()) - set(FINDINGS)
            self.entails = {name: frozenset(of) for name, of in table["entails"].items()}
            unknown |= frozenset().union(*self.entails.values()) - set(FINDINGS)
            self._denial, self._clause = table["denials"]["sentence"], table["denials"]["clause"]
            self._statement = table["statements"]["sentence"]
            self._verbs = frozenset(table["statements"]["verbs"])
            self.opposites = dict(table["opposites"])
            self.displacing = frozenset(table["lesions"]["displacing"])
            self.compressed = frozenset(table["lesions"]["compressed"])
            unknown |= (self.opposites.keys() | self.displacing | self.compressed) - set(FINDINGS)
            self._parts = {name: tuple(table["parts"][name]) for name in _PARTS}
            self._participle = table["parts"]["participle"]
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is not a TOML file ({error}): correct it") from error
        except KeyError as error:
            raise ValueError(f"{path} has no entry {error}: add it") from error
        if unknown:
            raise ValueError(f"{path}: unknown finding {min(unknown)!r}: correct it")

    def is_part(self, name: str, word: str) -> bool:
        """Whether a word, as the labeller corrects it, is in a list of [parts]."""
        return any(
            word.startswith(entry[:-1]) if entry.endswith("*") else word == entry
            for entry in self._parts[name]
        )

    def opens_effect(self, word: str) -> bool:
        """Whether a clause on what a lesion does begins with this word."""
        return word.endswith(self._participle) and self.is_part("effects", word)

    def verb(self, words: Sequence[str]) -> str:
        """ " noted" or the like, where the words of a statement have it."""
        return next((f" {word}" for word in words if word in self._verbs), "")

    def denial(self, findings: Collection[str], *, verb: str, place: str, is_lower: bool) -> str:
        """A sentence that denies the findings, without its full stop."""
        no = "no" if is_lower else "No"
        return self._denial.format(no=no, nouns=self.nouns(findings), verb=verb, place=place)

    def clause(self, findings: Collection[str]) -> str:
        """The end of a statement that denies the findings."""
        return self._clause.format(nouns=self.nouns(findings))

    def statement(self, finding: str, *, verb: str, place: str, is_lower: bool) -> str:
        """A sentence that states a finding, without its full stop."""
        text = self._statement.format(noun=self._nouns[finding], verb=verb, place=place)
        return text if is_lower else capital(text)

    def nouns(self, findings: Collection[str]) -> str:
        """The findings joined by "or", in the order of FINDINGS."""
        names = [self._nouns[name] for name in sorted(findings, key=FINDINGS.index)]
        groups = [
            list(group) for _, group in itertools.groupby(names, lambda noun: noun.split()[-1])
        ]
        parts = [_shared(group) for group in groups]
        *before, last = parts
        if not before:
            return last
        if any(" or " in part for part in before):
            return f"{', '.join(before)}, or {last}"
        # "disc bulge, thecal sac or nerve root compression"
        return ", ".join(parts) if " or " in last else f"{', '.join(before)} or {last}"


def _shared(nouns: Sequence[str]) -> str:
    """ "thecal sac or nerve root compression", of nouns with one last word."""
    *before, last = nouns
    return " or ".join([*(noun.rsplit(" ", 1)[0] for noun in before), last])


@functools.cache
def standard() -> Wordings:
    """The words of `wordings.toml`."""
    return Wordings()


def capital(text: str) -> str:
    """The text with a capital at its start."""
    return text[:1].upper() + text[1:]
