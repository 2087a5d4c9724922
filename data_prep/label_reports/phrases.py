"""The phrase language of the rule files, and a matcher whose cost is linear in the text."""

import collections
import dataclasses
import re
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Generic, TypeVar

MAXGAP_WORDS = 4
MIN_PREFIX_LETTERS = 2
_ATOM = re.compile(r"[a-z0-9]+\*?|[?/:@]")
GAP = ".."
# Stands for any disc level.
LEVEL = "@"

Payload = TypeVar("Payload", bound=Hashable)


@dataclasses.dataclass(frozen=True, order=True)
class Match(Generic[Payload]):
    """Words ``[start, end)`` of a sentence, and what the phrase stands for."""

    start: int
    end: int
    phrase: str
    payload: Payload

    def overlaps(self, other: "Match") -> bool:
        return self.start < other.end and other.start < self.end


class PhraseBook(Generic[Payload]):
    """Phrases to look for, each with a payload.

    Raises:
      ValueError: a phrase is not written as the head of rules/concepts.toml explains.
    """

    def __init__(self, phrases: Iterable[tuple[str, Payload]]):
        # The phrases by their first atom; an atom is a word or, with a star, the start of one.
        self._by_first = collections.defaultdict(list)
        for phrase, payload in phrases:
            elements = parse(phrase)
            for atom in elements[0]:
                self._by_first[atom].append((elements, phrase, payload))

    def find(self, words: Sequence[str]) -> list[Match[Payload]]:
        """All matches, in the order of the words; overlapping ones too."""
        matches = []
        for start, word in enumerate(words):
            for atom in _atoms_of(word):
                for elements, phrase, payload in self._by_first.get(atom, ()):
                    end = _match_end(elements, 1, words, start + 1)
                    if end is not None:
                        matches.append(Match(start, end, phrase, payload))
        return matches


def longest(matches: Iterable[Match[Payload]]) -> list[Match[Payload]]:
    """The matches that no longer one overlaps, in the order of the words."""
    chosen: list[Match] = []
    taken: set[int] = set()
    for match in sorted(matches, key=lambda m: (m.start - m.end, m.start, m.phrase)):
        span = range(match.start, match.end)
        if taken.isdisjoint(span):
            taken.update(span)
            chosen.append(match)
    return sorted(chosen, key=lambda m: m.start)


def parse(phrase: str) -> list[frozenset[str]]:
    """The elements of a phrase: the atoms that may stand there; an empty set is a gap."""
    elements = []
    for element in phrase.split(" "):
        atoms = element.split("|")
        if element != GAP and not all(_ATOM.fullmatch(atom) for atom in atoms):
            raise ValueError(
                f"the phrase {phrase!r} is not of lower-case words, a|b, a* and .. alone"
            )
        elements.append(frozenset() if element == GAP else frozenset(atoms))
    if not elements[0] or not elements[-1]:
        raise ValueError(f"the phrase {phrase!r} starts or ends with a gap")
    return elements


def _atoms_of(word: str) -> Iterator[str]:
    yield word
    for length in range(MIN_PREFIX_LETTERS, min(len(word), 24) + 1):
        yield f"{word[:length]}*"


def _may_be_skipped(word: str) -> bool:
    return word.isalnum() or word == LEVEL


def _fits(atoms: frozenset[str], word: str) -> bool:
    return any(word.startswith(atom[:-1]) if atom.endswith("*") else word == atom for atom in atoms)


def _match_end(elements: list, index: int, words: Sequence[str], at: int) -> int | None:
    """Where a phrase ends whose elements from `index` on stand at `at`; None if they do not."""
    while index < len(elements):
        if not elements[index]:
            for gap in range(MAXGAP_WORDS + 1):
                if at + gap > len(words) or not all(map(_may_be_skipped, words[at : at + gap])):
                    return None
                end = _match_end(elements, index + 1, words, at + gap)
                if end is not None:
                    return end
            return None
        if at >= len(words) or not _fits(elements[index], words[at]):
            return None
        index, at = index + 1, at + 1
    return at
