"""Slips of the pen: words brought back to the words that the rules know.

A table of all words with up to two letters deleted (Garbe's symmetric delete) turns the search into
a few look-ups, so that the cost of a word does not depend on the size of the vocabulary.
"""

import collections
import itertools
from collections.abc import Iterable, Mapping

# Below, too many short words are one letter apart; above, no word of a report is that long.
MIN_LETTERS, TWO_SLIPS_LETTERS, MAX_LETTERS = 5, 8, 22
MIN_HALF_LETTERS = 3


class Speller:
    """Maps a lower-case word to the words it stands for.

    Args:
      words: slips are undone to these.
      keep: other real words.
      aliases: a word and the one, or the ones, it stands for.
      stems: a word that starts with one of these is understood as it is.
    """

    def __init__(
        self,
        words: Iterable[str],
        keep: Iterable[str],
        aliases: Mapping[str, str],
        stems: Iterable[str] = (),
    ):
        self._stems = tuple(stems)
        self._aliases = dict(aliases)
        self._words = frozenset(words)
        self._kept = frozenset(keep)
        self._known = self._words | self._kept | self._aliases.keys()
        self._near = collections.defaultdict(set)
        for word in self._known:
            if len(word) >= MIN_LETTERS:
                for form in _deletions(word, _slips(word)):
                    self._near[form].add(word)
        self._memo: dict[str, tuple[str, ...]] = {}

    def __call__(self, word: str) -> tuple[str, ...]:
        """The word, corrected; two words where two known ones were run together."""
        if word not in self._memo:
            self._memo[word] = self._correct(word)
        return self._memo[word]

    def knows(self, word: str) -> bool:
        """Whether a word, corrected, is one of the rules or of the other real words."""
        return self._known.issuperset(self(word))

    def _correct(self, word: str) -> tuple[str, ...]:
        if word in self._known or not MIN_LETTERS <= len(word) <= MAX_LETTERS:
            return self._meant(word)
        for cut in range(MIN_HALF_LETTERS, len(word) - MIN_HALF_LETTERS + 1):
            halves = word[:cut], word[cut:]
            # "not" and the like are no halves: "notable" denies nothing.
            if all(half in self._words for half in halves):
                return halves
        if word.startswith(self._stems):
            return (word,)
        return self._meant(self._nearest(word))

    def _meant(self, word: str) -> tuple[str, ...]:
        return tuple(self._aliases.get(word, word).split())

    def _nearest(self, word: str) -> str:
        found = set()
        for form in _deletions(word, _slips(word)):
            found |= self._near.get(form, set())
        # Of two words as near, the rules' own: reports are about them.
        ranked = sorted((slips(word, other), other in self._kept, other) for other in found)
        for distance, is_kept, other in ranked:
            if _believable(word, distance, other):
                return word if is_kept else other
        return word


def slips(first: str, second: str) -> int:
    """Letters inserted, deleted, replaced or swapped with a neighbour between two words."""
    older, previous = [], list(range(len(second) + 1))
    for i, letter in enumerate(first, start=1):
        row = [i]
        for j, other in enumerate(second, start=1):
            cost = min(previous[j] + 1, row[-1] + 1, previous[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == second[j - 2] and first[i - 2] == other:
                cost = min(cost, older[j - 2] + 1)
            row.append(cost)
        older, previous = previous, row
    return previous[-1]


def _slips(word: str) -> int:
    return 2 if len(word) >= TWO_SLIPS_LETTERS else 1


def _believable(word: str, distance: int, other: str) -> bool:
    # The first letter is seldom wrong, and "abnormal" is not "normal" with two slips.
    allowed = _slips(other) if word[0] == other[0] else 1
    if word[0] != other[0] and (len(word) < TWO_SLIPS_LETTERS or len(word) > len(other)):
        return False
    return distance <= min(allowed, _slips(word))


def _deletions(word: str, count: int) -> set[str]:
    forms = {word}
    for number in range(1, count + 1):
        for gone in itertools.combinations(range(len(word)), number):
            forms.add("".join(letter for at, letter in enumerate(word) if at not in gone))
    return forms
